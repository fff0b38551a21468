"""Keys of the panel: bound while the module is shown, released when another one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
import slicer


class Shortcuts:
    """Keys and what they do.

    Parameters
    ----------
    actions : mapping of str to callable
        Key sequence (``N``, ``Ctrl+Z``) -> called without arguments.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = dict(actions)
        self._bound = []

    @property
    def bound(self) -> bool:
        """Whether the keys work now."""
        return bool(self._bound)

    def bind(self, widget=None) -> None:
        """Make the keys work in the main window, or in the window of a widget where there is none."""
        if self._bound:
            return
        window = slicer.util.mainWindow() or (widget.window() if widget is not None else None)
        if window is None:
            return
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.activated.connect(action)
            self._bound.append(shortcut)

    def release(self) -> None:
        """Give the keys back to Slicer."""
        for shortcut in self._bound:
            # Its window keeps it until the event loop turns: a key may release itself.
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._bound = []
