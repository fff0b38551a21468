"""Laying studies over each other: against motions that are known, in every plane and storage order; and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import RegistrationError
from flairseg.image.volume import Volume
from flairseg.longitudinal import rigid
from flairseg.longitudinal.registration import prepare, register
from flairseg.longitudinal.space import common_space, snapped_axes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from Testing.core.change_heads import LEFT_HANDED, SAGITTAL, scan, turned
from Testing.core.tiny import AXIAL

MOTION = turned((7.0, -4.0, 5.0), (4.0, -6.0, 5.0))


@pytest.fixture(scope="module")
def still():
    """The head as it lies on the first day."""
    return prepare(scan()[0])


def brain_error_mm(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest distance between two motions over a brain of 60 x 80 x 65 mm half axes."""
    directions = np.random.default_rng(0).normal(size=(500, 3))
    points = directions / np.linalg.norm(directions, axis=1)[:, None] * (60, 80, 65)
    return float(np.linalg.norm(rigid.apply(found, points) - rigid.apply(truth, points), axis=1).max())


@pytest.mark.parametrize(
    ("settings", "limit_mm"),
    [
        pytest.param({}, 0.6, id="same-grid"),
        pytest.param({"shape_kji": (24, 80, 70), "spacing_ijk": (2.6, 2.6, 7.0)}, 1.0, id="thicker-slices"),
        pytest.param({"orientation": LEFT_HANDED, "gain": 7.0}, 0.6, id="left-handed-brighter"),
        pytest.param(
            {"orientation": SAGITTAL, "shape_kji": (36, 88, 92), "spacing_ijk": (2.3, 2.3, 4.6)}, 1.2, id="sagittal"
        ),
    ],
)
def test_a_known_motion_is_found(still, settings, limit_mm):
    found = register(still, prepare(scan(MOTION, seed=1, **settings)[0]))

    assert brain_error_mm(found.a_to_b, MOTION) < limit_mm
    assert found.correlation > 0.8
    assert found.consistency_mm < 4.0


def test_a_strongly_nodded_head_is_found(still):
    motion = turned((-28.0, 3.0, 10.0), (0.0, 10.0, 25.0))

    found = register(still, prepare(scan(motion, seed=2)[0]))

    assert brain_error_mm(found.a_to_b, motion) < 1.0
    assert found.angle_deg == pytest.approx(rigid.angle_deg(motion), abs=1.0)


def test_it_does_not_matter_which_study_comes_first(still):
    other = prepare(scan(MOTION, seed=1)[0])

    there, back = register(still, other), register(other, still)

    assert brain_error_mm(there.a_to_b, rigid.invert(back.a_to_b)) < 0.3


def test_a_defaced_head_is_laid_over_a_whole_one(still):
    volume, _ = scan(MOTION, seed=3)
    array = volume.array.copy()
    array[:18, :26] = 0  # no face: rows run to the back

    found = register(still, prepare(volume.with_array(array)))

    assert brain_error_mm(found.a_to_b, MOTION) < 0.8


def test_another_patient_is_refused_with_advice(still):
    with pytest.raises(RegistrationError, match=r"do not match.*different patients"):
        register(still, prepare(scan(another_head=True, seed=4)[0]))


def test_an_image_with_too_little_of_a_brain_is_refused():
    volume, _ = scan(name="few-slices")
    array = volume.array.copy()
    array[4:] = 0

    with pytest.raises(RegistrationError, match=r"No brain was found in few-slices.*whole head"):
        prepare(volume.with_array(array))


def test_drifted_scale_is_told(still):
    volume, _ = scan(seed=5)
    # A scanner whose millimetres are 3 % too long shows a larger head.
    larger = Volume(volume.array, np.diag([1.03, 1.03, 1.03, 1.0]) @ volume.ijk_to_ras, "larger")

    found = register(still, prepare(larger))

    assert found.scale_percent == pytest.approx(3.0, abs=0.8)
    assert any("larger in the later study" in w for w in found.warnings)


def test_the_written_transform_is_what_itk_reads(tmp_path):
    path = tmp_path / "motion.txt"
    path.write_text(rigid.itk_text(MOTION), encoding="ascii")

    read = sitk.ReadTransform(str(path))

    point = np.array([12.0, -30.0, 44.0])  # RAS
    expected = rigid.apply(MOTION, point) * (-1, -1, 1)
    assert np.allclose(read.TransformPoint(tuple(point * (-1, -1, 1))), expected, atol=1e-9)
    assert np.allclose(rigid.from_sitk(read), MOTION, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(arrays(float, 3, elements=st.floats(-40, 40)), arrays(float, 3, elements=st.floats(-50, 50)))
def test_the_half_way_motion_done_twice_is_the_whole(angles, shift):
    motion, centre = turned(angles, shift), np.array([3.0, -15.0, 20.0])

    half = rigid.mean_motion([np.eye(4), motion], centre)

    assert 2 * rigid.angle_deg(half) == pytest.approx(rigid.angle_deg(motion), abs=1e-5)
    moved = rigid.apply(half, centre)
    assert np.linalg.norm(moved - centre) == pytest.approx(
        np.linalg.norm(rigid.apply(motion, centre) - moved), abs=1e-9
    )


@pytest.mark.parametrize("orientation", [AXIAL, LEFT_HANDED, SAGITTAL])
def test_axes_are_snapped_whatever_the_storage_order(orientation):
    matrix = np.eye(4)
    matrix[:3, :3] = turned((12.0, 5.0, -8.0), (0, 0, 0))[:3, :3] @ orientation @ np.diag([1.0, 1.0, 5.0])

    snapped = snapped_axes(matrix)

    assert np.allclose(snapped, turned((12.0, 5.0, -8.0), (0, 0, 0))[:3, :3], atol=1e-9)


def test_both_studies_are_interpolated_alike():
    volumes = [scan()[0], scan(MOTION)[0]]
    masks = [v.array > 60 for v in volumes]

    space = common_space(volumes, [np.eye(4), MOTION], masks, np.zeros(3))

    turns = []
    for volume, motion in zip(volumes, space.common_to_study, strict=True):
        slices_to_grid = snapped_axes(volume.ijk_to_ras).T @ motion[:3, :3] @ snapped_axes(space.grid.ijk_to_ras)
        turns.append(np.degrees(np.arccos((np.trace(slices_to_grid) - 1) / 2)))
    assert turns[0] == pytest.approx(turns[1], abs=0.01)
    assert turns[0] == pytest.approx(rigid.angle_deg(MOTION) / 2, abs=0.01)
    assert space.spacing == pytest.approx((2.2, 2.2, 2.2))
    # From one study through the common space to the other is the registration itself.
    assert np.allclose(space.common_to_study[1] @ rigid.invert(space.common_to_study[0]), MOTION)


def test_carrying_agrees_with_world_coordinates():
    volume, _ = scan(MOTION)
    space = common_space([scan()[0], volume], [np.eye(4), MOTION], [volume.array > 60] * 2, np.zeros(3))
    row = volume.ijk_to_ras[1]
    ramp = np.tensordot(row[[2, 1, 0]], np.indices(volume.array.shape), axes=1) + row[3]

    carried = space.carry(ramp, volume, 1)

    inside = space.covered(volume, 1)
    kji = np.argwhere(inside)[::997]
    affine = space.grid.ijk_to_ras
    points = rigid.apply(space.common_to_study[1], kji[:, ::-1] @ affine[:3, :3].T + affine[:3, 3])
    values = carried[tuple(kji.T)]
    # At the border the outermost voxel is repeated.
    steps = np.abs(values - points[:, 1])
    assert np.median(steps) < 1e-3
    assert steps.max() < 2.3
