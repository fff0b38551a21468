"""The worker of one controller of tasks, or of several that share it: started when needed, replaced when it is dead."""

from __future__ import annotations

import logging

import qt
from flairseg.errors import FlairSegError

from . import job, settings

#: A worker that had nothing to do for so long leaves, and its memory with it.
IDLE_MS = 60_000


class WorkerHolder:
    """Holds at most one worker.

    Parameters
    ----------
    leaves : bool
        Whether a worker that has nothing to do leaves after a while; else it stays warm.
    """

    def __init__(self, leaves: bool = True) -> None:
        #: The worker that is there; it may have died.
        self.worker: job.WorkerProcess | job.WorkerThread | None = None
        #: Why tasks are in a thread of Slicer: set once no process could be started.
        self.noProcess: FlairSegError | None = None
        self._leaves = leaves
        self._idle = qt.QTimer()
        self._idle.setSingleShot(True)
        self._idle.setInterval(IDLE_MS)
        self._idle.timeout.connect(self.drop)

    @property
    def leaving(self) -> bool:
        """Whether the worker leaves unless a task comes."""
        return self._idle.isActive()

    def ready(self) -> job.WorkerProcess | job.WorkerThread:
        """The worker that is there, if it lives, else a new one."""
        if self.worker is not None and self.worker.alive:
            return self.worker
        self.drop()
        python = job.find_python(settings.FlairSegSettings().pythonExecutable) if self.noProcess is None else None
        if python is None:
            self.noProcess = self.noProcess or job.not_started("")
            self.worker = job.WorkerThread()
        else:
            self.worker = job.WorkerProcess(python)
        return self.worker

    def fall_back(self, worker: job.WorkerProcess, reason: FlairSegError) -> None:
        """A process could not be started: the next worker is a thread. Nothing if another one took its place."""
        if worker is self.worker:
            logging.warning("FlairSeg: %s", reason)
            self.drop()
            self.noProcess = reason

    def ended(self, worker: job.WorkerProcess | job.WorkerThread) -> None:
        """A worker ended by itself. Nothing if another one took its place."""
        if worker is self.worker:
            self.drop()

    def drop(self) -> None:
        """End the worker, also while it works."""
        self._idle.stop()
        if self.worker is not None:
            self.worker.kill()
        self.worker = None

    def forget(self) -> None:
        """End the worker; the next one is a process again, if one can be started."""
        self.drop()
        self.noProcess = None

    def busy(self) -> None:
        """A task begins."""
        self._idle.stop()

    def done(self) -> None:
        """A task has ended."""
        if self.worker is not None and self._leaves:
            self._idle.start()
