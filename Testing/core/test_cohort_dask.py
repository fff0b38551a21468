"""Tasks on a Dask cluster: the same rows as in one process, lost workers, poison sessions, privacy of what travels."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flairseg import cohort
from flairseg.cohort import clusters, engine, executors, tasks
from flairseg.cohort.case import Work
from flairseg.cohort.clusters import ClusterOptions
from flairseg.cohort.events import Event
from flairseg.cohort.executors import InProcess, Outcome
from flairseg.cohort.model import DONE, FAILED, QUARANTINED, Answer, Fatal, Session, SessionRow
from flairseg.cohort.options import CaseOptions
from flairseg.cohort.tasks import NOTHING, SEGMENT, Task
from flairseg.errors import FlairSegError, WorkerError

from Testing.core.cohort_data import bids_dataset

distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")

from flairseg.cohort.dask_executor import DaskExecutor  # noqa: E402 - only where Dask is there

from Testing.core.processes import dask_workers  # noqa: E402

DEFAULTS = {"device": "cpu", "regions": False, "overview": False, "follow": False, "page": False}


def work_for(root: Path, cases: list[str]) -> Work:
    sessions = {f"sub-{case}": Session(case, "", f"/secret/{case}", "bids", "") for case in cases}
    return Work(cohort.Layout(root), CaseOptions("model", "0"), sessions, sessions)


@pytest.fixture(scope="module")
def threads():
    """A scheduler with two workers in this process: quick to start."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=clusters.FREE_PORT, silence_logs=50
    ) as made:
        yield made


def answer(work: Work) -> Any:
    """What a worker answers without doing anything: a row for the case, which Dask's workers see too."""

    def work_on(case: str, _: Work) -> Answer:
        return Answer(SessionRow(work.shown[case], DONE, volumes_ml={}))

    return work_on


def test_every_task_has_one_outcome(threads, tmp_path, monkeypatch):
    monkeypatch.setattr("flairseg.cohort.dask_executor.prepare", lambda work: None)
    work = work_for(tmp_path, [f"{n:03d}" for n in range(60)])
    monkeypatch.setattr(tasks, "work_on", answer(work))
    executor = DaskExecutor("t1", distributed.Client(threads, set_as_default=False))
    events: list[dict[str, Any]] = []
    loop = engine.Engine(work, executor, {}, {}, lambda event: events.append(event.to_dict()), following=False)
    loop.run(dict.fromkeys(work.shown, "new"))
    assert Counter(e["case"] for e in events) == Counter(list(work.shown))
    assert loop.counts() == {DONE: 60}


def test_what_travels_is_the_name_alone(threads, tmp_path, monkeypatch):
    """No path is in a task, so none is on the scheduler, its dashboard or in a log."""
    monkeypatch.setattr("flairseg.cohort.dask_executor.prepare", lambda work: None)
    work = work_for(tmp_path, ["a"])
    monkeypatch.setattr(tasks, "work_on", answer(work))
    sent: list[str] = []
    real = distributed.Client.submit

    def submit(client, function, *arguments, **named):
        sent.append(repr((function, arguments, named)))
        return real(client, function, *arguments, **named)

    monkeypatch.setattr(distributed.Client, "submit", submit)
    executor = DaskExecutor("t2", distributed.Client(threads, set_as_default=False))
    engine.Engine(work, executor, {}, {}, lambda e: None, following=False).run({"sub-a": "new"})
    assert sent
    assert not [text for text in sent if "/secret" in text]


def test_no_more_tasks_wait_than_workers_need(threads, tmp_path, monkeypatch):
    monkeypatch.setattr("flairseg.cohort.dask_executor.prepare", lambda work: None)
    work = work_for(tmp_path, [f"{n:03d}" for n in range(30)])
    monkeypatch.setattr(tasks, "work_on", answer(work))
    executor = DaskExecutor("t3", distributed.Client(threads, set_as_default=False))
    most = 0
    real = executor.submit

    def submit(task: Task) -> None:
        nonlocal most
        real(task)
        most = max(most, len(executor._held))

    monkeypatch.setattr(executor, "submit", submit)
    engine.Engine(work, executor, {}, {}, lambda e: None, following=False).run(dict.fromkeys(work.shown, "new"))
    assert 2 <= most <= 4


class Scripted:
    """An executor that answers what it is told to."""

    mode, dashboard = "workers", ""

    def __init__(self, answers: dict[str, list[Any]], workers: int = 2) -> None:
        self._answers, self._workers = answers, workers
        self._waiting: list[Task] = []
        self.submitted: list[Task] = []
        self.closed = False

    def start(self, work: Work) -> None:
        pass

    def capacity(self) -> int:
        return 2

    def workers(self) -> int:
        return self._workers

    def submit(self, task: Task) -> None:
        self.submitted.append(task)
        self._waiting.append(task)

    def next(self, timeout: float) -> Outcome | None:
        if not self._waiting:
            return None
        task = self._waiting.pop(0)
        value = self._answers[task.cases[0]].pop(0)
        return Outcome(task, value, "worker-1", "lost")

    def close(self) -> None:
        self.closed = True


def test_a_lost_task_is_handed_out_again_and_not_for_ever(tmp_path):
    work = work_for(tmp_path, ["a", "b"])
    done = Answer(SessionRow(work.shown["sub-a"], DONE))
    other = Answer(SessionRow(work.shown["sub-b"], DONE))
    executor = Scripted({"sub-a": [None, None, done], "sub-b": [other]})
    loop = engine.Engine(work, executor, {}, {}, lambda e: None, following=False)
    loop.run({"sub-a": "new", "sub-b": "new"})
    assert loop.counts() == {DONE: 2}
    assert [task.tries for task in executor.submitted if task.cases == ("sub-a",)] == [0, 1, 2]
    lost = Scripted({"sub-a": [None] * 10})
    with pytest.raises(WorkerError) as caught:
        engine.Engine(work, lost, {}, {}, lambda e: None, following=False).run({"sub-a": "new"})
    assert caught.value.code == "workers-lost"
    assert lost.closed


def test_what_another_computer_may_manage_is_tried_there(tmp_path):
    work = work_for(tmp_path, ["a"])
    failed = Answer(SessionRow(work.shown["sub-a"], FAILED, "not-enough-memory"))
    done = Answer(SessionRow(work.shown["sub-a"], DONE))
    executor = Scripted({"sub-a": [failed, done]})
    loop = engine.Engine(work, executor, {}, {}, lambda e: None, following=False)
    loop.run({"sub-a": "new"})
    assert [(task.tries, task.avoid) for task in executor.submitted] == [(0, ""), (1, "worker-1")]
    assert loop.rows["sub-a"].status == DONE
    # An image that is broken is broken everywhere.
    broken = Answer(SessionRow(work.shown["sub-a"], FAILED, "unreadable-image"))
    executor = Scripted({"sub-a": [broken]})
    engine.Engine(work, executor, {}, {}, lambda e: None, following=False).run({"sub-a": "new"})
    assert len(executor.submitted) == 1


def test_a_fatal_error_ends_the_run(tmp_path):
    work = work_for(tmp_path, ["a", "b", "c"])
    full = Answer(fatal=Fatal("disk-full", "Full.", "Free some."))
    executor = Scripted({f"sub-{case}": [full] for case in "abc"})
    with pytest.raises(FlairSegError) as caught:
        engine.Engine(work, executor, {}, {}, lambda e: None, following=False).run(dict.fromkeys(work.shown, "new"))
    assert (caught.value.code, executor.closed) == ("disk-full", True)


def test_a_scheduler_without_workers(monkeypatch, tmp_path):
    with distributed.LocalCluster(
        n_workers=0, processes=False, dashboard_address=clusters.FREE_PORT, silence_logs=50
    ) as empty:
        executor = DaskExecutor("t4", distributed.Client(empty, set_as_default=False), wait_s=0.2)
        with pytest.raises(WorkerError) as caught:
            executor.start(work_for(tmp_path, ["a"]))
        executor.close()
    assert caught.value.code == "no-workers"


def test_nothing_answers_at_the_address(tmp_path, model, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    root = bids_dataset(tmp_path / "bids", {"01": 0})
    cluster = ClusterOptions(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(WorkerError) as caught:
        cohort.run(root, tmp_path / "out", model=model, cluster=cluster, **DEFAULTS)
    assert caught.value.code == "scheduler-not-found"


def test_in_process_does_what_a_worker_does():
    executor = InProcess("t5")
    executor.submit(Task(NOTHING, ("x",)))
    outcome = executor.next(0)
    assert outcome is not None
    assert (outcome.task.kind, outcome.value) == (NOTHING, Answer())
    assert executor.next(0) is None
    assert Task(SEGMENT, ("sub-1",), 2).key == "segment-sub-1-2"
    assert executors.InProcess.mode == "in-process"


@pytest.mark.slow
def test_workers_in_processes_and_one_that_is_killed(tmp_path, model, monkeypatch):
    """Two processes, of which one is killed with SIGKILL: every session has one row, as without it."""
    root = bids_dataset(tmp_path / "bids", {f"{n:02d}": 0 for n in range(8)})
    alone = cohort.run(root, tmp_path / "alone", model=model, jobs=1, **DEFAULTS)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    events: list[dict[str, Any]] = []
    killed: list[int] = []
    used: list[Path] = []

    def listen(event: Event) -> None:
        events.append(event.to_dict())
        if sum(e["event"] == "session" for e in events) == 2 and not killed:
            used.extend(scratch.iterdir())
            killed.append(_kill_a_worker())

    table = cohort.run(root, tmp_path / "out", model=model, jobs=2, listener=listen, **DEFAULTS)
    (pid,) = killed
    assert not psutil.pid_exists(pid)
    cases = [e["case"] for e in events if e["event"] == "session"]
    assert sorted(cases) == sorted(row.case for row in alone)
    volumes = {row.case: row.volumes_ml for row in table}
    assert volumes == {row.case: row.volumes_ml for row in alone}
    assert QUARANTINED not in table.counts()
    # A dashboard at a port of its own, and nothing left behind by the workers.
    assert re.search(r"127\.0\.0\.1:[1-9]\d+", next(e["dashboard"] for e in events if e["event"] == "start"))
    assert used
    assert list(scratch.iterdir()) == []


def _kill_a_worker() -> int:
    """Kill a worker of this process; its process id."""
    worker = dask_workers(psutil.Process())[0]
    worker.kill()
    return worker.pid
