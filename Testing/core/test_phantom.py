"""The digital phantom: the head of a seed, its scans and their ground truth."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import fields

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import Cancelled, OutputError
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.phantom import Scan, Tissue, make_phantom, write_phantom
from flairseg.phantom.acquisition import label
from flairseg.phantom.head import build_head
from flairseg.phantom.lesions import PLACES
from flairseg.progress import CancelToken
from scipy import ndimage

phantom_module = sys.modules["flairseg.phantom.phantom"]

#: A grid that holds the whole brain in few voxels.
SMALL = {"shape": (28, 90, 76), "spacing_mm": (2.0, 2.0, 5.0)}
#: A fine grid over the brain, not turned against the head.
FINE = {"shape": (126, 150, 122), "spacing_mm": (1.2, 1.2, 1.2), "tilt_deg": 0.0, "orientation": "RAS"}


def scanned(seed=3, **asked):
    """A phantom; what belongs to :class:`Scan` stands among the other arguments."""
    own = {field.name: asked.pop(field.name) for field in fields(Scan) if field.name in asked}
    return make_phantom(asked.pop("seed", seed), scan=Scan(**own), **asked)


@pytest.fixture(scope="module", autouse=True)
def remembered_heads():
    """Draw the head of most tests of this module once, except where a test draws it anew on purpose."""
    remember = functools.cache(lambda: build_head(3))
    others = phantom_module.build_head

    def remembered(seed, n_lesions, report):
        if (seed, n_lesions) != (3, None):
            return others(seed, n_lesions, report)
        report.update(0.1)
        return remember()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom_module, "build_head", remembered)
        yield


@pytest.fixture(scope="module")
def small():
    return make_phantom(3, **SMALL)


@pytest.fixture(scope="module")
def fine():
    """No noise and no bias, so that signals are the tissues' own."""
    return scanned(3, **FINE, noise=0.0, bias=0.0)


@pytest.fixture(scope="module")
def clinical():
    """The default scan: 20 axial slices of 256 x 256."""
    return make_phantom(3)


def _points(volume, mask):
    """RAS coordinates (N, 3) of the voxels of a mask (K, J, I)."""
    return nibabel.affines.apply_affine(volume.ijk_to_ras, np.argwhere(mask)[:, ::-1])


def _in_other(points, volume, array):
    """Values of an array (K, J, I) at the voxels nearest to RAS points; 255 off the grid."""
    ijk = np.rint(nibabel.affines.apply_affine(np.linalg.inv(volume.ijk_to_ras), points)).astype(int)
    inside = np.all((ijk >= 0) & (ijk < array.shape[::-1]), axis=1)
    values = np.full(len(points), 255)
    values[inside] = array[tuple(ijk[inside, ::-1].T)]
    return values


class TestSeeds:
    def test_same_seed_same_phantom(self, small, monkeypatch):
        monkeypatch.setattr(phantom_module, "build_head", build_head)
        again = make_phantom(3, **SMALL)
        np.testing.assert_array_equal(again.volume.array, small.volume.array)
        np.testing.assert_array_equal(again.labels, small.labels)
        assert again.lesions == small.lesions

    def test_other_seed_other_head_and_the_number_of_lesions_is_kept(self, small):
        other = make_phantom(4, **SMALL, n_lesions=7)
        assert other.volume.name == "phantom-4"
        assert len(other.lesions) == 7
        assert other.lesions != small.lesions
        for value in (VENTRICLES, NORMAL_WMH, LESION):
            ours, theirs = small.labels == value, other.labels == value
            assert 2 * (ours & theirs).sum() < 0.9 * (ours.sum() + theirs.sum())

    def test_number_of_lesions_leaves_the_rest_of_the_head(self, small):
        without = make_phantom(3, **SMALL, n_lesions=0)
        assert not (without.labels == LESION).any()
        assert without.lesions == ()
        far = ~ndimage.binary_dilation(small.labels == LESION, iterations=3)
        np.testing.assert_array_equal(without.labels[far], small.labels[far])
        np.testing.assert_array_equal(without.tissue[far] == Tissue.CORTEX, small.tissue[far] == Tissue.CORTEX)


class TestScan:
    def test_default_is_a_clinical_axial_stack(self, clinical):
        volume = clinical.volume
        assert volume.array.shape == clinical.labels.shape == clinical.tissue.shape == (20, 256, 256)
        assert volume.array.dtype == np.int16
        assert clinical.labels.dtype == clinical.tissue.dtype == np.uint8
        assert volume.spacing == pytest.approx((0.9, 0.9, 6.8))
        assert nibabel.aff2axcodes(volume.ijk_to_ras) == ("L", "P", "S")
        tilt = np.degrees(np.arccos(volume.ijk_to_ras[2, 2] / 6.8))
        assert 0 < tilt <= 4.0 + 1e-6
        assert volume.array.min() >= 0
        assert 8000 < volume.array.max() <= 16383

    @pytest.mark.parametrize(
        ("plane", "orientation", "codes"),
        [("axial", None, "LPS"), ("axial", "LAS", "LAS"), ("sagittal", None, "PIR"), ("coronal", "RSP", "RSP")],
    )
    def test_orientation_is_what_was_asked_for(self, plane, orientation, codes):
        phantom = scanned(
            3, shape=(8, 20, 20), spacing_mm=(8, 8, 20), tilt_deg=10, plane=plane, orientation=orientation
        )
        assert "".join(nibabel.aff2axcodes(phantom.volume.ijk_to_ras)) == codes
        np.testing.assert_allclose(phantom.volume.spacing, (8, 8, 20))

    @pytest.mark.parametrize(
        "scan",
        [
            {"shape": (30, 110, 92), "spacing_mm": (1.6, 1.6, 5.0), "tilt_deg": 9.0},
            {"shape": (110, 120, 92), "spacing_mm": (1.6, 1.4, 1.4), "orientation": "LAS", "tilt_deg": 0.0},
            {"shape": (60, 100, 110), "spacing_mm": (1.6, 1.6, 2.5), "plane": "sagittal", "tilt_deg": -6.0},
        ],
        ids=["axial-oblique", "las", "sagittal"],
    )
    def test_one_head_agrees_in_world_space_however_it_is_scanned(self, fine, scan):
        other = scanned(3, **scan, noise=0.0, bias=0.0)
        assert other.lesions == fine.lesions
        for value, least in ((VENTRICLES, 0.86), (LESION, 0.74)):
            there = _in_other(_points(fine.volume, fine.labels == value), other.volume, other.labels) == value
            back = _in_other(_points(other.volume, other.labels == value), fine.volume, fine.labels) == value
            dice = (there.mean() + back.mean()) / 2
            assert dice >= least, (value, dice)
        # Signals agree as well, where the tissue is uniform over a few voxels.
        inner = ndimage.binary_erosion(fine.tissue == Tissue.WHITE_MATTER, iterations=3)
        theirs = _in_other(_points(fine.volume, inner), other.volume, other.volume.array.astype(int))
        ours = fine.volume.array[inner].astype(int)
        assert np.median(np.abs(theirs - ours)) < 0.03 * np.median(ours)

    def test_pure_reordering_gives_the_same_voxels(self):
        scan = {"shape": (12, 48, 40), "spacing_mm": (4.0, 4.0, 12.0), "tilt_deg": 0.0, "noise": 0.0}
        lps, ras = scanned(3, **scan, orientation="LPS"), scanned(3, **scan, orientation="RAS")
        np.testing.assert_array_equal(lps.labels[:, ::-1, ::-1], ras.labels)
        difference = lps.volume.array[:, ::-1, ::-1].astype(int) - ras.volume.array
        assert np.abs(difference).max() <= 2

    def test_half_millimetre_voxels_see_smooth_borders(self):
        centre = {"shape": (40, 160, 160), "spacing_mm": (0.5, 0.5, 0.5), "tilt_deg": 0.0}
        detail = scanned(3, **centre)
        whole = scanned(3, shape=(10, 40, 40), spacing_mm=(2, 2, 2), tilt_deg=0.0)
        ratio = (detail.labels == VENTRICLES).sum() * 0.125 / ((whole.labels == VENTRICLES).sum() * 8)
        assert ratio == pytest.approx(1, abs=0.12)

    def test_thick_slices_blend_tissues(self, fine, clinical):
        """In thick slices more of the ventricles' voxels hold some brain, and are brighter for it."""

        def blended(phantom):
            white = np.median(phantom.volume.array[phantom.tissue == Tissue.WHITE_MATTER])
            return np.mean(phantom.volume.array[phantom.labels == VENTRICLES] > 0.45 * white)

        assert blended(clinical) > 1.3 * blended(fine)

    def test_labels_follow_the_half_voxel_rule(self):
        shares = np.zeros((3, 1, 1, 6), np.float32)
        shares[:, 0, 0, :] = np.transpose(
            [(0.6, 0, 0), (0.2, 0.3, 0), (0.2, 0.2, 0.2), (0, 0, 0.49), (0.1, 0.3, 0.4), (0, 0, 1)]
        )
        assert label(tuple(shares)).ravel().tolist() == [VENTRICLES, NORMAL_WMH, VENTRICLES, 0, LESION, LESION]


class TestAnatomy:
    @pytest.mark.parametrize("seed", [0, 1, 12])
    def test_sizes_are_those_of_adults_with_ms(self, seed):
        phantom = make_phantom(seed, (70, 100, 84), (1.8, 1.8, 2.0), scan=Scan(noise=0.0))
        millilitre = phantom.volume.voxel_mm3 / 1000
        brain = np.isin(
            phantom.tissue, [t for t in Tissue if Tissue.WHITE_MATTER <= t <= Tissue.LESION and t != Tissue.VENTRICLE]
        )
        assert 1000 < brain.sum() * millilitre < 1500
        assert 18 < (phantom.labels == VENTRICLES).sum() * millilitre < 48
        assert 0.8 < (phantom.labels == NORMAL_WMH).sum() * millilitre < 6.5
        assert 3 < (phantom.labels == LESION).sum() * millilitre < 30
        assert 10 <= len(phantom.lesions) <= 40
        extent = np.ptp(_points(phantom.volume, ndimage.binary_opening(brain)), axis=0)
        assert extent[0] == pytest.approx(136, abs=14)
        assert extent[1] == pytest.approx(170, abs=14)

    def test_ventricles_are_left_and_right_and_where_they_belong(self, fine):
        points = _points(fine.volume, fine.labels == VENTRICLES)
        assert 0.35 < (points[:, 0] > 0).mean() < 0.65
        horns = {
            "frontal": (np.abs(points[:, 0]) < 20) & (points[:, 1] > 22),
            "occipital": (np.abs(points[:, 0]) > 15) & (points[:, 1] < -52),
            "temporal": (np.abs(points[:, 0]) > 24) & (points[:, 2] < -8),
            "third": (np.abs(points[:, 0]) < 3) & (np.abs(points[:, 2]) < 6) & (points[:, 1] > -22),
            "fourth": (np.abs(points[:, 0]) < 9) & (points[:, 2] < -25),
        }
        for name, found in horns.items():
            assert found.sum() * fine.volume.voxel_mm3 > 150, name

    def test_normal_hyperintensity_is_a_thin_rim_of_the_lateral_ventricles(self, fine):
        distance = ndimage.distance_transform_edt(fine.labels != VENTRICLES, sampling=fine.volume.spacing[::-1])
        of_rim = distance[fine.labels == NORMAL_WMH]
        assert np.percentile(of_rim, 90) < 4.0
        assert of_rim.max() < 9.0

    def test_cortex_is_folded(self, fine):
        """The pial surface of a folded brain is far longer than its outline: at least twice in a mid-axial slice."""
        level = round(float(np.linalg.inv(fine.volume.ijk_to_ras)[2] @ (0, 0, 40, 1)))
        brain = np.isin(fine.tissue[level], (Tissue.WHITE_MATTER, Tissue.CORTEX, Tissue.LESION))
        outline = ndimage.binary_closing(np.pad(brain, 12), iterations=10)[12:-12, 12:-12]

        def border(mask):
            return (mask & ~ndimage.binary_erosion(mask)).sum()

        assert border(brain) > 2.0 * border(outline)

    def test_lesion_table_is_what_the_labels_hold(self, fine):
        """Independent check: SimpleITK's connected components and label statistics."""
        image = sitk.GetImageFromArray((fine.labels == LESION).astype(np.uint8))
        image.SetSpacing(fine.volume.spacing)
        components = sitk.ConnectedComponent(image, True)
        statistics = sitk.LabelShapeStatisticsImageFilter()
        statistics.Execute(components)
        total = sum(lesion.volume_mm3 for lesion in fine.lesions)
        measured = sum(statistics.GetPhysicalSize(i) for i in statistics.GetLabels())
        assert measured == pytest.approx(total, rel=0.12)
        assert abs(statistics.GetNumberOfLabels() - len(fine.lesions)) <= 2
        to_ijk = np.linalg.inv(fine.volume.ijk_to_ras)
        found = sitk.GetArrayFromImage(components)
        checked = 0
        for lesion in fine.lesions:
            assert lesion.place in PLACES
            assert lesion.radius_mm == pytest.approx((lesion.volume_mm3 * 0.75 / np.pi) ** (1 / 3))
            i, j, k = nibabel.affines.apply_affine(to_ijk, lesion.centre_ras)
            around = found[round(k) - 1 : round(k) + 2, round(j) - 1 : round(j) + 2, round(i) - 1 : round(i) + 2]
            names = around[around > 0]
            if lesion.volume_mm3 < 100:
                continue
            assert names.size, lesion
            component = int(np.bincount(names).argmax())
            assert statistics.GetPhysicalSize(component) == pytest.approx(lesion.volume_mm3, rel=0.3)
            # SimpleITK's own frame here has no direction: centroid = spacing * index.
            centroid = np.array(statistics.GetCentroid(component)) / fine.volume.spacing
            ras = nibabel.affines.apply_affine(fine.volume.ijk_to_ras, centroid)
            assert np.linalg.norm(ras - lesion.centre_ras) < 2.0
            checked += 1
        assert checked >= 10

    def test_lesions_are_in_all_the_places_of_ms(self, fine):
        assert {lesion.place for lesion in fine.lesions} == set(PLACES)
        low = [lesion.centre_ras[2] for lesion in fine.lesions if lesion.place == "infratentorial"]
        assert max(low) < -10
        distance = ndimage.distance_transform_edt(
            ~np.isin(fine.labels, (VENTRICLES, LESION)), sampling=fine.volume.spacing[::-1]
        )
        assert distance.max() > 40  # the ventricles and the lesions leave most of the brain alone


class TestSignal:
    def test_contrast_is_that_of_flair(self, fine):
        image = fine.volume.array.astype(float)

        def level(mask):
            inner = ndimage.binary_erosion(mask)
            return np.median(image[inner if inner.sum() > 50 else mask])

        csf = level(fine.labels == VENTRICLES)
        white = level(fine.tissue == Tissue.WHITE_MATTER)
        gray = np.median(image[fine.tissue == Tissue.CORTEX])
        rim = np.percentile(image[fine.labels == NORMAL_WMH], 75)
        lesion = level(fine.labels == LESION)
        fat = level(fine.tissue == Tissue.FAT)
        bone = level(fine.tissue == Tissue.BONE)
        assert bone < 0.4 * white
        assert csf < 0.4 * white
        assert white < gray < rim < lesion < fat
        assert 1.45 < lesion / white < 1.95
        assert 4000 < white < 4600

    def test_noise_is_rician(self, clinical):
        """In air the magnitude follows Rayleigh's law; in tissue it is close to normal with the same sigma."""
        white = 4300 * 0.022
        air = clinical.volume.array[:, :14, :14].astype(float)
        assert air.mean() == pytest.approx(white * np.sqrt(np.pi / 2), rel=0.03)
        assert air.std() == pytest.approx(white * np.sqrt(2 - np.pi / 2), rel=0.03)
        assert np.mean(air > 3 * white) == pytest.approx(np.exp(-4.5), rel=0.35)
        scan = {"shape": (4, 120, 100), "spacing_mm": (1.6, 1.6, 5), "bias": 0.0}
        quiet, noisy = scanned(3, **scan, noise=0.0), scanned(3, **scan, noise=0.05)
        tissue = quiet.tissue == Tissue.WHITE_MATTER
        difference = noisy.volume.array[tissue].astype(float) - quiet.volume.array[tissue]
        assert difference.std() == pytest.approx(0.05 * 4300, rel=0.06)
        assert difference.mean() == pytest.approx(0, abs=0.01 * 4300)

    def test_bias_field_is_smooth_and_as_strong_as_asked(self):
        scan = {"shape": (20, 60, 50), "spacing_mm": (3.2, 3.2, 6.5), "noise": 0.0}
        flat, biased = scanned(3, **scan, bias=0.0), scanned(3, **scan, bias=0.3)
        head = flat.volume.array > 2000
        field = np.ones(head.shape)
        field[head] = biased.volume.array[head] / flat.volume.array[head]
        assert 0.05 < np.std(np.log(field[head])) < 0.4
        both = head[:, :, 1:] & head[:, :, :-1]
        assert np.abs(np.diff(np.log(field), axis=2))[both].max() < 0.05


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("seed", -1), ("seed", 1.5), ("seed", True),
            ("shape", (20, 256)), ("shape", (1, 256, 256)), ("shape", (20, 256, 2.5)), ("shape", "axial"),
            ("shape", (2000, 2000, 2000)),
            ("spacing_mm", (0.9, 0.9, 0)), ("spacing_mm", (0.9, float("nan"), 6)), ("spacing_mm", 0.9),
            ("n_lesions", -1), ("n_lesions", 1000), ("n_lesions", 2.5),
            ("noise", -0.1), ("noise", 2), ("noise", "much"), ("bias", 1.5), ("tilt_deg", 90),
            ("plane", "oblique"), ("orientation", "LPX"), ("orientation", "LLS"), ("orientation", 7),
        ],
    )  # fmt: skip
    def test_bad_parameter_is_named(self, name, value):
        with pytest.raises(ValueError, match=name):
            scanned(**{name: value})

    def test_orientation_must_fit_the_plane(self):
        with pytest.raises(ValueError, match="sagittal"):
            scanned(plane="sagittal", orientation="LPS")

    def test_numpy_numbers_are_numbers(self):
        phantom = make_phantom(np.int64(3), shape=np.array([4, 20, 20]), spacing_mm=np.array([8.0, 8.0, 20.0]))
        assert phantom.volume.name == "phantom-3"
        json.dumps(phantom.parameters)


class TestProgress:
    def test_progress_rises_from_zero_to_one(self):
        seen = []
        make_phantom(3, shape=(4, 20, 20), spacing_mm=(8, 8, 20), progress=lambda f, stage: seen.append((f, stage)))
        fractions = [fraction for fraction, _ in seen]
        assert fractions == sorted(fractions)
        assert fractions[0] == 0.0
        assert fractions[-1] == 1.0
        assert {stage for _, stage in seen} == {"head", "scan", "receive"}

    def test_cancel_stops_it(self, monkeypatch):
        monkeypatch.setattr(phantom_module, "build_head", build_head)
        token = CancelToken()

        def cancel_soon(fraction, stage):
            if fraction > 0.05:
                token.cancel()

        seen = []
        with pytest.raises(Cancelled):
            make_phantom(0, shape=(4, 20, 20), progress=lambda f, s: (seen.append(f), cancel_soon(f, s)), cancel=token)
        assert max(seen) < 0.5


class TestFiles:
    def test_round_trip(self, small, tmp_path):
        paths = write_phantom(small, tmp_path / "new" / "földer")
        assert {key: path.name for key, path in paths.items()} == {
            "flair": "phantom-3_flair.nii.gz",
            "truth": "phantom-3_truth.nii.gz",
            "lesions": "phantom-3_lesions.json",
            "picture": "phantom-3_picture.png",
        }
        assert sorted(p.name for p in (tmp_path / "new" / "földer").iterdir()) == sorted(p.name for p in paths.values())
        for key, array in (("flair", small.volume.array), ("truth", small.labels)):
            image = nibabel.load(paths[key])
            assert image.get_data_dtype() == array.dtype
            np.testing.assert_array_equal(np.asarray(image.dataobj), array.transpose(2, 1, 0))
            np.testing.assert_allclose(image.affine, small.volume.ijk_to_ras, atol=1e-3)

    def test_table_names_frame_units_and_every_lesion(self, small, tmp_path):
        table = json.loads(write_phantom(small, tmp_path)["lesions"].read_text(encoding="utf-8"))
        assert table["frame"] == "RAS"
        assert table["phantom"]["seed"] == 3
        assert [row["id"] for row in table["lesions"]] == list(range(1, len(small.lesions) + 1))
        assert set(table["lesions"][0]) == {"id", "place", "centre_ras", "volume_mm3", "radius_mm"}

    def test_picture_shows_the_classes_in_their_colours(self, clinical, tmp_path):
        from PIL import Image

        picture = np.asarray(Image.open(write_phantom(clinical, tmp_path)["picture"]))
        slices = picture[: -picture.shape[0] // 20].reshape(-1, 3)
        for colour in ((51, 102, 255), (51, 204, 77), (230, 41, 41)):
            assert (slices == colour).all(axis=1).sum() > 50
        gray = (slices == slices[:, :1]).all(axis=1)
        assert gray.mean() > 0.95

    def test_sagittal_picture_is_upright(self, tmp_path):
        from flairseg.phantom.io import draw_phantom

        phantom = scanned(3, shape=(3, 50, 60), spacing_mm=(4, 4, 20), plane="sagittal", tilt_deg=0, noise=0)
        picture = np.asarray(draw_phantom(phantom, outlines=False, columns=3).convert("L"))
        # Rows run downwards and columns backwards: the same proportions as the grid stored as P, I.
        assert picture.shape[1] / 3 / (picture.shape[0] - 20) == pytest.approx(60 / 50, rel=0.02)

    def test_folder_that_cannot_be_made_is_a_typed_error(self, small, tmp_path):
        blocker = tmp_path / "file"
        blocker.write_text("x")
        with pytest.raises(OutputError, match="not a folder") as caught:
            write_phantom(small, blocker / "inside")
        assert caught.value.advice

    def test_failure_leaves_nothing_behind(self, small, tmp_path, monkeypatch):
        from flairseg.phantom import io

        def broken(*args, **kwargs):
            raise OSError("disk full")

        monkeypatch.setattr(io, "draw_phantom", broken)
        with pytest.raises(OutputError, match="cannot be written"):
            write_phantom(small, tmp_path)
        assert list(tmp_path.iterdir()) == []
