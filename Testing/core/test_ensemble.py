"""Ensembles: the card and its members, the vote, what the pipeline makes of them, and how disagreement travels."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flairseg import errors
from flairseg.cli import app
from flairseg.image.packed import CompactAnswer
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.lesions.components import find_lesions
from flairseg.models import find_model, list_models, load_card, store
from flairseg.models.install import install_model
from flairseg.models.store import networks
from flairseg.progress import CancelToken
from flairseg.segmentation import inference
from flairseg.segmentation.decoding import classify
from flairseg.segmentation.ensemble import Vote
from flairseg.segmentation.pipeline import segment
from flairseg.worker.codec import decode_value, encode_value
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from Testing.core.tiny import LESION_ONLY, make_ensemble, make_head, make_model, to_nifti

FOUR = {"ventricles": 1.0, "normal_wmh": 1.0, "lesion": 1.0}
ALL = {VENTRICLES: 1.0, NORMAL_WMH: 1.0, LESION: 1.0}
WEIGHTS = {
    "tiny-v1.0": {"ventricles": 1.0, "normal_wmh": 0.5, "lesion": 2.0},
    "eager-v1.0": {"lesion": 1.0},
    "wide-v1.0": {"ventricles": 0.5, "normal_wmh": 1.0, "lesion": 1.0},
}


def make_members(folder: Path) -> Path:
    """Two models of four classes and one that knows lesions alone, all with other preprocessing."""
    make_model(folder)
    make_model(folder, "eager-v1.0", {**LESION_ONLY, "input_slices": 1}, classes=(3,), lesion_bias=1.5)
    make_model(folder, "wide-v1.0", {"normalisation": "brain-median", "denoise": "s1"}, lesion_bias=-1.0)
    return folder


@pytest.fixture(scope="module")
def small():
    """A head of few voxels, so that a case takes a moment."""
    return make_head((12, 68, 58), (3.2, 3.2, 10.7))[0]


@pytest.fixture(scope="module")
def small_file(tmp_path_factory, small) -> Path:
    return to_nifti(small, tmp_path_factory.mktemp("small") / "head.nii.gz")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return make_members(tmp_path_factory.mktemp("ensembles"))


@pytest.fixture(scope="module")
def ensemble(models) -> Path:
    return make_ensemble(models, WEIGHTS, pipeline={"thresholds": {"3": 0.4}})


@pytest.fixture(scope="module")
def voted(ensemble, small):
    return segment(small, ensemble, "cpu")


@pytest.fixture
def own_models(tmp_path) -> Path:
    """A copy that a test may break."""
    return make_members(tmp_path / "models")


# --- the card


def test_a_card_names_its_members_and_has_no_weights_of_its_own(ensemble, models):
    card = load_card(ensemble)
    assert [member.id for member in card.members] == list(WEIGHTS)
    assert card.members[1].weights == {LESION: 1.0}
    assert card.path == ensemble / "card.json"
    assert card.classes == (1, 2, 3)
    assert [network.id for network in networks(card)] == list(WEIGHTS)
    assert load_card(models / "eager-v1.0").classes == (3,)
    assert networks(load_card(models / "tiny-v1.0"))[0].id == "tiny-v1.0"


def altered(folder: Path, change) -> Path:
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize("without_jsonschema", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["ensemble"]["members"].pop(0) and card["ensemble"]["members"].pop(0),
        lambda card: card["ensemble"]["members"][0]["weights"].update(lesion=-1),
        lambda card: card["ensemble"]["members"][0]["weights"].update(lesion="much"),
        lambda card: card["ensemble"]["members"][0]["weights"].update(tumour=1),
        lambda card: card["ensemble"]["members"][0].update(id="../tiny-v1.0"),
        lambda card: card["ensemble"]["members"][0].update(id="wide-v1.0"),
        lambda card: card["ensemble"]["members"][0].pop("sha256"),
        lambda card: card["ensemble"].pop("sha256"),
        lambda card: card.update(weights={"file": "model.onnx", "sha256": "0" * 64}),
        lambda card: card.pop("ensemble"),
        lambda card: card["pipeline"].update(normalisation="zscore"),
        lambda card: [member["weights"].update(lesion=0) for member in card["ensemble"]["members"]],
        lambda card: card.update(ensemble=[]),
    ],
)
def test_cards_that_make_no_sense(own_models, monkeypatch, change, without_jsonschema):
    if without_jsonschema:
        monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    with pytest.raises(errors.InvalidModelError, match="not valid") as caught:
        load_card(altered(make_ensemble(own_models, WEIGHTS), change), verify=False)
    assert caught.value.advice


def test_altered_weights_of_the_vote_are_an_error(own_models):
    folder = make_ensemble(own_models, WEIGHTS)
    altered(folder, lambda card: card["ensemble"]["members"][0]["weights"].update(lesion=2.5))
    with pytest.raises(errors.InvalidModelError, match=r"vote-v1\.0 were altered"):
        load_card(folder)


def test_a_member_that_is_missing_is_named(own_models, small):
    folder = make_ensemble(own_models, WEIGHTS)
    shutil.rmtree(own_models / "eager-v1.0")
    with pytest.raises(errors.ModelNotFoundError, match=r"eager-v1\.0 is missing, a member of vote-v1\.0") as e:
        segment(small, folder, "cpu")
    assert "Install eager-v1.0 first" in e.value.advice
    make_model(own_models, "eager-v1.0", {**LESION_ONLY, "input_slices": 1}, classes=(3,), lesion_bias=1.5)
    (own_models / "eager-v1.0" / "model.onnx").unlink()
    with pytest.raises(errors.ModelNotFoundError, match=r"eager-v1\.0 is missing"):
        load_card(folder)


def test_a_member_that_is_another_one_or_damaged_is_named(own_models):
    folder = make_ensemble(own_models, WEIGHTS)
    make_model(own_models, "eager-v1.0", {**LESION_ONLY, "input_slices": 1}, classes=(3,), lesion_bias=2.5)
    with pytest.raises(errors.InvalidModelError, match=r"eager-v1\.0 is not the one that vote-v1\.0 was made with"):
        load_card(folder)
    with (own_models / "eager-v1.0" / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(errors.InvalidModelError, match=r"eager-v1\.0, a member of vote-v1\.0, cannot be used"):
        load_card(folder)


def test_an_ensemble_is_no_member(own_models):
    inner = make_ensemble(own_models, WEIGHTS, "inner-v1.0")
    folder = make_ensemble(own_models, WEIGHTS)

    def nest(card):
        from flairseg.models.members import digest, members_of

        sha256 = json.loads((inner / "card.json").read_text())["ensemble"]["sha256"]
        card["ensemble"]["members"][0] = {"id": "inner-v1.0", "sha256": sha256, "weights": {"lesion": 1}}
        card["ensemble"]["sha256"] = digest(members_of(card))

    with pytest.raises(errors.InvalidModelError, match="an ensemble itself"):
        load_card(altered(folder, nest))


def test_members_are_found_wherever_models_are(own_models, tmp_path, monkeypatch):
    folder = make_ensemble(own_models, WEIGHTS)
    shutil.move(folder, tmp_path / "alone" / folder.name)
    with pytest.raises(errors.ModelNotFoundError, match="is missing"):
        load_card(tmp_path / "alone" / folder.name)
    monkeypatch.setenv(store.ENVIRONMENT, f"{tmp_path / 'alone'}:{own_models}")
    assert find_model("vote-v1.0").path.parent == tmp_path / "alone" / "vote-v1.0"
    assert "vote-v1.0" in [card.id for card in list_models()]


def test_the_list_of_models_shows_ensembles(own_models, monkeypatch):
    make_ensemble(own_models, WEIGHTS)
    monkeypatch.setattr(store, "search_folders", lambda: [("here", own_models)])
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})
    result = runner.invoke(app, ["models"])
    assert result.exit_code == 0
    row = next(line for line in result.output.splitlines() if "vote-v1.0" in line)
    assert "3 models" in row
    assert "intact" in row
    shutil.rmtree(own_models / "eager-v1.0")
    result = runner.invoke(app, ["models"])
    assert result.exit_code == 2
    assert "missing" in next(line for line in result.output.splitlines() if "vote-v1.0" in line)


def test_an_ensemble_is_installed_after_its_members(own_models, tmp_path, monkeypatch):
    folder = make_ensemble(own_models, WEIGHTS)
    cache = tmp_path / "home" / "models"
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    monkeypatch.setattr(store, "user_cache", lambda: cache)
    stick = tmp_path / "stick" / "vote-v1.0"
    shutil.copytree(folder, stick)
    with pytest.raises(errors.ModelNotFoundError, match=r"tiny-v1\.0 is missing"):
        install_model(stick)
    assert not cache.exists()
    for member in WEIGHTS:
        install_model(own_models / member)
    card = install_model(stick)
    assert card.path == cache / "vote-v1.0" / "card.json"
    assert {path.name for path in (cache / "vote-v1.0").iterdir()} == {"card.json"}
    assert install_model(stick / "card.json").path == card.path


def test_an_ensemble_has_no_network(ensemble):
    with pytest.raises(errors.InvalidModelError):
        inference.Generator(load_card(ensemble), "cpu")


# --- the vote


def chances(draw, shape=(2, 3, 2)):
    values = draw(st.lists(st.floats(0.01, 1), min_size=4 * 12, max_size=4 * 12))
    array = np.array(values, np.float32).reshape(4, *shape)
    return array / array.sum(axis=0)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_vote_is_the_weighted_mean_that_it_says(data):
    """Against the definition, written out voxel by voxel in float64."""
    full = [chances(data.draw) for _ in range(2)]
    binary = chances(data.draw)
    binary[0] += binary[1] + binary[2]
    binary[1:3] = 0
    weight = st.sampled_from([0.25, 0.5, 1.0, 3.0])
    votes = [{c: data.draw(weight) for c in (1, 2, 3)} for _ in full] + [{3: data.draw(weight)}]
    vote = Vote((2, 3, 2))
    for answer, weights in zip([*full, binary], votes, strict=True):
        vote.add(answer, weights)
    result = vote.result()
    for index in np.ndindex(2, 3, 2):
        members = [[float(answer[(c, *index)]) for c in range(4)] for answer in [*full, binary]]
        total = sum(w[3] for w in votes)
        lesion = sum(w[3] * m[3] for w, m in zip(votes, members, strict=True)) / total
        shares = []
        for c in range(3):
            own = [w[c] if c else (w[1] + w[2]) / 2 for w in votes[:2]]
            shares.append(sum(w * m[c] for w, m in zip(own, members[:2], strict=True)) / sum(own))
        expected = [(1 - lesion) * share / sum(shares) for share in shares] + [lesion]
        np.testing.assert_allclose(result.probabilities[(slice(None), *index)], expected, atol=2e-3)
        variance = sum(w[3] * (m[3] - lesion) ** 2 for w, m in zip(votes, members, strict=True)) / total
        assert float(result.disagreement[index]) == pytest.approx(2 * variance**0.5, abs=3e-3)
    np.testing.assert_allclose(result.probabilities.astype(np.float32).sum(axis=0), 1, atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_members_that_agree_are_their_answer_and_disagree_nowhere(data):
    answer = chances(data.draw)
    vote = Vote(answer.shape[1:])
    for weight in (0.2, 1.7, 3.0):
        vote.add(answer, {1: weight, 2: 2 * weight, 3: 1.0})
    result = vote.result({3: 0.3})
    np.testing.assert_allclose(result.probabilities, answer, atol=2e-3)
    assert not result.disagreement.any()
    _, second, first = np.sort(answer[:3], axis=0)
    # What is just at the threshold, or equally probable, is decided by rounding.
    clear = (np.abs(answer[3] - 0.3) > 1e-4) & (first - second > 1e-4)
    np.testing.assert_array_equal(result.labels[clear], classify(answer, {3: 0.3})[clear])


def test_the_strongest_disagreement_is_one():
    vote = Vote((1, 1, 2))
    for sure in (0.0, 1.0):
        answer = np.zeros((4, 1, 1, 2), np.float16)
        answer[3], answer[0] = sure, 1 - sure
        vote.add(answer, {3: 1.0})
    result = vote.result()
    assert (result.disagreement == 1).all()
    assert (result.probabilities[3] == 0.5).all()
    assert (result.probabilities[0] == 0.5).all()


def test_a_class_that_nobody_votes_for_is_empty_and_what_a_lesion_leaves_is_background():
    answer = np.zeros((4, 1, 1, 3), np.float32)
    answer[:, 0, 0] = np.array([[0.2, 0.3, 0.1, 0.4], [0, 0, 0, 1], [1, 0, 0, 0]]).T
    vote = Vote((1, 1, 3))
    vote.add(answer, {1: 1.0, 3: 1.0})
    vote.add(np.array([1, 0, 0, 0], np.float32)[:, None, None, None].repeat(3, 3), {3: 1.0})
    result = vote.result().probabilities[:, 0, 0].astype(float)
    # Where the only one who knows is sure of a lesion, it says nothing about the other classes.
    np.testing.assert_allclose(result[:, 1], [0.5, 0, 0, 0.5], atol=1e-3)
    np.testing.assert_allclose(result[:, 0], [0.8 * 0.4, 0.8 * 0.6, 0, 0.2], atol=1e-3)
    np.testing.assert_allclose(result[:, 2], [1, 0, 0, 0], atol=1e-3)


def test_without_a_vote_for_lesions_there_is_no_result():
    with pytest.raises(ValueError, match="lesions"):
        Vote((1, 1, 1)).result()


# --- the pipeline


def test_a_case_is_what_its_members_say(voted, models, small):
    """Each member run by itself, then voted by hand."""
    vote = Vote(small.array.shape)
    for name, weights in WEIGHTS.items():
        alone = segment(small, models / name, "cpu")
        vote.add(alone.probabilities, {c: w for c, w in zip((1, 2, 3), map(weights.get, FOUR), strict=True) if w})
    by_hand = vote.result({3: 0.4})
    np.testing.assert_allclose(voted.probabilities.astype(float), by_hand.probabilities, atol=1e-3)
    np.testing.assert_allclose(voted.disagreement.astype(float), by_hand.disagreement, atol=1e-3)
    assert voted.disagreement.dtype == np.float16
    assert voted.probabilities.dtype == np.float16
    assert (voted.labels == LESION).sum() > 10
    assert (voted.labels == VENTRICLES).sum() > 50
    assert 0 < voted.disagreement[voted.labels == LESION].mean() < 1


@pytest.mark.parametrize("plane", ["sagittal", "coronal"])
def test_members_that_slice_otherwise_land_on_the_same_voxels(own_models, plane):
    head, truth = make_head((34, 44, 36), (4.4, 5.0, 5.0), np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]).astype(float))
    make_model(own_models, "across-v1.0", {"plane": plane})
    folder = make_ensemble(own_models, {"tiny-v1.0": FOUR, "across-v1.0": FOUR}, pipeline={"plane": "axial"})
    result = segment(head, folder, "cpu")
    vote = Vote(head.array.shape)
    for name in ("tiny-v1.0", "across-v1.0"):
        vote.add(segment(head, own_models / name, "cpu").probabilities, ALL)
    by_hand = vote.result()
    np.testing.assert_allclose(result.probabilities.astype(float), by_hand.probabilities, atol=1e-3)
    real = truth == VENTRICLES
    assert (result.labels[real] == VENTRICLES).mean() > 0.85
    assert (result.labels != by_hand.labels).mean() < 0.01  # holes are filled


def test_clean_up_is_the_ensembles_own(own_models, small, voted):
    folder = make_ensemble(own_models, WEIGHTS, pipeline={"thresholds": {"3": 0.4}, "min_lesion_mm3": 1e6})
    assert segment(small, folder, "cpu").lesion_count == 0
    assert voted.lesion_count > 0


def test_progress_seconds_and_warnings(ensemble, small, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    seen = []
    noticed = replace(small, warnings=("Noticed while reading.",))
    result = segment(noticed, ensemble, "cuda", lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    stages = [stage for n, (_, stage) in enumerate(seen) if n == 0 or stage != seen[n - 1][1]]
    assert stages == ["read", *["preprocess", "inference"] * 3, "postprocess"]
    assert all(result.seconds[member] > 0 for member in WEIGHTS)
    assert sum(result.seconds[member] for member in WEIGHTS) < result.seconds["total"]
    assert result.warnings[0] == "Noticed while reading."
    assert len([w for w in result.warnings if "CUDA" in w]) == 1
    assert result.device_used == "cpu"


def test_cancel_between_and_within_members(ensemble, small):
    for stop_at in (0.3, 0.6):
        token = CancelToken()
        with pytest.raises(errors.Cancelled):
            segment(small, ensemble, "cpu", lambda f, s, t=token, at=stop_at: f > at and t.cancel(), token)


def test_members_share_brain_masks_and_stay_warm(ensemble, small, monkeypatch):
    from importlib import import_module

    module = import_module("flairseg.preprocessing.brain_mask")
    masks, sessions = [], []
    real_mask, real_create = module.brain_mask, inference._create
    monkeypatch.setattr(module, "brain_mask", lambda *a: masks.append(1) or real_mask(*a))
    module._recent.clear()
    monkeypatch.setattr(inference, "_create", lambda *a: sessions.append(a[1].id) or real_create(*a))
    inference.clear_sessions()
    segment(small, ensemble, "cpu")
    assert len(masks) == 2  # with and without denoising
    segment(small, ensemble, "cpu")
    assert sessions == list(WEIGHTS)


def test_summary_and_lesion_rows(voted, segmentation):
    summary = json.loads(json.dumps(voted.summary()))
    members = summary["model"]["members"]
    assert [member["id"] for member in members] == list(WEIGHTS)
    assert members[1]["weights"] == {"lesion": 1.0}
    assert all(member["seconds"] > 0 and len(member["sha256"]) == 64 for member in members)
    assert summary["model"]["sha256"] == voted.card.sha256
    rows = summary["lesions"]
    assert rows
    regions = find_lesions(voted.labels, voted.volume.ijk_to_ras)
    for row in rows:
        box, mask = regions.mask(row["number"])
        assert row["disagreement"] == pytest.approx(float(voted.disagreement[box][mask].astype(float).mean()), abs=2e-3)
    assert "members" not in segmentation.summary()["model"]
    assert all(row.get("disagreement") is None for row in segmentation.summary()["lesions"])


def test_files_of_a_case(ensemble, small_file, tmp_path):
    import nibabel as nib

    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})
    result = runner.invoke(
        app, ["segment", str(small_file), "-o", str(tmp_path), "-m", str(ensemble), "-p", "--no-regions"]
    )
    assert result.exit_code == 0, result.output
    # "head" alone names nobody: its folder stands in front.
    stem = f"{small_file.parent.name}_head"
    image = nib.load(tmp_path / f"{stem}_disagreement.nii.gz")
    labels = nib.load(tmp_path / f"{stem}_labels.nii.gz")
    assert image.shape == labels.shape
    np.testing.assert_array_equal(image.affine, labels.affine)
    values = image.get_fdata()
    assert values.max() > 0.1
    assert values.min() == 0
    member = ensemble.parent / "tiny-v1.0"
    again = runner.invoke(
        app, ["segment", str(small_file), "-o", str(tmp_path), "-m", str(member), "-p", "--overwrite", "--no-regions"]
    )
    assert again.exit_code == 0
    # What belonged to the result that was replaced is gone.
    assert not (tmp_path / f"{stem}_disagreement.nii.gz").exists()


# --- to Slicer


def test_disagreement_crosses_the_workers_pipe(voted, small):
    result = decode_value(encode_value(voted), small)
    kept = result.compact.full_disagreement()
    shown = voted.labels > 0
    np.testing.assert_allclose(kept[shown].astype(float), voted.disagreement[shown], atol=0.5 / 255 + 1e-3)
    np.testing.assert_allclose(
        result.compact.full_probabilities()[3].astype(float), voted.probabilities[3], atol=0.5 / 255 + 1e-3
    )
    assert [member.id for member in result.card.members] == list(WEIGHTS)
    ours, theirs = ([row["disagreement"] for row in one.lesions()] for one in (voted, result))
    np.testing.assert_allclose(ours, theirs, atol=4e-3)
    assert result.seconds["eager-v1.0"] == voted.seconds["eager-v1.0"]


def test_disagreement_needs_probabilities_on_its_grid(voted):
    with pytest.raises(ValueError, match="one grid"):
        CompactAnswer.pack(voted.labels, None, voted.disagreement)
    with pytest.raises(ValueError, match="one grid"):
        CompactAnswer.pack(voted.labels, voted.probabilities, voted.disagreement[1:])
    assert CompactAnswer.pack(voted.labels, voted.probabilities).full_disagreement() is None
    with pytest.raises(ValueError, match="disagreement"):
        find_lesions(voted.labels, np.eye(4), disagreement=voted.disagreement[1:])
