"""The case of the self-test, a digital phantom, and what its labels and segments have to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer
from flairseg.labels import CLASSES, LESION, VENTRICLES

if TYPE_CHECKING:
    from flairseg.image.volume import Volume

#: Dice that the phantom of seed 0 exceeds by a margin; a flipped or shifted mask stays below 0.3.
LEAST_DICE = {VENTRICLES: 0.8, LESION: 0.6}


@dataclass(frozen=True)
class Case:
    """The image to segment.

    Attributes
    ----------
    volume : flairseg.image.volume.Volume
    truth : ndarray of uint8, shape (K, J, I)
        Its classes.
    """

    volume: Volume
    truth: np.ndarray


def phantom_case() -> Case:
    """A digital head."""
    from flairseg.phantom import make_phantom

    phantom = make_phantom(seed=0)
    return Case(phantom.volume, phantom.labels)


def volume_node(case: Case, name: str = "FLAIR phantom"):
    """A case as a volume node in the scene."""
    return slicer.util.addVolumeFromArray(case.volume.array, ijkToRAS=case.volume.ijk_to_ras, name=name)


def labels_of(segmentation_node, volume) -> np.ndarray:
    """Labels (uint8, K, J, I) that the segments give on a volume node's grid."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    present = segmentation_node.GetSegmentation().GetSegmentIDs()
    for label_class in CLASSES:
        if label_class.id in present:
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_node, label_class.id, volume)
            labels[mask > 0] = label_class.value
    return labels


def check_labels(labels: np.ndarray, truth: np.ndarray) -> None:
    """Compare with the phantom's truth.

    Raises
    ------
    AssertionError
        With the Dice that was reached.
    """
    for value, least in LEAST_DICE.items():
        found, true = labels == value, truth == value
        dice = 2.0 * np.count_nonzero(found & true) / max(np.count_nonzero(found) + np.count_nonzero(true), 1)
        if dice < least:
            raise AssertionError(f"class {value}: Dice {dice:.3f}, expected at least {least}")


def check_segments(segmentation_node) -> None:
    """Check ids, names, colours, terminology and tags of the segments.

    Raises
    ------
    AssertionError
        With what differs.
    """
    contents = segmentation_node.GetSegmentation()
    for label_class in CLASSES:
        segment = contents.GetSegment(label_class.id)
        if segment is None:
            raise AssertionError(f"segment {label_class.id} is missing")
        found = segment.GetName(), segment.GetTerminology()
        expected = label_class.name, label_class.terminology_entry
        if found != expected or not np.allclose(segment.GetColor(), label_class.rgb_unit, atol=1e-3):
            raise AssertionError(f"segment {label_class.id}: {found}, {segment.GetColor()}")
