"""What tests of the panel's result half share: a segmented head with known lesions, and the panel that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from flairseg.image.volume import Volume
from flairseg.labels import BACKGROUND, CLASS_BY_VALUE, LESION, NORMAL_WMH
from flairseg.segmentation.pipeline import Segmentation

from Testing.harness.interaction import wait_until
from Testing.harness.segment_editor import brush

#: Centres (K, J, I) of the lesions of :func:`head_with_lesions`, largest first.
LARGE, MIDDLE, SMALL = (16, 63, 61), (11, 40, 24), (21, 31, 52)


def head_with_lesions(head) -> tuple[Volume, np.ndarray, np.ndarray]:
    """The small head with a third, doubtful lesion: image, labels, probabilities (float16)."""
    volume, labels = head
    labels = labels.copy()
    labels[20:23, 29:33, 50:54] = LESION
    probabilities = np.zeros((4, *labels.shape), np.float32)
    for value in range(4):
        probabilities[value][labels == value] = 0.9
    probabilities[BACKGROUND][labels != BACKGROUND] = 0.1
    probabilities[BACKGROUND][labels == BACKGROUND] = 1.0
    doubtful = (slice(None), slice(20, 23), slice(29, 33), slice(50, 54))
    probabilities[doubtful] = np.reshape([0.05, 0.0, 0.40, 0.55], (4, 1, 1, 1))
    # A rim that a lower threshold would take in.
    rim = probabilities[:, 19, 29:33, 50:54]
    rim[BACKGROUND], rim[LESION] = 0.7, 0.3
    return volume, labels, probabilities.astype(np.float16)


def segmented(
    slicer,
    head,
    name: str = "FLAIR 042",
    volume_node=None,
    lesion_confidence=None,
    min_lesion_mm3=10.7,
    classes=(1, 2, 3),
):
    """A volume node and its segmentation node, as a run of a model of some classes leaves them in the scene."""
    from FlairSegLib import scene_bridge

    volume, labels, probabilities = head_with_lesions(head)
    labels[~np.isin(labels, classes)] = BACKGROUND
    if volume_node is None:
        volume_node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, name)
    card = SimpleNamespace(
        id="intensity-v0.1",
        sha256="ab" * 32,
        classes=classes,
        version="0.1",
        title="Intensity bands",
        lesion_confidence=lesion_confidence,
        pipeline=SimpleNamespace(min_lesion_mm3=min_lesion_mm3),
    )
    result = Segmentation(volume, labels, probabilities, card, "auto", "cpu", "CPUExecutionProvider", name)
    return volume_node, scene_bridge.segmentation_to_node(result, volume_node)


@dataclass
class Driver:
    """The panel in a window, and a user in front of it."""

    slicer: object
    panel: object
    window: object
    settings: object

    def show(self, node, volume=None) -> None:
        """Show a segmentation and wait until it is counted."""
        self.panel.setSegmentation(node, volume)
        self.settle()

    def settle(self, timeout_s: float = 20.0) -> None:
        """Wait until nothing is counted, saved or drawn any more."""
        self.slicer.app.processEvents()
        wait_until(lambda: not self.panel.busy, timeout_s)
        self.slicer.app.processEvents()

    def paint(self, kji, radius_mm: float = 5.0, effect: str = "Paint") -> int:
        """Put the brush down once; voxels under it."""
        self.panel.editor.use(effect)
        i, j, k = reversed(kji)
        matrix = self.panel._grid.ijk_to_ras
        count = brush(self.panel.ui.segmentEditor, tuple((matrix @ [i, j, k, 1])[:3]), radius_mm)
        self.settle()
        return count

    def labels(self, node=None) -> np.ndarray:
        """Labels as Slicer itself reads them from the node."""
        node = node or self.panel.segmentationNode
        out = np.zeros(self.panel._grid.shape, np.uint8)
        for value, label_class in CLASS_BY_VALUE.items():
            mask = self.slicer.util.arrayFromSegmentBinaryLabelmap(node, label_class.id, self.panel._volume)
            out[mask > 0] = value
        return out

    def numbers(self) -> list[int]:
        """Numbers of the lesions as they stand in the list."""
        table = self.panel.ui.lesionTable
        return [int(table.item(row, 0).text()) for row in range(table.rowCount)]

    def column(self, column: int, table: str = "lesionTable") -> list[str]:
        """Texts of a column of a table."""
        widget = getattr(self.panel.ui, table)
        return [widget.item(row, column).text() for row in range(widget.rowCount)]


def tag(node, value: int, key: str) -> str:
    """A tag of the segment of a class."""
    from FlairSegLib import segment_tags

    return segment_tags.tag(node.GetSegmentation().GetSegment(CLASS_BY_VALUE[value].id), key)


__all__ = ["LARGE", "LESION", "MIDDLE", "NORMAL_WMH", "SMALL", "Driver", "head_with_lesions", "segmented", "tag"]
