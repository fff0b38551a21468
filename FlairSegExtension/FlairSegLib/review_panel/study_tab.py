"""The tab Study: a rater's sitting."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import FlairSegSettings


class StudyTab:
    """A rater's sitting, and the coordinator's section.

    Parameters
    ----------
    holder : QWidget
        The tab, with a layout.
    settings : FlairSegSettings
    """

    def __init__(self, holder, settings: FlairSegSettings) -> None:
        self._holder, self._settings = holder, settings

    def enter(self) -> None:
        """The tab is shown."""

    def exit(self) -> None:
        """Another tab or module is shown."""

    def cleanup(self) -> None:
        """The panel goes."""

    def sceneClosing(self) -> None:
        """The scene is being closed."""
