"""Images that are no brain FLAIR are told; real FLAIR, stripped FLAIR and the tiny head are not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flairseg.image.checks import check_volume
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from flairseg.preprocessing import brain_mask, image_quality
from flairseg.preprocessing.image_quality import Figures, image_doubts, measure
from flairseg.segmentation.quality import assess, result_doubts
from scipy import ndimage

from Testing.core.tiny import AXIAL, affine, make_head

DATA = Path(os.environ.get("FLAIRSEG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real images are not here (FLAIRSEG_DATA)")


def doubts(volume: Volume) -> list[str]:
    stack = SliceStack.from_volume(check_volume(volume))
    return image_doubts(measure(stack, brain_mask(stack.array, stack.spacing)))


def thing(array: np.ndarray, spacing=(0.9, 0.9, 6.0)) -> Volume:
    return Volume(array.astype(np.float32), affine(AXIAL, spacing, array.shape))


def knee() -> Volume:
    """Skin fat, muscle, and two bones with bright marrow inside a dark cortex."""
    z, y, x = np.mgrid[:24, :128, :128].astype(np.float32)
    x, y, z = (x - 64) * 1.2, (y - 64) * 1.2, (z - 12) * 4
    image = np.zeros(x.shape)
    image[(x / 65) ** 2 + (y / 62) ** 2 < 1] = 160
    image[(x / 55) ** 2 + (y / 52) ** 2 < 1] = 60
    image[(x / (38 + z * 0.1)) ** 2 + ((y + 5) / 30) ** 2 < 1] = 10
    image[(x / 35) ** 2 + ((y + 5) / 27) ** 2 < 1] = 120
    image[(x / 18) ** 2 + ((y + 45) / 9) ** 2 < 1] = 120
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    return thing(ndimage.gaussian_filter(image, (0, 1, 1)) + noise, (1.2, 1.2, 4.0))


@pytest.mark.parametrize(("contrast", "word"), [("flair", None), ("ct", "CT"), ("t1", "T1"), ("t2", "T2")])
def test_contrasts_of_the_tiny_head(contrast, word):
    found = doubts(make_head(contrast=contrast)[0])
    assert (found == []) if word is None else (word in found[0]), found


def test_noise_is_told():
    rng = np.random.default_rng(0)
    for array in (
        rng.normal(100, 20, (20, 128, 128)),
        rng.uniform(0, 1000, (20, 128, 128)),
        np.hypot(*rng.normal(size=(2, 20, 128, 128))),
    ):
        assert "noise" in doubts(thing(array))[0]


def test_other_things_are_told():
    y, x = np.mgrid[:128, :128] - 64.0
    ball = np.broadcast_to((x**2 + y**2 < 45**2) * 500.0, (20, 128, 128)) + np.random.default_rng(0).normal(
        0, 5, (20, 128, 128)
    )
    for volume in (knee(), thing(ball, (1.8, 1.8, 6.0)), thing(np.broadcast_to(np.arange(128.0), (20, 128, 128)))):
        found = doubts(volume)
        assert found, volume.array.mean()
        assert "FLAIR" in found[0]
        assert "cannot be trusted" in found[0]


def test_a_head_of_the_wrong_size_is_told():
    head = make_head()[0]
    small = Volume(head.array, affine(AXIAL, (0.9, 0.9, 8.0), head.array.shape))
    assert "size" in doubts(small)[0]


def test_a_stripped_brain_is_fine():
    volume, _ = make_head()
    stack = SliceStack.from_volume(volume)
    stripped = replace(volume, array=np.where(stack.restore(brain_mask(stack.array, stack.spacing)), volume.array, 0))
    assert doubts(stripped) == []


@pytest.mark.parametrize("index", [4, 9, 13])
def test_one_slice_is_not_suspected(index):
    head = make_head()[0]
    assert doubts(replace(head, array=head.array[index : index + 1])) == []


GOOD = Figures(0.0, 0.93, 170.0, 130.0, 0.06, 0.01, 0.93, 0.42, 1.18)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, None),
        ({"correlation": 0.1}, "noise"),
        ({"air_share": 0.4}, "CT"),
        ({"area_cm2": 0.0}, "No brain"),
        ({"area_cm2": 900.0}, "size"),
        ({"area_cm2": 30.0}, "size"),
        ({"area_cm2": 30.0, "coverage_mm": 20.0}, None),
        ({"bright_share": 0.2, "dark_share": 0.0}, "T2"),
        ({"bright_share": 0.2, "cortex_ratio": 1.6}, "T2"),
        ({"bright_share": 0.2}, None),
        ({"white_matter_rank": 0.75, "cortex_ratio": 1.0}, "T1"),
        ({"white_matter_rank": 0.75}, None),
        ({"dark_share": 0.0}, "dark ventricles"),
        ({"dark_share": 0.0, "coverage_mm": 20.0}, None),
        ({"tissue_share": 0.5}, "homogeneous"),
        ({"dark_share": float("nan"), "bright_share": float("nan"), "white_matter_rank": float("nan")}, None),
    ],
)
def test_rules(change, word):
    found = image_doubts(replace(GOOD, **change))
    assert (found == []) if word is None else (word in found[0])


@pytest.mark.parametrize(("level", "share"), [(-301, 0.25), (-300, 0.0), (-299, 0.0), (0, 0.0)])
def test_air_is_what_lies_below_300_hounsfield_units(level, share):
    """Scanner offsets of a few hundred are no CT: voxels count from -300 downwards, and all of them."""
    volume = make_head()[0]
    array = np.maximum(volume.array.astype(np.float32), 0)
    array[:, : array.shape[1] // 4] = level
    stack = SliceStack.from_volume(volume.with_array(array))
    figures = measure(stack, brain_mask(stack.array, stack.spacing))
    assert figures.air_share == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize(("share", "is_ct"), [(0.04, False), (0.06, True)])
def test_from_a_twentieth_of_air_on_it_is_a_ct(share, is_ct):
    assert any("CT" in doubt for doubt in image_doubts(replace(GOOD, air_share=share))) == is_ct


def test_impossible_results_are_told():
    volume, truth = make_head()
    stack = SliceStack.from_volume(check_volume(volume))
    mask = brain_mask(stack.array, stack.spacing)
    labels = SliceStack.from_volume(volume.with_array(truth)).array
    assert assess(stack, mask, labels) == []
    without = np.where(labels == 1, 0, labels)
    assert "No ventricles" in assess(stack, mask, without)[0]
    assert assess(stack, mask, without, classes=(3,)) == [], "a model of lesions alone looks for no ventricles"
    assert "not darker" in assess(stack, mask, np.where(labels == 3, 1, np.where(labels == 1, 0, labels)))[0]
    flooded = np.where(mask, 3, 0).astype(np.uint8)
    assert f"{mask.sum() * 0.05:.0f} ml" in assess(stack, mask, flooded)[0]
    nothing = np.zeros_like(mask)
    assert "No brain" in assess(stack, nothing, np.zeros_like(labels))[0]


def test_constant_middles_and_tiny_brains_are_measured_without_failing():
    array = np.zeros((4, 64, 64), np.float32)
    array[0] = 5
    stack = SliceStack.from_volume(thing(array))
    mask = np.zeros(array.shape, bool)
    assert np.isnan(measure(stack, mask).correlation)
    mask[:, 30:34, 30:34] = True
    assert np.isnan(measure(stack, mask).dark_share)
    # A thin slab of brain: deep enough to measure, too small for statistics.
    assert np.isnan(image_quality._white_matter(np.ones((1, 9, 9)), np.full((1, 9, 9), 2.0), (1.0, 1.0))[0])


# --- real images


def real_flairs() -> list[Path]:
    return sorted([*DATA.glob("tabriz/*/flair.nii.gz"), *DATA.glob("ljubljana_longitudinal/*/study*_flair.nii.gz")])


@needs_data
@pytest.mark.parametrize("path", real_flairs(), ids=lambda p: f"{p.parent.name}-{p.name[:6]}")
def test_real_flair_raises_no_doubt_whole_or_stripped(path):
    volume = read_volume(path)
    stack = SliceStack.from_volume(volume)
    mask = brain_mask(stack.array, stack.spacing)
    assert volume.warnings == ()
    assert image_doubts(measure(stack, mask)) == []
    stripped = SliceStack.from_volume(volume.with_array(np.where(stack.restore(mask), volume.array, np.float32(0))))
    assert image_doubts(measure(stripped, brain_mask(stripped.array, stripped.spacing))) == []


@needs_data
def test_real_labels_raise_no_doubt():
    import SimpleITK as sitk

    for folder in sorted(DATA.glob("tabriz/sub-*")):
        volume = read_volume(folder / "flair.nii.gz")
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labels.nii.gz"))).astype(np.uint8)
        stack, labels = SliceStack.from_volume(volume), SliceStack.from_volume(volume.with_array(truth)).array
        assert assess(stack, brain_mask(stack.array, stack.spacing), labels) == []


TISSUES = {
    "white": (2, 41, 7, 46, 85),
    "grey": (3, 42, 8, 47),
    "deep": (10, 11, 12, 13, 16, 17, 18, 26, 28, 49, 50, 51, 52, 53, 54, 58, 60, 136, 137, 163, 164),
    "fluid": (4, 5, 14, 15, 24, 43, 44, 72),
    "wmh": (25, 57, 30, 62),
    "muscle": (502, 506, 507, 508, 512, 514, 530),
    "fat": (511, 516),
    "bone": (515,),
}
INTENSITIES = {
    "FLAIR": {"white": 100, "grey": 115, "deep": 110, "fluid": 20, "wmh": 110, "muscle": 70, "fat": 180, "bone": 12},
    "T1": {"white": 100, "grey": 72, "deep": 85, "fluid": 25, "wmh": 80, "muscle": 60, "fat": 160, "bone": 15},
    "T2": {"white": 55, "grey": 80, "deep": 65, "fluid": 200, "wmh": 100, "muscle": 40, "fat": 120, "bone": 15},
    "CT": {"white": 28, "grey": 38, "deep": 36, "fluid": 8, "wmh": 25, "muscle": 55, "fat": -90, "bone": 1000},
}


@needs_data
@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("contrast", INTENSITIES)
def test_contrasts_painted_on_real_anatomy(contrast, stripped):
    """Heads of ``head_label_maps`` painted as CT, T1, T2 and FLAIR, with shading and noise, in 6 mm slices."""
    if contrast == "CT" and stripped:
        pytest.skip("a CT of a stripped brain is no CT that anyone has")
    import SimpleITK as sitk

    rng = np.random.default_rng(3)
    paths = sorted(DATA.glob("head_label_maps/head_*.nii.gz"))[3::7]
    for path in paths:
        labels = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS"))
        labels = labels[len(labels) // 3 :, ::2, ::2]
        lut = np.full(1024, -1000.0 if contrast == "CT" else 0.0, np.float32)
        for tissue, numbers in TISSUES.items():
            if not (stripped and tissue in ("muscle", "fat", "bone")):
                lut[list(numbers)] = INTENSITIES[contrast][tissue]
        image = lut[labels]
        count = len(image) // 6
        image = image[: count * 6].reshape(count, 6, *image.shape[1:]).mean(axis=1)
        if contrast != "CT":
            shading = ndimage.zoom(rng.normal(size=(3, 3, 3)), [n / 3 for n in image.shape], order=1)
            image = image * np.exp(0.15 * shading / np.abs(shading).max())
            noise = 0.0 if stripped else 3.0
            image = np.hypot(image + rng.normal(0, noise, image.shape), rng.normal(0, noise, image.shape))
        found = doubts(thing(image, (2.0, 2.0, 6.0)))
        if contrast == "FLAIR":
            assert found == [], path.name
        else:
            assert found, path.name
            assert contrast in found[0] or "FLAIR" in found[0]


def plain_stack(brain: float, ventricles: float) -> tuple[SliceStack, np.ndarray, np.ndarray]:
    """A brain of one grey level with ventricles of another, voxels of 1 ml."""
    array = np.full((12, 20, 20), brain, np.float32)
    labels = np.zeros(array.shape, np.uint8)
    labels[5:7, 8:12, 8:12] = 1
    array[labels == 1] = ventricles
    return SliceStack.from_volume(Volume(array, np.diag([10.0, 10.0, 10.0, 1.0])), "axial"), array > 0, labels


@pytest.mark.parametrize(("level", "told"), [(89.0, []), (90.0, []), (91.0, ["ventricles-bright"])])
def test_ventricles_are_darker_than_nine_tenths_of_the_brain(level, told):
    assert [w.code for w in result_doubts(*plain_stack(100.0, level))] == told


@pytest.mark.parametrize(("value", "limit"), [(1, 300), (2, 100), (3, 200)])
def test_volumes_beyond_those_of_any_patient_are_told(value, limit):
    """The limits in ml, as the page of warnings and the report rest on them."""
    stack, mask, labels = plain_stack(100.0, 10.0)
    for voxels, told in ((limit, []), (limit + 1, ["volume-implausible"])):
        labels = np.zeros(mask.shape, np.uint8)
        labels[0, 0, 0] = 1
        labels.ravel()[5 : 5 + voxels - (value == 1)] = value
        found = result_doubts(stack, mask, labels, image_is_doubtful=True)
        assert [w.code for w in found] == told
        assert all(f"{voxels} ml were found" in w for w in found)


@pytest.mark.parametrize("shape", [(96, 80), (97, 83)])
def test_shading_on_blocks_is_that_of_all_pixels(shape):
    """A weighted Gaussian mean, here by SciPy on every pixel; also where no block fits the edge."""
    from scipy import ndimage

    rng = np.random.default_rng(6)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = (1 + 0.3 * np.sin(rows / 30) + 0.2 * columns / 80 + rng.normal(0, 0.1, shape)).astype(np.float32)
    inside = np.hypot((rows - 48) / 40, (columns - 40) / 33) < 1
    weight = ndimage.gaussian_filter(inside.astype(float), [20.0, 24.0])
    expected = ndimage.gaussian_filter(np.where(inside, image, 0), [20.0, 24.0]) / weight
    found = image_quality._local_mean(image, inside, [20.0, 24.0])
    assert found.shape == shape
    np.testing.assert_allclose(found[inside], expected[inside], rtol=4e-3)
