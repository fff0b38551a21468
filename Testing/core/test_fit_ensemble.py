"""Fitting an ensemble: the search against brute force and against the shipped vote, nesting, and the card it writes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flairseg.files.nifti import write_nifti
from flairseg.labels import LESION
from flairseg.models import find_model, load_card
from flairseg.segmentation.decoding import classify
from flairseg.segmentation.ensemble import Vote
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.postprocessing import grow_lesions
from scipy import ndimage

from Testing.core.tiny import LESION_ONLY, make_head, make_model

training = pytest.importorskip("training.fit_ensemble", reason="PyTorch is not installed: flairseg[training]")
from training import vote_search  # noqa: E402
from training.vote_search import THRESHOLDS, Counter, Patient, fit, voted  # noqa: E402

SHAPE = (6, 24, 20)
KNOWN = [(1, 2, 3), (3,), (1, 2, 3)]


def truth_of(seed: int) -> np.ndarray:
    """Ventricles in the middle with a rim, and some lesions."""
    rng = np.random.default_rng(seed)
    out = np.zeros(SHAPE, np.uint8)
    out[1:5, 8:16, 7:13] = 2
    out[1:5, 9:15, 8:12] = 1
    for _ in range(5):
        k, j, i = rng.integers([0, 0, 0], [5, 21, 17])
        out[k : k + 2, j : j + 3, i : i + 3][out[k : k + 2, j : j + 3, i : i + 3] == 0] = 3
    return out


def member_of(truth: np.ndarray, noise: float, seed: int, classes=(1, 2, 3), sure: float = 2.0) -> np.ndarray:
    """Probabilities of a member: right up to noise on the logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, noise, (4, *SHAPE))
    for value in range(4):
        logits[value][truth == value] += sure
    logits[0] += 1.0
    for value in {1, 2, 3} - set(classes):
        logits[value] = -20
    out = np.exp(logits - logits.max(axis=0))
    return (out / out.sum(axis=0)).astype(np.float32)


def patient(seed: int, noises=(0.8, 1.5, 0.8)) -> tuple[Patient, list[np.ndarray], np.ndarray]:
    truth = truth_of(seed)
    members = [
        member_of(truth, noise, 100 * seed + n, classes)
        for n, (noise, classes) in enumerate(zip(noises, KNOWN, strict=True))
    ]
    return Patient.of(f"p{seed}", members, truth, 5.0), members, truth


def dice(found: np.ndarray, real: np.ndarray) -> float:
    total = int(found.sum()) + int(real.sum())
    return 2 * int((found & real).sum()) / total if total else 1.0


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [patient(seed)[0] for seed in range(4)]


@pytest.fixture(scope="module")
def fitted(patients):
    return fit(patients, KNOWN)


# --- counting


def test_the_profile_is_dice_on_the_whole_volumes_at_every_threshold():
    made = [patient(seed) for seed in range(3)]
    weights = np.array([0.5, 0.2, 0.3], np.float32)
    owner = np.repeat(np.arange(3), [p.truth.size for p, _, _ in made])
    truth = np.concatenate([p.truth for p, _, _ in made]) == LESION
    chance = weights @ np.concatenate([p.chances[:, LESION] for p, _, _ in made], axis=1)
    profile = Counter(owner, truth).profile(chance)
    for n in (0, 7, 40, len(THRESHOLDS) - 1):
        expected = [
            dice(np.tensordot(weights, np.stack([m[LESION] for m in members]), 1) >= np.float32(THRESHOLDS[n]), t == 3)
            for _, members, t in made
        ]
        assert profile[n] == pytest.approx(np.mean(expected), abs=1e-9)


def test_the_vote_on_single_voxels_is_the_shipped_one():
    _, members, _ = patient(5)
    weights = [{1: 0.6, 2: 0.1, 3: 0.5}, {3: 0.2}, {2: 0.9, 3: 0.3}]
    vote = Vote(SHAPE)
    for chances, votes in zip(members, weights, strict=True):
        vote.add(chances, votes)
    ours = voted(np.stack(members).reshape(3, 4, -1), weights).reshape(4, *SHAPE)
    np.testing.assert_allclose(ours, vote.result().probabilities.astype(np.float32), atol=1e-3)


def test_what_is_cut_away_matters_to_nobody():
    one, members, truth = patient(6)
    everything = np.stack(members).reshape(3, 4, -1)
    weights = [{1: 0.6, 2: 0.1, 3: 0.5}, {3: 0.2}, {1: 0.1, 2: 0.9, 3: 0.3}]
    thresholds = {1: float(THRESHOLDS[0]), 2: float(THRESHOLDS[0]), 3: float(THRESHOLDS[0])}
    whole = classify(voted(everything, weights), thresholds)
    kept = classify(voted(one.chances, weights), thresholds)
    assert kept.size < whole.size
    for value in (1, 2, 3):
        assert np.count_nonzero(kept == value) == np.count_nonzero(whole == value)
        assert np.count_nonzero(one.truth == value) == np.count_nonzero(truth == value)
    assert one.dense(one.truth).sum() == truth.sum()


def test_a_plateau_is_preferred_to_a_peak():
    profile = np.full(THRESHOLDS.size, 0.5)
    profile[10] = 0.71
    profile[38:43] = 0.7
    assert int(np.argmax(vote_search.plateau(profile))) == 40
    assert vote_search.plateau(np.full(9, 0.3)) == pytest.approx(0.3)


def test_what_nobody_shows_is_refused():
    with pytest.raises(ValueError, match="are empty"):
        Patient.of("empty", [np.zeros((4, 2, 2, 2), np.float32)], np.zeros((2, 2, 2), np.uint8), 1.0)


# --- the search


def test_the_search_is_as_good_as_brute_force(patients, fitted):
    lesions = [np.stack([m[LESION] for m in p.chances]) for p in patients]
    best = 0.0
    for a in np.linspace(0, 1, 9):
        for b in np.linspace(0, 1 - a, 9):
            w = np.array([a, b, 1 - a - b], np.float32)
            for t in THRESHOLDS[::4]:
                best = max(
                    best, np.mean([dice(w @ x >= t, p.truth == 3) for x, p in zip(lesions, patients, strict=True)])
                )
    assert fitted.dice[LESION] > best - 0.015  # plateau and pull cost a little
    assert sum(one[LESION] for one in fitted.weights) == pytest.approx(1)
    alone = [
        max(np.mean([dice(p.chances[m, 3] >= t, p.truth == 3) for p in patients]) for t in THRESHOLDS) for m in range(3)
    ]
    assert fitted.dice[LESION] > max(alone)


def test_a_member_of_noise_has_little_weight_and_equal_ones_share(patients):
    noisy = []
    for seed, one in enumerate(patients):
        chances = one.chances.copy()
        chances[1, LESION] = np.random.default_rng(seed).random(one.truth.size) * 0.9
        noisy.append(replace(one, chances=chances))
    weights = [one[LESION] for one in fit(noisy, [(3,)] * 3).weights]
    assert weights[1] < 0.15
    same = [replace(one, chances=np.stack([one.chances[0]] * 3)) for one in patients]
    weights = [one[LESION] for one in fit(same, [(3,)] * 3).weights]
    assert max(weights) - min(weights) < 0.25


def test_all_classes_are_fitted_as_they_are_decided(patients, fitted):
    assert [set(one) for one in fitted.weights] == [{1, 2, 3}, {3}, {1, 2, 3}]
    assert set(fitted.thresholds) == {1, 2, 3}
    if fitted.lesion_growth == 0:
        for value in (1, 2, 3):
            found = [
                dice(classify(voted(p.chances, fitted.weights), fitted.thresholds) == value, p.truth == value)
                for p in patients
            ]
            assert np.mean(found) == pytest.approx(fitted.dice[value], abs=0.005)
    assert fitted.dice[1] > 0.6
    only_lesions = fit([replace(p, chances=p.chances[1:2]) for p in patients], [(3,)])
    assert only_lesions.weights == [{3: 1.0}]
    assert set(only_lesions.thresholds) == {3}
    with pytest.raises(ValueError, match="member"):
        fit(patients, [(1, 2), (1, 2), (1, 2)])


def test_growth_is_taken_where_it_gains():
    """Lesions with a sure core and a soft rim, among soft specks that are none."""
    made = []
    for seed in range(3):
        truth, chance = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32)
        for j in (3, 14):
            truth[1:4, j : j + 5, 3:8] = 3
            chance[1:4, j : j + 5, 3:8] = 0.55
            chance[2, j + 1 : j + 4, 4:7] = 0.95
        for i in (12, 16):
            chance[1:4, 2 + seed : 22 : 5, i : i + 2] = 0.6
        member = np.stack([1 - chance, np.zeros_like(chance), np.zeros_like(chance), chance])
        made.append((Patient.of(str(seed), [member], truth, 5.0), chance, truth))
    fitted = fit([p for p, _, _ in made], [(3,)])
    assert 0 < fitted.lesion_growth <= 0.55
    assert fitted.thresholds[LESION] > 0.6
    _, chance, truth = made[0]
    core = np.where(chance >= fitted.thresholds[LESION], 3, 0).astype(np.uint8)
    assert dice(grow_lesions(core, chance, fitted.lesion_growth) == 3, truth == 3) == pytest.approx(1)
    assert fitted.dice[LESION] == pytest.approx(1)


# --- files in, card out


CASES = [f"c{number}" for number in range(4)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Predictions of four small heads by three systems, and their models, as the other commands leave them."""
    folder = tmp_path_factory.mktemp("fit")
    make_model(folder / "models", "s3-unet-v1.0", {**LESION_ONLY, "input_slices": 1}, classes=(3,), lesion_bias=1.5)
    make_model(folder / "models", "flairseg2d-v1.0")
    make_model(folder / "models", "s1-pix2pix-v1.0", {"denoise": "s1"}, lesion_bias=-1.0)
    rng = np.random.default_rng(0)
    for number, name in enumerate(CASES):
        head, truth = make_head((8, 44, 38), (5, 5, 16), noise=3.0 + number, name=name)
        truth[ndimage.binary_dilation(truth == 1) & (truth == 0)] = 2
        (folder / "predictions" / "references").mkdir(parents=True, exist_ok=True)
        write_nifti(folder / "predictions" / "references" / f"{name}_labels.nii.gz", truth, head)
        for recipe in ("flairseg2d", "s3-unet", "s1-pix2pix"):
            place = folder / "predictions" / recipe
            place.mkdir(exist_ok=True)
            result = segment(head, folder / "models" / f"{recipe}-v1.0", "cpu")
            write_nifti(place / f"{name}_labels.nii.gz", result.labels, head)
            noisy = result.probabilities.astype(np.float32) + rng.normal(0, 0.02, result.probabilities.shape)
            noisy = np.clip(noisy, 0, 1)
            if recipe == "s3-unet":
                noisy[1:3] = 0
            noisy /= noisy.sum(axis=0)
            write_nifti(place / f"{name}_probabilities.nii.gz", noisy.astype(np.float32), head, np.float32)
    return folder


@pytest.fixture
def runs(made, tmp_path, monkeypatch) -> tuple[Path, Path]:
    """(predictions, models) that a test may change."""
    shutil.copytree(made, tmp_path / "runs")
    monkeypatch.setenv("FLAIRSEG_DATA", str(tmp_path / "none"))
    return tmp_path / "runs" / "predictions", tmp_path / "runs" / "models"


def run(monkeypatch, predictions: Path, models: Path, *more: str) -> None:
    arguments = ["--predictions", str(predictions), "--models", str(models), "--folds", "2", *more]
    monkeypatch.setattr("sys.argv", ["fit_ensemble", *arguments])
    training.main()


def test_the_command(runs, monkeypatch, capsys):
    predictions, models = runs
    seen = []
    real = training.fit
    monkeypatch.setattr(
        training, "fit", lambda patients, *more: seen.append([p.name for p in patients]) or real(patients, *more)
    )
    run(monkeypatch, predictions, models)
    said = capsys.readouterr().out
    # Nested: nobody's predictions were fitted on him or her.
    folds = training.folds(CASES, 2)
    assert len(seen) == 3
    for names, fold in zip(seen, folds, strict=False):
        assert not set(names) & set(fold)
        assert len(names) == 2
    assert seen[-1] == CASES
    assert "lesion_dice" in said
    made = {path.name for path in (predictions / "ensemble").iterdir()}
    assert made == {f"{name}_{kind}.nii.gz" for name in CASES for kind in ("labels", "probabilities")}

    monkeypatch.setenv("FLAIRSEG_MODELS", str(models))
    card = find_model("ensemble-v1.0")
    assert {member.id for member in card.members} <= {"flairseg2d-v1.0", "s3-unet-v1.0", "s1-pix2pix-v1.0"}
    for member in card.members:
        assert all(0 < weight <= 1 for weight in member.weights.values())
        assert set(member.weights) <= set(load_card(models / member.id).classes)
    assert card.raw["results"][0]["figures"]["lesion_dice"]["mean"] > 0.5
    assert card.raw["results"][0]["cases"] == 4
    text = (models / "ensemble-v1.0" / "card.md").read_text()
    assert all(f"[{member.id}]" in text for member in card.members)
    assert card.sha256 in text
    # What it writes runs.
    result = segment(make_head()[0], card, "cpu")
    assert (result.labels == LESION).any()


def test_predictions_of_the_ensemble_are_the_shipped_pipelines(runs, monkeypatch):
    """The same members, the same weights: voting on files and running the card give the same labels."""
    predictions, models = runs
    head, _ = make_head((8, 44, 38), (5, 5, 16), noise=3.0, name="c0")
    voters = training.find_voters(predictions, models)
    for voter in voters:
        result = segment(head, models / voter.id, "cpu")
        write_nifti(predictions / voter.recipe / "c0_probabilities.nii.gz", result.probabilities, head, np.float32)
    weights = [{value: 0.4 + 0.1 * value for value in voter.classes} for voter in voters]
    fitted = vote_search.Fitted(weights, {1: 0.4, 2: 0.6, 3: 0.35}, 0.2)
    clean_up = {"fill_holes": True, "min_lesion_mm3": 500.0}
    _, labels, _ = training.vote_on(predictions, "c0", voters, fitted, clean_up, None)
    fields = json.loads((training.CARDS / "ensemble-v1.0.json").read_text())
    nested = [training.Fold(["c0"], fitted)]
    figures = {"c0": training.compare(labels, labels, (16, 5, 5))}
    card = training.make_card({**fields, "clean_up": clean_up}, voters, fitted, nested, figures, "command")
    folder = models / "ensemble-v1.0"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps(card))
    shipped = segment(head, folder, "cpu").labels
    assert len(np.unique(labels)) >= 3
    assert (labels != shipped).mean() < 1e-3


def test_what_cannot_be_fitted_is_told(runs, monkeypatch, tmp_path):
    predictions, models = runs
    with pytest.raises(ValueError, match="s2-nnunet"):
        training.find_voters(predictions, models, ["s2-nnunet", "s3-unet"])
    (predictions / "s3-unet" / "c1_probabilities.nii.gz").unlink()
    assert [voter.recipe for voter in training.find_voters(predictions, models)] == ["s1-pix2pix", "flairseg2d"]
    with pytest.raises(SystemExit, match="two systems"):
        run(monkeypatch, predictions, models, "--recipe", "flairseg2d")
    with pytest.raises(SystemExit, match="no references"):
        run(monkeypatch, tmp_path / "nowhere", models)
    (predictions / "references" / "104252_labels.nii.gz").write_bytes(b"")
    with pytest.raises(SystemExit, match="held back"):
        run(monkeypatch, predictions, models)
