"""Which lesions of two studies are one, on grids small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.image.volume import Volume
from flairseg.longitudinal.matching import Track, match
from flairseg.longitudinal.space import CommonSpace
from flairseg.longitudinal.studies import Study

#: 1 x 1 x 3 mm, a corner at (-20, -10, 5).
AFFINE = np.array([[1.0, 0, 0, -20], [0, 1, 0, -10], [0, 0, 3, 5], [0, 0, 0, 1]])
SHAPE = (8, 30, 40)
#: The second study's head lies 5 mm further to the right (R): five voxels along I.
SHIFT = 5
MOTION = np.eye(4)
MOTION[0, 3] = SHIFT


def study(*boxes: tuple, shift: int = 0) -> Study:
    """A study with lesions in boxes (K, J, I of the common grid)."""
    labels = np.zeros(SHAPE, np.uint8)
    for k, j, i in boxes:
        labels[k, j, slice(i.start + shift, i.stop + shift)] = 3
    return Study(Volume(np.zeros(SHAPE, np.float32), AFFINE, "a"), labels, None, None, False, "a")


def matched(first: list[tuple], second: list[tuple]) -> list[Track]:
    """Tracks of two studies, the second one moved."""
    studies = [study(*first), study(*second, shift=SHIFT)]
    space = CommonSpace(Volume(np.zeros(SHAPE, np.uint8), AFFINE, "g"), (np.eye(4), MOTION), "axial")
    members = [space.carry(s.labels == 3, s.volume, n) for n, s in enumerate(studies)]
    return match(studies, space, members)


def box(k: int, j: int, i: int, nk: int = 1, nj: int = 3, ni: int = 3) -> tuple[slice, slice, slice]:
    return slice(k, k + nk), slice(j, j + nj), slice(i, i + ni)


def test_a_lesion_is_measured_in_each_study_on_its_own_grid():
    small, large = box(5, 20, 25), box(2, 5, 6, 3, 4, 7)
    first, second = matched([small, large], [box(2, 5, 6, 2, 4, 7)])
    assert first.volumes_mm3 == pytest.approx((3 * 4 * 7 * 3, 2 * 4 * 7 * 3)), "largest first"
    one, other = first.presences
    assert (one.parts, one.slices, one.numbers) == (1, (2, 4), (1,))
    # Middle of K 2..4, J 5..8, I 6..12; the other one of K 2..3, five voxels to the right.
    assert one.centre_ras == pytest.approx((-20 + 9, -10 + 6.5, 5 + 3 * 3))
    assert other.centre_ras == pytest.approx((-20 + 14, -10 + 6.5, 5 + 3 * 2.5))
    assert (other.slices, other.numbers) == ((2, 3), (1,))
    # The longest side of the box: 3 slices of 3 mm, against 7 pixels of 1 mm.
    assert (one.extent_mm, other.extent_mm) == pytest.approx((9.0, 7.0))
    assert len(first.voxels) == 3 * 4 * 7
    assert first.inside.sum(axis=1).tolist() == [84, 56]
    assert (first.voxels[:, 0][first.inside[0] & ~first.inside[1]] == 4).all()
    alone, absent = second.presences
    assert alone.volume_mm3 == pytest.approx(27.0)
    assert (alone.numbers, alone.slices) == ((2,), (5, 5))
    assert (absent.volume_mm3, absent.parts, absent.centre_ras, absent.slices, absent.numbers) == (0, 0, None, None, ())
    assert second.inside.tolist() == [[True] * 9, [False] * 9]


@pytest.mark.parametrize(
    ("step", "joined"),
    # In the slice 1.5 mm: one pixel, also askew (1.41 mm). Through the slices the neighbouring one.
    [((0, 0, 1), 1), ((0, 0, 2), 0), ((0, 1, 0), 1), ((0, 2, 0), 0), ((0, 1, 1), 1), ((1, 0, 0), 1), ((2, 0, 0), 0)],
)
@pytest.mark.parametrize("back", [False, True])
def test_lesions_join_as_far_as_the_tolerance_goes(step, joined, back):
    """Steps between the nearest voxels of the two studies."""
    here = box(3, 12, 15, 1, 2, 2)
    k, j, i = step
    there = box(3 + k, 12 + j + (j > 0), 15 + i + (i > 0), 1, 2, 2)
    tracks = matched([there], [here]) if back else matched([here], [there])
    assert len(tracks) == (1 if joined else 2)
    assert sum(t.volumes_mm3[0] > 0 for t in tracks) == sum(t.volumes_mm3[1] > 0 for t in tracks) == 1


@pytest.mark.parametrize(("gap", "parts"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("axis", [1, 2])
def test_pieces_a_pixel_apart_in_the_slice_are_one(gap, parts, axis):
    other = [3, 10, 12]
    other[axis] += 3 + gap
    (track,) = matched([box(3, 10, 12), box(*other)], [box(3, 8, 10, 1, 12, 12)])
    assert track.presences[0].parts == parts
    assert track.presences[0].numbers == (1, 2)
    assert track.volumes_mm3 == pytest.approx((54.0, 432.0))


def test_pieces_in_the_next_slice_but_one_are_two():
    (track,) = matched([box(2, 10, 12), box(4, 10, 12)], [box(2, 10, 12, 3)])
    assert (track.presences[0].parts, track.presences[1].parts) == (2, 1)
    (track,) = matched([box(2, 10, 12), box(3, 10, 12)], [box(2, 10, 12, 2)])
    assert track.presences[0].parts == 1


def test_each_of_several_lesions_meets_its_own():
    """Three lesions in each study, or two in one of them, known by their sizes."""
    sizes = [(5, 9), (4, 6), (3, 4)]
    first = [box(3, 2 + 9 * n, 4 + 8 * n, 1, 3, one) for n, (one, _) in enumerate(sizes)]
    second = [box(3, 2 + 9 * n, 4 + 8 * n, 1, 3, two) for n, (_, two) in enumerate(sizes)]
    expected = sorted(((9.0 * one, 9.0 * two) for one, two in sizes), key=max, reverse=True)
    assert [t.volumes_mm3 for t in matched(first, second)] == [pytest.approx(pair) for pair in expected]
    tracks = matched(first[1:], second)
    assert [t.volumes_mm3 for t in tracks] == [pytest.approx(v) for v in ((0, 81.0), (36.0, 54.0), (27.0, 36.0))]
    tracks = matched(first, second[1:])
    assert [t.volumes_mm3 for t in tracks] == [pytest.approx(v) for v in ((36.0, 54.0), (45.0, 0), (27.0, 36.0))]


def test_a_thin_tail_belongs_to_its_lesion():
    """Half a voxel off the common grid a tail of one voxel fills none of it: its voxels go to what is nearest in mm."""
    body, tail, other = box(3, 12, 10, 2), box(3, 13, 13, 1, 1, 4), box(3, 19, 15, 2, 3, 4)
    own = study(body, tail, other)
    half = np.eye(4)
    half[:3, 3] = 0, 0.5, 1.5
    space = CommonSpace(Volume(np.zeros(SHAPE, np.uint8), AFFINE, "g"), (half, half), "axial")
    member = space.carry(own.labels == 3, own.volume, 0)
    tracks = match([own, own], space, [member, member])
    # 2 x 3 x 4 voxels; 2 x 3 x 3 and the tail of four, which ends 4 mm from the one and 6 mm from the other.
    assert sorted(t.volumes_mm3 for t in tracks) == [pytest.approx((66.0, 66.0)), pytest.approx((72.0, 72.0))]


@pytest.mark.parametrize(("apart_mm", "joined"), [(3.0, True), (4.5, False)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_join_by_their_thickness(apart_mm, joined, axis):
    """Slices of 6 mm on a grid of 1.5 mm steps, along each array axis: 0.6 of a slice is 3.6 mm."""
    fine, coarse = [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]
    fine[2 - axis], coarse[2 - axis] = 1.5, 6.0
    shape = [20, 20, 20]
    shape[axis] = 6
    labels = np.zeros(shape, np.uint8)
    place = [slice(8, 11)] * 3
    place[axis] = slice(1, 2)
    labels[tuple(place)] = 3
    affine = np.diag([*coarse, 1.0])
    one = Study(Volume(np.zeros(shape, np.float32), affine), labels, None, None, False, "a")
    # The lesion fills 3 mm on either side of its slice: so far from the first lesion's end begins the second one.
    motion = np.eye(4)
    motion[2 - axis, 3] = -(6.0 + apart_mm)
    whole = [20, 20, 20]
    whole[axis] = 24
    space = CommonSpace(Volume(np.zeros(whole, np.uint8), np.diag([*fine, 1.0])), (np.eye(4), motion), "axial")
    members = [space.carry(labels == 3, one.volume, n) for n in range(2)]
    assert len(match([one, one], space, members)) == (1 if joined else 2)


def test_without_lesions_there_are_no_tracks():
    assert matched([], []) == []
    (alone,) = matched([], [box(3, 3, 3)])
    assert alone.volumes_mm3 == pytest.approx((0.0, 27.0))
