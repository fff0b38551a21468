"""Training on several sites: labels that are known in part, banks, crops, self-training, the light network."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import jsonschema
import numpy as np
import onnxruntime
import pytest
from flairseg.labels import LESION
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.small_data import SPACING_KJI, painted_patient, write_anatomy, write_image, write_patients

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")

from flairseg.adapt import banks, framed  # noqa: E402
from flairseg.adapt.augment import Geometry  # noqa: E402
from flairseg.adapt.networks import LightUNet  # noqa: E402
from flairseg.adapt.partial import (  # noqa: E402
    LARGEST_WEIGHT,
    NO_HYPERINTENSITY,
    NO_LESION,
    UNKNOWN,
    lesion_weights,
    lesions_only,
    marginal_cross_entropy,
    partial_dice,
    partial_loss,
)
from flairseg.image.volume import Volume  # noqa: E402
from flairseg.models import load_card  # noqa: E402
from flairseg.models.lesion_confidence import LesionConfidence  # noqa: E402
from flairseg.segmentation.local_network import freed  # noqa: E402

from training import (  # noqa: E402
    calibrate,
    card_markdown,
    checkpoint,
    evaluate_sites,
    export,
    flops,
    lesion_confidence,
    plot_curves,
    publish,
    queue,
    sites,
    synthetic,
    train_sites,
)
from training import run as running  # noqa: E402
from training.config import load_config  # noqa: E402
from training.data import data_folder, folds, load_tabriz  # noqa: E402
from training.synthetic_wide import WideFlair  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
CARDS = Path(__file__).resolve().parents[2] / "models"
LIGHT = CONFIGS / "flairseg2d-light.json"


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Tabriz patients, MSLesSeg, Muslim's slices and unlabelled scans, painted, and the anatomy of synthetic heads."""
    folder = tmp_path_factory.mktemp("sites")
    write_anatomy(folder)
    write_patients(folder)
    for seed, name in enumerate(("P14_T1", "P14_T2", "P18_T1")):
        image, labels = painted_patient(seed)
        for array, file in ((image.astype(np.int16), "flair"), ((labels == 3).astype(np.uint8), "lesions")):
            thin = np.repeat(array, 3, axis=0)
            write_image(thin, (3.6, 3.6, 14 / 3), folder / "mslesseg" / name / f"{file}.nii.gz")
    entries = [(f"1{n:02d}010", n, n in (13, 19)) for n in (5, 6, 8, 13, 19)]
    for slice_name, patient, _ in entries:
        image, labels = painted_patient(patient)
        for array, file in ((image[2:3].astype(np.uint8), "flair"), ((labels[2:3] == 3).astype(np.uint8), "lesions")):
            scaled = image[2:3] / 8 if file == "flair" else array
            write_image(
                scaled.astype(np.uint8), (3.6, 3.6, 5.0), folder / "muslim_slices" / slice_name / f"{file}.nii.gz"
            )
    listed = [{"slice": s, "patient": p, "plane": "axial", "held_back": h} for s, p, h in entries]
    (folder / "muslim_slices" / "slices.json").write_text(json.dumps(listed))
    for seed, name in ((7, "sub-x1"), (8, "sub-x2")):
        image, _ = painted_patient(seed)
        write_image(image.astype(np.int16), SPACING_KJI[::-1], folder / "tabriz_unlabelled" / name / "flair.nii.gz")
    return folder


def small_recipe(**changes):
    config = load_config(LIGHT)
    config.network = {"kind": "light", "inputs": 1, "outputs": 4, "widths": [4, 6]}
    config.pipeline = {**config.pipeline, "frame_size": [64, 48], "frame_spacing_mm": 3.6, "slab_mm": 1.0}
    values = {"crop": [32, 32], "init": None, "steps": 4, "validate_every": 4}
    values["mix"] = {"tabriz": 1, "mslesseg": 1, "muslim": 1}
    values["self_training"] = {"at": 0.5, "confidence": 0.3, "mix": {"tabriz": 1, "mslesseg": 1, "self": 1}}
    for key, value in {**values, **changes}.items():
        setattr(config, key, value)
    return config


# --- what is not known teaches nothing ------------------------------------------------------------------------------


def random_case(seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 6, 5, generator=generator) * 2
    return logits, torch.randint(4, (2, 6, 5), generator=generator), torch.rand(2, 6, 5, generator=generator) + 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_with_all_classes_known_it_is_plain_cross_entropy(seed):
    logits, labels, weights = random_case(seed)
    plain = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert torch.isclose(marginal_cross_entropy(logits, labels, weights), (plain * weights).mean())
    assert torch.isclose(
        marginal_cross_entropy(logits, labels, torch.ones_like(weights)),
        torch.nn.functional.cross_entropy(logits, labels),
    )


@pytest.mark.parametrize(("value", "classes"), [(NO_LESION, [0, 1, 2]), (NO_HYPERINTENSITY, [0, 1])])
def test_a_pixel_that_may_be_of_several_classes_is_as_likely_as_all_of_them(value, classes):
    logits, labels, weights = random_case(1)
    labels[0] = value
    expected = -torch.log(torch.softmax(logits, 1)[0, classes].sum(0))
    plain = torch.nn.functional.cross_entropy(logits[1:], labels[1:], reduction="none")[0]
    wanted = (torch.stack([expected, plain]) * weights).mean()
    assert torch.isclose(marginal_cross_entropy(logits, labels, weights), wanted)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_unknown_pixels_have_no_gradient_and_change_nothing(seed):
    logits, labels, weights = random_case(seed)
    labels[:, :3] = UNKNOWN
    logits.requires_grad_()
    partial_loss(logits, labels, weights).backward()
    assert not logits.grad[:, :, :3].any()
    assert logits.grad[:, :, 3:].any()
    cut = partial_loss(logits[:, :, 3:], labels[:, 3:], weights[:, 3:])
    assert torch.isclose(partial_loss(logits, labels, weights), cut)


@pytest.mark.parametrize(("value", "undecided"), [(NO_LESION, [0, 1, 2]), (NO_HYPERINTENSITY, [0, 1])])
def test_where_a_set_cannot_tell_classes_apart_exchanging_them_costs_nothing(value, undecided):
    logits, labels, weights = random_case(3)
    labels[0] = value
    order = [undecided[-1], *undecided[:-1], *[c for c in range(4) if c not in undecided]]
    exchanged = torch.stack([logits[0][order], logits[1]])
    for loss in (lambda x: partial_dice(x, labels), lambda x: partial_loss(x, labels, weights)):
        assert torch.isclose(loss(logits), loss(exchanged))
    told_apart = labels.clone()
    told_apart[0] = 0
    assert not torch.isclose(partial_loss(logits, told_apart, weights), partial_loss(exchanged, told_apart, weights))


def test_a_lesion_where_none_is_costs_in_every_set_that_draws_lesions():
    calm = torch.zeros(1, 4, 8, 8)
    calm[:, 0] = 12
    wrong = calm.clone()
    wrong[:, LESION, 2:4, 2:4] = 20
    for value in (0, NO_LESION, NO_HYPERINTENSITY):
        labels, ones = torch.full((1, 8, 8), value), torch.ones(1, 8, 8)
        assert partial_loss(wrong, labels, ones) > partial_loss(calm, labels, ones) + 0.3
        assert partial_dice(wrong, labels) > partial_dice(calm, labels) + 0.2


def test_dice_is_that_of_hard_labels_for_sure_answers():
    labels = torch.zeros(1, 4, 8, dtype=torch.long)
    labels[0, :, :4], labels[0, 0, 4:] = LESION, 1
    answer = torch.zeros_like(labels)
    answer[0, :, 2:6] = LESION
    logits = torch.nn.functional.one_hot(answer, 4).permute(0, 3, 1, 2) * 50.0
    lesion, ventricles, normal = (2 * 8 + 1) / (16 + 16 + 1), 1 / (4 + 1), 1.0
    assert torch.isclose(partial_dice(logits, labels), torch.tensor(1 - (lesion + ventricles + normal) / 3), atol=1e-5)


def test_small_lesions_weigh_more_by_the_square_root_of_their_size():
    labels = np.zeros((40, 40), np.uint8)
    labels[2:22, 2:22], labels[30:32, 30:35], labels[36, 36], labels[25, 2] = 3, 3, 3, 2
    weights = lesion_weights(labels)
    assert weights.dtype == np.float32
    assert (weights[labels != 3] == 1).all()
    assert (weights[2:22, 2:22] == 1).all()
    assert np.allclose(weights[30:32, 30:35], 2.0)  # 10 of 40 pixels
    assert weights[36, 36] == LARGEST_WEIGHT


# --- banks and crops ------------------------------------------------------------------------------------------------


def a_bank(labels: np.ndarray, subjects=None) -> banks.Bank:
    images = framed.quantise(labels.astype(np.float32) - 3)
    return banks.Bank(images, labels, np.ones(labels.shape, bool), np.asarray(subjects or ["x"] * len(labels)))


def test_slices_with_small_lesions_are_drawn_most_and_empty_ones_least():
    labels = np.zeros((4, 30, 30), np.uint8)
    labels[1, 5:8, 5:8], labels[2, 5:25, 5:25], labels[3, 5:8, 5:8] = 3, 3, 1
    bank = a_bank(labels)
    assert np.allclose(bank.chances / bank.chances[0], [1, 4.5, 3, 3])
    rng, seen = np.random.default_rng(0), [0, 0]
    for _ in range(400):
        image, drawn, mask, weights = bank.draw(rng)
        assert np.abs(image - (drawn.astype(np.float32) - 3)).max() < 0.03
        assert mask.all()
        assert (weights[drawn == 3] > 1).all() == ((drawn == 3).sum() < 40)
        seen[0] += not drawn.any()
        seen[1] += (drawn == 3).sum() == 9
    assert 3 < seen[1] / seen[0] < 7


def test_who_is_left_out_is_nowhere_in_the_bank():
    bank = a_bank(np.ones((6, 8, 8), np.uint8), ["a", "a", "b", "b", "110497", "c"])
    assert sites.left_out(bank, None, 3) == []
    dealt = [sites.left_out(bank, fold, 3) for fold in range(3)]
    assert sorted(name for fold in dealt for name in fold) == ["a", "b", "c"]
    assert dealt == folds(["a", "b", "c"], 3)
    for fold in dealt:
        kept = set(bank.without(fold).subjects)
        assert kept == {"a", "b", "c", "110497"} - set(fold)
    two = a_bank(np.ones((2, 8, 8), np.uint8), ["p", "q"])
    assert [sites.left_out(two, fold, 3) for fold in range(3)] == [["p"], ["q"], []]


def test_a_crop_without_any_change_is_the_part_around_its_middle():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(size=(1, 1, 40, 36)).astype(np.float32))
    # 19.5 is the middle between pixels 11 to 28 of 0 to 39.
    grid = banks.crops(image, torch.tensor([[19.5, 14.5]]), (16, 20), Geometry(), torch.Generator())
    part = torch.nn.functional.grid_sample(image, grid, align_corners=False)
    assert torch.allclose(part, image[:, :, 12:28, 5:25], atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_image_label_and_weight_of_a_crop_move_together(seed):
    labels = np.zeros((1, 60, 60), np.uint8)
    labels[0, 18:40, 22:44], labels[0, 25:31, 26:30] = 3, 1
    bank, geometry = a_bank(labels), Geometry(15, 4, 0.15, flip=True)
    generator = torch.Generator().manual_seed(seed)
    images, moved, weights = banks.draw_crops(
        [bank] * 3, (32, 32), geometry, 0.0, np.random.default_rng(seed), generator
    )
    assert images.shape == (3, 1, 32, 32)
    assert moved.shape == weights.shape == (3, 32, 32)
    assert (moved > 0).any()
    apart = (images[:, 0] - (moved.float() - 3)).abs()
    # Bilinear in the image, nearest in the labels: they differ at edges alone, where the nearest of four pixels has at
    # least a quarter of the say over a step of three.
    assert apart.max() < 0.75 * 3 + 0.05
    assert (apart > 0.1).float().mean() < 0.25


def test_beyond_the_slice_it_is_air_and_unknown_in_sets_with_unknown_classes():
    known, partly = np.zeros((1, 40, 40), np.uint8), np.full((1, 40, 40), NO_LESION, np.uint8)
    both = [a_bank(known), a_bank(partly)]
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    images, labels, _ = banks.draw_crops(both, (64, 64), Geometry(), 0.0, rng, generator)
    assert set(labels[0].unique().tolist()) == {0}
    assert set(labels[1].unique().tolist()) == {NO_LESION, UNKNOWN}
    assert torch.allclose(images[0], images[0].min(), atol=0.06)


# --- the sets -------------------------------------------------------------------------------------------------------


def test_every_set_has_the_classes_it_draws_and_no_others(everything, tmp_path):
    config = small_recipe().preprocessing
    tabriz, mslesseg, muslim = (sites.load_site(name, everything, config, tmp_path) for name in sites.SITES)
    assert {0, 1, 3} <= set(np.unique(tabriz.labels)) <= {0, 1, 2, 3}
    assert set(np.unique(mslesseg.labels)) == set(np.unique(muslim.labels)) == {LESION, NO_LESION}
    assert set(mslesseg.subjects) == {"mslesseg-P14", "mslesseg-P18"}  # visits of one person are one subject
    assert set(muslim.subjects) == {"muslim-5", "muslim-6", "muslim-8"}  # 13 and 19 are kept apart
    bright = framed.dequantise(mslesseg.images)
    assert np.median(bright[mslesseg.labels == LESION]) > np.median(bright[mslesseg.masks]) + 2
    again = sites.load_site("muslim", everything / "gone", config, tmp_path)  # from the cache
    assert (again.labels == muslim.labels).all()


def test_a_stored_set_is_made_again_where_its_labels_or_images_would_differ(everything, tmp_path, monkeypatch):
    config = small_recipe().preprocessing
    first = sites.load_site("tabriz", everything, config, tmp_path)
    monkeypatch.setattr(sites, "BRIGHTNESS", 1.5)
    assert sites.load_site("tabriz", everything / "gone", config, tmp_path) is None
    monkeypatch.undo()
    assert (sites.load_site("tabriz", everything / "gone", config, tmp_path).labels == first.labels).all()
    other = dataclasses.replace(config, frame_spacing_mm=2 * config.frame_spacing_mm)
    assert sites.load_site("tabriz", everything / "gone", other, tmp_path) is None


def test_held_back_persons_are_refused_in_every_set(everything, tmp_path):
    (tmp_path / "mslesseg").mkdir()
    (tmp_path / "mslesseg" / "P39_T1").symlink_to(everything / "mslesseg" / "P14_T1")
    with pytest.raises(ValueError, match="P39"):
        sites.load_site("mslesseg", tmp_path, small_recipe().preprocessing, tmp_path / "cache")
    (tmp_path / "tabriz_unlabelled").mkdir()
    (tmp_path / "tabriz_unlabelled" / "sub-105465").symlink_to(everything / "tabriz_unlabelled" / "sub-x1")
    with pytest.raises(ValueError, match="105465"):
        sites.unlabelled(tmp_path, small_recipe().preprocessing)


def test_a_mask_on_another_grid_than_its_image_is_refused_and_a_flipped_one_placed(tmp_path):
    import SimpleITK as sitk
    from flairseg.errors import GridMismatchError

    from training.data import read, read_lesions

    image, labels = painted_patient(0)
    mask = (labels == 3).astype(np.uint8)
    for array, name in ((image.astype(np.int16), "flair"), (mask, "lesions")):
        write_image(array, SPACING_KJI[::-1], tmp_path / f"{name}.nii.gz")
    volume, path = read(tmp_path / "flair.nii.gz"), tmp_path / "lesions.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "RIA"), str(path))
    assert np.array_equal(read_lesions(path, volume), mask > 0)
    assert mask.any()
    moved = sitk.ReadImage(str(path))
    moved.SetOrigin((3.0, 4.0, 5.0))
    sitk.WriteImage(moved, str(path))
    with pytest.raises(GridMismatchError):
        read_lesions(path, volume)


def test_a_set_that_is_not_there_is_left_out_and_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert sites.load_site("mslesseg", tmp_path, small_recipe().preprocessing, tmp_path) is None
        assert sites.unlabelled(tmp_path, small_recipe().preprocessing) == []
    for name in ("mslesseg", "ljubljana_longitudinal", "tabriz_unlabelled"):
        assert f"{name} skipped: no folder {tmp_path / name}" in caplog.text
    bank = a_bank(np.ones((1, 8, 8), np.uint8))
    assert train_sites.batch_of({"tabriz": 1, "mslesseg": 2}, {"tabriz": bank}) == [bank] * 3


def test_averaged_slices_are_means_where_their_middle_was():
    array = np.arange(7 * 2 * 3).reshape(7, 2, 3).astype(np.int16)
    affine = np.array([[0, 0, 2.0, 5], [0, 3.0, 0, -7], [1.5, 0, 0, 2], [0, 0, 0, 1]])
    thick = sites.averaged(Volume(array, affine), 3)
    assert np.allclose(thick.array, [array[:3].mean(0), array[3:6].mean(0)])
    assert thick.spacing == pytest.approx((1.5, 3.0, 6.0))
    for k in range(2):
        middle = affine @ [0, 0, 3 * k + 1, 1]
        assert np.allclose(thick.ijk_to_ras @ [0, 0, k, 1], middle)


def test_lesions_alone_leave_the_rest_open():
    assert lesions_only(np.array([[True, False]])).tolist() == [[LESION, NO_LESION]]


# --- synthetic heads ------------------------------------------------------------------------------------------------


def test_wide_heads_repeat_with_their_seed_and_show_their_lesions(everything):
    heads = [synthetic.load_head(path) for path in sorted((everything / "head_label_maps").glob("*.nii.gz"))]
    prior = synthetic.load_lesion_masks(everything / "ljubljana_lesions_mni")
    flair = WideFlair(heads, prior, (112, 96), 1.8, neighbours=False)
    first, again = (
        [flair.sample(rng) for _ in range(12)] for rng in (np.random.default_rng(4), np.random.default_rng(4))
    )
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    contrast = []
    for image, labels in first:
        assert image.shape == (1, 112, 96)
        assert set(np.unique(labels)) <= {0, 1, 2, 3}
        if (labels == 3).sum() > 5:
            contrast.append(np.median(image[0][labels == 3]) - np.median(image[0][image[0] > 0.5]))
    assert len(contrast) > 3
    assert np.mean(np.array(contrast) > 0.05) > 0.7


# --- the network and the run ----------------------------------------------------------------------------------------


def test_the_light_network_costs_a_quarter_of_the_first_default():
    assert flops.gflop_of_case(load_config(LIGHT)) <= 40
    assert flops.gflop_of_case(load_config(CONFIGS / "flairseg2d.json")) == pytest.approx(158.3, abs=0.1)
    parameters = sum(p.numel() for p in LightUNet().parameters())
    assert 2 * parameters < 6e6  # bytes in half precision


def test_operations_are_those_of_the_layers():
    assert flops.multiplications(torch.nn.Conv2d(3, 5, 3, padding=1), (3, 10, 12)) == 3 * 5 * 9 * 120
    assert flops.multiplications(torch.nn.ConvTranspose2d(4, 2, 2, 2), (4, 6, 6)) == 4 * 2 * 4 * 36


def test_the_light_network_answers_for_each_pixel_at_its_place():
    torch.manual_seed(0)
    network = LightUNet(1, 4, (8, 8)).eval()
    image = torch.randn(1, 1, 64, 60)
    with torch.inference_mode():
        answer, moved = network(image), network(image.roll((4, 4), (2, 3)))
    assert answer.shape == (1, 4, 64, 60)
    inner = (..., slice(28, -24), slice(28, -24))  # no border is seen from there
    assert torch.allclose(moved[inner], answer.roll((4, 4), (2, 3))[inner], atol=1e-5)
    image.requires_grad_()
    network(image)[0, 1, 31, 29].backward()
    row, column = np.unravel_index(int(image.grad[0, 0].abs().argmax()), (64, 60))
    assert abs(row - 31) <= 3
    assert abs(column - 29) <= 3


def test_the_light_network_may_be_shown_a_part_of_its_frame(tmp_path):
    """Exported, it has no operator that holds the frame's size, and says of a part what it says of the whole."""
    torch.manual_seed(0)
    path = tmp_path / "light.onnx"
    assert export.export_onnx(LightUNet(1, 4, (8, 8)), (1, 96, 80), path, output="softmax") < 1e-4
    model = freed(path.read_bytes(), (96, 80))
    image = np.random.default_rng(0).standard_normal((1, 1, 96, 80), np.float32)
    whole, part = (
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": given})[0]
        for given in (image, np.ascontiguousarray(image[:, :, 16:, 16:]))
    )
    np.testing.assert_allclose(part[:, :, 28:, 28:], whole[:, :, 44:, 44:], atol=1e-5)
    with pytest.raises(Exception, match="one channel alone"):
        export.export_onnx(LightUNet(2, 4, (8, 8)), (2, 32, 32), tmp_path / "two.onnx")


def test_every_site_is_judged_by_its_lesions_alone_and_tabriz_if_asked_for(everything, tmp_path, monkeypatch):
    """What stands in for the network draws all patients' lesions right and calls the rest of the head a ventricle."""
    monkeypatch.setenv("FLAIRSEG_DATA", str(everything))
    truth = {
        one.volume.array.tobytes(): one.labels
        for one in (*evaluate_sites.scans(everything), *evaluate_sites.tabriz(everything))
    }
    models = []

    def drawn(volume, model):
        models.append(model)
        lesions = truth[volume.array.tobytes()] == 3
        return SimpleNamespace(labels=np.where(lesions, 3, (volume.array > 0)).astype(np.uint8))

    monkeypatch.setattr(evaluate_sites, "segment", drawn)
    output = tmp_path / "sites.json"
    arguments = ["evaluate_sites", "--model", str(tmp_path / "one"), "--output", str(output)]
    for more, expected in (([], {"mslesseg", "muslim"}), (["--tabriz"], {"mslesseg", "muslim", "tabriz"})):
        monkeypatch.setattr(sys, "argv", [*arguments, *more])
        evaluate_sites.main()
        found = json.loads(output.read_text())
        assert set(found["scans"]) == expected
        assert {model.parent.name for model in models} == {"one"}
        for scans in found["scans"].values():
            assert all(row["lesion_dice"] == 1 and row["lesion_f1"] == 1 for row in scans.values())
            assert not any(key.startswith(("ventricles", "all_wmh")) for row in scans.values() for key in row)
    assert len(found["scans"]["tabriz"]) == len(load_tabriz(everything))
    assert not {"113010", "119010"} & set(found["scans"]["muslim"]), "held back"
    monkeypatch.setattr(sys, "argv", ["evaluate_sites", "--config", "x", "--output", str(output), "--tabriz"])
    with pytest.raises(SystemExit):
        evaluate_sites.main()


def test_a_stopped_run_goes_on_to_the_same_weights_with_its_own_labels(everything, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAIRSEG_DATA", str(everything))
    assert data_folder() == everything
    config = small_recipe(fold=0)
    whole = torch.load(train_sites.train(config, tmp_path / "whole", tmp_path / "cache"), weights_only=True)
    stopping, calls = checkpoint.StopRequest(), []
    original = train_sites.draw_crops

    def in_the_third_step(*arguments):
        calls.append(1)
        stopping.asked = len(calls) == 3
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(running, "StopRequest", lambda: stopping)
        patch.setattr(train_sites, "draw_crops", in_the_third_step)
        path = train_sites.train(config, tmp_path / "stopped", tmp_path / "cache")
    assert torch.load(path, weights_only=True)["step"] == 3
    assert not (path.parent / checkpoint.FINISHED).exists()
    train_sites.train(config, tmp_path / "stopped", tmp_path / "cache")
    resumed = torch.load(path, weights_only=True)
    for key, value in whole["ema"].items():
        assert torch.equal(value, resumed["ema"][key]), key
    assert (path.parent / checkpoint.FINISHED).exists()
    with np.load(path.parent / "self.npz") as own:
        assert set(own["subjects"]) == {"sub-x1", "sub-x2"}
        assert set(np.unique(own["labels"])) <= {0, 1, 2, 3, UNKNOWN}


def test_its_own_labels_are_the_sure_ones():
    class Fixed(torch.nn.Module):
        def forward(self, image):
            answer = torch.zeros(len(image), 4, *image.shape[2:])
            answer[:, 3] = torch.where(image[:, 0] > 0, 5.0, 0.0)
            answer[:, 0] = torch.where(image[:, 0] < -1, 5.0, 0.0)
            return answer

    class Slices:
        slices = np.linspace(-3, 3, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)

        def channels(self, k):
            return self.slices[k][None]

        def batches(self, size):
            symmetric = np.maximum(self.slices, self.slices[:, :, ::-1])
            self.slices = symmetric
            yield symmetric[:, None]

    from flairseg.adapt.framed import FramedCase

    case = FramedCase("x", Slices(), np.zeros((2, 8, 8), np.uint8), np.ones((2, 8, 8), bool))
    bank = train_sites.own_labels(Fixed(), [case], load_config(LIGHT).preprocessing, 0.75)
    image = case.prepared.slices
    assert (bank.labels[image > 0] == 3).all()
    assert (bank.labels[image < -1] == 0).all()
    assert (bank.labels[(image < 0) & (image > -1)] == UNKNOWN).all()


def test_other_losses_are_for_the_other_trainer(tmp_path):
    with pytest.raises(ValueError, match=r"training\.train"):
        train_sites.train(small_recipe(loss="dice-ce"), tmp_path, tmp_path)


def test_the_queue_trains_each_recipe_by_its_own_module(tmp_path):
    jobs = queue.plan(tmp_path, ["flairseg2d-light", "flairseg2d", "s1-pix2pix"])
    modules = {job.config.name: job.command(tmp_path)[2].split(".")[-1] for job in jobs}
    assert modules == {"flairseg2d-light": "train_sites", "flairseg2d": "train", "s1-pix2pix": "train_pix2pix"}


# --- calibration ----------------------------------------------------------------------------------------------------


def overconfident(seed: int, temperature: float, shape=(30, 30, 30)):
    """Probabilities sharpened by a temperature, and a reference drawn from what they were before."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (4, *shape))
    honest = np.exp(logits) / np.exp(logits).sum(0)
    reference = (rng.random(shape) > np.cumsum(honest, 0)[:3]).sum(0).astype(np.uint8)
    sharp = np.exp(logits * temperature)
    return sharp / sharp.sum(0), reference


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_the_temperature_that_sharpened_probabilities_is_found_again(temperature):
    patients = [calibrate.telling_voxels(str(n), *overconfident(n, temperature)) for n in range(3)]
    found = calibrate.best_temperature(patients)
    assert found == pytest.approx(temperature, rel=0.05)
    after = calibrate.calibration_error(patients, [found] * 3)
    assert after < 0.02
    if temperature != 1:
        assert calibrate.calibration_error(patients, [1.0] * 3) > after + 0.03


def painted_lesions(columns, temperature: float = 1.0):
    """Probabilities and a reference with a lesion of 2 x 2 voxels for each (probability, drawn)."""
    reference, probabilities = np.zeros((3, 12, 4 * len(columns)), np.uint8), np.zeros((4, 3, 12, 4 * len(columns)))
    probabilities[0] = 1
    for column, (value, drawn) in enumerate(columns):
        place = (1, slice(2, 4), slice(4 * column, 4 * column + 2))
        probabilities[3][place], probabilities[0][place] = value, 1 - value
        if drawn:
            reference[1, 3, 4 * column + 1] = 3
    return calibrate.classified(probabilities, temperature), reference


def test_lesions_are_told_by_mean_probability_beside_what_readers_drew():
    columns = ((0.95, True), (0.92, False), (0.65, True), (0.45, True))
    found = lesion_confidence.found_lesions(*painted_lesions(columns), voxel_mm3=3.0, least_mm3=11.0)
    assert [(round(p, 2), hit) for p, hit in zip(found.probability, found.drawn, strict=True)] == list(columns[:3])
    assert found.volume_mm3.tolist() == [12.0] * 3
    rows = lesion_confidence.reliability(found.probability, found.drawn, calibrate.BINS)
    assert [(row["from"], row["lesions"], row["drawn"]) for row in rows] == [(0.6, 1, 1.0), (0.9, 2, 0.5)]
    calm = lesion_confidence.found_lesions(*painted_lesions(columns, 2.0), 3.0, 11.0)
    assert calm.probability[0] == pytest.approx(0.95**0.5 / (0.95**0.5 + 0.05**0.5), abs=1e-3)
    assert lesion_confidence.found_lesions(*painted_lesions(columns), 3.0, 11.0, 0.4).probability.size == 4
    assert lesion_confidence.found_lesions(*painted_lesions(columns), 3.0, 12.1).probability.size == 0


def made_lesions(seed: int, count: int, truth: LesionConfidence):
    rng = np.random.default_rng(seed)
    p, volume = rng.uniform(0.5, 0.99, count), np.exp(rng.uniform(2.5, 8, count))
    share = [truth.drawn_share(*one) for one in zip(p, volume, strict=True)]
    return lesion_confidence.FoundLesions(p, volume, rng.random(count) < share)


def test_the_confidence_by_which_lesions_were_drawn_is_found_again():
    truth = LesionConfidence(-3.5, 1.2, 0.5)
    lesions = made_lesions(0, 20000, truth)
    found = lesion_confidence.fit_confidence(lesions)
    for name, value in asdict(truth).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.08), name
    rows = lesion_confidence.reliability(lesion_confidence.confidences(found, lesions), lesions.drawn)
    assert lesion_confidence.error(rows) < 0.02
    assert lesion_confidence.error(lesion_confidence.reliability(lesions.probability, lesions.drawn)) > 0.1
    everything = dataclasses.replace(lesions, drawn=np.ones(20000, bool))
    assert lesion_confidence.fit_confidence(everything) is None, "nothing tells drawn lesions from others"
    against = dataclasses.replace(lesions, drawn=lesions.probability < 0.7)
    assert lesion_confidence.fit_confidence(against) is None, "confidence would fall with probability"


def test_confidence_of_a_fold_owes_nothing_to_its_own_patients(tmp_path, monkeypatch):
    """Patients of one kind had half of their sure lesions drawn, of the other all."""
    monkeypatch.setattr(calibrate, "best_temperature", lambda some: 2.0)
    honest = [(0.95, True)] * 6 + [(0.6, False)] * 6
    half = [(0.95, True), (0.95, False)] * 3 + [(0.6, False)] * 6

    def patient(columns):
        probabilities, reference = painted_lesions(columns)
        return {"probabilities": probabilities, "reference": reference, "spacing": np.array([1.0, 1.0, 3.0])}

    patients = {"x": patient(honest), "y": patient(half)}
    monkeypatch.setattr(calibrate, "folds", lambda names, count: [["x"], ["y"]])
    fitted = calibrate.fit(patients, 2, 11.0, untempered=True)
    field = fitted["lesion_confidence"]
    lesions = {name: lesion_confidence.found_lesions(one["probabilities"], one["reference"], 3.0, 11.0)
               for name, one in patients.items()}  # fmt: skip
    by = {name: lesion_confidence.fit_confidence(own) for name, own in lesions.items()}
    values = [lesion_confidence.confidences(by[other], lesions[name]) for name, other in (("x", "y"), ("y", "x"))]
    drawn = np.concatenate([lesions["x"].drawn, lesions["y"].drawn])
    assert field["reliability"]["confidence"] == lesion_confidence.reliability(np.concatenate(values), drawn)
    both = lesion_confidence.fit_confidence(lesion_confidence.FoundLesions.of_all(list(lesions.values())))
    assert {name: field[name] for name in asdict(both)} == asdict(both)
    alone = calibrate.fit(patients, 2, 11.0, untempered=True, decoding="none")
    assert [one["pipeline"] for one in (*alone["folds"], alone["all"])] == [{}] * 3
    assert {name: alone["lesion_confidence"][name] for name in asdict(both)} == asdict(both)
    assert "each voxel is of its most probable class" in publish.in_words(alone)
    assert "min_lesion_probability" in publish.in_words(fitted)
    assert "24 lesions" in field["fitted_on"]
    assert "38 %" in field["fitted_on"]
    made = {"id": "light-v9.0", "title": "t", "summary": "s", "intended_use": "u", "licence": "none", "results": [],
            "training_data": [], "pipeline": {},
            "weights": {"parameters": 1, "bytes": 1, "sha256": "0" * 64}}  # fmt: skip
    plain = card_markdown.render(made)
    assert "onfidence" not in plain
    text = card_markdown.render(made | {"lesion_confidence": field})
    picture = lesion_confidence.draw(made | {"lesion_confidence": field}, tmp_path / "curves")
    assert f"(../curves/{picture.name})" in text
    assert picture.stat().st_size < plot_curves.LARGEST
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert "Annotated by readers" in picture.read_text()


def test_a_tempered_network_has_calmer_probabilities_and_the_same_labels():
    torch.manual_seed(0)
    network, image = LightUNet(1, 4, (4, 4)).eval(), torch.randn(1, 1, 16, 16)
    with torch.inference_mode():
        before = network(image)
        after = calibrate.temper(network, 2.0)(image)
    assert torch.allclose(after, before / 2, atol=1e-6)
    assert torch.equal(after.argmax(1), before.argmax(1))


def test_a_published_model_is_tempered_and_carries_what_was_measured(tmp_path, monkeypatch):
    config = json.loads(LIGHT.read_text())
    config |= {"name": "tiny", "network": {"kind": "light", "inputs": 1, "outputs": 4, "widths": [4, 4]}}
    (tmp_path / "tiny.json").write_text(json.dumps(config))
    card = {"id": "tiny-v1.0", "title": "t", "version": "1.0", "licence": "none", "summary": "s", "intended_use": "u",
            "training_data": [], "training": {}}  # fmt: skip
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "tiny-v1.0.json").write_text(json.dumps(card))
    monkeypatch.setattr(publish, "CONFIGS", tmp_path)
    monkeypatch.setattr(publish, "CARDS", tmp_path / "cards")
    torch.manual_seed(1)
    network = LightUNet(1, 4, (4, 4))
    run = tmp_path / "runs" / "tiny"
    run.mkdir(parents=True)
    torch.save({"ema": network.state_dict()}, run / "last.pt")
    checkpoint.mark_finished(run, steps=3, batch=8, minutes=1.5)
    entries = [{"data": d, "cases": 2, "command": "c", "note": "", "figures": {}} for d in ("one", "two", "three")]
    (tmp_path / "a.json").write_text(json.dumps(entries[0]))
    (tmp_path / "b.json").write_text(json.dumps({"entries": entries[1:], "scans": {}}))
    rows = [{"from": 0.9, "to": 1.0, "lesions": 7, "confidence": 0.95, "drawn": 0.86}]
    fitted = {"all": {"temperature": 1.7, "fitted": 1.7, "pipeline": {"min_lesion_probability": 0.6}},
              "folds": [{"fitted": 1.8}, {"fitted": 1.4}, {"fitted": 1.6}],
              "error_before": 0.2, "error_left_out": 0.05}  # fmt: skip
    fitted |= {"lesions_before": rows, "lesions_left_out": rows}
    field = {"intercept": -3.0, "logit_probability": 1.1, "ln_volume": 0.5, "fitted_on": "7 lesions",
             "reliability": {"confidence": rows, "mean_probability": rows},
             "calibration_error": {"confidence": 0.09, "mean_probability": 0.09}}  # fmt: skip
    (tmp_path / "decoding.json").write_text(json.dumps(fitted | {"lesion_confidence": field}))
    results = [tmp_path / "a.json", tmp_path / "b.json"]
    folder, difference = publish.publish(
        "tiny", tmp_path / "runs", tmp_path, tmp_path / "models", results, tmp_path / "decoding.json"
    )
    written = json.loads((folder / "card.json").read_text())
    assert [entry["data"] for entry in written["results"]] == ["one", "two", "three"]
    assert written["pipeline"]["min_lesion_probability"] == 0.6
    assert not written["pipeline"]["thresholds"]
    for words in (
        "divided by 1.700",
        "patients (1.4 to 1.8)",
        "probabilities 0.200, with these temperatures 0.050",
        "0.9 to 1: 7 lesions, 86 % annotated",
    ):
        assert words in written["training"]["decoding"]
    assert difference < 1e-4
    assert load_card(folder).lesion_confidence == LesionConfidence(-3.0, 1.1, 0.5)
    jsonschema.validate(written, json.loads((CARDS / "card.schema.json").read_text()))
    assert (tmp_path / "models" / "curves" / "tiny-v1.0-reliability.svg").is_file()

    image = np.random.default_rng(0).normal(0, 1, (1, 1, 224, 192)).astype(np.float32)
    ours = onnxruntime.InferenceSession(str(folder / "model.onnx")).run(None, {"image": image})[0]
    with torch.inference_mode():
        theirs = network(torch.from_numpy(image)).numpy() / 1.7
    assert np.abs(ours - theirs).max() < 0.01 * np.abs(theirs).max()


def test_a_fold_is_decoded_by_what_the_other_folds_patients_want(monkeypatch):
    """Patients x want a threshold of 0.6 for lesions, patient y one of 0.5: each fold gets the other's."""
    reference = np.zeros((1, 30, 30), np.uint8)
    reference[0, 5:15, 5:15] = 3

    def patient(rim: float, inside: float) -> dict[str, np.ndarray]:
        probabilities = np.zeros((4, 1, 30, 30))
        probabilities[3, 0, 4:16, 4:16] = rim
        probabilities[3, 0, 5:15, 5:15] = inside
        probabilities[0] = 1 - probabilities.sum(0)
        labels = probabilities.argmax(0).astype(np.uint8)
        return {"probabilities": probabilities, "labels": labels, "reference": reference, "spacing": np.ones(3)}

    patients = {"x": patient(0.58, 0.95), "y": patient(0.46, 0.535)}
    monkeypatch.setattr(calibrate, "best_temperature", lambda some: 1.0)
    monkeypatch.setattr(calibrate, "folds", lambda names, count: [["x"], ["y"]])
    found = calibrate.fit(patients, 2, 11.0, decoding="voxels")
    of_x, of_y = (setting["pipeline"]["thresholds"]["3"] for setting in found["folds"])
    assert 0.46 < of_x <= 0.525  # fitted on y
    assert 0.58 < of_y <= 0.75  # fitted on x
    assert found["error_before"] == found["error_left_out"]
    monkeypatch.setattr(calibrate, "best_temperature", lambda some: 2.0)
    untempered = calibrate.fit(patients, 2, 11.0, untempered=True, decoding="voxels")
    assert [one["pipeline"] for one in untempered["folds"]] == [one["pipeline"] for one in found["folds"]]
    assert {one["temperature"] for one in untempered["folds"]} == {1.0}
    assert untempered["error_before"] != untempered["error_left_out"]
    assert sum(row["lesions"] for row in found["lesions_left_out"]) == 2


def test_small_components_do_not_count_where_the_pipeline_drops_them():
    reference, probabilities = np.zeros((1, 20, 20), np.uint8), np.zeros((4, 1, 20, 20), np.float32)
    reference[0, 4:8, 4:8] = 3
    probabilities[3, 0, 4:8, 4:8] = 0.9
    probabilities[3, 0, 15, 15] = 0.65
    table = calibrate.threshold_table(probabilities, reference, 1.0, 0.0)
    low = calibrate.THRESHOLDS.index(0.5), calibrate.THRESHOLDS.index(0.7)
    assert table[low[0]] < table[low[1]] == 1
    assert (calibrate.threshold_table(probabilities, reference, 1.0, 2.0) == 1).all()


def test_the_least_confidence_leaves_the_lesions_that_readers_drew():
    reference, probabilities = np.zeros((1, 30, 30), np.uint8), np.zeros((4, 1, 30, 30), np.float32)
    reference[0, 4:8, 4:8] = 3
    probabilities[3, 0, 3:8, 4:8] = 0.9  # a row wider than drawn: no threshold of lesions changes that
    probabilities[3, 0, 20:24, 20:24] = 0.65
    probabilities[3, 0, 12, 12] = 0.99  # too small
    probabilities[0] = 1 - probabilities[3]
    table = calibrate.confidence_table(probabilities, reference, 1.0, 2.0)
    best = table == table.max()
    assert [c for c, one in zip(calibrate.CONFIDENCES, best, strict=True) if one] == [
        c for c in calibrate.CONFIDENCES if 0.65 < c <= 0.9
    ]
    assert table.max() == pytest.approx((2 * 16 / 36 + 1) / 2)
    assert table[calibrate.CONFIDENCES.index(0.5)] == pytest.approx((2 * 16 / 52 + 2 / 3) / 2)
    assert table[-1] == 0
    # The annotated lesion, of 20 mm3, is the surest: with the ratio it stays under every limit, the other one does not.
    spared = calibrate.confidence_table(probabilities, reference, 1.0, 2.0, ratio=0.9)
    np.testing.assert_array_equal(spared[:-1], np.where(table > 0, table, table.max())[:-1])
    assert spared[-1] == table.max()
    patient = {"probabilities": probabilities, "labels": probabilities.argmax(0), "reference": reference,
               "spacing": np.ones(3)}  # fmt: skip
    fitted = calibrate.fit({"x": patient, "y": patient}, 2, 2.0, untempered=True)
    assert [one["pipeline"] for one in fitted["folds"]] == [{"min_lesion_probability": 0.66}] * 2
