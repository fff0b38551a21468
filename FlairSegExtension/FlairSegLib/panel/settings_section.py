"""Settings: who reads, where cases and verdicts are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ctk
from slicer.i18n import tr as _

from . import messages
from .path_edits import onPathChanged

if TYPE_CHECKING:
    from .. import settings


class SettingsSection:
    """The few things that are set once.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSeg.ui``.
    preferences : FlairSegSettings
        Written as soon as something is typed.
    """

    def __init__(self, ui, preferences: settings.FlairSegSettings) -> None:
        self.ui = ui
        self._settings = preferences
        ui.casesPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        self.refresh()
        ui.readerLineEdit.textChanged.connect(self._reader_changed)
        ui.storeLineEdit.textChanged.connect(self._store_changed)
        onPathChanged(ui.casesPathLineEdit, self._cases_changed)
        # The reader's name can also be entered beside the verdict.
        ui.settingsCollapsibleButton.contentsCollapsed.connect(self.refresh)

    def refresh(self, collapsed: bool = False) -> None:
        """Show what is set now."""
        self.ui.readerLineEdit.setText(self._settings.readerName)
        self.ui.storeLineEdit.setText(self._settings.reviewStoreUrl)
        self.ui.casesPathLineEdit.setCurrentPath(self._settings.casesFolder)
        self._show()

    def _reader_changed(self, text: str = "") -> None:
        self._settings.readerName = text

    def _store_changed(self, text: str = "") -> None:
        self._settings.reviewStoreUrl = text

    def _cases_changed(self, path: str = "") -> None:
        self._settings.casesFolder = path
        self._show()

    def _show(self) -> None:
        if self._settings.casesFolder:
            hint = _("Every verdict adds a version of the case; nothing is overwritten.")
        else:
            hint = _("Choose a folder for accepted and rejected cases.")
        messages.quiet(self.ui.settingsHintLabel, hint)
