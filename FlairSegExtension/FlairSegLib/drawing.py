"""Rendering control: once for changes that belong together, and one view in each turn of the event loop.

A view of Slicer that has waited for longer than a frame is drawn at the next change, while the change is being made;
and those that were paused are all drawn in the call that resumes them. On a computer without a fast graphics card each
takes up to a sixth of a second, in which Slicer does not answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import slicer

#: Between two views, ms: the user's events have their turn.
TURN_MS = 10


@contextmanager
def once() -> Iterator[None]:
    """Draw nothing while the block runs, and each view once afterwards."""
    pause()
    try:
        yield
    finally:
        resume()


def pause() -> None:
    """Draw nothing until :func:`resume`; calls may be nested."""
    _views.depth += 1
    slicer.app.pauseRender()


def resume() -> None:
    """Draw what waits to be drawn: the largest view now, the others one after the other."""
    _views.depth -= 1
    try:
        if not _views.depth:
            _views.hold()
    finally:
        slicer.app.resumeRender()


class _Views:
    """Views that wait for their turn: each is paused once more, and resumed when it comes."""

    def __init__(self) -> None:
        self.depth = 0
        #: None is the turn of the view that does not wait here: it may draw itself a frame later.
        self._held: deque = deque()
        self._timer = None

    def hold(self) -> None:
        """Let all views but the largest wait; those that wait already have their turn first."""
        others = [view for view in _shown()[1:] if view not in self._held]
        if not others:
            return
        if not self._held:
            self._held.append(None)
        for view in others:
            view.pauseRender()
            self._held.append(view)
        self._start()

    def _start(self) -> None:
        if self._timer is None:
            import qt

            self._timer = qt.QTimer()
            self._timer.setInterval(TURN_MS)
            self._timer.timeout.connect(self._next)
        self._timer.start()

    def _next(self) -> None:
        view = self._held.popleft() if self._held else None
        if not self._held:
            self._timer.stop()
        if view is not None:
            try:
                view.resumeRender()
            except (RuntimeError, ValueError):
                # PythonQt and PySide report a deleted view in different ways.
                return


def _shown() -> list:
    """The views that are seen, the largest slice first, 3D last; none where there is no main window."""
    manager = slicer.app.layoutManager()
    if manager is None or slicer.util.mainWindow() is None:
        return []
    slices = [manager.sliceWidget(name) for name in manager.sliceViewNames()]
    shown = [widget.sliceView() for widget in slices if widget is not None and widget.visible]
    shown.sort(key=lambda view: -view.width * view.height)
    solid = [manager.threeDWidget(index) for index in range(manager.threeDViewCount)]
    return shown + [widget.threeDView() for widget in solid if widget is not None and widget.visible]


_views = _Views()
