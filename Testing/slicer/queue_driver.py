"""What tests of the tab Queue share: results of ``flairseg segment`` in a folder, and the tab in a window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from flairseg.image.volume import Volume
from flairseg.labels import LESION
from flairseg.segmentation.result import Segmentation
from flairseg.segmentation.writing import write_segmentation

from Testing.harness.interaction import wait_until
from Testing.harness.segment_editor import brush

#: As most converters store a head: the first axis runs to the left, which makes the grid left-handed.
LEFT_HANDED = np.diag([-1.0, 1.0, 1.0, 1.0])


def write_result(folder: Path, case: str, head, doubt: float, created: str = "2026-05-04T03:02:01+00:00") -> Volume:
    """All files that ``flairseg segment --probabilities`` writes, for a left-handed image.

    Parameters
    ----------
    doubt : float
        1 - probability of the lesions: the larger, the earlier the case comes.
    """
    volume, labels = head
    affine = volume.ijk_to_ras @ LEFT_HANDED
    flair = Volume(volume.array, affine, case)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case}.nii.gz"
    from flairseg.files.nifti import write_nifti

    write_nifti(path, flair.array, flair, np.int16)
    probabilities = np.zeros((4, *labels.shape), np.float32)
    for value in range(4):
        probabilities[value][labels == value] = 1.0
    probabilities[LESION][labels == LESION] = 1 - doubt
    probabilities[0][labels == LESION] = doubt
    card = SimpleNamespace(
        id="intensity-v0.1",
        sha256="ab" * 32,
        version="0.1",
        title="Intensity bands",
        pipeline=SimpleNamespace(plane="native", thresholds={}),
        classes=(1, 2, 3),
        members=(),
        raw={"pipeline": {"plane": "native"}},
    )
    segmentation = Segmentation(
        Volume(flair.array.astype(np.float32), affine, case),
        labels,
        probabilities.astype(np.float16),
        card,
        "auto",
        "cpu",
        "CPUExecutionProvider",
        str(path),
        created=created,
    )
    write_segmentation(segmentation, folder, case, probabilities=True)
    return flair


@dataclass
class QueueDriver:
    """The tab in a window, and a reader in front of it."""

    slicer: object
    tab: object
    window: object
    settings: object

    @property
    def ui(self):
        return self.tab.ui

    def settle(self, timeout_s: float = 30.0) -> None:
        """Wait until nothing is looked for, loaded, counted or saved any more."""
        for _turn in range(3):
            self.slicer.app.processEvents()
            wait_until(lambda: not self.tab.busy, timeout_s)
        self.slicer.app.processEvents()

    def list(self, source) -> None:
        """List the cases of a folder."""
        from Testing.harness.interaction import click

        self.ui.sourceEdit.setCurrentPath(str(source))
        click(self.ui.listButton)
        self.settle()

    def open(self, case: str) -> None:
        """Select a case and press Open."""
        from Testing.harness.interaction import click

        self.tab.cases.select(case)
        self.slicer.app.processEvents()
        click(self.ui.openButton)
        self.settle()

    def column(self, column: int, table: str = "caseTable") -> list[str]:
        """Texts of a column of a table."""
        widget = getattr(self.ui, table)
        return [widget.item(row, column).text() for row in range(widget.rowCount)]

    def paint(self, ras, radius_mm: float = 5.0, effect: str = "Paint") -> int:
        """Put the brush of the result panel down once; voxels under it."""
        self.tab.result.editor.use(effect)
        count = brush(self.tab.result.ui.segmentEditor, tuple(ras), radius_mm)
        self.settle()
        return count

    def draw(self, ras, radius_mm: float = 5.0, effect: str = "Paint") -> int:
        """Put the brush of a reference task down once; voxels under it."""
        self.tab.reference.task.editor.use(effect)
        count = brush(self.ui.segmentEditor, tuple(ras), radius_mm)
        self.slicer.app.processEvents()
        return count

    def nodes(self, kind: str) -> list[str]:
        """Names of the nodes of a class that a user sees."""
        found = self.slicer.util.getNodesByClass(kind)
        return [n.GetName() for n in found if not n.GetHideFromEditors() and n.GetClassName() == kind]


__all__ = ["LEFT_HANDED", "QueueDriver", "write_result"]
