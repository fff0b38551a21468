"""Segmentations that 3D Slicer saves - FlairSeg's after edits, and a reader's own - read back by the core."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.errors import UnsuitableMaskError
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.volume import Volume, volume_to_sitk
from flairseg.io.label_maps import read_label_map
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.writing import write_segmentation

from Testing.slicer.helpers import on_grid, stored_as

SHAPE = (8, 30, 24)
AFFINE = np.array([[1.5, 0, 0, -20], [0, 1.5, 0, -31], [0, 0, 4.0, 7], [0, 0, 0, 1]])
GRID = VolumeGeometry(SHAPE, AFFINE)


def image_of(slicer, mask: np.ndarray, affine: np.ndarray = AFFINE):
    from vtk.util import numpy_support

    image = slicer.vtkOrientedImageData()
    image.SetDimensions(mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    return image


def drawn(slicer, **masks: np.ndarray):
    """A segmentation as a reader draws it: a segment of each name, ids of Slicer's own."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    name = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    for title, mask in masks.items():
        segment_ = slicer.vtkSegment()
        segment_.SetName(title.replace("_", " "))
        segment_.AddRepresentation(name, image_of(slicer, mask))
        node.GetSegmentation().AddSegment(segment_)
    return node


def saved(slicer, node, path):
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    lesion, ventricles = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    lesion[2:4, 4:9, 3:7] = True
    ventricles[3:6, 12:20, 8:16] = True
    return lesion, ventricles


def test_a_reader_s_segments_are_read_by_name(slicer, masks, tmp_path):
    lesion, ventricles = masks
    node = drawn(slicer, Ventricles=ventricles, MS_lesion=lesion)
    found = read_label_map(saved(slicer, node, tmp_path / "mine.seg.nrrd"), GRID)
    assert np.array_equal(found.labels, np.where(lesion, 3, ventricles))
    assert found.classes == {1, 3}


@pytest.mark.parametrize("collapsed", [False, True], ids=["layers", "shared layer"])
def test_overlapping_segments_and_shared_layers_are_read_alike(slicer, masks, tmp_path, collapsed):
    lesion, ventricles = masks
    lesion[3:5, 10:14, 9:12] = True
    node = drawn(slicer, Ventricles=ventricles, Lesions=lesion)
    if collapsed:
        node.GetSegmentation().CollapseBinaryLabelmaps(True)
    found = read_label_map(saved(slicer, node, tmp_path / "mine.seg.nrrd"), GRID)
    # Collapsing by force gives the voxels in common to the later segment, here the lesions.
    assert np.array_equal(found.labels, np.where(lesion, 3, ventricles))
    assert bool(found.warnings) is not collapsed


def test_an_empty_segmentation_of_slicer_is_empty_on_every_image(slicer, tmp_path):
    node = drawn(slicer, MS_lesion=np.zeros(SHAPE, bool))
    found = read_label_map(saved(slicer, node, tmp_path / "empty.seg.nrrd"), GRID)
    assert found.labels.shape == SHAPE
    assert not found.labels.any()


def test_names_that_slicer_gives_by_itself_are_refused(slicer, masks, tmp_path):
    path = saved(slicer, drawn(slicer, Segment_1=masks[0]), tmp_path / "mine.seg.nrrd")
    with pytest.raises(UnsuitableMaskError, match="Segment 1"):
        read_label_map(path, GRID)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PIL", "oblique"])
def test_slicer_keeps_the_grid_and_every_voxel_of_our_segmentation(slicer, head, model, tmp_path, codes):
    """Loaded, a lesion drawn, saved, read again: 0 voxels differ, and the file is not cut down to the segments."""
    import SimpleITK as sitk

    array, matrix = stored_as(head[0].array, head[0].ijk_to_ras, codes)
    path = tmp_path / f"{codes}.nii.gz"
    sitk.WriteImage(volume_to_sitk(Volume(np.ascontiguousarray(array), matrix)), str(path))
    case = segment(path, model, "cpu")
    written = write_segmentation(case, tmp_path / "out")["segmentation"]
    volume_node = slicer.util.loadVolume(str(path))
    node = slicer.util.loadSegmentation(str(written))

    untouched = read_label_map(saved(slicer, node, tmp_path / "untouched.seg.nrrd"), case.volume.geometry)
    assert np.array_equal(untouched.labels, case.labels)
    assert sorted(_size(tmp_path / "untouched.seg.nrrd")) == sorted(case.labels.shape)

    lesion = slicer.util.arrayFromSegmentBinaryLabelmap(node, "lesion", volume_node).copy()
    lesion[tuple(slice(n // 8, n // 8 + 3) for n in lesion.shape)] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(lesion, node, "lesion", volume_node)
    node.GetSegmentation().RemoveSegment("normal_wmh")
    edited = read_label_map(saved(slicer, node, tmp_path / "edited.seg.nrrd"), case.volume.geometry)
    shown = np.where(lesion > 0, 3, np.where(_mask(slicer, node, "ventricles", volume_node), 1, 0))
    inside = _as_file(shown, volume_node, slicer, case.volume)
    assert np.array_equal(edited.labels, inside)
    assert (edited.labels == 3).sum() > (case.labels == 3).sum()
    assert edited.classes == {1, 3}
    assert sorted(_size(tmp_path / "edited.seg.nrrd")) == sorted(case.labels.shape)


def _mask(slicer, node, identifier, volume_node) -> np.ndarray:
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, volume_node) > 0


def _as_file(array: np.ndarray, volume_node, slicer, volume: Volume) -> np.ndarray:
    """An array in the scene's voxel order in the file's, by the places of the voxels."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return on_grid(array, slicer.util.arrayFromVTKMatrix(matrix), volume.array.shape, volume.ijk_to_ras)


def _size(path) -> tuple[int, ...]:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader.GetSize()
