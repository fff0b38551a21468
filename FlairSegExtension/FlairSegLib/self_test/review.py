"""FLAIR Review in the self-test: a case of the queue, a small blinded study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import slicer
from flairseg.files.nifti import write_nifti
from flairseg.labels import NUMBER_OF_CLASSES
from flairseg.models import find_model
from flairseg.review.cases import CaseArchive
from flairseg.segmentation.result import Segmentation
from flairseg.segmentation.writing import write_segmentation

from . import phantom, study
from .recorder import StepSkipped, check, wait
from .segmentation import panel_of

_NAME = "self-test"
#: Indices of the tabs.
_QUEUE, _STUDY = 0, 1


class ReviewSteps:
    """The steps, on one case.

    Parameters
    ----------
    case : phantom.Case
    folder : Path
        Empty; for files read and saved.
    model : str
        Id of the model named in the results; empty: the default.
    """

    def __init__(self, case: phantom.Case, folder: Path, model: str = "") -> None:
        self._case, self._folder, self._model = case, folder, model
        self._widget = None

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Name and action of each, in order."""
        return [
            ("panel of FLAIR Review", self.panel),
            ("queue", self.queue),
            ("small study", self.small_study),
        ]

    def panel(self) -> None:
        """The panel is there, whole."""
        slicer.mrmlScene.Clear(0)
        self._widget = panel_of("FlairSegReview")

    def queue(self) -> None:
        """A folder of results is listed, a case opened, accepted, and kept."""
        results = self._folder / "results"
        self._write_results(results)
        tab = self._tab(_QUEUE).queue
        tab.result.settings.casesFolder = str(self._folder / "review cases")
        tab.result.settings.readerName = _NAME
        tab.ui.sourceEdit.setCurrentPath(str(results))
        tab.ui.listButton.click()
        self._settle(tab)
        names = [item.case for item in tab.cases.items]
        problems = [item.problem for item in tab.cases.items if item.problem]
        check(names == [_NAME], f"listed: {names}; {tab.ui.queueMessageLabel.text}")
        check(not problems, "; ".join(problems))
        tab.open(tab.cases.items[0])
        self._settle(tab)
        check(tab.result.segmentationNode is not None, f"not opened: {tab.ui.queueMessageLabel.text}")
        labels = phantom.labels_of(tab.result.segmentationNode, tab.result.volumeNode)
        voxels = np.count_nonzero(labels == self._case.truth), labels.size
        flipped = np.count_nonzero(labels[::-1] == self._case.truth)
        check(max(voxels[0], flipped) == voxels[1], "the labels are not those of the file")
        wait(lambda: tab.result.ui.acceptButton.enabled, "the case cannot be accepted")
        tab.result.ui.acceptButton.click()
        self._settle(tab)
        archive = CaseArchive(self._folder / "review cases")
        check(archive.cases() == [_NAME], f"not kept: {tab.result.ui.verdictMessageLabel.text}")
        slicer.mrmlScene.Clear(0)

    def small_study(self) -> None:
        """A small study by the panel: locked, rated blinded with pauses, checked, closed."""
        if find_spec("sqlalchemy") is None:
            raise StepSkipped("SQLAlchemy is not installed; the panel offers to install it when a study is opened")
        files = self._folder / "study files"
        files.mkdir()
        room = study.small_study(files)
        study.rate_all(self._tab(_STUDY).study, room)
        study.check_closed(room)

    def _tab(self, index: int):
        self._widget.ui.reviewTabs.setCurrentIndex(index)
        slicer.app.processEvents()
        return self._widget

    def _settle(self, tab) -> None:
        for _turn in range(3):
            slicer.app.processEvents()
            wait(lambda: not tab.busy, "the queue does not come to rest", label=tab.ui.queueMessageLabel)

    def _write_results(self, folder: Path) -> None:
        """Write the files of ``flairseg segment`` for the case, with its ground truth as labels."""
        folder.mkdir(parents=True)
        volume, truth = replace(self._case.volume, name=_NAME), self._case.truth
        path = folder / f"{_NAME}.nii.gz"
        write_nifti(path, volume.array, volume, np.float32)
        probabilities = np.stack([(truth == value) for value in range(NUMBER_OF_CLASSES)]).astype(np.float16)
        card = find_model(self._model or None)
        segmentation = Segmentation(
            volume, truth, probabilities, card, "auto", "cpu", "CPUExecutionProvider", str(path)
        )
        write_segmentation(segmentation, folder, _NAME)
