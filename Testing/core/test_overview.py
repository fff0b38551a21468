"""The overview: complete, the right way round, undistorted, quick."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from flairseg.image.volume import Volume
from flairseg.labels import CLASSES
from flairseg.rendering.slices import _outline
from flairseg.segmentation import overview
from flairseg.segmentation.overview import _layout, render_overview
from flairseg.segmentation.pipeline import Segmentation
from scipy import ndimage

from Testing.core.tiny import affine, make_head

COLOURS = {c.value: np.array(c.rgb) for c in CLASSES}


def case(card, volume: Volume, labels: np.ndarray, warnings=()) -> Segmentation:
    volume = replace(volume, array=volume.array.astype(np.float32))
    return Segmentation(
        volume, labels, None, card, "cpu", "cpu", "CPU", "x", warnings=list(warnings), created="2030-01-01T00:00:00"
    )


@pytest.fixture
def card(segmentation):
    return segmentation.card


def coloured(image, value, tolerance=0) -> np.ndarray:
    """Pixels in a class's colour, below the legend."""
    pixels = np.asarray(image).astype(int)
    pixels[:60] = 0
    return (np.abs(pixels - COLOURS[value]) <= tolerance).all(axis=-1)


def tiles_of(monkeypatch) -> list:
    shown = []
    real = overview._annotate
    monkeypatch.setattr(
        overview,
        "_annotate",
        lambda tile, s, stack, k, layout: (shown.append((k, tile)), real(tile, s, stack, k, layout)),
    )
    return shown


def test_every_slice_that_has_something_is_shown(card, monkeypatch):
    volume, labels = make_head()
    shown = tiles_of(monkeypatch)
    render_overview(case(card, volume, labels))
    assert [k for k, _ in shown] == np.flatnonzero(labels.any(axis=(1, 2))).tolist()
    for k, tile in shown:
        for value in COLOURS:
            assert coloured_tile(tile, value) == bool((labels[k] == value).any())


def coloured_tile(tile, value) -> bool:
    return bool((np.asarray(tile) == COLOURS[value]).all(axis=-1).any())


def test_the_middle_slice_stands_for_nothing(card, monkeypatch):
    volume, labels = make_head()
    shown = tiles_of(monkeypatch)
    image = render_overview(case(card, volume, np.zeros_like(labels)))
    assert [k for k, _ in shown] == [8]
    assert not any(coloured(image, v).any() for v in COLOURS)


def test_radiological_display(card):
    """A lesion in the patient's right front is on the picture's upper left, however the voxels are stored."""
    volume, _ = make_head((10, 60, 60), (3.3, 3.3, 9.0))
    for flips in ((), (2,), (1, 2), (0, 1)):
        array, matrix = volume.array, volume.ijk_to_ras.copy()
        for axis in flips:
            matrix[:3, 3] += matrix[:3, 2 - axis] * (array.shape[axis] - 1)
            matrix[:3, 2 - axis] *= -1
            array = np.flip(array, axis)
        labels = np.zeros(array.shape, np.uint8)
        i, j, k = np.round(np.linalg.solve(matrix, [40, 50, 20, 1])[:3]).astype(int)
        labels[k, j - 2 : j + 3, i - 2 : i + 3] = 3
        image = render_overview(case(card, Volume(array, matrix), labels))
        rows, columns = np.nonzero(coloured(image, 3))
        assert columns.mean() < image.width / 2
        assert rows.mean() < image.height / 2


@pytest.mark.parametrize("plane", ["sagittal", "coronal"])
def test_other_planes_stand_upright(card, plane):
    orientation = {
        "sagittal": np.array([[0, 0, -1.0], [-1, 0, 0], [0, -1, 0]]),
        "coronal": np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    }[plane]
    volume, _ = make_head((12, 70, 70), (3.0, 3.0, 12.0), orientation=orientation)
    # Front of the head, near the vertex.
    i, j, k = np.round(np.linalg.solve(volume.ijk_to_ras, [20, 50, 60, 1])[:3]).astype(int)
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[k, j - 1 : j + 2, i - 1 : i + 2] = 3
    image = render_overview(case(card, volume, labels))
    rows, columns = np.nonzero(coloured(image, 3))
    assert rows.mean() < image.height / 2
    # Sagittal: the front on the left. Coronal: the patient's right on the left.
    assert columns.mean() < image.width / 2


def test_pixels_are_square_in_millimetres(card):
    """A ball outlined in anisotropic pixels is round in the picture."""
    shape, spacing = (6, 160, 50), (4.0, 1.2, 8.0)
    matrix = affine(np.diag([-1.0, -1.0, 1.0]), spacing, shape)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    r2 = ((i - 24.5) * 4.0) ** 2 + ((j - 79.5) * 1.2) ** 2
    volume = Volume(np.where(r2 < 85**2, 100, 0).astype(np.float32), matrix)
    labels = np.where((r2 < 60**2) & (k == 3), 1, 0).astype(np.uint8)
    rows, columns = np.nonzero(coloured(render_overview(case(card, volume, labels)), 1))
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.08)


@pytest.mark.parametrize("size", [(64, 64), (200, 150), (20, 30)])
def test_outlines_are_thin_and_never_lost(size):
    mask = np.zeros((64, 64), bool)
    mask[10:40, 12:50] = True
    outline = _outline(mask, size)
    assert outline.shape == size[::-1]
    _, count = ndimage.label(outline, structure=np.ones((3, 3)))
    assert count == 1
    assert outline.sum() < 2.5 * (size[0] + size[1])
    one = np.zeros((64, 64), bool)
    one[30, 30] = True
    assert _outline(one, size).any()


def test_many_slices_stay_on_one_sheet(card):
    volume, _ = make_head((200, 64, 56), (3.2, 3.2, 1.0))
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[:, 30:34, 30:34] = 1
    image = render_overview(case(card, volume, labels))
    assert image.width * image.height < 6_000_000
    assert 0.5 < image.width / image.height < 2.5
    _, count = ndimage.label(ndimage.binary_dilation(coloured(image, 1), iterations=2))
    assert count == 200


@pytest.mark.parametrize("count", [1, 2, 5, 14, 20, 48, 49, 120, 200])
@pytest.mark.parametrize("extent", [(200.0, 160.0), (120.0, 220.0)])
def test_layout_has_room_for_all_and_no_empty_row(count, extent):
    layout = _layout(count, *extent)
    assert layout.rows * layout.columns >= count
    assert (layout.rows - 1) * layout.columns < count
    assert max(layout.tile) == layout.long_side
    assert layout.tile[0] / layout.tile[1] == pytest.approx(extent[0] / extent[1], rel=0.03)


def test_long_names_and_warnings_fit(card):
    volume, labels = make_head()
    volume = replace(volume, name="Universitätsklinikum " * 20)
    for warnings in (["short"], ["A warning that is much too long for one line of the picture. " * 5] * 7):
        image = render_overview(case(card, volume, labels, warnings))
        pixels = np.asarray(image)
        assert (pixels[:, -4:] == overview._BACKGROUND).all(), "nothing runs off the right edge"


def test_images_without_contrast_in_the_middle(card):
    array = np.zeros((4, 40, 40), np.float32)
    array[:, 0, 0] = 9
    image = render_overview(case(card, Volume(array, np.diag([3.0, 3, 8, 1])), np.zeros(array.shape, np.uint8)))
    assert image.mode == "RGB"
    array[:] = -5
    array[:, 1, 1] = -9
    render_overview(case(card, Volume(array, np.diag([3.0, 3, 8, 1])), np.zeros(array.shape, np.uint8)))


def test_it_is_quick(card):
    volume, labels = make_head((20, 256, 256), (0.9, 0.9, 6.5))
    render_overview(case(card, volume, labels))
    began = time.process_time()
    render_overview(case(card, volume, labels))
    assert time.process_time() - began < 1.0
