"""Two studies read together: what a shift explains is no change, and neither images nor model are believed alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from flairseg.longitudinal import noise
from flairseg.longitudinal.adding import unseen
from flairseg.longitudinal.harmonise import Difference, difference, slice_blur_mm
from flairseg.longitudinal.joint import JointReading, Sampling, read_jointly
from flairseg.longitudinal.noise import Evidence

SHAPE = (12, 24, 24)
SPACING = (3.0, 0.8, 0.8)
#: 2 x 5 x 5 voxels, 96 mm3.
BOX = (slice(5, 7), slice(8, 13), slice(8, 13))


def reading(
    before: np.ndarray,
    after: np.ndarray,
    chances: tuple[float, float] = (0.0, 0.5),
    sigma: float = 0.04,
    **changes: object,
) -> JointReading:
    """Two studies, their reliefs given; the model's probability in the box in each, and nothing elsewhere."""
    probabilities = tuple(np.zeros(SHAPE) for _ in (0, 1))
    for array, chance in zip(probabilities, chances, strict=True):
        array[BOX] = chance
    everywhere = np.ones(SHAPE, bool)
    known = {
        "probabilities": probabilities, "tissue": (everywhere, everywhere), "brain": everywhere, "covered": everywhere,
        "sampling": Sampling(SPACING, 0, 1, 1.5),
    }  # fmt: skip
    apart = Difference(after - before, np.full(SHAPE, sigma, np.float32), sigma, 0.0, (before, after))
    return read_jointly(apart, **{**known, **changes})


def lesion(contrast: float, shift: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """The relief of a study with a lesion in the box, or a few steps from there."""
    out = np.zeros(SHAPE)
    out[tuple(slice(s.start + n, s.stop + n) for s, n in zip(BOX, shift, strict=True))] = contrast
    return out


def test_what_images_and_model_show_is_gained_and_the_other_way_round_lost():
    nothing, bright = lesion(0.0), lesion(0.3)
    came = reading(nothing, bright)
    assert np.array_equal(came.gained.called, bright > 0)
    assert not came.lost.called.any()
    went = reading(bright, nothing, (0.5, 0.0))
    assert np.array_equal(went.lost.called, bright > 0)
    assert not went.gained.called.any()


def test_the_log_odds_are_those_of_images_and_model_added():
    """0.25 (0.1 - 0.0625) / 0.04^2 = 5.859 from the images, ln(0.2 / 0.8) = -1.386 from the model."""
    found = reading(lesion(0.0), lesion(0.1), (0.0, 0.2))
    assert found.gained.log_odds[6, 10, 10] == pytest.approx(5.859 - 1.386, abs=0.002)
    # No image says more than 6, no probability less than 0.02: ln(0.02 / 0.98) = -3.892.
    strong = reading(lesion(0.0), lesion(0.9), (0.0, 0.0))
    assert strong.gained.log_odds[6, 10, 10] == pytest.approx(6 - 3.892, abs=0.002)


@pytest.mark.parametrize(
    ("contrast", "chance", "called"),
    [
        (0.9, 0.0, False),
        (0.9, 0.04, False),
        (0.9, 0.06, True),
        (0.0, 1.0, False),
        (0.05, 1.0, False),
        (0.08, 0.9, True),
    ],
)
def test_neither_images_nor_model_are_enough_alone(contrast, chance, called):
    assert reading(lesion(0.0), lesion(contrast), (0.0, chance)).gained.called.any() == called


@pytest.mark.parametrize("shift", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, -1), (1, -1, 1)])
def test_what_a_shift_explains_is_no_change(shift):
    """The lesion lies a slice or a pixel beside where it lay: each place is bright within the tolerance before."""
    found = reading(lesion(0.4, shift), lesion(0.4), (0.0, 1.0))
    assert not found.gained.called.any()


def test_the_tolerance_follows_the_error_of_registration():
    before, after = lesion(0.4, (0, 3, 0)), lesion(0.4)
    assert reading(before, after, (0.0, 1.0)).gained.called.any()
    assert not reading(before, after, (0.0, 1.0), registration_mm=2.4).gained.called.any()


def test_a_probability_that_was_there_before_is_no_news():
    assert reading(lesion(0.0), lesion(0.3), (0.1, 0.5)).gained.called.any()
    assert not reading(lesion(0.0), lesion(0.3), (0.97, 0.99)).gained.called.any()


def test_the_noise_of_the_pair_weighs_the_images():
    assert reading(lesion(0.0), lesion(0.12), (0.0, 0.3)).gained.called.any()
    assert not reading(lesion(0.0), lesion(0.12), (0.0, 0.3), sigma=0.1).gained.called.any()


def test_outermost_slices_and_what_is_no_tissue_are_left_out():
    nothing, bright = lesion(0.0), lesion(0.3)
    covered = np.ones(SHAPE, bool)
    covered[:6] = False  # the first covered slice is 6: what lay in 5 nobody knows
    called = reading(nothing, bright, covered=covered).gained.called
    assert not called.any()
    fluid = np.ones(SHAPE, bool)
    fluid[BOX] = False
    assert not reading(nothing, bright, tissue=(fluid, ~fluid)).gained.called.any()
    assert reading(nothing, bright, tissue=(~fluid, fluid)).gained.called.any()


@pytest.mark.parametrize(
    ("size", "called"),
    # Voxels of 1.92 mm3, slices of 3 mm: 10.7 mm3 are 6 voxels.
    [((1, 1, 5), False), ((1, 2, 3), True), ((2, 3, 1), True)],
)
def test_a_region_has_the_size_of_a_lesion(size, called):
    after = np.zeros(SHAPE)
    after[tuple(slice(s.start, s.start + n) for s, n in zip(BOX, size, strict=True))] = 0.4
    assert reading(lesion(0.0), after).gained.called.any() == called


# --- what is added to the label maps


@pytest.mark.parametrize(("share", "shown"), [(0.0, False), (0.1, False), (0.12, True), (1.0, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_region_is_added_where_the_label_map_does_not_show_it(share, shown, sign):
    """96 mm3, of which the label map has 9.6 (less than the smallest lesion) or 11.5."""
    nothing, bright = lesion(0.0), lesion(0.3)
    chances = (0.0, 0.5) if sign > 0 else (0.5, 0.0)
    found = reading(*((nothing, bright) if sign > 0 else (bright, nothing)), chances)
    members = [np.zeros(SHAPE), np.zeros(SHAPE)]
    study = 1 if sign > 0 else 0
    members[study][BOX] = share
    space = SimpleNamespace(grid=SimpleNamespace(voxel_mm3=float(np.prod(SPACING))))
    agrees = SimpleNamespace(ask=lambda voxels: Evidence(0.3 * sign, 9.0 * sign))
    added = unseen(found, agrees, members, space)
    assert [c.study for c in added] == ([] if shown else [study])
    if added:
        assert len(added[0].voxels) == np.count_nonzero(bright)
    doubts = SimpleNamespace(ask=lambda voxels: Evidence(0.3 * sign, 3.0 * sign))
    assert unseen(found, doubts, members, space) == []


# --- slices of unequal thickness, noise that differs between places


def test_thinner_slices_are_blurred_to_the_thickness_of_the_others():
    """A box of 6 mm has the variance 3 mm2, one of 3 mm 0.75: the difference is 2.25."""
    assert slice_blur_mm((3.0, 6.0)) == pytest.approx((1.5, 0.0))
    assert slice_blur_mm((4.0, 4.0)) == (0.0, 0.0)


def test_thick_and_thin_slices_of_one_head_are_alike():
    rng = np.random.default_rng(3)
    fine = rng.normal(0, 1, (96, 12, 12)).repeat(2, axis=1).repeat(2, axis=2)
    thin, thick = (np.apply_along_axis(np.convolve, 0, fine, np.ones(n) / n, "same") for n in (3, 6))
    thin, thick = (1 + 0.2 * image.astype(np.float32) for image in (thin, thick))
    tissue = np.ones(thin.shape, bool)
    plain = difference(thin, thick, tissue, (1.0, 0.9, 0.9), 0)
    evened = difference(thin, thick, tissue, (1.0, 0.9, 0.9), 0, (3.0, 6.0))
    assert evened.array.std() < 0.5 * plain.array.std()


def test_noise_is_larger_where_the_images_differ_more():
    rng = np.random.default_rng(5)
    image = np.ones((16, 80, 80), np.float32)
    spread = np.where(np.arange(80) < 40, 0.15, 0.45)
    later = image + rng.normal(0, 1, image.shape) * spread
    found = difference(image, later.astype(np.float32), np.ones(image.shape, bool), (3.0, 0.9, 0.9), 0)
    quiet, loud = (np.median(found.noise[..., part]) for part in (slice(5, 20), slice(60, 75)))
    assert loud > 1.5 * quiet
    # One lesion does not make its surroundings noisy.
    changed = image + rng.normal(0, 0.15, image.shape).astype(np.float32)
    changed[7:9, 36:42, 36:42] += 2.0
    with_lesion = difference(image, changed, np.ones(image.shape, bool), (3.0, 0.9, 0.9), 0)
    assert with_lesion.noise[8, 25, 38] < 1.3 * np.median(with_lesion.noise)
    assert noise.SEEN_SHARE < 0.45, "a phantom that was sliced anew shows this share of a lesion"
