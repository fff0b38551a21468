"""A result follows its volume: below a transform, out of it, hardened, in a scene that is loaded."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.harness.interaction import press
from Testing.slicer.helpers import labels_of, rigid, world_affine
from Testing.slicer.result_driver import head_with_lesions, segmented

MOTION, LATER = rigid((6, -3, 4), (3.0, -7.0, 15.0)), rigid((-9, 2, 30), (-20.0, 1.0, 4.0))


@pytest.fixture(autouse=True)
def follower(slicer):
    from FlairSegLib import following

    yield
    following.stop()


def transform_of(slicer, motion=MOTION, parent=None):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(motion))
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    return node


def check(slicer, head, volume, node) -> None:
    """Slicer itself, in the world, finds the labels on the voxels that they were made of."""
    np.testing.assert_array_equal(labels_of(slicer, node, volume), head_with_lesions(head)[1])


def test_when_its_volume_alone_is_moved(slicer, head):
    volume, node = segmented(slicer, head)
    outer = transform_of(slicer, LATER)
    transform = transform_of(slicer, parent=outer)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert node.GetParentTransformNode() is transform
    check(slicer, head, volume, node)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(LATER))
    check(slicer, head, volume, node)
    other = transform_of(slicer, LATER)
    volume.SetAndObserveTransformNodeID(other.GetID())
    check(slicer, head, volume, node)
    volume.SetAndObserveTransformNodeID(None)
    assert node.GetParentTransformNode() is None
    check(slicer, head, volume, node)


@pytest.mark.parametrize("nested", [False, True])
def test_when_a_transform_is_hardened_on_its_volume_alone(slicer, bridge, head, nested):
    volume, node = segmented(slicer, head)
    transform = transform_of(slicer, parent=transform_of(slicer, LATER) if nested else None)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    place = world_affine(slicer, volume)
    volume.HardenTransform()
    assert node.GetParentTransformNode() is None
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(LATER))
    np.testing.assert_allclose(world_affine(slicer, volume), place, atol=1e-4)
    check(slicer, head, volume, node)
    np.testing.assert_array_equal(bridge.original_labels_of(node), head_with_lesions(head)[1])
    np.testing.assert_allclose(bridge.probabilities_of(node), head_with_lesions(head)[2], atol=0.007)


def test_a_segmentation_that_was_moved_on_its_own_stays_where_it_was_put(slicer, head):
    volume, node = segmented(slicer, head)
    apart = transform_of(slicer, LATER)
    node.SetAndObserveTransformNodeID(apart.GetID())
    volume.SetAndObserveTransformNodeID(transform_of(slicer).GetID())
    assert node.GetParentTransformNode() is apart


def test_what_was_left_behind_before_is_put_on_its_volume_when_it_is_shown(slicer, result, head):
    from FlairSegLib import following

    volume, node = segmented(slicer, head)
    following.stop()
    transform = transform_of(slicer)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert node.GetParentTransformNode() is None
    result.show(node)
    check(slicer, head, volume, node)
    volume.HardenTransform()
    following.stop()
    result.settle()
    result.show(node)
    check(slicer, head, volume, node)


def test_undo_does_not_bring_back_the_place_before_a_transform_was_hardened(slicer, result, head):
    volume, node = segmented(slicer, head)
    volume.SetAndObserveTransformNodeID(transform_of(slicer).GetID())
    result.show(node)
    assert result.paint((8, 60, 60), 6.0) > 0
    volume.HardenTransform()
    result.settle()
    painted = labels_of(slicer, node, volume)
    assert (painted != head_with_lesions(head)[1]).any()
    assert not result.panel.ui.undoButton.enabled
    press("Ctrl+Z")
    result.settle()
    np.testing.assert_array_equal(labels_of(slicer, node, volume), painted)
    assert result.paint((8, 40, 60), 6.0) > 0
    press("Ctrl+Z")
    result.settle()
    np.testing.assert_array_equal(labels_of(slicer, node, volume), painted)


def test_in_a_scene_that_is_loaded(slicer, head, tmp_path):
    from FlairSegLib import following

    segmented(slicer, head)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    following.start()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    node = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    volume = node.GetNodeReference("FlairSeg.input")
    volume.SetAndObserveTransformNodeID(transform_of(slicer).GetID())
    check(slicer, head, volume, node)


def test_many_results_are_watched_once_and_nothing_is_after_the_scene_is_closed(slicer, head):
    from FlairSegLib import following

    def watched():
        return [event for thing, event, *_ in following.start().Observations if thing is not slicer.mrmlScene]

    volume, _ = segmented(slicer, head)
    segmented(slicer, head, volume_node=volume)
    assert len(watched()) == 1
    slicer.mrmlScene.RemoveNode(volume)
    assert watched() == [], "it would stay in memory"
    segmented(slicer, head)
    assert len(watched()) == 1
    slicer.mrmlScene.Clear(False)
    assert watched() == []
