"""The brush of Slicer's Segment Editor, moved by events of the slice view as a mouse causes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import slicer

from .. import views

#: ``painter(editor, ras, radius_mm)``: one dab of the active effect at a place in the world (RAS, mm).
Painter = Callable[[object, Sequence[float], float], object]


def by_mouse(editor, ras: Sequence[float], radius_mm: float) -> None:
    """Press and release the left button in the middle of the red slice view, which is centred on a place before.

    Parameters
    ----------
    editor : qMRMLSegmentEditorWidget
        With an active effect.
    ras : sequence of float
        In the world, mm.
    radius_mm : float
        Of the brush.
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
