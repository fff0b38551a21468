"""One piece of the coordinator's work at a time: in a thread, with its progress shown and a Cancel that cancels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from flairseg.errors import Cancelled, FlairSegError
from flairseg.progress import CancelToken
from slicer.i18n import tr as _

from .. import background, phrasing
from ..panel import messages

#: Interval of updating the progress, ms.
DRAW_MS = 100
_STEPS = 1000


class Work:
    """Runs a function and reports the outcome.

    Parameters
    ----------
    ui : namespace
        With ``workBox``, ``workProgress``, ``cancelButton`` and ``coordinatorMessageLabel``.
    on_change : callable
        Called when work began or ended.
    """

    def __init__(self, ui, on_change: Callable[[], None]) -> None:
        self.ui = ui
        self._on_change = on_change
        self._task: background.Task | None = None
        self._cancel = CancelToken()
        self._progress: tuple[float, str] = (0.0, "")
        self._timer = qt.QTimer()
        self._timer.setInterval(DRAW_MS)
        self._timer.timeout.connect(self._draw)
        ui.cancelButton.clicked.connect(lambda checked=False: self.cancel())
        ui.workBox.setVisible(False)

    @property
    def running(self) -> bool:
        """Whether something is under way."""
        return self._task is not None

    def start(
        self,
        function: Callable[[Callable[[float, str], None], CancelToken], Any],
        on_done: Callable[[Any], None],
        what: str,
    ) -> None:
        """Run ``function(progress, cancel)`` in a thread; ``on_done`` gets its result.

        Errors and cancellation are shown in the panel. The progress callback raises ``Cancelled`` once the user has
        cancelled, for functions that cannot be cancelled.
        """
        if self.running:
            return
        cancel = self._cancel = CancelToken()
        self._progress = (0.0, what)

        def progress(fraction: float, sentence: str) -> None:
            if cancel.cancelled:
                raise Cancelled()
            self._progress = (fraction, sentence)

        self._task = background.run(lambda: function(progress, cancel), lambda r: self._done(on_done, r), self._failed)
        self.ui.workProgress.setValue(0)
        self.ui.workBox.setVisible(True)
        self.ui.cancelButton.setEnabled(True)
        messages.quiet(self.ui.coordinatorMessageLabel, what)
        self._timer.start()
        self._on_change()

    def cancel(self) -> None:
        """Ask it to stop."""
        self._cancel.cancel()
        self.ui.cancelButton.setEnabled(False)

    def cleanup(self) -> None:
        """Clean up with the panel: the answer is dropped, and the work stops where it can."""
        self._cancel.cancel()
        self._timer.stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _draw(self) -> None:
        fraction, _sentence = self._progress
        self.ui.workProgress.setValue(round(_STEPS * fraction))

    def _ended(self) -> None:
        self._task = None
        self._timer.stop()
        self.ui.workBox.setVisible(False)
        messages.hide(self.ui.coordinatorMessageLabel)

    def _done(self, on_done: Callable[[Any], None], result: Any) -> None:
        self._ended()
        on_done(result)
        self._on_change()

    def _failed(self, error: Exception) -> None:
        self._ended()
        label = self.ui.coordinatorMessageLabel
        if isinstance(error, Cancelled):
            messages.show(label, messages.INFO, _("Cancelled. Nothing was changed."))
        elif isinstance(error, FlairSegError):
            messages.show(label, messages.ERROR, phrasing.text(error))
        else:
            messages.show(label, messages.ERROR, _("It failed: {error}.").format(error=phrasing.text(error)))
        self._on_change()
