"""What tests of FLAIR Review's Study tab share: a small study, and a rater in front of the panel."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flairseg.image.volume import Volume
from flairseg.labels import BACKGROUND, LESION
from PySide6 import QtCore, QtTest
from PySide6.QtCore import Qt

from Testing.harness.interaction import click, press
from Testing.harness.small_case import make_head

#: What must never be seen during a session: folder, patient, cases, arms and models of the study below.
SECRETS = ("Hospital17", "DOE^JANE", "secretcase", "secretmodel", "humanreader", "sub-secret", "secretnote")
ARMS = ("secretmodel", "humanreader")
#: Lesions of every case: centre (K, J, I) and half size in voxels; the last one is missing in the second arm.
LESIONS = (((13, 62, 60), (1, 3, 3)), ((11, 40, 24), (1, 2, 3)), ((15, 40, 62), (1, 2, 2)))
#: A place without a lesion inside of the head.
ELSEWHERE = (13, 30, 44)


def lesion_labels(count: int = 3) -> np.ndarray:
    """Labels (K, J, I) with the first so many lesions."""
    volume, _ = make_head()
    labels = np.full(volume.array.shape, BACKGROUND, np.uint8)
    for (k, j, i), (dk, dj, di) in LESIONS[:count]:
        labels[k - dk : k + dk + 1, j - dj : j + dj + 1, i - di : i + di + 1] = LESION
    return labels


def ras_of(kji) -> tuple[float, float, float]:
    """Centre of a voxel of the small head, RAS mm."""
    volume, _ = make_head()
    return tuple(float(x) for x in (volume.ijk_to_ras @ [kji[2], kji[1], kji[0], 1])[:3])


def write_study_files(folder: Path, cases: int, **changes) -> Path:
    """Images, masks and the protocol, full of names that must not be seen; the protocol's path."""
    import nibabel as nibabel_module

    volume, _ = make_head()
    image = _with_lesions(volume, lesion_labels(3))
    listed = []
    for n in range(cases):
        home = folder / "Hospital17" / f"DOE^JANE-secretcase{n + 1}"
        home.mkdir(parents=True)
        rng = np.random.default_rng(n)
        array = (image + rng.integers(0, 9, image.shape)).astype(np.int16)
        _save(nibabel_module, home / "flair.nii.gz", array, volume.ijk_to_ras)
        arms = []
        for arm, count in zip(ARMS, (3, 2 + n % 2), strict=True):
            _save(nibabel_module, home / f"{arm}.nii.gz", lesion_labels(count), volume.ijk_to_ras)
            arms.append({"id": arm, "mask": f"{home.relative_to(folder)}/{arm}.nii.gz", "model": f"{arm}-v7"})
        listed.append({"id": f"secretcase{n + 1}", "flair": f"{home.relative_to(folder)}/flair.nii.gz", "arms": arms})
    content = {
        "flairseg_study": 1,
        "id": "trial-1",
        "version": "1.0",
        "title": "Lesion masks on FLAIR",
        "instructions": "Judge each mask as you would before you use it in the clinic.",
        "cases": listed,
        "raters": [{"id": "R1", "seed": 11}, {"id": "R2", "seed": 22}],
        "repeats": 1,
        "washout": {"cases": int(cases > 1), "arms": int(cases > 1)},
        "questions": [
            {"id": "acceptable", "text": "Is this mask clinically acceptable?", "type": "Acceptability"},
        ],
        **changes,
    }
    for case in content.get("training_cases", []):
        case.update({key: listed[0][key] for key in ("flair", "arms")})
    path = folder / "protocol.json"
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")
    return path


def lock_study(folder: Path, cases: int = 3, **changes) -> Path:
    """A locked study of so many cases; its folder."""
    from flairseg.study import lock

    protocol = write_study_files(folder, cases, **changes)
    lock(protocol, folder / "study")
    return folder / "study"


@dataclass
class StudyDriver:
    """The tab in a window, and a rater in front of it."""

    slicer: object
    tab: object
    window: object
    settings: object

    @property
    def ui(self):
        return self.tab.ui

    @property
    def session(self):
        return self.tab.session

    def open(self, room: Path) -> None:
        """Choose a room, open it, show its first case."""
        self.choose(room)
        click(self.ui.showButton)

    def choose(self, room: Path) -> None:
        """Choose a room and open it."""
        self.slicer.app.messages.files.append(str(room))
        click(self.ui.roomButton)
        click(self.ui.openButton)

    def picture(self):
        """The slice view's picture that is the main one."""
        manager = self.slicer.app.layoutManager()
        return next(
            manager.sliceWidget(name).sliceView()
            for name in manager.sliceViewNames()
            if manager.sliceWidget(name).isVisible()
        )

    def pixel(self, ras) -> QtCore.QPoint:
        """Where a point of space is drawn; the slice is moved there first."""
        self.tab.view._go_to(ras)
        self.slicer.app.processEvents()
        row, column = self.picture().view.pixel(ras)
        return QtCore.QPoint(column, row)

    def point_at(self, ras) -> None:
        """Move the mouse over a point of space."""
        QtTest.QTest.mouseMove(self.picture(), self.pixel(ras) + QtCore.QPoint(3, 3))
        QtTest.QTest.mouseMove(self.picture(), self.pixel(ras))
        self.slicer.app.processEvents()

    def click_at(self, ras, drag: int = 0) -> None:
        """Click on a point of space; with ``drag`` the button is released that many pixels away."""
        place = self.pixel(ras)
        picture = self.picture()
        QtTest.QTest.mousePress(picture, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
        QtTest.QTest.mouseRelease(
            picture, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place + QtCore.QPoint(drag, 0)
        )
        self.slicer.app.processEvents()

    def counts(self) -> tuple[int, int, int]:
        """Delineated, false, missed, as the panel shows them."""
        return tuple(int(getattr(self.ui, f"{name}Label").text) for name in ("delineated", "false", "missed"))

    def button(self, question: str, value):
        """An answer's button."""
        return self.slicer.util.findChild(self.ui.questionsHolder, f"answer_{question}_{value}")

    def rate(self, rng: np.random.Generator) -> None:
        """Judge the case on screen as a rater of moderate care would: marks by mouse, answer and way on by key."""
        delineated = self.counts()[0]
        if delineated < len(LESIONS) and rng.random() < 0.8:
            self.click_at(ras_of(LESIONS[-1][0]))
        if rng.random() < 0.2:
            self.click_at(ras_of(LESIONS[0][0]))
        agrees = rng.random() < 0.85
        self.keys("A" if self.session.shown.acceptance.acceptable == agrees else "U", str(rng.integers(2, 6)), "Return")

    def keys(self, *keys: str) -> None:
        """Press keys one after the other, into the main window."""
        for key in keys:
            press(key, self.slicer.util.mainWindow())


def open_tab() -> StudyDriver:
    """A window with the Study tab, for a process of its own."""
    from Testing.harness.qt_application import start

    start()
    import qt
    import slicer
    from FlairSegLib.review_panel.study_tab import StudyTab
    from FlairSegLib.settings import FlairSegSettings

    from Testing.harness.main_window import MainWindow

    holder = qt.QWidget()
    qt.QVBoxLayout(holder)
    window, settings = MainWindow(holder), FlairSegSettings()
    tab = StudyTab(holder, settings)
    tab.enter()
    slicer.app.processEvents()
    return StudyDriver(slicer, tab, window, settings)


def main() -> None:
    """A rater who is killed: answers some cases, marks half of another one, says so, and waits."""
    room, count = Path(sys.argv[1]), int(sys.argv[2])
    driver = open_tab()
    driver.open(room)
    rng = np.random.default_rng(99)
    for _ in range(count):
        driver.rate(rng)
    driver.click_at(ras_of(ELSEWHERE))
    driver.keys("U")
    code, marks = driver.session.current.code, [list(mark.ras) for mark in driver.session.shown.marks]
    sys.stdout.write(json.dumps({"code": code, "marks": marks, "answered": driver.session.progress.answered}) + "\n")
    sys.stdout.flush()
    time.sleep(600)


def _with_lesions(volume: Volume, labels: np.ndarray) -> np.ndarray:
    image = volume.array.astype(np.int32).copy()
    image[labels == LESION] = 900
    return image


def _save(nibabel_module, path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = nibabel_module.Nifti1Image(np.ascontiguousarray(array.T), affine)
    image.header["descrip"] = b"secretnote"
    image.header["db_name"] = b"DOE^JANE"
    nibabel_module.save(image, path)


__all__ = ["ARMS", "ELSEWHERE", "LESIONS", "SECRETS", "StudyDriver", "lock_study", "open_tab", "ras_of"]

if __name__ == "__main__":
    main()
