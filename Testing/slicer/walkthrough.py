"""A reader's first ten minutes with the module, on the digital phantom with the embedded model.

Every step does what a user does (clicks, keys, brush), checks what has to be true then, and leaves a picture. The test
runs it in this process and under a virtual X server; ``tools/tutorial_pictures.py`` takes its pictures from it.

    python -m Testing.slicer.walkthrough --pictures FOLDER      prints what was measured, as JSON
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from flairseg.labels import BACKGROUND, CLASS_BY_VALUE, CLASSES, LESION
from PySide6 import QtTest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from scipy import ndimage
from vtk import vtkMatrix4x4

from Testing.harness.event_lock import python_lock_held
from Testing.harness.interaction import click, press, run_event_loop, type_text, wait_until
from Testing.harness.qt_application import start
from Testing.harness.segment_editor import brush
from Testing.slicer.panel_driver import shown

ROOT = Path(__file__).resolve().parents[2]
#: The first run starts Python and loads SciPy, on a computer that may be busy.
RUN_S = 180
#: In the order in which they are taken.
STEPS = (
    "opened",
    "loaded",
    "cancelled",
    "segmented",
    "lesion",
    "located",
    "painted",
    "erased",
    "undone",
    "accepted",
    "reloaded",
    "second_version",
)
#: What follows for the tutorial's pictures; each has tests of its own, and takes as long as all of the above.
FURTHER = ("compared", "followed", "reported")
READER = "R01"
#: How far a class's own colour leads the other two where its label is: the weakest fill over the brightest FLAIR.
LEAD = 25
#: Pixels of a view that a class must cover before its colour is judged there.
ENOUGH = 25


class Walkthrough:
    """The panel in a window, and a user in front of it.

    Parameters
    ----------
    window : Testing.harness.main_window.MainWindow
        With the module ``FlairSeg`` in its panel.
    panel : FlairSegWidget
    folder : Path
        Where the scene is written, and the cases.
    picture : callable
        ``picture(step)`` keeps the window as it is; called after each step, and as ``segmenting`` during the run.
    other_volumes : bool
        Load volumes that are no FLAIR first, among which the panel has to choose.
    cases : Path, optional
        Folder of the cases, as the user types it; default: ``cases`` in ``folder``.
    further : bool
        Also compare models, follow the patient and write the report.
    """

    def __init__(
        self,
        window,
        panel,
        folder: Path,
        picture: Callable[[str], object],
        other_volumes: bool = True,
        cases: Path | None = None,
        further: bool = False,
    ) -> None:
        self.window, self.panel, self.ui = window, panel, panel.ui
        self.result = panel.result.ui
        self._folder, self._cases, self._picture = folder, cases or folder / "cases", picture
        self._other_volumes = other_volumes
        self._steps = (*STEPS, *(FURTHER if further else ()))
        self.volume = self.node = None
        #: What was measured on the way.
        self.facts: dict[str, object] = {}

    def run(self) -> dict[str, object]:
        """All steps, in an event loop that keeps Python's lock, as Slicer's does.

        Raises
        ------
        AssertionError
            With what is not as it has to be.
        """
        with python_lock_held() as self.facts["python_lock_held"]:
            for step in self._steps:
                getattr(self, step)()
                self._picture(step)
        check(not slicer.app.messages, f"something popped up: {slicer.app.messages}")
        return self.facts

    # The steps

    def opened(self) -> None:
        """The module is opened; there is nothing yet."""
        check(shown(self.ui.caseReasonLabel) == "No volume is loaded yet.", shown(self.ui.caseReasonLabel))
        check(not self.ui.segmentButton.enabled, "Segment can be pressed without a volume")
        check(not self.panel.result.widget.isVisible(), "a result is shown before there is one")

    def loaded(self) -> None:
        """The phantom comes from the module Sample Data; the panel proposes it and says why."""
        import SampleData
        from FlairSegLib.sample_data import PHANTOM

        if self._other_volumes:
            for seed, name in enumerate(("T1_mprage_sag", "ADC")):
                voxels = np.random.default_rng(seed).normal(500, 100, (24, 64, 64)).astype(np.int16)
                slicer.util.addVolumeFromArray(voxels, np.diag([3.5, 3.5, 6.0, 1.0]), name)
        (self.volume,) = SampleData.SampleDataLogic.registered[PHANTOM]["customDownloader"]()
        wait_until(lambda: self.panel.case.volumeNode is self.volume, 20)
        wait_until(lambda: self.panel.case._task is None, 60)
        self.facts["proposal"] = shown(self.ui.caseReasonLabel)
        check("FLAIR" in self.facts["proposal"], f"no reason for the proposal: {self.facts['proposal']!r}")
        check(self.ui.segmentButton.enabled, self.ui.segmentButton.toolTip)
        wait_until(lambda: self.panel.run.controller.workerPid is not None, RUN_S)

    def cancelled(self) -> None:
        """Segment, then Cancel in the middle of the run: in effect with the click, the scene as before."""
        before = self._scene()
        click(self.ui.segmentButton)
        check(self.ui.segmentButton.text == "Cancel", "Segment did not become Cancel")
        wait_until(lambda: self.ui.progressBar.value > 0, RUN_S)
        click(self.ui.segmentButton)
        # No wait: how long that takes on a busy machine says nothing.
        self.facts["cancelled_by_the_click"] = not self.panel.run.running
        check(self.facts["cancelled_by_the_click"], "the run goes on after Cancel")
        check("Cancelled" in shown(self.ui.statusLabel), shown(self.ui.statusLabel))
        run_event_loop(0.5)
        check(self._scene() == before, "the scene is not as it was before the run")

    def segmented(self) -> None:
        """Segment: the result is coloured, counted and listed, right to the voxel."""
        self._segment()
        (self.node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        check(self.panel.result.segmentationNode is self.node, "the panel shows another segmentation")
        self._check_numbers()
        self._check_in_view()

    def lesion(self) -> None:
        """A click on a lesion centres all views on it; keys go on and back; colours are where the labels are."""
        self._see(self.result.lesionTable)
        largest = max(range(len(self._rows())), key=lambda row: self._rows()[row].voxels)
        self._click_row(largest)
        self._check_centred()
        self.check_colours(self.labels())
        chosen = self.panel.result.lesions.selected.number
        press("N")
        check(self.panel.result.lesions.selected.number != chosen, "the key N does not go on")
        self._check_centred()
        press("P")
        check(self.panel.result.lesions.selected.number == chosen, "the key P does not go back")
        self._see(self.result.resultCollapsibleButton)

    def located(self) -> None:
        """Each lesion's region is told, the load by region, and what is not assessed."""
        regions = self.panel.result.regions
        if not regions.running and not regions.known:
            click(self.result.regionsButton)
        wait_until(lambda: not regions.running, RUN_S)
        self._settle()
        check(regions.known, f"no regions were found: {shown(self.result.regionsMessageLabel)}")
        table = self.result.lesionTable
        places = [table.item(row, table.columnCount - 1).text() for row in range(table.rowCount)]
        check("–" not in places and "Unknown" not in places, f"regions: {places}")
        self.facts["load"] = shown(self.result.loadLabel)
        check("lesion" in self.facts["load"], "the load by region is not told")
        click(self.result.disseminationInfoButton)
        evidence = shown(self.result.disseminationLabel)
        click(self.result.disseminationInfoButton)
        check("optic nerve: not assessed" in evidence and "not a diagnosis" in evidence, evidence)
        self._see(self.result.lesionTable, self.result.saveTableButton)

    def painted(self) -> None:
        """Key 1 takes the brush: what the model missed is drawn, and the reader's work is noted."""
        before = self.labels()
        place = self._missed(before)
        self._look_at(place)
        press("1")
        check(self.panel.result.editor.effect == "Paint", "the key 1 does not take the brush")
        self._brush(place, 5.0)
        after = self.labels()
        added = (after == LESION) & (before != LESION)
        check(added.any() and added[place], "the brush drew nothing")
        check(np.array_equal(after[~added], before[~added]), "the brush changed what it did not touch")
        check(self._tag("algorithm_type") == "SEMIAUTOMATIC", "an edited segment still counts as automatic")
        check(self._tag("voxels_added") == str(int(added.sum())), "the voxels added are not what was drawn")
        self._check_numbers()
        self._painted = after
        self._see(self.result.editorCollapsibleButton, self.result.editorMessageLabel)

    def erased(self) -> None:
        """Key 2 takes the eraser: voxels go to no class."""
        before = self.labels()
        largest = max(self._rows(), key=lambda lesion: lesion.voxels)
        mask = np.zeros(before.shape, bool)
        box, inside = self.panel.result._measured.regions.mask(largest.number)
        mask[box] = inside
        place = tuple(int(n) for n in np.argwhere(mask)[mask.sum() // 2])
        self._look_at(place)
        press("2")
        self._brush(place, 4.0)
        after = self.labels()
        gone = after != before
        check(gone[place] and (before[gone] == LESION).all(), "the eraser took another class")
        check((after[gone] == BACKGROUND).all(), "what was erased belongs to a class")
        self._check_numbers()

    def undone(self) -> None:
        """Ctrl+Z takes the eraser's stroke back, and nothing else."""
        press("Ctrl+Z")
        self._settle()
        check(np.array_equal(self.labels(), self._painted), "undo did not bring back what was erased")
        self._check_numbers()
        press("Esc")
        check(self.panel.result.editor.effect == "", "Esc does not put the brush away")

    def accepted(self) -> None:
        """Accept after edits: reader and folder are asked for in the panel, the case is on the disk."""
        check(not self.result.acceptButton.enabled, "an edited result can be accepted as if it were not")
        type_text(self.result.readerEdit, READER)
        click(self.result.acceptEditedButton)
        check(self.result.folderRow.isVisible(), "the panel does not ask where cases are kept")
        self.result.folderEdit.setCurrentPath(str(self._cases))
        click(self.result.folderButton)
        self._settle()
        self._saved = next(self._cases.rglob("verdict.json"))
        verdict = json.loads(self._saved.read_text(encoding="utf-8"))
        check(verdict["verdict"] == "accepted_after_edits", str(verdict))
        check(verdict["reader"] == READER and verdict["active_seconds"] > 0, str(verdict))
        edited = verdict["edits"]["lesion"]
        check(edited["voxels_added"] > 0 and edited["voxels_removed"] == 0, str(edited))
        self.facts["files"] = sorted(p.name for p in self._saved.parent.iterdir())
        check("Accepted after edits by" in shown(self.result.verdictMessageLabel), "the panel does not say so")
        check(not self.result.verdictMessageLabel.visibleRegion().isEmpty(), "the verdict is out of view")

    def reloaded(self) -> None:
        """The scene is saved, closed and loaded: everything is there again, in the panel as well."""
        path = self._folder / "tutorial.mrb"
        lesions, before = len(self._rows()), self.labels()
        name, verdict = self.node.GetName(), shown(self.result.verdictMessageLabel)
        check(slicer.util.saveScene(str(path)), "the scene cannot be saved")
        slicer.mrmlScene.Clear(0)
        run_event_loop(0.3)
        check(not self.panel.result.widget.isVisible(), "the result is still shown after the scene was closed")
        slicer.util.loadScene(str(path))
        run_event_loop(0.5)
        self._settle()
        self.node, self.volume = slicer.util.getNode(name), slicer.util.getNode(self.volume_name)
        check(self.panel.result.segmentationNode is self.node, "the panel does not show the loaded segmentation")
        check(np.array_equal(self.labels(), before), "voxels differ after saving and loading")
        check(len(self._rows()) == lesions, "lesions are missing from the list")
        check(shown(self.result.verdictMessageLabel) == verdict, "the verdict is not shown again")
        check(self._tag("algorithm_type") == "SEMIAUTOMATIC", "the tags are gone")
        self._click_row(0)
        check("Model: " in shown(self.result.whyLabel), "the probabilities did not survive")
        check(not self.result.flipButton.enabled, "an accepted case can be edited without being reopened")
        self._see(self.result.resultCollapsibleButton)

    def second_version(self) -> None:
        """A second run makes a second version; the first and its verdict stay as they are."""
        first, before, saved = self.node, self.labels(), self._saved.read_bytes()
        self._segment()
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        check(len(nodes) == 2, f"{len(nodes)} segmentations after the second run")
        self.node = next(node for node in nodes if node is not first)
        check(self.node.GetName() != first.GetName(), "both versions have one name")
        check(self.result.versionSelector.isVisible() and self.result.versionSelector.count == 2, "no versions")
        check(np.array_equal(self.labels(first), before), "the second run changed the first version")
        check(self._saved.read_bytes() == saved, "the second run changed the saved verdict")
        check(self.result.acceptButton.enabled, self.result.acceptButton.toolTip)
        self.facts["versions"] = [first.GetName(), self.node.GetName()]
        self._see(self.result.resultCollapsibleButton)

    def compared(self) -> None:
        """Two models on one FLAIR: figures, and their results side by side."""
        section = self.panel.further.compare
        ids = list(self.panel.model.cards)
        check(len(ids) > 1, f"there is one model only: {ids}")
        click(section.ui.compareCollapsibleButton)
        section.tick([self.panel.model.modelId, next(i for i in ids if i != self.panel.model.modelId)])
        click(section.ui.compareButton)
        wait_until(lambda: not section.running, 2 * RUN_S)
        check(section.compared is not None, shown(section.ui.compareMessageLabel))
        click(section.ui.sideBySideButton)
        self._look_at(tuple(int(n) for n in np.argwhere(self.labels() == LESION).mean(axis=0)))
        self._see(section.ui.compareCollapsibleButton, section.ui.sideBySideButton)
        self._picture("comparing")
        click(section.ui.sideBySideButton)
        click(section.ui.compareCollapsibleButton)

    def followed(self) -> None:
        """A second study of the phantom, moved and with one lesion more: it alone is new."""
        from FlairSegLib import volume_nodes

        first = volume_nodes.volume_from_node(self.volume)
        labels = self.labels()
        place = self._opposite(labels)
        near = np.array(np.meshgrid(*(np.arange(n) for n in labels.shape), indexing="ij")).reshape(3, -1).T - place
        ball = (np.linalg.norm(near * self.volume.GetSpacing()[::-1], axis=1) < 7.0).reshape(labels.shape)
        array = first.array.astype(np.float32)
        array[ball] = np.percentile(array[labels == LESION], 75)
        array += np.random.default_rng(1).normal(0, 0.01 * array.max(), array.shape)
        moved = rigid(4.0, (3.0, -4.0, 2.0)) @ first.ijk_to_ras
        later = slicer.util.addVolumeFromArray(array.clip(0).astype(np.int16), moved, "FLAIR a year later")
        section = self.panel.further.follow
        self.ui.inputSelector.setCurrentNode(later)
        run_event_loop(0.5)
        click(section.ui.followCollapsibleButton)
        section.ui.previousSelector.setCurrentNode(self.volume)
        section.ui.presentSelector.setCurrentNode(later)
        click(section.ui.followButton)
        wait_until(lambda: not section.running, 3 * RUN_S)
        check(section.followed is not None, shown(section.ui.followMessageLabel))
        self.facts["followed"] = shown(section.ui.followMessageLabel)
        check(section.rows and section.rows[0].state == "new", self.facts["followed"])
        section.ui.changeTable.selectRow(0)
        self._see(section.ui.followCollapsibleButton, section.ui.linkedViewsButton)
        self._picture("following")
        click(section.ui.linkedViewsButton)
        click(section.ui.followCollapsibleButton)

    def reported(self) -> None:
        """The report of the accepted version, as HTML and PDF."""
        self.ui.inputSelector.setCurrentNode(self.volume)
        self.panel.result.setSegmentation(slicer.util.getNode(self.facts["versions"][0]))
        self._settle()
        section, out = self.panel.further.export, Path("report")
        click(section.ui.exportCollapsibleButton)
        section.ui.exportFolderEdit.setCurrentPath(str(out))
        click(section.ui.exportButton)
        wait_until(lambda: not section.running, RUN_S)
        check("Written to" in shown(section.ui.exportMessageLabel), shown(section.ui.exportMessageLabel))
        self.facts["reports"] = sorted(path.name for path in out.iterdir())
        page = next(out.glob("*.html")).read_text(encoding="utf-8")
        check(READER in page and "Accepted after" in page, "the report does not say who accepted the result")
        self._see(section.ui.exportCollapsibleButton, section.ui.openFolderButton)

    # What they are made of

    volume_name = "FlairSegPhantom"

    def labels(self, node=None) -> np.ndarray:
        """Labels (K, J, I) as Slicer itself reads them from the node."""
        from FlairSegLib.self_test import labels_of

        return labels_of(node or self.node, self.volume)

    def _segment(self) -> None:
        self._see(self.ui.segmentButton)
        began = time.perf_counter()
        click(self.ui.segmentButton)
        if "segment_seconds" not in self.facts:
            wait_until(lambda: self.ui.progressBar.value > 300 or not self.panel.run.running, RUN_S)
            self._picture("segmenting")
        wait_until(lambda: not self.panel.run.running, RUN_S)
        check("Segmented in" in shown(self.ui.statusLabel), shown(self.ui.statusLabel))
        self._settle()
        self.facts.setdefault("segment_seconds", time.perf_counter() - began)

    def _settle(self) -> None:
        run_event_loop(0.05)
        wait_until(lambda: not self.panel.result.busy, 60)
        run_event_loop(0.05)

    def _scene(self) -> list[str]:
        """Every node that a user could save, with its name."""
        nodes = (slicer.mrmlScene.GetNthNode(n) for n in range(slicer.mrmlScene.GetNumberOfNodes()))
        return sorted(f"{node.GetID()} {node.GetName()}" for node in nodes)

    def _rows(self) -> list:
        return self.panel.result.lesions.rows

    def _tag(self, key: str) -> str:
        from FlairSegLib import segment_tags

        segment = self.node.GetSegmentation().GetSegment(CLASS_BY_VALUE[LESION].id)
        return segment_tags.tag(segment, f"FlairSeg.{key}")

    def _check_in_view(self) -> None:
        """Summary, verdict and the list of lesions are in view, wherever the panel was scrolled to."""
        for name in ("summaryLabel", "acceptButton", "rejectButton", "undoButton", "lesionTable"):
            widget = getattr(self.result, name)
            seen = widget.visibleRegion().boundingRect()
            check(seen.height() >= 0.9 * widget.height, f"{name} is out of view")
        lesions = f"{len(self._rows())}\u00a0lesions"
        check(lesions in self.result.summaryLabel.text, f"{lesions}: {self.result.summaryLabel.text}")

    def _check_numbers(self) -> None:
        """The tables say what the voxels say."""
        labels = self.labels()
        voxel_ml = float(np.prod(self.volume.GetSpacing())) / 1000
        table = self.result.segmentTable
        found = [table.item(row, 1).text() for row in range(table.rowCount)]
        expected = [f"{(labels == c.value).sum() * voxel_ml:.2f}" for c in CLASSES]
        check(found == expected, f"volumes: the table says {found}, the voxels {expected}")
        count = ndimage.label(labels == LESION, ndimage.generate_binary_structure(3, 3))[1]
        check(self.result.lesionTable.rowCount == count, f"{self.result.lesionTable.rowCount} rows, {count} lesions")

    def _check_centred(self) -> None:
        place = np.array(self.panel.result.lesions.selected.anchor_ras)
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
            check(np.allclose(matrix[:3, 3], place, atol=0.01), f"{node.GetName()} is not centred on the lesion")

    def check_colours(self, labels: np.ndarray) -> None:
        """In the window's own views each class's colour lies where its label (K, J, I) is, and nowhere else.

        Raises
        ------
        AssertionError
            With the view and the class.
        """
        seen = {c.value: 0 for c in CLASSES}
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames():
            slicer.app.processEvents()
            view = manager.sliceWidget(name).sliceView()
            view.forceRender()
            pixels, under = view.view.render().astype(int), self._labels_of_pixels(view, labels)
            for label_class in CLASSES:
                channel = int(np.argmax(label_class.rgb))
                lead = pixels[..., channel] - np.delete(pixels, channel, axis=2).max(axis=2)
                inside = under == label_class.value
                if inside.sum() >= ENOUGH:
                    seen[label_class.value] += int(inside.sum())
                    share = float((lead[inside] > LEAD).mean())
                    check(share > 0.9, f"{name}: only {share:.0%} of {label_class.name} has its colour")
                check((lead[under == BACKGROUND] <= LEAD).all(), f"{name}: colour of {label_class.name} on nothing")
        check(all(seen.values()), f"pixels seen per class: {seen}")
        self.facts["pixels_seen"] = {str(value): count for value, count in seen.items()}

    def _labels_of_pixels(self, view, labels: np.ndarray) -> np.ndarray:
        """The label under each pixel of a slice view; -1 where a voxel's border is near, or outside the image."""
        ras_to_ijk = vtkMatrix4x4()
        self.volume.GetRASToIJKMatrix(ras_to_ijk)
        array = slicer.util.arrayFromVTKMatrix
        to_ijk = array(ras_to_ijk) @ array(view.mrmlSliceNode().GetXYToRAS())
        height, width = view.view.render().shape[:2]
        x, y = np.meshgrid(np.arange(width), height - 1 - np.arange(height))
        under = np.full((height, width), -1)
        first = True
        # A pixel counts where all within 2 pixels of it lie on one label.
        for dx, dy in ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)):
            points = np.stack([x + dx, y + dy, np.zeros_like(x), np.ones_like(x)], axis=-1)
            ijk = np.rint(points @ to_ijk[:3].T).astype(int)
            valid = ((ijk >= 0) & (ijk < np.array(labels.shape[::-1]))).all(axis=-1)
            i, j, k = np.moveaxis(np.where(valid[..., None], ijk, 0), -1, 0)
            here = np.where(valid, labels[k, j, i], -1)
            under = here if first else np.where(under == here, under, -1)
            first = False
        return under

    def _missed(self, labels: np.ndarray) -> tuple[int, int, int]:
        """A voxel (K, J, I) of a true lesion that the model missed, as far from what it found as there is one."""
        from flairseg.phantom import make_phantom
        from FlairSegLib.sample_data import PHANTOM_SEED

        missed = (make_phantom(PHANTOM_SEED).labels == LESION) & (labels == 0)
        distance = ndimage.distance_transform_edt(labels == 0, sampling=self.volume.GetSpacing()[::-1])
        return tuple(int(n) for n in np.unravel_index(np.argmax(np.where(missed, distance, -1)), labels.shape))

    def _opposite(self, labels: np.ndarray) -> tuple[int, int, int]:
        """A voxel (K, J, I) where a lesion would be if the head were its mirror image, far from all labels."""
        distance = ndimage.distance_transform_edt(labels == BACKGROUND, sampling=self.volume.GetSpacing()[::-1])
        ijk = vtkMatrix4x4()
        self.volume.GetRASToIJKMatrix(ijk)
        places = []
        for lesion in self._rows():
            right, front, up = lesion.anchor_ras
            place = tuple(round(n) for n in ijk.MultiplyPoint((-right, front, up, 1.0))[2::-1])
            if all(0 <= n < size for n, size in zip(place, labels.shape, strict=True)):
                places.append(place)
        return max(places, key=lambda place: distance[place])

    def _ras(self, kji: tuple[int, int, int]) -> tuple[float, float, float]:
        matrix = vtkMatrix4x4()
        self.volume.GetIJKToRASMatrix(matrix)
        k, j, i = kji
        return matrix.MultiplyPoint((i, j, k, 1.0))[:3]

    def _look_at(self, kji: tuple[int, int, int]) -> None:
        from FlairSegLib import views

        views.center_on(self._ras(kji))

    def _brush(self, kji: tuple[int, int, int], radius_mm: float) -> None:
        brush(self.result.segmentEditor, self._ras(kji), radius_mm)
        self._settle()

    def _click_row(self, row: int) -> None:
        table = self.result.lesionTable
        table.scrollToItem(table.item(row, 0))
        place = table.visualItemRect(table.item(row, 1)).center()
        QtTest.QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
        slicer.app.processEvents()

    def _see(self, widget, also=None) -> None:
        """Scroll the panel so that a widget is in view, and as much below it as fits."""
        slicer.app.processEvents()
        area = self.ui.contentArea
        top = widget.mapTo(area.widget(), widget.rect.topLeft()).y()
        area.verticalScrollBar().setValue(max(0, top - 4))
        if also is not None:
            area.ensureWidgetVisible(also, 0, 8)
        slicer.app.processEvents()


def rigid(degrees: float, shift: tuple[float, float, float]) -> np.ndarray:
    """A turn about the head's long axis and a shift, RAS mm, 4 x 4."""
    angle, out = np.radians(degrees), np.eye(4)
    out[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    out[:3, 3] = shift
    return out


def check(holds: bool, otherwise: str) -> None:
    """Raise an ``AssertionError`` that says what is wrong."""
    if not holds:
        raise AssertionError(otherwise)


def main() -> None:
    """Walk through in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="folder for a picture of each step")
    options = parser.parse_args()
    app = start()
    from Testing.harness.main_window import MainWindow

    module = app.moduleManager().load(ROOT / "FlairSegExtension" / "FlairSeg.py")
    window = MainWindow("FlairSeg", width=1400, height=1000)
    panel = module.widgetRepresentation().self()
    with tempfile.TemporaryDirectory() as folder:
        try:
            facts = Walkthrough(
                window, panel, Path(folder), lambda step: window.screenshot(options.pictures / f"{step}.png")
            ).run()
        finally:
            app.moduleManager().unload("FlairSeg")
            window.close_all()
    if app.escaped:
        raise SystemExit(f"exceptions left slots or observers: {app.escaped}")
    sys.stdout.write(json.dumps({**facts, "platform": QApplication.platformName()}) + "\n")


if __name__ == "__main__":
    main()
