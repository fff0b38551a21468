"""Run: the Segment button that turns into Cancel, staged progress, and what came of it in one message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.errors import FlairSegError
from flairseg.progress import STAGES
from slicer.i18n import tr as _

from .. import dependencies, diagnostics, keys, phrasing, segment_tags, settings
from ..run_controller import RunController
from ..shortcuts import Shortcuts
from ..task_controller import FILL, SENT
from . import messages
from .model_section import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from .case_section import CaseSection
    from .model_section import ModelSection

#: The elapsed time is written this often.
TICK_MS = 500
#: Duration for which the button confirms that the diagnostics were copied.
COPIED_MS = 2000
#: Progress bars of Qt count in whole numbers.
STEPS = 1000


class RunSection:
    """Starts, cancels and reports a run.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSeg.ui``.
    case : CaseSection
        The volume.
    model : ModelSection
        Model and device.
    preferences : FlairSegSettings
    onFinished : callable
        Called with the segmentation node of a finished run.
    """

    def __init__(
        self,
        ui,
        case: CaseSection,
        model: ModelSection,
        preferences: settings.FlairSegSettings,
        onFinished: Callable[[object], None],
    ) -> None:
        self.ui = ui
        self._case = case
        self._model = model
        self._settings = preferences
        self._on_finished = onFinished
        #: Called without arguments when a run begins.
        self.onStarted: Callable[[], None] = lambda: None
        #: Called without arguments when a run ended without a result: failed or cancelled.
        self.onNoResult: Callable[[], None] = lambda: None
        self._began = 0.0
        self._slices = 0
        self._expected: float | None = None
        self._error: FlairSegError | None = None
        self._cancelling = self._closed = self._entered = self._starting = False
        self._model_id = ""
        self._requested = settings.AUTOMATIC
        self._shortcuts = Shortcuts({keys.SEGMENT: self.start, keys.CANCEL: self.cancel})
        self.controller = RunController(
            onProgress=self._progressed,
            onFinished=self._finished,
            onFailed=self._failed,
            onCancelled=self._cancelled,
        )
        self._clock = qt.QTimer()
        self._clock.setInterval(TICK_MS)
        self._clock.timeout.connect(self._tick)
        self._copied = qt.QTimer()
        self._copied.setSingleShot(True)
        self._copied.setInterval(COPIED_MS)
        self._copied.timeout.connect(self._restore_copy_button)
        ui.segmentButton.clicked.connect(self._clicked)
        ui.copyDiagnosticsButton.clicked.connect(self._copy_diagnostics)
        ui.progressBar.setMaximum(STEPS)
        self._show_idle()

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self.controller.running

    def start(self) -> None:
        """Segment the selected volume; obstacles are shown in the panel."""
        if self.running or self._starting or self._case.refusal or self._model.card is None:
            self.update()
            return
        # Slicer handles events while packages are installed: a second click is no second start.
        self._starting = True
        try:
            self._start()
        finally:
            self._starting = False

    def _start(self) -> None:
        node, device = self._case.volumeNode, self._model.device
        try:
            if dependencies.missing(device) or len(dependencies.installedFlavours()) > 1:
                messages.show(self.ui.statusLabel, messages.INFO, _("Installing missing Python packages..."))
                slicer.app.processEvents()
            dependencies.ensure(device, beforeChange=self.controller.cleanup)
            self._began = time.monotonic()
            self._model_id, self._requested = self._model.modelId, device
            self._slices, self._expected = self._case.slices, self._model.expectedSeconds
            self._error, self._cancelling = None, False
            self.controller.start(
                node, self._model_id, device, self._model.takenAsInUse, regions=self._settings.regionsAfterRun
            )
        except Exception as error:  # noqa: BLE001 - a slot: Qt would only print it
            self._failed(phrasing.typed(error))
            return
        if self.running:
            self._show_running()
            self.onStarted()

    def cancel(self) -> None:
        """Cancel the run; the scene is unchanged."""
        if not self.running:
            return
        if self._cancelling:
            return
        # The button stays enabled: disabling it would hand the keyboard on, and the panel would scroll there.
        self._cancelling = True
        messages.quiet(self.ui.stageLabel, _("Cancelling..."))
        self.controller.cancel()

    def update(self) -> None:
        """Enable the button, or explain in its tooltip why it is disabled."""
        if self.running:
            return
        reason = self._case.refusal or self._model.refusal
        if not reason:
            self._warm_up()
        self.ui.segmentButton.setEnabled(not reason)
        self.ui.segmentButton.setToolTip(
            reason or _("Segment ventricles, normal hyperintensity and lesions ({key})").format(key=keys.SEGMENT)
        )

    def enter(self) -> None:
        """The panel is shown: its keys work, the worker warms up."""
        self._shortcuts.bind(self.ui.segmentButton)
        self._entered = True
        self._warm_up()

    def exit(self) -> None:
        """Another module is shown: the keys are its own again."""
        self._entered = False
        self._shortcuts.release()

    def sceneClosing(self) -> None:
        """The scene is closing: the run ends, its messages go."""
        if self.running:
            self.controller.cancel()
        self._error = None
        self._show_idle()
        messages.hide(self.ui.statusLabel)
        self.ui.copyDiagnosticsButton.setVisible(False)

    def cleanup(self) -> None:
        """End the run and the worker, release the keys. The widgets may be gone already."""
        self._closed = True
        self.exit()
        self._clock.stop()
        self._copied.stop()
        self.controller.cleanup()

    def _warm_up(self) -> None:
        """Have the network loaded by the time the button is pressed; not before there is something to segment."""
        if not self._entered or self._case.refusal or self._model.card is None:
            return
        if not dependencies.missing(self._model.device):
            self.controller.warmUp(self._model.modelId, self._model.device)

    def _clicked(self, checked: bool = False) -> None:
        if self.running:
            self.cancel()
        else:
            self.start()

    def _show_running(self) -> None:
        self.ui.segmentButton.setText(_("Cancel"))
        self.ui.segmentButton.setEnabled(True)
        self.ui.segmentButton.setToolTip(
            _("Stop the run; nothing is added to the scene ({key})").format(key=keys.CANCEL)
        )
        self.ui.progressBar.setValue(0)
        self.ui.progressBar.setVisible(True)
        messages.quiet(self.ui.stageLabel, _("Starting..."))
        messages.hide(self.ui.statusLabel)
        self.ui.copyDiagnosticsButton.setVisible(False)
        self.ui.elapsedLabel.setVisible(True)
        self._tick()
        self._clock.start()

    def _show_idle(self) -> None:
        self._clock.stop()
        self.ui.segmentButton.setText(_("Segment"))
        self.ui.progressBar.setVisible(False)
        messages.hide(self.ui.stageLabel)
        messages.hide(self.ui.elapsedLabel)
        self.update()

    def _tick(self) -> None:
        elapsed = int(time.monotonic() - self._began)
        text = _("{n} s").format(n=elapsed)
        if self._expected is not None and elapsed < 1.2 * self._expected:
            text = _("{n} s of about {expected}").format(n=elapsed, expected=duration(self._expected))
        self.ui.elapsedLabel.setText(text)

    def _progressed(self, fraction: float, stage: str) -> None:
        if self._cancelling or self._closed:
            return
        self.ui.progressBar.setValue(round(STEPS * min(max(fraction, 0.0), 1.0)))
        messages.quiet(self.ui.stageLabel, stage_words(stage, fraction, self._slices))

    def _finished(self, node) -> None:
        if self._closed:
            return
        seconds = time.monotonic() - self._began
        used = self.controller.deviceUsed or settings.CPU
        self._settings.rememberRun(self._model_id, used, self._slices, seconds)
        # The device chosen by "automatic" on this computer is remembered as well.
        if self._requested != used:
            self._settings.rememberRun(self._model_id, self._requested, self._slices, seconds)
        self._show_idle()
        self._model.setSlices(self._case.slices)
        self._model.setDeviceUsed(used, self._requested)
        self._model.fold(used, seconds, segment_tags.first_tag(node, segment_tags.MODEL))
        warnings = [line for line in (node.GetAttribute("FlairSeg.warnings") or "").splitlines() if line]
        done = _("Segmented in {time} on the {device}.").format(
            time=duration(seconds), device=diagnostics.deviceName(used)
        )
        kind = messages.WARNING if warnings else messages.SUCCESS
        messages.show(self.ui.statusLabel, kind, "\n".join([done, *warnings]))
        self._on_finished(node)

    def _failed(self, error: FlairSegError) -> None:
        if self._closed:
            return
        self._error = error
        self._show_idle()
        messages.show(self.ui.statusLabel, messages.ERROR, f"{error.message}\n{phrasing.advice(error)}".strip())
        self.ui.copyDiagnosticsButton.setVisible(True)
        self.onNoResult()

    def _cancelled(self) -> None:
        if self._closed:
            return
        self._cancelling = False
        self._show_idle()
        messages.show(self.ui.statusLabel, messages.INFO, _("Cancelled. The scene is unchanged."))
        self.onNoResult()

    def _copy_diagnostics(self, checked: bool = False) -> None:
        error = self._error
        card = self._model.card
        text = diagnostics.report(
            error.message if error is not None else "",
            phrasing.advice(error) if error is not None else "",
            error_type=type(error).__name__ if error is not None else "",
            model=f"{card.id} {card.sha256[:12]}" if card is not None else "none",
            device=f"{self._requested} requested, {self.controller.deviceUsed or 'none'} used",
            slices=self._slices,
        )
        qt.QApplication.clipboard().setText(text)
        self.ui.copyDiagnosticsButton.setText(_("Copied"))
        self._copied.start()

    def _restore_copy_button(self) -> None:
        self.ui.copyDiagnosticsButton.setText(_("Copy diagnostics"))


def stage_words(stage: str, fraction: float, slices: int) -> str:
    """Text for a stage of the run.

    Parameters
    ----------
    stage : str
        Name of the stage in :data:`flairseg.progress.STAGES`, or the filling of the segments; unknown ones are shown as
        they are.
    fraction : float
        Of the whole run.
    slices : int
        Slices of the volume.

    Returns
    -------
    str
    """
    if stage == "inference":
        of_worker = (fraction - SENT) / (FILL - SENT)
        begin, end = STAGES["preprocess"], STAGES["inference"]
        done = min(max((of_worker - begin) / (end - begin), 0.0), 1.0)
        if slices:
            return _("Segmenting slice {n} of {slices}").format(n=min(slices, int(done * slices) + 1), slices=slices)
        return _("Segmenting slices")
    words = {
        "start": _("Starting..."),
        "send": _("Reading the volume"),
        "read": _("Reading the volume"),
        "preprocess": _("Preparing the brain"),
        "postprocess": _("Cleaning up"),
        "fill": _("Filling the segments"),
        "write": _("Filling the segments"),
    }
    return words.get(stage, stage)
