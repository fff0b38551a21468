"""Screenshots of both Slicer panels in all states, at two window sizes and two scales. Needs ``flairseg[slicer]``.

    python tools/panel_pictures.py FOLDER                     all sizes and scales
    python tools/panel_pictures.py FOLDER --size 1280x800 --scale 1.5

The panels run in the test harness on a synthetic head. Inspect the screenshots after a change of a panel: clipped,
crowded or invisible widgets are not detected by tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "FlairSegExtension")]

SIZES, SCALES = ("1280x800", "1680x1050"), (1.0, 1.5)
#: Width at which Slicer opens its module panel on a screen of 1400 pixels, logical pixels.
PANEL_WIDTH = 310
_MARK = "FLAIRSEG_PANEL_PICTURES"


def main() -> None:
    """Run a process for each size and scale, since Qt reads the scale at its start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", action="append", choices=SIZES, help="window, in pixels of the screen")
    parser.add_argument("--scale", action="append", type=float, help="QT_SCALE_FACTOR")
    options = parser.parse_args()
    if os.environ.get(_MARK):
        draw(options.folder, options.size[0], options.scale[0])
        return
    for size in options.size or SIZES:
        for scale in options.scale or SCALES:
            command = [sys.executable, __file__, str(options.folder), "--size", size, "--scale", str(scale)]
            environment = {**os.environ, _MARK: "1", "QT_SCALE_FACTOR": str(scale)}
            subprocess.run(command, check=True, env=environment)


def draw(folder: Path, size: str, scale: float) -> None:
    """Save screenshots of all states of both panels at one size and scale."""
    from Testing.harness.qt_application import start

    app = start()
    import slicer

    from Testing.harness.main_window import MainWindow

    width, height = (round(int(n) / scale) for n in size.split("x"))
    out = folder / f"{size}_{round(100 * scale)}"
    for module, states in (("FlairSeg", segmentation_states), ("FlairSegReview", review_states)):
        app.moduleManager().load(ROOT / "FlairSegExtension" / f"{module}.py")
        window = MainWindow(module, width=width, height=height, panel_width=PANEL_WIDTH)
        with tempfile.TemporaryDirectory() as name:
            panel = getattr(slicer.modules, module.lower()).widgetRepresentation().self()
            states(panel, window, Path(name), lambda state, m=module, w=window: w.screenshot(out / f"{m}_{state}.png"))
        slicer.mrmlScene.Clear(0)
        app.moduleManager().unload(module)
        window.close_all()
    sys.stdout.write(f"wrote {len(list(out.glob('*.png')))} pictures to {out}\n")


def segmentation_states(panel, window, folder: Path, picture: Callable[[str], object]) -> None:
    """FLAIR Segmentation: from an empty scene to the last section."""
    import slicer
    from FlairSegLib.panel import messages

    from Testing.harness.interaction import run_event_loop, wait_until
    from Testing.harness.small_case import make_head
    from Testing.slicer.result_driver import segmented

    ui = panel.ui

    def settle() -> None:
        run_event_loop(0.3)
        wait_until(lambda: not panel.result.busy, 60)
        run_event_loop(0.1)

    def to(widget) -> None:
        ui.contentArea.ensureWidgetVisible(widget)
        slicer.app.processEvents()

    picture("01_empty")
    volume, node = segmented(slicer, make_head())
    run_event_loop(0.5)
    picture("02_loaded")
    ui.modelCardButton.collapsed = False
    to(ui.modelCardLabel)
    picture("03_model_card")
    ui.modelCardButton.collapsed = True
    ui.progressBar.setVisible(True)
    ui.progressBar.setValue(430)
    ui.elapsedLabel.setVisible(True)
    ui.elapsedLabel.setText("4 s of about 9 s")
    ui.segmentButton.setText("Cancel")
    messages.quiet(ui.stageLabel, "Segmenting slice 11 of 26")
    to(ui.stageLabel)
    picture("04_running")
    panel.run._show_idle()
    messages.show(ui.statusLabel, messages.ERROR, "The hospital's proxy refused the connection.\nAsk for its address.")
    ui.copyDiagnosticsButton.setVisible(True)
    to(ui.copyDiagnosticsButton)
    picture("05_error")
    ui.copyDiagnosticsButton.setVisible(False)
    messages.show(ui.statusLabel, messages.SUCCESS, "Segmented in 9 s on the CPU.")
    panel.sliceLayout.turn(volume)
    panel.model.fold("cpu", 9.0)
    panel.result.setSegmentation(node)
    settle()
    panel.result._reveal()
    picture("06_result")
    result_states(panel, folder, picture, settle, to)
    further_states(panel, picture, to)
    adaptation_states(panel, folder, picture)


def result_states(panel, folder: Path, picture: Callable[[str], object], settle: Callable, to: Callable) -> None:
    """Reading, correcting and accepting a result."""
    from Testing.harness.interaction import click, press, type_text

    result = panel.result.ui
    press("N")
    settle()
    to(result.whyLabel)
    picture("07_lesion")
    result.keysInfoButton.setChecked(True)
    to(result.keysLabel)
    picture("08_keys")
    result.keysInfoButton.setChecked(False)
    result.thresholdGroupBox.collapsed = False
    to(result.thresholdGroupBox)
    picture("09_threshold")
    result.thresholdGroupBox.collapsed = True
    press("1")
    to(result.segmentEditor)
    picture("10_brush")
    press("X")
    settle()
    picture("11_edited")
    click(result.rejectButton)
    picture("12_rejecting")
    click(result.cancelRejectButton)
    type_text(result.readerEdit, "R01")
    click(result.acceptEditedButton)
    picture("13_folder_asked")
    result.folderEdit.setCurrentPath(str(folder / "MS cases"))
    click(result.folderButton)
    settle()
    picture("14_accepted")


def further_states(panel, picture: Callable[[str], object], to: Callable) -> None:
    """Each of the sections below the result."""
    from Testing.harness.interaction import run_event_loop

    further = panel.further
    sections = (
        further.compare.ui.compareCollapsibleButton,
        further.follow.ui.followCollapsibleButton,
        further.export.ui.exportCollapsibleButton,
        panel.ui.settingsCollapsibleButton,
    )
    for number, section in enumerate(sections, start=15):
        section.collapsed = False
        run_event_loop(0.2)
        to(section)
        picture(f"{number}_{section.objectName.removesuffix('CollapsibleButton')}")
        section.collapsed = True


def adaptation_states(panel, folder: Path, picture: Callable[[str], object]) -> None:
    """Local adaptation: from the first case to a model that is used and withdrawn."""
    import time

    from flairseg.models import choosing, store
    from FlairSegLib import training_packages
    from FlairSegLib.settings import FlairSegSettings

    from Testing.harness.interaction import click, run_event_loop
    from Testing.slicer.adaptation_driver import opened, write_outcome, write_verdict

    cases, section, ui = folder / "cases", panel.further.adapt, panel.further.adapt.ui
    cases.mkdir()
    store.user_cache = choosing.user_cache = lambda: folder / "models"
    FlairSegSettings().casesFolder = str(cases)

    def take(state: str) -> None:
        opened(panel)
        show(state)

    def show(state: str) -> None:
        run_event_loop(0.3)
        panel.ui.contentArea.ensureWidgetVisible(ui.adaptCollapsibleButton)
        for widget in (ui.inUseLabel, ui.rollbackButton):
            if widget.isVisible():
                panel.ui.contentArea.ensureWidgetVisible(widget)
        run_event_loop(0.1)
        picture(f"adapt_{state}")

    take("1_nothing")
    write_verdict(cases, "sub-01_ses-1", "accepted_after_edits")
    write_verdict(cases, "sub-02_ses-1", "accepted", model={"sha256": "1"}, edits={})
    write_verdict(cases, "sub-03_ses-1", "rejected")
    take("2_missing")
    for number in range(3, 8):
        write_verdict(cases, f"sub-{number:02}_ses-1", "accepted_after_edits", 2)
    take("3_ready")
    present = training_packages.missing
    training_packages.missing = lambda: list(training_packages.PACKAGES)
    section._show()
    show("3_ready_without_pytorch")
    training_packages.missing = present
    section._show()
    section._began = time.monotonic() - 400
    ui.adaptButton.setText("Cancel")
    ui.adaptProgressBar.setVisible(True)
    section._progressed(0.43, "prove")
    show("4_running")
    section._idle()
    for number, word in enumerate(("no difference shown", "worse", "better"), start=1):
        write_outcome(cases, word, number, "flairseg2d-site-v1.0")
        take(f"{4 + number}_{word.split()[0]}")
    section._names = {str(number): f"sub-{number:02}_ses-1" for number in range(1, 8)}
    section._show()
    click(ui.useButton)
    show("8_used")
    click(ui.rollbackButton)
    show("9_rolled_back")


def review_states(widget, window, folder: Path, picture: Callable[[str], object]) -> None:
    """FLAIR Review: the queue, a blinded session, the coordinator."""
    import slicer
    from FlairSegLib.settings import FlairSegSettings

    from Testing.harness.interaction import click, run_event_loop
    from Testing.harness.small_case import make_head
    from Testing.slicer.queue_driver import QueueDriver, write_result
    from Testing.slicer.review_driver import StudyDriver, lock_study

    settings = FlairSegSettings()
    settings.casesFolder, settings.readerName = str(folder / "cases"), "R01"
    picture("01_queue_empty")
    for case, doubt in (("sub-01_ses-1", 0.1), ("sub-02_ses-1", 0.4), ("sub-03_ses-2", 0.2)):
        write_result(folder / "results", case, make_head(), doubt)
    queue = QueueDriver(slicer, widget.queue, window, settings)
    queue.list(folder / "results")
    picture("02_queue_listed")
    queue.open("sub-02_ses-1")
    run_event_loop(0.3)
    picture("03_queue_opened")
    click(widget.queue.result.ui.acceptButton)
    queue.settle()
    picture("04_queue_accepted")
    slicer.mrmlScene.Clear(0)
    widget.ui.reviewTabs.setCurrentIndex(1)
    slicer.app.processEvents()
    picture("05_study_start")
    questions = [
        {"id": "acceptable", "text": "Is this mask clinically acceptable, as it is?", "type": "Acceptability"},
        {
            "id": "quality",
            "text": "How good are the borders?",
            "type": "Likert_5",
            "labels": ["useless", "", "", "", "excellent"],
        },
    ]
    (folder / "study files").mkdir()
    room = lock_study(folder / "study files", 2, questions=questions, confidence=True) / "rooms" / "R1"
    study = StudyDriver(slicer, widget.study, window, settings)
    study.choose(room)
    picture("06_study_ready")
    click(study.ui.showButton)
    run_event_loop(0.3)
    picture("07_study_rating")
    widget.study.pause()
    run_event_loop(0.1)
    picture("08_study_paused")
    widget.study.leave()
    slicer.app.processEvents()
    widget.study.ui.coordinatorSection.collapsed = False
    run_event_loop(0.2)
    picture("09_coordinator")


if __name__ == "__main__":
    main()
