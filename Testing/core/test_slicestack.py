"""SliceStack against nibabel's orientation functions, over every storage order."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from flairseg.image.slice_stack import SliceStack, choose_plane, dominant_axes
from flairseg.image.volume import Volume
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

PLANES = ("axial", "sagittal", "coronal")
ORIENTATIONS = [(p, s) for p in permutations(range(3)) for s in product((1, -1), repeat=3)]
rotations = st.builds(
    lambda axis, angle: Rotation.from_rotvec(np.deg2rad(angle) * np.array(axis) / np.linalg.norm(axis)).as_matrix(),
    st.tuples(*[st.floats(0.1, 1) | st.floats(-1, -0.1)] * 3),
    st.floats(-40, 40),
)


def stored(permutation, signs, spacing_ras=(0.9, 1.1, 6.0), shape_ras=(5, 6, 4), turn=None) -> Volume:
    """One head, numbered voxel by voxel along R, A, S, stored so that I, J, K follow the permuted, signed RAS axes."""
    ras = np.arange(np.prod(shape_ras), dtype=np.int32).reshape(shape_ras)
    affine = np.diag([*spacing_ras, 1.0])
    if turn is not None:
        affine[:3, :3] = turn @ affine[:3, :3]
    image = nib.Nifti1Image(ras, affine)
    image = image.as_reoriented([[permutation.index(axis), signs[permutation.index(axis)]] for axis in range(3)])
    return Volume(np.asarray(image.dataobj).T, image.affine)


def canonical(volume: Volume, plane: str) -> np.ndarray:
    """The canonical stack by way of nibabel: to RAS+, then the axes and directions that the documentation promises."""
    ras = nib.as_closest_canonical(nib.Nifti1Image(volume.array.T, volume.ijk_to_ras)).get_fdata()
    return {
        "axial": lambda: ras.transpose(2, 1, 0)[:, ::-1, ::-1],  # slices I -> S, rows A -> P, columns R -> L
        "sagittal": lambda: ras.transpose(0, 1, 2)[::-1, ::-1, ::-1],  # slices R -> L, rows A -> P, columns S -> I
        "coronal": lambda: ras.transpose(1, 2, 0)[:, ::-1, ::-1],  # slices P -> A, rows S -> I, columns R -> L
    }[plane]()


@pytest.mark.parametrize("plane", PLANES)
def test_all_48_storage_orders_give_one_stack_and_come_back(plane):
    seen = set()
    for permutation, signs in ORIENTATIONS:
        volume = stored(permutation, signs)
        seen.add("".join(nib.aff2axcodes(volume.ijk_to_ras)))
        stack = SliceStack.from_volume(volume, plane)
        assert stack.plane == plane
        assert (stack.array == canonical(volume, plane)).all()
        assert (stack.restore(stack.array) == volume.array).all()
        assert np.shares_memory(stack.array, volume.array)
    assert len(seen) == 48


@pytest.mark.parametrize("plane", PLANES)
def test_spacing_follows_the_axes(plane):
    expected = {"axial": (6.0, 1.1, 0.9), "sagittal": (0.9, 1.1, 6.0), "coronal": (1.1, 6.0, 0.9)}[plane]
    for permutation, signs in ORIENTATIONS:
        assert np.allclose(SliceStack.from_volume(stored(permutation, signs), plane).spacing, expected)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(ORIENTATIONS), st.sampled_from(PLANES), rotations)
def test_obliques_follow_nibabels_closest_axes(orientation, plane, turn):
    volume = stored(*orientation, turn=turn)
    assert (dominant_axes(volume.ijk_to_ras) == nib.io_orientation(volume.ijk_to_ras)[:, 0]).all()
    stack = SliceStack.from_volume(volume, plane)
    assert (stack.array == canonical(volume, plane)).all()
    assert (stack.restore(stack.array) == volume.array).all()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(PLANES), st.booleans())
def test_any_direction_is_a_reordering_with_an_exact_way_back(seed, plane, left_handed):
    rng = np.random.default_rng(seed)
    direction = Rotation.random(rng=rng).as_matrix() if _takes_rng() else Rotation.random(random_state=rng).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = direction @ np.diag(rng.uniform(0.4, 8, 3) * (-1 if left_handed else 1, 1, 1))
    volume = Volume(rng.permutation(60).reshape(3, 4, 5), affine)
    assert sorted(dominant_axes(affine)) == [0, 1, 2]
    stack = SliceStack.from_volume(volume, plane)
    assert (stack.restore(stack.array) == volume.array).all()
    classes = rng.normal(size=(4, *stack.array.shape))
    restored = stack.restore(classes)
    assert restored.shape == (4, *volume.array.shape)
    assert all((restored[c] == stack.restore(classes[c])).all() for c in range(4))
    for index in range(len(stack.array)):
        axis, number = stack.source_index(index)
        assert set(volume.array.take(number, axis).ravel()) == set(stack.array[index].ravel())


def _takes_rng() -> bool:
    """SciPy 1.15 renamed ``random_state``."""
    import inspect

    return "rng" in inspect.signature(Rotation.random).parameters


@pytest.mark.parametrize(
    ("spacing_ras", "plane"),
    [
        ((0.9, 0.9, 6.8), "axial"),
        ((0.5, 0.5, 2.0), "axial"),
        ((6.0, 0.9, 0.9), "sagittal"),
        ((0.9, 5.0, 0.9), "coronal"),
        ((1.0, 1.0, 1.0), "axial"),
        ((1.2, 1.0, 1.0), "axial"),  # sagittal 3-D FLAIR, near-isotropic
        ((1.9, 0.5, 0.5), "axial"),  # below THICK_SLICE_MM
        ((3.0, 2.5, 2.5), "axial"),  # below THICK_SLICE_RATIO
        ((2.0, 1.0, 1.0), "sagittal"),
    ],
)
def test_native_plane_comes_from_the_spacing_in_every_storage_order(spacing_ras, plane):
    for permutation, signs in ORIENTATIONS:
        volume = stored(permutation, signs, spacing_ras)
        assert choose_plane(volume) == plane
        assert SliceStack.from_volume(volume).plane == plane


def test_a_named_plane_is_kept_but_a_single_slice_has_no_choice():
    for permutation, signs in ORIENTATIONS:
        assert choose_plane(stored(permutation, signs), "coronal") == "coronal"
        single = stored(permutation, signs, shape_ras=(1, 6, 5))
        assert choose_plane(single) == choose_plane(single, "axial") == "sagittal"
        assert SliceStack.from_volume(single).array.shape == (1, 6, 5)


@given(rotations)
@settings(max_examples=30, deadline=None)
def test_thick_oblique_slices_keep_their_plane(turn):
    assert choose_plane(stored((0, 1, 2), (1, 1, 1), (0.9, 0.9, 6.0), turn=turn)) == "axial"
    assert choose_plane(stored((0, 1, 2), (1, 1, 1), (4.0, 0.9, 0.9), turn=turn)) == "sagittal"


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_affine_of_a_stack_puts_its_voxels_where_the_volume_has_them(plane, order):
    rng = np.random.default_rng(3)
    affine = np.eye(4)
    affine[:3, :3] = np.diag((0.9, -1.1, 3.0))[:, order]
    affine[:3, 3] = (10, -20, 30)
    volume = Volume(rng.random((4, 5, 6)), affine)
    stack = SliceStack.from_volume(volume, plane)
    own = stack.ijk_to_ras(affine)
    for k, j, i in np.ndindex(stack.array.shape):
        ras = own @ (i, j, k, 1)
        source = np.rint(np.linalg.inv(affine) @ ras).astype(int)[:3]
        assert stack.array[k, j, i] == volume.array[tuple(source[::-1])]


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3)])
def test_any_array_on_the_grid_is_arranged_as_the_volume_is(plane, lead):
    """Label maps and probabilities, whose class axis comes first, go the way of the image, and come back."""
    for orientation in (np.diag([-1.0, 1.0, -1.0]), np.eye(3)[[1, 2, 0]] * [1, -1, 1], np.eye(3)):
        affine = np.eye(4)
        affine[:3, :3] = orientation * [1.0, 2.0, 3.0]
        rng = np.random.default_rng(0)
        volume = Volume(rng.normal(size=(3, 4, 5)).astype(np.float32), affine, "v")
        stack = SliceStack.from_volume(volume, plane)
        array = rng.normal(size=(*lead, 3, 4, 5))
        for index in np.ndindex(*lead):
            expected = SliceStack.from_volume(Volume(array[index].astype(np.float32), affine, "v"), plane).array
            np.testing.assert_array_equal(stack.arrange(array.astype(np.float32))[index], expected)
        np.testing.assert_array_equal(stack.restore(stack.arrange(array)), array)
    np.testing.assert_array_equal(stack.arrange(volume.array), stack.array)
