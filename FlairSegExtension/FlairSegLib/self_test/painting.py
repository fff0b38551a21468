"""Use of the Segment Editor's brush by simulated mouse events in a slice view."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import slicer

from .. import views

#: ``painter(editor, ras, radius_mm)``: apply the active effect once at a world position (RAS mm).
Painter = Callable[[object, Sequence[float], float], object]


def by_mouse(editor, ras: Sequence[float], radius_mm: float) -> None:
    """Centre the red slice view on a position, and press and release the left mouse button in its middle.

    Parameters
    ----------
    editor : qMRMLSegmentEditorWidget
        With an active effect.
    ras : sequence of float
        World position, mm.
    radius_mm : float
        Radius of the brush.
    """
    effect = editor.activeEffect()
    effect.setCommonParameter("BrushDiameterIsRelative", 0)
    effect.setCommonParameter("BrushAbsoluteDiameter", 2 * radius_mm)
    views.center_on(tuple(ras))
    slicer.app.processEvents()
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    width, height = view.mrmlSliceNode().GetDimensions()[:2]
    interactor = view.interactor()
    interactor.SetEventInformation(width // 2, height // 2, 0, 0, chr(0), 0, None)
    for event in ("EnterEvent", "MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
        interactor.InvokeEvent(event)
        slicer.app.processEvents()
