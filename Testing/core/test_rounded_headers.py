"""Headers round: turned voxels of 1 mm have 0.99999998 or 1.00000002 mm, and no limit depends on that."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.anatomy.dissemination import dissemination
from flairseg.anatomy.lesion_table import lesion_table
from flairseg.anatomy.regions import WHITE_MATTER, Fit, RegionMap
from flairseg.evaluation.slices import SliceCounts, volume_groups
from flairseg.evaluation.surface import surface_distances
from flairseg.image.geometry import spacing_of
from flairseg.image.slice_stack import thick_axis
from flairseg.image.volume import Volume
from flairseg.labels import LESION, VENTRICLES
from flairseg.lesions.boxes import through_plane_axis
from flairseg.longitudinal.judging import TOO_SMALL, judge
from flairseg.longitudinal.noise import VENTRICLE_NOISE_THIN_PERCENT, ventricle_noise_percent
from scipy.spatial.transform import Rotation

from Testing.core.test_change_judging import pair, track

#: As NIfTI stores them: single precision.
TURNS = [Rotation.from_euler("xyz", (n, 2 * n - 17, 13 - n), degrees=True).as_matrix() for n in range(1, 25)]


def stored(turn: np.ndarray, *spacing: float) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = (turn * np.array(spacing)).astype(np.float32)
    return affine


def test_the_headers_of_this_file_round_both_ways():
    sizes = np.array([spacing_of(stored(turn, 1, 1, 1)) for turn in TURNS])
    assert sizes.min() < 1 < sizes.max()
    assert abs(sizes - 1).max() < 1e-6


def test_surfaces_a_voxel_apart_agree_to_a_voxel():
    a = np.zeros((9, 9, 9), bool)
    a[2:6, 2:6, 2:6] = True
    shifts = [np.roll(a, 1, axis) for axis in range(3)]
    straight = [surface_distances(a, b, (1.0, 1.0, 1.0)).nsd(1.0) for b in shifts]
    assert straight == [1.0, 1.0, 1.0]
    for turn in TURNS:
        spacing = spacing_of(stored(turn, 1, 1, 1))[::-1]
        assert [surface_distances(a, b, spacing).nsd(1.0) for b in shifts] == straight


def test_slices_of_2_mm_are_thick():
    for turn in TURNS:
        assert thick_axis(spacing_of(stored(turn, 2, 1, 1))) == 0
        assert through_plane_axis(stored(turn, 2, 1, 1)) == 2
        assert thick_axis(spacing_of(stored(turn, 1.9, 1, 1))) is None


@pytest.mark.parametrize(("gap", "region"), [(1, "periventricular"), (2, "deep_white_matter")])
def test_a_lesion_2_mm_from_the_ventricle_touches_it(gap, region):
    """Centre to centre: one pixel of 1 mm between the two."""
    labels = np.zeros((3, 20, 20), np.uint8)
    labels[1, 8:12, 4:8] = VENTRICLES
    labels[1, 8:12, 8 + gap : 12 + gap] = LESION
    codes, lateral = np.full(labels.shape, WHITE_MATTER, np.uint8), np.ones(labels.shape, bool)
    for turn in TURNS:
        affine = stored(turn, 1, 1, 5)
        found = RegionMap(codes, lateral, True, Fit(0.95, 2, 0.9, (1, 1)), np.eye(4), spacing_of(affine), 0)
        assert lesion_table(labels, affine, regions=found)[0].region == region


def test_a_lesion_that_the_table_gives_3_mm_counts():
    labels = np.zeros((5, 5, 6), np.uint8)
    labels[2, 2, 1:4] = LESION
    for turn in TURNS:
        (row,) = lesion_table(labels, stored(turn, 1, 1, 1))
        assert row.as_dict()["diameter_mm"] == 3.0
        assert dissemination(["periventricular"], [row.diameter_mm]).regions_with_lesions == ("periventricular",)
    assert dissemination(["periventricular"], [2.99]).regions_with_lesions == ()


def test_a_new_lesion_3_mm_across_is_large_enough():
    assert judge(track(0, 50, extent_mm=2.99999994), 0, 1, pair()).note != TOO_SMALL
    assert judge(track(0, 50, extent_mm=2.99), 0, 1, pair()).note == TOO_SMALL


def test_slices_of_5_mm_are_thin_enough_for_the_smaller_noise_of_the_ventricles():
    expected = ventricle_noise_percent([Volume(np.zeros((3, 4, 5)), np.diag([1.0, 1.0, 5.0, 1.0]))])
    assert expected == VENTRICLE_NOISE_THIN_PERCENT
    for turn in TURNS:
        pair_of = [Volume(np.zeros((3, 4, 5)), stored(turn, 1, 1, mm)) for mm in (5, 4)]
        assert ventricle_noise_percent(pair_of) == expected


@pytest.mark.parametrize("voxel_mm3", [1.0, 0.99999993, 1.00000007])
def test_200_voxels_of_1_mm3_are_0_2_ml(voxel_mm3):
    counts = SliceCounts(np.array([199, 200, 700]), np.zeros(3, int), np.zeros(3, int), voxel_mm3 / 1000)
    groups, _ = volume_groups("method", "lesion", {"case": counts}, 0)
    assert [g.slices for g in groups] == [1, 1, 1, 0, 0]
