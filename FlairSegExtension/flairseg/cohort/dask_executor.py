"""Tasks on a Dask cluster: workers on this machine, a running scheduler, or jobs of a batch system."""

from __future__ import annotations

import queue
import shutil
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed import Client, Future, WorkerPlugin, get_worker

from ..errors import FlairSegError, WorkerError
from . import begun, tasks
from .case import Work, prepare
from .executors import Outcome
from .model import Answer
from .tasks import Task

if TYPE_CHECKING:
    from distributed.deploy.cluster import Cluster

#: Tasks that each worker has waiting besides the one that it works on.
_WAITING = 1
#: Seconds between counts of the workers.
_LOOK_S = 2.0
#: Seconds to wait for the first worker of a cluster on this machine.
_FIRST_WORKER_S = 120.0


class CohortPlugin(WorkerPlugin):
    """Sends each worker, also one that joins later, the data of the run's tasks, and loads the model there."""

    def __init__(self, run: str, work: Work, own: bool = False) -> None:
        self.name = f"flairseg-{run}"
        self._run, self._work, self._own = run, work, own

    def setup(self, worker: Any) -> None:
        """Called by Dask when the worker starts. Errors here are reported by the first task."""
        if self._own and threading.current_thread() is threading.main_thread():
            # Ctrl-C reaches every process of the terminal; the run ends its workers itself.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        tasks.remember(self._run, self._work)
        with suppress(FlairSegError):
            prepare(self._work)

    def teardown(self, worker: Any) -> None:
        """Called by Dask at the end of the run."""
        tasks.forget(self._run)


def perform(run: str, kind: str, cases: tuple[str, ...]) -> tuple[str, Answer]:
    """A task of a run in a Dask worker, with the worker's address."""
    return get_worker().address, tasks.perform(run, kind, cases)


class DaskExecutor:
    """Tasks on the workers of a Dask scheduler; their names are all that travels.

    Parameters
    ----------
    run : str
        Name of the run on the cluster.
    client : distributed.Client
        Closed with the executor.
    cluster : distributed.deploy.Cluster, optional
        Started for this run, and closed with it.
    wait_s : float or None
        Timeout for the first worker; None: unlimited, as with batch systems.
    scratch : str
        Folder of the workers of that cluster, removed with it; empty: none.

    Raises
    ------
    WorkerError
        Code ``no-workers``: none came in time.
    """

    mode = begun.WORKERS

    def __init__(
        self,
        run: str,
        client: Client,
        cluster: Cluster | None = None,
        wait_s: float | None = _FIRST_WORKER_S,
        scratch: str = "",
    ) -> None:
        self._run, self._client, self._cluster, self._scratch = run, client, cluster, scratch
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._held: dict[str, tuple[Task, Future[Any]]] = {}
        self._workers, self._looked = 1, 0.0
        self._wait_s = wait_s
        self.dashboard = str(client.dashboard_link or "")

    def start(self, work: Work) -> None:
        """Send the workers what they need; they open the model while the first tasks are handed out."""
        try:
            self._client.wait_for_workers(1, timeout=self._wait_s)
        except TimeoutError as error:
            raise WorkerError(
                "The scheduler has no workers.",
                "Start workers for it, in an environment where FlairSeg of this version is installed.",
                code="no-workers",
            ) from error
        self._client.register_plugin(CohortPlugin(self._run, work, self._cluster is not None))
        self._look()

    def capacity(self) -> int:
        """Two tasks a worker: one to do, one in hand."""
        self._look()
        return self._workers * (1 + _WAITING)

    def workers(self) -> int:
        """Threads of all workers at the last look."""
        self._look()
        return self._workers

    def _look(self) -> None:
        if time.monotonic() - self._looked >= _LOOK_S:
            with suppress(Exception):
                # A scheduler that is busy or gone: the next outcome shows which.
                self._workers = max(1, sum(self._client.nthreads().values()))
            self._looked = time.monotonic()

    def submit(self, task: Task) -> None:
        """Hand a task to the scheduler; where it failed before, another worker is preferred."""
        others = [w for w in self._addresses() if w != task.avoid] if task.avoid else []
        place = {"workers": others, "allow_other_workers": True} if others else {}
        future = self._client.submit(
            perform, self._run, task.kind, task.cases, key=f"{task.key}-{self._run}", pure=False, **place
        )
        self._held[str(future.key)] = (task, future)
        future.add_done_callback(self._done.put)

    def _addresses(self) -> list[str]:
        return list(self._client.nthreads())

    def next(self, timeout: float) -> Outcome | None:
        """The next outcome; a task whose worker died is handed out again by Dask before that."""
        try:
            future = self._done.get(timeout=timeout)
        except queue.Empty:
            if self._client.status not in ("running", "connecting"):
                raise lost_scheduler() from None
            return None
        task, _ = self._held.pop(str(future.key))
        if future.status == "finished":
            worker, value = future.result()
            future.release()
            return Outcome(task, value, worker)
        problem = str(future.status)
        if future.status == "error":
            problem = type(future.exception()).__name__
        elif self._client.status != "running":
            raise lost_scheduler()
        future.release()
        return Outcome(task, None, "", problem)

    def close(self) -> None:
        """Give up what is not done; a cluster that was started here ends."""
        with suppress(Exception):
            self._client.cancel([future for _, future in self._held.values()], force=True)
        self._held.clear()
        with suppress(Exception):
            self._client.unregister_worker_plugin(f"flairseg-{self._run}")
        with suppress(Exception):
            self._client.close(timeout=10)
        if self._cluster is not None:
            with suppress(Exception):
                self._cluster.close(timeout=30)
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)


def lost_scheduler() -> WorkerError:
    """The error for a scheduler that does not answer any more."""
    return WorkerError(
        "The connection to the scheduler was lost.",
        "Finished sessions are kept: restart the scheduler and repeat the call to resume.",
        code="scheduler-lost",
    )
