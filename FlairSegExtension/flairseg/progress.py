"""Progress and cancellation, passed down the pipeline with the data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import Cancelled

#: Stages in order, with the share of the whole case at which each ends (for the progress bar; writing takes the rest).
STAGES = {"read": 0.03, "preprocess": 0.25, "inference": 0.85, "postprocess": 0.88, "regions": 0.97, "write": 1.0}
#: Called as ``progress(fraction, stage)``: fraction of the whole case in [0, 1], name of the stage.
ProgressCallback = Callable[[float, str], None]


class CancelToken:
    """Thread-safe flag that a caller sets and the pipeline checks between slices and stages."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the run to stop at the next check."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether cancelling was requested."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise :class:`~flairseg.errors.Cancelled` if cancelling was requested."""
        if self._event.is_set():
            raise Cancelled()


class Reporter:
    """Progress, cancel token and stopwatch of one case, handed down the pipeline.

    Parameters
    ----------
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken or callable, optional
        A token, or a function that returns True once the user has cancelled.
    """

    def __init__(
        self,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | Callable[[], bool] | None = None,
    ) -> None:
        self._progress = progress
        self._cancel = cancel
        self._span = (0.0, 1.0)
        self._stage = ""
        #: Seconds per stage, in the order in which they ran.
        self.seconds: dict[str, float] = {}

    def check(self) -> None:
        """Raise :class:`~flairseg.errors.Cancelled` if the user has cancelled."""
        if isinstance(self._cancel, CancelToken):
            self._cancel.check()
        elif self._cancel is not None and self._cancel():
            raise Cancelled()

    @contextmanager
    def stage(self, name: str, start: float, stop: float) -> Iterator[Reporter]:
        """Time a stage that covers ``start..stop`` of the whole case (fractions in [0, 1])."""
        self.check()
        self._span, self._stage = (start, stop), name
        self.update(0.0)
        began = time.perf_counter()
        try:
            yield self
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.update(1.0)

    def update(self, fraction: float) -> None:
        """Report the fraction (0..1) of the current stage, and check for cancellation."""
        self.check()
        if self._progress is not None:
            start, stop = self._span
            self._progress(start + (stop - start) * min(max(fraction, 0.0), 1.0), self._stage)
