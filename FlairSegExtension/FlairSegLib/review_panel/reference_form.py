"""A new reference session: where, on which images, by whom, after which rule."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import ctk
from flairseg.errors import FlairSegError
from flairseg.study.queue import work_list
from flairseg.study.reference import start
from flairseg.study.reference_setup import (
    DICE_THRESHOLD,
    INTERSECTION,
    MAJORITY,
    TWO_STEPS,
    UNION,
    UNTIL_AGREEMENT,
    ReferenceSetup,
)
from slicer.i18n import tr as _

from .. import background, dependencies, phrasing
from ..panel import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings import FlairSegSettings


class ReferenceForm:
    """The group "New session".

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegQueue.ui``.
    settings : FlairSegSettings
    on_started : callable
        Called with the folder of the session.
    """

    def __init__(self, ui, settings: FlairSegSettings, on_started: Callable[[str], None]) -> None:
        self.ui = ui
        self._settings = settings
        self._on_started = on_started
        self._task = None
        self._methods = (TWO_STEPS, UNTIL_AGREEMENT)
        self._combinations = (UNION, INTERSECTION, MAJORITY)
        for text in (_("Two steps, with dots (S5)"), _("Until two readers agree (S4)")):
            ui.newMethodSelector.addItem(text)
        for text in (_("Union of the masks"), _("Intersection of the masks"), _("Majority of the readers")):
            ui.newCombineSelector.addItem(text)
        ui.newFolderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.newDiceSpinBox.setValue(DICE_THRESHOLD)
        ui.newMethodSelector.currentIndexChanged.connect(self._method_chosen)
        ui.newStartButton.clicked.connect(lambda checked=False: self.start())
        self._method_chosen()

    @property
    def busy(self) -> bool:
        """Whether a session is being started."""
        return self._task is not None

    def start(self) -> None:
        """Start the session that the form describes."""
        if self.busy:
            return
        folder, images = (edit.currentPath.strip() for edit in (self.ui.newFolderEdit, self.ui.newImagesEdit))
        readers = tuple(name.strip() for name in self.ui.newReadersEdit.text.split(",") if name.strip())
        if not folder or not images:
            self._tell(_("Choose a new folder for the session, and the images."))
            return
        try:
            dependencies.ensureStore()
        except FlairSegError as error:
            self._tell(phrasing.text(error))
            return
        method = self._methods[self.ui.newMethodSelector.currentIndex]
        combine = self._combinations[self.ui.newCombineSelector.currentIndex]
        dice, days = self.ui.newDiceSpinBox.value, self.ui.newWaitSpinBox.value
        # An SQLite store is in the session's folder; a server's address is for all.
        store = self._settings.reviewStoreUrl if "://" in self._settings.reviewStoreUrl else ""
        path, source = Path(folder).expanduser(), Path(images).expanduser()

        def begin() -> str:
            items = sorted((i for i in work_list(source, done=True) if not i.problem), key=lambda item: item.case)
            setup = ReferenceSetup(
                f"{path.name}-{uuid.uuid4().hex[:8]}",
                {item.case: str(item.flair.absolute()) for item in items},
                readers,
                method,
                # Lesions drawn by a tool get dots, too.
                {item.case: [str(item.labels)] for item in items if item.labels} if method == TWO_STEPS else {},
                combine,
                dice,
                days if method == TWO_STEPS else 0.0,
            )
            start(path, setup, store).close()
            return str(path)

        self.ui.newStartButton.setEnabled(False)
        self._task = background.run(begin, self._started, self._failed)

    def cleanup(self) -> None:
        """Clean up with the panel."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _started(self, folder: str) -> None:
        self._task = None
        self.ui.newStartButton.setEnabled(True)
        self._on_started(folder)

    def _failed(self, error: Exception) -> None:
        self._task = None
        self.ui.newStartButton.setEnabled(True)
        if isinstance(error, FlairSegError):
            self._tell(phrasing.text(error))
        else:
            self._tell(_("The session cannot be started: {error}.").format(error=phrasing.text(error)))

    def _tell(self, text: str) -> None:
        messages.show(self.ui.referenceMessageLabel, messages.ERROR, text)

    def _method_chosen(self, index: int = 0) -> None:
        two_steps = self._methods[self.ui.newMethodSelector.currentIndex] == TWO_STEPS
        for widget in (self.ui.newDiceLabel, self.ui.newDiceSpinBox):
            widget.setVisible(not two_steps)
        for widget in (self.ui.newWaitLabel, self.ui.newWaitSpinBox):
            widget.setVisible(two_steps)
