"""Editing in the harness is Slicer's own: overwrite modes, undo, redo, transforms; and the editor's state."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.harness.segment_editor import EditorWouldEndSlicer, brush, observes_views

CENTRE, RADIUS_MM = (10.0, -6.0, 4.0), 6.0


@pytest.fixture
def editor(slicer):
    """An editor on two segments of a 2 x 2 x 3 mm volume; the second is the current one."""
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = -40, -40, -30
    volume = slicer.util.addVolumeFromArray(np.zeros((20, 40, 40), np.int16), affine, "FLAIR")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("first", "second"):
        node.GetSegmentation().AddEmptySegment(name, name, (1, 0, 0))
    filled = np.zeros((20, 40, 40), np.uint8)
    filled[9:13, 14:20, 22:28] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(filled, node, "first", volume)
    widget = slicer.qMRMLSegmentEditorWidget()
    widget.setMRMLScene(slicer.mrmlScene)
    widget.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    widget.setSegmentationNode(node)
    widget.setSourceVolumeNode(volume)
    widget.setCurrentSegmentID("second")
    widget.setMaximumNumberOfUndoStates(5)
    yield widget
    widget.setActiveEffectByName("")
    widget.setMRMLSegmentEditorNode(None)


def voxels(slicer, editor, segment_id) -> np.ndarray:
    node, volume = editor.segmentationNode(), editor.sourceVolumeNode()
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0


def sphere() -> np.ndarray:
    """Voxels of the fixture's grid within the brush, computed apart from the harness."""
    k, j, i = np.meshgrid(np.arange(20), np.arange(40), np.arange(40), indexing="ij")
    points = np.stack([2 * i - 40.0, 2 * j - 40.0, 3 * k - 30.0], axis=-1)
    return np.linalg.norm(points - CENTRE, axis=-1) <= RADIUS_MM


def test_paint_takes_voxels_from_the_other_segment(slicer, editor):
    first = voxels(slicer, editor, "first")
    editor.setActiveEffectByName("Paint")
    assert brush(editor, CENTRE, RADIUS_MM) == sphere().sum()
    assert (voxels(slicer, editor, "second") == sphere()).all()
    assert (first & sphere()).any()
    assert (voxels(slicer, editor, "first") == first & ~sphere()).all()


def test_paint_beside_the_other_segment_where_it_may_overlap(slicer, editor):
    first = voxels(slicer, editor, "first")
    editor.mrmlSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    editor.setActiveEffectByName("Paint")
    brush(editor, CENTRE, RADIUS_MM)
    assert (voxels(slicer, editor, "first") == first).all()


def test_erase_then_undo_and_redo(slicer, editor):
    before = voxels(slicer, editor, "first")
    editor.setCurrentSegmentID("first")
    editor.setActiveEffectByName("Erase")
    brush(editor, CENTRE, RADIUS_MM)
    after = voxels(slicer, editor, "first")
    assert (after == before & ~sphere()).all()
    editor.undo()
    assert (voxels(slicer, editor, "first") == before).all()
    editor.redo()
    assert (voxels(slicer, editor, "first") == after).all()


def test_undo_and_redo_buttons_say_what_can_be_done(slicer, editor):
    undo, redo = (editor.findChild("QToolButton", name) for name in ("UndoButton", "RedoButton"))
    assert (undo.enabled, redo.enabled) == (False, False)
    editor.setActiveEffectByName("Paint")
    brush(editor, CENTRE, RADIUS_MM)
    assert (undo.enabled, redo.enabled) == (True, False)
    undo.click()
    assert (undo.enabled, redo.enabled) == (False, True)
    assert not voxels(slicer, editor, "second").any()


def test_paint_follows_the_transform_of_the_segmentation(slicer, editor):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = 4, -2, 3
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    editor.sourceVolumeNode().SetAndObserveTransformNodeID(transform.GetID())
    editor.segmentationNode().SetAndObserveTransformNodeID(transform.GetID())
    editor.setActiveEffectByName("Paint")
    brush(editor, tuple(matrix[:3, 3] + CENTRE), RADIUS_MM)
    assert (voxels(slicer, editor, "second") == sphere()).all()


def test_editing_makes_the_segmentation_modified(slicer, editor):
    heard = []
    segmentation = editor.segmentationNode().GetSegmentation()
    event = slicer.vtkSegmentation.SourceRepresentationModified
    tag = segmentation.AddObserver(event, lambda *_: heard.append(1))
    editor.setActiveEffectByName("Paint")
    brush(editor, CENTRE, RADIUS_MM)
    segmentation.RemoveObserver(tag)
    assert heard


def test_only_what_a_user_could_paint_is_painted(editor):
    with pytest.raises(RuntimeError, match="neither Paint nor Erase"):
        brush(editor, CENTRE, RADIUS_MM)
    editor.setActiveEffectByName("Paint")
    editor.setSourceVolumeNode(None)
    with pytest.raises(RuntimeError, match="nothing to paint on"):
        brush(editor, CENTRE, RADIUS_MM)


def test_active_effect_and_its_parameters_are_in_the_editor_node(editor):
    assert editor.activeEffect() is None
    editor.setActiveEffectByName("Paint")
    effect = editor.activeEffect()
    assert effect.name == "Paint"
    effect.setParameter("BrushSphere", 1)
    effect.setCommonParameter("BrushAbsoluteDiameter", "7.5")
    assert effect.integerParameter("BrushSphere") == 1
    assert editor.effectByName("Erase").doubleParameter("BrushAbsoluteDiameter") == 7.5
    editor.setActiveEffect(None)
    assert editor.activeEffect() is None


def test_effects_can_be_limited(editor):
    editor.setEffectNameOrder(["Paint", "Erase"])
    editor.unorderedEffectsVisible = False
    shown = [name for name in ("NullEffect", *editor.availableEffectNames()) if not hidden(editor, name)]
    assert shown == ["NullEffect", "Paint", "Erase"]


def hidden(editor, name) -> bool:
    return editor.findChild("QToolButton", name).isHidden()


def test_a_segment_that_the_user_chooses_is_announced_and_one_that_a_program_sets_is_not(editor):
    heard = []
    editor.currentSegmentIDChanged.connect(heard.append)
    editor.setCurrentSegmentID("first")
    assert heard == []
    assert editor.mrmlSegmentEditorNode().GetSelectedSegmentID() == "first"
    editor.findChild("QTableWidget", "SegmentsTableView").selectRow(1)
    assert heard == ["second"]
    assert editor.currentSegmentID() == "second"


def test_keys_undo_while_they_are_installed(slicer, editor, main_window):
    from Testing.harness.interaction import press

    window = main_window(editor)
    editor.setActiveEffectByName("Paint")
    brush(editor, CENTRE, RADIUS_MM)
    press("Ctrl+Z", window)
    assert voxels(slicer, editor, "second").any()
    editor.installKeyboardShortcuts(window)
    press("Ctrl+Z", window)
    assert not voxels(slicer, editor, "second").any()
    editor.uninstallKeyboardShortcuts()
    press("Ctrl+Y", window)
    assert not voxels(slicer, editor, "second").any()
    window.panel.takeWidget()


def test_editor_lets_go_when_the_scene_is_closed(slicer, editor):
    editor.setActiveEffectByName("Paint")
    brush(editor, CENTRE, RADIUS_MM)
    editor.setActiveEffectByName("")
    slicer.mrmlScene.Clear(False)
    assert editor.segmentationNode() is None
    assert editor.mrmlSegmentEditorNode() is None
    assert (editor.activeEffect(), editor.currentSegmentID()) == (None, "")


def test_what_ends_slicer_itself_fails_the_test(slicer, editor):
    node = editor.mrmlSegmentEditorNode()
    editor.setActiveEffectByName("Paint")
    with pytest.raises(EditorWouldEndSlicer):
        editor.setMRMLSegmentEditorNode(None)
    slicer.mrmlScene.RemoveNode(node)
    assert [type(error) for error in slicer.app.escaped] == [EditorWouldEndSlicer]
    slicer.app.escaped.clear()
    with pytest.raises(EditorWouldEndSlicer):
        editor.setupViewObservations()
    slicer.app.layoutManager().layoutChanged.emit(3)
    assert [type(error) for error in slicer.app.escaped] == [EditorWouldEndSlicer]
    slicer.app.escaped.clear()
    editor.removeViewObservations()
    slicer.app.layoutManager().layoutChanged.emit(3)


def test_views_are_observed_while_an_effect_is_active(slicer, editor):
    assert not observes_views(editor)
    editor.setActiveEffectByName("Erase")
    assert observes_views(editor)
    editor.setActiveEffectByName("")
    assert not observes_views(editor)
