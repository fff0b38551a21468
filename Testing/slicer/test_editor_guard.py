"""No editor of ours observes views without an editor node: in the application that ends Slicer itself."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from flairseg.labels import LESION

from Testing.harness.segment_editor import observes_views
from Testing.slicer.result_driver import segmented

LIBRARY = Path(__file__).resolve().parents[2] / "FlairSegExtension" / "FlairSegLib"
_ENDS = {
    "close": lambda slicer, panel: slicer.mrmlScene.Clear(False),
    "remove the editor node": lambda slicer, panel: slicer.mrmlScene.RemoveNode(
        panel.ui.segmentEditor.mrmlSegmentEditorNode()
    ),
    "another module": lambda slicer, panel: panel.exit(),
    "another segmentation": lambda slicer, panel: panel.setSegmentation(None),
    "reload": lambda slicer, panel: panel.cleanup(),
}


@pytest.mark.parametrize("end", _ENDS)
def test_with_the_brush_in_hand_the_scene_or_the_panel_can_go(slicer, result, head, end):
    """What ends the application raises in the harness, see Testing.harness.segment_editor.EditorWouldEndSlicer."""
    _, node = segmented(slicer, head)
    result.show(node)
    result.panel.editor.use("Paint")
    widget = result.panel.ui.segmentEditor
    assert observes_views(widget)
    _ENDS[end](slicer, result.panel)
    slicer.app.layoutManager().layoutChanged.emit(3)
    assert not observes_views(widget)
    assert result.panel.editor.effect == ""


def test_a_layout_can_change_before_anything_is_segmented(slicer, result):
    slicer.app.layoutManager().layoutChanged.emit(3)
    result.panel.exit()
    result.panel.enter()
    slicer.app.layoutManager().layoutChanged.emit(3)


@pytest.mark.parametrize("end", ["close", "remove the editor node"])
def test_afterwards_one_can_go_on_editing(slicer, result, head, end):
    _, node = segmented(slicer, head)
    result.show(node)
    result.panel.editor.use("Paint")
    _ENDS[end](slicer, result.panel)
    if end == "close":
        result.panel.onSceneStartClose()
        _, node = segmented(slicer, head)
        result.show(node)
    before = result.labels()
    result.paint((8, 60, 60), 5.0)
    assert (result.labels() == LESION).sum() > (before == LESION).sum()
    result.panel.undo()
    result.settle()
    assert np.array_equal(result.labels(), before)


def test_the_brush_of_one_module_is_not_that_of_the_other(slicer, result, queue, head):
    """Two widgets with one editor node would both paint."""
    _, node = segmented(slicer, head)
    result.show(node)
    queue.tab.result.setSegmentation(node)
    queue.tab.result.editor.use("Paint")
    assert queue.tab.result.editor.effect == "Paint"
    assert result.panel.editor.effect == ""
    assert not observes_views(result.panel.ui.segmentEditor)
    queue.tab.result.editor.use("")


def test_a_result_does_not_wait_for_an_editor_that_nobody_sees(slicer, result, head):
    _, node = segmented(slicer, head)
    result.panel.ui.editorCollapsibleButton.collapsed = True
    result.show(node)
    widget = result.panel.ui.segmentEditor
    assert widget.mrmlSegmentEditorNode() is None
    result.panel.ui.editorCollapsibleButton.collapsed = False
    result.settle()
    assert widget.segmentationNode() is node
    assert widget.sourceVolumeNode() is result.panel.volumeNode
    assert widget.currentSegmentID() == "lesion"


def test_everybody_goes_through_the_guard():
    guarded = {"setMRMLSegmentEditorNode", "setupViewObservations", "removeViewObservations"}
    users = {
        path.relative_to(LIBRARY).as_posix()
        for path in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in guarded
    }
    assert users == {"editor_guard.py"}
