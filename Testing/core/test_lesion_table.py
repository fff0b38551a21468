"""The lesion table: figures as SimpleITK measures them, parts of confluent lesions, regions, load, CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.anatomy import REGIONS, RegionMap, dissemination
from flairseg.anatomy.lesion_table import (
    COLUMNS,
    LesionRow,
    Measured,
    lesion_diameter,
    lesion_parts,
    lesion_table,
    load_by_region,
    split_count,
    summary_entries,
    table_csv,
)
from flairseg.anatomy.regions import (
    BRAIN_STEM,
    CEREBELLUM,
    CORTEX,
    DEEP_GRAY,
    OUTSIDE,
    VENTRICLE,
    WHITE_MATTER,
    Fit,
)
from flairseg.image.geometry import VolumeGeometry, spacing_of
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.lesions.boxes import through_plane_axis
from flairseg.lesions.components import find_lesions
from scipy import ndimage
from scipy.spatial.distance import pdist
from skimage.measure import find_contours, marching_cubes, regionprops

THICK = np.diag([0.9, 0.9, 6.8, 1.0])


def oblique(spacing=(0.7, 0.9, 5.0)) -> np.ndarray:
    """A left-handed grid turned about an odd axis."""
    turn = ndimage_rotation((0.3, -0.5, 0.8), 33.0)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1, 1, 1]) @ np.diag(spacing)
    affine[:3, 3] = (12.0, -30.0, 7.0)
    return affine


def ndimage_rotation(axis, degrees) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    axis = np.asarray(axis, float)
    return Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()


def blobs(seed: int, shape=(10, 40, 44)) -> np.ndarray:
    """Lesions of any shape, some of one voxel, some of one slice."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0.6, 1.6, 1.6))
    labels = np.where(noise > np.quantile(noise, 0.93), LESION, 0).astype(np.uint8)
    labels[0, 0, 0] = LESION
    labels[5, 0:3, 40] = LESION
    return labels


def surface_diameter(mask: np.ndarray, affine: np.ndarray) -> float:
    """Largest distance, mm, between vertices of the surface by marching cubes, or of outlines on thick slices."""
    padded = np.pad(mask, 1).astype(float)
    if spacing_of(affine)[2] >= 2 * max(spacing_of(affine)[:2]):
        found = [(k, outline) for k, image in enumerate(padded) for outline in find_contours(image, 0.5)]
        points = np.concatenate([np.insert(outline, 0, k, axis=1) for k, outline in found])
    else:
        points = marching_cubes(padded, 0.5)[0].astype(float)
    points = np.unique(points, axis=0) @ affine[:3, :3][:, ::-1].T
    return float(pdist(points).max())


@pytest.mark.parametrize("affine", [THICK, oblique(), np.diag([1.0, 1.0, 1.0, 1.0])], ids=["thick", "oblique", "cube"])
def test_figures_are_those_of_simpleitk(affine):
    labels = blobs(1)
    rows = lesion_table(labels, affine)
    image = sitk.GetImageFromArray((labels == LESION).astype(np.uint8))
    spacing, direction, origin = VolumeGeometry((1, 1, 1), affine).to_itk()
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    components = sitk.ConnectedComponent(image, True)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(components)
    numbers = sitk.GetArrayFromImage(components)
    expected = {
        tuple(np.round(np.array(shapes.GetCentroid(n)) * [-1, -1, 1], 4)): (
            shapes.GetPhysicalSize(n),
            surface_diameter(numbers == n, affine),
        )
        for n in shapes.GetLabels()
    }
    assert len(rows) == len(expected) > 5
    for row in rows:
        centre = min(expected, key=lambda c, own=row.centre_ras_mm: np.abs(np.subtract(c, own)).max())
        assert row.centre_ras_mm == pytest.approx(centre, abs=1e-3)
        assert (row.volume_mm3, row.diameter_mm) == pytest.approx(expected[centre], rel=1e-4)


def test_mean_and_peak_probability_are_those_of_simpleitk():
    labels = blobs(2)
    chance = np.random.default_rng(3).uniform(0.3, 1.0, labels.shape).astype(np.float32)
    probabilities = np.stack([1 - chance, np.zeros_like(chance), np.zeros_like(chance), chance])
    lesions = find_lesions(labels, THICK, probabilities)
    full = np.zeros(labels.shape, np.uint32)
    full[lesions.box] = lesions.components
    statistics = sitk.LabelStatisticsImageFilter()
    statistics.Execute(sitk.GetImageFromArray(chance), sitk.GetImageFromArray(full))
    for row in lesion_table(labels, THICK, probabilities, lesions=lesions):
        assert row.confidence == pytest.approx(statistics.GetMean(row.number), abs=1e-4)
        assert row.peak_probability == pytest.approx(statistics.GetMaximum(row.number), abs=1e-4)


def test_a_large_lesion_has_the_diameter_of_all_its_voxels():
    """Large enough to be thinned to its hull; compared with every pair of voxels."""
    z, y, x = np.indices((9, 60, 60))
    mask = ((z - 4) / 3.5) ** 2 + ((y - 29.5) / 28) ** 2 + ((x - 25) / 14.0) ** 2 <= 1
    for part in (mask, mask[4:5]):
        for affine in (oblique(), np.diag([1.2, 0.8, 1.0, 1.0])):
            assert lesion_diameter(part, affine) == pytest.approx(surface_diameter(part, affine), rel=1e-6)


def test_the_diameter_in_a_slice_is_that_of_scikit_image():
    """Of convex shapes: scikit-image measures the convex hull."""
    y, x = np.indices((30, 30))
    for mask in (np.hypot(y - 14, x - 14) < 7, abs(y - 10) + abs(x - 12) < 5, (abs(y - 9) < 3) & (abs(x - 12) < 6)):
        (region,) = regionprops(mask.astype(int))
        own = lesion_diameter(mask[None], np.diag([1.0, 1.0, 5.0, 1.0]))
        assert own == pytest.approx(region.feret_diameter_max, rel=1e-6)


# --- parts


def discs(shape, centres, radii, slices) -> np.ndarray:
    y, x = np.indices(shape[1:])
    mask = np.zeros(shape, bool)
    for (cy, cx), radius, k in zip(centres, radii, slices, strict=True):
        mask[k] |= (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    return mask


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        (discs((3, 40, 60), [(20, 20), (20, 29)], [8, 8], [1, 1]), 1),
        (discs((3, 40, 60), [(20, 15), (20, 32), (20, 48)], [9, 9, 8], [1, 1, 1]), 3),
        (discs((3, 40, 60), [(20, 20)], [11], [1]), 1),
        (discs((4, 40, 60), [(12, 15), (21, 24)], [7, 7], [1, 2]), 2),
    ],
    ids=["a wide waist", "a chain", "a disc", "overlapping corners of two slices"],
)
def test_confluent_lesions_are_parted_at_their_waists(mask, parts):
    assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1
    found = lesion_parts(mask, THICK)
    assert found.max() == parts
    assert np.array_equal(found > 0, mask)


def test_a_speck_at_the_end_of_a_lesion_is_no_part():
    mask = discs((3, 40, 60), [(20, 20)], [9], [1])
    mask[1, 20, 29:34] = True
    mask[1, 19:22, 34] = True
    assert lesion_parts(mask, THICK).max() == 1


def test_the_count_of_the_contract_stays_and_the_split_one_stands_beside_it():
    labels = np.zeros((3, 40, 60), np.uint8)
    labels[discs(labels.shape, [(20, 15), (20, 32), (20, 48)], [9, 9, 8], [1, 1, 1])] = LESION
    labels[2, 2:6, 2:6] = LESION
    rows = lesion_table(labels, THICK)
    assert len(rows) == 2
    assert [row.parts for row in rows] == [3, 1]
    assert split_count(rows) == 4
    entries = summary_entries(rows)
    assert (len(entries["lesions"]), entries["lesion_parts"]) == (2, 4)


# --- regions on painted anatomy


@pytest.fixture
def painted() -> tuple[np.ndarray, RegionMap]:
    """Labels and anatomy: ventricles in the middle, cortex outside, hindbrain below."""
    shape = (12, 100, 100)
    codes = np.full(shape, WHITE_MATTER, np.uint8)
    codes[:, :10] = codes[:, -10:] = CORTEX
    codes[:, :4] = OUTSIDE
    codes[:4] = CEREBELLUM
    codes[:4, 40:60, 40:60] = BRAIN_STEM
    labels = np.zeros(shape, np.uint8)
    labels[6:9, 40:60, 40:48] = VENTRICLES
    codes[6:9, 40:60, 40:48] = VENTRICLE
    codes[6:9, 40:60, 50:62] = DEEP_GRAY
    labels[6:9, 48:52, 90:94] = VENTRICLES  # a third ventricle, in the wrong place but it will do
    lateral = np.zeros(shape, bool)
    lateral[:, :, :80] = True
    fit = Fit(0.95, 2.0, 0.9, (1.0, 1.0))
    return labels, RegionMap(codes, lateral, True, fit, np.eye(4), (0.9, 0.9, 6.8), through_plane_axis(THICK))


@pytest.mark.parametrize(
    ("where", "region"),
    [
        ((7, slice(60, 66), slice(42, 46)), "periventricular"),  # touches
        ((7, slice(61, 66), slice(42, 46)), "periventricular"),  # 1.8 mm away
        ((7, slice(63, 66), slice(42, 46)), "deep_white_matter"),  # 3.6 mm away
        ((9, slice(42, 46), slice(42, 46)), "periventricular"),  # the slice above its roof
        ((10, slice(42, 46), slice(42, 46)), "deep_white_matter"),  # two slices above it
        ((7, slice(52, 56), slice(88, 92)), "deep_white_matter"),  # touches the third ventricle only
        ((7, slice(44, 49), slice(53, 60)), "deep_white_matter"),  # in the deep gray nuclei
        ((7, slice(44, 49), slice(49, 60)), "periventricular"),  # there, but touching the lateral ventricle
        ((7, slice(6, 9), slice(20, 24)), "juxtacortical"),  # in the cortex
        ((7, slice(10, 15), slice(20, 24)), "juxtacortical"),  # touches it
        ((7, slice(12, 16), slice(20, 24)), "deep_white_matter"),
        ((2, slice(5, 9), slice(20, 24)), "infratentorial"),
        ((2, slice(44, 49), slice(44, 49)), "infratentorial"),
        ((7, slice(0, 3), slice(20, 24)), "unknown"),  # outside the atlas's brain
    ],
)
def test_regions_follow_their_definitions(painted, where, region):
    labels, regions = painted
    labels[where] = LESION
    (row,) = lesion_table(labels, THICK, regions=regions)
    assert row.region == region


def test_a_normal_rim_between_lesion_and_ventricle_is_no_white_matter_in_between(painted):
    labels, regions = painted
    labels[7, 63:68, 42:46] = LESION
    assert lesion_table(labels, THICK, regions=regions)[0].region == "deep_white_matter"
    labels[7, 60:63, 42:46] = NORMAL_WMH
    assert lesion_table(labels, THICK, regions=regions)[0].region == "periventricular"


def test_a_lesion_from_ventricle_to_cortex_counts_once_and_as_periventricular(painted):
    labels, regions = painted
    labels[7, 8:40, 42:46] = LESION
    (row,) = lesion_table(labels, THICK, regions=regions)
    assert row.region == "periventricular"


def test_an_edit_of_the_ventricles_moves_the_region(painted):
    """The map of anatomy is found once; outlines are those of the present labels."""
    labels, regions = painted
    labels[7, 66:70, 42:46] = LESION
    assert lesion_table(labels, THICK, regions=regions)[0].region == "deep_white_matter"
    labels[7, 60:66, 42:46] = VENTRICLES
    assert lesion_table(labels, THICK, regions=regions)[0].region == "periventricular"


@pytest.mark.parametrize(
    ("where", "region"),
    [
        ((7, slice(60, 66), slice(42, 46)), "periventricular"),
        ((7, slice(63, 66), slice(42, 46)), "deep_white_matter"),
        ((7, slice(52, 56), slice(88, 92)), "deep_white_matter"),
    ],
)
def test_a_mask_of_lesions_alone_touches_the_ventricles_of_the_image(painted, where, region):
    """No lesion of such a mask had been periventricular."""
    labels, regions = painted
    labels[:] = 0
    labels[where] = LESION
    (row,) = lesion_table(labels, THICK, regions=regions)
    assert row.region == region


def test_without_a_map_regions_are_unknown_and_never_guessed(painted):
    labels, _ = painted
    labels[7, 60:66, 42:46] = LESION
    assert lesion_table(labels, THICK)[0].region == "unknown"
    nothing = RegionMap.nothing(labels.shape, THICK, "The atlas does not fit.")
    assert lesion_table(labels, THICK, regions=nothing)[0].region == "unknown"
    with pytest.raises(ValueError, match="regions"):
        lesion_table(labels, THICK, regions=RegionMap.nothing((2, 2, 2), THICK, ""))


# --- load, evidence, CSV


def test_normal_wmh_stands_apart_and_counts_in_no_load(painted):
    labels, regions = painted
    labels[7, 60:66, 42:46] = LESION
    labels[7, 20:26, 42:46] = NORMAL_WMH
    rows = lesion_table(labels, THICK, regions=regions, values=(LESION, NORMAL_WMH))
    assert [row.value for row in rows] == [LESION, NORMAL_WMH]
    load = load_by_region(rows)
    assert list(load) == list(REGIONS)
    assert load["periventricular"] == {"count": 1, "volume_ml": pytest.approx(24 * 0.81 * 6.8 / 1000, abs=1e-4)}
    assert sum(entry["count"] for entry in load.values()) == 1
    assert len(summary_entries(rows)["lesions"]) == 1


@pytest.mark.parametrize(
    ("regions", "found", "words"),
    [
        (["infratentorial", "periventricular", "periventricular", "deep_white_matter"],
         ["periventricular", "infratentorial"], "in 2 of the 3 regions"),
        (["deep_white_matter"], [], "No lesions of 3 mm or more in the 3 regions"),
        (["unknown", "unknown"], [], "could not be determined"),
        (["juxtacortical", "unknown"], ["juxtacortical"], "of 1 lesion could not"),
        ([], [], "No lesions of 3 mm or more"),
    ],
)  # fmt: skip
def test_evidence_of_dissemination_is_listed_and_is_no_diagnosis(regions, found, words):
    evidence = dissemination(regions, [3.0] * len(regions))
    assert list(evidence.regions_with_lesions) == found
    assert words in evidence.text
    assert evidence.as_dict()["not_assessed"] == ["spinal cord", "optic nerve"]
    assert "not a diagnosis" in evidence.text
    assert "Research use only" in evidence.text
    assert "not assessed" in evidence.text
    assert "10.1016/S1474-4422(25)00270-4" in evidence.reference
    assert "fulfilled" not in evidence.text


@pytest.mark.parametrize(
    ("lesions", "found", "small", "words"),
    [
        ([("periventricular", 2.99)], [], {"periventricular": 1}, "below 3 mm: periventricular (1)."),
        ([("periventricular", 3.0)], ["periventricular"], {}, "in 1 of the 3 regions"),
        ([("periventricular", 8.0), ("periventricular", 1.0), ("infratentorial", 2.0), ("juxtacortical", 5.0)],
         ["periventricular", "juxtacortical"], {"periventricular": 1, "infratentorial": 1},
         "below 3 mm: periventricular (1) and infratentorial (1)."),
        ([("infratentorial", None)], ["infratentorial"], {}, "in 1 of the 3 regions"),
        ([("unknown", 1.0)], [], {}, "No lesions of 3 mm or more"),
        ([("deep_white_matter", 1.0)], [], {}, "No lesions of 3 mm or more"),
    ],
)  # fmt: skip
def test_evidence_rests_on_lesions_of_3_mm_and_more(lesions, found, small, words):
    """MAGNIMS and McDonald: a lesion is at least 3 mm along its longest axis. What is smaller is told, not counted."""
    evidence = dissemination(*zip(*lesions, strict=True))
    assert (list(evidence.regions_with_lesions), evidence.lesions_below_3_mm) == (found, small)
    assert words in evidence.text
    assert evidence.as_dict()["smallest_mm"] == 3.0


def test_the_summary_s_evidence_rests_on_the_diameters_of_its_table(painted):
    labels, regions = painted
    labels[7, 60:66, 42:46] = LESION
    whole = summary_entries(lesion_table(labels, THICK, regions=regions))
    assert whole["dissemination"]["regions_with_lesions"] == ["periventricular"]
    assert whole["lesions"][0]["diameter_mm"] == pytest.approx(np.hypot(6 * 0.9, 3 * 0.9), abs=0.01)
    labels[7, 60:66, 42:46] = 0
    labels[7, 60:63, 42:44] = LESION
    small = summary_entries(lesion_table(labels, THICK, regions=regions))
    assert small["lesions"][0]["region"] == "periventricular"
    assert small["lesions"][0]["diameter_mm"] == pytest.approx(np.hypot(3 * 0.9, 0.9), abs=0.01)
    assert small["dissemination"]["regions_with_lesions"] == []
    assert small["dissemination"]["lesions_below_3_mm"] == {"periventricular": 1}
    assert small["regions"]["periventricular"]["count"] == 1, "the load counts all"


def test_slices_count_from_1_where_a_person_reads(painted):
    labels, regions = painted
    labels[6:8, 60:66, 42:46] = LESION
    (row,) = lesion_table(labels, THICK, regions=regions)
    assert row.slices == (6, 7)
    entry = row.as_dict()
    assert (entry["slices"], entry["slices_index"]) == ([7, 8], [6, 7])
    (read,) = csv.DictReader(io.StringIO(table_csv([row], "p1_flair")))
    assert (read["first_slice"], read["last_slice"]) == ("7", "8")


def test_csv_reads_back(painted):
    labels, regions = painted
    labels[7, 60:66, 42:46] = LESION
    labels[7, 20:26, 42:46] = NORMAL_WMH
    rows = lesion_table(labels, THICK, regions=regions, values=(LESION, NORMAL_WMH))
    first, second = csv.DictReader(io.StringIO(table_csv(rows, "=p1_flair")))
    assert list(first) == list(COLUMNS)
    assert [first["case"], second["case"]] == ["'=p1_flair"] * 2, "a spreadsheet would run it as a formula"
    assert (first["number"], first["class"], first["region"]) == ("1", "lesion", "periventricular")
    assert second["class"] == "normal_wmh"
    assert float(first["volume_mm3"]) == pytest.approx(rows[0].volume_mm3, abs=0.01)
    assert [float(first[f"centre_{axis}_mm"]) for axis in "ras"] == pytest.approx(rows[0].centre_ras_mm, abs=0.06)
    assert (first["first_slice"], first["last_slice"], first["confidence"], first["disagreement"]) == ("8", "8", "", "")


def test_what_an_edit_did_not_touch_is_not_measured_again(monkeypatch):
    labels = blobs(5)
    measured = Measured()
    before = lesion_table(labels, THICK, measured=measured)
    calls = []
    monkeypatch.setattr(
        "flairseg.anatomy.lesion_table.lesion_diameter", lambda *a: calls.append(1) or lesion_diameter(*a)
    )
    assert lesion_table(labels, THICK, measured=measured) == before
    assert not calls
    lesions = find_lesions(labels, THICK)
    box, mask = lesions.mask(1)
    labels[box][mask] = 0
    labels[box][tuple(np.argwhere(mask)[0])] = LESION
    after = lesion_table(labels, THICK, measured=measured)
    assert len(after) == len(before)
    assert len(calls) == 1


# --- the command


def test_the_command_measures_a_label_map(tmp_path):
    import json

    from flairseg.cli import app
    from flairseg.files.nifti import write_nifti
    from typer.testing import CliRunner

    from Testing.core.tiny import make_head, to_nifti

    head, labels = make_head(shape_kji=(8, 44, 38), spacing_ijk=(5, 5, 16))
    flair = to_nifti(head, tmp_path / "flair.nii.gz")
    mask = tmp_path / "patient_labels.nii.gz"
    write_nifti(mask, labels, head)
    command = ["lesions", str(mask), "--flair", str(flair), "--output", str(tmp_path / "out"), "--no-regions"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"patient_lesions.csv", "patient_lesions.json"}
    rows = list(csv.DictReader((tmp_path / "out" / "patient_lesions.csv").open()))
    expected = lesion_table(labels, head.ijk_to_ras)
    assert [float(row["volume_mm3"]) for row in rows] == pytest.approx([row.volume_mm3 for row in expected], abs=0.01)
    summary = json.loads((tmp_path / "out" / "patient_lesions.json").read_text(encoding="utf-8"))
    assert [row["number"] for row in summary["lesions"]] == [row.number for row in expected]
    assert "dissemination" not in summary
    assert "not a medical device" in done.output
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    bad = CliRunner().invoke(app, [*command[:1], str(tmp_path / "bad.nii.gz"), *command[2:], "--overwrite"])
    assert bad.exit_code == 2
    assert "What to do" in bad.output


# --- limits


def dumb_bell(half: int, waist: int, length: int = 9) -> np.ndarray:
    """In one slice two bars of ``2 half + 1`` rows, joined by one of ``2 waist + 1``."""
    mask = np.zeros((1, 41, 3 * length), bool)
    mask[0, 20 - half : 21 + half, :length] = mask[0, 20 - half : 21 + half, 2 * length :] = True
    mask[0, 20 - waist : 21 + waist, length : 2 * length] = True
    return mask


@pytest.mark.parametrize(
    ("pixel_mm", "half", "waist", "parts"),
    # The middle row of n + 1 + n rows is n + 1 pixels from the border: the rise above the waist in mm is theirs.
    [(1.0, 3, 2, 2), (1.0, 3, 3, 1), (0.5, 4, 3, 1), (0.5, 4, 2, 2), (2.0, 3, 2, 2), (0.7, 4, 3, 1), (0.7, 4, 2, 2)],
)
def test_parts_rise_by_a_millimetre_and_a_voxel(pixel_mm, half, waist, parts):
    mask = dumb_bell(half, waist)
    found = lesion_parts(mask, np.diag([pixel_mm, pixel_mm, 30.0, 1.0]))
    assert found.max() == parts
    assert np.array_equal(found > 0, mask)
    if parts == 2:
        assert len(np.unique(found[0, :, 0][mask[0, :, 0]])) == 1
        assert found[0, 20, 2] != found[0, 20, -3]


def test_a_row_is_rounded_as_its_files_have_it():
    row = LesionRow(
        4, LESION, 1234.5678, 12.3456, (1.26, -2.34, 3.0), (0, 6), 0.98765, 0.12345, 7.77, "periventricular", 2, 0.55555
    )
    assert row.as_dict() == {
        "number": 4, "volume_mm3": 1234.57, "volume_ml": 1.2346, "diameter_mm": 12.35,
        "centre_ras_mm": [1.3, -2.3, 3.0], "slices": [1, 7], "slices_index": [0, 6], "confidence": 0.988,
        "peak_probability": 0.123, "ventricle_distance_mm": 7.8, "region": "periventricular", "parts": 2,
        "disagreement": 0.556,
    }  # fmt: skip
    plain = replace(row, confidence=None, peak_probability=None, ventricle_distance_mm=None, disagreement=None)
    assert [plain.as_dict()[key] for key in ("confidence", "peak_probability", "ventricle_distance_mm")] == [None] * 3
    assert "disagreement" not in plain.as_dict()
    assert load_by_region([row, row])["periventricular"] == {"count": 2, "volume_ml": 2.4691}
    (read,) = csv.DictReader(io.StringIO(table_csv([row], "p1_flair")))
    assert (read["volume_ml"], read["diameter_mm"], read["disagreement"]) == ("1.2346", "12.35", "0.556")
    assert list(read) == list(COLUMNS)
    calibrated = replace(row, mean_probability=0.76543)
    assert calibrated.as_dict() == row.as_dict() | {"mean_probability": 0.765}
    first, second = csv.DictReader(io.StringIO(table_csv([calibrated, row], "p1_flair")))
    assert list(first) == [*COLUMNS, "mean_probability"]
    assert (first["confidence"], first["mean_probability"], second["mean_probability"]) == ("0.988", "0.765", "")


def test_a_row_of_voxels_is_as_long_as_its_voxels_but_thick_slices_count_at_their_centres():
    """A single voxel was 0 mm long, and three of 1 mm were 2."""
    for shape, mm in (((1, 1, 9), 9 * 0.9), ((1, 9, 1), 9 * 0.9), ((9, 1, 1), np.hypot(8 * 6.8, 0.9))):
        assert lesion_diameter(np.ones(shape, bool), THICK) == pytest.approx(mm)
        assert lesion_diameter(np.ones(shape, bool), np.eye(4)) == pytest.approx(9)
    assert lesion_diameter(np.ones((1, 1, 1), bool), THICK) == pytest.approx(0.9)
    assert lesion_diameter(np.ones((1, 1, 1), bool), np.diag([1.0, 1.2, 1.1, 1.0])) == pytest.approx(1.2)
    assert lesion_diameter(np.ones((2, 3, 4), bool), THICK) == pytest.approx(np.hypot(6.8, np.hypot(1.8, 3.6)))
    assert lesion_diameter(np.zeros((2, 3, 4), bool), THICK) == 0.0
