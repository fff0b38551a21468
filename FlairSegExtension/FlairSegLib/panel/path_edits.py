"""Path line edits: notification of every change, including clearing."""

from __future__ import annotations

from collections.abc import Callable


def onPathChanged(edit, slot: Callable[[str], None]) -> None:
    """Call a slot with the path whenever it changes.

    ``ctkPathLineEdit`` does not signal an empty path by ``currentPathChanged``, but only by ``validInputChanged``.

    Parameters
    ----------
    edit : ctkPathLineEdit
        The widget.
    slot : callable
        Called with the path; twice if a path follows an empty one.
    """
    edit.currentPathChanged.connect(slot)
    edit.validInputChanged.connect(lambda valid=False: slot(edit.currentPath))
