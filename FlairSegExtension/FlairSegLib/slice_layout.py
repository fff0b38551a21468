"""Three slice views in place of a layout of which a quarter or more would be an empty 3D view.

The plane of acquisition gets the large view. A layout that the user chose, or with something to see in 3D, stays.
"""

from __future__ import annotations

import qt
import slicer

from . import drawing, linked_views, own_layouts, views
from .linked_views import plane_of
from .own_layouts import FIRST_LAYOUT

#: Numbers of our layouts, one for each plane in the large view; those of :mod:`.linked_views` end below.
_NUMBERS = {"Axial": FIRST_LAYOUT + 10, "Coronal": FIRST_LAYOUT + 11, "Sagittal": FIRST_LAYOUT + 12}
#: Slicer's own views: tag, letter, colour and orientation.
_VIEWS = {
    "Axial": ("Red", "R", "#F34A33"),
    "Coronal": ("Green", "G", "#6EB04B"),
    "Sagittal": ("Yellow", "Y", "#EDD54C"),
}


#: Time for nested splitters to propagate their sizes in the event loop, ms.
SETTLING_MS = 40


class SliceLayout:
    """Turns to slices once, and back when something is to be seen in 3D.

    The views get their size when the event loop turns: a dozen changes each, and what is fitted before is fitted to
    another size. They are drawn once, when that is over.
    """

    def __init__(self) -> None:
        self._before: int | None = None
        #: Whether the last :meth:`turn` changed the layout.
        self._changed = False
        self._paused = False
        self._settling = qt.QTimer()
        self._settling.setSingleShot(True)
        self._settling.setInterval(SETTLING_MS)
        self._settling.timeout.connect(self._settled)

    @property
    def turned(self) -> bool:
        """Whether the three-slice layout replaces the previous one."""
        manager = slicer.app.layoutManager()
        return self._before is not None and manager is not None and int(manager.layout) in _NUMBERS.values()

    def turn(self, volume_node) -> bool:
        """Show three slices of a volume if the 3D view beside them is empty; whether the layout was changed.

        Parameters
        ----------
        volume_node : vtkMRMLScalarVolumeNode
        """
        manager = slicer.app.layoutManager()
        self._changed = False
        if manager is None or volume_node is None or int(manager.layout) not in _with_3d() or something_in_3d():
            return False
        self._before, self._changed = int(manager.layout), True
        plane = plane_of(volume_node)
        number = _NUMBERS[plane]
        own_layouts.describe(number, layout_description(plane))
        self._set(manager, number)
        return True

    def back(self) -> None:
        """Restore the previous layout, unless the user has selected another one."""
        if self.turned:
            self._set(slicer.app.layoutManager(), self._before)
        self._before = None

    def withdraw(self) -> None:
        """Undo the last :meth:`turn`: the run that it was for has no result. A layout turned before that stays."""
        if self._changed:
            self._changed = False
            self.back()

    def cleanup(self) -> None:
        """Stop observing; the layout is not changed."""
        self._settling.stop()
        self._resume()

    def _set(self, manager, number: int) -> None:
        """Change the layout without rendering until the views have their sizes."""
        if not self._paused:
            self._paused = True
            drawing.pause()
        self._settling.start()
        manager.setLayout(number)

    def _settled(self) -> None:
        try:
            views.fit()
        finally:
            self._resume()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            drawing.resume()


def _with_3d() -> tuple[int, ...]:
    """Slicer's layouts that show the three slices and give at least a quarter of the screen to one 3D view."""
    node = slicer.vtkMRMLLayoutNode
    names = ("SlicerLayoutConventionalView", "SlicerLayoutConventionalWidescreenView", "SlicerLayoutFourUpView")
    return tuple(int(getattr(node, name)) for name in names)


def something_in_3d() -> bool:
    """Whether the scene shows anything in a 3D view."""
    if any(node.GetSliceVisible() for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")):
        return True
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        if node.GetHideFromEditors() or (node.IsA("vtkMRMLScalarVolumeNode") and not _rendered(node)):
            continue
        if node.IsA("vtkMRMLSegmentationNode") and not views.has_surface(node):
            continue
        displays = (node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes()))
        if any(d is not None and d.GetVisibility() and d.GetVisibility3D() for d in displays):
            return True
    return False


def _rendered(volume_node) -> bool:
    """Whether a volume is rendered in 3D."""
    displays = (volume_node.GetNthDisplayNode(n) for n in range(volume_node.GetNumberOfDisplayNodes()))
    return any(d is not None and d.IsA("vtkMRMLVolumeRenderingDisplayNode") and d.GetVisibility() for d in displays)


def descriptions() -> dict[int, str]:
    """Number and description of each of these layouts."""
    return {number: layout_description(plane) for plane, number in _NUMBERS.items()}


def register() -> None:
    """Register FlairSeg's layouts in Slicer; without a main window, do nothing."""
    if slicer.app.layoutManager() is None:
        return
    for number, description in {**descriptions(), **linked_views.descriptions()}.items():
        own_layouts.describe(number, description)


def layout_description(plane: str) -> str:
    """Layout description (XML): a large view of a plane and the other two beside it."""
    others = "".join(f"<item>{_view(other)}</item>" for other in _VIEWS if other != plane)
    return (
        f'<layout type="horizontal" split="true"><item splitSize="640">{_view(plane)}</item>'
        f'<item splitSize="360"><layout type="vertical" split="true">{others}</layout></item></layout>'
    )


def _view(plane: str) -> str:
    tag, letter, colour = _VIEWS[plane]
    return (
        f'<view class="vtkMRMLSliceNode" singletontag="{tag}">'
        f'<property name="orientation" action="default">{plane}</property>'
        f'<property name="viewlabel" action="default">{letter}</property>'
        f'<property name="viewcolor" action="default">{colour}</property></view>'
    )
