"""VolumeGeometry against SimpleITK and nibabel: spacing, LPS, sameness with one tolerance, placing of parts."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import GridMismatchError, InvalidGeometryError
from flairseg.image.geometry import (
    GRID_TOLERANCE_VOXELS,
    VolumeGeometry,
    dominant_axes,
    flip_lps,
    flip_lps_points,
)
from flairseg.image.volume import Volume, volume_from_sitk, volume_to_sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

SIZES = st.tuples(*[st.integers(1, 7)] * 3)


@st.composite
def geometries(draw, shapes=SIZES):
    """Grids with any axis order, direction and obliquity, voxels of 0.3 to 8 mm."""
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    turn = Rotation.from_rotvec([draw(st.integers(-60, 60)) / 100 for _ in range(3)]).as_matrix()
    spacing = np.array([draw(st.floats(0.3, 8.0)) for _ in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = (turn @ (np.eye(3)[:, list(order)] * signs)) * spacing
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return VolumeGeometry(draw(shapes), affine)


def part_of(whole, draw):
    """A crop (possibly beyond the grid) of a whole, its axes re-ordered and turned round; and its first index."""
    k, j, i = whole.shape
    start = np.array([draw(st.integers(-2, n - 1)) for n in (i, j, k)])
    size = np.array([draw(st.integers(1, 6)) for _ in range(3)])
    order, flips = draw(st.permutations(range(3))), draw(st.tuples(*[st.booleans()] * 3))
    to_whole = np.eye(4)
    to_whole[:3, :3] = 0
    for axis, (along, flip) in enumerate(zip(order, flips, strict=True)):
        to_whole[along, axis] = -1 if flip else 1
        to_whole[along, 3] = start[along] + (size[along] - 1 if flip else 0)
    shape = tuple(int(size[along]) for along in order)[::-1]
    return VolumeGeometry(shape, whole.ijk_to_ras @ to_whole), to_whole


@given(geometries())
@settings(max_examples=60, deadline=None)
def test_measures_are_those_of_nibabel_and_simpleitk(grid):
    assert np.allclose(grid.spacing, nib.affines.voxel_sizes(grid.ijk_to_ras))
    assert grid.spacing_kji == grid.spacing[::-1]
    assert grid.voxel_volume_mm3 == pytest.approx(np.prod(grid.spacing), rel=1e-9)
    assert grid.voxel_volume_ml == pytest.approx(grid.voxel_volume_mm3 / 1000)
    assert grid.orientation == "".join(nib.aff2axcodes(grid.ijk_to_ras))
    assert grid.shear < 1e-9
    image = sitk.Image(*map(int, grid.shape[::-1]), sitk.sitkUInt8)
    for setter, value in zip((image.SetSpacing, image.SetDirection, image.SetOrigin), grid.to_itk(), strict=True):
        setter(value)
    last = [n - 1 for n in grid.shape[::-1]]
    for index in ([0, 0, 0], last, [last[0], 0, last[2]]):
        point = image.TransformIndexToPhysicalPoint(index)
        assert np.allclose((grid.ijk_to_lps @ [*index, 1])[:3], point, atol=1e-6)
        assert np.allclose((grid.ijk_to_ras @ [*index, 1])[:3], flip_lps_points(point), atol=1e-6)
    back = VolumeGeometry.from_sitk(image)
    assert back.shape == grid.shape
    assert np.allclose(back.ijk_to_ras, grid.ijk_to_ras, atol=1e-9)
    assert grid.matches(back)
    assert grid.is_right_handed == (np.linalg.det(grid.ijk_to_ras[:3, :3]) > 0)


def test_corners_are_the_centres_of_corner_voxels():
    grid = VolumeGeometry((3, 4, 5), np.diag([2.0, 3.0, 4.0, 1.0]))
    assert sorted(map(tuple, grid.corners)) == sorted((x, y, z) for x in (0, 8) for y in (0, 9) for z in (0, 8))


@given(geometries(st.tuples(*[st.integers(2, 60)] * 3)), st.integers(0, 2), st.sampled_from([-1, 1]))
@settings(max_examples=60, deadline=None)
def test_one_tolerance_rounding_passes_and_half_a_voxel_does_not(grid, axis, sign):
    smallest = min(grid.spacing)
    for share, same in ((0.9 * GRID_TOLERANCE_VOXELS, True), (1.1 * GRID_TOLERANCE_VOXELS, False), (0.5, False)):
        moved = grid.ijk_to_ras.copy()
        moved[axis, 3] += sign * share * smallest
        other = VolumeGeometry(grid.shape, moved)
        assert grid.matches(other) is same
        assert other.matches(grid) is same
        assert grid.displacement_mm(other) == pytest.approx(share * smallest)
        assert bool(grid.differences(other)) is not same
        assert grid.matches(other, tolerance_mm=smallest)


def test_the_far_corner_counts_not_only_the_first_voxel():
    grid = VolumeGeometry((10, 300, 300), np.diag([1.0, 1.0, 5.0, 1.0]))
    wider = VolumeGeometry(grid.shape, np.diag([1.001, 1.0, 5.0, 1.0]))  # 0.3 mm at the far side
    assert not grid.matches(wider)
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec([0, 0, 0.001]).as_matrix()
    assert not grid.matches(VolumeGeometry(grid.shape, turned @ grid.ijk_to_ras))
    turned[:3, :3] = Rotation.from_rotvec([0, 0, 0.0002]).as_matrix()
    assert grid.matches(VolumeGeometry(grid.shape, turned @ grid.ijk_to_ras))


def test_the_thickness_of_a_single_slice_counts():
    thin, thick = (VolumeGeometry((1, 30, 30), np.diag([1.0, 1.0, mm, 1.0])) for mm in (3, 6))
    assert not thin.matches(thick)
    assert thin.differences(thick) == ("voxel size 1 x 1 x 3 against 1 x 1 x 6 mm",)
    assert thin.locate(thick) is None


def test_single_precision_of_a_nifti_header_is_rounding():
    grid = VolumeGeometry(
        (40, 512, 512),
        np.array([[-0.4296875, 0, 0, -97.3], [0, -0.4296875, 0, 120.1], [0, 0, 3.3, 33], [0, 0, 0, 1]]),
    )
    image = nib.Nifti1Image(np.zeros((512, 512, 40), np.uint8), grid.ijk_to_ras)
    assert grid.matches(VolumeGeometry(grid.shape, nib.Nifti1Header(image.header.binaryblock).get_best_affine()))


def test_differences_name_both_values():
    grid = VolumeGeometry((20, 30, 40), np.diag([1.0, 1.0, 3.0, 1.0]))

    def told(shape, affine):
        return " | ".join(grid.differences(VolumeGeometry(shape, affine)))

    assert grid.differences(grid) == ()
    assert told((20, 30, 41), grid.ijk_to_ras) == "40 x 30 x 20 against 41 x 30 x 20 voxels"
    assert told((20, 30, 39), grid.ijk_to_ras) == "40 x 30 x 20 against 39 x 30 x 20 voxels"
    assert not grid.matches(VolumeGeometry((20, 30, 39), grid.ijk_to_ras))
    assert told(grid.shape, np.diag([1.0, 1.0, 6.8, 1.0])) == "voxel size 1 x 1 x 3 against 1 x 1 x 6.8 mm"
    flipped = told(grid.shape, VolumeGeometry.from_itk((1, 1, 1), (1, 1, 3), np.eye(3).ravel(), (0, 0, 0)).ijk_to_ras)
    assert flipped == "axes RAS against LPS"
    shifted = grid.ijk_to_ras.copy()
    shifted[0, 3] = 5
    assert told(grid.shape, shifted) == "first voxel at (0, 0, 0) against (5, 0, 0) mm (RAS), 5 mm apart"
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec([0, 0, np.radians(12)]).as_matrix()
    assert told(grid.shape, turned @ grid.ijk_to_ras) == "directions 12 degrees apart"


def test_two_headers_are_reconciled_by_the_placement_that_they_share():
    old, new, third = (VolumeGeometry((6, 20, 20), np.diag([1.0, 1.0, 3.0, 1.0])) for _ in range(3))
    new, third = (VolumeGeometry(old.shape, _moved(old, mm)) for mm in (5.0, 9.0))
    both = VolumeGeometry(old.shape, new.ijk_to_ras, (old.ijk_to_ras,))
    for image, mask in (
        (both, old),
        (old, both),
        (both, VolumeGeometry(old.shape, third.ijk_to_ras, (old.ijk_to_ras,))),
    ):
        found, other = image.reconcile(mask)
        assert other
        assert found == image
    assert both.reconcile(new) == (new, False)
    assert both.reconcile(third) == (third, False)
    assert old.reconcile(new) == (new, False)
    cropped = both.part((1, 0, 0), (3, 20, 20))
    assert both.reconcile(cropped) == (cropped, False)


def _moved(grid, mm):
    affine = grid.ijk_to_ras.copy()
    affine[0, 3] += mm
    return affine


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_placing_puts_each_voxel_where_it_is_in_space(data):
    whole = data.draw(geometries())
    source, to_whole = part_of(whole, data.draw)
    array = np.arange(1, 1 + np.prod(source.shape)).reshape(source.shape)
    placed = whole.place(array, source, clip=True)
    expected = np.zeros(whole.shape, array.dtype)
    inside = 0
    for k, j, i in np.ndindex(source.shape):
        index = np.rint(to_whole @ [i, j, k, 1])[:3].astype(int)
        if (index >= 0).all() and (index[::-1] < whole.shape).all():
            expected[tuple(index[::-1])] = array[k, j, i]
            inside += 1
    assert np.array_equal(placed, expected)
    # The same by SimpleITK's resampling with the nearest neighbour.
    image = volume_to_sitk(Volume(array.astype(np.int32), source.ijk_to_ras))
    target = volume_to_sitk(Volume(np.zeros(whole.shape, np.int32), whole.ijk_to_ras))
    resampled = sitk.Resample(image, target, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    assert np.array_equal(placed, sitk.GetArrayFromImage(resampled))
    classes = np.stack([array, array * 2])
    assert np.array_equal(whole.place(classes, source, clip=True), np.stack([expected, expected * 2]))
    if inside < array.size:
        with pytest.raises(GridMismatchError) as error:
            whole.place(array, source)
        assert error.value.code == "outside-grid"
        assert error.value.fields["voxels"] == array.size - inside
    else:
        assert np.array_equal(whole.place(array, source), expected)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_placing_refuses_what_lies_between_voxels(data):
    whole = data.draw(geometries())
    source, _ = part_of(whole, data.draw)
    moved = source.ijk_to_ras.copy()
    moved[:3, 3] += data.draw(st.floats(0.15, 0.85)) * whole.ijk_to_ras[:3, data.draw(st.integers(0, 2))]
    shifted = VolumeGeometry(source.shape, moved)
    assert whole.locate(source) is not None
    # A shift of less than 0.1 of the smallest edge is rounding, whatever share of a thicker slice it is.
    assert whole.locate(shifted) is None
    with pytest.raises(GridMismatchError) as error:
        whole.place(np.zeros(source.shape), shifted)
    assert error.value.code == "grid-mismatch"
    assert error.value.fields["differences"]


def test_placing_refuses_other_spacing_and_turned_axes():
    whole = VolumeGeometry((20, 20, 20), np.eye(4))
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec([0, 0, 0.1]).as_matrix()
    for affine in (np.diag([2.0, 1.0, 1.0, 1.0]), np.diag([1.05, 1.0, 1.0, 1.0]), turned):
        assert whole.locate(VolumeGeometry((10, 10, 10), affine)) is None
    with pytest.raises(ValueError, match="shape"):
        whole.place(np.zeros((3, 3, 3)), VolumeGeometry((3, 3, 4), np.eye(4)))


def test_a_part_with_rounding_at_its_ends_is_placed():
    whole = VolumeGeometry((30, 400, 400), np.diag([0.5, 0.5, 3.0, 1.0]))
    affine = np.diag([0.5001, 0.5, 3.0, 1.0])
    affine[0, 3] = 5.0
    source = VolumeGeometry((2, 3, 300), affine)  # 0.03 mm off at its far end
    assert whole.locate(source).start == (0, 0, 10)


@pytest.mark.parametrize("affine", [np.eye(3), np.full((4, 4), np.nan), np.diag([1, 1, 1, 2.0])])
def test_an_affine_that_is_none_is_refused(affine):
    with pytest.raises(InvalidGeometryError):
        VolumeGeometry((2, 2, 2), affine)


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("off", [2e-9, 2e-8, 5e-6, 2e-5, -2e-5])
def test_the_last_row_is_compared_as_by_numpy(column, off):
    affine = np.eye(4)
    affine[3, column] += off
    if np.allclose(affine[3], (0, 0, 0, 1)):
        VolumeGeometry((2, 2, 2), affine)
    else:
        with pytest.raises(InvalidGeometryError):
            VolumeGeometry((2, 2, 2), affine)


def test_an_axis_without_length_is_refused_where_it_matters():
    flat = VolumeGeometry((2, 2, 2), np.diag([1.0, 0.0, 1.0, 1.0]))
    for use in (flat.to_itk, lambda: flat.directions, lambda: flat.index_map(flat), lambda: flat.orientation):
        with pytest.raises(InvalidGeometryError) as error:
            use()
        assert error.value.code == "no-voxel-size"


def test_equality_is_exact_and_the_affine_is_read_only():
    affine = np.eye(4)
    grid = VolumeGeometry((2, 3, 4), affine)
    affine[0, 3] = 7
    assert grid == VolumeGeometry((2, 3, 4), np.eye(4))
    assert hash(grid) == hash(VolumeGeometry((2, 3, 4), np.diag([1.0, 1, 1, 1])))
    assert grid != VolumeGeometry((2, 3, 4), affine)
    assert grid != "grid"
    with pytest.raises(ValueError, match="read-only"):
        grid.ijk_to_ras[0, 0] = 2


@given(geometries())
@settings(max_examples=20, deadline=None)
def test_volumes_carry_their_geometry(grid):
    volume = Volume(np.zeros(grid.shape, np.float32), grid.ijk_to_ras)
    assert volume.geometry == grid
    assert (volume.spacing, volume.voxel_mm3) == (grid.spacing, grid.voxel_volume_mm3)
    assert volume_from_sitk(volume_to_sitk(volume)).geometry.matches(grid)
    assert np.allclose(
        VolumeGeometry.from_itk(grid.shape[::-1], *grid.to_itk()).ijk_to_ras,
        grid.ijk_to_ras,
    )
    assert np.allclose(flip_lps(flip_lps(grid.ijk_to_ras)), grid.ijk_to_ras)
    assert sorted(dominant_axes(grid.ijk_to_ras)) == [0, 1, 2]
