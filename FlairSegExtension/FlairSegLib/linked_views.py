"""Slice views side by side that show the same place of several volumes, each with its own colours and title."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import slicer
from flairseg.image.slice_stack import dominant_axes
from flairseg.lesions.boxes import through_plane_axis

from . import drawing, own_layouts, views
from .own_layouts import FIRST_LAYOUT

#: Views of this group follow each other, and leave Red, Green and Yellow alone.
VIEW_GROUP = 1704
#: Bars of the views, from left to right.
_COLOURS = ("#6f9bc8", "#d8a24a", "#8a8f98", "#7fb28a")
#: Fewest views side by side.
_FEWEST = 2
#: Slices run along this axis of RAS -> the plane that shows them as they were acquired.
_ORIENTATIONS = ("Sagittal", "Coronal", "Axial")


@dataclass(frozen=True)
class Shown:
    """Content of one view.

    Attributes
    ----------
    title : str
        A few letters, shown in the view's bar.
    volume : vtkMRMLScalarVolumeNode
    segmentation : vtkMRMLSegmentationNode or None
        Shown in this view and in no other of ours.
    """

    title: str
    volume: object
    segmentation: object = None


class LinkedViews:
    """Opens the views, and restores the previous layout.

    One of them is open at a time: a second one would keep what the first has hidden as what was there before.

    Parameters
    ----------
    onClosed : callable
        Called without arguments after another one was opened in place of this one.
    """

    _shown: LinkedViews | None = None

    def __init__(self, onClosed: Callable[[], None] = lambda: None) -> None:
        self._on_closed = onClosed
        self._layout: int | None = None
        self._composites: list[str] = []
        self._before: list[tuple[str, bool, tuple[str, ...]]] = []

    @property
    def open(self) -> bool:
        """Whether the views are shown now."""
        manager = slicer.app.layoutManager()
        return self._layout is not None and manager is not None and manager.layout in _ours()

    def show(self, shown: Sequence[Shown], visible: Sequence = ()) -> list:
        """Show two to four volumes side by side, at the same place, in the plane in which the first was acquired.

        Parameters
        ----------
        shown : sequence of Shown
            From left to right. Segmentations that are in none of them are hidden until :meth:`close`.
        visible : sequence of vtkMRMLSegmentationNode
            Segmentations that are shown in every view.

        Returns
        -------
        list of vtkMRMLSliceNode
            The views' nodes; empty where there are no views (no main window).
        """
        manager = slicer.app.layoutManager()
        if manager is None:
            return []
        other = LinkedViews._shown
        if other is not None and other is not self:
            other.close()
            other._on_closed()
        LinkedViews._shown = self
        if not self.open:
            self._layout = int(manager.layout)
        self._restore()
        plane = plane_of(shown[0].volume)
        number = FIRST_LAYOUT + len(shown)
        own_layouts.describe(number, layout_description([one.title for one in shown], plane))
        manager.setLayout(number)
        # The views get their size when the event loop turns; what is fitted before is fitted to another one.
        slicer.app.processEvents()
        with drawing.once():
            return self._fill(manager, shown, visible, plane)

    def _fill(self, manager, shown: Sequence[Shown], visible: Sequence, plane: str) -> list:
        nodes = []
        for tag, one in zip(_tags(len(shown)), shown, strict=True):
            widget = manager.sliceWidget(tag)
            nodes.append(widget.mrmlSliceNode())
            composite = widget.mrmlSliceCompositeNode()
            # Links would hand the volume on to the other views while it is being set.
            composite.SetLinkedControl(False)
            composite.SetBackgroundVolumeID(one.volume.GetID())
            self._composites.append(composite.GetID())
            composite.SetForegroundVolumeID(None)
            nodes[-1].SetViewGroup(VIEW_GROUP)
            nodes[-1].SetLayoutLabel(one.title)
            nodes[-1].SetOrientation(plane)
            widget.fitSliceToBackground()
        for tag in _tags(len(shown)):
            composite = manager.sliceWidget(tag).mrmlSliceCompositeNode()
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
        self._show_segmentations(shown, visible, nodes)
        return nodes

    def close(self) -> None:
        """Back to the layout of before; segmentations are shown where they were."""
        self.cleanup()
        manager = slicer.app.layoutManager()
        with drawing.once():
            self._restore()
            if self.open and manager is not None:
                manager.setLayout(self._layout)
            self._layout = None

    def cleanup(self) -> None:
        """Its panel is removed: no further notification that another one was opened. Views and layout stay."""
        if LinkedViews._shown is self:
            LinkedViews._shown = None

    def forget(self) -> None:
        """The scene is closing: its nodes are not touched any more."""
        self._before, self._composites = [], []
        self.close()

    def _show_segmentations(self, shown: Sequence[Shown], visible: Sequence, nodes: Sequence) -> None:
        where: dict[str, list[str]] = {}
        for one, node in zip(shown, nodes, strict=True):
            if one.segmentation is not None:
                where.setdefault(one.segmentation.GetID(), []).append(node.GetID())
        everywhere = {node.GetID() for node in visible}
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            display = views.display_of(node)
            kept = tuple(display.GetNthViewNodeID(n) for n in range(display.GetNumberOfViewNodeIDs()))
            self._before.append((node.GetID(), bool(display.GetVisibility()), kept))
            if node.GetID() in everywhere:
                display.SetVisibility(True)
                continue
            display.SetVisibility(node.GetID() in where)
            if node.GetID() in where:
                display.RemoveAllViewNodeIDs()
                for view in where[node.GetID()]:
                    display.AddViewNodeID(view)

    def _restore(self) -> None:
        for node_id, visible, kept in self._before:
            node = slicer.mrmlScene.GetNodeByID(node_id)
            if node is None:
                continue
            display = views.display_of(node)
            display.RemoveAllViewNodeIDs()
            for view in kept:
                display.AddViewNodeID(view)
            display.SetVisibility(visible)
        self._before = []
        for node_id in self._composites:
            # A view that is not seen shows nothing: who asks whether a volume is shown shall not be deceived.
            composite = slicer.mrmlScene.GetNodeByID(node_id)
            if composite is not None:
                composite.SetLinkedControl(False)
                composite.SetBackgroundVolumeID(None)
        self._composites = []


def descriptions() -> dict[int, str]:
    """Number and description of each of these layouts; titles and plane are set when they are shown."""
    counts = range(_FEWEST, len(_COLOURS) + 1)
    return {
        FIRST_LAYOUT + n: layout_description([str(view + 1) for view in range(n)], _ORIENTATIONS[-1]) for n in counts
    }


def layout_description(titles: Sequence[str], orientation: str) -> str:
    """A row of slice views, as Slicer's layouts are written down."""
    items = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{tag}">'
        f'<property name="orientation" action="default">{orientation}</property>'
        f'<property name="viewlabel" action="default">{escape(title)}</property>'
        f'<property name="viewcolor" action="default">{colour}</property>'
        f'<property name="viewgroup" action="default">{VIEW_GROUP}</property></view></item>'
        for tag, title, colour in zip(_tags(len(titles)), titles, _COLOURS, strict=False)
    )
    return f'<layout type="horizontal" split="true">{items}</layout>'


def plane_of(volume_node) -> str:
    """``Axial``, ``Coronal`` or ``Sagittal``: the slice plane of a volume node, as it is shown."""
    matrix = views.ijk_to_world(volume_node)
    return _ORIENTATIONS[int(dominant_axes(matrix)[2 - through_plane_axis(matrix)])]


def _tags(count: int) -> list[str]:
    return [f"FlairSeg{n + 1}of{count}" for n in range(count)]


def _ours() -> range:
    return range(FIRST_LAYOUT, FIRST_LAYOUT + len(_COLOURS) + 1)
