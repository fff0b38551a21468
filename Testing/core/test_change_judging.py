"""The rule for one lesion and two studies at its limits: noise of volumes and images, size, what other slices show."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.image.volume import Volume
from flairseg.longitudinal import noise
from flairseg.longitudinal.harmonise import Difference
from flairseg.longitudinal.joint import JointReading, Reading
from flairseg.longitudinal.judging import HESITATES, NOT_SUPPORTED, OFF_BRAIN, SEEN_BESIDE, WITHIN_NOISE, Pair, judge
from flairseg.longitudinal.matching import Presence, Track
from flairseg.longitudinal.noise import Evidence, Witness
from flairseg.longitudinal.states import ENLARGING, MERGED, NEW, RESOLVED, SHRINKING, SPLIT, STABLE

SHAPE = (12, 20, 20)
#: The lesion: two steps of the common grid through the slices, 6 x 6 voxels; the inner 4 x 6 are in both studies.
BOX = (slice(4, 6), slice(6, 12), slice(6, 12))


class Agreeing:
    """Stands in for the images: they support whatever the volumes say, or nothing."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def ask(self, voxels: np.ndarray) -> Evidence:
        return Evidence(0.5 * self.sign, 10.0 * self.sign)


def joint(called: bool) -> JointReading:
    """Images and model say jointly that the box changed, one way and the other, or that nothing did."""
    place = np.zeros(SHAPE, bool)
    place[BOX] = called
    reading = Reading(np.where(place, 5.0, -5.0).astype(np.float32), place)
    return JointReading(reading, reading)


def pair(
    sign: float = 1.0, other: np.ndarray | None = None, absent: int = 0, called: bool = True, **changes: object
) -> Pair:
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
        "voxel_mm3": 3.0,
        "joint": joint(called),
    }
    return Pair(**{**known, **changes})


def track(before: float, after: float, extent_mm: float = 6.0, parts: tuple[int, int] = (1, 1)) -> Track:
    """A lesion of these volumes, mm3: the larger study has the whole box, the smaller two thirds of it, or nothing."""
    whole = np.zeros(SHAPE, bool)
    whole[BOX] = True
    voxels = np.argwhere(whole)
    part = voxels[:, 1] < 10
    inside = [np.ones(len(voxels), bool), np.ones(len(voxels), bool)]
    smaller = 0 if before < after else 1
    inside[smaller] = part if min(before, after) > 0 else np.zeros(len(voxels), bool)
    found = [
        Presence(v, n if v else 0, (0.0, 0.0, 0.0) if v else None, (4, 5), (1,), extent_mm if v else 0.0)
        for v, n in zip((before, after), parts, strict=True)
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
    verdict = judge(track(before, after), 0, 1, pair(sign, absent=absent, called=False))
    assert verdict.noise_mm3 == pytest.approx(435.24, abs=0.1)
    assert verdict.beyond_noise == (share > 1)
    assert verdict.state == (state if share > 1 else STABLE)


def test_the_images_have_to_support_it():
    verdict = judge(track(600.0, 1400.0), 0, 1, pair(-1.0))
    assert (verdict.state, verdict.note) == (STABLE, NOT_SUPPORTED)


@pytest.mark.parametrize(("sign", "state"), [(1, ENLARGING), (-1, SHRINKING)])
@pytest.mark.parametrize(("change", "beyond"), [(10.0, False), (12.0, True)])
def test_a_region_of_change_makes_the_smallest_lesion_the_noise(sign, state, change, beyond):
    """Far below the noise of the volume (435 mm3), but images and model say jointly where it changed."""
    absent = 0 if sign > 0 else 1
    verdict = judge(track(1000 - sign * change / 2, 1000 + sign * change / 2), 0, 1, pair(sign, absent=absent))
    assert verdict.state == (state if beyond else STABLE)
    assert verdict.beyond_noise is beyond
    assert verdict.noise_mm3 == pytest.approx(10.7 if beyond else 435.24, abs=0.1)
    assert verdict.log_odds == 5.0


@pytest.mark.parametrize(("absent", "state"), [(0, NEW), (1, RESOLVED)])
@pytest.mark.parametrize("called", [True, False])
def test_new_and_resolved_need_images_and_model_together(absent, state, called):
    volumes = (0.0, 1000.0) if absent == 0 else (1000.0, 0.0)
    verdict = judge(track(*volumes), 0, 1, pair(1.0 if absent == 0 else -1.0, absent=absent, called=called))
    assert (verdict.state, verdict.note) == ((state, "") if called else (STABLE, WITHIN_NOISE))
    assert verdict.log_odds == (5.0 if called else -5.0)


# --- what shows in the neighbouring slices of the other study


@pytest.mark.parametrize("absent", [0, 1])
@pytest.mark.parametrize("step", [-2, -1, 0, 1, 2])
def test_a_lesion_that_the_other_study_shows_in_a_neighbouring_slice_is_not_new(absent, step):
    """Near half of its contrast within the reach of a slice: re-positioning alone makes one out of the other."""
    sign = 1.0 if absent == 0 else -1.0
    other = np.zeros(SHAPE)
    other[(slice(4 + step, 6 + step), *BOX[1:])] = 0.45
    volumes = (0.0, 1000.0) if absent == 0 else (1000.0, 0.0)
    verdict = judge(track(*volumes), 0, 1, pair(sign, other, absent))
    assert (verdict.state, verdict.note) == (STABLE, SEEN_BESIDE)


@pytest.mark.parametrize(("absent", "state"), [(0, NEW), (1, RESOLVED)])
@pytest.mark.parametrize("place", ["nowhere", "faint", "farther"])
def test_what_the_other_study_does_not_show_is_new_or_resolved(absent, state, place):
    sign = 1.0 if absent == 0 else -1.0
    other = np.zeros(SHAPE)
    if place == "faint":
        other[BOX] = 0.35
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
    assert (verdict.state, verdict.note) == (state, "" if state == NEW else HESITATES)


# --- the least that is called new or resolved


@pytest.mark.parametrize(
    ("volume", "extent_mm", "voxel_mm3", "called"),
    [
        (30.0, 3.0, 5.0, True),
        (30.0, 2.9, 5.0, False),  # 3 mm across
        (30.0, 6.0, 10.0, True),  # three voxels of the coarser study
        (29.5, 6.0, 10.0, False),
    ],
)
def test_what_is_called_new_is_large_enough(volume, extent_mm, voxel_mm3, called):
    for before, after, state in ((0.0, volume, NEW), (volume, 0.0, RESOLVED)):
        sign = 1.0 if state == NEW else -1.0
        studies = pair(sign, absent=0 if state == NEW else 1, voxel_mm3=voxel_mm3)
        verdict = judge(track(before, after, extent_mm), 0, 1, studies)
        assert verdict.state == (state if called else STABLE)
        assert verdict.note.startswith("smaller") is not called


def test_what_lies_outside_of_the_other_study_is_not_called():
    """The lesion has 72 voxels: 65 are nine tenths of it, 64 are not."""
    places = track(0.0, 1000.0).voxels
    for missing, state in ((7, NEW), (8, STABLE)):
        covered = np.ones(SHAPE, bool)
        covered[tuple(places[:missing].T)] = False
        verdict = judge(track(0.0, 1000.0), 0, 1, pair(covered=covered))
        assert verdict.state == state
        assert verdict.note == ("" if state == NEW else "outside what both studies cover")


def test_half_of_a_lesion_in_tissue_is_enough():
    everywhere = np.ones(SHAPE, bool)
    for missing, state in ((36, NEW), (37, STABLE)):
        tissue = everywhere.copy()
        tissue[tuple(track(0.0, 1000.0).voxels[:missing].T)] = False
        assert judge(track(0.0, 1000.0), 0, 1, pair(tissue=(tissue, everywhere))).state == state
    nothing = np.zeros(SHAPE, bool)
    # Growth and shrinkage need it of the study that has less, where the difference is.
    assert judge(track(600.0, 1400.0), 0, 1, pair(called=False, tissue=(nothing, everywhere))).note == OFF_BRAIN
    assert judge(track(600.0, 1400.0), 0, 1, pair(called=False, tissue=(everywhere, nothing))).state == ENLARGING
    back = {"sign": -1.0, "absent": 1, "called": False}
    assert judge(track(1400.0, 600.0), 0, 1, pair(**back, tissue=(everywhere, nothing))).note == OFF_BRAIN
    assert judge(track(1400.0, 600.0), 0, 1, pair(**back, tissue=(nothing, everywhere))).state == SHRINKING


@pytest.mark.parametrize(
    ("volumes", "parts", "state"),
    [
        ((600.0, 1400.0), (2, 1), MERGED),
        ((600.0, 1400.0), (3, 2), MERGED),
        ((600.0, 1400.0), (1, 1), ENLARGING),
        ((600.0, 1400.0), (2, 2), ENLARGING),
        ((600.0, 1400.0), (1, 2), ENLARGING),
        ((1400.0, 600.0), (1, 2), SPLIT),
        ((1400.0, 600.0), (2, 3), SPLIT),
        ((1400.0, 600.0), (1, 1), SHRINKING),
        ((1400.0, 600.0), (2, 2), SHRINKING),
        ((1400.0, 600.0), (2, 1), SHRINKING),
        ((990.0, 1000.0), (1, 2), STABLE),
    ],
)
def test_parts_make_a_change_a_merger_or_a_split(volumes, parts, state):
    grew = volumes[1] > volumes[0]
    verdict = judge(track(*volumes, parts=parts), 0, 1, pair(1.0 if grew else -1.0, absent=0 if grew else 1))
    assert verdict.state == state
    assert verdict.change_mm3 == volumes[1] - volumes[0]
    assert verdict.change_percent == pytest.approx(100 * (volumes[1] - volumes[0]) / volumes[0])
    assert verdict.note == ("parts 1 to 2, volume within the noise" if state == STABLE else "")


def test_what_neither_study_has_has_no_state():
    verdict = judge(track(0.0, 0.0), 0, 1, pair())
    assert (verdict.state, verdict.change_mm3, verdict.change_percent, verdict.beyond_noise) == (None, 0, None, False)
    assert judge(track(0.0, 1000.0), 0, 1, pair()).change_percent is None


# --- noise of the ventricles and of the images


@pytest.mark.parametrize(
    ("first", "second", "percent"),
    [
        ((1.0, 1.0, 5.0), (1.0, 1.0, 5.0), 5.0),
        ((1.0, 1.0, 5.1), (1.0, 1.0, 5.1), 20.0),
        ((1.0, 1.0, 5.0), (1.0, 1.0, 5.1), 20.0),  # the thicker one decides
        ((1.0, 1.0, 4.0), (1.0, 1.0, 5.0), 5.0),  # a quarter more is still alike
        ((1.0, 1.0, 4.0), (1.0, 1.2, 4.5), 6.25),
        ((1.0, 1.0, 6.0), (0.5, 0.5, 6.0), 25.0),
    ],
)
def test_the_noise_of_the_ventricles_follows_slices_and_voxels(first, second, percent):
    studies = [Volume(np.zeros((2, 2, 2), np.float32), np.diag([*mm, 1.0])) for mm in (first, second)]
    assert noise.ventricle_noise_percent(studies) == percent
    assert noise.ventricle_noise_percent(studies[::-1]) == percent


@pytest.mark.parametrize(("contrast", "significance", "beyond"), [(0.13, 3.2, 1), (0.12, 9.0, 0), (0.9, 3.0, 0)])
def test_evidence_needs_contrast_and_significance(contrast, significance, beyond):
    assert (Evidence(contrast, significance).brighter(), Evidence(contrast, significance).darker()) == (beyond, False)
    assert (Evidence(-contrast, -significance).brighter(), Evidence(-contrast, -significance).darker()) == (0, beyond)
    assert Evidence(noise.SMALLEST_CONTRAST, noise.SIGNIFICANT).brighter()
    assert Evidence(-noise.SMALLEST_CONTRAST, -noise.SIGNIFICANT).darker()


def witness(region: np.ndarray, level: float, shape: tuple[int, int, int] = (24, 40, 40)) -> Witness:
    """White noise of standard deviation 1 (score; 0.1 of the median), a region raised to ``level``."""
    score = np.random.default_rng(1).normal(0.0, 1.0, shape)
    score[tuple(region.T)] = level
    tissue = np.ones(shape, bool)
    tissue[tuple(region.T)] = False
    array = (0.1 * score).astype(np.float32)
    return Witness(Difference(array, np.full(shape, 0.1, np.float32), 0.1, 0.0, (array, array)), tissue)


@pytest.mark.parametrize("level", [2.0, -3.0])
@pytest.mark.parametrize("side", [2, 3])
def test_significance_is_that_of_a_mean_of_white_noise(level, side):
    """The mean of n independent values strays by 1 / sqrt(n): 400 placements tell it to about a tenth."""
    region = np.argwhere(np.ones((side, side, side), bool)) + 9
    evidence = witness(region, level).ask(region)
    assert evidence.contrast == pytest.approx(0.1 * level, rel=1e-5)
    assert evidence.significance == pytest.approx(level * np.sqrt(side**3), rel=0.12)


def test_a_large_region_is_sampled_and_means_the_same():
    region = np.argwhere(np.ones((9, 10, 10), bool)) + 5
    # 900 voxels, of which every second is laid on: 450.
    assert witness(region, 0.5).ask(region).significance == pytest.approx(0.5 * np.sqrt(450), rel=0.15)


def test_a_region_at_the_edge_of_the_image_is_laid_within_it():
    region = np.argwhere(np.ones((2, 2, 2), bool))
    evidence = witness(region, 2.0, (3, 90, 90)).ask(region)
    assert evidence.significance == pytest.approx(2 * np.sqrt(8), rel=0.12)


def test_what_cannot_be_tested_has_no_significance():
    region = np.argwhere(np.ones((2, 2, 2), bool)) + 9
    assert witness(region, 2.0).ask(region[:0]) == Evidence(0.0, 0.0)
    # An outline that fits nowhere: single voxels of tissue, far apart.
    sparse = np.zeros((24, 40, 40), bool)
    sparse[::4, ::4, ::4] = True
    array = np.full(sparse.shape, 0.2, np.float32)
    scattered = Witness(Difference(array, np.ones_like(array), 1.0, 0.0, (array, array)), sparse)
    assert scattered.ask(region) == Evidence(pytest.approx(0.2), 0.0)


@pytest.mark.parametrize("edge", ["first", "last"])
def test_what_falls_out_of_the_image_counts_for_nothing(edge):
    """Tissue in one column at the edge; three quarters of the outline always lie two columns beyond it."""
    shape = (3, 40, 12)
    tissue = np.zeros(shape, bool)
    tissue[:, :, 0 if edge == "first" else -1] = True
    near, far = (1, 9) if edge == "first" else (10, 2)
    region = np.array([(1, j, near) for j in range(15)] + [(1, j, far) for j in range(5, 10)])
    score = np.random.default_rng(2).normal(0.0, 1.0, shape).astype(np.float32)
    asked = Witness(Difference(score, np.ones(shape, np.float32), 1.0, 0.0, (score, score)), tissue)
    assert asked.ask(region).significance == 0.0


@pytest.mark.parametrize(("after", "state"), [(55.0, STABLE), (55.1, ENLARGING)])
def test_a_change_of_exactly_the_noise_is_within_it(after, state):
    """Of small lesions the noise is one voxel, here of 50 mm3."""
    verdict = judge(track(5.0, after), 0, 1, pair(1.0, called=False, voxel_mm3=50.0))
    assert verdict.noise_mm3 == 50.0
    assert (verdict.state, verdict.beyond_noise) == (state, state != STABLE)
