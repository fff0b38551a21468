"""The command line: exit codes, messages, files, help, interrupts."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import flairseg
import numpy as np
import pytest
from flairseg.cli import app, segment_bars, segment_case
from flairseg.models import store
from flairseg.segmentation import memory, pipeline
from rich.console import Console
from typer.testing import CliRunner

from Testing.core.tiny import make_head, make_model, to_dicom, to_nifti, to_sitk

REPOSITORY = Path(__file__).resolve().parents[2]
SUFFIXES = {"_labels.nii.gz", ".seg.nrrd", "_overview.png", "_lesions.csv", "_summary.json", "_lesion_mask.nii.gz"}


def run(*arguments) -> object:
    """A command. Regions take a second or two a case and are found where a test asks for them."""
    given = [str(a) for a in arguments]
    if given[:1] == ["segment"] and "--regions" not in given:
        given.append("--no-regions")
    return CliRunner(env={"COLUMNS": "200", "TERM": "xterm", "NO_COLOR": "1"}).invoke(app, given)


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} if folder.exists() else set()


def files_of(*stems: str) -> set[str]:
    return {f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES}


# --- help


def test_help_and_version():
    for arguments in ((), ("--help",)):
        result = run(*arguments)
        assert all(word in result.output for word in ("segment", "models", "phantom", "not a medical device"))
    assert run("--version").output == f"flairseg {flairseg.__version__}\n"
    text = run("segment", "-h").output
    for word in (
        "--output",
        "--model",
        "--device",
        "--probabilities",
        "--overwrite",
        "Examples",
        "130",
        store.DEFAULT_MODEL,
    ):
        assert word in text
    assert "--seed" in run("phantom", "--help").output


@pytest.mark.parametrize(
    "arguments",
    [("segment", "--output", "x"), ("segment", "a.nii"), ("segment", "a", "-o", "x", "-d", "tpu"), ("nonsense",)],
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert run(*arguments).exit_code == 2


# --- segment


def test_one_case(head_file, model, tmp_path):
    result = run("segment", head_file, "--output", tmp_path / "out", "--model", model, "--device", "cpu", "--regions")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == files_of("head-a")
    summary = json.loads((tmp_path / "out" / "head-a_summary.json").read_text())
    row = next(line for line in result.stdout.splitlines() if line.startswith("head-a "))
    for value in (*summary["volumes_ml"].values(),):
        assert f"{value:.2f}" in row
    assert f" {summary['lesion_count']} " in row
    assert "not a medical device" in result.stdout
    assert summary["input"] == os.path.relpath(head_file, tmp_path / "out")
    assert sum(load["count"] for load in summary["regions"].values()) == summary["lesion_count"]
    assert summary["dissemination"]["not_assessed"] == ["spinal cord", "optic nerve"]
    assert len((tmp_path / "out" / "head-a_lesions.csv").read_text().splitlines()) == 1 + summary["lesion_count"]


def test_probabilities_and_weights_by_path(head_file, model, tmp_path):
    result = run("segment", head_file, "-o", tmp_path, "-m", model / "model.onnx", "-p")
    assert result.exit_code == 0
    assert names(tmp_path) == files_of("head-a") | {"head-a_probabilities.nii.gz"}
    assert not {"regions", "dissemination"} & set(json.loads((tmp_path / "head-a_summary.json").read_text()))


def test_every_kind_of_input_in_one_call(head, model, tmp_path):
    inputs = [
        to_nifti(head, tmp_path / "a.nii"),
        to_nifti(head, tmp_path / "b.nii.gz"),
        to_sitk(head, tmp_path / "c.nrrd"),
        to_sitk(head, tmp_path / "d.mha"),
        to_dicom(head, tmp_path / "e"),
    ]
    result = run("segment", *inputs, "-o", tmp_path / "out", "-m", model)
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == files_of("a", "b", "c", "d", "e")
    ventricles = {json.loads(p.read_text())["volumes_ml"]["ventricles"] for p in (tmp_path / "out").glob("*.json")}
    assert len(ventricles) == 1


def test_colliding_names(head, model, tmp_path):
    for folder in ("p1", "p2"):
        (tmp_path / folder).mkdir()
        to_nifti(head, tmp_path / folder / "flair.nii.gz")
    inputs = (tmp_path / "p1" / "flair.nii.gz", tmp_path / "p2" / "flair.nii.gz")
    assert run("segment", *inputs, inputs[0], "-o", tmp_path / "out", "-m", model).exit_code == 0
    assert names(tmp_path / "out") == files_of("p1_flair", "p2_flair")


def test_one_bad_input_does_not_stop_the_rest(head_file, model, tmp_path):
    shutil.copy(head_file, tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes(b"\x1f\x8bnonsense")
    inputs = (tmp_path / "bad.nii.gz", tmp_path / "missing.mha", tmp_path / "good.nii.gz")
    result = run("segment", *inputs, "-o", tmp_path / "out", "-m", model)
    assert result.exit_code == 2
    assert names(tmp_path / "out") == files_of("good")
    assert result.stderr.count("Error (") == 2
    assert result.stderr.count("What to do: ") == 2
    assert "2 of 3 inputs" in result.stderr
    assert "good" in result.stdout
    assert "Traceback" not in result.output


def test_the_same_weights_under_another_pipeline_are_not_done_already(head_file, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    arguments = ("segment", head_file, "-o", tmp_path / "out", "-m", tmp_path / "model", "--no-regions")
    assert run(*arguments).exit_code == 0
    assert "1 already done" in run(*arguments).stderr
    card_file = tmp_path / "model" / "card.json"
    card = json.loads(card_file.read_text(encoding="utf-8"))
    card["pipeline"]["min_lesion_mm3"] = 500.0
    card_file.write_text(json.dumps(card), encoding="utf-8")
    refused = run(*arguments)
    assert (refused.exit_code, "--overwrite" in refused.stderr) == (2, True), refused.output
    # A summary of an earlier version does not tell its pipeline: the weights alone are compared.
    summary_file = tmp_path / "out" / "head-a_summary.json"
    summary = json.loads(summary_file.read_text(encoding="utf-8"))
    assert len(summary["model"].pop("pipeline_sha256")) == 64
    summary_file.write_text(json.dumps(summary), encoding="utf-8")
    assert "1 already done" in run(*arguments).stderr


def test_existing_results_are_kept_unless_overwritten(head_file, model, tmp_path):
    arguments = ("segment", head_file, "-o", tmp_path, "-m", model)
    assert run(*arguments, "-p").exit_code == 0
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    # The same again is done already; anything else is refused.
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "1 already done" in result.stderr
    for more in (("--threshold", 0.2), ("--regions",)):
        refused = run(*arguments, *more)
        assert refused.exit_code == 2, more
        assert "--overwrite" in refused.stderr
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    assert run(*arguments, "--overwrite").exit_code == 0
    assert names(tmp_path) == files_of("head-a")


def test_a_name_of_usual_length_is_on_one_line_of_80_columns(head_file, model, tmp_path):
    """Logs of batch systems have 80 columns: names were broken at 9 letters, and could not be searched for."""
    narrow = CliRunner(env={"COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"})
    case = "case-sdvx11r25p42hf"
    arguments = ["segment", head_file, "-o", tmp_path / "out", "-m", model, "--no-regions", "--name", case]
    shown = narrow.invoke(app, list(map(str, arguments))).stdout.splitlines()
    (row,) = (line for line in shown if case in line)
    assert len(row.rstrip()) <= 80
    listed = narrow.invoke(app, ["models"]).stdout.splitlines()
    assert max(len(line.rstrip()) for line in listed) <= 80
    assert any(line.startswith("flairseg2d-distilled-v1.1 * ") and line.rstrip().endswith("intact") for line in listed)
    assert any(line.startswith("FlairSeg 2D light, four classes") for line in listed)


def test_the_page_on_python_does_what_it_says(head_file, tmp_path, monkeypatch):
    """It said "the files of flairseg segment": there was no lesion mask, and no lesion had a region."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image.Image, "show", lambda image: None)
    shutil.copy(head_file, "patient7_flair.nii.gz")
    assert run("segment", "patient7_flair.nii.gz", "-o", "cli", "--name", "patient7", "--regions").exit_code == 0
    shutil.copy("cli/patient7.seg.nrrd", "mask.seg.nrrd")
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert names(tmp_path / "results") == names(tmp_path / "cli")
    tables = [(tmp_path / folder / "patient7_lesions.csv").read_text().splitlines() for folder in ("results", "cli")]
    assert [row.split(",")[1:] for row in tables[0]] == [row.split(",")[1:] for row in tables[1]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("streams", ["stdout", "both"])
def test_a_log_on_a_full_disk_is_no_traceback(head_file, model, tmp_path, streams):
    arguments = ("segment", head_file, "-o", tmp_path / "out", "-m", model, "--no-regions")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flairseg", *map(str, arguments)],
            stdout=full, stderr=full if streams == "both" else subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    if streams == "stdout":
        assert "A disk is full" in done.stderr
        assert "Traceback" not in done.stderr
        assert names(tmp_path / "out") == files_of("head-a")


@pytest.mark.parametrize("same", [True, False])
def test_a_call_submitted_twice_at_once_is_done_once(head, model, tmp_path, monkeypatch, same):
    """The slower one failed for each case, with the advice to overwrite the very results that it wanted."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    path = to_nifti(head, tmp_path / "a" / "scan.nii.gz")
    other = path if same else to_nifti(type(head)(head.array + 1, head.ijk_to_ras), tmp_path / "b" / "scan.nii.gz")
    arguments = ("-o", tmp_path / "out", "-m", model, "--no-regions", "--name", "one")
    real = pipeline.segment

    def overtaken(*given, **keywords):
        done = real(*given, **keywords)
        monkeypatch.setattr(pipeline, "segment", real)
        assert run("segment", other, *arguments).exit_code == 0
        return done

    monkeypatch.setattr(pipeline, "segment", overtaken)
    result = run("segment", path, *arguments)
    assert result.exit_code == (0 if same else 2), result.output
    assert ("1 already done" if same else "exist already") in result.stderr


def test_an_image_that_changed_is_not_already_done(head, model, tmp_path):
    path = to_nifti(head, tmp_path / "scan-b.nii.gz")
    arguments = ("segment", path, "-o", tmp_path / "out", "-m", model)
    assert run(*arguments).exit_code == 0
    to_nifti(type(head)(head.array + 1, head.ijk_to_ras), path)
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "exist already" in refused.stderr


def test_json_lines_and_quiet(head_file, model, tmp_path):
    """For pipelines: a line a case and one at the end on standard output, and nothing else there."""
    (tmp_path / "bad.nii.gz").write_bytes(b"nonsense")
    arguments = (
        "segment",
        head_file,
        tmp_path / "bad.nii.gz",
        "-o",
        tmp_path / "out",
        "-m",
        model,
        "--json",
        "--quiet",
    )
    result = run(*arguments)
    assert result.exit_code == 2
    first, second, end = map(json.loads, result.stdout.splitlines())
    assert (first["case"], first["status"], second["status"]) == ("head-a", "done", "failed")
    assert first["volumes_ml"]["lesion"] > 0
    kept = json.loads((tmp_path / "out" / "head-a_summary.json").read_text())
    assert first["input_sha256"] == kept["input_sha256"] != ""
    assert second["advice"]
    assert end == {"event": "end", "done": 1, "already_done": 0, "failed": 1}
    assert "[1/2]" not in result.stderr
    again = [json.loads(line) for line in run(*arguments).stdout.splitlines()]
    assert again[0]["status"] == "already-done"
    # The file's times end before it is written, and its input is seen from the output folder.
    assert {**again[0], "status": "done", "seconds": first["seconds"]} == first
    assert first["input"] == str(head_file)
    assert {**kept, "input": first["input"], "seconds": first["seconds"], "event": "case", "status": "done"} == first


def test_json_lines_of_a_call_that_cannot_begin(head_file, tmp_path):
    result = run("segment", head_file, "-o", tmp_path / "out", "-m", "nothere", "--json")
    assert result.exit_code == 2
    error, end = map(json.loads, result.stdout.splitlines())
    assert (error["event"], error["code"]) == ("error", "unknown-model")
    assert end == {"event": "end", "done": 0, "already_done": 0, "failed": 1}


def test_a_bids_folder_is_sent_to_the_cohort(tmp_path):
    folder = tmp_path / "bids" / "sub-01" / "ses-1" / "anat"
    folder.mkdir(parents=True)
    to_nifti(make_head()[0], folder / "sub-01_ses-1_FLAIR.nii.gz")
    result = run("segment", tmp_path / "bids", "-o", tmp_path / "out")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "bids/sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz" in said
    assert "flairseg cohort" in said


def test_options_out_of_a_file(head_file, model, tmp_path):
    config = tmp_path / "options.json"
    config.write_text(json.dumps({"model": str(model), "output": str(tmp_path / "out"), "lesion-mask": False}))
    assert run("segment", head_file, "--config", config).exit_code == 0
    assert "head-a_lesion_mask.nii.gz" not in names(tmp_path / "out")
    # What is typed wins, and a misspelled option is an error.
    assert run("segment", head_file, "--config", config, "-o", tmp_path / "two").exit_code == 0
    assert (tmp_path / "two").is_dir()
    config.write_text(json.dumps({"segment": 3}))
    result = run("segment", head_file, "-o", tmp_path / "three", "--config", config)
    assert result.exit_code == 2
    assert "does not have: segment" in " ".join(result.stderr.replace("│", " ").split())
    config.write_text(json.dumps({"modle": str(model)}))
    result = run("segment", head_file, "-o", tmp_path / "three", "--config", config)
    assert result.exit_code == 2
    assert "modle" in result.stderr


@pytest.mark.parametrize("least", [0.0, 0.8])
def test_a_lower_threshold_marks_more(head_file, model, tmp_path, least):
    """Also where the card drops lesions by their mean probability, which voxels of a lower threshold bring down."""
    model = Path(shutil.copytree(model, tmp_path / "sure-v1.0"))
    card = json.loads((model / "card.json").read_text())
    card["pipeline"]["min_lesion_probability"] = least
    (model / "card.json").write_text(json.dumps(card))
    volumes = []
    for level in (0.9, 0.1):
        out = tmp_path / str(level)
        assert run("segment", head_file, "-o", out, "-m", model, "--threshold", level).exit_code == 0
        summary = json.loads((out / "head-a_summary.json").read_text())
        assert summary["model"]["thresholds"]["lesion"] == level
        volumes.append(summary["volumes_ml"]["lesion"])
    assert volumes[0] < volumes[1]
    assert run("segment", head_file, "-o", tmp_path / "no", "-m", model, "--threshold", 2).exit_code == 2


def test_warnings_reach_the_screen_and_the_summary(model, tmp_path):
    path = to_nifti(make_head(contrast="ct")[0], tmp_path / "scan-b.nii.gz")
    result = run("segment", path, "-o", tmp_path / "out", "-m", model)
    assert result.exit_code == 0
    assert "Warning (scan-b): The image looks like a CT" in result.stderr
    warnings = json.loads((tmp_path / "out" / "scan-b_summary.json").read_text())["warnings"]
    assert [w["message"] for w in warnings if w["code"] == "looks-like-ct"]


def test_strict_ends_with_3_and_writes_all_the_same(head_file, model, tmp_path):
    path = to_nifti(make_head(contrast="ct")[0], tmp_path / "scan-b.nii.gz")
    result = run("segment", path, "-o", tmp_path / "out", "-m", model, "--strict")
    assert result.exit_code == 3
    assert names(tmp_path / "out") == files_of("scan-b")
    assert "Not to be trusted (looks-like-ct" in result.stderr
    # Again: nothing is written, and what is there is trusted no more than before.
    assert run("segment", path, "-o", tmp_path / "out", "-m", model, "--strict").exit_code == 3
    # A refused input goes before it, and a result without such a warning is as before.
    assert run("segment", path, tmp_path / "no", "-o", tmp_path / "two", "-m", model, "--strict").exit_code == 2
    assert run("segment", head_file, "-o", tmp_path / "three", "-m", model, "--strict").exit_code == 0


def test_models_that_are_missing_altered_or_no_network(head_file, model, tmp_path):
    shutil.copytree(model, tmp_path / "altered")
    with (tmp_path / "altered" / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    no_network = make_model(tmp_path, "text-v1.0")
    (no_network / "model.onnx").write_text("no network")
    card = json.loads((no_network / "card.json").read_text())
    import hashlib

    card["weights"]["sha256"] = hashlib.sha256(b"no network").hexdigest()
    (no_network / "card.json").write_text(json.dumps(card))
    for named, word in (("nowhere-v9.9", "nowhere"), (tmp_path / "altered", "sha256"), (no_network, "cannot be run")):
        result = run("segment", head_file, "-o", tmp_path / "out", "-m", named)
        assert result.exit_code == 2
        assert word in result.stderr
        assert "What to do" in result.stderr
        assert not (tmp_path / "out").exists()


def test_an_output_that_is_no_folder(head_file, model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run("segment", head_file, "-o", tmp_path / "file", "-m", model)
    assert result.exit_code == 2
    assert "not a folder" in result.stderr
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    ("error", "word"), [(RuntimeError("odd"), "defect"), (MemoryError(), "memory"), (ZeroDivisionError(), "defect")]
)
def test_a_defect_in_one_case_does_not_cost_the_others(head_file, model, tmp_path, monkeypatch, error, word):
    shutil.copy(head_file, tmp_path / "b.nii.gz")
    real = segment_case._segment_case

    def case(item, *arguments):
        if item.path.name == "b.nii.gz":
            raise error
        return real(item, *arguments)

    monkeypatch.setattr(segment_case, "_segment_case", case)
    result = run("segment", tmp_path / "b.nii.gz", head_file, "-o", tmp_path / "out", "-m", model)
    assert result.exit_code == 2
    assert word in result.stderr
    assert "Traceback" not in result.output
    assert names(tmp_path / "out") == files_of("head-a")


def test_names_that_look_like_markup_and_unicode(head, model, tmp_path):
    inputs = [to_nifti(head, tmp_path / f"{name}.nii.gz") for name in ("[red]x[bold]", "頭部 Ä é", "n" * 200)]
    result = run("segment", *inputs, "-o", tmp_path / "ergebnisse Ü", "-m", model)
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "ergebnisse Ü") == files_of("[red]x[bold]", "頭部 Ä é", "n" * 200)
    assert "[red]x[bold]" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_names_that_are_no_text(head_file, model, tmp_path):
    path = os.fsencode(tmp_path) + b"/bad\xff.nii.gz"
    shutil.copy(head_file, path)
    done = subprocess.run(
        [sys.executable, "-m", "flairseg", "segment", path, "--output", tmp_path / "out", "--model", model],
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert b"UTF-8" in done.stderr
    assert names(tmp_path / "out") == set()
    command = [sys.executable, "-m", "flairseg", "segment", head_file, "--output", path + b".out", "--model", model]
    done = subprocess.run(command, capture_output=True, env=environment(), check=False)
    assert done.returncode == 2, done.stderr
    assert b"UTF-8" in done.stderr


def test_progress_on_a_terminal(monkeypatch, tmp_path):
    console = Console(force_terminal=True, width=100, file=(tmp_path / "screen").open("w+", encoding="utf-8"))
    with segment_bars.Bars(console, 2) as bars:
        for name in ("short", "a very long name of a case that does not fit on the screen"):
            progress = bars.case(name)
            for fraction, stage in ((0.0, "read"), (0.5, "inference"), (1.0, "write")):
                progress(fraction, stage)
        bars.case("refused")(0.1, "read")
        bars.drop()
        # However many cases there are, the screen shows the call and the present case.
        assert [task.description for task in bars._progress.tasks] == ["2 cases"]
    console.file.seek(0)
    text = console.file.read()
    assert "short" in text
    assert "[2/2]" in text
    assert "2 cases" in text


# --- models


def test_models_table(model_folder, monkeypatch, tmp_path):
    make_model(tmp_path, store.DEFAULT_MODEL)
    monkeypatch.setattr(store, "search_folders", lambda: [("here", model_folder), ("there", tmp_path)])
    result = run("models")
    assert result.exit_code == 0
    for word in ("tiny-v1.0", f"{store.DEFAULT_MODEL} *", "CC0-1.0", "intact", "here", "there", "MB"):
        assert word in result.stdout


def test_models_table_tells_what_is_wrong(model, monkeypatch, tmp_path):
    for name in ("altered-v1.0", "gone-v1.0", "broken-v1.0"):
        make_model(tmp_path, name)
    shutil.copytree(model, tmp_path / "misnamed-v1.0")
    (tmp_path / "altered-v1.0" / "model.onnx").write_bytes(b"x")
    (tmp_path / "gone-v1.0" / "model.onnx").unlink()
    (tmp_path / "broken-v1.0" / "card.json").write_text("{")
    monkeypatch.setattr(store, "search_folders", lambda: [("here", tmp_path)])
    result = run("models")
    assert result.exit_code == 2
    assert "damaged" in result.stdout
    assert "missing" in result.stdout
    assert result.stderr.count("Error") == 4
    assert "holds the model tiny-v1.0" in result.stderr


def test_no_models_at_all(monkeypatch):
    monkeypatch.setattr(store, "search_folders", lambda: [])
    result = run("models")
    assert result.exit_code == 2
    assert "No usable model" in result.stderr


# --- what every command shares


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_interrupts_and_further_ones_are_ignored(number):
    from flairseg.cli.console import interruptible

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    tidied = []

    def work():
        with interruptible():
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)
                tidied.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert tidied
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_module_is_the_command(monkeypatch):
    import runpy

    monkeypatch.setattr(sys, "argv", ["flairseg", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("flairseg", run_name="__main__")
    assert ended.value.code == 0


# --- phantom


@pytest.fixture
def quick_phantom(monkeypatch):
    """The phantom with few, coarse slices: its own tests look at the real one."""
    from flairseg import phantom

    real = phantom.make_phantom
    monkeypatch.setattr(phantom, "make_phantom", lambda seed: real(seed, (6, 64, 64), (3.6, 3.6, 20.0)))


def test_phantom(quick_phantom, tmp_path):
    result = run("phantom", "--output", tmp_path / "out", "--seed", 1)
    assert result.exit_code == 0, result.output
    flair = flairseg.read_volume(tmp_path / "out" / "phantom-1_flair.nii.gz")
    truth = flairseg.read_volume(tmp_path / "out" / "phantom-1_truth.nii.gz")
    assert flair.array.shape == truth.array.shape
    assert set(np.unique(truth.array)) <= {0, 1, 2, 3}
    assert "phantom-1_picture.png" in result.stdout
    again = run("phantom", "-o", tmp_path / "out", "-s", 1)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert run("phantom", "-o", tmp_path / "out", "-s", 1, "--overwrite").exit_code == 0


def test_an_interrupted_phantom(monkeypatch, tmp_path):
    from flairseg import phantom

    def interrupt(seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "make_phantom", interrupt)
    result = run("phantom", "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert not (tmp_path / "out").exists()


# --- interrupts and processes


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "FlairSegExtension"), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("at", [0, 1])
def test_an_interrupt_keeps_finished_cases_only(head_file, model, tmp_path, monkeypatch, at):
    shutil.copy(head_file, tmp_path / "second.nii.gz")
    real, seen = segment_case._segment_case, []

    def case(*arguments):
        if len(seen) == at:
            raise KeyboardInterrupt
        seen.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(segment_case, "_segment_case", case)
    result = run("segment", head_file, tmp_path / "second.nii.gz", "-o", tmp_path / "out", "-m", model)
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert names(tmp_path / "out") == (files_of("head-a") if at else set())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_case_leaves_nothing(head, tmp_path, number):
    """A real process, a slow network, a real signal while it runs."""
    slow = make_model(tmp_path, "slow-v1.0", width=160)
    array = np.concatenate([head.array] * 4)
    path = to_nifti(type(head)(array, head.ijk_to_ras), tmp_path / "long.nii.gz")
    command = [sys.executable, "-m", "flairseg", "segment", path, "--output", tmp_path / "out", "--model", slow]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        # The case's name is printed when its work begins.
        assert "long" in process.stderr.readline()
        time.sleep(1.5)
        assert process.poll() is None, "the network is too quick for this test"
        process.send_signal(number)
        _, messages = process.communicate(timeout=120)
    assert process.returncode == 130, messages
    assert "Interrupted" in messages
    assert "Traceback" not in messages
    assert names(tmp_path / "out") == set()


def test_python_dash_m(head_file, model, tmp_path):
    command = [sys.executable, "-m", "flairseg", "segment", head_file, "--output", tmp_path / "out", "--model", model]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == files_of("head-a")


# --- a batch


def test_a_batch_holds_no_image_of_the_cases_before(head_file, model, tmp_path, monkeypatch):
    """Counted by weak references, without the garbage collector's help; also of a case that fails with its arrays."""
    inputs = [tmp_path / f"head-{letter}.nii.gz" for letter in "abcd"]
    for path in inputs:
        shutil.copy(head_file, path)
    real, held, alive, released = segment_case._segment_case, [], [], []

    def case(item, *arguments):
        alive.append(sum(reference() is not None for reference in held))
        result = real(item, *arguments)
        arrays = (result.volume.array, result.labels, result.probabilities)
        held.extend(weakref.ref(array) for array in arrays)
        if item.path.name == "head-b.nii.gz":
            raise RuntimeError("after the work")
        return result

    monkeypatch.setattr(segment_case, "_segment_case", case)
    # The pipeline, loaded by now, calls its own within a case: counted is what the command does after each.
    importlib.import_module("flairseg.segmentation.pipeline")
    monkeypatch.setattr(memory, "release_memory", lambda: released.append(True))
    gc.disable()
    try:
        result = run("segment", *inputs, "-o", tmp_path / "out", "-m", model, "--no-regions", "--json")
    finally:
        gc.enable()
    assert result.exit_code == 2, result.output
    assert alive == [0, 0, 0, 0]
    assert not any(reference() is not None for reference in held)
    assert len(released) == len(inputs)
