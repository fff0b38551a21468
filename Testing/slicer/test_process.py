"""``FlairSegLogic.process``: the module's own logic and the whole core on real MRML."""

from __future__ import annotations

import sys

import flairseg
import numpy as np
import pytest
from flairseg.errors import (
    Cancelled,
    FlairSegError,
    InvalidModelError,
    MissingDependencyError,
    ModelNotFoundError,
    UnusableIntensitiesError,
)
from flairseg.labels import CLASSES, LESION, VENTRICLES
from flairseg.progress import CancelToken

from Testing.slicer.helpers import STORAGE_ORDERS, labels_of, on_grid, rigid, stored_as, world_affine


@pytest.fixture
def volume_node(slicer, head):
    return slicer.util.addVolumeFromArray(head[0].array, ijkToRAS=head[0].ijk_to_ras, name="FLAIR")


@pytest.fixture(scope="module")
def expected(head, model) -> np.ndarray:
    """The core's labels of the head as it is, by the model that labels by intensity."""
    return flairseg.segment(head[0], model=model, device="cpu").labels


def scene_contents(slicer) -> list[str]:
    return [slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())]


def test_the_model_of_these_tests_finds_all_three_classes(head, expected):
    """Else the comparisons below would compare empty with empty."""
    for label_class in CLASSES:
        truth, found = head[1] == label_class.value, expected == label_class.value
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.9, label_class.name


@pytest.mark.parametrize("codes", STORAGE_ORDERS)
def test_segments_equal_the_cores_labels_of_the_file(slicer, logic, head, model, expected, save_nifti, tmp_path, codes):
    array, affine = stored_as(head[0].array, head[0].ijk_to_ras, codes)
    path = save_nifti(tmp_path / "flair.nii.gz", array, affine)
    volume_node = slicer.util.loadVolume(str(path))
    node = logic.process(volume_node, modelId=str(model), device="cpu")
    shown = labels_of(slicer, node, volume_node)
    core = flairseg.segment(path, model=model, device="cpu")
    in_file = on_grid(shown, world_affine(slicer, volume_node), core.labels.shape, core.volume.ijk_to_ras)
    np.testing.assert_array_equal(in_file, core.labels)
    if codes != "oblique":
        # The same voxels in another order: the same answer, too.
        in_order = on_grid(core.labels, core.volume.ijk_to_ras, expected.shape, head[0].ijk_to_ras)
        np.testing.assert_array_equal(in_order, expected)


def test_a_transformed_volume_is_segmented_where_it_is_shown(slicer, logic, head, model, volume_node):
    moved = rigid((10, -75, 15), (20, -10, 5))
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    volume_node.SetAndObserveTransformNodeID(transform.GetID())
    node = logic.process(volume_node, modelId=str(model), device="cpu")
    core = flairseg.segment(
        flairseg.Volume(head[0].array, moved @ head[0].ijk_to_ras, "moved"), model=model, device="cpu"
    )
    assert (core.labels == VENTRICLES).any()
    np.testing.assert_array_equal(labels_of(slicer, node, volume_node), core.labels)
    assert node.GetParentTransformNode() is transform


def test_a_cropped_float_copy_in_a_scene_with_others(slicer, logic, head, model, volume_node):
    affine = head[0].ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, :3] @ [2, 1, 3]
    array = (head[0].array[3:-2, 1:, 2:-1] * 0.37).astype(np.float32)
    cropped = slicer.util.addVolumeFromArray(array, ijkToRAS=affine, name="FLAIR cropped")
    node = logic.process(cropped, modelId=str(model), device="cpu")
    core = flairseg.segment(flairseg.Volume(array, affine, "cropped"), model=model, device="cpu")
    np.testing.assert_array_equal(labels_of(slicer, node, cropped), core.labels)
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is cropped


def test_runs_make_versions(slicer, logic, model, volume_node):
    first = logic.process(volume_node, modelId=str(model))
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ones(slicer.util.arrayFromVolume(volume_node).shape, np.uint8), first, "lesion", volume_node
    )
    second = logic.process(volume_node, modelId=str(model))
    assert [first.GetName(), second.GetName()] == ["FLAIR segmentation v1", "FLAIR segmentation v2"]
    assert slicer.util.arrayFromSegmentBinaryLabelmap(first, "lesion", volume_node).all()
    assert (labels_of(slicer, second, volume_node) == LESION).any()


def test_progress_reaches_the_caller(logic, model, volume_node):
    seen = []
    logic.process(volume_node, modelId=str(model), progress=lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert {"preprocess", "inference", "postprocess"} <= {stage for _, stage in seen}


@pytest.mark.parametrize("after", [0, 3])
def test_cancel_leaves_the_scene_as_it_was(slicer, logic, model, volume_node, after):
    token, before, steps = CancelToken(), scene_contents(slicer), []

    def progress(_fraction, _stage):
        steps.append(1)
        if len(steps) > after:
            token.cancel()

    with pytest.raises(Cancelled):
        logic.process(volume_node, modelId=str(model), progress=progress, cancel=token)
    assert scene_contents(slicer) == before


def test_errors_are_typed_and_leave_the_scene_as_it_was(slicer, logic, model, volume_node, tmp_path):
    altered = tmp_path / model.parent.name
    altered.mkdir()
    (altered / "card.json").write_bytes(model.with_name("card.json").read_bytes())
    (altered / "model.onnx").write_bytes(model.read_bytes() + b" ")
    constant = slicer.util.addVolumeFromArray(np.full((6, 32, 32), 7, np.int16), name="constant")
    before = scene_contents(slicer)
    for node, model_id, error in (
        (volume_node, "no-such-model-v9.9", ModelNotFoundError),
        (volume_node, str(altered / "model.onnx"), InvalidModelError),
        (constant, str(model), UnusableIntensitiesError),
    ):
        with pytest.raises(error) as caught:
            logic.process(node, modelId=model_id)
        assert isinstance(caught.value, FlairSegError)
        assert caught.value.advice
    assert scene_contents(slicer) == before


def test_warnings_come_with_the_node(slicer, logic, model, head):
    array = head[0].array.astype(np.float32)
    array[4, 50, 40] = np.nan
    volume_node = slicer.util.addVolumeFromArray(array, ijkToRAS=head[0].ijk_to_ras, name="holes")
    node = logic.process(volume_node, modelId=str(model), device="cpu")
    core = flairseg.segment(flairseg.Volume(array, head[0].ijk_to_ras, "holes"), model=model, device="cpu")
    assert core.warnings
    assert node.GetAttribute("FlairSeg.warnings").split("\n") == core.warnings
    assert node.GetAttribute("FlairSeg.device") == "cpu"


def test_model_found_by_id(slicer, logic, model, volume_node, monkeypatch):
    monkeypatch.setenv("FLAIRSEG_MODELS", str(model.parent.parent))
    node = logic.process(volume_node, modelId="intensity-v0.1")
    assert node.GetSegmentation().GetNumberOfSegments() == len(CLASSES)


def test_the_command_lines_file_opens_in_slicer(slicer, logic, head, model, tmp_path, volume_node):
    """``<stem>.seg.nrrd`` by the core, read by Slicer's segmentations logic: the same segments as from the module."""
    core = flairseg.segment(head[0], model=model, device="cpu")
    written = flairseg.write_segmentation(core, tmp_path, "case")
    loaded = slicer.util.loadSegmentation(str(written["segmentation"]))
    made = logic.process(volume_node, modelId=str(model), device="cpu")
    assert loaded.GetSegmentation().GetNumberOfSegments() == len(CLASSES)
    for label_class in CLASSES:
        ours = made.GetSegmentation().GetSegment(label_class.id)
        segment = loaded.GetSegmentation().GetSegment(label_class.id)
        assert segment.GetName() == ours.GetName() == label_class.name
        assert segment.GetTerminology() == ours.GetTerminology()
        np.testing.assert_allclose(segment.GetColor(), ours.GetColor(), atol=0.002)
        assert segment.GetNameAutoGenerated() == ours.GetNameAutoGenerated()
    np.testing.assert_array_equal(labels_of(slicer, loaded, volume_node), core.labels)


def test_without_onnxruntime_the_user_is_told_what_to_install(slicer, logic, model, volume_node, monkeypatch):
    """As in a Slicer that is fresh from the download page."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    before = scene_contents(slicer)
    with pytest.raises(MissingDependencyError, match="onnxruntime") as caught:
        logic.process(volume_node, modelId=str(model), device="cpu")
    assert "install" in caught.value.advice.lower()
    assert scene_contents(slicer) == before


def test_without_a_package_of_the_core_the_user_is_told_what_to_install(logic, volume_node, monkeypatch):
    for name in [
        name for name in sys.modules if name.startswith(("flairseg.segmentation.pipeline", "flairseg.preprocessing"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(flairseg), "segment", raising=False)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingDependencyError, match="scipy is not installed") as caught:
        logic.process(volume_node)
    assert "slicer.util.pip_install('onnxruntime')" in caught.value.advice
