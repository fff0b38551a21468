"""Image quality before segmentation: clean images are below every bar, and each figure grows with its defect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from flairseg.cohort.image_quality import MEASURE_BY_NAME, MEASURES, measure
from flairseg.cohort.model import SessionRow
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from flairseg.phantom import make_phantom
from flairseg.segmentation.warning_codes import WARNINGS

from Testing.core import real_data
from Testing.core.tiny import make_head

PIXEL_MM = 1.8


@pytest.fixture(scope="module")
def phantom() -> Volume:
    """A scanned head with 2 % noise. Read-only."""
    return make_phantom(1, shape=(20, 128, 128), spacing_mm=(PIXEL_MM, PIXEL_MM, 6.8)).volume


def noisy(volume: Volume, deviation: float) -> Volume:
    """Gaussian noise, of the brightness of white matter (4300)."""
    noise = np.random.default_rng(0).normal(0, 4300 * deviation, volume.array.shape)
    return volume.with_array(np.abs(volume.array + noise))


def displaced(volume: Volume, mm: float) -> Volume:
    """Every other slice was taken after the head had moved by so much."""
    array = volume.array.copy()
    array[1::2] = np.roll(array[1::2], round(mm / PIXEL_MM), axis=2)
    return volume.with_array(array)


def darkened(volume: Volume, share: float) -> Volume:
    """One slice lost so much of its signal."""
    array = volume.array.astype(float)
    array[len(array) // 2] *= 1 - share
    return volume.with_array(array)


def emptied(volume: Volume, count: int) -> Volume:
    array = volume.array.copy()
    array[5 : 5 + 2 * count : 2] = 0
    return volume.with_array(array)


def cut_above(volume: Volume, slices: int) -> Volume:
    return replace(volume, array=volume.array[: len(volume.array) - slices])


def cut_below(volume: Volume, slices: int) -> Volume:
    return replace(volume, array=volume.array[slices:])


#: Figure, its warning, the defect, and growing strengths of which the last is beyond the bar.
DEFECTS: dict[str, tuple[str, Callable[[Volume, float], Volume], tuple]] = {
    "noise_percent": ("image-noisy", noisy, (0.03, 0.15)),
    "slice_shift_mm": ("slices-displaced", displaced, (3.6,)),
    "slice_step_percent": ("slice-brightness-uneven", darkened, (0.15, 0.5)),
    "empty_slices": ("slices-empty", emptied, (1, 2)),
    "top_cut_cm2": ("brain-cut-off", cut_above, (4, 7)),
    "bottom_cut_cm2": ("brain-cut-off", cut_below, (6, 8)),
}


@pytest.fixture(scope="module")
def clean(phantom) -> tuple:
    """What is measured in the phantom as it is."""
    return measure(phantom)


def test_a_clean_phantom_is_not_marked(clean):
    figures, warnings, beyond = clean
    assert (warnings, beyond) == ((), ())
    assert tuple(figures) == MEASURES
    assert all(value is not None for value in figures.values()), figures


@pytest.mark.parametrize("name", DEFECTS)
def test_a_figure_grows_with_its_defect(phantom, clean, name):
    code, spoil, strengths = DEFECTS[name]
    found = [clean, *(measure(spoil(phantom, strength)) for strength in strengths)]
    values = [figures[name] for figures, _, _ in found]
    assert values == sorted(values), values
    assert len(set(values)) == len(values), values
    marked = [name in names for _, _, names in found]
    assert marked == [value > MEASURE_BY_NAME[name].bar for value in values]
    assert marked[-1], values
    assert code in [w.code for w in found[-1][1]]


def test_slices_below_the_brain_may_differ(phantom):
    """The skull base is no more alike from slice to slice than it is."""
    array = phantom.array.copy()
    array[2] = array[2] * 0.5
    _, warnings, beyond = measure(phantom.with_array(array))
    assert "slice_step_percent" not in beyond
    assert "slice-brightness-uneven" not in [w.code for w in warnings]


def test_storage_order_does_not_matter(phantom):
    """The top is the top, whichever way the slices are stored."""
    cut = cut_above(phantom, 6)
    turned = cut.ijk_to_ras.copy()
    turned[:3, 3] += turned[:3, 2] * (len(cut.array) - 1)
    turned[:3, 2] *= -1
    other = replace(cut, array=cut.array[::-1], ijk_to_ras=turned)
    assert measure(other) == measure(cut)


@pytest.mark.parametrize(
    ("contrast", "code", "name"),
    [
        ("t1", "looks-like-t1", "white_matter_rank"),
        ("t2", "looks-like-t2", "fluid_bright_percent"),
        ("ct", "looks-like-ct", "tissue_percent"),
    ],
)
def test_wrong_contrasts_are_marked(contrast, code, name):
    _, warnings, beyond = measure(make_head(contrast=contrast)[0])
    assert code in [w.code for w in warnings]
    assert name in beyond
    assert code not in [w.code for w in measure(make_head()[0])[1]]


def test_thick_slices_are_marked():
    assert "slice_mm" in measure(make_head((10, 72, 64), (3.0, 3.0, 12.0))[0])[2]


def test_what_is_no_head_has_figures_without_a_value():
    noise = Volume(np.random.default_rng(0).normal(100, 20, (12, 64, 64)), np.diag([3.0, 3.0, 6.0, 1.0]))
    figures, warnings, beyond = measure(noise)
    assert [w.code for w in warnings if not WARNINGS[w.code].trusted] == ["looks-like-noise"]
    assert "pixel_correlation" in beyond
    assert SessionRow.from_dict({"session": {"subject": "1", "session": "", "path": "", "kind": "", "reason": ""},
                                 "status": "done", "quality": figures}).flat()["quality_slice_mm"] == 6.0  # fmt: skip


@pytest.mark.skipif(not real_data.folder().is_dir(), reason="real images are not here (FLAIRSEG_DATA)")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tabriz/sub-112776/flair.nii.gz", ()),
        # Its skull base, two slices below the brain, is a quarter darker than the slices around it.
        ("tabriz/sub-101627/flair.nii.gz", ()),
        ("ljubljana_longitudinal/patient01/study2_flair.nii.gz", ()),
        # Its uppermost slice shows 75 cm2 of brain: the vertex is not in the image.
        ("tabriz/sub-106639/flair.nii.gz", ("brain-cut-off",)),
    ],
)
def test_real_images(path, expected):
    _, warnings, _ = measure(read_volume(real_data.folder() / path))
    assert tuple(w.code for w in warnings) == expected
