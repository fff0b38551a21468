"""Eight raters at once, in eight processes: each gets every answer stored once, and all chains hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter

import pytest
from flairseg.review.cases import CaseArchive
from flairseg.review.store import ReviewStore

from Testing.faults.campaign import ROOT

RATERS, ANSWERS = 8, 15

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: Linux or macOS")


def run_together(jobs: list[dict]) -> list[list[dict]]:
    """Each job in a nursery of its own, all beginning at one moment; what each said."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "FlairSegExtension")])}
    start_at = time.time() + 4
    processes = []
    for job in jobs:
        process = subprocess.Popen(
            [sys.executable, "-m", "Testing.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        process.stdin.write(json.dumps({**job, "start_at": start_at}) + "\n")
        process.stdin.close()
        processes.append(process)
    said = []
    for process in processes:
        said.append([json.loads(line) for line in process.stdout])
        process.stdout.close()
        assert process.wait(60) == 0
    return said


def acknowledged(said: list[list[dict]]) -> list[str]:
    assert not [line for lines in said for line in lines if "error" in line]
    return [line["ack"] for lines in said for line in lines if "ack" in line]


@pytest.mark.slow
@pytest.mark.parametrize("streams", [1, RATERS], ids=["one stream", "a stream each"])
def test_eight_raters_at_once(address, streams):
    """They also create the store at the same moment."""
    jobs = [
        {
            "do": "append",
            "address": address,
            "stream": f"study/s/rater/{n % streams}",
            "count": ANSWERS,
            "patience_s": 60,
        }
        for n in range(RATERS)
    ]
    acks = acknowledged(run_together(jobs))
    assert len(acks) == RATERS * ANSWERS
    with ReviewStore(address) as store:
        assert store.verify() == []
        assert Counter(event.event_id for event in store.events()) == Counter(acks)
        for stream in store.streams():
            numbers = [event.sequence for event in store.events(stream)]
            assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
def test_eight_readers_save_the_same_case(address, tmp_path):
    """Every save gets a number of its own; names that some disks hold for one get folders of their own."""
    jobs = [
        {
            "do": "save",
            "address": address,
            "archive": str(tmp_path / "cases"),
            "outbox": str(tmp_path / "outbox"),
            "case": "sub-01",
            "count": 3,
        }
        for _ in range(RATERS)
    ]
    said = run_together(jobs)
    versions = [line["version"] for lines in said for line in lines if "ack" in line]
    assert sorted(versions) == list(range(1, 3 * RATERS + 1))
    archive = CaseArchive(tmp_path / "cases")
    assert archive.versions("sub-01") == sorted(versions)
    assert not [problem for version in versions for problem in archive.problems("sub-01", version)]
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["sub-01"]
    with ReviewStore(address) as store:
        assert Counter(e.event_id for e in store.events()) == Counter(acknowledged(said))
        assert store.verify() == []
