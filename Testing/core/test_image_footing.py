"""Intensities on a common footing: linear changes of an image change nothing that follows, and are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flairseg.errors import CaseWarning, UnusableIntensitiesError
from flairseg.image.checks import check_volume
from flairseg.image.footing import DARKEST, common_footing, footed
from flairseg.image.slice_stack import SliceStack
from flairseg.io.reader import read_volume
from flairseg.models.store import find_model
from flairseg.preprocessing import image_quality, preprocess
from flairseg.preprocessing.brain_mask import brain_mask
from flairseg.segmentation import quality
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.real_data import cases
from Testing.core.tiny import make_head


@pytest.fixture(scope="module")
def head():
    """A head with air of positive noise, and its rough brain mask (K, J, I)."""
    volume, _ = make_head()
    volume = replace(volume, array=np.abs(volume.array).astype(np.float32))
    stack = SliceStack.from_volume(volume)
    return volume, stack.restore(brain_mask(stack.array, stack.spacing))


def same(array, expected, tolerance):
    """Whether two images agree up to a factor, in units of the expected one's brain."""
    scale = float(np.median(expected[expected > 50]) / np.median(array[expected > 50]))
    return np.abs(array * scale - expected).max() <= tolerance


@given(factor=st.floats(0.001, 50), offset=st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_a_head_comes_back_from_any_shift_and_scale(head, factor, offset):
    volume, _ = head
    changed = ((volume.array / 100 + offset) * factor).astype(np.float32)
    found, told = common_footing(changed)
    if abs(offset) < 0.05:
        assert told is None or told.code == "intensities-shifted"
        return
    if abs(offset) > 0.1:
        assert told is not None
    if told is not None:
        assert told.code == "intensities-shifted"
        assert found.min() >= 0
        assert same(found, volume.array, 1.0)


def z_scored(array, where):
    return ((array - array[where].mean()) / array[where].std()).astype(np.float32)


def test_z_scores_of_a_whole_head_come_back(head):
    volume, mask = head
    for where in (np.ones_like(mask), mask):
        found, told = common_footing(z_scored(volume.array, where))
        assert told.code == "intensities-shifted"
        assert same(found, volume.array, 1.0)


def test_constant_backgrounds_become_0(head):
    volume, mask = head
    stripped = np.where(mask, volume.array, 0).astype(np.float32)
    assert common_footing(stripped) == (pytest.approx(stripped), None)
    assert common_footing(stripped)[0] is stripped
    for level in (-1024.0 * 2, -3.0, 40.0):
        found, told = common_footing(stripped + np.float32(level))
        assert told.code == "intensities-shifted"
        np.testing.assert_allclose(found, stripped, atol=1e-3)
        assert f"at {level:.4g}" in told


@pytest.mark.parametrize("background", [0.0, -10.0, 2.0, 300.0])
def test_tissue_that_was_z_scored_before_its_background_was_filled_in(head, background):
    volume, mask = head
    found, told = common_footing(np.where(mask, z_scored(volume.array, mask), np.float32(background)))
    assert told.code == "background-within-tissue"
    assert (found[~mask] == 0).all()
    assert found.min() >= 0
    # The level is an estimate: the darkest tissue becomes DARKEST of the median.
    assert np.percentile(found[mask], 1) / np.median(found[mask]) == pytest.approx(DARKEST, abs=0.02)
    relative = found[mask] / np.median(found[mask]) - volume.array[mask] / np.median(volume.array[mask])
    assert np.abs(relative).max() < 0.15


def test_what_has_a_true_zero_is_not_touched(head):
    volume, mask = head
    for array in (volume.array, np.where(mask, volume.array, 0).astype(np.float32), volume.array + np.float32(2)):
        found, told = common_footing(array)
        assert told is None
        assert found is array
    # Cut so close that there is no air.
    close = np.ascontiguousarray(volume.array[6:10, 30:58, 25:51])
    assert common_footing(close) == (pytest.approx(close), None)


def test_a_ct_stays_one():
    volume, _ = make_head(contrast="ct")
    checked = check_volume(volume)
    assert float(checked.array.min()) < -900
    stack = SliceStack.from_volume(checked)
    assert quality.assess(stack, stack.array > 0, np.zeros_like(stack.array, np.uint8))[0].code == "looks-like-ct"


def test_two_grey_levels_amid_their_background_are_refused():
    array = np.zeros((8, 40, 40), np.float32)
    array[2:6, 10:30, 10:30] = -1
    array[2:6, 10:12, 10:12] = 1
    with pytest.raises(UnusableIntensitiesError) as error:
        common_footing(array)
    assert error.value.code == "no-signal-level"


def test_a_volume_keeps_its_other_warnings(head):
    volume, mask = head
    array = z_scored(volume.array, mask)
    array[0, 0, 0] = np.nan
    read = check_volume(replace(volume, array=array))
    assert read.array.min() < 0, "reading gives the file's own values"
    found = footed(read)
    assert [CaseWarning.of(w).code for w in found.warnings][-1] == "intensities-shifted"
    assert len(found.warnings) == 2
    assert found.array.min() >= 0
    assert footed(found) is found
    # What is not finite is nobody's level.
    assert common_footing(np.where(array < 0, np.nan, array))[1] is None


@pytest.mark.parametrize("model", ["flairseg2d-v1.0", "s1-pix2pix-v1.0", "s2-nnunet-v1.0", "s5-unet25d-v1.0"])
def test_networks_see_the_same_image(head, model):
    volume, _ = head
    config = find_model(model).pipeline
    z = footed(check_volume(replace(volume, array=z_scored(volume.array, np.ones(volume.array.shape, bool)))))
    plain, found = (preprocess(SliceStack.from_volume(v, config.plane), config) for v in (check_volume(volume), z))
    assert np.count_nonzero(plain.mask) > 10_000
    assert np.mean(plain.mask != found.mask) < 1e-3
    # The level of air is read off noise, which is 1 % of the brain here.
    assert np.abs(plain.slices - found.slices).mean() < 0.02 * np.ptp(plain.slices)


@pytest.mark.parametrize("path", cases("tabriz/sub-104670/flair.nii.gz"))
def test_a_z_scored_tabriz_flair_keeps_its_ventricles(path):
    from flairseg import segment

    volume = read_volume(path)
    stack = SliceStack.from_volume(volume)
    mask = stack.restore(brain_mask(stack.array, stack.spacing))
    plain = segment(volume).volumes_ml()
    for array in (z_scored(volume.array, mask), np.where(mask, z_scored(volume.array, mask), np.float32(0))):
        found = segment(replace(volume, array=array))
        assert found.volumes_ml()[1] == pytest.approx(plain[1], abs=1.0)
        assert found.volumes_ml()[3] == pytest.approx(plain[3], abs=2.0)
        assert {w.code for w in found.warnings} & {"intensities-shifted", "background-within-tissue"}


# --- what passes silently no more


def test_an_almost_empty_brain_mask_and_an_empty_result_are_told(head):
    volume, mask = head
    stack = SliceStack.from_volume(volume)
    arranged, labels = stack.arrange(mask), np.zeros(stack.array.shape, np.uint8)
    assert {w.code for w in quality.assess(stack, arranged, labels)} == {"nothing-found"}
    few = np.zeros_like(arranged)
    middle = len(few) // 2
    few[middle : middle + 2] = arranged[middle : middle + 2]
    assert "brain-mask-small" in {w.code for w in quality.assess(stack, few, labels)}
    # One slice through the ventricles is enough to expect something; a slice of the vertex is not.
    area_cm2 = mask.sum(axis=(1, 2)) * 2.5**2 / 100
    assert area_cm2[middle] > image_quality.AREA_CM2[0]
    for index, expected in ((middle, {"nothing-found"}), (0, set())):
        one = SliceStack.from_volume(replace(volume, array=volume.array[index : index + 1]))
        part = np.ascontiguousarray(mask[index : index + 1])
        part[:, : 40 if index == 0 else 0] = False
        found = {w.code for w in quality.result_doubts(one, one.arrange(part), np.zeros(one.array.shape, np.uint8))}
        assert found == expected


def test_an_image_without_a_brain_in_which_nothing_is_found_is_refused():
    from flairseg import segment

    array = np.abs(np.random.default_rng(0).normal(0, 1, (6, 40, 40))).astype(np.float32)
    array[:, 17:23, 17:23] += 100
    head = make_head(shape_kji=(6, 40, 40))[0]
    with pytest.raises(UnusableIntensitiesError) as error:
        segment(replace(head, array=array))
    assert error.value.code == "no-brain-found"


# --- levels at their limits


def block(inner: np.ndarray, outer: np.ndarray | float, shape=(20, 50, 50)) -> np.ndarray:
    """A volume whose outer faces (8528 voxels) hold ``outer`` and whose inside (41 472) holds ``inner``, shuffled."""
    rng = np.random.default_rng(4)
    inside = np.zeros(shape, bool)
    inside[1:-1, 1:-1, 1:-1] = True
    out = np.zeros(shape, np.float32)
    out[inside] = rng.permutation(np.resize(inner, inside.sum()))
    out[~inside] = rng.permutation(np.resize(outer, (~inside).sum()))
    return out


def evenly(low: float, high: float, n: int) -> np.ndarray:
    return np.linspace(low, high, n, dtype=np.float32)


def outcome(array: np.ndarray) -> str | None:
    found, told = common_footing(array)
    if told is None:
        assert found is array
    return None if told is None else told.code


@pytest.mark.parametrize(
    ("share", "code"),
    # The 1st percentile, as a share of the range from it to the 95th.
    [(0.055, None), (0.065, "intensities-shifted"), (-0.055, None), (-0.065, "intensities-shifted")],
)
def test_noisy_air_within_6_percent_of_the_range_is_0(share, code):
    """Evenly spread grey levels, the darkest on the faces: percentiles 1 and 95 are 0.94 of the spread apart."""
    low = 94 * share - 1
    levels = evenly(low, low + 100, 50_000)
    array = block(levels[8528:], levels[:8528])
    assert outcome(array) == code
    if code:
        found, told = common_footing(array)
        assert found.max() == pytest.approx(99, abs=0.01)
        assert float(told.split("background is at ")[1].split(",")[0]) == pytest.approx(low + 1, rel=1e-3)


@pytest.mark.parametrize(("share", "code"), [(0.18, "intensities-shifted"), (0.22, None)])
def test_faces_far_above_the_darkest_voxels_are_tissue(share, code):
    """Inside from 1000 to 1100; the median of the faces lies by a share of the range above the 1st percentile."""
    inner = evenly(1000, 1100, 41_472)
    faces = np.full(8528, 0.0, np.float32)
    for _ in range(3):  # the faces count among the voxels themselves
        level, bright = np.percentile(np.concatenate([inner, faces + 1000]), [1, 95])
        faces = evenly(-1, 1, 8528) + np.float32(level + share * (bright - level) - 1000)
    assert outcome(block(inner, faces + np.float32(1000))) == code


@pytest.mark.parametrize(("level", "code"), [(-1090, None), (-910, None), (-1200, "shifted"), (-800, "shifted")])
def test_air_of_a_ct_is_left_where_it_is(level, code):
    """By noise and by a constant background."""
    levels = evenly(level - 20, level + 1980, 50_000)  # the 1st percentile is the level
    for array in (block(levels[8528:], levels[:8528]), block(evenly(level + 10, level + 2000, 41_472), float(level))):
        assert outcome(array) == (code and f"intensities-{code}")


@pytest.mark.parametrize(("share", "code"), [(0.51, "background-within-tissue"), (0.49, "intensities-shifted")])
def test_half_of_the_faces_of_one_value_are_a_background(share, code):
    """The other half is darker: beside a background that was filled in too dark, beside noise the 1st percentile."""
    faces = evenly(290, 299, 8528)
    faces[: int(share * 8528)] = 300
    array = block(evenly(310, 400, 41_472), faces)
    found, told = common_footing(array)
    assert told.code == code
    if code == "intensities-shifted":
        np.testing.assert_allclose(found.max(), 400 - np.percentile(array, 1), atol=0.01)


@pytest.mark.parametrize(
    ("plateau", "code"), [(0.9, None), (1.1, "intensities-shifted"), (-1.2, "intensities-shifted")]
)
def test_a_background_within_1_percent_of_the_range_is_0(plateau, code):
    """Tissue from 10 to 110, its 95th percentile at 105."""
    array = block(evenly(10, 110, 41_472), plateau)
    assert outcome(array) == code
    if code:
        found, _ = common_footing(array)
        np.testing.assert_allclose(found, array - np.float32(plateau), atol=1e-4)


@pytest.mark.parametrize(
    ("plateau", "code"),
    # Tissue from 50 to 110: 1st percentile 50.6, median 80. The gap is 0.29 and 0.31 of the way from 38.6 and 37.4.
    [(38.6, "intensities-shifted"), (37.4, "background-within-tissue"), (0.0, None)],
)
def test_a_gap_between_background_and_tissue_tells_what_was_filled_in(plateau, code):
    array = block(evenly(50, 110, 41_472), plateau)
    assert outcome(array) == code
    if code == "background-within-tissue":
        found, told = common_footing(array)
        level = 50.6 - 0.12 / 0.88 * (80 - 50.6)
        inner = (slice(1, -1),) * 3
        np.testing.assert_allclose(found[inner], array[inner] - level, atol=0.01)
        assert found[0].max() == 0
        assert f"{level:.4g}" in told


@pytest.mark.parametrize(("share", "code"), [(0.018, None), (0.022, "background-within-tissue")])
def test_two_percent_of_the_tissue_may_be_darker_than_the_background(share, code):
    tissue = evenly(1, 100, 41_472)
    tissue[: int(share * tissue.size)] = evenly(-30, -1, int(share * tissue.size))
    assert outcome(block(tissue, 0.0)) == code


@pytest.mark.parametrize(("voxels", "code"), [(99, None), (101, "intensities-shifted")])
def test_a_handful_of_voxels_is_no_tissue(voxels, code):
    """Two thousandths of 50 000."""
    inner = np.full(41_472, 300, np.float32)
    inner[:voxels] = evenly(301, 400, voxels)
    assert outcome(block(inner, 300.0)) == code


def test_a_single_slice_has_edges_and_what_is_not_finite_stays():
    flat = np.full((1, 60, 60), 500, np.float32)
    flat[0, 2:-2, 2:-2] = evenly(510, 600, 56 * 56).reshape(56, 56)
    flat[0, 30, 30] = np.nan
    found, told = common_footing(flat)
    assert told.code == "intensities-shifted"
    assert found[0, 0, 0] == 0
    assert np.isnan(found[0, 30, 30])
    assert found[0, 2, 2] == pytest.approx(10)
    nothing = np.full((3, 4, 5), np.nan, np.float32)
    assert common_footing(nothing)[0] is nothing
