"""One run of the model on a volume of the scene: started, watched, cancelled from the GUI thread, which never waits.

The work is that of a :mod:`.job` worker. This side copies the voxels out of the scene, and fills the segmentation node,
in steps of a few milliseconds between which Slicer handles the user's events.
"""

from __future__ import annotations

import itertools
import logging
import queue
import time
from collections.abc import Callable, Generator
from pathlib import Path

import qt
from flairseg.errors import (
    Cancelled,
    CaseWarning,
    FlairSegError,
    InputChangedError,
    InputNotFoundError,
    RunInProgressError,
)
from flairseg.worker import protocol as wire
from flairseg.worker.tasks import SegmentRequest
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from . import job, scene_bridge, settings, threads, volume_nodes

#: Time that the GUI thread works on a run before it handles the user's events, and the pause it then makes.
STEP_S, PAUSE_MS = 0.006, 1
#: Longer than a frame of Slicer's views: they have drawn the result by then.
DRAWN_MS = 25
#: Polling interval while the worker works.
POLL_MS = 15
#: Share of each look that a run in a thread of Slicer gets, seconds.
THREAD_SHARE_S = 0.03
#: The threads of a new worker's pipes need a share of time until it listens and knows what to load.
WARM_UP_MS, WARM_UP_TAIL_S = 20, 1.0
#: A process that is not ready by then will not be.
START_TIMEOUT_S = 60.0
#: Shares of the progress bar at which the worker has what it needs, and at which its answer is there.
SENT, FILL = 0.01, 0.95


class RunController(VTKObservationMixin):
    """Segments one volume at a time.

    Exactly one of the last three callbacks is called for each run that :meth:`start` began, unless :meth:`cleanup`
    ended it. All are called in the GUI thread, when the controller is idle again: they may start the next run.

    Parameters
    ----------
    onProgress : callable, optional
        ``onProgress(fraction, stage)``: of the whole run, in [0, 1]; ``start``, ``send``, the stages of
        :data:`flairseg.progress.STAGES`, then ``fill``.
    onFinished : callable, optional
        Called with the new segmentation node.
    onFailed : callable, optional
        Called with the :class:`~flairseg.errors.FlairSegError`; the scene is unchanged.
    onCancelled : callable, optional
        Called without arguments; the scene is unchanged.
    """

    def __init__(
        self,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[object], None] | None = None,
        onFailed: Callable[[FlairSegError], None] | None = None,
        onCancelled: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._on_progress = onProgress
        self._on_finished = onFinished
        self._on_failed = onFailed
        self._on_cancelled = onCancelled
        #: Device that the last finished run really used, ``cpu`` or ``cuda``; empty before the first.
        self.deviceUsed = ""
        self._numbers = itertools.count(1)
        self._run: int | None = None
        self._steps: Generator | None = None
        self._worker: job.WorkerProcess | job.WorkerThread | None = None
        #: Why runs are in a thread of Slicer: set once no process could be started.
        self._no_process: FlairSegError | None = None
        self._warmed: tuple[str | None, str] | None = None
        self._node = None
        self._delivering = False
        self._timer = qt.QTimer()
        # Single shots: a callback that lets events be handled must not step into the run again.
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._tick)
        self._warm_up_ends = 0.0
        self._warm_up_timer = qt.QTimer()
        self._warm_up_timer.setInterval(WARM_UP_MS)
        self._warm_up_timer.timeout.connect(self._warm_up_tick)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    @property
    def workerPid(self) -> int | None:
        """Process id of the worker; None if there is none, or it is not yet known."""
        return self._worker.pid if self._worker is not None else None

    def start(
        self, volumeNode, modelId: str | None = None, device: str = settings.AUTOMATIC, inUse: bool = False
    ) -> None:
        """Begin to segment a volume node; returns at once.

        Parameters
        ----------
        volumeNode : vtkMRMLScalarVolumeNode
        modelId : str, optional
            Default the model in use.
        device : str
        inUse : bool
            The model is the one in use and was not chosen for this volume: it may leave the volume to its parent, see
            :mod:`flairseg.models.in_use`.

        Raises
        ------
        RunInProgressError
            A run is in progress; it continues.
        FlairSegError
            The node is no volume that can be segmented, see :func:`FlairSegLib.volume_nodes.volume_from_node`.
        """
        if self.running:
            raise RunInProgressError(
                _("A volume is already being segmented."), _("Wait until it is done, or cancel it first.")
            )
        volume_nodes.check_volume_node(volumeNode)
        self._run = next(self._numbers)
        self._node = volumeNode
        scene = volumeNode.GetScene()
        self.addObserver(scene, scene.StartCloseEvent, self._scene_closes)
        self._steps = self._whole_run(volumeNode, _model_name(modelId), device, inUse)
        self._timer.start(PAUSE_MS)

    def cancel(self) -> None:
        """End the run now; nothing is added to the scene. The next run finds a fresh worker.

        A run whose node is in the scene already is done: its callback follows.
        """
        if not self.running or self._delivering:
            return
        model, device = self._warmed or (None, settings.AUTOMATIC)
        self._reset()
        self._drop_worker()
        self.warmUp(model, device)
        _call(self._on_cancelled)

    def warmUp(self, modelId: str | None = None, device: str = settings.AUTOMATIC) -> None:
        """Have the worker ready before the user needs it; costs this process nothing."""
        if self.running:
            return
        wanted = (_model_name(modelId), device)
        worker = self._ready_worker()
        if self._warmed != wanted:
            self._warmed = wanted
            worker.warm(*wanted)
            self._warm_up_ends = time.monotonic() + START_TIMEOUT_S
            self._warm_up_timer.start()

    def cleanup(self) -> None:
        """Forget the run without a word, end the worker, observe nothing. A later :meth:`start` begins anew."""
        self._reset()
        self._drop_worker()
        self._no_process = None

    # Stages of a run

    def _whole_run(self, node, model: str | None, device: str, in_use: bool) -> Generator[int, None, None]:
        """Everything between start and end, in steps; yields the milliseconds until the next."""
        run = self._run
        self._report(0.0, "start")
        yield PAUSE_MS
        # It starts while the voxels are copied.
        self._ready_worker()
        taken = yield from self._paced(volume_nodes.take_volume(node), 0.0, SENT, "send")
        self._warmed = (model, device)
        request = SegmentRequest(taken.volume, model, device, in_use)
        worker, segmentation = yield from self._answered(lambda worker: worker.task(run, request))
        segmentation.warnings[:0] = taken.header_warnings
        if not worker.isProcess:
            segmentation.warnings.append(CaseWarning(self._in_slicer_warning(), "ran-inside-slicer"))
        yield from self._paced(volume_nodes.check_unchanged(taken, node), FILL, FILL, "fill")
        result = yield from self._paced(scene_bridge.segmentation_steps(segmentation, node), FILL, 1.0, "fill")
        self.deviceUsed = segmentation.device_used
        # The node is in the scene, and its views draw it: the next callback gets a turn of the event loop of its own.
        self._delivering = True
        yield DRAWN_MS
        self._reset()
        _call(self._on_finished, result)

    def _answered(self, ask: Callable[[object], None]) -> Generator[int, None, tuple[object, object]]:
        """Ask the worker and wait; returns the worker that answered in the end, and what it answered."""
        run = self._run
        worker = self._ready_worker()
        ask(worker)
        began = time.monotonic()
        while True:
            yield POLL_MS
            threads.share(threads.SHARE_S if worker.isProcess else THREAD_SHARE_S)
            for kind, *event in _waiting(worker.events):
                if kind == "progress" and event[0] == run:
                    self._report(SENT + (FILL - SENT) * event[1], event[2])
                elif kind == "done" and event[0] == run:
                    return worker, event[1]
                elif kind == "error" and event[0] == run:
                    raise event[1]
                elif kind == "ended":
                    if worker.ready:
                        self._drop_worker()
                        raise event[0]
                    worker = self._fall_back(event[0])
                    ask(worker)
            if not worker.ready and time.monotonic() - began > START_TIMEOUT_S:
                worker = self._fall_back(job.not_started("timeout"))
                ask(worker)

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
        if self._node.GetScene() is None:
            raise InputNotFoundError(
                _("The volume was deleted while it was being segmented."), _("Load it again, then segment it.")
            )

    def _fail(self, error: FlairSegError) -> None:
        self._reset()
        if isinstance(error, (InputNotFoundError, InputChangedError)) or not (self._worker and self._worker.alive):
            # It is dead, or busy with a cancelled run.
            self._drop_worker()
        _call(self._on_failed, error)

    def _reset(self) -> None:
        """Back to idle. A result that still comes belongs to a run that is no more, and is dropped."""
        self._timer.stop()
        self._run = None
        self._steps = None
        self._node = None
        self._delivering = False
        self.removeObservers()

    def _report(self, fraction: float, stage: str) -> None:
        run = self._run
        _call(self._on_progress, min(max(fraction, 0.0), 1.0), stage)
        if self._run != run:
            # The callback cancelled: the rest must not run.
            raise Cancelled

    # The worker

    def _ready_worker(self) -> job.WorkerProcess | job.WorkerThread:
        """The worker that is there, if it lives, else a new one."""
        if self._worker is not None and self._worker.alive:
            return self._worker
        self._drop_worker()
        python = job.find_python(settings.FlairSegSettings().pythonExecutable) if self._no_process is None else None
        if python is None:
            self._no_process = self._no_process or job.not_started("")
            self._worker = job.WorkerThread()
        else:
            self._worker = job.WorkerProcess(python)
        return self._worker

    def _warm_up_tick(self) -> None:
        threads.share()
        worker, now = self._worker, time.monotonic()
        if worker is not None and worker.ready:
            self._warm_up_ends = min(self._warm_up_ends, now + WARM_UP_TAIL_S)
        if worker is None or not worker.alive or now > self._warm_up_ends:
            self._warm_up_timer.stop()

    def _fall_back(self, reason: FlairSegError) -> job.WorkerThread:
        logging.warning("FlairSeg: %s", reason)
        self._drop_worker()
        self._no_process = reason
        self._worker = job.WorkerThread()
        return self._worker

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
        self._worker = None
        self._warmed = None
        self._warm_up_timer.stop()

    def _in_slicer_warning(self) -> str:
        reason = self._no_process.message if self._no_process is not None else ""
        return _("{reason} The model ran inside Slicer, which may have responded slowly.").format(reason=reason).strip()

    # The scene

    def _scene_closes(self, caller=None, event=None) -> None:
        self.cancel()


def _model_name(model: str | Path | None) -> str | None:
    """A model as the worker understands it: it runs in another folder, so a path is made absolute."""
    if not model:
        return None
    path = Path(model)
    return str(path.resolve()) if isinstance(model, Path) or path.is_file() or path.is_dir() else str(model)


def _waiting(events: queue.Queue) -> list[tuple]:
    """All events that are there, in order; of progress only the last, which is all that is shown."""
    found: list[tuple] = []
    while True:
        try:
            event = events.get_nowait()
        except queue.Empty:
            return found
        if found and found[-1][0] == event[0] == "progress":
            found.pop()
        found.append(event)


def _call(callback: Callable | None, *arguments) -> None:
    if callback is not None:
        callback(*arguments)
