"""How often the views are drawn, and what happens in the scene meanwhile: numbers, which no machine's speed changes.

A view of the application draws when the event loop next turns, and at once where that has been waited for longer than
a frame. On a slow machine that is at every request, so requests are what is counted: those made while rendering is
paused count once, when it is resumed.
"""

from __future__ import annotations

from collections import Counter

import slicer
import vtk

_ACTIVE: list[RenderCount] = []


def requested(view: str) -> None:
    """A view was asked to draw."""
    for count in _ACTIVE:
        count.requests[view] += 1


def rendered(view: str) -> None:
    """A view drew."""
    for count in _ACTIVE:
        count.renders[view] += 1


class RenderCount:
    """Counts while it is entered, as a context manager.

    Attributes
    ----------
    requests : Counter
        View (``Red``, ``Green``, ``Yellow``, ``3D``) -> how often it is drawn on a slow machine.
    renders : Counter
        View -> how often it was drawn here, where requests of one turn of the event loop are one.
    events : Counter
        ``added CLASS``, ``removed CLASS``, ``modified CLASS`` (display nodes), ``modified slice logic`` -> how often.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.renders: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._tags: list[tuple] = []

    @property
    def most(self) -> int:
        """Requests of the slice view that had most of them."""
        return max((n for view, n in self.requests.items() if view != "3D"), default=0)

    def __enter__(self) -> RenderCount:
        scene = slicer.mrmlScene
        self._observe(scene, scene.NodeAddedEvent, self._added)
        self._observe(scene, scene.NodeRemovedEvent, self._removed)
        for node in slicer.util.getNodesByClass("vtkMRMLDisplayNode"):
            self._observe_display(node)
        logics = slicer.app.applicationLogic().GetSliceLogics()
        for index in range(logics.GetNumberOfItems()):
            self._observe(logics.GetItemAsObject(index), vtk.vtkCommand.ModifiedEvent, self._counted("slice logic"))
        _ACTIVE.append(self)
        return self

    def __exit__(self, *exception) -> None:
        _ACTIVE.remove(self)
        for thing, tag in self._tags:
            thing.RemoveObserver(tag)
        self._tags = []

    def _observe(self, thing, event, slot) -> None:
        self._tags.append((thing, thing.AddObserver(event, slot)))

    def _observe_display(self, node) -> None:
        self._observe(node, vtk.vtkCommand.ModifiedEvent, self._counted(node.GetClassName()))

    def _counted(self, what: str):
        def count(caller, event) -> None:
            self.events[f"modified {what}"] += 1

        return count

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _added(self, caller, event, node) -> None:
        self.events[f"added {node.GetClassName()}"] += 1
        if node.IsA("vtkMRMLDisplayNode"):
            self._observe_display(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _removed(self, caller, event, node) -> None:
        self.events[f"removed {node.GetClassName()}"] += 1
