"""Work other than segmenting, done as a run is: started, watched and cancelled from the GUI thread, which never waits.

What is done is a request of :mod:`flairseg.worker.tasks`, in a process of its own that is started when needed and
leaves some time after the last one: most cases are read without one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

import qt
from flairseg.errors import InputNotFoundError, RunInProgressError
from slicer.i18n import tr as _

from . import threads
from .run_controller import FILL, PAUSE_MS, SENT, RunController, _call

#: A process that had nothing to do for so long leaves, and its memory with it.
IDLE_MS = 60_000
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


class TaskController(RunController):
    """One task at a time; callbacks as for :class:`~.run_controller.RunController`.

    ``onFinished`` gets what the receiving steps of :meth:`perform` returned.
    """

    def __init__(self, **callbacks) -> None:
        super().__init__(**callbacks)
        self._nodes: tuple = ()
        self._idle = qt.QTimer()
        self._idle.setSingleShot(True)
        self._idle.setInterval(IDLE_MS)
        self._idle.timeout.connect(self._drop_worker)

    def perform(
        self,
        take: Callable[[], Steps],
        receive: Callable[[Any], Steps],
        nodes: Sequence = (),
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

        Raises
        ------
        RunInProgressError
            A task is in progress; it continues.
        """
        if self.running:
            raise RunInProgressError(_("A task is already running."), _("Wait until it is done, or cancel it first."))
        self._idle.stop()
        self._run = next(self._numbers)
        self._nodes = tuple(nodes)
        for scene in {node.GetScene() for node in self._nodes} - {None}:
            self.addObserver(scene, scene.StartCloseEvent, self._scene_closes)
        self._steps = self._whole_task(take, receive)
        self._timer.start(PAUSE_MS)

    def cancel(self) -> None:
        """End the task; the scene is unchanged."""
        if not self.running or self._delivering:
            return
        self._reset()
        self._drop_worker()
        _call(self._on_cancelled)

    def cleanup(self) -> None:
        """Forget the task without a word, end the process."""
        self._idle.stop()
        super().cleanup()

    def _whole_task(self, take: Callable[[], Steps], receive: Callable[[Any], Steps]):
        run = self._run
        self._report(0.0, "start")
        yield PAUSE_MS
        self._ready_worker()
        request = yield from self._paced(take(), 0.0, SENT, "send")
        _worker, value = yield from self._answered(lambda worker: worker.task(run, request))
        result = yield from self._paced(receive(value), FILL, 1.0, "fill")
        self._delivering = True
        yield PAUSE_MS
        self._reset()
        _call(self._on_finished, result)

    def _check_nodes(self) -> None:
        if any(node.GetScene() is None for node in self._nodes):
            raise InputNotFoundError(
                _("A volume or segmentation was deleted while it was in use."), _("Load it again, then try again.")
            )

    def _reset(self) -> None:
        super()._reset()
        self._nodes = ()
        if self._worker is not None:
            self._idle.start()

    def _drop_worker(self) -> None:
        self._idle.stop()
        super()._drop_worker()
