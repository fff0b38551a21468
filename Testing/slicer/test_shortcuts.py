"""Keys belong to the panel while it is shown, and to Slicer otherwise."""

from __future__ import annotations

import pytest
from flairseg.labels import CLASS_BY_VALUE, LESION

from Testing.harness.interaction import press
from Testing.slicer.result_driver import segmented


@pytest.fixture
def node(slicer, result, head):
    _, node = segmented(slicer, head)
    result.show(node)
    return node


def test_leaving_the_module_releases_the_keys_and_the_brush(result, node):
    press("1")
    assert result.panel.editor.effect == "Paint"
    result.panel.exit()
    assert result.panel.editor.effect == ""
    assert not result.panel.shortcuts.bound
    press("N")
    press("O")
    assert result.panel.lesions.selected is None
    assert node.GetDisplayNode().GetVisibility()
    result.panel.enter()
    press("N")
    assert result.panel.lesions.selected.number == 1


def test_entering_twice_binds_once(result, node):
    result.panel.enter()
    result.panel.enter()
    press("N")
    assert result.panel.lesions.selected.number == 1, "two bindings of one key would cancel each other"


def test_the_brush_is_taken_up_and_put_away(result, node):
    press("2")
    assert result.panel.editor.effect == "Erase"
    press("Esc")
    assert result.panel.editor.effect == ""


def test_a_click_on_a_segment_chooses_what_the_brush_draws(result, node):
    result.panel.ui.segmentTable.cellClicked.emit(0, 0)
    first = result.panel.ui.segmentTable.item(0, 0).text()
    assert first in result.panel.ui.editorMessageLabel.text
    assert result.panel.ui.segmentEditor.currentSegmentID() != CLASS_BY_VALUE[LESION].id


def test_only_keys_that_look_act_again_while_they_are_held(slicer, result, node):
    """A key held too long deleted the next lesion, or answered the next case of a study."""
    from FlairSegLib.review_panel import study_keys
    from FlairSegLib.shortcuts import Shortcuts

    repeats = {shortcut.key.toString(): shortcut.autoRepeat for shortcut in result.panel.shortcuts._bound}
    assert {key for key, repeated in repeats.items() if repeated} == {"N", "P"}
    assert "Del" in repeats
    study = Shortcuts(dict.fromkeys(("Return", "Space", "P", "A", *study_keys.REPEATING), lambda: None))
    study._repeating = frozenset(study_keys.REPEATING)
    study.bind()
    held = {shortcut.key.toString() for shortcut in study._bound if shortcut.autoRepeat}
    study.release()
    assert held == set(study_keys.REPEATING)
