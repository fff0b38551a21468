"""Cohorts at size: scheduling cost of a task, a synthetic cohort with broken sessions, random deaths, efficiency.

    python -m Testing.benchmarks.cohort overhead --tasks 2000 --jobs 2
    python -m Testing.benchmarks.cohort synthetic --sessions 2000 --jobs 2 --folder /tmp/cohort
    python -m Testing.benchmarks.cohort soak --kills 100 --sessions 200 --folder /tmp/soak [--apart]
    python -m Testing.benchmarks.cohort efficiency --sessions 24 --jobs 1 2 4
    python -m Testing.benchmarks.cohort tables --sessions 10000
    python -m Testing.benchmarks.cohort quality
    python -m Testing.benchmarks.cohort real --jobs 1 --folder /tmp/real

Figures go to standard output as JSON. Sessions are painted heads segmented by a network without training, so that they
take a second each; what is measured is everything around the network. CPU seconds are those of the processes concerned.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from flairseg import cohort
from flairseg.cohort import executors
from flairseg.cohort.clusters import ClusterOptions, Share, make_executor
from flairseg.cohort.image_quality import MEASURES, measure
from flairseg.cohort.model import DONE, NO_FLAIR, QUARANTINED
from flairseg.cohort.page import write_page
from flairseg.cohort.rows import read_rows, write_row
from flairseg.cohort.tables import write_tables
from flairseg.cohort.tasks import NOTHING, Task
from flairseg.io.reader import read_volume

from Testing.core import real_data
from Testing.core.cohort_data import BREAKAGES, bids_image, head
from Testing.core.cohort_rows import RUN as RUN_JSON
from Testing.core.cohort_rows import many
from Testing.core.processes import dask_workers
from Testing.core.tiny import make_model

#: Share of the sessions that are broken, and of the subjects that have two.
BROKEN, FOLLOWED = 0.05, 0.5
#: Seconds without a task, to know what that costs.
_IDLE_S = 15.0
RUN = {"device": "cpu", "regions": False, "overview": False}


class Memory(threading.Thread):
    """Resident memory of this process (client and scheduler) and of its largest child (a worker), sampled.

    Parameters
    ----------
    done : callable
        How many tasks are finished: the abscissa of the slopes.
    """

    def __init__(self, done: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[int, float, float]] = []
        self._done = done
        self._over = threading.Event()

    def run(self) -> None:
        own = psutil.Process()
        while not self._over.wait(1.0):
            children = []
            for child in own.children(recursive=True):
                try:
                    children.append(child.memory_info().rss)
                except psutil.Error:
                    continue
            self.samples.append((self._done(), own.memory_info().rss / 1e6, max(children, default=0) / 1e6))

    def report(self) -> dict[str, Any]:
        """Megabytes at a quarter of the tasks and at the end, and growth in MB for each 1,000 tasks in between.

        The first quarter, in which workers start and models are loaded, does not count, nor what comes after the last
        task (the page of the cohort, the end of the workers).
        """
        self._over.set()
        self.join()
        most = max((n for n, _, _ in self.samples), default=0)
        late = np.array([s for s in self.samples if most / 4 <= s[0] < most and s[2] > 0], float)
        if len(late) < 8 or np.ptp(late[:, 0]) == 0:
            return {}
        return {
            name: {
                "mb_at_a_quarter": round(float(np.median(late[:3, column]))),
                "mb_at_the_end": round(float(np.median(late[-3:, column]))),
                "mb_per_1000": round(1000 * float(np.polyfit(late[:, 0], late[:, column], 1)[0]), 2),
            }
            for column, name in ((1, "scheduler"), (2, "largest_worker"))
        }


def cpu_of_children() -> float:
    """CPU seconds of the children of this process so far, those that live and those that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue
        living += times.user + times.system
    return ended.ru_utime + ended.ru_stime + living


class Cpu:
    """CPU seconds since it was made: whatever else the computer does, they are of the work alone."""

    def __init__(self) -> None:
        self._own, self._children, self._began = time.process_time(), cpu_of_children(), time.monotonic()

    def report(self, tasks: int) -> dict[str, Any]:
        """CPU of client and scheduler, of the workers, and both for each task."""
        own, workers = time.process_time() - self._own, cpu_of_children() - self._children
        return {
            "wall_s": round(time.monotonic() - self._began, 1),
            "scheduler_cpu_s": round(own, 1),
            "workers_cpu_s": round(workers, 1),
            "scheduler_cpu_ms_a_task": round(1000 * own / max(1, tasks), 2),
            "workers_cpu_ms_a_task": round(1000 * workers / max(1, tasks), 2),
        }


def overhead(tasks: int, jobs: int) -> dict[str, Any]:
    """What handing a task out and taking its outcome in costs, through the executor of a real run."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = ClusterOptions(jobs=jobs, dashboard="")
        executor = make_executor(cluster, "bench", Share(jobs, 1, 1 << 30), Path(folder))
        _start_without_model(executor, jobs)
        waiting, in_flight, seen = tasks, 0, 0
        idle, until = Cpu(), time.monotonic() + _IDLE_S
        while time.monotonic() < until:
            executor.next(1.0)
        rested = idle.report(1)
        memory = Memory(lambda: seen)
        memory.start()
        cpu = Cpu()
        while waiting or in_flight:
            while waiting and in_flight < executor.capacity():
                executor.submit(Task(NOTHING, (f"n{waiting}",)))
                waiting, in_flight = waiting - 1, in_flight + 1
            if executor.next(1.0) is not None:
                in_flight, seen = in_flight - 1, seen + 1
        used, grown = cpu.report(tasks), memory.report()
        executor.close()
    # What Dask takes whether or not there is something to do: the longer the wall-clock time, the more.
    idle_ms = 1000 * rested["scheduler_cpu_s"] / rested["wall_s"]
    own_ms = used["scheduler_cpu_ms_a_task"] - idle_ms * used["wall_s"] / tasks
    return {"tasks": seen, "jobs": jobs, **used, "idle_scheduler_cpu_ms_a_second": round(idle_ms, 1),
            "scheduler_cpu_ms_a_task_without_idle": round(own_ms, 2), "memory": grown}  # fmt: skip


def _start_without_model(executor: Any, jobs: int) -> None:
    if isinstance(executor, executors.InProcess):
        return
    executor._client.wait_for_workers(jobs, timeout=300)


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
    events: Counter[str] = Counter()
    memory = Memory(lambda: events["session"] + events["change"])
    memory.start()
    cpu = Cpu()
    table = cohort.run(
        folder / "bids", folder / "out", model=model, jobs=jobs, follow=follow,
        listener=lambda event: events.update([event.name]), **RUN,
    )  # fmt: skip
    used, grown = cpu.report(sessions), memory.report()
    rows = {row.case: row for row in table}
    wrong = [c for c, row in rows.items() if (row.status in (DONE,)) == (c in broken)]
    sample = [row for row in rows.values() if row.status == DONE][:: max(1, len(rows) // 20)]
    differing = [row.case for row in sample if not _same_alone(folder, row, model)]
    codes = Counter(row.code for row in rows.values() if row.status not in (DONE, NO_FLAIR))
    return {
        "sessions": len(rows), "broken": len(broken), "ways": len(set(broken.values())), "counts": table.counts(),
        "wrong": wrong, "compared_with_single_runs": len(sample), "differing": differing, "codes": dict(codes),
        "unaccounted": sorted({s.case for s in cohort.find_sessions(folder / "bids").sessions} ^ set(rows)),
        "comparisons": dict(Counter(change.status for change in table.changes())), "jobs": jobs, **used,
        "memory": grown,
    }  # fmt: skip


def _same_alone(folder: Path, row: Any, model: Path) -> bool:
    from flairseg import segment

    alone = segment(Path(row.session.path), model, "cpu")
    return alone.summary()["volumes_ml"] == dict(row.volumes_ml) and alone.lesion_count == row.lesion_count


class Soak:
    """A cohort that is worked on while its processes are killed with SIGKILL at random, and what became of it.

    Parameters
    ----------
    folder : Path
    sessions, jobs : int
    apart : bool
        Scheduler, workers and client are processes of their own; else the client holds scheduler and workers.
    """

    def __init__(self, folder: Path, sessions: int, jobs: int, apart: bool, seed: int = 0) -> None:
        self.output, self._source, self._sessions = folder / "out", folder / "bids", sessions
        self._rng, self._jobs, self._apart = random.Random(seed), jobs, apart
        make_cohort(self._source, sessions)
        self._model = make_model(folder / "models")
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._nannies: subprocess.Popen[bytes] | None = None
        self._address = ""
        self.killed: Counter[str] = Counter()
        self.rounds = 0
        self.codes: Counter[int] = Counter()
        self.lost: list[str] = []
        self.redone: list[str] = []
        self.half: list[str] = []
        self._known: dict[str, str] = {}

    def run(self, kills: int, minutes: float) -> dict[str, Any]:
        """Kill so often, or for so long, end one run in peace, and look at everything."""
        until = time.monotonic() + 60 * minutes
        try:
            while self.killed.total() < kills and time.monotonic() < until:
                self._round(kills, until)
            self._start_cluster()
            last = self._start("--retry-failed").wait()
            self._look()
        finally:
            self._end_cluster()
        rows = list(cohort.CohortTable.open(self.output))
        begun = self.output / "work" / "begun"
        return {
            "kills": dict(self.killed), "apart": self._apart, "runs": self.rounds + 1, "sessions": self._sessions,
            "exit_codes": {str(k): n for k, n in self.codes.items()}, "last_exit_code": last,
            "rows": len(rows), "statuses": dict(Counter(row.status for row in rows)),
            "lost": self.lost, "done_again": self.redone, "half_written": self.half,
            "in_table_twice": [c for c, n in Counter(self._in_table()).items() if n > 1],
            "not_in_table": sorted({row.case for row in rows} ^ set(self._in_table())),
            "quarantined": [row.case for row in rows if row.status == QUARANTINED],
            "leftovers": [str(p) for p in self.output.rglob("*") if _is_temporary(p)],
            "markers": sorted(os.listdir(begun)) if begun.is_dir() else [],
        }  # fmt: skip

    def _round(self, kills: int, until: float) -> None:
        self.rounds += 1
        if len(list(cohort.CohortTable.open(self.output))) >= self._sessions:
            self._forget_some()
        self._start_cluster()
        run = self._start()
        while run.poll() is None and self.killed.total() < kills and time.monotonic() < until:
            self._wait(run)
            if (what := self._kill(run)) is not None:
                self.killed[what] += 1
        if run.poll() is None:
            run.kill()
        self.codes[run.wait()] += 1
        self._look()

    def _look(self) -> None:
        now = {row.case: row.finished for row in cohort.CohortTable.open(self.output) if row.status == DONE}
        self.lost += [case for case in self._known if case not in now]
        self.redone += [case for case, moment in self._known.items() if now.get(case, moment) != moment]
        self.half += [str(p) for p in self.output.rglob("*.nii.gz") if not _is_temporary(p) and not _whole(p)]
        self._known = now

    def _in_table(self) -> list[str]:
        with (self.output / "cohort.csv").open(encoding="utf-8") as stream:
            return [row["case"] for row in csv.DictReader(stream)]

    def _forget_some(self) -> None:
        """Take half of the rows away, so that there is something to do again."""
        rows = sorted((self.output / "work" / "rows").glob("*.json"))
        for path in self._rng.sample(rows, len(rows) // 2):
            self._known.pop(path.stem, None)
            path.unlink()

    def _wait(self, run: subprocess.Popen[bytes]) -> None:
        """Until up to three more sessions are finished, and a moment: whatever the pace of the computer."""
        rows, until = self.output / "work" / "rows", time.monotonic() + 60

        def count() -> int:
            return len(list(rows.glob("*.json")))

        wanted = count() + self._rng.randint(0, 3)
        while run.poll() is None and count() < wanted and time.monotonic() < until:
            time.sleep(0.2)
        time.sleep(self._rng.uniform(0.1, 2.0))

    def _kill(self, run: subprocess.Popen[bytes]) -> str | None:
        """Mostly a worker; else the run or, apart, the scheduler. None: nothing to kill."""
        above = self._nannies if self._apart else run
        try:
            workers = dask_workers(psutil.Process(above.pid)) if above is not None else []
        except psutil.Error:
            workers = []
        if run.poll() is not None:
            return None
        if workers and self._rng.random() < 0.7:
            try:
                self._rng.choice(workers).kill()
            except psutil.Error:
                return None
            return "worker"
        if self._apart and self._scheduler is not None and self._rng.random() < 0.5:
            self._scheduler.kill()
            self._scheduler.wait()
            return "scheduler"
        run.kill()
        run.wait()
        if self._apart:
            return "client"
        return "run and scheduler" if workers else "run while it started"

    def _start(self, *more: str) -> subprocess.Popen[bytes]:
        where = ["--scheduler", self._address] if self._apart else ["--memory", "2GB", "--dashboard", ""]
        command = [sys.executable, "-m", "flairseg", "cohort", self._source, "-o", self.output, "-m", self._model, "-j",
                   str(self._jobs), *where, "--no-regions", "--no-overview", "--no-follow", "--no-page", "--quiet",
                   "--device", "cpu", *more]  # fmt: skip
        return subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)

    def _start_cluster(self) -> None:
        """A scheduler with workers, where there is none that lives."""
        alive = [p is not None and p.poll() is None for p in (self._scheduler, self._nannies)]
        if not self._apart or all(alive):
            return
        self._end_cluster()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"tcp://127.0.0.1:{port}"
        python = [sys.executable, "-m"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._scheduler = subprocess.Popen(
            [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard",
             "--dashboard-address", "127.0.0.1:0"], **quiet)  # fmt: skip
        self._nannies = subprocess.Popen(
            [*python, "distributed.cli.dask_worker", self._address, "--nworkers", str(self._jobs), "--nthreads", "1",
             "--memory-limit", "2GB", "--no-dashboard", "--local-directory", tempfile.gettempdir()],
            **quiet)  # fmt: skip

    def _end_cluster(self) -> None:
        for process in (self._nannies, self._scheduler):
            if process is not None and process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        child.kill()
                process.kill()
                process.wait()
        self._nannies = self._scheduler = None


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


def efficiency(folder: Path, sessions: int, jobs: list[int]) -> dict[str, Any]:
    """The same cohort by one, two and more workers; where others use the computer too, CPU tells more than time.

    What starting a worker and what a session costs is told apart by least squares over the runs with several workers.
    """
    make_cohort(folder / "bids", sessions)
    model = make_model(folder / "models")
    lines: list[dict[str, Any]] = []
    for count in jobs:
        cpu = Cpu()
        cohort.run(folder / "bids", folder / f"out{count}", model=model, jobs=count, follow=False, page=False, **RUN)
        used = cpu.report(sessions)
        total = used["scheduler_cpu_s"] + used["workers_cpu_s"]
        first = lines[0] if lines else {"cpu_s": total, "wall_s": used["wall_s"]}
        lines.append({"workers": count, "cpu_s": round(total, 1), "cores_used": round(total / used["wall_s"], 2),
                      "speed_up": round(first["wall_s"] / used["wall_s"], 2),
                      "cpu_efficiency": round(first["cpu_s"] / total, 2), "cores": os.cpu_count(), **used})  # fmt: skip
    several = [line for line in lines if line["workers"] > 1]
    found: dict[str, Any] = {"runs": lines}
    if len(several) > 1:
        parts = np.array([[sessions, line["workers"]] for line in several], float)
        (each, start), *_ = np.linalg.lstsq(parts, [line["workers_cpu_s"] for line in several], rcond=None)
        found |= {"cpu_s_a_session": round(float(each), 3), "cpu_s_to_start_a_worker": round(float(start), 2)}
    return found


def tables(sessions: int) -> dict[str, Any]:
    """CPU seconds of what is made of all rows together, for so many sessions."""
    with tempfile.TemporaryDirectory() as folder:
        layout = cohort.Layout(Path(folder))
        made = many(sessions)

        def seconds(work: Callable[[], Any]) -> float:
            began = time.process_time()
            work()
            return round(time.process_time() - began, 2)

        rows = {row.case: row for row in made}
        return {
            "sessions": len(rows),
            "write_rows_cpu_s": seconds(lambda: [write_row(layout, row) for row in made]),
            "read_rows_cpu_s": seconds(lambda: read_rows(layout)),
            "write_tables_cpu_s": seconds(lambda: write_tables(layout, rows, {})),
            "write_page_cpu_s": seconds(lambda: write_page(layout, made, [], RUN_JSON)),
        }


def quality() -> dict[str, Any]:
    """Image quality of the real images beside the project: least and largest of each measure, and what was marked."""
    paths = [p for pattern in ("tabriz/*/flair.nii.gz", "ljubljana_longitudinal/*/*_flair.nii.gz")
             for p in sorted(real_data.folder().glob(pattern))]  # fmt: skip
    found = {"/".join(path.parts[-2:]): measure(read_volume(path)) for path in paths}
    known = {
        name: [figures[name] for figures, _, _ in found.values() if figures[name] is not None] for name in MEASURES
    }
    return {
        "images": len(found),
        "least_and_largest": {name: [round(min(v), 2), round(max(v), 2)] for name, v in known.items() if v},
        "marked": {name: list(beyond) for name, (_, _, beyond) in found.items() if beyond},
    }


def real(folder: Path, jobs: int) -> dict[str, Any]:
    """The real images beside the project as one BIDS data set, segmented by the default, followed, and validated."""
    source, output = folder / "bids", folder / "out"
    for path in sorted(real_data.folder().glob("tabriz/*/flair.nii.gz")):
        _copy(path, source / path.parent.name / "anat" / f"{path.parent.name}_FLAIR.nii.gz")
    for path in sorted(real_data.folder().glob("ljubljana_longitudinal/*/study?_flair.nii.gz")):
        subject, session = f"sub-L{path.parent.name[-2:]}", f"ses-{path.name[len('study')]}"
        _copy(path, source / subject / session / "anat" / f"{subject}_{session}_FLAIR.nii.gz")
    description = {"Name": "Real FLAIR of two sites", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (source / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    cpu = Cpu()
    table = cohort.run(source, output, jobs=jobs)
    used = cpu.report(sum(table.counts().values()))
    program = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([program, output, "--format", "json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    said = Counter(f"{issue['severity']}: {issue['code']}" for issue in issues)
    return {"counts": table.counts(), "validator": dict(said), "page": str(output / "cohort.html"), **used}


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=("overhead", "synthetic", "soak", "efficiency", "tables", "quality", "real", "make")
    )
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, nargs="+", default=[2])
    parser.add_argument("--folder", type=Path, default=Path("cohort-bench"))
    parser.add_argument("--no-follow", action="store_true")
    parser.add_argument("--apart", action="store_true", help="soak: scheduler, workers and client apart")
    parser.add_argument("--minutes", type=float, default=math.inf, help="soak: at most so long")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "overhead":
        found: Any = [overhead(given.tasks, jobs) for jobs in given.jobs]
    elif given.what == "synthetic":
        found = synthetic(given.folder, given.sessions, given.jobs[0], not given.no_follow)
    elif given.what == "soak":
        found = Soak(given.folder, given.sessions, given.jobs[0], given.apart, given.seed).run(
            given.kills, given.minutes
        )
    elif given.what == "efficiency":
        found = efficiency(given.folder, given.sessions, given.jobs)
    elif given.what == "tables":
        found = tables(given.sessions)
    elif given.what == "quality":
        found = quality()
    elif given.what == "real":
        found = real(given.folder, given.jobs[0])
    else:
        found = {"broken": make_cohort(given.folder / "bids", given.sessions)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
