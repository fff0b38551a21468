"""Workers for runs: a process that stays warm between runs, or, where none can be started, a thread.

Both take ``warm`` and ``task``, report to each :class:`Job`, and can be killed at any time from the
GUI thread, which they never block. Neither touches MRML.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flairseg
import slicer
from flairseg.errors import Cancelled, FlairSegError, NotEnoughMemoryError, WorkerError
from flairseg.progress import CancelToken
from flairseg.worker import protocol as wire
from flairseg.worker.codec import decode_value, encode_value
from flairseg.worker.tasks import CompareRequest, SegmentRequest
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flairseg.image.volume import Volume
    from flairseg.worker.tasks import Request

#: Folder that holds the package ``flairseg``.
PACKAGE_FOLDER = Path(flairseg.__file__).resolve().parents[1]
#: Characters kept of what the worker writes to stderr.
_TAIL = 4000
#: Windows' exit codes for lack of memory: no memory, commitment limit.
_WINDOWS_MEMORY = {0xC0000017, 0xC000012D}
_SIGKILL = 9


def find_python(chosen: str = "") -> str | None:
    """The Python that runs the worker: the chosen one, else Slicer's own, else the one we are in; None without any.

    In Slicer this is the launcher ``PythonSlicer``, which sets up Slicer's libraries.
    """
    if chosen:
        return chosen
    home = getattr(slicer.app, "slicerHome", "")
    if home:
        name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
        launcher = Path(home) / "bin" / name
        if launcher.is_file():
            return str(launcher)
    for path in (sys.executable, shutil.which("PythonSlicer")):
        if path and Path(path).name.lower().startswith("python"):
            return path
    return None


def environment(python: str = "") -> dict[str, str]:
    """Environment of the worker, with the package's folder in front of the module path; for the GUI thread.

    Slicer's own Python gets Slicer's environment. Another one, chosen by the user, gets that in which Slicer was
    started: with Slicer's ``PYTHONHOME`` and library paths it would not even start.
    """
    base = dict(os.environ) if not python or _is_slicers(python) else slicer.util.startupEnvironment()
    folders = [str(PACKAGE_FOLDER), base.get("PYTHONPATH", "")]
    return {
        **base,
        "PYTHONPATH": os.pathsep.join(folder for folder in folders if folder),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }


def _is_slicers(python: str) -> bool:
    """Whether an interpreter is that of this Slicer."""
    path = Path(os.path.abspath(shutil.which(python) or python))
    home = getattr(slicer.app, "slicerHome", "")
    return path == Path(sys.executable) or (bool(home) and Path(home) in path.parents)


@dataclass(eq=False)
class Job:
    """A task in the hands of a worker.

    Attributes
    ----------
    worker : WorkerProcess or WorkerThread
    number : int
    volume : Volume, optional
        That the answer is of, which comes back without it.
    events : queue of tuple
        What happened, in order: ``("progress", fraction, stage)``, ``("answer", answer)``, of which a request may have
        two, ``("error", FlairSegError)``, ``("ended", FlairSegError)`` where the process ended by itself or never
        began, ``("killed",)`` where somebody ended it.
    token : CancelToken
        Of a task in this process.
    """

    worker: WorkerProcess | WorkerThread
    number: int
    volume: Volume | None = None
    events: queue.Queue[tuple] = field(default_factory=queue.Queue)
    token: CancelToken = field(default_factory=CancelToken)

    def cancel(self) -> None:
        """Its answer is no longer needed; the worker continues with the next task."""
        self.worker.cancel(self)


class _Jobs:
    """The jobs of a worker that something may still happen to."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self._last: tuple | None = None
        self._lock = threading.Lock()

    def add(self, worker: WorkerProcess | WorkerThread, request: Request) -> Job:
        """A job for a request; notified immediately if the worker has ended."""
        # Results are returned without their image.
        volume = request.volume if isinstance(request, (SegmentRequest, CompareRequest)) else None
        with self._lock:
            job = Job(worker, next(self._numbers), volume)
            if self._last is None:
                self._jobs[job.number] = job
            else:
                job.events.put(self._last)
        return job

    def get(self, number: int) -> Job | None:
        """The job of a number; None if nobody waits for it."""
        return self._jobs.get(number)

    def tell(self, number: int, *event: Any) -> None:
        """Something happened to a job."""
        job = self._jobs.get(number)
        if job is not None:
            job.events.put(event)

    def forget(self, number: int) -> bool:
        """Nothing that happens to a job matters any more; whether anything might have."""
        return self._jobs.pop(number, None) is not None

    def end(self, *event: Any) -> None:
        """The worker ended, for the first time."""
        with self._lock:
            jobs, self._jobs = self._jobs, {}
            self._last = self._last or event
        for job in jobs.values():
            job.token.cancel()
            job.events.put(event)


class WorkerProcess:
    """A process ``python -m flairseg.worker`` and the threads of its pipes.

    Parameters
    ----------
    python : str
        Its interpreter. It is started immediately, in a thread; on failure its jobs are notified that it ended, and
        :attr:`ready` stays False.
    """

    isProcess = True

    def __init__(self, python: str) -> None:
        #: Model and device that it loaded ahead, or used last.
        self.warmed: tuple[str | None, str] | None = None
        #: Whether the process has reported that it is ready.
        self.ready = False
        self._command = [python, "-m", "flairseg.worker"]
        self._environment = environment(python)
        self._requests: queue.Queue[tuple[dict[str, Any], Sequence] | None] = queue.Queue()
        self._jobs = _Jobs()
        self._process: subprocess.Popen | None = None
        self._pid: int | None = None
        self._killed = False
        self._tail = ""
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="flairseg-worker", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Id of the Python process itself (not of a launcher before it), once it is ready."""
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether the process runs, or is about to."""
        return not self._killed and (self._process is None or self._process.poll() is None)

    def warm(self, model: str | None, device: str) -> None:
        """Have packages and network loaded ahead."""
        self.warmed = (model, device)
        self._requests.put(({"kind": "warm", "model": model, "device": device}, ()))

    def task(self, request: Request) -> Job:
        """Start a task, after those that it has already."""
        job = self._jobs.add(self, request)
        self._requests.put(({"kind": "task", "run": job.number}, encode_value(request)))
        return job

    def cancel(self, job: Job) -> None:
        """Have a task end at its next check, and forget it."""
        if self._jobs.forget(job.number):
            self._requests.put(({"kind": "cancel", "run": job.number}, ()))

    def kill(self) -> None:
        """Kill the process. Returns immediately."""
        with self._lock:
            self._killed = True
            process = self._process
        self._jobs.end("killed")
        self._requests.put(None)
        if process is not None:
            self._end(process)

    def _end(self, process: subprocess.Popen) -> None:
        """Slicer's launcher is between us and the Python process: end both, by group and by id."""
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            elif self._pid is not None and self._pid != process.pid and process.poll() is None:
                os.kill(self._pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            process.kill()

    def _run(self) -> None:
        """Everything that may block: starting the process, reading from it, waiting for its end."""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=PACKAGE_FOLDER,
                env=self._environment,
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError) as error:
            self._jobs.end("ended", not_started(type(error).__name__))
            return
        with self._lock:
            self._process = process
            killed = self._killed
        if killed:
            self._end(process)
        for target in (self._write, self._drain):
            threading.Thread(target=target, args=(process,), name="flairseg-worker-pipe", daemon=True).start()
        unreadable = False
        try:
            self._read(process.stdout)
        except (wire.ProtocolError, OSError, ValueError, KeyError) as error:
            unreadable = process.poll() is None
            logging.debug("FlairSeg: the worker's answer could not be read: %s", error)
        except MemoryError:
            self._end(process)
            process.wait()
            self._jobs.end("ended", _out_of_memory())
            return
        if unreadable:
            self._end(process)
        self._requests.put(None)
        status = process.wait()
        if not self._killed:
            logging.warning("FlairSeg: the worker process ended (%s).", status)
            logging.debug("FlairSeg: the worker's last output: %s", self._tail)
        self._jobs.end("ended", self._reason(status, unreadable))

    def _read(self, stream) -> None:
        while (message := wire.read_message(stream)) is not None:
            header, blocks = message
            kind, run = header["kind"], header.get("run")
            if kind == "progress":
                self._jobs.tell(run, "progress", float(header["fraction"]), str(header["stage"]))
            elif kind in ("first", "done"):
                self._answered(run, blocks)
            elif kind == "error":
                self._jobs.tell(run, "error", wire.decode_error(header))
            elif kind == "ready":
                if header.get("protocol") != wire.PROTOCOL:
                    raise wire.ProtocolError("another version of the protocol")
                self._pid = int(header["pid"])
                self.ready = True
            if kind in ("done", "error"):
                self._jobs.forget(run)

    def _answered(self, run: int, blocks: list) -> None:
        # Nothing of it is kept in the loop that waits for the next message: a volume may be large.
        job = self._jobs.get(run)
        if job is not None:
            self._jobs.tell(run, "answer", decode_value(blocks, job.volume))

    def _write(self, process: subprocess.Popen) -> None:
        # The request is not kept: a volume may be large.
        with contextlib.suppress(OSError, ValueError):
            while (request := self._requests.get()) is not None:
                wire.write_message(process.stdin, *request)
                request = None
        # With its pipe closed, the process exits even where it could not be killed.
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()

    def _drain(self, process: subprocess.Popen) -> None:
        with contextlib.suppress(OSError, ValueError):
            while text := process.stderr.read1(4096):
                self._tail = (self._tail + text.decode("utf-8", "replace"))[-_TAIL:]

    def _reason(self, status: int, unreadable: bool) -> FlairSegError:
        if not self.ready:
            return not_started("")
        lacked = status == -_SIGKILL or status & 0xFFFFFFFF in _WINDOWS_MEMORY or status == 128 + _SIGKILL
        if not unreadable and (lacked or "bad_alloc" in self._tail or "MemoryError" in self._tail):
            return _out_of_memory()
        return WorkerError(
            _("The process that runs the model stopped working."),
            _("Segment again; if it happens again, choose the CPU as device, and report it with the diagnostics."),
        )


class WorkerThread:
    """The same in a thread of Slicer itself, for computers on which no process can be started."""

    isProcess = False
    ready = True
    pid = None

    def __init__(self) -> None:
        self.warmed: tuple[str | None, str] | None = None
        self._jobs = _Jobs()
        self._killed = False

    @property
    def alive(self) -> bool:
        """Whether it takes runs."""
        return not self._killed

    def warm(self, model: str | None, device: str) -> None:
        """Nothing: importing in this process would block the window before the first run."""
        self.warmed = (model, device)

    def task(self, request: Request) -> Job:
        """Start a task."""
        job = self._jobs.add(self, request)
        threading.Thread(target=self._work, args=(job, request), name="flairseg-task", daemon=True).start()
        return job

    def cancel(self, job: Job) -> None:
        """Have a task end at its next check, and forget it."""
        self._jobs.forget(job.number)
        job.token.cancel()

    def kill(self) -> None:
        """Ask all tasks to end at their next check, and forget them."""
        self._killed = True
        self._jobs.end("killed")

    def _work(self, job: Job, request: Request) -> None:
        def answer(value: Any) -> None:
            # As a process would hand it over.
            self._jobs.tell(job.number, "answer", decode_value(encode_value(value), job.volume))

        def progress(fraction: float, stage: str) -> None:
            self._jobs.tell(job.number, "progress", fraction, stage)

        with self._told(job):
            from flairseg.worker import handlers

            answer(handlers.run(request, progress, job.token, answer))
        self._jobs.forget(job.number)

    @contextlib.contextmanager
    def _told(self, job: Job) -> Iterator[None]:
        """Report any failure to the user."""
        try:
            yield
        except Cancelled:
            return
        except Exception as error:
            if not isinstance(error, (FlairSegError, MemoryError)):
                logging.exception("FlairSeg: a run failed")
            self._jobs.tell(job.number, "error", wire.decode_error(wire.encode_error(error)))


def not_started(detail: str) -> WorkerError:
    """The error of a process that cannot be started; ``detail`` gives the reason, if known."""
    reason = f" ({detail})" if detail else ""
    return WorkerError(
        _("The process that runs the model could not be started{reason}.").format(reason=reason),
        _(
            "Restart Slicer. If another Python was chosen in Slicer's settings file (FlairSeg/pythonExecutable), check"
            " that it starts; empty means Slicer's own."
        ),
    )


def _out_of_memory() -> NotEnoughMemoryError:
    return NotEnoughMemoryError(
        _("The run was ended by the system, most likely because memory ran out."),
        _("Close other programs or volumes, or crop the volume to the head, then segment again."),
    )
