"""The coordinator's section: a protocol is made, checked and locked; the study watched, closed and analysed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import FlairSegSettings


class CoordinatorSection:
    """Parameters: the section's widget, and the settings."""

    def __init__(self, holder, settings: FlairSegSettings) -> None:
        self._holder, self._settings = holder, settings

    def cleanup(self) -> None:
        """The panel goes."""
