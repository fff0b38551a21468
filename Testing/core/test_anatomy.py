"""The atlas laid on a case: phantoms with known anatomy in any orientation, real patients, and where it must not."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from flairseg.anatomy import RegionMap, atlas_maps, case_images, find_regions, finding, registration, tissue_codes
from flairseg.anatomy.atlas import FILE, TISSUES, load_atlas
from flairseg.anatomy.finding import between, doubts, interpolated
from flairseg.anatomy.lesion_table import lesion_table
from flairseg.anatomy.regions import (
    BRAIN_STEM,
    CEREBELLUM,
    CODE_NAMES,
    CORTEX,
    DEEP_GRAY,
    VENTRICLE,
    WHITE_MATTER,
    Fit,
    lesion_regions,
)
from flairseg.errors import Cancelled
from flairseg.io.reader import read_volume
from flairseg.labels import VENTRICLES
from flairseg.lesions.components import find_lesions
from flairseg.phantom import Phantom, Tissue, make_phantom
from flairseg.progress import CancelToken
from scipy import ndimage

from Testing.core.real_data import cases
from Testing.core.tiny import make_head


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(0, (20, 128, 128), (1.8, 1.8, 6.8))


@pytest.fixture(scope="module")
def regions(phantom) -> RegionMap:
    return find_regions(phantom.volume, phantom.labels)


# --- the atlas


def test_the_atlas_is_small_symmetric_and_says_what_it_is_made_from():
    assert FILE.stat().st_size < 2_000_000
    atlas = load_atlas()
    assert atlas.probabilities.shape[0] == len(TISSUES)
    assert atlas.probabilities.sum(axis=0).max() < 1.02
    np.testing.assert_allclose(atlas.probabilities, atlas.probabilities[..., ::-1], atol=0.005)
    voxel_ml = abs(np.linalg.det(atlas.ijk_to_ras[:3, :3])) / 1000
    assert 1000 < atlas.brain.sum() * voxel_ml < 1600
    with np.load(FILE, allow_pickle=False) as file:
        provenance = json.loads(str(file["provenance"]))
    assert "10.1016/j.media.2023.102789" in provenance["source"]
    assert "Apache-2.0" in provenance["source"]
    readme = FILE.with_name("README.md").read_text(encoding="utf-8")
    assert "Apache License 2.0" in readme
    assert "Billot" in readme


def test_the_atlas_has_its_parts_where_heads_have_them():
    atlas = load_atlas()

    def centre(tissue: str) -> np.ndarray:
        weight = atlas[tissue]
        kji = np.array([(axis * weight).sum() / weight.sum() for axis in np.indices(weight.shape)])
        return atlas.ijk_to_ras[:3, :3] @ kji[::-1] + atlas.ijk_to_ras[:3, 3]

    lateral, hind, stem, fourth = map(centre, ("lateral_ventricles", "cerebellum", "brain_stem", "fourth_ventricle"))
    assert np.abs([lateral[0], hind[0], stem[0]]).max() < 1
    assert hind[2] < lateral[2] - 30
    assert hind[1] < stem[1] - 10
    assert hind[1] < fourth[1] < stem[1]


def test_importing_the_package_loads_nothing_heavy():
    import subprocess

    imports = "import sys, flairseg.anatomy, flairseg.anatomy.lesion_table; "
    code = imports + "print('scipy' in sys.modules, 'SimpleITK' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- phantoms: the truth is known


def hindbrain(codes: np.ndarray) -> np.ndarray:
    return (codes == BRAIN_STEM) | (codes == CEREBELLUM)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_anatomy_is_where_the_phantom_has_it(phantom, regions):
    assert regions.found, regions.warnings
    assert regions.codes.shape == regions.lateral.shape == phantom.labels.shape
    assert set(np.unique(regions.codes)) <= {0, *CODE_NAMES}
    tissue = phantom.tissue
    assert dice(hindbrain(regions.codes), np.isin(tissue, [Tissue.CEREBELLUM, Tissue.BRAIN_STEM])) > 0.8
    assert dice(regions.codes == CORTEX, tissue == Tissue.CORTEX) > 0.5
    assert np.mean(tissue[regions.codes == DEEP_GRAY] == Tissue.CORTEX) < 0.1
    assert (regions.codes[phantom.labels == VENTRICLES] == VENTRICLE).all()
    assert regions.fit.brain_dice > 0.85
    assert regions.fit.ventricles_mm < 4


def agreement(phantom: Phantom, labels: np.ndarray, affine: np.ndarray, regions: RegionMap) -> Counter:
    """(Place that the phantom drew a lesion for, region that was found) of lesions that are one lesion each."""
    centres = np.array([lesion.centre_ras for lesion in phantom.lesions])
    pairs = Counter()
    for row in lesion_table(labels, affine, regions=regions):
        distance = np.linalg.norm(centres - row.centre_ras_mm, axis=1)
        drawn = phantom.lesions[int(distance.argmin())]
        if distance.min() < 6 and 25 < row.volume_mm3 < 1.8 * drawn.volume_mm3 + 60:
            pairs[drawn.place.replace(" ", "_"), row.region] += 1
    return pairs


def test_lesions_are_told_by_the_places_they_were_drawn_for(phantom, regions):
    """Places say what a lesion was drawn for; one drawn as deep may touch the cortex after all, hence not all agree."""
    pairs = agreement(phantom, phantom.labels, phantom.volume.ijk_to_ras, regions)
    assert sum(pairs.values()) >= 12
    right = sum(count for (place, region), count in pairs.items() if place == region)
    assert right >= 0.7 * sum(pairs.values()), pairs
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    assert not any("infratentorial" in pair for pair in wrong), pairs


def test_storage_order_changes_nothing(phantom, regions):
    """The same scan left-handed and with its axes exchanged: the same anatomy, voxel by voxel but for rounding."""
    affine = phantom.volume.ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, 0] * (phantom.labels.shape[2] - 1)
    affine[:3, 0] *= -1
    turned = affine[:, [2, 1, 0, 3]]  # I and K exchanged

    def turn(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array[..., ::-1].transpose(2, 1, 0))

    volume = replace(phantom.volume, array=turn(phantom.volume.array), ijk_to_ras=turned)
    found = find_regions(volume, turn(phantom.labels))
    assert found.found
    assert np.mean(found.codes != turn(regions.codes)) < 0.001
    assert dice(hindbrain(found.codes), hindbrain(turn(regions.codes))) > 0.97


def test_the_same_case_gives_the_same_answer(phantom, regions):
    again = find_regions(phantom.volume, phantom.labels)
    assert again.fit == regions.fit
    assert np.array_equal(again.codes, regions.codes)


@pytest.mark.parametrize("part", [slice(6, None), slice(None, 13)], ids=["without its base", "without its vertex"])
def test_part_of_a_head(phantom, regions, part):
    affine = phantom.volume.ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, 2] * (part.start or 0)
    volume = replace(phantom.volume, array=phantom.volume.array[part], ijk_to_ras=affine)
    found = find_regions(volume, phantom.labels[part])
    if not found.found:
        assert "unknown" in found.warnings[0]
        return
    whole = hindbrain(regions.codes[part])
    assert np.mean(hindbrain(found.codes) != whole) < 0.04
    assert dice(found.codes == CORTEX, regions.codes[part] == CORTEX) > 0.7


# --- what it costs, counted


def test_a_start_that_fits_well_is_the_only_one_followed(phantom, monkeypatch):
    fits = []
    real = registration._affine
    monkeypatch.setattr(registration, "_affine", lambda *a: fits.append(a[4]) or real(*a))
    monkeypatch.setattr(registration, "GOOD_DICE", 0.5)
    monkeypatch.setattr(registration, "GOOD_MM", 30.0)
    assert find_regions(phantom.volume, phantom.labels).found
    assert fits == ["squares", "correlation"]
    fits.clear()
    monkeypatch.setattr(registration, "GOOD_DICE", 2.0)
    assert find_regions(phantom.volume, phantom.labels).found
    assert fits == ["squares"] * registration.FOLLOWED + ["correlation"]


def test_the_atlas_is_read_near_the_head_alone(phantom, monkeypatch):
    """Of the samples of the atlas's whole grid, which an image shows, less than half; and no point is lost so."""
    points = []
    real = finding.Alignment.atlas_kji

    def counted(alignment, affine, box, where=None):
        if where is not None:
            points.append((int(where.sum()), where.size))
        return real(alignment, affine, box, where)

    monkeypatch.setattr(finding.Alignment, "atlas_kji", counted)
    near = find_regions(phantom.volume, phantom.labels)
    [(read, there)] = points
    assert read < 0.75 * there < 0.75 * phantom.labels.size
    monkeypatch.setattr(finding, "around_head", lambda atlas: np.ones(atlas.levels.shape[1:], np.uint8))
    assert np.mean(near.codes != find_regions(phantom.volume, phantom.labels).codes) < 0.001


def test_the_stored_maps_are_those_of_the_atlas():
    """``python -m tools.build_atlas --maps`` makes them again."""
    made = atlas_maps.made_maps(load_atlas())
    with np.load(atlas_maps.FILE, allow_pickle=False) as stored:
        assert set(stored.files) == set(made)
        for name in ("around", "lateral", "ijk_to_ras"):
            np.testing.assert_array_equal(stored[name], made[name])
        for name in ("outline", "contrast"):
            assert np.abs(stored[name].astype(int) - made[name]).max() <= 1
    side = atlas_maps.lateral_side(load_atlas())
    assert set(np.unique(side)) == {-1, 1}
    assert side[load_atlas()["lateral_ventricles"] > 0.5].mean() > 0.95
    assert side[load_atlas()["fourth_ventricle"] > 0.5].max() == -1


@pytest.mark.parametrize("farthest_mm", [0.0, 9.0])
def test_the_fit_is_measured_wherever_the_atlas_may_have_brain(farthest_mm):
    atlas, rng = load_atlas(), np.random.default_rng(8)
    extent = atlas_maps.brain_extent(atlas, 0.4)
    there = np.argwhere(atlas.brain_levels > 0.4 * 255)
    np.testing.assert_array_equal(extent, np.stack([there.min(axis=0), there.max(axis=0)], axis=1))
    for n in range(20):
        matrix, ijk_to_ras = np.eye(4), np.diag([4.1, 3.7, 5.0, 1.0])
        matrix[:3, :3] += rng.normal(0, 0.2, (3, 3)) * (n % 2)
        matrix[:3, 3], ijk_to_ras[:3, 3] = rng.normal(0, 20, 3), (-80, -95, -60)
        shape = (26, 44, 40)
        bending = rng.choice([-1, 1], (3, 9, 9, 9)).astype(np.float32) * np.float32(farthest_mm)
        grid = np.diag([20.0, 24.0, 20.0, 1.0])
        grid[:3, 3] = (-80, -110, -70)
        alignment = registration.Alignment(matrix, atlas, bending if farthest_mm else None, grid)
        box = alignment.reach(extent, ijk_to_ras, shape)
        whole = alignment.atlas_kji(ijk_to_ras, tuple(slice(0, n) for n in shape))
        brain = ndimage.map_coordinates(atlas.brain_levels, whole, order=1, output=np.float32) > 0.4 * 255
        assert brain.any()
        beyond = brain.copy()
        beyond[box] = False
        assert not beyond.any()
    upright = registration.Alignment(np.eye(4), atlas).reach(extent, ijk_to_ras, shape)
    assert np.prod([s.stop - s.start for s in upright]) < 0.8 * np.prod(shape)


def test_a_prepared_atlas_is_not_made_again(phantom):
    kept = [atlas_maps.outline_image, atlas_maps.contrast_image, atlas_maps.around_head, atlas_maps.lateral_side]
    for one in kept:
        one.cache_clear()
    finding.prepare_atlas()
    assert [one.cache_info().misses for one in kept] == [1, 1, 1, 1]
    assert find_regions(phantom.volume, phantom.labels).found
    assert [one.cache_info().misses for one in kept] == [1, 1, 1, 1]


def test_all_starts_are_compared_on_few_voxels_and_the_best_on_all(phantom, monkeypatch):
    read: list[int] = []
    real = registration._search

    def counted(*arguments):
        monkeypatch.setattr(registration, "ndimage", _Counting(read))
        try:
            return real(*arguments)
        finally:
            monkeypatch.setattr(registration, "ndimage", ndimage)

    monkeypatch.setattr(registration, "_search", counted)
    found = find_regions(phantom.volume, phantom.labels)
    starts = len(registration.PITCHES) * len(registration.ROLLS) * len(registration.YAWS)
    assert len(read) == starts + registration.RESCORED
    assert sum(read) < 0.5 * starts * max(read)
    monkeypatch.setattr(registration, "RESCORED", starts)
    np.testing.assert_array_equal(find_regions(phantom.volume, phantom.labels).codes, found.codes)


class _Counting:
    """scipy.ndimage, with the number of points that each interpolation reads."""

    def __init__(self, read: list[int]) -> None:
        self._read = read

    def __getattr__(self, name: str):
        return getattr(ndimage, name)

    def map_coordinates(self, array, points, **options):
        self._read.append(points.shape[1])
        return ndimage.map_coordinates(array, points, **options)


@pytest.mark.parametrize(("normal", "spacing"), [(0, (6.8, 0.9, 1.1)), (1, (1.2, 5.0, 0.8)), (2, (1.0, 2.0, 1.5))])
def test_depth_is_the_distance_transform_where_it_is_near(normal, spacing):
    inside = ndimage.binary_opening(np.random.default_rng(4).random((9, 30, 28)) > 0.02, iterations=1)
    flat = [1000.0 if axis == normal and mm > 1.6 else mm for axis, mm in enumerate(spacing)]
    expected = ndimage.distance_transform_edt(inside, sampling=flat)
    assert expected[expected < 900].max() > 4
    expected = np.where(expected > 4.0, np.inf, expected)
    np.testing.assert_allclose(tissue_codes.depth(inside, spacing, normal, 4.0), expected, rtol=1e-5)


@pytest.mark.parametrize("edge", [0, 2, 9])
@pytest.mark.parametrize("normal", [0, 1, 2])
def test_tissue_around_the_brain_is_worked_out_as_on_the_whole_grid(normal, edge, monkeypatch):
    rng = np.random.default_rng(edge)
    shape = (14, 33, 31)
    image = rng.random(shape, np.float32) * np.float32(1.2)
    inner = tuple(slice(edge, n - edge if n > 2 * edge else n) for n in shape)

    class Priors:
        """Cortex and white matter, with noise, within a box."""

        def at(self, block, least):
            there = np.zeros(shape, bool)
            there[inner] = True
            places = np.flatnonzero(there[block])
            odds = np.random.default_rng(block.start).random((len(TISSUES), len(places)), np.float32) / 4
            return places, dict(zip(TISSUES, odds, strict=True))

    def codes():
        labels, rough = np.zeros(shape, np.uint8), np.ones(shape, bool)
        return tissue_codes.tissue_codes(image, labels, rough, Priors(), (1.0, 1.1, 1.2), normal)

    found = codes()
    assert len(np.unique(found)) > 4
    monkeypatch.setattr(tissue_codes, "bounding_box", lambda mask, values: tuple(slice(0, n) for n in mask.shape))
    np.testing.assert_array_equal(found, codes())


@pytest.mark.parametrize("reach", [0, 1, 2, 3, 7, 40])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_masks_grow_as_by_a_maximum_filter(axis, reach):
    mask = np.random.default_rng(reach).random((12, 13, 14)) > 0.97
    expected = ndimage.maximum_filter1d(mask, 2 * reach + 1, axis=axis, mode="constant")
    np.testing.assert_array_equal(case_images.grown_along(mask, axis, reach), expected)


def test_blocks_are_averaged_as_by_binshrink():
    import SimpleITK as sitk
    from flairseg.image.volume import Volume, volume_from_sitk, volume_to_sitk

    rng = np.random.default_rng(3)
    affine = np.array([[0.0, -1.2, 0.0, 5.0], [0.8, 0.0, 0.1, -7.0], [0.0, 0.1, 6.0, 3.0], [0, 0, 0, 1]])
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] * [0.8, 1.2, 6.0]
    volume = Volume(rng.random((7, 11, 13)).astype(np.float32), affine)
    for factors in ([1, 1, 1], [2, 3, 1], [4, 2, 3]):
        expected = volume_from_sitk(sitk.BinShrink(volume_to_sitk(volume), factors))
        found = case_images.shrunk(volume, factors)
        np.testing.assert_allclose(found.array, expected.array, atol=1e-6)
        np.testing.assert_allclose(found.ijk_to_ras, expected.ijk_to_ras, atol=1e-9)


@pytest.mark.parametrize("factors", [[1, 1, 1], [4, 3, 2], [20, 20, 1], [1, 2, 300]])
def test_of_what_is_zero_elsewhere_a_box_is_averaged_alone(factors):
    from flairseg.image.volume import Volume

    rng = np.random.default_rng(5)
    for shape in ((7, 22, 27), (600, 5, 6)):
        start = [int(rng.integers(0, n // 2)) for n in shape]
        box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(start, shape, strict=True))
        array = np.zeros(shape, np.float32)
        array[box] = rng.random(array[box].shape)
        for volume in (Volume(array, np.eye(4)), Volume(array > 0.1, np.eye(4))):
            if any(factor > n for factor, n in zip(factors[::-1], shape, strict=True)):
                continue
            expected = case_images.shrunk(Volume(volume.array.astype(np.float32), np.eye(4)), factors)
            found = case_images.shrunk(volume, factors, within=box)
            np.testing.assert_array_equal(found.array, expected.array)
    nothing = case_images.shrunk(Volume(array, np.eye(4)), [2, 2, 2], within=(slice(0, 0),) * 3)
    assert nothing.array.shape == (300, 2, 3)
    assert not nothing.array.any()


# --- where it must not guess


@pytest.mark.parametrize(
    ("fit", "word"),
    [
        (Fit(0.5, 2.0, 0.9, (1.0, 1.0)), "outline"),
        (Fit(0.95, 2.0, 0.9, (1.6, 1.0)), "outline"),
        (Fit(0.95, 2.0, 0.9, (1.0, 0.4)), "outline"),
        (Fit(0.95, 20.0, 0.9, (1.0, 1.0)), "ventricles"),
        (Fit(0.95, float("inf"), 0.9, (1.0, 1.0)), "ventricles"),
        (Fit(0.95, 2.0, 0.1, (1.0, 1.0)), "resemble"),
        (Fit(0.95, float("nan"), 0.9, (1.0, 1.0)), ""),
        (Fit(0.95, 2.0, 0.9, (1.1, 0.9)), ""),
        (Fit(0.86, 2.0, 0.9, (1.1, 0.9)), ""),
        (Fit(0.86, 5.0, 0.9, (1.1, 0.9)), "outline"),
        (Fit(0.86, float("nan"), 0.9, (1.1, 0.9)), "outline"),
    ],
)
def test_a_bad_fit_is_told(fit, word):
    assert word in doubts(fit)
    assert bool(doubts(fit)) == bool(word)


def test_no_brain_no_regions(phantom):
    noise = np.random.default_rng(0).normal(100, 20, (12, 64, 64)).astype(np.float32)
    volume = replace(phantom.volume, array=noise, ijk_to_ras=np.diag([3.0, 3.0, 7.0, 1.0]))
    labels = np.zeros(noise.shape, np.uint8)
    labels[6, 30:34, 30:34] = VENTRICLES
    found = find_regions(volume, labels)
    assert not found.found
    assert not found.codes.any()
    assert "unknown" in found.warnings[0]


def test_a_header_that_turns_the_head_upside_down_is_noticed(phantom):
    volume = replace(phantom.volume, array=phantom.volume.array[::-1].copy())
    found = find_regions(volume, phantom.labels[::-1].copy())
    assert not found.found
    assert "does not fit" in found.warnings[0]


def test_a_single_slice_is_too_little(phantom):
    volume = replace(phantom.volume, array=phantom.volume.array[10:11])
    found = find_regions(volume, phantom.labels[10:11])
    assert not found.found
    assert "single slice" in found.warnings[0]


def test_labels_of_another_grid_are_refused(phantom):
    with pytest.raises(ValueError, match="labels"):
        find_regions(phantom.volume, phantom.labels[1:])


def test_progress_and_cancel():
    head, labels = make_head()
    seen = []
    token = CancelToken()

    def progress(fraction: float, stage: str) -> None:
        seen.append((fraction, stage))
        if fraction > 0.3:
            token.cancel()

    with pytest.raises(Cancelled):
        find_regions(head, labels, progress, token)
    assert {stage for _, stage in seen} == {"regions"}
    assert [f for f, _ in seen] == sorted(f for f, _ in seen)


# --- real patients


@pytest.mark.parametrize("path", cases("tabriz/sub-101228/flair.nii.gz")[:1])
def test_a_real_patient(path):
    volume = read_volume(path)
    labels = read_volume(path.with_name("labels.nii.gz")).array.astype(np.uint8)
    found = find_regions(volume, labels)
    assert found.found, found.warnings
    assert found.fit.brain_dice > 0.88
    assert found.fit.ventricles_mm < 4
    voxel_ml = volume.voxel_mm3 / 1000
    assert 80 < np.count_nonzero(hindbrain(found.codes)) * voxel_ml < 230
    assert 250 < np.count_nonzero(found.codes == CORTEX) * voxel_ml < 900


def test_values_between_samples_are_interpolated_linearly():
    """Against SciPy, with a sample at or beyond the last voxel and a size that no step divides."""
    rng = np.random.default_rng(5)
    steps, size = (1, 2, 3), (5, 8, 10)
    samples = rng.random([-(-(n - 1) // step) + 1 for n, step in zip(size, steps, strict=True)]).astype(np.float32)
    at = np.indices(size) / np.reshape(steps, (3, 1, 1, 1))
    expected = ndimage.map_coordinates(samples, at, order=1)
    assert np.allclose(interpolated(samples, steps, size), expected, atol=1e-6)


@pytest.mark.parametrize(("steps", "size"), [((1, 2, 3), (5, 8, 10)), ((3, 4, 1), (7, 9, 6)), ((2, 5, 5), (1, 2, 16))])
def test_a_mask_reaches_as_far_as_its_interpolation(steps, size):
    rng = np.random.default_rng(7)
    for share in (0.05, 0.3, 0.9):
        mask = rng.random([-(-(n - 1) // step) + 1 for n, step in zip(size, steps, strict=True)]) < share
        expected = interpolated(mask.astype(np.float32), steps, size) > 0
        np.testing.assert_array_equal(between(mask, steps, size), expected)


def _flat_map(codes: np.ndarray, normal: int, lateral: np.ndarray | None = None) -> RegionMap:
    """A map with 1 mm pixels and 5 mm slices along one array axis."""
    spacing = [1.0, 1.0, 1.0]
    spacing[2 - normal] = 5.0
    sides = np.zeros(codes.shape, bool) if lateral is None else lateral
    fit = Fit(0.95, 1.0, 0.95, (1.0, 1.0))
    return RegionMap(codes, sides, True, fit, np.eye(4), tuple(spacing), normal)


@pytest.mark.parametrize("normal", [0, 1, 2])
def test_juxtacortical_is_contact_by_a_face_in_the_slice(normal):
    """Cortex beside a lesion in the slice counts; cortex by a corner, a pixel away, or in the next slice does not."""
    in_plane = [axis for axis in range(3) if axis != normal]
    affine = np.diag([*(5.0 if 2 - axis == normal else 1.0 for axis in range(3)), 1.0])

    def region(offset: dict[int, int]) -> str:
        codes = np.full((12, 12, 12), WHITE_MATTER, np.uint8)
        labels = np.zeros(codes.shape, np.uint8)
        place = [slice(5, 7)] * 3
        place[normal] = slice(5, 6)
        labels[tuple(place)] = 3
        ribbon = [slice(s.start, s.stop) for s in place]
        for axis, by in offset.items():
            ribbon[axis] = slice(ribbon[axis].start + by, ribbon[axis].stop + by)
        codes[tuple(ribbon)] = CORTEX
        found = lesion_regions(find_lesions(labels, affine), labels, _flat_map(codes, normal))
        return found[1]

    row, column = in_plane
    for axis in in_plane:
        assert region({axis: 2}) == "juxtacortical"
        assert region({axis: -2}) == "juxtacortical"
        assert region({axis: 3}) == "deep_white_matter"
        assert region({axis: -3}) == "deep_white_matter"
    assert region({row: 2, column: 2}) == "deep_white_matter"
    assert region({normal: 1}) == "deep_white_matter"
    assert region({}) == "juxtacortical"
