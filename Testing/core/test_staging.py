"""Temporary folders: nothing of a killed process stays for good, and no running process loses its folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flairseg.cli import app
from flairseg.files import staging
from flairseg.files.atomic import all_or_none
from flairseg.files.staging import ABANDONED_S, Staging, remove_abandoned
from flairseg.models import store
from flairseg.models.store import find_model
from typer.testing import CliRunner

from Testing.core.tiny import make_model

#: Installs a model and stops after the weights were copied, until it is killed or may go on.
INSTALLING = """
import sys
from pathlib import Path
from flairseg.models import install
copy = install._copy
def halted(opened, name, *more, **named):
    copy(opened, name, *more, **named)
    if name.endswith(".onnx"):
        print("copied", flush=True)
        sys.stdin.readline()
install._copy = halted
print(install.install_model(sys.argv[1], sys.argv[2]).id, flush=True)
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache" / "flairseg" / "models"
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    monkeypatch.setattr(store, "user_cache", lambda: folder)
    monkeypatch.setattr("flairseg.models.choosing.user_cache", lambda: folder)
    return folder


def installing(model: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INSTALLING, str(model), str(cache)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "copied\n"
    return process


def staged(cache: Path) -> list[Path]:
    return sorted(cache.parent.glob(".flairseg-model-*"))


def test_use_removes_what_a_killed_installation_left_and_nothing_of_a_running_one(tmp_path, cache):
    """Two processes in the middle of an installation: one killed, one that goes on after the ``--use`` of a third."""
    killed = installing(make_model(tmp_path / "a", name="killed-v1.0"), cache)
    left = staged(cache)
    killed.kill()
    killed.wait()
    assert staged(cache) == left
    assert list(left[0].rglob("model.onnx"))
    running = installing(make_model(tmp_path / "b", name="running-v1.0"), cache)
    of_running = [path for path in staged(cache) if path not in left]
    assert len(left) == len(of_running) == 1
    used = CliRunner().invoke(app, ["models", "--use", str(make_model(tmp_path / "c"))])
    assert used.exit_code == 0, used.output
    assert staged(cache) == of_running
    out, _ = running.communicate("\n")
    assert (running.returncode, out.strip()) == (0, "running-v1.0")
    assert find_model("running-v1.0").path.parent == cache / "running-v1.0"
    assert staged(cache) == []


def test_use_of_an_installed_model_removes_it_as_well(tmp_path, cache):
    from flairseg.models import choosing
    from flairseg.models.install import install_model

    card = install_model(make_model(tmp_path / "a"), cache)
    killed = installing(make_model(tmp_path / "b", name="killed-v1.0"), cache)
    killed.kill()
    killed.wait()
    assert len(staged(cache)) == 1
    choosing.use(card)
    assert staged(cache) == []


#: Writes half of its results, as any command, and waits to be killed.
WRITING = """
import sys
from pathlib import Path
from flairseg.files.atomic import all_or_none
with all_or_none(Path(sys.argv[1]), ["a", "b"]) as drafts:
    (drafts / "a").write_text("of a patient")
    print("half", flush=True)
    sys.stdin.readline()
"""


def test_results_that_a_killed_command_left_unfinished_go_with_the_next_ones(tmp_path):
    command = [sys.executable, "-c", WRITING, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    assert len(list(tmp_path.glob(".flairseg-*/content/a"))) == 1
    with all_or_none(tmp_path, ["c"]) as drafts:
        (drafts / "c").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def put(folder: Path, name: str, owner: str | None, age_s: float) -> Path:
    """A folder as a killed process leaves it; with ``owner``, the computer in its lock file."""
    path = folder / name
    (path / "content").mkdir(parents=True)
    (path / "content" / "part").write_text("half")
    if owner is not None:
        (path / "lock").write_text(owner)
    for part in (path / "content" / "part", path / "content", *path.glob("lock"), path):
        os.utime(part, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize(
    ("name", "owner", "age_s", "removed"),
    [
        (".flairseg-abcd1234", "host {here}", 0, True),
        (".flairseg-study-abcd1234", "host {here}", 0, True),
        (".flairseg-abcd1234", "host elsewhere", ABANDONED_S - 60, False),
        (".flairseg-abcd1234", "host elsewhere", ABANDONED_S + 60, True),
        # Its process is between the creation of the folder and the lock, or was killed there.
        (".flairseg-abcd1234", "", 0, False),
        (".flairseg-abcd1234", None, 0, False),
        (".flairseg-abcd1234", None, ABANDONED_S + 60, True),
        # Work of an adaptation, and what is not FlairSeg's.
        (".flairseg-adapt", None, 10 * ABANDONED_S, False),
        ("patients", None, 10 * ABANDONED_S, False),
    ],
)
def test_what_counts_as_abandoned(tmp_path, name, owner, age_s, removed):
    path = put(tmp_path, name, owner and owner.format(here=platform.node()), age_s)
    remove_abandoned(tmp_path)
    assert path.exists() is not removed


def test_the_newest_file_of_a_folder_tells_its_age(tmp_path):
    path = put(tmp_path, ".flairseg-abcd1234", None, 10 * ABANDONED_S)
    os.utime(path / "content" / "part")
    remove_abandoned(tmp_path)
    assert path.exists()


def test_files_go_by_age_and_links_stay(tmp_path):
    for name, age_s in ((".flairseg-old12345", 2 * ABANDONED_S), (".flairseg-new12345", 0)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    elsewhere = put(tmp_path / "elsewhere", ".flairseg-abcd1234", f"host {platform.node()}", 0)
    if os.name != "nt":
        (tmp_path / ".flairseg-link1234").symlink_to(elsewhere)
    remove_abandoned(tmp_path)
    assert not (tmp_path / ".flairseg-old12345").exists()
    assert (tmp_path / ".flairseg-new12345").exists()
    assert elsewhere.exists()


def test_a_folder_is_searched_once_an_hour(tmp_path, monkeypatch):
    searched = []
    monkeypatch.setattr(staging, "remove_abandoned", searched.append)
    now = [1000.0]
    monkeypatch.setattr(staging.time, "monotonic", lambda: now[0])
    for elapsed in (0.0, 10.0, 3500.0, 200.0):
        now[0] += elapsed
        Staging(tmp_path).remove()
    assert searched == [tmp_path] * 2


def test_without_locks_of_the_file_system_age_decides(tmp_path, monkeypatch):
    def refused(handle: int) -> bool:
        raise OSError("no locks available")

    monkeypatch.setattr(staging, "try_lock", refused)
    running, old = Staging(tmp_path), put(tmp_path, ".flairseg-abcd1234", "host elsewhere", 2 * ABANDONED_S)
    remove_abandoned(tmp_path)
    assert running.content.is_dir()
    assert not old.exists()
    running.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(staging.os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        Staging(tmp_path)
    assert list(tmp_path.iterdir()) == []
