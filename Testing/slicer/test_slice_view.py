"""What a reader sees: Slicer's own slice views, rendered off screen, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.labels import CLASS_BY_VALUE, CLASSES, LESION

from Testing.slicer.helpers import labels_of, rigid, stored_as, world_affine

ORIENTATIONS = ("Axial", "Sagittal", "Coronal")
#: Slicer's default opacity of a segment's fill.
FILL = 0.5


@pytest.fixture
def view(slicer):
    """``view(orientation)``: a slice view, closed after the test."""
    from Testing.harness.slice_view import SliceView

    views = []

    def make(orientation):
        views.append(SliceView(orientation, 264, 264))
        return views[-1]

    yield make
    for opened in views:
        opened.close()


@pytest.fixture(params=["RAS", "LAS", "PIL", "under a transform"])
def case(request, slicer, logic, head, model, save_nifti, tmp_path):
    """A volume node as stored and loaded in several ways, with its segmentation node."""
    volume, _ = head
    codes = "RAS" if " " in request.param else request.param
    path = save_nifti(tmp_path / "flair.nii.gz", *stored_as(volume.array, volume.ijk_to_ras, codes))
    volume_node = slicer.util.loadVolume(str(path))
    if request.param == "under a transform":
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid((8, -5, 12), (9, -14, 6))))
        volume_node.SetAndObserveTransformNodeID(transform.GetID())
    return volume_node, logic.process(volume_node, modelId=str(model), device="cpu")


def deepest_voxel(mask: np.ndarray) -> np.ndarray:
    """K, J, I of the voxel farthest from the mask's edge."""
    from scipy import ndimage

    depth = ndimage.distance_transform_cdt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    return np.array(np.unravel_index(np.argmax(depth), mask.shape))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_each_class_has_its_colour_where_its_voxels_are(slicer, case, view, orientation):
    volume_node, node = case
    labels, affine = labels_of(slicer, node, volume_node), world_affine(slicer, volume_node)
    window = view(orientation)
    for label_class in CLASSES:
        ras = (affine @ [*deepest_voxel(labels == label_class.value)[::-1], 1])[:3]
        window.show(volume_node, ras)
        node.GetDisplayNode().SetVisibility(False)
        plain = window.render()[window.pixel(ras)].astype(float)
        node.GetDisplayNode().SetVisibility(True)
        shown = window.render()[window.pixel(ras)]
        assert np.ptp(plain) == 0, "the image itself is gray"
        np.testing.assert_allclose(shown, (1 - FILL) * plain + FILL * np.array(label_class.rgb), atol=2)


def test_a_whole_axial_plane_is_coloured_as_labelled(slicer, case, view):
    volume_node, node = case
    labels, affine = labels_of(slicer, node, volume_node), world_affine(slicer, volume_node)
    centre = affine @ [*deepest_voxel(labels == LESION)[::-1], 1]
    window = view("Axial")
    window.show(volume_node, centre[:3])
    node.GetDisplayNode().SetVisibility(False)
    plain = window.render().astype(float)
    node.GetDisplayNode().SetVisibility(True)
    shown = window.render()

    # Every pixel's voxel by the affine of the view and the volume; pixels whose neighbours differ carry the outline.
    rows, columns = np.indices(shown.shape[:2])
    xy = np.stack([columns.ravel(), shown.shape[0] - 1 - rows.ravel(), np.zeros(rows.size), np.ones(rows.size)])
    ras = slicer.util.arrayFromVTKMatrix(window.node.GetXYToRAS()) @ xy
    ijk = np.rint(np.linalg.inv(affine) @ ras)[:3].astype(int)
    inside = np.all((ijk >= 0) & (ijk < np.array(labels.shape[::-1])[:, None]), axis=0)
    expected = np.zeros(rows.size, np.uint8)
    expected[inside] = labels[ijk[2, inside], ijk[1, inside], ijk[0, inside]]
    expected = expected.reshape(rows.shape)
    interior = np.ones_like(expected, bool)
    for axis, step in ((0, 2), (0, -2), (1, 2), (1, -2), (0, 1), (0, -1), (1, 1), (1, -1)):
        interior &= np.roll(expected, step, axis) == expected

    colours = np.zeros((4, 3))
    for value, label_class in CLASS_BY_VALUE.items():
        colours[value] = label_class.rgb
    fill = np.where(expected > 0, FILL, 0.0)[..., None]
    predicted = (1 - fill) * plain + fill * colours[expected]
    right = np.abs(predicted - shown).max(axis=-1) <= 2
    assert (expected[interior] == LESION).sum() > 100
    assert right[interior].mean() > 0.995


def test_hidden_segment_is_not_drawn(slicer, case, view):
    volume_node, node = case
    labels, affine = labels_of(slicer, node, volume_node), world_affine(slicer, volume_node)
    ras = (affine @ [*deepest_voxel(labels == LESION)[::-1], 1])[:3]
    node.GetDisplayNode().SetSegmentVisibility("lesion", False)
    window = view("Axial")
    window.show(volume_node, ras)
    assert np.ptp(window.render()[window.pixel(ras)]) == 0
