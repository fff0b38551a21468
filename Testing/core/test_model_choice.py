"""The model in use: choosing, going back, removing, a model as one file, and a kill at any moment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from flairseg.cli import app
from flairseg.errors import InvalidModelError, ModelNotFoundError, OutputError
from flairseg.models import choosing, store
from flairseg.models.adaptation import card_digest
from flairseg.models.export import export_model
from flairseg.models.install import install_model
from flairseg.models.store import find_model
from flairseg.models.switch import FILE
from flairseg.segmentation.pipeline import segment
from typer.testing import CliRunner

from Testing.core.tiny import make_head, make_model


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Folder of the user's models with two: ``tiny`` and ``other``, which finds more."""
    folder = tmp_path / "user"
    monkeypatch.setattr(store, "user_cache", lambda: folder)
    monkeypatch.setattr(choosing, "user_cache", lambda: folder)
    monkeypatch.setattr(store, "DEFAULT_MODEL", "tiny-v1.0")
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    make_model(folder, "tiny-v1.0")
    make_model(folder, "other-v1.0", lesion_bias=4.0)
    return folder


def as_adapted(folder, verdict="better"):
    """The card as that of an adapted model."""
    path = folder / "card.json"
    raw = json.loads(path.read_text())
    raw["adaptation"] = {
        "parent": {"id": "tiny-v1.0", "sha256": "0" * 64}, "verdict": verdict, "seed": 0, "minutes": 1.0,
        "data": {"cases": 5}, "no_harm": [],
    }  # fmt: skip
    raw["adaptation"]["digest"] = card_digest(raw)
    path.write_text(json.dumps(raw))
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def test_the_chosen_model_is_used_and_going_back_gives_the_same_bits(models):
    volume, _ = make_head()
    before = segment(volume)
    choosing.use(find_model("other-v1.0"))
    chosen = segment(volume)
    assert chosen.card.id == store.default_model() == "other-v1.0"
    assert (chosen.labels == 3).sum() > (before.labels == 3).sum()
    assert choosing.rollback() is None
    again = segment(volume)
    assert (again.card.id, again.card.sha256) == (before.card.id, before.card.sha256)
    assert again.labels.tobytes() == before.labels.tobytes()
    assert again.probabilities.tobytes() == before.probabilities.tobytes()
    with pytest.raises(ModelNotFoundError):
        choosing.rollback()


def test_history_goes_back_step_by_step(models):
    for name in ("other-v1.0", "tiny-v1.0", "other-v1.0", "other-v1.0"):
        choosing.use(find_model(name))
    assert [choosing.rollback().id for _ in range(2)] == ["tiny-v1.0", "other-v1.0"]
    assert choosing.rollback() is None


def test_another_model_is_never_taken_in_place_of_the_chosen_one(models):
    choosing.use(find_model("other-v1.0"))
    shutil.rmtree(models / "other-v1.0")
    with pytest.raises(ModelNotFoundError, match="in use"):
        find_model()
    make_model(models, "other-v1.0", lesion_bias=2.0)
    with pytest.raises(InvalidModelError, match="not the one that was selected"):
        find_model()
    assert find_model("tiny-v1.0").id == "tiny-v1.0"
    choosing.rollback()
    assert find_model().id == "tiny-v1.0"


def test_the_model_in_use_and_foreign_ones_are_not_removed(models):
    choosing.use(find_model("other-v1.0"))
    with pytest.raises(choosing.ModelInUseError):
        choosing.remove("other-v1.0")
    for name in ("../user/tiny-v1.0", "flairseg2d-v1.0", ""):
        with pytest.raises(ModelNotFoundError):
            choosing.remove(name)
    choosing.remove("tiny-v1.0")
    assert sorted(path.name for path in models.iterdir()) == [FILE, "other-v1.0"]


KILLED = """
import os, signal, sys
from pathlib import Path
from flairseg.models import choosing, store, switch
folder = Path(sys.argv[1])
store.user_cache = choosing.user_cache = lambda: folder
when, count = int(sys.argv[2]), 0
def watch(event, arguments):
    global count
    if event in ("open", "os.rename", "os.remove", "tempfile.mkstemp") and "user" in str(arguments):
        count += 1
        if count > when:
            os.kill(os.getpid(), signal.SIGKILL)
card = store.find_model("other-v1.0")
sys.addaudithook(watch)
choosing.use(card)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_choice(models):
    found = set()
    for when in range(20):
        (models / FILE).unlink(missing_ok=True)
        for left in models.glob(".flairseg-*"):
            shutil.rmtree(left)
        done = subprocess.run([sys.executable, "-c", KILLED, str(models), str(when)], capture_output=True, text=True)
        assert done.returncode in (0, -9), done.stderr
        assert find_model().id in ("tiny-v1.0", "other-v1.0")
        found.add((done.returncode, find_model().id))
        if done.returncode == 0:
            break
    assert (-9, "tiny-v1.0") in found
    assert (0, "other-v1.0") in found


def test_a_model_travels_as_one_file_and_is_refused_if_it_was_altered(models, tmp_path):
    as_adapted(models / "other-v1.0")
    path = export_model(find_model("other-v1.0"), tmp_path / "site.zip")
    assert path.read_bytes() == export_model(find_model("other-v1.0"), tmp_path / "again.zip").read_bytes()
    with pytest.raises(OutputError):
        export_model(find_model("other-v1.0"), path)
    assert install_model(path, tmp_path / "elsewhere").sha256 == find_model("other-v1.0").sha256
    for name, change in (
        ("other-v1.0/model.onnx", lambda old: old[:-9] + b"tampered!"),
        ("other-v1.0/card.json", lambda old: old.replace(b'"better"', b'"worse"')),
        ("other-v1.0/card.json", lambda old: old.replace(b'"cases": 5', b'"cases": 9')),
    ):
        with zipfile.ZipFile(path) as good, zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
            for entry in good.namelist():
                content = good.read(entry)
                bad.writestr(entry, change(content) if entry == name else content)
                assert entry != name or change(content) != content
        with pytest.raises(InvalidModelError):
            install_model(tmp_path / "bad.zip", tmp_path / "third")
        assert not list((tmp_path / "third").glob("*"))


def test_the_command_proposes_only_what_is_better(models, tmp_path):
    made = tmp_path / "made"
    as_adapted(make_model(made, "site-v1.0", lesion_bias=1.0), "no difference shown")
    done = run("--use", made / "site-v1.0")
    assert done.exit_code == 2
    assert "no difference shown" in done.stderr
    assert store.default_model() == "tiny-v1.0"
    done = run("--use", made / "site-v1.0", "--anyway")
    assert done.exit_code == 0, done.stderr
    assert (models / "site-v1.0" / "card.json").is_file()
    assert "site-v1.0 *" in run().stdout
    assert "shown" in run().stdout
    assert run("--remove", "site-v1.0").exit_code == 2
    assert "tiny-v1.0" in run("--rollback").stdout
    assert run("--export", "site-v1.0", "--file", tmp_path / "x.zip").exit_code == 0
    assert run("--remove", "site-v1.0").exit_code == 0
    assert run("--install", tmp_path / "x.zip").exit_code == 0
    assert find_model("site-v1.0").raw["adaptation"]["verdict"] == "no difference shown"
