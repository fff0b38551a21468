"""A :mod:`.job` worker's tasks: started, watched and cancelled from the GUI thread, which never waits.

What is done is a request of :mod:`flairseg.worker.tasks`. This side copies what it needs out of the scene, and puts the
answer into it, in steps of a few milliseconds between which Slicer handles the user's events.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import qt
from flairseg.errors import Cancelled, FlairSegError, InputChangedError, InputNotFoundError, RunInProgressError
from flairseg.worker import protocol as wire
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from . import job, threads
from .worker_holder import WorkerHolder

if TYPE_CHECKING:
    from flairseg.worker.tasks import Request

#: Time that the GUI thread works on a run before it handles the user's events, and the pause it then makes.
STEP_S, PAUSE_MS = 0.006, 1
#: Longer than a frame of Slicer's views: they have drawn the result by then.
DRAWN_MS = 25
#: Polling interval while the worker works.
POLL_MS = 15
#: Share of each look that a run in a thread of Slicer gets, seconds.
THREAD_SHARE_S = 0.03
#: A process that is not ready by then will not be.
START_TIMEOUT_S = 60.0
#: Shares of the progress bar at which the worker has what it needs, and at which its answer is there.
SENT, FILL = 0.01, 0.95
#: Steps of the GUI thread: each yields the fraction done, the last returns what came of them.
Steps = Generator[float, None, Any]


def in_thread(function: Callable[[], Any]) -> Steps:
    """Steps that wait for a function that touches no node, done in a thread; return what it returned, or raise that."""
    done: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            done.append((True, function()))
        except Exception as error:  # noqa: BLE001 - whatever it is, the steps raise it
            done.append((False, error))

    threading.Thread(target=work, name="flairseg-steps", daemon=True).start()
    while not done:
        threads.share()
        yield 0.0
    succeeded, answer = done[0]
    if not succeeded:
        raise answer
    return answer


class TaskController(VTKObservationMixin):
    """One task at a time, in a process that is started when needed and leaves some time after the last one.

    Exactly one of the last three callbacks is called for each task that began, unless :meth:`cleanup` ended it. All are
    called in the GUI thread, when the controller is idle again: they may start the next one.

    An own worker is ended if a task is cancelled. A lent one continues: only the task ends, at its next
    check. Where its owner ends it, the task is done by the next one.

    Parameters
    ----------
    onProgress : callable, optional
        ``onProgress(fraction, stage)``: of the whole task, in [0, 1]; ``start``, ``send``, the stages of
        :data:`flairseg.progress.STAGES`, then ``fill``.
    onFinished : callable, optional
        Called with what the receiving steps of :meth:`perform` returned.
    onFailed : callable, optional
        Called with the :class:`~flairseg.errors.FlairSegError`; the scene is unchanged.
    onCancelled : callable, optional
        Called without arguments; the scene is unchanged.
    lent : WorkerHolder, optional
        Holder of another controller's worker. Default: its own.
    """

    #: Pause between the last step and the callback; whether a worker of one's own leaves when it has nothing to do.
    _after_ms, _leaves = PAUSE_MS, True

    def __init__(
        self,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[object], None] | None = None,
        onFailed: Callable[[FlairSegError], None] | None = None,
        onCancelled: Callable[[], None] | None = None,
        lent: WorkerHolder | None = None,
    ) -> None:
        super().__init__()
        #: Who holds the worker.
        self.workers = lent or WorkerHolder(self._leaves)
        self._is_lent = lent is not None
        self._on_progress = onProgress
        self._on_finished = onFinished
        self._on_failed = onFailed
        self._on_cancelled = onCancelled
        self._numbers = itertools.count(1)
        self._run: int | None = None
        self._steps: Generator | None = None
        self._nodes: tuple = ()
        self._job: job.Job | None = None
        self._delivering = False
        self._timer = qt.QTimer()
        # Single shots: a callback that lets events be handled must not step into the task again.
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._tick)

    @property
    def running(self) -> bool:
        """Whether a task is under way."""
        return self._run is not None

    @property
    def workerPid(self) -> int | None:
        """Process id of the worker; None if there is none, or it is not yet known."""
        return self.workers.worker.pid if self.workers.worker is not None else None

    def perform(
        self,
        take: Callable[[], Steps],
        receive: Callable[[Any], Steps],
        nodes: Sequence = (),
        begun: job.Job | None = None,
    ) -> None:
        """Begin a task; returns at once.

        Parameters
        ----------
        take : callable
            Steps that copy what is needed out of the scene and return a request of :mod:`flairseg.worker.tasks`.
        receive : callable
            Called with the task's answer; steps that put it into the scene, which is changed in the last one only.
        nodes : sequence of vtkMRMLNode
            Nodes without which the task makes no sense: where one is deleted, it ends.
        begun : Job, optional
            A job whose next answer is that of this task, whose request is taken only if that job is lost.

        Raises
        ------
        RunInProgressError
            A task is in progress; it continues.
        """
        if self.running:
            raise RunInProgressError(_("A task is already running."), _("Wait until it is done, or cancel it first."))
        self.workers.busy()
        self._run = next(self._numbers)
        self._nodes = tuple(nodes)
        for scene in {node.GetScene() for node in self._nodes} - {None}:
            self.addObserver(scene, scene.StartCloseEvent, self._scene_closes)
        self._job = begun
        self._steps = self._whole_task(take, receive)
        self._timer.start(PAUSE_MS)

    def cancel(self) -> None:
        """End the task now; the scene is unchanged. The next one finds a fresh worker.

        A task whose result is in the scene already is done: its callback follows.
        """
        if self._end():
            _call(self._on_cancelled)

    def _end(self) -> bool:
        if not self.running or self._delivering:
            return False
        self._leave()
        return True

    def cleanup(self) -> None:
        """Drop the task silently, end an own worker, remove all observers. A later task starts afresh."""
        self._leave()
        if not self._is_lent:
            self.workers.forget()

    def _leave(self) -> None:
        """End the task where it is; what comes of it in the worker is not wanted."""
        given = self._job
        self._reset()
        if not self._is_lent:
            self.workers.drop()
        elif given is not None:
            given.cancel()

    # Stages of a task

    def _whole_task(self, take: Callable[[], Steps], receive: Callable[[Any], Steps]) -> Generator[int, None, None]:
        """Everything between start and end, in steps; yields the milliseconds until the next."""
        self._report(0.0, "start")
        yield PAUSE_MS
        answer = None if self._job is None else (yield from self._awaited(self._job))
        if answer is None:
            # It starts while the voxels are copied.
            self.workers.ready()
            request = yield from self._paced(take(), 0.0, SENT, "send")
            answer = yield from self._answered(request)
        result = yield from self._paced(receive(answer), FILL, 1.0, "fill")
        # It is in the scene: the callback gets its own turn of the event loop.
        self._delivering = True
        yield self._after_ms
        self._reset()
        _call(self._on_finished, result)

    def _answered(self, request: Request) -> Generator[int, None, object]:
        """Ask the worker, and the next one where it is lost, and wait; returns what it answered."""
        answer = None
        while answer is None:
            self._job = self.workers.ready().task(request)
            answer = yield from self._awaited(self._job)
        return answer

    def _awaited(self, given: job.Job) -> Generator[int, None, object]:
        """Wait for the next answer to a job; None where it is lost because its worker did not start, or was ended."""
        worker, began = given.worker, time.monotonic()
        while True:
            yield POLL_MS
            threads.share(threads.SHARE_S if worker.isProcess else THREAD_SHARE_S)
            for kind, *event in _waiting(given.events):
                if kind == "progress":
                    self._report(SENT + (FILL - SENT) * event[0], event[1])
                elif kind == "answer":
                    return event[0]
                elif kind == "error":
                    raise event[0]
                elif kind == "ended" and worker.ready:
                    self.workers.ended(worker)
                    raise event[0]
                elif kind == "ended":
                    self.workers.fall_back(worker, event[0])
                    return None
                elif kind == "killed":
                    return None
            if not worker.ready and time.monotonic() - began > START_TIMEOUT_S:
                self.workers.fall_back(worker, job.not_started("timeout"))
                return None

    def _paced(self, steps: Generator, start: float, stop: float, stage: str) -> Generator[int, None, object]:
        """Run short steps for as long as the user does not notice, then let the event loop have its turn."""
        self._report(start, stage)
        began = time.perf_counter()
        while True:
            try:
                fraction = next(steps)
            except StopIteration as done:
                return done.value
            if time.perf_counter() - began > STEP_S:
                self._report(start + (stop - start) * fraction, stage)
                yield PAUSE_MS
                began = time.perf_counter()

    def _tick(self) -> None:
        steps = self._steps
        if steps is None:
            return
        try:
            self._check_nodes()
            pause = next(steps)
        except StopIteration:
            return
        except FlairSegError as error:
            # A callback that cancelled has ended the run already.
            if steps is self._steps:
                self._fail(error)
            return
        except Exception as error:
            # A timer's slot: without this the user would wait forever without a message.
            logging.exception("FlairSeg: a run failed")
            self._fail(wire.decode_error(wire.encode_error(error)))
            return
        if steps is self._steps:
            self._timer.start(pause)

    def _check_nodes(self) -> None:
        if any(node.GetScene() is None for node in self._nodes):
            raise self._deleted()

    def _deleted(self) -> InputNotFoundError:
        """The error of a task whose node is no longer in the scene."""
        return InputNotFoundError(
            _("A volume or segmentation was deleted while it was in use."), _("Load it again, then try again.")
        )

    def _fail(self, error: FlairSegError) -> None:
        if isinstance(error, (InputNotFoundError, InputChangedError)):
            # The worker may be busy with it still.
            self._leave()
        else:
            self._reset()
        _call(self._on_failed, error)

    def _reset(self) -> None:
        """Back to idle. A result that still comes belongs to a task that is no more, and is dropped."""
        self._timer.stop()
        self._run = None
        self._steps = None
        self._nodes = ()
        self._delivering = False
        self._job = None
        self.removeObservers()
        self.workers.done()

    def _report(self, fraction: float, stage: str) -> None:
        run = self._run
        _call(self._on_progress, min(max(fraction, 0.0), 1.0), stage)
        if self._run != run:
            # The callback cancelled: the rest must not run.
            raise Cancelled

    # The scene

    def _scene_closes(self, caller=None, event=None) -> None:
        self.cancel()


def _waiting(events: queue.Queue) -> list[tuple]:
    """The events that are there, to the first that is no progress; of progress only the last, which is shown."""
    found: list[tuple] = []
    while not found or found[-1][0] == "progress":
        try:
            event = events.get_nowait()
        except queue.Empty:
            break
        found[-1:] = [event] if event[0] == "progress" else [*found[-1:], event]
    return found


def _call(callback: Callable | None, *arguments) -> None:
    if callback is not None:
        callback(*arguments)
