"""Rounds of kill -9 against store, outbox and archive, and the count of what was lost and what was doubled.

A round starts a writer, kills it after a random moment and keeps what it had acknowledged. Then what it had begun but
not seen acknowledged is sent again, as a program does that restores its state. At the end every acknowledged event must
be there, once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flairseg.review.cases import CaseArchive
from flairseg.review.outbox import Outbox
from flairseg.review.recorder import VerdictRecorder
from flairseg.review.store import ReviewStore

ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """A process whose children write until they are killed."""

    def __init__(self) -> None:
        paths = [str(ROOT), str(ROOT / "FlairSegExtension"), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "Testing.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._read("ready")

    def run(self, job: dict, kill_after_s: float | None = None) -> list[dict]:
        """What a child said; it is killed after that time (None: it ends by itself)."""
        self.begin(job)
        pid = self._read("pid")["pid"]
        timer = None
        if kill_after_s is not None:
            timer = threading.Timer(kill_after_s, _kill, [pid])
            timer.start()
        said = self.end()
        if timer is not None:
            timer.cancel()
        return said

    def begin(self, job: dict) -> None:
        """Start a child without waiting for it."""
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def end(self) -> list[dict]:
        """What the child said until it was gone, which is the last entry."""
        said = []
        while "gone" not in (line := self._line()):
            said.append(line)
        return [*said, line]

    def moments(self, job: dict, seed: int) -> Iterator[float]:
        """Random times, s, at which to kill such a writer: from its first step to well into its work."""
        began = time.monotonic()
        self.run({**job, "count": 5})
        usual = time.monotonic() - began
        rng = random.Random(seed)
        while True:
            yield rng.uniform(0.0, 1.5 * usual)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(20)

    def _read(self, key: str) -> dict:
        line = self._line()
        assert key in line, line
        return line

    def _line(self) -> dict:
        text = self._process.stdout.readline()
        if not text:
            raise RuntimeError("the nursery has ended")
        return json.loads(text)


def _kill(pid: int) -> None:
    # The nursery waits for its child only after the child is gone, so that the number cannot be another process's.
    os.kill(pid, signal.SIGKILL)


@dataclass
class Figures:
    """What came out of a campaign."""

    target: str
    rounds: int = 0
    killed: int = 0
    acknowledged: int = 0
    stored: int = 0
    lost: int = 0
    duplicated: int = 0
    in_doubt: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def clean(self) -> bool:
        """Whether nothing was lost, doubled or out of order."""
        return self.lost == self.duplicated == 0 and not self.problems

    def line(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if k != "problems"} | {"problems": len(self.problems)})


def kill_appends(nursery: Nursery, address: str, rounds: int, seed: int = 0, target: str = "store") -> Figures:
    """kill -9 while events are appended straight to the store."""
    figures, began = Figures(target), time.monotonic()
    acknowledged, tried = [], []
    common = {"do": "append", "address": address}
    moments = nursery.moments({**common, "stream": "warm-up"}, seed)
    for n in range(rounds):
        job = {**common, "stream": f"study/s/rater/{n % 3}"}
        said = nursery.run(job, next(moments))
        tried += [line["try"] for line in said if "try" in line]
        acknowledged += [line["ack"] for line in said if "ack" in line]
        figures.killed += said[-1]["gone"] == signal.SIGKILL
        open_ids = {line["try"] for line in said if "try" in line} - {line["ack"] for line in said if "ack" in line}
        if open_ids:
            repeated = {**job, "again": sorted(open_ids), "count": len(open_ids)}
            acknowledged += [line["ack"] for line in nursery.run(repeated) if "ack" in line]
    with ReviewStore(address) as store:
        _count(figures, store, acknowledged, tried)
    figures.rounds, figures.seconds = rounds, round(time.monotonic() - began, 1)
    return figures


def kill_records(
    nursery: Nursery, address: str, folder: Path, rounds: int, seed: int = 0, target: str = "outbox"
) -> Figures:
    """kill -9 while events go through an outbox; the survivors are delivered at the end, twice."""
    figures, began = Figures(target), time.monotonic()
    acknowledged, tried = [], []
    common = {"do": "record", "address": address, "outbox": str(folder)}
    moments = nursery.moments({**common, "outbox": str(folder / "warm-up"), "stream": "warm-up"}, seed)
    for n in range(rounds):
        said = nursery.run({**common, "stream": f"study/s/rater/{n % 3}"}, next(moments))
        tried += [line["try"] for line in said if "try" in line]
        acknowledged += [line["ack"] for line in said if "ack" in line]
        figures.killed += said[-1]["gone"] == signal.SIGKILL
    outbox = Outbox(folder, lambda: ReviewStore(address))
    waiting = outbox.flush()
    with ReviewStore(address) as store:
        outbox.replay(store)
        _count(figures, store, acknowledged, tried)
        figures.problems += [str(p) for p in store.verify(anchors=outbox.anchors())]
    figures.problems += [f"{waiting} events still wait: {outbox.problem}"] if waiting else []
    figures.problems += [*outbox.damaged, *(r.message for r in outbox.refused)]
    outbox.close()
    figures.rounds, figures.seconds = rounds, round(time.monotonic() - began, 1)
    return figures


def kill_saves(
    nursery: Nursery, address: str, folder: Path, rounds: int, seed: int = 0, target: str = "archive"
) -> Figures:
    """kill -9 while cases are saved with their verdicts; events that never came about are made up for."""
    figures, began = Figures(target), time.monotonic()
    said = []
    common = {"do": "save", "address": address}
    elsewhere = {"outbox": str(folder / "warm-up"), "archive": str(folder / "warm-up"), "case": "warm-up"}
    moments = nursery.moments({**common, **elsewhere}, seed)
    for n in range(rounds):
        job = {**common, "outbox": str(folder / "outbox"), "archive": str(folder / "cases"), "case": f"case {n % 2}"}
        lines = nursery.run(job, next(moments))
        figures.killed += lines[-1]["gone"] == signal.SIGKILL
        said += lines
    outbox = Outbox(folder / "outbox", lambda: ReviewStore(address))
    recorder = VerdictRecorder(CaseArchive(folder / "cases"), outbox)
    recorder.reconcile()
    outbox.flush()
    archive = recorder.archive
    versions = {(saved.case, saved.version): content["event_id"] for saved, content in archive.verdicts()}
    acknowledged = {(line["case"], line["version"]): line["ack"] for line in said if "ack" in line}
    figures.lost += sum(versions.get(place) != event for place, event in acknowledged.items())
    figures.duplicated += len(versions) - len(set(versions.values()))
    for case, version in versions:
        figures.problems += archive.problems(case, version)
    for case in archive.cases():
        numbers = archive.versions(case)
        figures.problems += [f"{case}: versions {numbers}"] if numbers != list(range(1, len(numbers) + 1)) else []
    with ReviewStore(address) as store:
        # The writer of a round may be killed between the case and its event: reconcile() above made up for it.
        _count(figures, store, list(versions.values()), [line["try"] for line in said if "try" in line])
    recorder.close()
    figures.acknowledged, figures.in_doubt = len(acknowledged), len(versions) - len(acknowledged)
    figures.rounds, figures.seconds = rounds, round(time.monotonic() - began, 1)
    return figures


def _count(figures: Figures, store: ReviewStore, acknowledged: list[str], tried: list[str]) -> None:
    warm_up = [event.event_id for event in store.events() if "warm-up" in event.stream]
    stored = Counter(event.payload.get("id", event.event_id) for event in store.events())
    stored -= Counter(warm_up)
    figures.acknowledged += len(set(acknowledged))
    figures.stored = sum(stored.values())
    figures.lost += len(set(acknowledged) - set(stored))
    figures.duplicated += sum(count - 1 for count in stored.values())
    figures.in_doubt = len(set(stored) - set(acknowledged))
    figures.problems += [f"nobody sent {event}" for event in set(stored) - set(tried)]
    figures.problems += [str(problem) for problem in store.verify()]
