"""The rule for one lesion and two studies at its limits: noise of volumes, and what neighbouring slices show."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.longitudinal import noise
from flairseg.longitudinal.judging import NOT_SUPPORTED, OFF_BRAIN, SEEN_BESIDE, Pair, judge
from flairseg.longitudinal.matching import Presence, Track
from flairseg.longitudinal.noise import Evidence
from flairseg.longitudinal.states import ENLARGING, NEW, RESOLVED, SHRINKING, STABLE

SHAPE = (12, 20, 20)
#: The lesion: two steps of the common grid through the slices, 6 x 6 voxels; the inner 4 x 6 are in both studies.
BOX = (slice(4, 6), slice(6, 12), slice(6, 12))


class Agreeing:
    """Stands in for the images: they support whatever the volumes say, or nothing."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def ask(self, voxels: np.ndarray) -> Evidence:
        return Evidence(0.5 * self.sign, 10.0 * self.sign)


def pair(sign: float = 1.0, other: np.ndarray | None = None, absent: int = 0, **changes: object) -> Pair:
    """Two studies in which the lesion stands out of the one by 1, and of the other as ``other`` says."""
    reliefs = [np.zeros(SHAPE), np.zeros(SHAPE)]
    reliefs[1 - absent][BOX] = 1.0
    if other is not None:
        reliefs[absent] = other
    everywhere = np.ones(SHAPE, bool)
    known = {
        "witness": Agreeing(sign),
        "probabilities": (np.zeros(SHAPE), np.zeros(SHAPE)),
        "reliefs": tuple(reliefs),
        "covered": everywhere,
        "tissue": (everywhere, everywhere),
        "axis": 0,
        "reach": 2,
        "voxel_mm3": 5.0,
    }
    return Pair(**{**known, **changes})


def track(before: float, after: float) -> Track:
    """A lesion of these volumes, mm3: the larger study has the whole box, the smaller two thirds of it, or nothing."""
    whole = np.zeros(SHAPE, bool)
    whole[BOX] = True
    voxels = np.argwhere(whole)
    part = voxels[:, 1] < 10
    inside = [np.ones(len(voxels), bool), np.ones(len(voxels), bool)]
    smaller = 0 if before < after else 1
    inside[smaller] = part if min(before, after) > 0 else np.zeros(len(voxels), bool)
    found = [
        Presence(v, int(v > 0), (0.0, 0.0, 0.0) if v else None, (4, 5), (1,), 6.0 if v else 0.0)
        for v in (before, after)
    ]
    return Track(tuple(found), voxels, np.array(inside))


# --- noise of volumes: 0.9 mm times the surface of a ball of the mean volume


@pytest.mark.parametrize(
    ("volume", "expected"),
    # Surface of a ball of 100, 1000, 20 mm3: 104.19, 483.60, 35.63 mm2 (36 pi V^2)^(1/3).
    [(100.0, 93.77), (1000.0, 435.24), (20.0, 32.07)],
)
def test_the_noise_of_a_volume(volume, expected):
    assert noise.volume_noise_mm3(volume, 1.0) == pytest.approx(expected, abs=0.02)


def test_a_lesion_strays_by_a_voxel_at_least():
    assert noise.volume_noise_mm3(1.0, 12.5) == 12.5
    assert noise.volume_noise_mm3(0.0, 3.0) == 3.0


@pytest.mark.parametrize(("sign", "state"), [(1, ENLARGING), (-1, SHRINKING)])
@pytest.mark.parametrize("share", [0.5, 0.98, 1.02])
def test_a_change_of_volume_counts_beyond_the_noise(sign, state, share):
    """Around a mean of 1000 mm3, whose noise is 435.24 mm3."""
    change = share * 435.24
    before, after = 1000 - sign * change / 2, 1000 + sign * change / 2
    absent = 0 if sign > 0 else 1
    verdict = judge(track(before, after), 0, 1, pair(sign, absent=absent))
    assert verdict.noise_mm3 == pytest.approx(435.24, abs=0.1)
    assert verdict.beyond_noise == (share > 1)
    assert verdict.state == (state if share > 1 else STABLE)


def test_the_images_have_to_support_it():
    verdict = judge(track(600.0, 1400.0), 0, 1, pair(-1.0))
    assert (verdict.state, verdict.note) == (STABLE, NOT_SUPPORTED)


# --- what shows in the neighbouring slices of the other study


@pytest.mark.parametrize("absent", [0, 1])
@pytest.mark.parametrize("step", [-2, -1, 0, 1, 2])
def test_a_lesion_that_the_other_study_shows_in_a_neighbouring_slice_is_not_new(absent, step):
    """Half of its contrast within the reach of a slice: re-positioning alone makes one out of the other."""
    sign = 1.0 if absent == 0 else -1.0
    other = np.zeros(SHAPE)
    other[(slice(4 + step, 6 + step), *BOX[1:])] = 0.55
    volumes = (0.0, 1000.0) if absent == 0 else (1000.0, 0.0)
    verdict = judge(track(*volumes), 0, 1, pair(sign, other, absent))
    assert (verdict.state, verdict.note) == (STABLE, SEEN_BESIDE)


@pytest.mark.parametrize(("absent", "state"), [(0, NEW), (1, RESOLVED)])
@pytest.mark.parametrize("place", ["nowhere", "faint", "farther"])
def test_what_the_other_study_does_not_show_is_new_or_resolved(absent, state, place):
    sign = 1.0 if absent == 0 else -1.0
    other = np.zeros(SHAPE)
    if place == "faint":
        other[BOX] = 0.45
    if place == "farther":
        other[(slice(8, 10), *BOX[1:])] = 1.0
    volumes = (0.0, 1000.0) if absent == 0 else (1000.0, 0.0)
    verdict = judge(track(*volumes), 0, 1, pair(sign, other, absent))
    assert verdict.state == state
    assert verdict.note == ""
    assert verdict.beyond_noise


def test_growth_that_the_other_study_shows_beside_is_no_growth():
    other = np.zeros(SHAPE)
    other[(slice(5, 7), *BOX[1:])] = 0.6
    verdict = judge(track(600.0, 1400.0), 0, 1, pair(1.0, other))
    assert (verdict.state, verdict.note) == (STABLE, SEEN_BESIDE)


def test_what_was_no_tissue_has_no_new_lesion():
    nothing, everywhere = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    verdict = judge(track(0.0, 1000.0), 0, 1, pair(tissue=(nothing, everywhere)))
    assert (verdict.state, verdict.note) == (STABLE, OFF_BRAIN)


@pytest.mark.parametrize(("chance", "state"), [(0.24, NEW), (0.26, STABLE)])
def test_new_means_absent_by_probability_too(chance, state):
    earlier = np.full(SHAPE, chance)
    verdict = judge(track(0.0, 1000.0), 0, 1, pair(probabilities=(earlier, np.zeros(SHAPE))))
    assert verdict.state == state
