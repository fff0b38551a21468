"""One showing in Slicer's views: image, mask and marks under neutral names, and the rater's clicks.

Voxels come from the session's neutral files through FlairSeg's own reader: no storage node names a file, and Slicer's
list of recent files stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from flairseg.image.geometry import spacing_of
from flairseg.io.reader import read_volume
from slicer.i18n import tr as _

from .. import drawing, segment_voxels, views
from .marks import MarkPoints

if TYPE_CHECKING:
    from flairseg.study.events import Setting
    from flairseg.study.protocol import Display
    from flairseg.study.records import Mark
    from flairseg.study.showing import Showing

#: A button that is released this near to where it was pressed was a click, not a drag, pixels.
CLICK_PIXELS = 3
#: The cursor's step with the keyboard, mm.
CURSOR_STEP_MM = 2.0
#: Slice view and its orientation, by the axis (0 = R, 1 = A, 2 = S) that runs through the slices.
_VIEWS = {0: ("Yellow", "Sagittal"), 1: ("Green", "Coronal"), 2: ("Red", "Axial")}
_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}


class ShowingView:
    """Shows one showing at a time; :meth:`clear` leaves nothing of it in the scene.

    Parameters
    ----------
    on_click : callable
        Called with the point, RAS mm, where the left button was clicked in a slice view.
    on_display : callable
        Called with what changed of ``window``, ``level``, ``overlay_visible``, ``slice_ras``, by keyword.
    on_life : callable
        Called when the mouse moved or a slice changed.
    """

    def __init__(
        self,
        on_click: Callable[[tuple[float, float, float]], None],
        on_display: Callable[..., None],
        on_life: Callable[[], None],
    ) -> None:
        self._on_click, self._on_display, self._on_life = on_click, on_display, on_life
        self._volume = self._mask = None
        self._marks = MarkPoints()
        self._observed: list[tuple[Any, int]] = []
        self._pressed = None
        self._axis = 2
        self._cursor: tuple[float, float, float] | None = None
        self._by_mouse = False
        self._ready = False

    @property
    def shown(self) -> bool:
        """Whether a showing is in the views."""
        return self._volume is not None and self._volume.GetScene() is not None

    @property
    def volume_node(self):
        """The image; None while nothing is shown."""
        return self._volume

    @property
    def mask_node(self):
        """The mask; None while nothing is shown."""
        return self._mask

    @property
    def cursor(self) -> tuple[float, float, float] | None:
        """Where the keys mark, RAS mm: under the mouse, or where the keyboard put the crosshair last."""
        if self._by_mouse:
            point = [0.0, 0.0, 0.0]
            return tuple(point) if self._crosshair().GetCursorPositionRAS(point) else None
        return self._cursor

    def show(self, showing: Showing, rules: Display, before: Mapping[str, Setting], marks: Iterable[Mark]) -> None:
        """Put a showing into the views.

        Parameters
        ----------
        showing : Showing
        rules : Display
            Display settings of the protocol.
        before : mapping
            The rater's last settings, if resumed: ``window``, ``level``, ``overlay_visible``, ``slice_ras``.
        marks : iterable of Mark

        Raises
        ------
        FlairSegError
            If the image cannot be read.
        """
        self.clear()
        volume = read_volume(showing.flair)
        self._set_layout(rules.layout, volume.ijk_to_ras)
        with drawing.once():
            self._volume = slicer.util.addVolumeFromArray(volume.array, ijkToRAS=volume.ijk_to_ras, name=_("Image"))
            self._mask = _add_mask(showing.label_array, self._volume)
            self._style(rules, before)
            self._arrange(rules.layout)
            slice_ras = before.get("slice_ras")
            self._go_to(slice_ras if slice_ras is not None else _centre(volume.array.shape, volume.ijk_to_ras))
            self._crosshair().SetCrosshairMode(slicer.vtkMRMLCrosshairNode.NoCrosshair)
            self._cursor, self._by_mouse = None, False
            self._marks.show(marks)
        self._observe()
        self._ready = True

    def show_marks(self, marks: Iterable[Mark]) -> None:
        """Draw these marks."""
        if self.shown:
            self._marks.show(marks)

    def clear(self) -> None:
        """Take the showing out of the scene and release the views."""
        self._ready = False
        self._release()
        with drawing.once():
            self._marks.clear()
            for node in (self._mask, self._volume):
                if node is not None and node.GetScene() is not None:
                    slicer.mrmlScene.RemoveNode(node)
        self._volume = self._mask = self._pressed = self._cursor = None
        self._by_mouse = False
        crosshair = self._crosshair()
        if crosshair is not None:
            crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.NoCrosshair)

    def toggle_overlay(self) -> bool:
        """Hide the mask, or show it again; whether it is shown now."""
        visible = views.toggle_overlay(self._mask)
        self._on_display(overlay_visible=visible)
        return visible

    @property
    def overlay_visible(self) -> bool:
        """Whether the mask is seen."""
        return self._mask is not None and bool(views.display_of(self._mask).GetVisibility())

    def step(self, slices: int) -> None:
        """Go some slices up (positive) or down in the main view."""
        logic = self._main_view().sliceLogic()
        logic.SetSliceOffset(logic.GetSliceOffset() + slices * logic.GetLowestVolumeSliceSpacing()[2])
        self._on_life()

    def jump(self, ras: tuple[float, float, float]) -> None:
        """Go to a point and put the crosshair there: the keys mark it."""
        self._go_to(ras)
        self._put_cursor(tuple(float(x) for x in ras))

    def move_cursor(self, right: int, up: int) -> None:
        """Move the crosshair in the main view, in steps of :data:`CURSOR_STEP_MM`."""
        node = self._main_view().mrmlSliceNode()
        to_ras = node.GetSliceToRAS()
        start = self.cursor
        if start is None:
            start = tuple(to_ras.GetElement(row, 3) for row in range(3))
        moved = tuple(
            start[row] + CURSOR_STEP_MM * (right * to_ras.GetElement(row, 0) + up * to_ras.GetElement(row, 1))
            for row in range(3)
        )
        self._put_cursor(moved)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _style(self, rules: Display, before: Mapping[str, Setting]) -> None:
        display = self._volume.GetDisplayNode()
        window, level = before.get("window", rules.window), before.get("level", rules.level)
        if window is not None and level is not None:
            display.AutoWindowLevelOff()
            display.SetWindowLevel(window, level)
        filled = rules.overlay == "fill"
        views.set_fill_opacity(self._mask, rules.overlay_opacity if filled else 0.0)
        views.set_outline_opacity(self._mask, 0.0 if filled else rules.overlay_opacity)
        views.display_of(self._mask).SetSliceIntersectionThickness(2)
        views.display_of(self._mask).SetVisibility(bool(before.get("overlay_visible", True)))

    def _set_layout(self, layout: str, ijk_to_ras: np.ndarray) -> None:
        """The layout that the protocol names."""
        through = int(np.argmax(spacing_of(ijk_to_ras)))
        native = int(np.abs(ijk_to_ras[:3, through]).argmax())
        self._axis = _AXIS.get(layout, native)
        layouts = slicer.vtkMRMLLayoutNode
        alone = {
            "Red": layouts.SlicerLayoutOneUpRedSliceView,
            "Yellow": layouts.SlicerLayoutOneUpYellowSliceView,
            "Green": layouts.SlicerLayoutOneUpGreenSliceView,
        }
        manager = slicer.app.layoutManager()
        manager.setLayout(layouts.SlicerLayoutFourUpView if layout == "four-up" else alone[_VIEWS[self._axis][0]])

    def _arrange(self, layout: str) -> None:
        """The image in its views; in the acquisition's own plane, the view follows the image's slices."""
        manager = slicer.app.layoutManager()
        slicer.util.setSliceViewerLayers(background=self._volume, foreground=None, label=None, fit=False)
        for name, orientation in _VIEWS.values():
            manager.sliceWidget(name).mrmlSliceNode().SetOrientation(orientation)
        node = self._main_view().mrmlSliceNode()
        if layout in ("acquisition-plane", "four-up"):
            node.RotateToVolumePlane(self._volume)
        views.fit()

    def _go_to(self, ras) -> None:
        node = self._main_view().mrmlSliceNode()
        node.JumpSliceByOffsetting(*ras)
        if slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView:
            node.JumpAllSlices(slicer.mrmlScene, *ras, slicer.vtkMRMLSliceNode.OffsetJumpSlice)

    def _main_view(self):
        return slicer.app.layoutManager().sliceWidget(_VIEWS[self._axis][0])

    @staticmethod
    def _crosshair():
        return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")

    def _put_cursor(self, ras: tuple[float, float, float]) -> None:
        self._cursor, self._by_mouse = ras, False
        crosshair = self._crosshair()
        crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowSmallIntersection)
        crosshair.SetCrosshairToMedium()
        crosshair.SetCrosshairRAS(*ras)
        self._on_life()

    def _observe(self) -> None:
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames():
            widget = manager.sliceWidget(name)
            interactor, node = widget.sliceView().interactor(), widget.mrmlSliceNode()
            self._add(interactor, "LeftButtonPressEvent", lambda *_, i=interactor: self._press(i))
            self._add(interactor, "LeftButtonReleaseEvent", lambda *_, i=interactor, n=node: self._released(i, n))
        self._add(self._main_view().mrmlSliceNode(), "ModifiedEvent", lambda *_: self._moved())
        self._add(self._volume.GetDisplayNode(), "ModifiedEvent", lambda *_: self._window_level())
        crosshair = self._crosshair()
        event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
        self._add(crosshair, event, lambda *_: self._mouse_moved())

    def _add(self, thing, event, slot) -> None:
        self._observed.append((thing, thing.AddObserver(event, slot)))

    def _release(self) -> None:
        observed, self._observed = self._observed, []
        for thing, tag in observed:
            thing.RemoveObserver(tag)

    def _press(self, interactor) -> None:
        self._pressed = interactor, tuple(interactor.GetEventPosition())

    def _released(self, interactor, node) -> None:
        pressed, self._pressed = self._pressed, None
        if pressed is None or pressed[0] is not interactor:
            return
        x, y = interactor.GetEventPosition()
        if max(abs(x - pressed[1][0]), abs(y - pressed[1][1])) <= CLICK_PIXELS:
            self._on_click(tuple(node.GetXYToRAS().MultiplyPoint((float(x), float(y), 0.0, 1.0))[:3]))

    def _mouse_moved(self) -> None:
        if self._crosshair().GetCursorPositionRAS([0.0, 0.0, 0.0]):
            if not self._by_mouse:
                self._crosshair().SetCrosshairMode(slicer.vtkMRMLCrosshairNode.NoCrosshair)
            self._by_mouse = True
            self._on_life()

    def _moved(self) -> None:
        if self._ready:
            to_ras = self._main_view().mrmlSliceNode().GetSliceToRAS()
            self._on_display(slice_ras=[round(to_ras.GetElement(row, 3), 2) for row in range(3)])
            self._on_life()

    def _window_level(self) -> None:
        if self._ready:
            display = self._volume.GetDisplayNode()
            self._on_display(window=round(display.GetWindow(), 3), level=round(display.GetLevel(), 3))
            self._on_life()


def _centre(shape: tuple[int, int, int], ijk_to_ras: np.ndarray) -> tuple[float, float, float]:
    """Centre of the middle voxel, RAS mm."""
    k, j, i = (n // 2 for n in shape)
    return tuple(float(x) for x in (ijk_to_ras @ [i, j, k, 1])[:3])


def _add_mask(labels: np.ndarray, volume_node):
    """A segmentation node with a segment for each class that occurs."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", _("Mask"))
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    segment_voxels.add_segments(node, labels, volume_node)
    return node
