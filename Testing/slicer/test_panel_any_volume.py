"""Any volume a clinic loads, by the panel's button: the result lies where it should, or a refusal says why."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from flairseg.labels import CLASS_BY_ID

from Testing.harness.interaction import click, wait_until
from Testing.slicer.panel_driver import settle, shown
from Testing.slicer.test_panel_run import RUN_S, panel  # noqa: F401 - the fixture

#: Degrees of the oblique volume about the patient's three axes.
TILT = (8.0, -12.0, 5.0)


def rotation(degrees) -> np.ndarray:
    """Rotations about x, y and z, one after the other, 4 x 4."""
    out = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(4)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        out = turn @ out
    return out


def flipped(array, affine, axis: int):
    """The same voxels at the same places, stored backwards along an array axis (K, J, I)."""
    step = np.eye(4)
    step[2 - axis, 2 - axis], step[2 - axis, 3] = -1, array.shape[axis] - 1
    return np.ascontiguousarray(np.flip(array, axis)), affine @ step


def sagittal(array, affine):
    """The same voxels at the same places, stored as sagittal slices."""
    swap = np.eye(4)[:, [2, 1, 0, 3]]
    return np.ascontiguousarray(array.transpose(2, 1, 0)), affine @ swap


def moved(slicer, node, matrix, harden: bool):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    if harden:
        node.HardenTransform()


def cropped(array, affine):
    corner = np.eye(4)
    corner[:3, 3] = (2, 3, 1)
    return np.ascontiguousarray(array[1:-1, 3:-2, 2:-3]), affine @ corner


def stored(kind: str, array, affine):
    """A head, as one clinic or another stores it."""
    return {
        "LAS": lambda: flipped(array, affine, 2),
        "upside down": lambda: flipped(array, affine, 0),
        "oblique": lambda: (array, rotation(TILT) @ affine),
        "sagittal": lambda: sagittal(array, affine),
        "cropped": lambda: cropped(array, affine),
        "float": lambda: (array.astype(np.float32) * 1.5, affine),
    }.get(kind, lambda: (array, affine))()


def run(panel, slicer, node):  # noqa: F811 - the fixture of that name is handed on
    """Choose a volume, click, wait; the new segmentation node, None if there is none."""
    before = set(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, RUN_S)
    wait_until(lambda: not panel.result.busy, RUN_S)
    new = [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n not in before]
    return new[0] if new else None


def world_volume(slicer, node, segment_id: str, volume_node) -> tuple[float, np.ndarray]:
    """Millilitres of a segment and its centre in the world (RAS, mm)."""
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume_node) > 0
    affine = slicer.util.arrayFromVTKMatrix(_world(volume_node))
    centre = np.argwhere(mask).mean(axis=0)[::-1]
    return mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000, (affine @ [*centre, 1])[:3]


def _world(node):
    """Voxel indices to world RAS, parent transforms applied."""
    matrix, parent = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(parent)
    vtk.vtkMatrix4x4.Multiply4x4(parent, matrix, matrix)
    return matrix


@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "LAS",
        "upside down",
        "oblique",
        "sagittal",
        "transformed",
        "hardened",
        "cropped",
        "float",
        "display threshold",
    ],
)
def test_every_class_lies_where_it_is_in_the_head(panel, slicer, head, kind):  # noqa: F811
    volume, labels = head
    array, affine = stored(kind, volume.array, volume.ijk_to_ras)
    node = slicer.util.addVolumeFromArray(array, affine, f"FLAIR {kind}")
    move = np.eye(4)
    if kind in ("transformed", "hardened"):
        move = rotation((0, 0, 20))
        move[:3, 3] = 10, -5, 3
        moved(slicer, node, move, harden=kind == "hardened")
    elif kind == "oblique":
        move = rotation(TILT)
    elif kind == "display threshold":
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetApplyThreshold(True)
        node.GetDisplayNode().SetThreshold(1e6, 2e6)
    result = run(panel, slicer, node)
    assert result is not None, shown(panel.ui.statusLabel)
    voxel_ml = abs(np.linalg.det(volume.ijk_to_ras[:3, :3])) / 1000
    for segment_id in CLASS_BY_ID:
        mask = labels == CLASS_BY_ID[segment_id].value
        truth = move @ volume.ijk_to_ras @ [*np.argwhere(mask).mean(axis=0)[::-1], 1]
        ml, centre = world_volume(slicer, result, segment_id, node)
        assert ml == pytest.approx(mask.sum() * voxel_ml, rel=0.1), segment_id
        assert np.linalg.norm(centre - truth[:3]) < 2, segment_id
    assert panel.result.segmentationNode is result
    assert panel.result.lesions.selected is not None


@pytest.mark.parametrize("kind", ["colour", "label map", "empty"])
def test_what_is_no_flair_cannot_be_started_and_says_so(panel, slicer, head, kind):  # noqa: F811
    volume, labels = head
    if kind == "colour":
        array = np.repeat(volume.array[..., None], 3, axis=-1).astype(np.uint8)
        node = slicer.util.addVolumeFromArray(array, nodeClassName="vtkMRMLVectorVolumeNode")
    elif kind == "label map":
        node = slicer.util.addVolumeFromArray(labels, nodeClassName="vtkMRMLLabelMapVolumeNode")
    else:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "FLAIR")
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip
    panel.run.start()
    assert not panel.run.running
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_one_slice_is_segmented_or_refused_in_words(panel, slicer, head):  # noqa: F811
    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array[12:13], volume.ijk_to_ras, "FLAIR scout")
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    if not panel.ui.segmentButton.enabled:
        assert panel.ui.segmentButton.toolTip
        return
    result = run(panel, slicer, node)
    assert result is not None or "\n" in shown(panel.ui.statusLabel)


def test_a_volume_renamed_while_it_runs_and_a_second_run_make_two_versions(panel, slicer, head):  # noqa: F811
    volume, _ = head
    other = slicer.util.addVolumeFromArray(volume.array[::-1].copy(), volume.ijk_to_ras, "T1 other")
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR before")
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    click(panel.ui.segmentButton)
    node.SetName("FLAIR after")
    wait_until(lambda: not panel.run.running, RUN_S)
    first = panel.result.segmentationNode
    second = run(panel, slicer, node)
    assert second is not first
    assert first.GetName() == "FLAIR after segmentation v1"
    assert second.GetName() == "FLAIR after segmentation v2"
    assert panel.result.ui.versionSelector.count == 2
    assert other.GetName() == "T1 other"


@pytest.mark.parametrize("what", ["scene closed", "node deleted"])
def test_what_goes_while_it_runs_ends_the_run_and_the_next_one_works(panel, slicer, head, what):  # noqa: F811
    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR")
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    click(panel.ui.segmentButton)
    assert panel.run.running
    if what == "scene closed":
        slicer.mrmlScene.Clear(0)
    else:
        slicer.mrmlScene.RemoveNode(node)
    wait_until(lambda: not panel.run.running, RUN_S)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert panel.ui.segmentButton.text == "Segment"
    again = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR again")
    settle(panel)
    assert run(panel, slicer, again) is not None
