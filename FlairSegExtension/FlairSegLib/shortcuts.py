"""Keyboard shortcuts of the panel, active while its module is shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import qt
import slicer


class Shortcuts:
    """Keyboard shortcuts.

    Parameters
    ----------
    actions : mapping of str to callable
        Key sequence (``N``, ``Ctrl+Z``) -> called without arguments.
    repeating : collection of str
        Keys that act again while they are held down. The others act once: a key held too long shall not answer the
        next case.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]], repeating: Collection[str] = ()) -> None:
        self._actions = dict(actions)
        self._repeating = frozenset(repeating)
        self._bound = []

    @property
    def bound(self) -> bool:
        """Whether the shortcuts are active."""
        return bool(self._bound)

    def bind(self, widget=None) -> None:
        """Activate the shortcuts in the main window, or in the window of a widget if there is none."""
        if self._bound:
            return
        window = slicer.util.mainWindow() or (widget.window() if widget is not None else None)
        if window is None:
            return
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.setAutoRepeat(key in self._repeating)
            shortcut.activated.connect(action)
            self._bound.append(shortcut)

    def release(self) -> None:
        """Deactivate the shortcuts."""
        for shortcut in self._bound:
            # Deleted in the next iteration of the event loop: a shortcut may release itself.
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._bound = []
