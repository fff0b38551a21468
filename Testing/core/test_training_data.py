"""Training data without PyTorch: folds, refusals, the normal rule, synthetic slices, figures of the evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.adapt.framed import FramedCase, dequantise, frame_case, quantise
from flairseg.image.slice_stack import SliceStack
from flairseg.models.card import PipelineConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from Testing.core import real_data
from Testing.core.analytic_head import dice
from Testing.core.small_data import PATIENTS, label_map, painted_patient, write_anatomy, write_patients, write_verdict
from training import data, metrics, synthetic
from training.normal_rule import BRIGHTNESS, RIM_MM, SMALLEST_PIXELS, normal_rim
from training.sources import ArraySource, PoolSource, PseudoSource

SMALL_FRAME = PipelineConfig(frame_size=(64, 48), frame_spacing_mm=3.6, neighbour_mm=14.0)

# --- folds and refusals ---------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.sets(st.text("0123456789", min_size=1, max_size=6), min_size=5, max_size=30), st.integers(2, 5),
       st.integers(0, 1000), st.randoms())  # fmt: skip
def test_folds_deal_every_patient_to_exactly_one_fold(names, count, seed, random):
    folds = data.folds(sorted(names), count, seed)
    assert len(folds) == count
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    shuffled = sorted(names)
    random.shuffle(shuffled)
    assert data.folds(shuffled, count, seed) == folds
    sizes = [len(fold) for fold in folds]
    same = sum(len(names & set(scans)) > 1 for scans in data.SAME_PERSON)
    assert max(sizes) - min(sizes) <= 1 + 2 * same


@pytest.mark.parametrize("seed", range(20))
def test_scans_of_one_person_share_a_fold(seed):
    names = [*PATIENTS, *(name for scans in data.SAME_PERSON for name in scans)]
    folds = data.folds(names, 5, seed)
    for scans in data.SAME_PERSON:
        assert len({n for n, fold in enumerate(folds) for name in fold if name in scans}) == 1
    assert sorted(name for fold in folds for name in fold) == sorted(names)


@pytest.mark.parametrize("name", sorted(data.HELD_BACK))
def test_held_back_patients_are_refused(tmp_path, name):
    write_patients(tmp_path, ["a1", name])
    with pytest.raises(ValueError, match=name):
        data.load_tabriz(tmp_path)


def test_held_back_patients_are_refused_as_corrected_cases_and_as_lesion_prior(tmp_path):
    write_verdict(tmp_path, "104252", 1, "accepted")
    with pytest.raises(ValueError, match="104252"):
        data.load_verdicts(tmp_path)
    write_anatomy(tmp_path)
    (tmp_path / "ljubljana_lesions_mni" / "patient01_lesions.nii.gz").rename(
        tmp_path / "ljubljana_lesions_mni" / "patient07_lesions.nii.gz"
    )
    with pytest.raises(ValueError, match="patient07"):
        synthetic.load_lesion_masks(tmp_path / "ljubljana_lesions_mni")


def test_data_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FLAIRSEG_DATA", str(tmp_path))
    assert data.data_folder() == tmp_path
    monkeypatch.delenv("FLAIRSEG_DATA")
    assert data.data_folder().parts[-2:] == ("shared", "data")


def test_cases_carry_their_annotation_and_a_normal_class_beside_the_ventricles(tmp_path):
    cases = data.load_tabriz(write_patients(tmp_path))
    assert [case.name for case in cases] == sorted(PATIENTS)
    for seed, case in enumerate(cases):
        _, drawn = painted_patient(seed)
        assert (case.labels[drawn > 0] == drawn[drawn > 0]).all()
        assert set(np.unique(case.labels)) <= {0, 1, 2, 3}


def test_the_newest_accepted_version_counts(tmp_path):
    write_verdict(tmp_path, "x", 1, "accepted", 1)
    write_verdict(tmp_path, "x", 2, "accepted_after_edits", 2)
    write_verdict(tmp_path, "y", 1, "accepted", 3)
    write_verdict(tmp_path, "y", 2, "rejected", 3)
    cases = data.load_verdicts(tmp_path)
    assert [case.name for case in cases] == ["x"]
    assert set(np.unique(cases[0].labels)) == {0, 2}


def test_framed_labels_lie_on_the_framed_image(tmp_path):
    case = data.load_tabriz(write_patients(tmp_path, ["a1"]))[0]
    framed = frame_case(case, SMALL_FRAME)
    assert framed.labels.shape == framed.mask.shape == framed.prepared.slices.shape == (6, 64, 48)
    lesion, ventricle = framed.prepared.slices[framed.labels == 3], framed.prepared.slices[framed.labels == 1]
    assert np.median(lesion) > 2.5  # painted at 1.8 times the brain
    assert np.median(ventricle) < -2.5  # at 0.2 times
    assert framed.mask[framed.labels > 0].all()


# --- normal rule ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(0.02, 0.2))
def test_hyperintense_is_a_multiple_of_the_brains_median(gain, spread):
    rng = np.random.default_rng(0)
    slices = rng.normal(1000, spread * 1000, (2, 60, 60))
    ventricles = np.zeros(slices.shape, bool)
    ventricles[:, 20:40, 20:40] = True
    brain = ~ventricles
    slices[:, 16:20, 20:40] = 1000 * (BRIGHTNESS + 0.02)
    slices[:, 40:44, 20:40] = 1000 * (BRIGHTNESS - 0.02)
    scaled = (slices * gain).astype(np.float32)
    # Ventricles, lesions: what is not brain does not shift the median.
    ours = normal_rim(scaled, ventricles, np.zeros_like(ventricles), brain, 1.0)
    assert ours[:, 17:20, 20:40].all()
    assert not ours[:, 40:44, 20:40].any()


@pytest.mark.parametrize("pixel_mm", [0.5, 0.9, 1.5])
def test_rim_is_bright_near_the_ventricles_and_no_lesion(pixel_mm):
    rng = np.random.default_rng(3)
    shape = (3, 70, 60)
    ventricles, lesions = np.zeros((2, *shape), bool)
    ventricles[:2, 30:40, 20:36] = True
    ventricles[1, 22:30, 25:27] = True
    lesions[:, 26:44, 34:40] = True
    lesions &= ~ventricles
    slices = np.where(rng.random(shape) < 0.45, 2000, 1000 + rng.normal(0, 50, shape)).astype(np.float32)
    brain = np.ones(shape, bool)
    ours = normal_rim(slices, ventricles, lesions, brain, pixel_mm)
    for k in range(3):
        if not ventricles[k].any():
            assert not ours[k].any()
            continue
        image = sitk.GetImageFromArray(ventricles[k].astype(np.uint8))
        image.SetSpacing((pixel_mm, pixel_mm))
        distance = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, False, False, True))
        theirs = (distance > 0) & (distance <= RIM_MM) & (slices[k] > 1500) & ~lesions[k]
        assert theirs.any()
        pieces = sitk.ConnectedComponent(sitk.GetImageFromArray(theirs.astype(np.uint8)), True)
        pieces = sitk.RelabelComponent(pieces, minimumObjectSize=SMALLEST_PIXELS)
        kept = sitk.GetArrayFromImage(pieces) > 0
        assert not k or kept.sum() < theirs.sum()
        theirs = kept
        assert (ours[k] == theirs).all()


@pytest.mark.parametrize("path", real_data.cases("tabriz_normal_abnormal/101228_1.png"))
def test_rule_agrees_with_the_hand(path):
    pytest.importorskip("matplotlib", reason="matplotlib reads the hand-drawn pictures")
    patient = path.parents[1] / "tabriz" / "sub-101228"
    flair, truth = (SliceStack.from_volume(data.read(patient / name)) for name in ("flair.nii.gz", "labels.nii.gz"))
    brain = frame_case(data.Case("x", data.read(patient / "flair.nii.gz"), truth.restore(truth.array)), SMALL_FRAME)
    rule = normal_rim(flair.array, truth.array == 1, truth.array == 3, brain.prepared.mask, flair.spacing[1])
    drawn = data.hand_drawn_101228(path.parent) & (truth.array == 0)
    assert dice(rule & (truth.array == 0), drawn) > 0.75


# --- synthetic slices -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def anatomy(tmp_path_factory):
    return write_anatomy(tmp_path_factory.mktemp("anatomy"))


@pytest.fixture(scope="module")
def generator(anatomy):
    heads = [synthetic.load_head(path) for path in sorted((anatomy / "head_label_maps").glob("*.nii.gz"))]
    return synthetic.SyntheticFlair(
        heads, synthetic.load_lesion_masks(anatomy / "ljubljana_lesions_mni"), (96, 80), 2.2
    )


def test_head_keeps_labels_and_measures_the_distance_to_the_ventricles(anatomy):
    path = anatomy / "head_label_maps" / "head_01.nii.gz"
    head = synthetic.load_head(path)
    stored = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(stored)
    assert (head.table[head.labels] == array).all()
    ventricles = sitk.Cast(sitk.GetImageFromArray(np.isin(array, (4, 43)).astype(np.uint8)), sitk.sitkUInt8)
    ventricles.CopyInformation(stored)
    distance = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(ventricles, False, False, True))
    near = (distance > 0) & (distance < 20)
    assert np.allclose(head.ventricle_mm[near] / 10, distance[near], atol=0.11)  # kept in tenths, in a byte
    assert np.allclose(head.brain[1] - head.brain[0], (2 * 67, 2 * 84, 2 * 71), atol=10)


def test_synthetic_slices_repeat_with_their_seed(generator):
    first, again, other = (generator.sample(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_synthetic_labels_lie_on_dark_fluid_and_bright_lesions(generator):
    rng = np.random.default_rng(1)
    fine = synthetic.SyntheticFlair(generator.heads, generator.lesions, (176, 152), 1.1)
    pixels = {1: [], 2: [], 3: []}
    far = []
    for _ in range(12):
        image, labels = fine.sample(rng)
        assert image.shape == (3, 176, 152)
        assert labels.shape == (176, 152)
        assert set(np.unique(labels)) <= {0, 1, 2, 3}
        assert np.isfinite(image).all()
        for value, found in pixels.items():
            found.append(image[1][labels == value])
        if (labels == 1).sum() > 20 and (labels == 2).any():
            ventricle, rim = np.argwhere(labels == 1) * 1.1, np.argwhere(labels == 2) * 1.1
            far.append(cdist(rim, ventricle).min(1))
    fluid, rim, lesion = (np.concatenate(pixels[value]) for value in (1, 2, 3))
    assert len(fluid) > 500
    assert len(lesion) > 200
    assert np.median(fluid) < 0.65  # of the brain's median
    assert len(rim) > 100
    assert np.median(rim) > 1.15
    assert np.median(lesion) > 1.2
    assert np.median(np.concatenate(far)) < 6
    assert np.percentile(np.concatenate(far), 95) < 15


def test_no_white_matter_no_lesions(tmp_path):
    folder = write_anatomy(tmp_path, white_matter=False)
    heads = [synthetic.load_head(path) for path in sorted((folder / "head_label_maps").glob("*.nii.gz"))]
    flair = synthetic.SyntheticFlair(
        heads, synthetic.load_lesion_masks(folder / "ljubljana_lesions_mni"), (96, 80), 2.2
    )
    rng = np.random.default_rng(2)
    assert not any((flair.sample(rng)[1] == 3).any() for _ in range(8))


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_memberships_are_the_shares_of_the_sub_slices(generator, plane):
    head, rng = generator.heads[0], np.random.default_rng(0)
    scene = generator._scene(rng, head)
    row, column, normal = synthetic._PLANES[plane] * [[generator.pixel_mm], [generator.pixel_mm], [1.0]]
    centre = head.brain.mean(0)
    offsets = np.array([9.0, 10.5, 12.0, 13.5])
    _, members, _ = generator._slice(rng, synthetic.Cut(head, row, column, normal, centre), offsets, scene)
    rows, columns = np.meshgrid(np.arange(96) - 47.5, np.arange(80) - 39.5, indexing="ij")
    share = np.zeros((96, 80))
    sure = np.ones((96, 80), bool)
    for offset in offsets:
        ras = centre + normal * offset + rows[..., None] * row + columns[..., None] * column
        ijk = (ras - head.ijk_to_ras[:3, 3]) @ np.linalg.inv(head.ijk_to_ras[:3, :3]).T
        sure &= (np.abs(ijk % 1 - 0.5) > 1e-6).all(-1)
        i, j, k = np.moveaxis(np.round(ijk).astype(int), -1, 0)
        inside = np.all([(a >= 0) & (a < n) for a, n in zip((k, j, i), head.labels.shape, strict=True)], axis=0)
        k, j, i = (np.clip(a, 0, n - 1) for a, n in zip((k, j, i), head.labels.shape, strict=True))
        share += inside & np.isin(head.table[head.labels[k, j, i]], (4, 43))
    assert share.any()
    assert np.allclose(members[1][sure], share[sure] / 4)


def test_pools_repeat_with_their_seed_and_are_whole_or_absent(anatomy, tmp_path):
    paths = [tmp_path / name for name in ("a.npz", "b.npz")]
    for path in paths:
        synthetic.make_pool(anatomy, path, 2, seed=4)
    first, again = (np.load(path) for path in paths)
    for key in ("images", "labels"):
        assert np.array_equal(first[key], again[key])
    assert first["images"].shape == (2, 3, 224, 192)
    assert sorted(tmp_path.iterdir()) == paths
    image, labels, mask = PoolSource(paths).draw(np.random.default_rng(0))
    assert image.shape == (3, 224, 192)
    assert labels.shape == mask.shape == (224, 192)


def test_two_runs_that_start_together_draw_the_same_pool(anatomy, tmp_path, monkeypatch):
    """They shared the temporary file: the slower one ended, or both wrote into it."""
    path, write = tmp_path / "pool.npz", np.savez

    def overtaken(part, **arrays):
        write(part, **arrays)
        monkeypatch.setattr(synthetic.np, "savez", write)
        synthetic.make_pool(anatomy, path, 2, seed=4)

    monkeypatch.setattr(synthetic.np, "savez", overtaken)
    synthetic.make_pool(anatomy, path, 2, seed=4)
    assert list(tmp_path.iterdir()) == [path]
    assert np.load(path)["labels"].shape == (2, 224, 192)


@given(st.floats(-6, 8))
def test_bytes_hold_intensities_to_half_a_step(value):
    stored = quantise(np.array([value]))
    assert stored.dtype == np.uint8
    assert abs(dequantise(stored)[0] - value) <= 14 / 255 / 2 + 1e-5


def test_label_map_stand_in_is_symmetric():
    labels = label_map()
    assert (np.isin(labels, (2, 3, 4)) == np.isin(labels, (41, 42, 43))[:, :, ::-1]).all()


# --- sources --------------------------------------------------------------------------------------------------------


def test_slices_with_a_class_are_drawn_three_times_as_often(tmp_path):
    case = frame_case(data.load_tabriz(write_patients(tmp_path, ["a1"]))[0], SMALL_FRAME)
    labels = np.zeros_like(case.labels)
    labels[2, 30, 20] = 3
    labels[:, 0, 0] = 0
    source = ArraySource([FramedCase("a1", case.prepared, labels, case.mask)])
    rng = np.random.default_rng(0)
    shown = np.mean([source.draw(rng)[1].any() for _ in range(4000)])
    assert abs(shown - 3 / 8) < 0.03
    with pytest.raises(ValueError, match="no cases"):
        ArraySource([])


def test_pseudo_labels_are_drawn_with_their_own_mask(tmp_path):
    images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)
    labels = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    np.savez(tmp_path / "pseudo.npz", images=images, labels=labels, masks=labels % 2 == 0)
    source, rng = PseudoSource(tmp_path / "pseudo.npz"), np.random.default_rng(0)
    for _ in range(10):
        image, label, mask = source.draw(rng)
        assert np.allclose(image, dequantise(label[None]))
        assert (mask == (label % 2 == 0)).all()


# --- figures --------------------------------------------------------------------------------------------------------


def test_empty_maps_have_defined_or_undefined_figures_never_an_error():
    nothing, something = np.zeros((2, 4, 4), bool), np.ones((2, 4, 4), bool)
    both = metrics.compare(nothing.astype(np.uint8), nothing.astype(np.uint8), (1, 1, 1))
    assert np.isnan(list(both.values())).all()
    missed = metrics.compare(nothing.astype(np.uint8), 3 * something.astype(np.uint8), (1, 1, 1))
    assert missed["lesion_dice"] == missed["lesion_recall"] == missed["lesion_f1"] == 0.0
    assert np.isnan([missed["lesion_precision"], missed["lesion_hd95"]]).all()
    invented = metrics.compare(3 * something.astype(np.uint8), nothing.astype(np.uint8), (1, 1, 1))
    assert invented["lesion_dice"] == invented["lesion_precision"] == invented["lesion_f1"] == 0.0
    assert np.isnan(invented["lesion_recall"])


def test_figures_have_the_keys_of_the_cards():
    card = json.loads((Path(__file__).resolve().parents[2] / "models/flairseg2d-v1.0/card.json").read_text())
    labels = np.zeros((2, 4, 4), np.uint8)
    assert set(card["results"][0]["figures"]) == set(metrics.compare(labels, labels, (1, 1, 1)))


def test_all_wmh_is_normal_and_abnormal_together():
    predicted, reference = np.zeros((2, 1, 1, 4), np.uint8)
    predicted[0, 0] = (2, 3, 0, 1)
    reference[0, 0] = (3, 2, 2, 1)
    figures = metrics.compare(predicted, reference, (1, 1, 1))
    assert figures["all_wmh_dice"] == 2 * 2 / 5
    assert figures["lesion_dice"] == 0
    assert figures["ventricles_dice"] == 1
    assert metrics.class_dice(predicted, reference) == [1.0, 0.0, 0.0]
