"""``flairseg adapt`` as a physicist of a hospital uses it: adapt, use, segment, go back, remove, take elsewhere."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[adapt]'")

from flairseg.adapt import harm, running, tuning  # noqa: E402
from flairseg.adapt.framed import Case, frame_case  # noqa: E402
from flairseg.adapt.tuning import Settings  # noqa: E402
from flairseg.cli import app  # noqa: E402
from flairseg.models import choosing, store  # noqa: E402
from flairseg.models.store import find_model  # noqa: E402
from flairseg.segmentation.pipeline import segment  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from Testing.core.site_cases import make_base, site_head, write_case, write_site  # noqa: E402

SHORT = Settings(10, 4, 0, (64, 64), 1.0, 0.05, average=0.9, check_every=10, altered=0.0)


def _painted(seed, *_):
    return SimpleNamespace(**dict(zip(("volume", "labels"), site_head(100 + seed), strict=True)))


def _painted_slices(config):
    framed = frame_case(Case("head", *site_head(200)), config)
    return framed.prepared.slices, framed.labels


@pytest.fixture
def hospital(tmp_path, monkeypatch):
    """Folders of a site: the user's models with the tiny base as the default, and three reviewed cases."""
    user = tmp_path / "user"
    monkeypatch.setattr(store, "user_cache", lambda: user)
    monkeypatch.setattr(choosing, "user_cache", lambda: user)
    monkeypatch.setattr(store, "DEFAULT_MODEL", "tiny2d-v1.0")
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    monkeypatch.setattr(tuning, "Settings", lambda: SHORT)
    # What must not be forgotten: heads like the site's, in place of phantoms and slices that take long.
    monkeypatch.setattr(harm, "make_phantom", _painted)
    monkeypatch.setattr(harm, "check_slices", _painted_slices)
    make_base(user)
    write_site(tmp_path / "cases", 3, gain=0.7)
    (tmp_path / "patients.csv").write_text("case,patient\np1,a\np2,b\np3,c\n")
    return tmp_path


def run(*arguments: str | Path):
    return CliRunner().invoke(app, list(map(str, arguments)))


def adapt(hospital: Path, *more: str | Path):
    return run("adapt", hospital / "cases", "--output", hospital / "site", "--time", "9h", "--patients",
               hospital / "patients.csv", *more)  # fmt: skip


@pytest.mark.slow
def test_adapt_use_go_back_and_take_elsewhere(hospital, monkeypatch):
    volume, _ = site_head(9, gain=0.7)
    before = segment(volume)
    done = adapt(hospital)
    assert done.exit_code == 0, done.output
    assert "3 cases, 3 patients" in done.stdout
    assert "tiny2d-site-v1.0: " in done.stdout
    # Three patients show nothing: the model in use stays, and it takes a word to change that.
    assert "The model in use is unchanged." in done.stdout
    assert find_model().id == "tiny2d-v1.0"
    refused = run("models", "--use", hospital / "site")
    assert refused.exit_code == 2
    assert "--anyway" in refused.stderr
    assert run("models", "--use", hospital / "site", "--anyway").exit_code == 0
    ours = segment(volume)
    assert ours.card.id == "tiny2d-site-v1.0"
    assert ours.adaptation.like
    # A second adaptation, of the model that is in use by now, starts from its parent, and has another id.
    again = json.loads((hospital / "site" / "card.json").read_text())
    assert again["adaptation"]["parent"]["id"] == "tiny2d-v1.0"
    assert adapt(hospital).exit_code == 2, "nothing is replaced without a word"
    assert run("models", "--export", "tiny2d-site-v1.0", "--file", hospital / "site.zip").exit_code == 0
    assert run("models", "--rollback").exit_code == 0
    after = segment(volume)
    assert after.card.sha256 == before.card.sha256
    assert np.array_equal(after.labels, before.labels)
    assert np.array_equal(after.probabilities, before.probabilities)
    assert run("models", "--remove", "tiny2d-site-v1.0").exit_code == 0
    # Elsewhere it is installed, but not used unless its parent is there.
    there = hospital / "elsewhere"
    for module in (store, choosing):
        monkeypatch.setattr(module, "user_cache", lambda: there)
    assert run("models", "--install", hospital / "site.zip").exit_code == 0
    refused = run("models", "--use", "tiny2d-site-v1.0", "--anyway")
    assert refused.exit_code == 2
    assert "tiny2d-v1.0" in refused.stderr


@pytest.mark.parametrize("model_id", ["My model", "../up-v1.0", "site-v1", "tiny2d-v1.0", ""])
def test_an_id_is_checked_before_anything_is_trained(hospital, model_id, monkeypatch):
    monkeypatch.setattr(running, "read_cases", lambda *_: pytest.fail("too late"))
    done = adapt(hospital, "--id", model_id)
    assert done.exit_code == 2
    assert repr(model_id) in done.stderr or model_id in done.stderr
    assert not (hospital / "site").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--time", "0m"), "is not a time"),
        (("--time", "soon"), "is not a time"),
        (("--base", "no-such-v1.0"), "no-such-v1.0"),
        (("--patients", "{}/none.csv"), "none.csv"),
        (("--patients", "{}/cases/p1/v001/verdict.json"), "verdict.json"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(hospital, arguments, told):
    done = adapt(hospital, *(one.format(hospital) for one in arguments))
    assert done.exit_code == 2
    assert told in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.output
    assert not (hospital / "site").exists()


def test_a_full_disk_during_training_is_called_one(hospital, monkeypatch):
    """The weights of a part are written by a library: its error was called a defect of FlairSeg."""

    def full(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("onnx.save", full)
    done = adapt(hospital)
    assert done.exit_code == 2
    assert "A disk is full (No space left on device)." in done.output
    assert "defect" not in done.output


def test_a_folder_without_cases_and_one_that_is_a_file_are_refused(hospital):
    (hospital / "empty").mkdir()
    for cases in ("empty", "none", "patients.csv"):
        done = run("adapt", hospital / cases, "--output", hospital / "site")
        assert done.exit_code == 2, cases
        assert not (hospital / "site").exists()
    (hospital / "file").write_text("")
    assert run("adapt", hospital / "cases", "--output", hospital / "file").exit_code == 2


def test_cases_that_are_broken_in_all_ways_at_once_are_left_out_with_reasons(hospital):
    cases = hospital / "cases"
    (cases / "p1" / "v001" / "labels.nii.gz").write_bytes(b"no image")
    (cases / "p2" / "v001" / "flair.nii.gz").unlink()
    write_case(cases, "p3", *site_head(3), verdict="rejected", version=2)
    for name, content in (("p4", "[]"), ("p5", "{"), ("p6", '{"case": "p6", "version": 1, "verdict": "fine"}')):
        (write_case(cases, name, *site_head(4)) / "verdict.json").write_text(content)
    done = adapt(hospital)
    assert done.exit_code == 2
    told = " ".join(done.stderr.split())
    assert "0 patients" in told
    for code in ("2 damaged", "1 rejected", "2 verdict-damaged", "1 verdict-unknown"):
        assert code in told, told
    assert not (hospital / "site").exists()
