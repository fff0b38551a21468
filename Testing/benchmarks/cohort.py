"""Cohorts at size: scheduling cost of a task, a synthetic cohort with broken sessions, random deaths, efficiency.

    python -m Testing.benchmarks.cohort overhead --tasks 2000 --jobs 2
    python -m Testing.benchmarks.cohort synthetic --sessions 2000 --jobs 2 --folder /tmp/cohort
    python -m Testing.benchmarks.cohort soak --kills 100 --sessions 200 --folder /tmp/soak
    python -m Testing.benchmarks.cohort efficiency --sessions 24 --jobs 1 2 4

Figures go to standard output as JSON. Sessions are painted heads segmented by a network without training, so that they
take a second each; what is measured is everything around the network.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from flairseg import cohort
from flairseg.cohort import executors
from flairseg.cohort.case import Work
from flairseg.cohort.clusters import ClusterOptions, Share, make_executor
from flairseg.cohort.model import DONE, NO_FLAIR, QUARANTINED
from flairseg.cohort.options import CaseOptions
from flairseg.cohort.tasks import NOTHING, Task

from Testing.core.cohort_data import BREAKAGES, bids_image, head
from Testing.core.tiny import make_model

#: Share of the sessions that are broken, and of the subjects that have two.
BROKEN, FOLLOWED = 0.05, 0.5
RUN = {"device": "cpu", "regions": False, "overview": False, "page": False}


class Memory(threading.Thread):
    """Resident memory of this process and of its largest child, sampled."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float, float]] = []
        self._over = threading.Event()

    def run(self) -> None:
        began, own = time.monotonic(), psutil.Process()
        while not self._over.wait(2.0):
            children = []
            for child in own.children(recursive=True):
                try:
                    children.append(child.memory_info().rss)
                except psutil.Error:
                    continue
            self.samples.append((time.monotonic() - began, own.memory_info().rss, max(children, default=0)))

    def report(self) -> dict[str, Any]:
        """Megabytes in the second quarter and in the last: flat memory is the same in both."""
        self._over.set()
        if len(self.samples) < 8:
            return {}
        quarter = len(self.samples) // 4
        parts = {"second quarter": self.samples[quarter : 2 * quarter], "last quarter": self.samples[-quarter:]}
        return {
            name: {
                "scheduler_mb": round(max(s[1] for s in part) / 1e6),
                "worker_mb": round(max(s[2] for s in part) / 1e6),
            }
            for name, part in parts.items()
        }


def overhead(tasks: int, jobs: int) -> dict[str, Any]:
    """What handing a task out and taking its outcome in costs, through the executor and loop of a real run."""
    folder = Path("/tmp") if jobs == 1 else Path(os.environ.get("TMPDIR", "/tmp"))
    work = Work(cohort.Layout(folder), CaseOptions("none", "0"), {}, {})
    executor = make_executor(ClusterOptions(jobs=jobs), "bench", Share(jobs, 1, 1 << 30), folder)
    _start_without_model(executor, work)
    memory = Memory()
    memory.start()
    began = time.monotonic()
    waiting, in_flight, seen = tasks, 0, 0
    while waiting or in_flight:
        while waiting and in_flight < executor.capacity():
            executor.submit(Task(NOTHING, (f"n{waiting}",)))
            waiting, in_flight = waiting - 1, in_flight + 1
        if executor.next(1.0) is not None:
            in_flight, seen = in_flight - 1, seen + 1
    spent = time.monotonic() - began
    executor.close()
    return {"tasks": seen, "jobs": jobs, "seconds": round(spent, 2), "ms_a_task": round(1000 * spent / tasks, 3),
            "memory": memory.report()}  # fmt: skip


def _start_without_model(executor: Any, work: Work) -> None:
    if isinstance(executor, executors.InProcess):
        return
    executor._client.wait_for_workers(1, timeout=120)


def make_cohort(folder: Path, sessions: int, seed: int = 0) -> dict[str, str]:
    """A BIDS data set of so many sessions, half of the subjects with two, one in twenty broken; broken ones by case."""
    rng = random.Random(seed)
    broken: dict[str, str] = {}
    made = subject = 0
    ways = list(BREAKAGES)
    while made < sessions:
        subject += 1
        visits = 2 if rng.random() < FOLLOWED and made + 2 <= sessions else 1
        for visit in range(1, visits + 1):
            label = f"{subject:05d}"
            case = f"sub-{label}_ses-{visit}"
            path = folder / f"sub-{label}" / f"ses-{visit}" / "anat" / f"{case}_FLAIR.nii.gz"
            there = path.exists() or path.is_symlink()
            if rng.random() < BROKEN:
                way = broken[case] = ways[len(broken) % len(ways)]
                path.parent.mkdir(parents=True, exist_ok=True)
                if not there:
                    BREAKAGES[way](path, head(made))
            elif not there:
                bids_image(folder, label, str(visit), seed=made)
            made += 1
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "synthetic", "BIDSVersion": "1.10.0"}))
    return broken


def synthetic(folder: Path, sessions: int, jobs: int, follow: bool) -> dict[str, Any]:
    """Generate, run, and account for every session; some are compared with single runs."""
    broken = make_cohort(folder / "bids", sessions)
    model = make_model(folder / "models")
    memory = Memory()
    memory.start()
    began = time.monotonic()
    table = cohort.run(folder / "bids", folder / "out", model=model, jobs=jobs, follow=follow, **RUN)
    spent, used = time.monotonic() - began, memory.report()
    rows = {row.case: row for row in table}
    wrong = [c for c, row in rows.items() if (row.status in (DONE,)) == (c in broken)]
    sample = [row for row in rows.values() if row.status == DONE][:: max(1, len(rows) // 20)]
    differing = [row.case for row in sample if not _same_alone(folder, row, model)]
    codes = Counter(row.code for row in rows.values() if row.status not in (DONE, NO_FLAIR))
    return {
        "sessions": len(rows), "broken": len(broken), "ways": len(set(broken.values())), "counts": table.counts(),
        "wrong": wrong, "compared_with_single_runs": len(sample), "differing": differing, "codes": dict(codes),
        "comparisons": len(table.changes()), "seconds": round(spent, 1), "jobs": jobs,
        "seconds_a_session": round(spent / max(1, len(rows)), 3), "memory": used,
    }  # fmt: skip


def _same_alone(folder: Path, row: Any, model: Path) -> bool:
    from flairseg import segment

    alone = segment(Path(row.session.path), model, "cpu")
    return alone.summary()["volumes_ml"] == dict(row.volumes_ml) and alone.lesion_count == row.lesion_count


def soak(folder: Path, sessions: int, kills: int, jobs: int, seed: int = 0) -> dict[str, Any]:
    """Kill workers and whole runs with SIGKILL at random while a cohort is worked on; look for what was lost."""
    rng = random.Random(seed)
    make_cohort(folder / "bids", sessions)
    model = make_model(folder / "models")
    rounds, killed, lost, half = 0, Counter(), [], []
    finished: dict[str, str] = {}
    while sum(killed.values()) < kills:
        rounds += 1
        if _all_done(folder, sessions):
            _forget_some(folder, rng)
        run = _start(folder, model, jobs)
        while run.poll() is None and sum(killed.values()) < kills:
            time.sleep(rng.uniform(0.5, 4.0))
            if (what := _kill(run, rng)) is not None:
                killed[what] += 1
        _end(run)
        now = {row.case: row.finished for row in cohort.CohortTable.open(folder / "out") if row.status == DONE}
        lost += [case for case in finished if case not in now and case not in _forgotten]
        half += [str(p) for p in (folder / "out").rglob("*.nii.gz") if not _is_temporary(p) and not _whole(p)]
        finished = now
        _forgotten.clear()
    run = _start(folder, model, jobs, "--retry-failed")
    run.wait()
    rows = list(cohort.CohortTable.open(folder / "out"))
    return {
        "kills": dict(killed), "runs": rounds + 1, "sessions": sessions, "rows": len(rows),
        "leftovers": [str(p) for p in (folder / "out").rglob("*") if _is_temporary(p)],
        "twice": [c for c, n in Counter(row.case for row in rows).items() if n > 1], "lost": lost, "half_written": half,
        "statuses": dict(Counter(row.status for row in rows)),
        "quarantined": sum(row.status == QUARANTINED for row in rows),
    }  # fmt: skip


_forgotten: set[str] = set()


def _all_done(folder: Path, sessions: int) -> bool:
    return len(list(cohort.CohortTable.open(folder / "out"))) >= sessions


def _forget_some(folder: Path, rng: random.Random) -> None:
    """Take half of the rows away, so that there is something to do again."""
    rows = sorted((folder / "out" / "work" / "rows").glob("*.json"))
    for path in rng.sample(rows, len(rows) // 2):
        _forgotten.add(path.stem)
        path.unlink()


def _start(folder: Path, model: Path, jobs: int, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flairseg", "cohort", folder / "bids", "-o", folder / "out", "-m", model, "-j",
               str(jobs), "--memory", "2GB", "--no-regions", "--no-overview", "--no-follow", "--no-page", "--quiet",
               "--device", "cpu", "--dashboard", "", *more]  # fmt: skip
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)


def _kill(run: subprocess.Popen[bytes], rng: random.Random) -> str | None:
    """A worker, more often than not; else the whole run, which holds the scheduler too. None: nothing to kill."""
    try:
        children = psutil.Process(run.pid).children(recursive=True)
    except psutil.Error:
        return None
    workers = [c for c in children if _is_worker(c)]
    if not workers:
        # Starting: killed now and then too.
        if rng.random() > 0.02:
            return None
        run.kill()
        run.wait()
        return "run while it started"
    if rng.random() < 0.15:
        run.kill()
        run.wait()
        return "run and scheduler"
    try:
        os.kill(rng.choice(workers).pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return "worker"


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _end(run: subprocess.Popen[bytes]) -> None:
    if run.poll() is None:
        run.kill()
        run.wait()


def _is_temporary(path: Path) -> bool:
    return any(part.startswith(".flairseg-") for part in path.parts)


def _whole(path: Path) -> bool:
    import gzip

    try:
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError):
        return False
    return True


def efficiency(folder: Path, sessions: int, jobs: list[int]) -> list[dict[str, Any]]:
    """The same cohort by one, two and more workers."""
    make_cohort(folder / "bids", sessions)
    model = make_model(folder / "models")
    lines: list[dict[str, Any]] = []
    for count in jobs:
        began = time.monotonic()
        cohort.run(folder / "bids", folder / f"out{count}", model=model, jobs=count, follow=False, **RUN)
        spent = time.monotonic() - began
        first = lines[0]["seconds"] if lines else spent
        lines.append({"workers": count, "seconds": round(spent, 1), "speed_up": round(first / spent, 2),
                      "efficiency": round(first / spent / count, 2), "cores": os.cpu_count()})  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "synthetic", "soak", "efficiency", "make"))
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, nargs="+", default=[2])
    parser.add_argument("--folder", type=Path, default=Path("cohort-bench"))
    parser.add_argument("--no-follow", action="store_true")
    given = parser.parse_args()
    if given.what == "overhead":
        found: Any = [overhead(given.tasks, jobs) for jobs in given.jobs]
    elif given.what == "synthetic":
        found = synthetic(given.folder, given.sessions, given.jobs[0], not given.no_follow)
    elif given.what == "soak":
        found = soak(given.folder, given.sessions, given.kills, given.jobs[0])
    elif given.what == "efficiency":
        found = efficiency(given.folder, given.sessions, given.jobs)
    else:
        found = {"broken": make_cohort(given.folder / "bids", given.sessions)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
