"""The whole module as a reader uses it, on both platforms; and a reader who is killed while his verdict is saved.

``FLAIRSEG_PICTURES=folder`` keeps a picture of each step.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flairseg.review.cases import CaseArchive
from flairseg.review.recorder import open_recorder

from Testing.harness import xvfb

ROOT = Path(__file__).parents[2]
#: Killed readers: enough to hit the writing of image, labels, verdict and entry; each takes seconds to start.
ROUNDS = 4


@pytest.fixture
def pictures(tmp_path) -> Path:
    return Path(os.environ.get("FLAIRSEG_PICTURES") or tmp_path / "pictures")


def environment(base: dict[str, str]) -> dict[str, str]:
    return {**base, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "FlairSegExtension")])}


def check(facts: dict, folder: Path) -> None:
    from Testing.slicer.walkthrough import STEPS

    assert facts["cancelled_by_the_click"] is True
    assert {"labels.nii.gz", "verdict.json"} <= set(facts["files"])
    assert len(set(facts["versions"])) == 2
    for step in (*STEPS, "segmenting"):
        assert (folder / f"{step}.png").stat().st_size > 20_000, step


@pytest.mark.slow
def test_from_an_empty_scene_to_a_second_version(slicer, main_window, load_module, pictures, tmp_path):
    from Testing.slicer.walkthrough import Walkthrough

    module = load_module("FlairSeg")
    window = main_window("FlairSeg", width=1400, height=1000)
    folder = pictures / "offscreen"
    walk = Walkthrough(
        window,
        module.widgetRepresentation().self(),
        tmp_path,
        lambda step: window.screenshot(folder / f"{step}.png"),
    )
    check(walk.run(), folder)
    labels = walk.labels()
    walk.check_colours(labels)
    for other in (labels[:, :, ::-1], labels[:, ::-1], labels[::-1]):
        with pytest.raises(AssertionError, match="colour"):
            walk.check_colours(other)


@pytest.mark.slow
def test_the_same_under_an_x_server(application, pictures):
    if xvfb.why_not() and not os.environ.get("CI"):
        pytest.skip(xvfb.why_not())
    folder = pictures / "xcb"
    with xvfb.display() as display:
        done = subprocess.run(
            [sys.executable, "-m", "Testing.slicer.walkthrough", "--pictures", str(folder)],
            env=environment(display),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["platform"] == "xcb"
    check(facts, folder)


def digests(folder: Path) -> dict[str, str]:
    """Every file of a version, by its digest."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.slow
def test_a_reader_killed_while_saving_loses_no_version(application, tmp_path):
    from Testing.slicer.accepting_reader import CASE

    cases, archive = tmp_path / "cases", CaseArchive(tmp_path / "cases")
    dice, known = random.Random(0), {}
    for n in range(ROUNDS):
        reader = subprocess.Popen(
            [sys.executable, "-m", "Testing.slicer.accepting_reader", str(cases)],
            env=environment({**os.environ, "QT_QPA_PLATFORM": "offscreen"}),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        announced = []
        try:
            # Let some verdicts through, then kill within the next.
            for line in reader.stdout:
                announced += [int(line.split("v")[-1])] if line.startswith("saved") else []
                if line == "clicked\n" and len(announced) > n:
                    break
            time.sleep(dice.uniform(0, 0.15))
        finally:
            reader.kill()
            reader.wait()
            reader.stdout.close()
        assert len(announced) == n + 1, "the reader ended by himself"
        found = archive.versions(CASE)
        assert set(known) | set(announced) <= set(found)
        assert found == list(range(1, len(found) + 1))
        for version in found:
            assert archive.problems(CASE, version) == []
            assert archive.load(CASE, version).verdict.verdict == "accepted"
            kept = digests(archive.path(CASE, version))
            assert known.setdefault(version, kept) == kept, f"version {version} was touched"
    recorder = open_recorder(cases)
    try:
        recorder.reconcile()
        entries = [event.payload["version"] for event in recorder.outbox.recorded()]
    finally:
        recorder.close()
    assert sorted(entries) == sorted(known), "one entry for each version that is on the disk"
