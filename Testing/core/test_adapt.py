"""Local adaptation: cases and their checks, weights out of ONNX and back, fine-tuning, proof, resuming, the card."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[adapt]'")

from flairseg.adapt import cases as reading  # noqa: E402
from flairseg.adapt import checks, harm, partial, proof, record, replay, running, trainer, tuning, weights  # noqa: E402
from flairseg.adapt.banks import EMPHASIS, Bank  # noqa: E402
from flairseg.adapt.base import AdaptedBaseError, published_base  # noqa: E402
from flairseg.adapt.cases import read_cases  # noqa: E402
from flairseg.adapt.evidence import Evidence  # noqa: E402
from flairseg.adapt.framed import Case, frame_case  # noqa: E402
from flairseg.adapt.options import ModelTarget, TrainingOptions  # noqa: E402
from flairseg.adapt.parts import Plan, RunKey  # noqa: E402
from flairseg.adapt.record import Harm, Judgement, LeftOut, Training  # noqa: E402
from flairseg.adapt.reference import case_features  # noqa: E402
from flairseg.adapt.running import TooFewCasesError, adapt  # noqa: E402
from flairseg.adapt.tuning import Settings, class_logits, tune  # noqa: E402
from flairseg.adapt.work import FOLDER, Work  # noqa: E402
from flairseg.errors import Cancelled, InvalidModelError, OutputError, RunInProgressError, UnreadableImageError  # noqa: E402
from flairseg.models.adaptation import card_digest  # noqa: E402
from flairseg.models.card import PipelineConfig  # noqa: E402
from flairseg.models.scope import scope_of  # noqa: E402
from flairseg.models.store import find_model, load_card  # noqa: E402
from flairseg.segmentation.decoding import decode  # noqa: E402
from flairseg.segmentation.pipeline import segment  # noqa: E402

from Testing.core.site_cases import SITE_PIPELINE, make_base, site_head, write_case, write_site  # noqa: E402
from Testing.core.tiny import make_head  # noqa: E402

CONFIG = PipelineConfig.from_dict(SITE_PIPELINE)
#: The tiny base has no room for two scanners: nothing is rehearsed, and its last layer learns in a few large steps.
FAST = Settings(75, 4, 0, (64, 64), 1.0, 0.05, average=0.9, check_every=15, patience=9, altered=0.0)
PATIENTS = {f"p{n}": f"p{n}" for n in range(1, 10)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_card(make_base(tmp_path_factory.mktemp("models")))


@pytest.fixture
def known_before(monkeypatch):
    """What must not be forgotten: heads with bright lesions, which is all that the tiny base knows."""

    def painted(seed, *unused):
        return SimpleNamespace(**dict(zip(("volume", "labels"), site_head(100 + seed), strict=True)))

    def slices(config):
        framed = frame_case(Case("head", *site_head(200)), config)
        return framed.prepared.slices, framed.labels

    # A voxel of these small heads is 0.01 of Dice.
    monkeypatch.setattr(record, "LARGEST_LOSS", 0.06)
    monkeypatch.setattr(harm, "make_phantom", painted)
    monkeypatch.setattr(harm, "check_slices", slices)


def examined(folder, name, volume, labels, **content):
    write_case(folder, name, volume, labels, **content)
    found, _ = read_cases(folder)
    return checks.examine(next(c for c in found if c.name == name), CONFIG)


# --- labels of which only some classes were reviewed ------------------------------------------------------------------


@pytest.mark.parametrize("reviewed", [r for n in (1, 2, 3) for r in itertools.combinations((1, 2, 3), n)])
def test_what_was_not_reviewed_is_unknown_and_not_background(reviewed):
    labels = np.arange(4, dtype=np.uint8)[None]
    told = partial.training_labels(labels, reviewed)[0]
    for value in range(4):
        expected = {value} if value in reviewed else {0, 1, 2, 3} - set(reviewed)
        assert set(partial.MAY_BE[int(told[value])]) == expected


@pytest.mark.parametrize("label", sorted(partial.MAY_BE))
def test_the_loss_is_least_where_a_pixel_is_what_it_may_be(label):
    labels = torch.full((1, 4, 4), label)
    weights_ = torch.ones(1, 4, 4)
    losses = {}
    for value in range(4):
        logits = torch.zeros(1, 4, 4, 4)
        logits[:, value] = 8.0
        losses[value] = float(partial.marginal_cross_entropy(logits, labels, weights_))
    allowed = [losses[v] for v in partial.MAY_BE[label]]
    forbidden = [losses[v] for v in range(4) if v not in partial.MAY_BE[label]]
    assert max(allowed) < 0.01
    assert all(loss > 6 for loss in forbidden)


@pytest.mark.parametrize(("output", "classes"), [("softmax", (0, 1, 2, 3)), ("sigmoid", (1, 2, 3)), ("sigmoid", (3,))])
def test_training_reads_an_output_as_the_pipeline_does(output, classes):
    config = PipelineConfig(output=output, output_classes=classes, input_slices=1)
    logits = torch.randn(2, len(classes), 5, 6, generator=torch.Generator().manual_seed(1)) * 3
    ours = torch.softmax(class_logits(logits, config), 1).numpy()
    assert np.allclose(ours, decode(logits.numpy(), config), atol=1e-5)


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["flairseg2d-v1.0", "tiny"])
def test_weights_go_out_of_onnx_and_back_bit_by_bit(model, base, tmp_path):
    card = base if model == "tiny" else find_model(model)
    network = weights.trainable_network(card)
    assert weights.difference(network, card) < 1e-4
    weights.write_weights(card.path, weights.weights_of(network), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == card.path.read_bytes()


def test_changed_weights_arrive_in_onnxruntime(base, tmp_path):
    network = weights.trainable_network(base)
    with torch.no_grad():
        network.last.bias.add_(torch.arange(len(network.last.bias)) * 0.5)
    weights.write_weights(base.path, weights.weights_of(network), tmp_path / "model.onnx")
    card = replace(base, path=tmp_path / "model.onnx")
    assert weights.difference(network, card) < 1e-4
    assert weights.difference(weights.trainable_network(base), card) > 0.1


@pytest.mark.parametrize("model", ["s3-unet-v1.0", "s1-pix2pix-v1.0", "ensemble-v1.0"])
def test_models_that_cannot_be_trained_further_are_refused(model):
    with pytest.raises(weights.NotTrainableError, match=model):
        weights.trainable_network(find_model(model))


def test_weights_that_do_not_fit_are_refused(base, tmp_path):
    kept = weights.weights_of(weights.trainable_network(base))
    kept["last.bias"] = kept["last.bias"][:-1]
    with pytest.raises(InvalidModelError, match=r"last\.bias"):
        weights.write_weights(base.path, kept, tmp_path / "model.onnx")


# --- cases ------------------------------------------------------------------------------------------------------------


def test_visits_are_of_one_patient_by_the_rule_that_evaluation_uses(tmp_path):
    """Visits in training and proof at once would flatter the proof: names as cohorts know them, FLAIR or not."""
    for case in ("P14_T1_flair", "P14_month12_flair", "P14_FU2", "exam_v1", "exam_v2"):
        write_case(tmp_path / "cases", case, *site_head(1))
    cases, _ = read_cases(tmp_path / "cases")
    assert {one.name: one.patient for one in cases} == {
        "P14_T1_flair": "P14", "P14_month12_flair": "P14", "P14_FU2": "P14", "exam_v1": "exam_v1", "exam_v2": "exam_v2",
    }  # fmt: skip


def test_the_newest_version_counts_with_what_was_reviewed(tmp_path):
    volume, labels = site_head(1)
    wrong = np.where(labels == 3, 0, labels)
    write_case(tmp_path, "a", volume, wrong, "rejected", 1, reason="missed", model={"sha256": "ab"})
    write_case(tmp_path, "a", volume, labels, "accepted_after_edits", 2, model={"sha256": "ab"}, classes=["lesion"])
    write_case(tmp_path, "b", volume, labels, "accepted", model={"sha256": "ab"})
    write_case(tmp_path, "c", volume, labels, "accepted_after_edits")
    write_case(tmp_path, "c", volume, labels, "rejected", 2, reason="moved")
    write_case(tmp_path, "d", volume, labels, "accepted", model={}, classes=None)
    write_case(tmp_path, "e", volume, labels, classes=[])
    (write_case(tmp_path, "f", volume, labels) / "verdict.json").write_text("{")
    found, left_out = read_cases(tmp_path)
    a, b, d = found
    assert (a.reviewed, b.reviewed, d.reviewed) == ((3,), (1, 3), (1, 2, 3))
    assert (a.weight, b.weight, d.weight) == (1.0, reading.CONFIRMED_WEIGHT, 1.0)
    assert [(one.number, one.code) for one in left_out] == [
        (3, "rejected"), (5, "no-class-reviewed"), (6, "verdict-damaged"),
    ]  # fmt: skip
    loaded = reading.load(a)
    assert np.array_equal(loaded.corrected, labels == 3)
    assert not reading.load(b).corrected.any()


def test_a_table_of_patients_that_names_none_of_the_cases_is_refused(tmp_path):
    """Cases would be grouped by their names, and a person's scans be trained on and tested, without a word."""
    for n in (1, 2):
        write_case(tmp_path, f"p{n}", *site_head(n))
    with pytest.raises(UnreadableImageError, match="none of the cases"):
        read_cases(tmp_path, {"P1": "a", "P2": "a"})
    (tmp_path / "patients.csv").write_text("case,patient\nP1,a\n")
    with pytest.raises(UnreadableImageError, match="none of the cases"):
        read_cases(tmp_path)
    (tmp_path / "patients.csv").write_text("case,patient\np2,a\n")
    assert [(one.patient, one.stated) for one in read_cases(tmp_path)[0]] == [("p1", False), ("a", True)]


def test_a_changed_file_is_not_learnt_from(tmp_path):
    volume, labels = site_head(1)
    one = examined(tmp_path, "a", volume, labels, hashes={"labels.nii.gz": "0" * 64})
    assert isinstance(one, LeftOut)
    assert one.code == "damaged"


# --- what is wrong with a mask ----------------------------------------------------------------------------------------


def test_a_right_mask_lies_where_its_image_says(tmp_path):
    volume, labels = site_head(1, gain=0.6)
    one = examined(tmp_path, "a", volume, labels)
    assert one.evidence.gain < 1.02
    assert one.evidence.shift_px == (0, 0, 0)
    assert one.volume_ml[3] == pytest.approx((labels == 3).sum() * volume.geometry.voxel_volume_ml)


@pytest.mark.parametrize(
    ("name", "spoil", "code"),
    [
        ("rows", lambda m: np.roll(m, 4, 1), "mask-misplaced"),
        ("columns", lambda m: np.roll(m, -3, 2), "mask-misplaced"),
        ("slices", lambda m: np.roll(m, 1, 0), "mask-misplaced"),
        ("mirrored", lambda m: m[:, :, ::-1], "mask-misplaced"),
        ("exchanged", lambda m: np.choose(m, [0, 3, 2, 1]), "wrong-class"),
        ("empty", np.zeros_like, "empty-mask"),
        ("outside", lambda m: np.where(np.arange(m.shape[1])[None, :, None] < 6, 3, 0), "mask-outside-brain"),
    ],
)
def test_poisoned_masks_are_left_out(name, spoil, code, tmp_path):
    volume, labels = site_head(2)
    one = examined(tmp_path, "a", volume, np.broadcast_to(spoil(labels), labels.shape))
    assert isinstance(one, LeftOut), name
    assert one.code == code


@pytest.mark.parametrize("contrast", ["t1", "t2", "ct"])
def test_another_contrast_is_left_out(contrast, tmp_path):
    volume, labels = make_head(contrast=contrast)
    one = examined(tmp_path, "a", volume, labels)
    assert one.code == "another-contrast"


def test_one_image_under_several_names_counts_once(tmp_path):
    volume, labels = site_head(1)
    for n, day in ((1, 3), (2, 5), (3, 4)):
        scaled = volume.with_array((volume.array * (1.0 if n < 3 else 1.5)).astype(np.int16))
        write_case(tmp_path, f"p{n}", scaled, labels, times={"decided_at": f"2026-01-0{day}"})
    found, _ = read_cases(tmp_path, PATIENTS)
    kept, left_out = checks.apart([checks.examine(case, CONFIG) for case in found])
    assert [one.case.number for one in kept] == [2]
    assert {one.number: one.code for one in left_out} == {1: "duplicate", 3: "duplicate"}


def test_scans_that_look_like_one_person_are_one_patient(tmp_path):
    for n in (1, 2):
        write_case(tmp_path, f"p{n}", *site_head(n))
    for stated, patients in ((None, 1), (PATIENTS, 2)):
        found, _ = read_cases(tmp_path, stated)
        kept, left_out = checks.apart([checks.examine(case, CONFIG) for case in found])
        assert not left_out
        assert len({one.case.patient for one in kept}) == patients


def test_a_stopped_run_is_not_gone_on_with_when_it_is_stated_whose_the_cases_are(tmp_path):
    """Stated patients are never put together by looks: the same names give other folds."""
    for n in (1, 2):
        write_case(tmp_path, f"p{n}", *site_head(n))
    guessed, _ = read_cases(tmp_path)
    stated, _ = read_cases(tmp_path, {one.name: one.patient for one in guessed})
    assert [one.patient for one in stated] == [one.patient for one in guessed]
    assert reading.fingerprint(stated) != reading.fingerprint(guessed)
    assert reading.fingerprint(stated) == reading.fingerprint(read_cases(tmp_path, {"p1": "p1", "p2": "p2"})[0])


def test_all_scans_of_a_patient_go_along_when_one_looks_like_another_persons(tmp_path, monkeypatch):
    """One scan of a patient in another fold than the rest would be trained on and tested."""
    alike = {frozenset(("pa_ses-2", "pb_ses-1"))}
    for n, name in enumerate(("pa_ses-1", "pa_ses-2", "pb_ses-1", "pb_ses-2", "pc_ses-1"), 1):
        write_case(tmp_path, name, *site_head(n), times={"decided_at": f"2026-01-0{n}"})
    found, _ = read_cases(tmp_path)
    looked_at = [checks.examine(case, CONFIG) for case in found]
    names = {id(one.images): one.case.folder.parent.name for one in looked_at}
    monkeypatch.setattr(
        checks, "_alike", lambda a, b: 0.8 * (frozenset((names[id(a.images)], names[id(b.images)])) in alike)
    )
    kept, left_out = checks.apart(looked_at)
    assert not left_out
    of = {names[id(one.images)]: one.case.patient for one in kept}
    assert len({of[name] for name in of if name[:2] in ("pa", "pb")}) == 1
    assert of["pc_ses-1"] not in (of["pa_ses-1"], of["pb_ses-1"])


def test_a_displacement_is_told_in_the_slices_of_the_scan(tmp_path):
    evidence = Evidence(gain=2.0, shift_px=(1, 0, 0), how="shifted", lesion_contrast=1.0, ventricle_contrast=-1.0)
    write_case(tmp_path, "a", *site_head(1))
    (case,), _ = read_cases(tmp_path)
    assert "3 slices" in checks._fault(case, evidence, 0.9, every=3).reason
    assert "1 slice " in checks._fault(case, evidence, 0.9, every=1).reason


def test_a_reader_who_draws_nothing_where_the_base_finds_much_is_not_believed(tmp_path):
    volume, labels = site_head(1)
    one = examined(tmp_path, "a", volume, np.where(labels == 3, 0, labels))
    much = np.where(labels == 1, 3, 0).astype(np.uint8)
    assert checks.against_base(one, much, np.where(labels == 3, 0, labels), 0.01).code == "empty-mask"
    assert checks.against_base(one, much * 0, np.where(labels == 3, 0, labels), 0.01) is None
    assert checks.against_base(one, much, labels, 0.01).code == "wrong-class"


# --- banks and fine-tuning --------------------------------------------------------------------------------------------


def test_confirmed_cases_are_drawn_less_and_corrections_weigh_more():
    labels = np.zeros((2, 8, 8), np.uint8)
    corrected = np.zeros(labels.shape, bool)
    corrected[1, 2, 2] = True
    bank = Bank(labels, labels, labels == 0, np.array(["a", "b"]), np.array([0.5, 1.0]), corrected)
    assert bank.chances.tolist() == pytest.approx([1 / 3, 2 / 3])
    kept = bank.part(np.array([1]))
    *_, pixel_weights = kept.draw(np.random.default_rng(0))
    assert pixel_weights[2, 2] == pytest.approx(EMPHASIS)
    assert pixel_weights[0, 0] == 1


def test_slices_that_stop_training_are_not_learnt():
    labels = np.zeros((20, 8, 8), np.uint8)
    images = np.arange(20, dtype=np.uint8)[:, None, None] + labels
    bank = Bank(images, labels, labels == 0, np.array(["a"] * 14 + ["b"] * 6))
    learnt, held = tuning.hold_out(bank, 1)
    assert not set(learnt.images[:, 0, 0]) & set(held.images[:, 0, 0])
    assert set(held.subjects) == {"a", "b"}
    bank.labels[[3, 9]] = 3
    _, held = tuning.hold_out(Bank(images, bank.labels, labels == 0, bank.subjects), 0)
    assert (held.labels == 3).any()


@pytest.fixture(scope="module")
def site_bank(tmp_path_factory):
    folder = write_site(tmp_path_factory.mktemp("cases"), 3, gain=0.7)
    found, _ = read_cases(folder, PATIENTS)
    all_of = [checks.examine(case, CONFIG) for case in found]
    assert all(isinstance(one, checks.Examined) for one in all_of)
    labels = [partial.training_labels(one.labels, one.case.reviewed) for one in all_of]
    subjects = [np.full(len(one.images), one.case.name) for one in all_of]
    images, masks = ([getattr(one, name) for one in all_of] for name in ("images", "masks"))
    return Bank(*map(np.concatenate, (images, labels, masks, subjects)))


def test_the_base_stays_and_a_seed_repeats(base, site_bank):
    network = weights.trainable_network(base)
    before = weights.weights_of(network)
    rehearsed = replay.replay_bank(CONFIG)
    settings = replace(FAST, steps=24, check_every=12)
    first, again = (tune(network, site_bank, rehearsed, CONFIG, settings) for _ in range(2))
    other = tune(network, site_bank, rehearsed, CONFIG, replace(settings, seed=5))
    assert all(np.array_equal(value, weights.weights_of(network)[name]) for name, value in before.items())
    assert first.checks == again.checks != other.checks
    ours, theirs = (weights.weights_of(one.network) for one in (first, again))
    assert all(np.array_equal(value, theirs[name]) for name, value in ours.items())
    assert first.checks[-1] != first.checks[0]


def test_the_first_part_trains_biases_and_the_last_layer_alone(base, site_bank):
    network = weights.trainable_network(base)
    settings = replace(FAST, steps=60, first_share=1.0)
    tuned = tune(network, site_bank, replay.replay_bank(CONFIG), CONFIG, settings)
    before, after = weights.weights_of(network), weights.weights_of(tuned.network)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert "last.weight" in changed
    assert {name for name in changed if not name.endswith("bias")} == {"last.weight"}


def test_no_improvement_gives_the_base_back(base, site_bank):
    network = weights.trainable_network(base)
    settings = replace(FAST, steps=40, check_every=2, patience=3, first_rate=50.0)
    tuned = tune(network, site_bank, replay.replay_bank(CONFIG), CONFIG, settings)
    assert (tuned.best_step, tuned.stopped) == (0, "patience")
    assert tuned.steps == 6
    after = weights.weights_of(tuned.network)
    assert all(np.array_equal(value, after[name]) for name, value in weights.weights_of(network).items())


def test_replay_is_synthetic_and_fits_any_frame():
    default = find_model("flairseg2d-v1.0").pipeline
    bank = replay.replay_bank(default)
    assert bank.images.shape == (replay.LEARNT, *default.frame_size)
    assert replay.replay_bank(CONFIG).images.shape == (replay.LEARNT, *CONFIG.frame_size)
    images, labels = replay.check_slices(default)
    assert len(images) == replay.CHECKED
    assert {1, 2, 3} <= set(np.unique(labels))
    assert images[labels == 3].mean() > images[labels == 1].mean() + 2
    assert {1, 2, 3} <= set(np.unique(bank.labels))
    assert np.abs(np.diff(images[:, :40, 0], axis=1)).max() > 0, "air of whole heads has noise"
    small, there = replay.check_slices(CONFIG)
    assert small[there == 3].mean() > small[there == 1].mean() + 2


def test_replay_is_packed_without_loss_but_for_its_steps():
    images = np.random.default_rng(3).integers(0, 256, (2, 9, 7)).astype(np.uint8)
    again = replay.unpacked(replay.packed(images))
    assert np.abs(again.astype(int) - images).max() <= replay.STEP // 2 + 1
    assert np.array_equal(replay.unpacked(replay.packed(again)), again)


def test_replay_noise_leaves_what_was_stripped():
    images = np.full((3, 40, 40), 109, np.uint8)  # brain's median
    images[:, :10] = replay.STRIPPED
    shown = replay.noisy(images)
    assert np.array_equal(shown, replay.noisy(images)), "the same each time"
    assert len(np.unique(shown[:, :10])) == 1
    spread = shown[:, 10:].astype(float).std(axis=(1, 2)) * 14 / 255 * 0.2
    assert ((spread > 0.004) & (spread < 0.15)).all()
    assert abs(shown[:, 10:].astype(float).mean() - 109) < 3


def test_the_last_check_not_worse_than_the_base_is_kept_not_the_best(base, site_bank, monkeypatch):
    network = weights.trainable_network(base)
    scores = iter([0.0, -0.9, -0.2, 0.5])
    monkeypatch.setattr(tuning, "_check", lambda *_: next(scores))
    settings = replace(FAST, steps=12, check_every=4)
    tuned = tune(network, site_bank, replay.replay_bank(CONFIG), CONFIG, settings)
    assert tuned.best_step == 8


# --- proof ------------------------------------------------------------------------------------------------------------


def figures_with(dice: float) -> dict[str, float]:
    return {**dict.fromkeys(proof.FIGURES, math.nan), "lesion_dice": dice}


def compared(before, after, patients=None):
    names = patients or [f"p{n}" for n in range(len(before))]
    return proof.compare([figures_with(x) for x in before], [figures_with(x) for x in after], names, 0)


def test_figures_of_a_case_leave_out_what_was_not_reviewed():
    reference = np.zeros((2, 10, 10), np.uint8)
    reference[:, :4, :4] = 3
    reference[:, 6:, 6:] = 1
    result = reference.copy()
    result[:, 3, :4] = 0
    result[:, 0, 9] = 1
    figures = proof.case_figures(result, reference, (3,), 0.5)
    assert figures["lesion_dice"] == pytest.approx(2 * 24 / (24 + 32))
    assert figures["edit_voxels"] == 8
    assert figures["lesion_volume_error_ml"] == 4.0
    assert math.isnan(figures["ventricles_dice"])
    assert proof.case_figures(result, reference, (1, 3), 0.5)["edit_voxels"] == 10


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ([0.5] * 5, [0.6, 0.62, 0.58, 0.61, 0.6], proof.BETTER),
        ([0.5] * 4, [0.6, 0.62, 0.58, 0.61], proof.NO_DIFFERENCE),  # too few patients to tell
        ([0.5] * 6, [0.7, 0.4, 0.7, 0.4, 0.7, 0.4], proof.NO_DIFFERENCE),
        ([0.5] * 5, [0.504, 0.505, 0.503, 0.506, 0.504], proof.NO_DIFFERENCE),  # too small to be of use
        ([0.5] * 5, [0.4, 0.42, 0.41, 0.38, 0.4], proof.WORSE),
        ([0.5] * 3, [0.4, 0.42, 0.41], proof.WORSE),
    ],
)
def test_the_verdict(before, after, word):
    assert proof.verdict(compared(before, after), []).verdict == word


@pytest.mark.parametrize(
    ("final", "word", "why"),
    [
        (Training(800, 400, "steps"), proof.BETTER, "rose"),
        (Training(800, 400, "patience"), proof.BETTER, "rose"),
        (Training(800, 0, "steps"), proof.NO_DIFFERENCE, "kept the base"),
        (Training(300, 300, "time"), proof.NO_DIFFERENCE, "cut short after 300 steps"),
    ],
)
def test_what_the_folds_gained_is_not_said_of_a_model_that_was_trained_otherwise(final, word, why):
    found = compared([0.5] * 5, [0.6, 0.62, 0.58, 0.61, 0.6])
    judged = proof.verdict(found, [], final)
    assert judged.verdict == word
    assert why in judged.reasons[0]


def test_volumes_alone_prove_nothing():
    """Where nobody has lesions Dice is undefined; an error in ml is not to be judged by limits of Dice."""
    unknown = dict.fromkeys(proof.FIGURES, math.nan)
    base = [unknown | {"lesion_volume_error_ml": 0.5}] * 5
    ours = [unknown | {"lesion_volume_error_ml": error} for error in (0.1, 0.11, 0.12, 0.1, 0.1)]
    found = proof.compare(base, ours, [f"p{n}" for n in range(5)], 0)
    assert [one.key for one in found] == ["lesion_volume_error_ml"]
    assert proof.verdict(found, []) == Judgement(proof.NO_DIFFERENCE, ("Nothing could be compared.",))


def test_what_was_forgotten_makes_it_worse():
    found = compared([0.5] * 5, [0.6, 0.62, 0.58, 0.61, 0.6])
    assert proof.verdict(found, [Harm("phantom", 0.80, 0.795)]).verdict == proof.BETTER
    judged = proof.verdict(found, [Harm("phantom", 0.80, 0.78)])
    assert judged.verdict == proof.WORSE
    assert "phantom" in judged.reasons[0]


def test_patients_count_once_and_p_is_that_of_all_sign_flips():
    (lesion,) = compared([0.5] * 6, [0.6, 0.7, 0.8, 0.6, 0.4, 0.55], ["a", "a", "a", "b", "c", "d"])
    assert lesion.patients == 4
    assert lesion.gain == pytest.approx(np.mean([0.2, 0.1, -0.1, 0.05]))
    gains = np.array([0.2, 0.1, -0.1, 0.05])
    flips = np.array([gains @ signs for signs in itertools.product((-1, 1), repeat=4)])
    assert lesion.p == pytest.approx((flips >= gains.sum() - 1e-12).mean())


def test_patients_are_never_in_their_own_fold():
    for count in (3, 6, 7, 23):
        patients = [f"p{n % count}" for n in range(2 * count)]
        folds = proof.folds_of(patients, 1)
        assert sorted(itertools.chain(*folds)) == sorted(set(patients))
        assert len(folds) == (count if count <= 6 else 5)


# --- the whole --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site"), 3, gain=0.7)


def run(site, output, base, settings=FAST, **arguments):
    training = TrainingOptions(1e4, settings=settings)
    return adapt(site, ModelTarget(output), base.path.parent, PATIENTS, training, **arguments)


@pytest.mark.slow
def test_a_site_whose_lesions_are_fainter_gets_a_model_that_finds_them(site, base, tmp_path, known_before, monkeypatch):
    stages = []
    done = run(site, tmp_path / "out", base, progress=lambda fraction, stage: stages.append((fraction, stage)))
    assert done.verdict != proof.WORSE, done.reasons
    assert next(one for one in done.comparisons if one.key == "lesion_dice").gain > 0.3
    assert not any(one.harmed for one in done.harms)
    fractions = [fraction for fraction, _ in stages]
    assert fractions == sorted(fractions)
    assert list(dict.fromkeys(stage for _, stage in stages)) == ["check", "base", "prove", "train", "no-harm", "write"]
    # A model like any other, that says where it comes from, and no name in anything that was written.
    card = load_card(tmp_path / "out")
    volume, labels = site_head(9, gain=0.7)
    by_card, by_base = (segment(volume, one) for one in (card, base))
    ours, before = by_card.labels, by_base.labels
    assert (ours == 3)[labels == 3].mean() > (before == 3)[labels == 3].mean() + 0.2
    # Another patient of the site is like those that it was adapted to, and the card says what these were.
    assert by_card.adaptation.like
    low, high = scope_of(card).seen["slice_mm"]
    assert 7.5 < low <= high < 8.7
    made = card.raw["adaptation"]
    assert made["parent"] == {"id": base.id, "sha256": base.sha256}
    assert made["data"]["cases"] == made["data"]["patients"] == 3
    # Three patients are too few to choose another limit than the parent's.
    assert made["lesion_limit"] == {"value": 0.0, "parent": 0.0, "lesions": 12, "fitted": False}
    assert card.pipeline == base.pipeline
    # Drift is judged against what this model makes of its cases, and not against what the base made of them.
    cases = [checks.examine(case, base.pipeline) for case in read_cases(site, PATIENTS)[0]]
    by_base = [
        case_features(segment(reading.load(one.case).volume, base), one.images, one.masks)["lesion_log_ml"]
        for one in cases
    ]
    assert made["reference"]["cases"] == 3
    assert made["reference"]["figures"]["lesion_log_ml"]["mean"] > np.mean(by_base) + 0.2
    for path in (tmp_path / "out").iterdir():
        if path.suffix in (".json", ".html"):
            assert "p3" not in path.read_text(encoding="utf-8").replace("tp3", "")
    page = (tmp_path / "out" / "proof.html").read_text(encoding="utf-8")
    assert done.verdict in page
    assert "<script" not in page
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "card.json", "model.onnx", "proof.html", "proof.json",
    ]  # fmt: skip
    with pytest.raises(OutputError):
        run(site, tmp_path / "out", base)
    # Whatever is changed in the card afterwards is noticed.
    changed = json.loads((tmp_path / "out" / "card.json").read_text())
    changed["adaptation"]["data"]["patients"] = 50
    (tmp_path / "out" / "card.json").write_text(json.dumps(changed))
    with pytest.raises(InvalidModelError, match="altered"):
        load_card(tmp_path / "out")


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_with_the_same_result(site, base, tmp_path, known_before, monkeypatch):
    short = replace(FAST, steps=10, check_every=10)
    whole = run(site, tmp_path / "whole", base, settings=short)
    place = []
    with pytest.raises(Cancelled):
        run(
            site, tmp_path / "out", base, settings=short, progress=lambda fraction, stage: place.append(fraction),
            cancel=lambda: bool(place) and place[-1] > 0.5,
        )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [FOLDER]
    finished = {path.name for path in (tmp_path / "out" / FOLDER).glob("*.json")}
    assert {"base-1.json", "plan.json", "fold-1.json"} <= finished
    assert "all.json" not in finished
    took = sum(json.loads(path.read_text())["seconds"] for path in (tmp_path / "out" / FOLDER).glob("[bfp]*.json"))
    trained = []
    really = trainer.tune
    monkeypatch.setattr(trainer, "tune", lambda *a, **k: trained.append(1) or really(*a, **k))
    # The last step of all fails: nothing that was trained is lost with it.
    with monkeypatch.context() as patched:
        patched.setattr(running, "write_page", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OutputError):
            run(site, tmp_path / "out", base, settings=short)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [FOLDER]
    again = run(site, tmp_path / "out", base, settings=short)
    assert len(trained) == 3  # of four: the first fold was finished
    assert again.minutes > took / 60, "the minutes of the parts that were kept count"
    assert again.card.sha256 == whole.card.sha256
    assert repr(again.comparisons) == repr(whole.comparisons)  # NaN differs from itself


def test_one_run_at_a_time_fills_a_folder_and_other_inputs_begin_anew(tmp_path):
    short, long = (RunKey("cases", "base", 0, minutes, "settings", "0", 3) for minutes in (20, 60))
    plans = [Plan(steps, 5, 0.1, "CPU") for steps in (100, 200, 300)]
    with Work(tmp_path, short) as first:
        assert first.once("plan", Plan, lambda: plans[0]) == plans[0]
        with pytest.raises(RunInProgressError, match=str(os.getpid())):
            Work(tmp_path, short)
        assert (tmp_path / FOLDER / "plan.json").exists()
    with Work(tmp_path, short) as again:
        assert again.once("plan", Plan, lambda: plans[1]) == plans[0]
        assert again.seconds > 0
    with Work(tmp_path, long) as other:
        assert other.once("plan", Plan, lambda: plans[2]) == plans[2]
        assert other.seconds == 0
        other.remove()
    assert not (tmp_path / FOLDER).exists()


def test_more_cases_than_are_used_are_told(base, tmp_path, monkeypatch):
    for n in range(1, 5):
        write_case(tmp_path / "cases", f"p{n}", *site_head(n), times={"decided_at": f"2026-01-0{5 - n}"})
    monkeypatch.setattr(running, "MOST_CASES", 2)
    with pytest.raises(TooFewCasesError, match="2 surplus"):
        run(tmp_path / "cases", tmp_path / "out", base)


class Stop(Exception):
    pass


def test_what_most_masks_share_is_stated_before_the_training(base, tmp_path):
    for number in (1, 2, 3):
        volume, labels = site_head(number)
        around = ndimage.binary_dilation(labels == 3, np.ones((1, 3, 3))) & (labels == 0)
        write_case(tmp_path / "cases", f"p{number}", volume, np.where(around, 3, labels))
    told = []

    def stop(warning):
        told.append(warning)
        raise Stop

    for accepted in ((), ("lesions-drawn-wide",)):
        training = TrainingOptions(1e4, settings=FAST, accepted=accepted, notify=stop)
        with pytest.raises(Stop):
            adapt(tmp_path / "cases", ModelTarget(tmp_path / "out"), base.path.parent, PATIENTS, training)
    assert [one.code for one in told] == ["lesions-drawn-wide"] * 2
    assert told[0].fields["patients"] == 3
    assert told[0].fields["share"] > 0.3
    # What the base made of the cases is kept, and which statement is accepted does not begin the run anew.
    kept = {path.name for path in (tmp_path / "out" / FOLDER).glob("*.json")}
    assert kept == {"key.json", "base-1.json", "base-2.json", "base-3.json"}


def test_too_few_patients_are_refused_and_told_why(base, tmp_path):
    volume, labels = site_head(1)
    for n in range(1, 6):
        write_case(tmp_path / "cases", f"p{n}", volume, labels, times={"decided_at": f"2026-01-0{n}"})
    with pytest.raises(TooFewCasesError, match="4 duplicate") as caught:
        run(tmp_path / "cases", tmp_path / "out", base)
    assert caught.value.fields["patients"] == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("reason", ["base", "time"])
def test_a_run_that_cannot_begin_leaves_no_folder(reason, base, tmp_path, monkeypatch):
    for n in range(1, 4):
        write_case(tmp_path / "cases", f"p{n}", *site_head(n))
    target = ModelTarget(tmp_path / "out")
    if reason == "base":
        with pytest.raises(weights.NotTrainableError):
            adapt(tmp_path / "cases", target, "s3-unet-v1.0")
    else:
        with pytest.raises(running.TimeTooShortError) as caught:
            adapt(tmp_path / "cases", target, base.path.parent, PATIENTS, TrainingOptions(1e-3))
        assert caught.value.fields["minutes"] >= 1
    assert not target.folder.exists()


def test_a_model_that_has_seen_the_cases_is_no_base(base, tmp_path, monkeypatch):
    adapted = tmp_path / "models" / "site-v1.0"
    shutil.copytree(base.path.parent, adapted)
    raw = json.loads((adapted / "card.json").read_text())
    raw |= {"id": "site-v1.0", "version": "1.0"}
    raw["adaptation"] = {
        "parent": {"id": base.id, "sha256": base.sha256}, "verdict": "better", "seed": 0, "minutes": 1.0, "data": {},
        "no_harm": [],
    }  # fmt: skip
    raw["adaptation"]["digest"] = card_digest(raw)
    (adapted / "card.json").write_text(json.dumps(raw))
    with pytest.raises(AdaptedBaseError, match="site-v1"):
        adapt(tmp_path, ModelTarget(tmp_path / "out"), adapted)
    monkeypatch.setenv("FLAIRSEG_MODELS", str(base.path.parent))
    assert published_base(load_card(adapted), stated=False).id == base.id
    raw["adaptation"]["parent"]["sha256"] = "0" * 64
    raw["adaptation"]["digest"] = card_digest(raw)
    (adapted / "card.json").write_text(json.dumps(raw))
    with pytest.raises(InvalidModelError, match=base.id):
        published_base(load_card(adapted), stated=False)
