"""Something that takes a while and touches no node: done in a thread, answered in the GUI thread."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import qt

from . import threads

if TYPE_CHECKING:
    from collections.abc import Callable

#: Interval at which the GUI thread checks whether a task is done, and yields the interpreter to its thread.
POLL_MS = 12
#: Tasks under way: a caller need not keep them.
_tasks: set[Task] = set()


class Task:
    """A function under way; :meth:`cancel` forgets its answer."""

    def __init__(
        self, function: Callable[[], Any], onDone: Callable[[Any], None], onFailed: Callable[[Exception], None]
    ) -> None:
        self._function = function
        self._on_done = onDone
        self._on_failed = onFailed
        self._answers: queue.Queue[tuple[bool, Any]] = queue.Queue()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)

    @property
    def running(self) -> bool:
        """Whether the answer is still awaited."""
        return self in _tasks

    def cancel(self) -> None:
        """Forget the task: neither callback is called any more. The thread ends when its function does."""
        if self not in _tasks:
            return
        _tasks.discard(self)
        self._timer.stop()
        # PythonQt keeps a slot for as long as its sender lives, and with it the task, its callbacks and all they hold.
        self._timer.deleteLater()
        self._function = self._on_done = self._on_failed = None

    def _start(self) -> None:
        _tasks.add(self)
        self._timer.start()
        # The thread holds no reference to the task, so the task and its timer are released in the GUI thread.
        work = self._function, self._answers
        threading.Thread(target=_work, args=work, name="flairseg-background", daemon=True).start()

    def _poll(self) -> None:
        threads.share()
        try:
            succeeded, answer = self._answers.get_nowait()
        except queue.Empty:
            return
        answered = self._on_done if succeeded else self._on_failed
        self.cancel()
        answered(answer)


def _work(function: Callable[[], Any], answers: queue.Queue[tuple[bool, Any]]) -> None:
    try:
        answer = True, function()
    except Exception as error:  # noqa: BLE001 - any error is passed to the caller's thread
        answer = False, error
    answers.put(answer)


def run(function: Callable[[], Any], onDone: Callable[[Any], None], onFailed: Callable[[Exception], None]) -> Task:
    """Run a function in a thread.

    Parameters
    ----------
    function : callable
        Without arguments. Must not touch MRML, VTK's pipelines of the scene, or Qt.
    onDone : callable
        Called in the GUI thread with what the function returned.
    onFailed : callable
        Called in the GUI thread with the exception that it raised.

    Returns
    -------
    Task
    """
    task = Task(function, onDone, onFailed)
    task._start()
    return task
