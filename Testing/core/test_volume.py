"""Volume: one affine, against SimpleITK's physical points and nibabel's reading of the same file."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.volume import Volume, volume_from_sitk, volume_to_sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(*[st.floats(0.2, 12)] * 3)
origins = st.tuples(*[st.floats(-500, 500)] * 3)


def oblique_image(angles_deg, spacing, origin, left_handed=False, shape=(3, 4, 5)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.arange(np.prod(shape), dtype=np.int16).reshape(shape))
    direction = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    if left_handed:
        direction[:, 0] *= -1
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


@settings(max_examples=40, deadline=None)
@given(angles, spacings, origins, st.booleans(), st.tuples(*[st.integers(0, 2)] * 3))
def test_affine_maps_indices_to_the_points_that_simpleitk_gives(turn, spacing, origin, left_handed, index):
    image = oblique_image(turn, spacing, origin, left_handed)
    volume = volume_from_sitk(image)
    point = np.array(image.TransformIndexToPhysicalPoint(index)) * LPS_TO_RAS
    assert np.allclose((volume.ijk_to_ras @ [*index, 1])[:3], point, atol=1e-6)
    assert volume.array[index[::-1]] == image[index]


@settings(max_examples=40, deadline=None)
@given(angles, spacings, origins, st.booleans())
def test_geometry_comes_back_from_the_affine(turn, spacing, origin, left_handed):
    image = oblique_image(turn, spacing, origin, left_handed)
    back = volume_to_sitk(volume_from_sitk(image))
    assert np.allclose(back.GetSpacing(), image.GetSpacing())
    assert np.allclose(back.GetDirection(), image.GetDirection(), atol=1e-9)
    assert np.allclose(back.GetOrigin(), image.GetOrigin())
    assert (sitk.GetArrayFromImage(back) == sitk.GetArrayFromImage(image)).all()
    geometry = volume_from_sitk(image).geometry
    assert VolumeGeometry.from_itk(image.GetSize(), *geometry.to_itk()).matches(geometry)


@pytest.mark.parametrize("left_handed", [False, True])
def test_affine_is_the_one_nibabel_reads(tmp_path, left_handed):
    image = oblique_image((20, -35, 70), (0.7, 0.9, 6.4), (-90.5, 12.0, 44.0), left_handed)
    sitk.WriteImage(image, str(tmp_path / "image.nii.gz"))
    theirs = nib.load(tmp_path / "image.nii.gz")
    ours = volume_from_sitk(image)
    assert np.allclose(ours.ijk_to_ras, theirs.affine, atol=1e-4)
    assert (ours.array == np.asarray(theirs.dataobj).T).all()
    assert np.allclose(ours.spacing, theirs.header.get_zooms(), atol=1e-5)
    assert np.isclose(ours.voxel_mm3, np.prod(theirs.header.get_zooms()), rtol=1e-5)


def test_another_array_keeps_the_grid():
    volume = Volume(np.zeros((2, 3, 4)), np.diag([1.0, 2.0, 3.0, 1.0]), "case", ("mended",))
    other = volume.with_array(np.ones((2, 3, 4)))
    assert (other.array == 1).all()
    assert (other.ijk_to_ras == volume.ijk_to_ras).all()
    assert (other.name, other.warnings) == ("case", ("mended",))
    with pytest.raises(ValueError, match="does not match the grid"):
        volume.with_array(np.ones((4, 3, 2)))
