"""FLAIR Segmentation in the self-test: from loading a FLAIR to the report, through the panel's own buttons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from flairseg.image.volume import Volume
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH
from flairseg.review.cases import CaseArchive
from flairseg.segmentation.postprocessing import lesion_components

from .. import dependencies, views
from . import phantom
from .painting import Painter
from .recorder import RUN_S, StepSkipped, check, wait

#: A dab of the brush, mm.
_BRUSH_MM = 4.0
_READER = "self-test"


class SegmentationSteps:
    """The steps, on one case.

    Parameters
    ----------
    case : phantom.Case
    folder : Path
        Empty; files are saved there.
    painter : Painter
        Moves the brush.
    models : tuple of str
        Ids of the model that segments and of another to compare it with; empty: the default and any other.
    """

    def __init__(self, case: phantom.Case, folder: Path, painter: Painter, models: tuple[str, ...] = ()) -> None:
        self._case, self._folder, self._paint_with, self._models = case, folder, painter, models
        self._widget = None
        self.volume = self.node = None
        self._before = np.zeros(0, np.uint8)

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Name and action of each, in order."""
        actions = (
            ("panel of FLAIR Segmentation", self.panel),
            ("load", self.load),
            ("cancel", self.cancel),
            ("close the scene while a run is under way", self.close_while_running),
            ("segment", self.segment),
            ("flip", self.flip),
            ("delete", self.delete),
            ("undo", self.undo),
            ("paint", self.paint),
            ("accept", self.accept),
            ("save and reload", self.save_and_reload),
            ("second version", self.second_version),
            ("compare", self.compare),
            ("follow-up", self.follow_up),
            ("export", self.export),
        )
        return [(name, action) for name, action in actions]

    def panel(self) -> None:
        """The panel is there, whole, and Slicer's Python has what a run needs."""
        self._widget = panel_of("FlairSeg")
        missing = dependencies.missing()
        check(
            not missing,
            f"Slicer's Python lacks {', '.join(missing)}; press Segment once to have it installed, then start again",
        )
        self._result.settings.regionsAfterRun = False
        slicer.mrmlScene.Clear(0)
        wait(lambda: not self._widget.ui.segmentButton.enabled, "Segment can be pressed without a volume")

    def load(self) -> None:
        """A FLAIR is loaded; the panel proposes it."""
        self.volume = phantom.volume_node(self._case)
        ui = self._widget.ui
        wait(
            lambda: self._widget.case.volumeNode is self.volume,
            "the panel does not propose the FLAIR",
            label=ui.caseReasonLabel,
        )
        self._choose_model()
        wait(lambda: ui.segmentButton.enabled, "the panel cannot segment", label=ui.caseWarningLabel)

    def cancel(self) -> None:
        """Segment, then Cancel: the scene is unchanged."""
        self._start()
        self._widget.ui.segmentButton.click()
        self._ended("Cancel has no effect")
        check(not _segmentations(), "a cancelled run left a segmentation")

    def close_while_running(self) -> None:
        """The scene is closed during a run: the run ends, the panel keeps working."""
        self._start()
        slicer.mrmlScene.Clear(0)
        self._ended("the run goes on after the scene was closed")
        check(not _segmentations(), "the run put its result into another scene")
        self.load()

    def segment(self) -> None:
        """Segment: labels, segments, volumes and list of lesions."""
        self._run()
        (self.node,) = _segmentations()
        phantom.check_labels(self._labels(), self._case.truth)
        phantom.check_segments(self.node)
        self._check_counted()

    def flip(self) -> None:
        """The first lesion becomes normal hyperintensity."""
        self._before = self._labels()
        mask = self._first_lesion()
        self._result.lesions.flip()
        self._settle()
        after = self._labels()
        check(bool((after[mask] == NORMAL_WMH).all()), "the lesion is not normal hyperintensity")
        check(bool((after[~mask] == self._before[~mask]).all()), "flipping changed other voxels")
        self._check_counted()

    def delete(self) -> None:
        """The next lesion is deleted."""
        before, mask = self._labels(), self._first_lesion()
        self._result.lesions.delete()
        self._settle()
        after = self._labels()
        check(bool((after[mask] == BACKGROUND).all()), "the lesion was not deleted")
        check(bool((after[~mask] == before[~mask]).all()), "deleting changed other voxels")
        self._check_counted()

    def undo(self) -> None:
        """Both are undone."""
        for _turn in range(2):
            self._result.undo()
            self._settle()
        differing = np.count_nonzero(self._labels() != self._before)
        check(not differing, f"{differing} voxels differ after undo")
        self._check_counted()

    def paint(self) -> None:
        """The brush draws a lesion where there was none."""
        before = self._labels()
        place = _far_from_all(before, self.volume.GetSpacing())
        ras = views.ijk_to_world(self.volume) @ [*place[::-1], 1.0]
        self._result.editor.use("Paint")
        check(self._result.editor.effect == "Paint", "the brush cannot be selected")
        self._paint_with(self._result.ui.segmentEditor, tuple(float(x) for x in ras[:3]), _BRUSH_MM)
        self._settle()
        self._result.editor.use("")
        after = self._labels()
        added = (after == LESION) & (before != LESION)
        check(bool(added[place]), "the brush drew nothing in the middle of the view")
        check(bool((after[~added] == before[~added]).all()), "the brush changed what it did not touch")
        self._check_counted()

    def accept(self) -> None:
        """The case is accepted after edits, and on the disk as it is in the scene."""
        verdict = self._result.verdict
        self._result.settings.casesFolder = str(self._folder / "cases")
        self._result.settings.readerName = _READER
        verdict.refresh_settings()
        ui = self._result.ui
        wait(lambda: ui.acceptEditedButton.enabled, "the result cannot be accepted after edits")
        ui.acceptEditedButton.click()
        self._settle()
        check(verdict.verdict == "accepted_after_edits", f"not accepted: {ui.verdictMessageLabel.text}")
        archive = CaseArchive(self._folder / "cases")
        saved = archive.load(self.volume.GetName())
        check(saved.verdict.reader == _READER, "the verdict names another reader")
        check(bool(np.array_equal(saved.labels, self._labels())), "what was saved is not what is in the scene")

    def save_and_reload(self) -> None:
        """Scene saved, closed and loaded: voxels, segments and verdict are there again."""
        names, labels = (self.node.GetName(), self.volume.GetName()), self._labels()
        path = str(self._folder / "scene.mrb")
        check(slicer.util.saveScene(path), "the scene cannot be saved")
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()
        slicer.util.loadScene(path)
        self.node, self.volume = (slicer.util.getNode(name) for name in names)
        wait(lambda: self._result.segmentationNode is self.node, "the panel does not show the loaded segmentation")
        self._settle()
        differing = np.count_nonzero(self._labels() != labels)
        check(not differing, f"{differing} voxels differ after saving and loading the scene")
        phantom.check_segments(self.node)
        check(self._result.verdict.verdict == "accepted_after_edits", "the verdict is not there after loading")
        self._check_counted()

    def second_version(self) -> None:
        """A second run makes a second version; the first stays as it is."""
        first, labels = self.node, self._labels()
        wait(lambda: self._widget.case.volumeNode is self.volume, "the FLAIR is not chosen after loading the scene")
        self._choose_model()
        self._run()
        (self.node,) = (node for node in _segmentations() if node is not first)
        check(bool(np.array_equal(self._labels(first), labels)), "the second run changed the first version")
        check(self._result.ui.versionSelector.count == len(_segmentations()), "not all versions are offered")

    def compare(self) -> None:
        """Two models on the same FLAIR."""
        section, ids = self._widget.further.compare, list(self._widget.model.cards)
        chosen = list(self._models) if len(self._models) > 1 else [self._widget.model.modelId]
        chosen += [model for model in reversed(ids) if model not in chosen][: 2 - len(chosen)]
        if len(chosen) < 2:
            raise StepSkipped("there is one model only")
        section.update()
        section.tick(chosen)
        section.start()
        wait(lambda: not section.running, "the comparison does not finish", 2 * RUN_S, section.ui.compareStageLabel)
        check(section.compared is not None, f"not compared: {section.ui.compareMessageLabel.text}")
        check(not section.compared.failures, "; ".join(section.compared.failures))

    def follow_up(self) -> None:
        """The same patient later, moved by a few millimetres: the lesions are found again."""
        volume = self._case.volume
        moved = volume.ijk_to_ras.copy()
        moved[:3, 3] += (3.0, -4.0, 2.0)
        later = phantom.volume_node(phantom.Case(Volume(volume.array, moved), self._case.truth), "FLAIR phantom later")
        section = self._widget.further.follow
        section.ui.previousSelector.setCurrentNode(self.volume)
        section.ui.presentSelector.setCurrentNode(later)
        section.start()
        wait(lambda: not section.running, "the follow-up does not finish", 3 * RUN_S, section.ui.followStageLabel)
        check(section.followed is not None, f"not followed: {section.ui.followMessageLabel.text}")
        stable = sum(row.state == "stable" for row in section.rows)
        check(stable > 0, f"none of {len(section.rows)} lesions is stable in a moved copy of the same image")

    def export(self) -> None:
        """The report of what is shown."""
        lacking = dependencies.lacking([*dependencies.REPORT_PACKAGES, *dependencies.OUTLINE_PACKAGES])
        if lacking:
            raise StepSkipped(f"Slicer's Python lacks {', '.join(lacking)}")
        section, out = self._widget.further.export, self._folder / "report"
        section.ui.htmlCheckBox.setChecked(True)
        section.ui.pdfCheckBox.setChecked(not dependencies.lacking(dependencies.PDF_PACKAGES))
        section.ui.dicomCheckBox.setChecked(False)
        section.ui.exportFolderEdit.setCurrentPath(str(out))
        section.start()
        wait(lambda: not section.running, "the export does not finish", RUN_S, section.ui.exportStageLabel)
        check(any(out.glob("*.html")), f"no report: {section.ui.exportMessageLabel.text}")

    # Helpers

    @property
    def _result(self):
        return self._widget.result

    def _choose_model(self) -> None:
        if self._models:
            index = self._widget.ui.modelComboBox.findData(self._models[0])
            check(index >= 0, f"there is no model {self._models[0]}")
            self._widget.ui.modelComboBox.setCurrentIndex(index)

    def _start(self) -> None:
        ui, run = self._widget.ui, self._widget.run
        wait(lambda: ui.segmentButton.enabled, "Segment cannot be pressed", label=ui.caseWarningLabel)
        ui.segmentButton.click()
        wait(lambda: ui.progressBar.value > 0 or not run.running, "the run does not begin", RUN_S, ui.statusLabel)
        check(run.running, f"the run ended early: {ui.statusLabel.text}")

    def _ended(self, otherwise: str) -> None:
        wait(lambda: not self._widget.run.running, otherwise, label=self._widget.ui.statusLabel)

    def _run(self) -> None:
        ui, count = self._widget.ui, len(_segmentations())
        wait(lambda: ui.segmentButton.enabled, "Segment cannot be pressed", label=ui.caseWarningLabel)
        ui.segmentButton.click()
        wait(lambda: not self._widget.run.running, "the run does not finish", RUN_S, ui.statusLabel)
        check(len(_segmentations()) == count + 1, f"there is no result: {ui.statusLabel.text}")
        self._settle()

    def _settle(self) -> None:
        slicer.app.processEvents()
        wait(lambda: not self._result.busy, "the lesions are not counted, or the verdict is not saved")
        slicer.app.processEvents()

    def _labels(self, node=None) -> np.ndarray:
        return phantom.labels_of(node or self.node, self.volume)

    def _first_lesion(self) -> np.ndarray:
        """Select the first lesion of the list; its voxels (bool, K, J, I)."""
        lesion = next((row for row in self._result.lesions.rows if row.value == LESION), None)
        check(lesion is not None, "the list holds no lesion")
        self._result.lesions.select(lesion.number)
        mask = np.zeros(self._labels().shape, bool)
        box, inside = self._result.measured.regions.mask(lesion.number)
        mask[box] = inside
        return mask

    def _check_counted(self) -> None:
        """The list and the table of segments agree with the voxels."""
        labels = self._labels()
        count = lesion_components(labels)[1]
        listed = sum(row.value == LESION for row in self._result.lesions.rows)
        check(listed == count, f"{listed} lesions are listed where {count} are")
        ml = np.count_nonzero(labels == LESION) * self._result.measured.grid.voxel_volume_ml
        shown = self._result.measured.volume_ml(LESION)
        check(abs(shown - ml) < 0.01, f"{shown:.3f} ml of lesions are shown where {ml:.3f} are")


def panel_of(module: str):
    """The panel of a module, shown and whole.

    Raises
    ------
    AssertionError
        At once, if the module is not loaded or its panel was not built.
    """
    check(hasattr(slicer.modules, module.lower()), f"the module {module} is not loaded")
    slicer.util.selectModule(module)
    slicer.app.processEvents()
    widget = getattr(slicer.modules, module.lower()).widgetRepresentation().self()
    error = getattr(widget, "buildError", None)
    if error is not None:
        raise AssertionError(f"the panel of {module} was not built: {type(error).__name__}: {error}") from error
    check(getattr(widget, "built", False), f"the panel of {module} was not built")
    return widget


def _segmentations() -> list:
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def _far_from_all(labels: np.ndarray, spacing: tuple[float, float, float]) -> tuple[int, int, int]:
    """A voxel (K, J, I) of the slice with most lesions, near its middle, with room for a dab of the brush around it."""
    k = int(np.argmax(np.count_nonzero(labels == LESION, axis=(1, 2))))
    rows, columns = labels.shape[1:]
    reach = [int(np.ceil(2 * _BRUSH_MM / mm)) for mm in spacing[1::-1]]
    # Labelled voxels above and left of each: their number in any box is a sum of four of these.
    sums = np.pad(np.cumsum(np.cumsum(labels[k] != BACKGROUND, axis=0), axis=1), ((1, 0), (1, 0)))
    j, i = np.meshgrid(np.arange(reach[0], rows - reach[0]), np.arange(reach[1], columns - reach[1]), indexing="ij")
    top, bottom, left, right = j - reach[0], j + reach[0] + 1, i - reach[1], i + reach[1] + 1
    found = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    away = np.where(found == 0, np.hypot(j - rows / 2, i - columns / 2), np.inf)
    best = np.unravel_index(int(np.argmin(away)), away.shape)
    return k, int(j[best]), int(i[best])
