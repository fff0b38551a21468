"""Settings: who reads, where cases and verdicts are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ctk
from slicer.i18n import tr as _

from . import messages

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
        ui.readerLineEdit.setText(preferences.readerName)
        ui.storeLineEdit.setText(preferences.reviewStoreUrl)
        ui.casesPathLineEdit.setFilters(ctk.ctkPathLineEdit.Dirs)
        ui.casesPathLineEdit.setCurrentPath(preferences.casesFolder)
        ui.readerLineEdit.textChanged.connect(self._reader_changed)
        ui.storeLineEdit.textChanged.connect(self._store_changed)
        ui.casesPathLineEdit.currentPathChanged.connect(self._cases_changed)
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
            hint = _("Choose a folder, so that accepted and rejected cases can be kept.")
        messages.quiet(self.ui.settingsHintLabel, hint)
