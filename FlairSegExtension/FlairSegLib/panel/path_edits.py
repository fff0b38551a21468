"""Path line edits: every change of the path, including that it is cleared."""

from __future__ import annotations

from collections.abc import Callable


def onPathChanged(edit, slot: Callable[[str], None]) -> None:
    """Call a slot with the path whenever it changes.

    ``ctkPathLineEdit`` does not announce an empty path by ``currentPathChanged``, only that the input is not valid any
    more.

    Parameters
    ----------
    edit : ctkPathLineEdit
        The widget.
    slot : callable
        Called with the path; twice where a path follows an empty one.
    """
    edit.currentPathChanged.connect(slot)
    edit.validInputChanged.connect(lambda valid=False: slot(edit.currentPath))
