"""Models side by side: agreement, what is blank, files, the picture, and the command ``flairseg compare``."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flairseg import errors
from flairseg.cli import app
from flairseg.cli import compare as compare_command
from flairseg.comparison import comparing as comparison_module
from flairseg.comparison import writing as comparison_writing
from flairseg.comparison.comparing import Compared, Comparison, choose_models, compare
from flairseg.comparison.picture import choose_slices, render_comparison
from flairseg.comparison.writing import table_csv, write_comparison
from flairseg.models import load_card, store
from flairseg.progress import CancelToken
from flairseg.segmentation.pipeline import segment
from typer.testing import CliRunner

from Testing.core.tiny import LESION_ONLY, make_ensemble, make_head, make_model, to_nifti

FOUR = {"ventricles": 1.0, "normal_wmh": 1.0, "lesion": 1.0}
LESION_RED = (230, 41, 41)
WHOLE = {"head-a_comparison.png", "head-a_comparison.csv", "head-a_comparison.json"}


@pytest.fixture(scope="module")
def small():
    """A head of few voxels, so that a case takes a moment."""
    return make_head((12, 68, 58), (3.2, 3.2, 10.7))[0]


@pytest.fixture(scope="module")
def small_file(tmp_path_factory, small) -> Path:
    return to_nifti(small, tmp_path_factory.mktemp("small") / "head-a.nii.gz")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A model of four classes, one that knows lesions alone, and an ensemble of the two."""
    folder = tmp_path_factory.mktemp("compared")
    make_model(folder)
    make_model(folder, "eager-v1.0", {**LESION_ONLY, "input_slices": 1}, classes=(3,), lesion_bias=1.5)
    make_ensemble(folder, {"tiny-v1.0": FOUR, "eager-v1.0": {"lesion": 1.0}})
    return folder


@pytest.fixture(scope="module")
def both(models) -> list[Path]:
    return [models / "tiny-v1.0", models / "eager-v1.0"]


@pytest.fixture(scope="module")
def compared(both, small) -> Comparison:
    return compare(small, both, "cpu")


@pytest.fixture
def only_these(models, monkeypatch) -> Path:
    monkeypatch.setattr(store, "search_folders", lambda: [("here", models)])
    return models


def damaged(models: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "broken-v1.0"
    shutil.copytree(models / "tiny-v1.0", folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "id": "broken-v1.0"}))
    with (folder / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def run(*arguments) -> object:
    runner = CliRunner(env={"COLUMNS": "160", "TERM": "xterm", "NO_COLOR": "1"})
    return runner.invoke(app, [str(argument) for argument in arguments])


# --- results


def test_each_result_is_what_the_model_gives_by_itself(compared, both, small):
    for one, model in zip(compared.models, both, strict=True):
        np.testing.assert_array_equal(one.segmentation.labels, segment(small, model, "cpu").labels)
        assert one.segmentation.probabilities is None
        assert one.segmentation.compact.full_probabilities() is not None


def test_dice_is_scikit_learns_and_unknown_classes_are_blank(compared):
    from sklearn.metrics import f1_score

    tiny, eager = (one.segmentation.labels for one in compared.models)
    dice = compared.dice()
    expected = f1_score((tiny == 3).ravel(), (eager == 3).ravel())
    assert 0 < expected < 1
    np.testing.assert_allclose(dice["lesion"], [[1, expected], [expected, 1]])
    for blank in ("ventricles", "normal_wmh", "all_wmh"):
        np.testing.assert_array_equal(dice[blank], [[1, np.nan], [np.nan, np.nan]])


def test_two_that_find_nothing_agree(compared):
    first, second = compared.models
    nothing = replace(first.segmentation, labels=np.zeros_like(first.segmentation.labels))
    dice = replace(compared, models=(Compared(first.card, nothing), Compared(first.card, nothing))).dice()
    assert all((matrix == 1).all() for matrix in dice.values())
    dice = replace(compared, models=(Compared(first.card, nothing), second)).dice()
    assert dice["lesion"][0, 1] == 0


def test_rows(compared, small):
    full, lesions_only = (one.figures for one in compared.models)
    assert full.volumes_ml["ventricles"] > 1
    assert full.lesion_count == compared.models[0].segmentation.lesion_count
    assert lesions_only.volumes_ml["ventricles"] is None
    assert lesions_only.volumes_ml["normal_wmh"] is None
    voxels = np.count_nonzero(compared.models[1].segmentation.labels == 3)
    assert lesions_only.volumes_ml["lesion"] == pytest.approx(voxels * small.voxel_mm3 / 1000, abs=1e-4)
    assert lesions_only.seconds > 0
    assert not any("ventricles" in warning.lower() for warning in lesions_only.warnings)


def test_progress_names_the_model(both, small):
    seen = []
    compare(small, both, "cpu", lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert {stage.partition(":")[0] for _, stage in seen} == {"tiny-v1.0", "eager-v1.0"}
    assert all(fraction <= 0.5 for fraction, stage in seen if stage.startswith("tiny"))


def test_cancel(both, small):
    token = CancelToken()
    with pytest.raises(errors.Cancelled):
        compare(small, both, "cpu", lambda fraction, stage: fraction > 0.6 and token.cancel(), token)


def test_one_model_that_fails_does_not_stop_the_others(models, both, small, tmp_path):
    result = compare(small, [damaged(models, tmp_path), both[1]], "cpu")
    failed, fine = result.models
    assert "sha256" in failed.error.message
    assert fine.segmentation is not None
    assert np.isnan(result.dice()["lesion"][0]).all()
    figures = failed.figures
    assert figures.failure.type == "InvalidModelError"
    assert figures.volumes_ml["lesion"] is None
    rows = list(csv.DictReader(table_csv(result).splitlines()))
    assert rows[0]["lesion_ml"] == ""
    assert [row["case"] for row in rows] == [result.volume.name] * len(rows)
    assert "sha256" in rows[0]["error"]
    assert render_comparison(result).width > 600


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("surprise")])
def test_surprises_are_typed(both, small, monkeypatch, error):
    def fail(*_arguments, **_more):
        raise error

    monkeypatch.setattr(comparison_module, "segment", fail)
    result = compare(small, both, "cpu")
    assert all(one.error is not None and one.error.advice for one in result.models)


def test_an_image_that_cannot_be_used_is_refused(both, small):
    with pytest.raises(errors.UnusableIntensitiesError):
        compare(replace(small, array=np.full_like(small.array, 7)), both, "cpu")


# --- which models


def test_all_are_all_that_are_installed_the_default_first(only_these, monkeypatch):
    monkeypatch.setattr(comparison_module, "DEFAULT_MODEL", "tiny-v1.0")
    assert [card.id for card in choose_models()] == ["tiny-v1.0", "eager-v1.0", "vote-v1.0"]
    twice = choose_models(["eager-v1.0", only_these / "eager-v1.0", load_card(only_these / "tiny-v1.0")])
    assert [card.id for card in twice] == ["eager-v1.0", "tiny-v1.0"]


def test_an_unknown_model_is_told_with_those_that_are_known(only_these, monkeypatch):
    with pytest.raises(errors.ModelNotFoundError, match=r"nowhere-v1\.0") as caught:
        choose_models(["tiny-v1.0", "nowhere-v1.0"])
    assert "eager-v1.0, tiny-v1.0, vote-v1.0" in caught.value.advice
    monkeypatch.setattr(store, "search_folders", list)
    with pytest.raises(errors.ModelNotFoundError, match="no model"):
        choose_models()


# --- the picture


def test_slices_where_models_differ_are_shown():
    first, second = (np.zeros((30, 4, 4), np.uint8) for _ in range(2))
    first[5], second[5] = 3, 3  # large, and all agree
    first[20, 0, :2] = 3
    second[25, 0, :1] = 3
    assert choose_slices([first, second], 2) == [20, 25]
    assert choose_slices([first, second], 6) == [5, 20, 25]
    assert choose_slices([np.zeros_like(first)], 6) == [15]
    neighbours = np.zeros((30, 4, 4), np.uint8)
    neighbours[10:13] = 3
    # Not three of one lesion: there may be others.
    assert len(choose_slices([neighbours, np.zeros_like(neighbours)], 3)) == 1


def test_the_picture_outlines_each_model_in_its_own_column(compared):
    picture = render_comparison(compared)
    pixels = np.asarray(picture)
    red = (pixels == LESION_RED).all(axis=2)
    below_heads = np.flatnonzero(red.any(axis=1)).max() // 3
    columns = np.flatnonzero(red[below_heads:].any(axis=0))
    gaps = np.flatnonzero(np.diff(columns) > 40)
    assert len(gaps) >= 1
    # The first column is the FLAIR alone: nothing red in the first third of the sheet.
    assert columns.min() > 320
    without = replace(compared, models=(replace(compared.models[0]), Compared(compared.models[1].card)))
    assert render_comparison(without).width < picture.width


# --- files


def test_files(compared, tmp_path):
    import nibabel as nib
    import nrrd

    files = write_comparison(compared, tmp_path, "case")
    parts = {
        f"case_{model}{ending}" for model in ("tiny-v1.0", "eager-v1.0") for ending in ("_labels.nii.gz", ".seg.nrrd")
    }
    assert names(tmp_path) == parts | {"case_comparison.png", "case_comparison.csv", "case_comparison.json"}
    labels = np.asarray(nib.load(files["eager-v1.0:labels"]).dataobj).transpose(2, 1, 0)
    np.testing.assert_array_equal(labels, compared.models[1].segmentation.labels)
    header = nrrd.read_header(str(files["eager-v1.0:segmentation"]))
    assert "FlairSeg.model:eager-v1.0|" in header["Segment0_Tags"]
    summary = json.loads(files["summary"].read_text())
    assert summary["case"] == compared.volume.name
    assert set(summary["files"]) == names(tmp_path)
    assert summary["dice"]["ventricles"] == [[1.0, None], [None, None]]
    assert [row["model"] for row in summary["models"]] == ["tiny-v1.0", "eager-v1.0"]
    assert "not a medical device" in summary["notice"]
    rows = list(csv.DictReader(files["table"].read_text().splitlines()))
    assert rows[1]["ventricles_ml"] == ""
    assert float(rows[1]["dice_lesion:tiny-v1.0"]) == summary["dice"]["lesion"][1][0]


def test_existing_files_are_kept_and_a_new_comparison_takes_the_old_ones_away(compared, tmp_path):
    (tmp_path / "case_labels.nii.gz").write_bytes(b"of flairseg segment")
    write_comparison(compared, tmp_path, "case")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(errors.OutputError, match="exist already") as caught:
        write_comparison(compared, tmp_path, "case")
    assert caught.value.code == "results-exist"
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    write_comparison(replace(compared, models=compared.models[:1]), tmp_path, "case", overwrite=True)
    assert not any("eager" in name for name in names(tmp_path))
    assert (tmp_path / "case_labels.nii.gz").read_bytes() == b"of flairseg segment"


def test_a_failure_while_writing_leaves_nothing(compared, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(comparison_writing, "_write_picture", full)
    with pytest.raises(errors.OutputError, match="full"):
        write_comparison(compared, tmp_path / "out", "case")
    assert not (tmp_path / "out").exists()


# --- the command


def test_command(small_file, only_these, tmp_path):
    result = run("compare", small_file, "--models", "tiny-v1.0,eager-v1.0", "-o", tmp_path, "-d", "cpu")
    assert result.exit_code == 0, result.output
    assert names(tmp_path) >= WHOLE
    summary = json.loads((tmp_path / "head-a_comparison.json").read_text())
    assert (tmp_path / summary["input"]).samefile(small_file)
    row = next(line for line in result.stdout.splitlines() if "eager-v1.0" in line and "│" in line)
    assert f"{summary['models'][1]['volumes_ml']['lesion']:.2f}" in row
    assert row.count(" - ") >= 2
    assert f"{summary['dice']['lesion'][0][1]:.2f}" in result.stdout
    assert "not a medical device" in result.stdout
    # A class that one model alone knows needs no table of agreement.
    assert result.stdout.count("Dice:") == 1
    again = run("compare", small_file, "-o", tmp_path, "-m", "tiny-v1.0")
    assert again.exit_code == 2
    assert "--overwrite" in again.output


def test_command_with_all_models_and_one_that_fails(small_file, models, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    shutil.copytree(models / "eager-v1.0", folder / "eager-v1.0")
    damaged(models, folder)
    monkeypatch.setattr(store, "search_folders", lambda: [("here", folder)])
    result = run("compare", small_file, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "head-a_eager-v1.0_labels.nii.gz" in names(tmp_path / "out")
    assert not any("broken" in name for name in names(tmp_path / "out"))
    assert "Error (broken-v1.0)" in result.output
    assert "1 of 2 models failed" in result.output


@pytest.mark.parametrize(
    ("models_given", "says"), [("nowhere-v1.0", "tiny-v1.0"), ("", "is empty"), (" , ", "no model")]
)
def test_command_with_unknown_models(small_file, only_these, tmp_path, models_given, says):
    result = run("compare", small_file, "-o", tmp_path / "out", "--models", models_given)
    assert result.exit_code == 2
    assert says in result.output
    assert not (tmp_path / "out").exists()


def test_command_with_a_bad_input(only_these, tmp_path):
    result = run("compare", tmp_path / "none.nii.gz", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "What to do" in result.output


def test_an_interrupted_comparison_leaves_nothing(small_file, only_these, tmp_path, monkeypatch):
    def interrupt(self, fraction, stage):
        if fraction > 0.5:
            raise KeyboardInterrupt

    monkeypatch.setattr(compare_command._PerModel, "__call__", interrupt)
    result = run("compare", small_file, "-o", tmp_path / "out", "-m", "tiny-v1.0,eager-v1.0")
    assert result.exit_code == 130
    assert not (tmp_path / "out").exists()


def test_pseudonyms(small_file, only_these, tmp_path):
    shutil.copy(small_file, tmp_path / "Doe_Jane.nii.gz")
    result = run("compare", tmp_path / "Doe_Jane.nii.gz", "-m", "eager-v1.0", "-o", tmp_path / "out", "--pseudonymise")
    assert result.exit_code == 0, result.output
    assert len(names(tmp_path / "out")) == 5
    for path in (tmp_path / "out").iterdir():
        assert "Doe" not in path.name
        assert b"Doe" not in path.read_bytes()
    assert "Doe" not in result.stdout.replace(str(tmp_path), "")
