"""What the model itself answered stays with the segmentation: through edits, files, re-ordered slices, transforms."""

from __future__ import annotations

import flairseg
import numpy as np
import pytest
from flairseg.labels import CLASSES, LESION

from Testing.slicer.helpers import on_grid, rigid, stored_as


@pytest.fixture
def made(slicer, logic, head, model, save_nifti, tmp_path):
    """``made(codes)``: volume node from a file of that order, segmentation node, the core's answer on the node."""

    def make(codes="RAS", transformed=False):
        array, affine = stored_as(head[0].array, head[0].ijk_to_ras, codes)
        volume_node = slicer.util.loadVolume(str(save_nifti(tmp_path / "flair.nii.gz", array, affine)))
        if transformed:
            put_under(slicer, volume_node)
        node = logic.process(volume_node, modelId=str(model), device="cpu")
        from FlairSegLib import volume_nodes

        core = flairseg.segment(volume_nodes.volume_from_node(volume_node), model=model, device="cpu")
        return volume_node, node, core

    return make


def put_under(slicer, node):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid((25, -10, 40), (12, -30, 7))))
    node.SetAndObserveTransformNodeID(transform.GetID())


def check(bridge, node, labels, probabilities):
    kept = bridge.probabilities_of(node)
    assert kept.dtype == np.float16
    np.testing.assert_allclose(kept.astype(np.float32), probabilities.astype(np.float32), atol=0.007)
    np.testing.assert_array_equal(bridge.original_labels_of(node), labels)


def test_probabilities_and_own_labels_are_the_cores(slicer, bridge, made):
    volume_node, node, core = made()
    check(bridge, node, core.labels, core.probabilities)
    assert bridge.input_of(node) is volume_node
    hidden = node.GetNodeReference(bridge.PROBABILITIES_ROLE)
    assert hidden.GetHideFromEditors()
    assert hidden.GetDisplayNode() is None
    voxels = slicer.util.arrayFromVolume(hidden)
    assert voxels.dtype == np.uint8
    assert voxels.nbytes < core.probabilities.nbytes / 2


def test_edits_do_not_change_them(slicer, bridge, made):
    volume_node, node, core = made()
    edited = np.ones(core.labels.shape, np.uint8)
    lesion = next(c for c in CLASSES if c.value == LESION)
    slicer.util.updateSegmentBinaryLabelmapFromArray(edited, node, lesion.id, volume_node)
    check(bridge, node, core.labels, core.probabilities)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PIL", "oblique"])
@pytest.mark.parametrize("kind", ["mrb", "mrml"])
@pytest.mark.parametrize("transformed", [False, True])
def test_they_survive_a_saved_scene(slicer, bridge, made, tmp_path, codes, kind, transformed):
    volume_node, _, core = made(codes, transformed)
    then = bridge.volume_from_node(volume_node).ijk_to_ras
    (tmp_path / "saved").mkdir()
    path = tmp_path / "saved" / f"scene.{kind}"
    if kind == "mrml":
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            if node.GetHideFromEditors() and not node.IsA("vtkMRMLVectorVolumeNode"):
                continue
            if node.GetClassName() in ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode"):
                assert slicer.util.saveNode(node, str(tmp_path / "saved" / f"{node.GetID()}.nrrd"))
            elif node.GetClassName() == "vtkMRMLSegmentationNode":
                assert slicer.util.saveNode(node, str(tmp_path / "saved" / f"{node.GetID()}.seg.nrrd"))
            elif node.GetClassName() == "vtkMRMLLinearTransformNode":
                assert slicer.util.saveNode(node, str(tmp_path / "saved" / f"{node.GetID()}.h5"))
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(path))
    (again,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    volume_again = bridge.input_of(again)
    now = bridge.volume_from_node(volume_again)

    def moved(array):
        return on_grid(array, then, now.array.shape, now.ijk_to_ras)

    check(bridge, again, moved(core.labels), np.stack([moved(p) for p in core.probabilities]))


def test_own_labels_survive_where_the_hidden_volume_does_not(slicer, bridge, made):
    """Slicer's Save dialog lists no hidden node."""
    _, node, core = made()
    slicer.mrmlScene.RemoveNode(node.GetNodeReference(bridge.PROBABILITIES_ROLE))
    assert bridge.probabilities_of(node) is None
    np.testing.assert_array_equal(bridge.original_labels_of(node), core.labels)


def test_a_hardened_transform_changes_nothing(slicer, bridge, made):
    volume_node, node, core = made(transformed=True)
    volume_node.HardenTransform()
    node.HardenTransform()
    check(bridge, node, core.labels, core.probabilities)


def test_without_the_volume_the_segmentations_own_grid_counts(slicer, bridge, made):
    volume_node, node, core = made()
    slicer.mrmlScene.RemoveNode(volume_node)
    check(bridge, node, core.labels, core.probabilities)


def test_another_volume_in_its_place_has_none(slicer, bridge, made):
    _, node, _ = made()
    other = slicer.util.addVolumeFromArray(np.zeros((7, 8, 9), np.int16), name="other")
    node.SetNodeReferenceID(bridge.INPUT_ROLE, other.GetID())
    assert bridge.probabilities_of(node) is None
    assert bridge.original_labels_of(node) is None


def test_a_segmentation_of_somebody_else_has_none(slicer, bridge):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert bridge.probabilities_of(node) is None
    node.SetAttribute(bridge.LABELS_ATTRIBUTE, "damaged")
    node.SetAttribute(bridge.GRID_ATTRIBUTE, "1 2 3")
    assert bridge.original_labels_of(node) is None


def test_probabilities_of_a_deleted_segmentation_go_with_the_next_run(slicer, bridge, logic, model, made):
    volume_node, node, core = made()
    slicer.mrmlScene.RemoveNode(node)
    second = logic.process(volume_node, modelId=str(model), device="cpu")
    assert len(slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode")) == 1
    check(bridge, second, core.labels, core.probabilities)
