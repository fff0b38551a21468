"""What a user does, and how long the window keeps him waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from PySide6.QtCore import QModelIndex, Qt

from . import event_lock


def click(widget: QtWidgets.QWidget, button: Qt.MouseButton = Qt.MouseButton.LeftButton) -> None:
    """Click a widget where a user would: a check box on its mark, everything else in its middle.

    Raises
    ------
    RuntimeError
        If the widget is hidden or disabled: a user could not have clicked it.
    """
    if not widget.isVisible() or not widget.isEnabled():
        raise RuntimeError(f"{widget.objectName or widget.className()} cannot be clicked: hidden or disabled")
    rect = QtWidgets.QWidget.rect(widget)
    beside_left_edge = QtCore.QPoint(8, rect.center().y())
    place = beside_left_edge if widget.inherits("QCheckBox") or widget.inherits("QRadioButton") else rect.center()
    if widget.inherits("ctkCollapsibleButton") or widget.inherits("QGroupBox"):
        place = QtCore.QPoint(12, 8)
    QtTest.QTest.mouseClick(widget, button, Qt.KeyboardModifier.NoModifier, place)
    slicer.app.processEvents()


def press(key: str, widget: QtWidgets.QWidget | None = None) -> None:
    """Press a key such as ``N``, ``Delete`` or ``Ctrl+Z``, as a shortcut where one is bound, else into the widget.

    Without a widget it goes to the one that has the keyboard, else to the main window.
    """
    widget = widget or QtWidgets.QApplication.focusWidget() or slicer.util.mainWindow()
    combination = QtGui.QKeySequence(key)[0]
    window = widget.window()
    window.activateWindow()
    slicer.app.processEvents()
    QtTest.QTest.keyClick(widget, combination.key(), combination.keyboardModifiers())
    slicer.app.processEvents()


def type_text(widget: QtWidgets.QWidget, text: str) -> None:
    """Type into a widget."""
    widget.setFocus()
    QtTest.QTest.keyClicks(widget, text)
    slicer.app.processEvents()


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Let the event loop run until a condition holds.

    Raises
    ------
    TimeoutError
        If it does not within the time.
    """
    end = time.perf_counter() + timeout_s
    with _ticking():
        while not condition():
            if time.perf_counter() > end:
                raise TimeoutError(f"waited {timeout_s} s in vain")
            _turn()


def _turn() -> None:
    """One turn of the event loop, which waits a moment for events."""
    if event_lock.held():
        event_lock.process_events()(event_lock.WAIT_FOR_MORE_EVENTS)
    else:
        slicer.app.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 20)
        time.sleep(0.001)


@contextmanager
def _ticking() -> Iterator[None]:
    """So that there is always a next event."""
    timer = QtCore.QTimer()
    timer.setInterval(10)
    timer.start()
    try:
        yield
    finally:
        timer.stop()


def run_event_loop(seconds: float) -> None:
    """Let the event loop run for some time."""
    if event_lock.held():
        end = time.perf_counter() + seconds
        wait_until(lambda: time.perf_counter() >= end, seconds + 60)
        return
    loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(round(seconds * 1000), loop.quit)
    loop.exec()


def screenshot(widget: QtWidgets.QWidget, path: str | Path) -> Path:
    """Save a widget as it is drawn now, as PNG."""
    slicer.app.processEvents()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not widget.grab().save(str(path)):
        raise OSError(f"cannot write {path}")
    return path


class EventLoopProbe:
    """Measures for how long the event loop is blocked, by a timer that beats every 2 ms.

    Use as a context manager around code that lets the event loop run::

        with EventLoopProbe() as probe:
            wait_until(lambda: done)
        assert probe.longest_block_ms < 50
    """

    _BEAT_MS = 2

    def __init__(self) -> None:
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(self._BEAT_MS)
        self._timer.timeout.connect(self._beat)
        self._last = self._last_busy = 0.0
        #: Milliseconds between consecutive beats, less the beat itself.
        self.blocks_ms: list[float] = []
        #: Processor time of this thread between the same beats, ms: what other processes take is not in it.
        self.busy_ms: list[float] = []

    def _beat(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        self.blocks_ms.append(max(0.0, (now - self._last) * 1000 - self._BEAT_MS))
        self.busy_ms.append((busy - self._last_busy) * 1000)
        self._last, self._last_busy = now, busy

    def __enter__(self) -> EventLoopProbe:
        self.blocks_ms, self.busy_ms = [], []
        self._last, self._last_busy = time.perf_counter(), time.thread_time()
        self._timer.start()
        return self

    def __exit__(self, *exception) -> None:
        self._beat()
        self._timer.stop()

    @property
    def longest_block_ms(self) -> float:
        return max(self.blocks_ms, default=0.0)

    @property
    def longest_busy_ms(self) -> float:
        return max(self.busy_ms, default=0.0)


def texts_of_model(view: QtWidgets.QAbstractItemView) -> list[str]:
    """What the model of a view holds for any role that shows text, whatever kind of object the model is."""
    roles = [Qt.ItemDataRole(n) for n in (0, 2, 3, 4, 11)] + [int(Qt.ItemDataRole.UserRole) + n for n in (0, 1)]
    model = view.model()
    found = []

    def walk(parent: QModelIndex) -> None:
        for row in range(model.rowCount(parent)):
            for column in range(model.columnCount(parent)):
                index = model.index(row, column, parent)
                found.extend(str(model.data(index, role)) for role in roles)
            if not model.inherits("QAbstractTableModel"):
                walk(model.index(row, 0, parent))

    walk(QModelIndex())
    return found
