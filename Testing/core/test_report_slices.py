"""Key slices, outlines and what is drawn in pictures: in the right place, on the right side, in any orientation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flairseg.image.volume import Volume
from flairseg.report.gathering import from_segmentation
from flairseg.report.slices import MOST, MOST_SLICES, Slices, outlines_of, scale_bar_mm

from Testing.core.report_data import case_with, followup, spots
from Testing.core.tiny import affine, make_head


def shoelace(line: np.ndarray) -> float:
    x, y = line.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def test_an_outline_encloses_its_mask():
    y, x = np.mgrid[:60, :50]
    disc = (x - 24) ** 2 + (y - 30) ** 2 <= 15**2
    (line,) = outlines_of(disc, (0.5, 0.8))
    assert shoelace(line) == pytest.approx(disc.sum() * 0.5 * 0.8, rel=0.05)
    assert np.allclose(line.mean(axis=0), (24.5 * 0.5, 30.5 * 0.8), atol=0.2)
    ring = disc & ((x - 24) ** 2 + (y - 30) ** 2 > 6**2)
    assert len(outlines_of(ring, (1, 1))) == 2
    single = np.zeros((5, 5), bool)
    single[2, 3] = True
    (dot,) = outlines_of(single, (2.0, 2.0))
    assert np.allclose(dot.mean(axis=0), (7, 5))
    edge = np.ones((4, 4), bool)
    assert shoelace(outlines_of(edge, (1.0, 1.0))[0]) == pytest.approx(16, rel=0.1)
    assert outlines_of(np.zeros((4, 4), bool), (1, 1)) == []


def one_lesion(segmentation, ras) -> np.ndarray:
    """Ventricles, and a single lesion around a point in RAS mm."""
    labels = np.where(segmentation.labels == 1, 1, 0).astype(np.uint8)
    i, j, k = np.round(np.linalg.inv(segmentation.volume.ijk_to_ras) @ [*ras, 1])[:3].astype(int)
    labels[k, j - 1 : j + 2, i - 1 : i + 2] = 3
    return labels


@pytest.mark.parametrize("ras", [(35, 20, 20), (-35, 20, 20), (35, -30, 20)])
def test_the_patients_right_is_on_the_left_and_the_front_at_the_top(segmentation, ras):
    slices = Slices(case_with(segmentation, one_lesion(segmentation, ras)))
    view = next(v for v in map(slices.view, range(len(slices))) if any(value == 3 for value, _ in v.outlines))
    (line,) = (line for value, line in view.outlines if value == 3)
    x, y = line.mean(axis=0)
    assert (x < view.width_mm / 2) == (ras[0] > 0)
    assert (y < view.height_mm / 2) == (ras[1] > 0)
    assert view.edges == ("R", "L")
    assert view.side == "S"
    assert view.position_mm == pytest.approx(20, abs=4)
    assert [n.text for n in view.numbers] == ["1"]
    assert abs(view.numbers[0].x - x) < 25


def test_pictures_do_not_depend_on_the_storage_order(segmentation):
    """The same head, stored with every axis the other way round, gives the same pictures."""
    volume = segmentation.volume
    flipped = volume.array[::-1, ::-1, ::-1]
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ (np.array(volume.array.shape[::-1]) - 1)
    matrix[:3, :3] *= -1
    other = replace(
        segmentation,
        volume=Volume(np.ascontiguousarray(flipped), matrix, volume.name),
        labels=np.ascontiguousarray(segmentation.labels[::-1, ::-1, ::-1]),
        probabilities=None,
    )
    one, two = (Slices(from_segmentation(s, regions=False)) for s in (segmentation, other))
    assert one.key_slices() == two.key_slices()
    for k in one.key_slices():
        a, b = one.view(k), two.view(k)
        assert np.array_equal(a.image, b.image)
        assert (a.side, a.position_mm) == (b.side, pytest.approx(b.position_mm))
        assert a.number == len(one) + 1 - b.number
        for value in (1, 3):
            areas = [sorted(round(shoelace(line), 3) for v, line in view.outlines if v == value) for view in (a, b)]
            assert areas[0] == areas[1]


def test_a_sagittal_stack_is_drawn_with_the_face_to_the_left():
    sagittal = np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, -1.0, 0]])
    volume, labels = make_head((14, 70, 76), (2.5, 2.5, 9.0), sagittal)
    assert np.allclose(volume.ijk_to_ras, affine(sagittal, (2.5, 2.5, 9.0), (14, 70, 76)))
    slices = Slices(case_of(volume, labels))
    assert slices.plane == "sagittal"
    view = slices.view(len(slices) // 2)
    assert view.edges == ("A", "P")
    # The head is longer than it is high or wide.
    assert view.width_mm > view.height_mm


def case_of(volume: Volume, labels: np.ndarray):
    from flairseg.anatomy.lesion_table import lesion_table
    from flairseg.lesions.components import find_lesions
    from flairseg.report.case import Case, Row
    from flairseg.report.gathering import _numbered

    found = find_lesions(labels, volume.ijk_to_ras)
    rows = tuple(map(Row.of, lesion_table(labels, volume.ijk_to_ras, lesions=found)))
    return Case(volume.name, volume, labels, rows, _numbered(found, labels.shape))


def test_key_slices_show_the_largest_lesion_and_the_widest_ventricles(segmentation):
    case = case_with(segmentation, segmentation.labels)
    slices = Slices(case)
    chosen = slices.key_slices()
    assert 3 <= len(chosen) <= MOST
    assert chosen == sorted(set(chosen))
    shown = {n.text for k in chosen for n in slices.view(k).numbers}
    assert "1" in shown
    ventricles = [int((case.labels[k] == 1).sum()) for k in range(len(case.labels))]
    numbers = [slices.view(k).number - 1 for k in chosen]
    assert max(ventricles[n] for n in numbers) >= 0.9 * max(ventricles)


def test_a_new_lesion_is_shown_however_small(segmentation):
    """Beside large lesions in more slices than are shown, one voxel that a follow-up calls new."""
    labels = np.where(segmentation.labels == 1, 1, 0).astype(np.uint8)
    for k in range(3, 11):
        for j in (25, 40, 55):
            # Moved from slice to slice, so that each is a lesion of its own.
            labels[k, j + 7 * (k % 2) : j + 7 * (k % 2) + 6, 20:27] = 3
    labels[12, 40, 38] = 3
    case = case_with(segmentation, labels)
    row = min(case.rows, key=lambda row: row.volume_ml)
    content = followup("head")
    content["lesions"] = [content["lesions"][0] | {"centre_ras_mm": list(row.centre_ras_mm)}]
    plain, followed = (Slices(case_with(segmentation, labels, followup=f)) for f in (None, content))
    shown = [[s.view(k).number for k in s.key_slices()] for s in (plain, followed)]
    assert 13 not in shown[0]
    assert 13 in shown[1]


def test_without_lesions_or_labels_slices_of_the_brain_are_shown(segmentation):
    for labels in (np.where(segmentation.labels == 3, 0, segmentation.labels), np.zeros_like(segmentation.labels)):
        slices = Slices(case_with(segmentation, labels.astype(np.uint8)))
        chosen = slices.key_slices()
        assert len(chosen) == 3
        assert 0 < chosen[0] < chosen[-1] < len(slices) - 1


def test_numbers_cover_neither_lesions_nor_each_other(segmentation):
    slices = Slices(case_with(segmentation, spots(segmentation.labels, 120)))
    for k in slices.key_slices():
        view = slices.view(k)
        assert view.numbers
        for n, one in enumerate(view.numbers):
            assert 0 < one.x < view.width_mm
            assert 0 < one.y < view.height_mm
            for other in view.numbers[n + 1 :]:
                assert abs(one.x - other.x) > 1 or abs(one.y - other.y) > 1


def test_a_long_stack_is_shown_in_part():
    volume, labels = make_head((150, 40, 40), (5.0, 5.0, 1.2))
    slices = Slices(case_of(volume, labels))
    assert 0 < len(slices.gallery()) <= MOST_SLICES
    assert all(labels[k].any() for k in slices.gallery())


def test_the_scale_bar_is_a_round_length():
    assert [scale_bar_mm(w) for w in (200, 150, 100, 30, 2)] == [50, 50, 20, 10, 1]
