"""A section whose button starts something long and becomes Cancel: progress, stage, outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import slicer
from flairseg.errors import FlairSegError
from slicer.i18n import tr as _

from .. import dependencies, phrasing
from ..task_controller import TaskController
from . import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..worker_holder import WorkerHolder

#: Progress bars of Qt count in whole numbers.
STEPS = 1000


class TaskSection(ABC):
    """Button, progress bar, stage and message around a :class:`~..task_controller.TaskController`.

    A subclass defines :meth:`_refusal`, :meth:`_begin` and :meth:`_done`.

    Parameters
    ----------
    ui : namespace
        Widgets of the section's ``.ui`` file: ``<prefix>Button``, ``<prefix>ProgressBar``, ``<prefix>StageLabel``,
        ``<prefix>MessageLabel``.
    prefix : str
    tip : str
        Tooltip of the enabled button.
    workers : WorkerHolder, optional
        Lent worker; by default the section has its own.
    """

    def __init__(self, ui, prefix: str, tip: str, workers: WorkerHolder | None = None) -> None:
        self.ui = ui
        self._button, self._bar, self._stage, self._message = (
            getattr(ui, f"{prefix}{part}") for part in ("Button", "ProgressBar", "StageLabel", "MessageLabel")
        )
        self._title, self._tip = self._button.text, tip
        self._closed = self._starting = False
        self.controller = TaskController(
            onProgress=self._progressed,
            onFinished=self._finished,
            onFailed=self._failed,
            onCancelled=self._cancelled,
            lent=workers,
        )
        self._bar.setMaximum(STEPS)
        self._button.clicked.connect(self._clicked)

    @property
    def running(self) -> bool:
        """Whether the section's task is under way."""
        return self.controller.running

    def start(self) -> None:
        """Start; obstacles are shown in the panel."""
        if self.running or self._starting:
            self.update()
            return
        refusal = self._refusal()
        if refusal:
            self.update()
            messages.show(self._message, messages.WARNING, refusal)
            return
        # Slicer handles events while packages are installed: a second click is no second start.
        self._starting = True
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - a slot: Qt would only print it
            self._failed(phrasing.typed(error))
            return
        finally:
            self._starting = False
        self._button.setText(_("Cancel"))
        self._button.setToolTip(_("Stop; nothing is added to the scene"))
        self._bar.setValue(0)
        self._bar.setVisible(True)
        messages.hide(self._message)
        messages.quiet(self._stage, _("Starting..."))

    def cancel(self) -> None:
        """End the running task; the scene is unchanged."""
        self.controller.cancel()

    def update(self) -> None:
        """Enable the button, or explain in its tooltip why it is disabled."""
        if self.running or self._closed:
            return
        refusal = self._refusal()
        self._button.setEnabled(not refusal)
        self._button.setToolTip(refusal or self._tip)

    def enter(self) -> None:
        """The panel is shown."""
        self.update()

    def exit(self) -> None:  # noqa: B027 - nothing to do is right for most sections
        """Another module is shown; a running task continues."""

    def onSceneStartClose(self) -> None:
        """The scene is closing: what is under way ends, its messages go."""
        self.controller.cancel()
        messages.hide(self._message)

    def cleanup(self) -> None:
        """End the task and its process. The widgets may be gone already."""
        self._closed = True
        self.controller.cleanup()

    # Methods of subclasses

    @abstractmethod
    def _refusal(self) -> str:
        """Why it cannot be started now; empty if it can."""

    @abstractmethod
    def _begin(self) -> None:
        """Hand the task to the controller."""

    @abstractmethod
    def _done(self, result) -> None:
        """Show what the controller's receiving steps returned."""

    def _words(self, stage: str) -> str:
        """Text for a stage; a section overrides it for its own stages."""
        return stage_words(stage)

    def _install(self, packages: Sequence[str]) -> None:
        """Install packages that the task needs, with a message, because it takes a while."""
        if dependencies.lacking(packages):
            self._installing(lambda: dependencies.ensurePackages(packages))

    def _install_for_models(self, device: str) -> None:
        """As a run of a model needs them."""
        if dependencies.missing(device) or len(dependencies.installedFlavours()) > 1:
            self._installing(lambda: dependencies.ensure(device, self.controller.cleanup))

    def _installing(self, ensure: Callable[[], None]) -> None:
        messages.show(self._message, messages.INFO, _("Installing missing Python packages..."))
        slicer.app.processEvents()
        try:
            ensure()
        finally:
            messages.hide(self._message)

    # Events of the controller

    def _clicked(self, checked: bool = False) -> None:
        if self.running:
            self.cancel()
        else:
            self.start()

    def _progressed(self, fraction: float, stage: str) -> None:
        if self._closed:
            return
        self._bar.setValue(round(STEPS * min(max(fraction, 0.0), 1.0)))
        messages.quiet(self._stage, self._words(stage))

    def _finished(self, result) -> None:
        if self._closed:
            return
        self._idle()
        self._done(result)
        self.update()

    def _failed(self, error: FlairSegError) -> None:
        if self._closed:
            return
        self._idle()
        messages.show(self._message, messages.ERROR, f"{error.message}\n{phrasing.advice(error)}".strip())
        self.update()

    def _cancelled(self) -> None:
        if self._closed:
            return
        self._idle()
        messages.show(self._message, messages.INFO, _("Cancelled. The scene is unchanged."))
        self.update()

    def _idle(self) -> None:
        self._button.setText(self._title)
        self._bar.setVisible(False)
        messages.hide(self._stage)


def stage_words(stage: str) -> str:
    """Text for a stage that several tasks share; an unknown stage as it is."""
    words = {
        "start": _("Starting..."),
        "send": _("Reading the volume"),
        "read": _("Reading the volume"),
        "preprocess": _("Preparing the brain"),
        "inference": _("Segmenting"),
        "postprocess": _("Cleaning up"),
        "register": _("Aligning the studies"),
        "regions": _("Finding the regions of the brain"),
        "segment": _("Segmenting the studies"),
        "compare": _("Comparing the lesions"),
        "report": _("Writing the report"),
        "dicom": _("Writing DICOM"),
        "write": _("Writing the files"),
        "fill": _("Filling the scene"),
    }
    return words.get(stage, stage)
