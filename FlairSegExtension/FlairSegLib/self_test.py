"""What can be checked of FlairSeg inside a running 3D Slicer: a digital phantom from the network to the saved scene.

Slicer's test class in ``FlairSeg.py`` calls these; nothing here needs an image from outside or a network.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
from flairseg.labels import CLASSES, LESION, VENTRICLES

if TYPE_CHECKING:
    from collections.abc import Callable

#: Starting the worker and one run, on a slow computer.
RUN_S = 300.0
#: Dice that the phantom of seed 0 reaches with room to spare; a flipped or shifted mask stays below 0.3.
LEAST_DICE = {VENTRICLES: 0.8, LESION: 0.6}


def phantom_volume():
    """A volume node with a digital head, and its labels (uint8, K, J, I)."""
    from flairseg.phantom import make_phantom

    phantom = make_phantom(seed=0)
    node = slicer.util.addVolumeFromArray(
        phantom.volume.array, ijkToRAS=phantom.volume.ijk_to_ras, name="FLAIR phantom"
    )
    return node, phantom.labels


def labels_of(segmentation_node, volume_node) -> np.ndarray:
    """Labels (uint8, K, J, I) that the segments give on a volume node's grid."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume_node).shape, np.uint8)
    for label_class in CLASSES:
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_node, label_class.id, volume_node)
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


def check_scene_round_trip(segmentation_node, volume_node, labels: np.ndarray) -> None:
    """Save the scene as .mrb, close it, load it: the segments are where they were.

    The scene is another one afterwards: nodes from before are gone.

    Raises
    ------
    AssertionError
        With the number of voxels that differ.
    RuntimeError
        Slicer could not load the scene.
    """
    names = segmentation_node.GetName(), volume_node.GetName()
    with tempfile.TemporaryDirectory(prefix="FlairSeg-") as folder:
        path = str(Path(folder) / "scene.mrb")
        if not slicer.util.saveScene(path):
            raise AssertionError("the scene could not be saved")
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(path)
        reloaded, volume = (slicer.util.getNode(name) for name in names)
        check_segments(reloaded)
        differing = np.count_nonzero(labels_of(reloaded, volume) != labels)
        if differing:
            raise AssertionError(f"{differing} voxels differ after saving and loading the scene")


def run_panel(widget, volume_node):
    """Press Segment, Cancel and Segment in the module's panel, and wait until its result is counted.

    Parameters
    ----------
    widget : FlairSegWidget
        Of the module, which is shown.
    volume_node : vtkMRMLScalarVolumeNode
        The only volume in the scene, named so that the panel proposes it.

    Returns
    -------
    vtkMRMLSegmentationNode
        The result that the panel shows.

    Raises
    ------
    AssertionError
        With what the panel does not do, and what it says.
    """
    ui = widget.ui
    _wait(lambda: widget.case.volumeNode is volume_node, "the panel does not propose the FLAIR", ui.caseReasonLabel)
    _wait(lambda: ui.segmentButton.enabled, "the panel cannot segment", ui.caseWarningLabel)
    ui.segmentButton.click()
    _wait(lambda: ui.progressBar.value > 0 or not widget.run.running, "the run does not begin", ui.statusLabel)
    if not widget.run.running:
        raise AssertionError(f"the run ended early: {ui.statusLabel.text}")
    ui.segmentButton.click()
    _wait(lambda: not widget.run.running, "Cancel has no effect", ui.statusLabel)
    if slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        raise AssertionError("a cancelled run left a segmentation")
    ui.segmentButton.click()
    _wait(lambda: not widget.run.running, "the run does not end", ui.statusLabel)
    node = widget.result.segmentationNode
    if node is None:
        raise AssertionError(f"there is no result: {ui.statusLabel.text}")
    _wait(lambda: not widget.result.busy, "the result is not counted", ui.statusLabel)
    if not widget.result.lesions.rows:
        raise AssertionError("the lesions are not listed")
    return node


def _wait(condition: Callable[[], bool], otherwise: str, label) -> None:
    """Let Slicer handle events until a condition holds; after :data:`RUN_S` an error says what the panel says."""
    end = time.monotonic() + RUN_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{otherwise}: {label.text}")
        slicer.app.processEvents()
        time.sleep(0.005)
