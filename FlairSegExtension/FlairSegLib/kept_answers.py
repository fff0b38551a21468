"""Store a model's result and a volume's regions in the scene, and read them back."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import numpy as np
import slicer
from flairseg.errors import CaseWarning
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.packed import CompactAnswer
from flairseg.models.lesion_confidence import LesionConfidence

from . import segment_tags
from .segment_voxels import INPUT_ROLE, grid_of
from .volume_nodes import (
    local_matrix,
    shape_of,
)

#: Node reference of a segmentation node.
PROBABILITIES_ROLE = "FlairSeg.probabilities"
#: The model's own labels, as :attr:`flairseg.image.packed.CompactAnswer.labels_text`, and the affine of their grid (16
#: numbers, row by row, IJK -> RAS before parent transforms).
LABELS_ATTRIBUTE, GRID_ATTRIBUTE = "FlairSeg.labels", "FlairSeg.grid"
#: Coefficients of :class:`flairseg.models.lesion_confidence.LesionConfidence` as JSON, where the model's card has them.
CONFIDENCE_ATTRIBUTE = "FlairSeg.lesion_confidence"
#: Minimum volume of a lesion in mm3, by the model's card.
MINIMUM_ATTRIBUTE = "FlairSeg.min_lesion_mm3"
#: Voxels beyond the margin around the brain, in the form of the labels; and the plane in whose slices the model's
#: clean-up fills holes. Not set where there are none, and where it fills none.
BEYOND_ATTRIBUTE, FILL_ATTRIBUTE = "FlairSeg.beyond_brain", "FlairSeg.fill_holes"
#: Probabilities at which a reader had the lesions redrawn: that of a core voxel, and that of the outline.
THRESHOLDS_ATTRIBUTE = "FlairSeg.lesion_thresholds"
#: The regions of the brain on a volume node, kept as the labels are.
REGIONS_ATTRIBUTE, REGIONS_GRID_ATTRIBUTE = "FlairSeg.regions", "FlairSeg.regions_grid"


def input_of(segmentation_node):
    """The volume node that a segmentation was made from; None if it is not in the scene."""
    return segmentation_node.GetNodeReference(INPUT_ROLE)


@dataclass(frozen=True)
class KeptAnswer:
    """The model's own result as stored in a scene, still packed; :meth:`answer` unpacks it, in any thread.

    Attributes
    ----------
    grid : VolumeGeometry
        That the input volume has now (Slicer may have re-ordered its slices when it loaded it again), else the
        segmentation's own.
    text : str
        Labels, see :data:`LABELS_ATTRIBUTE`.
    then : ndarray, shape (4, 4)
        Affine of the labels' grid, IJK -> RAS.
    levels : ndarray of uint8, shape (k, j, i, 3) or (k, j, i, 4), or None
        Voxels of the hidden volume, see :class:`~flairseg.image.packed.CompactAnswer`. Not a copy: numpy keeps Slicer's
        memory alive, and that volume is never edited.
    levels_affine : ndarray, shape (4, 4), or None
        Their affine, IJK -> RAS.
    confidence : LesionConfidence, optional
        How confidence of a lesion follows from its probability and volume, by the model's card.
    min_lesion_mm3 : float, optional
        Minimum volume of a lesion, by the model's card.
    beyond_text : str
        See :data:`BEYOND_ATTRIBUTE`.
    fill_holes_in : str
        See :data:`FILL_ATTRIBUTE`.
    """

    grid: VolumeGeometry
    text: str
    then: np.ndarray
    levels: np.ndarray | None = None
    levels_affine: np.ndarray | None = None
    confidence: LesionConfidence | None = None
    min_lesion_mm3: float | None = None
    beyond_text: str = ""
    fill_holes_in: str = ""

    def answer(self) -> CompactAnswer | None:
        """The answer on :attr:`grid`; None if it cannot be read, or is not on its voxels.

        Takes a quarter of a second for a large volume. ``levels`` is None where the probabilities were not saved.
        """
        try:
            kept = CompactAnswer.from_labels_text(self.text)
            beyond = CompactAnswer.from_labels_text(self.beyond_text).labels if self.beyond_text else None
        except ValueError:
            logging.warning("FlairSeg: the labels kept with a segmentation cannot be read.")
            return None
        then, grid = self.then, self.grid
        voxels, levels = kept.labels[..., None], None
        if self.levels is not None:
            # Files may give the hidden volume back in another order, too.
            placed = _placed(self.levels, self.levels_affine, VolumeGeometry(kept.shape, then))
            if placed is not None and placed[1] == kept.start and placed[0].shape[:3] == kept.labels.shape:
                levels = placed[0]
        if kept.shape == grid.shape and _hardened(VolumeGeometry(kept.shape, then), grid):
            # The volume's transform was hardened: its voxels are those of then, in the same order.
            then = grid.ijk_to_ras
        corner = VolumeGeometry(kept.shape, then).part(kept.start, kept.labels.shape).ijk_to_ras
        placed = _placed(voxels, corner, grid)
        if placed is None:
            return None
        voxels, start = placed
        if levels is not None:
            levels = np.ascontiguousarray(_placed(levels, corner, grid)[0])
        if beyond is not None and beyond.shape == kept.labels.shape:
            beyond = np.ascontiguousarray(_placed(beyond[..., None], corner, grid)[0][..., 0])
        try:
            return CompactAnswer(grid.shape, start, np.ascontiguousarray(voxels[..., 0]), levels, beyond)
        except ValueError:
            # The volume was cropped, or another one took its place.
            return None


def warnings_of(segmentation_node) -> list[CaseWarning]:
    """The warnings noted on a segmentation node, with their codes where the node has them."""
    texts, codes = (
        (segmentation_node.GetAttribute(name) or "").splitlines()
        for name in ("FlairSeg.warnings", "FlairSeg.warning_codes")
    )
    codes = codes if len(codes) == len(texts) else ["note"] * len(texts)
    return [CaseWarning(text, code) for text, code in zip(texts, codes, strict=True) if text]


def kept_answer_of(segmentation_node) -> KeptAnswer | None:
    """Return the stored model result that a segmentation started from; None if none is stored.

    Reads addresses only: for the GUI thread, whatever the size of the volume.
    """
    grid = grid_of(segmentation_node, input_of(segmentation_node))
    text, then = segmentation_node.GetAttribute(LABELS_ATTRIBUTE), _matrix_of(segmentation_node, GRID_ATTRIBUTE)
    if grid is None or not text or then is None:
        return None
    hidden = segmentation_node.GetNodeReference(PROBABILITIES_ROLE)
    if hidden is None or hidden.GetImageData() is None:
        return KeptAnswer(grid, text, then)
    minimum = _numbers_of(segmentation_node, MINIMUM_ATTRIBUTE, 1)
    return KeptAnswer(
        grid, text, then, slicer.util.arrayFromVolume(hidden), local_matrix(hidden), _confidence_of(segmentation_node),
        minimum[0] if minimum else None, segmentation_node.GetAttribute(BEYOND_ATTRIBUTE) or "",
        segmentation_node.GetAttribute(FILL_ATTRIBUTE) or "",
    )  # fmt: skip


def lesion_thresholds_of(segmentation_node) -> tuple[float, float] | None:
    """Probabilities (core voxel, outline), 0..1, at which a reader had the lesions redrawn; None if never."""
    return _numbers_of(segmentation_node, THRESHOLDS_ATTRIBUTE, 2)


def keep_lesion_thresholds(segmentation_node, seen_from: float, outlined_to: float) -> None:
    """Note on a segmentation node the probabilities (0..1) at which its lesions were redrawn."""
    segment_tags.set_attribute(segmentation_node, THRESHOLDS_ATTRIBUTE, f"{seen_from:g} {outlined_to:g}")


class LevelHistory:
    """The thresholds that belong to each state of one segmentation: the editor's undo knows of voxels alone."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[float, float] | None] = {}

    def corrected(self, segmentation_node, contents: str) -> bool:
        """Note the thresholds of a state that is there again, undone or redone; whether others were noted.

        Parameters
        ----------
        segmentation_node : vtkMRMLSegmentationNode
        contents : str
            :attr:`FlairSegLib.measurement.Measurement.contents` of what it holds now.
        """
        noted = lesion_thresholds_of(segmentation_node)
        levels = self._levels.setdefault(contents, noted)
        if levels == noted:
            return False
        text = None if levels is None else f"{levels[0]:g} {levels[1]:g}"
        segment_tags.set_attribute(segmentation_node, THRESHOLDS_ATTRIBUTE, text)
        return True


def _numbers_of(node, attribute: str, count: int) -> tuple[float, ...] | None:
    """The numbers in an attribute; None where it is not set or does not hold so many."""
    try:
        numbers = tuple(float(word) for word in (node.GetAttribute(attribute) or "").split())
    except ValueError:
        return None
    return numbers if len(numbers) == count else None


def _confidence_of(segmentation_node) -> LesionConfidence | None:
    """What :data:`CONFIDENCE_ATTRIBUTE` holds; None where it holds nothing that can be read."""
    text = segmentation_node.GetAttribute(CONFIDENCE_ATTRIBUTE)
    try:
        return LesionConfidence.of(json.loads(text)) if text else None
    except (ValueError, KeyError, TypeError):
        logging.warning("FlairSeg: the lesion confidence kept with a segmentation cannot be read.")
        return None


def keep_regions(volume_node, text: str) -> None:
    """Keep the regions of the brain with their volume, for all segmentations of it and for the saved scene.

    Parameters
    ----------
    volume_node : vtkMRMLScalarVolumeNode
    text : str
        Region codes on the volume's grid as :attr:`flairseg.image.packed.CompactAnswer.labels_text`.
    """
    volume_node.SetAttribute(REGIONS_GRID_ATTRIBUTE, matrix_text(local_matrix(volume_node)))
    volume_node.SetAttribute(REGIONS_ATTRIBUTE, text)


def kept_regions_of(volume_node) -> KeptAnswer | None:
    """Return the regions stored by :func:`keep_regions`, on the volume's current grid; None if none are stored.

    Its ``answer()`` holds region codes in place of labels.
    """
    if volume_node is None or volume_node.GetImageData() is None:
        return None
    text, then = volume_node.GetAttribute(REGIONS_ATTRIBUTE), _matrix_of(volume_node, REGIONS_GRID_ATTRIBUTE)
    if not text or then is None:
        return None
    return KeptAnswer(VolumeGeometry(shape_of(volume_node), local_matrix(volume_node)), text, then)


def answer_of(segmentation_node) -> CompactAnswer | None:
    """The model's own answer that a segmentation began with, copied out of the scene; None if it is not known.

    For scripts; a panel takes :func:`kept_answer_of` and unpacks that in a thread.
    """
    kept = kept_answer_of(segmentation_node)
    return None if kept is None else kept.answer()


def probabilities_of(segmentation_node) -> np.ndarray | None:
    """The model's probabilities, float16, (4, K, J, I) on the input volume's grid; None if they are not known.

    To within 1/510. For a large volume see :func:`answer_of`.
    """
    answer = answer_of(segmentation_node)
    return None if answer is None else answer.full_probabilities()


def original_labels_of(segmentation_node) -> np.ndarray | None:
    """The model's own labels, uint8, (K, J, I) on the input volume's grid, whatever was edited; None if unknown."""
    answer = answer_of(segmentation_node)
    return None if answer is None else answer.full_labels()


def matrix_text(matrix: np.ndarray) -> str:
    """A 4 x 4 matrix as the text of an attribute."""
    return " ".join(f"{number:.17g}" for number in matrix.ravel())


def _matrix_of(node, attribute: str) -> np.ndarray | None:
    """The matrix in an attribute; None if there is none."""
    try:
        return np.array([float(number) for number in (node.GetAttribute(attribute) or "").split()]).reshape(4, 4)
    except ValueError:
        if node.GetAttribute(attribute):
            logging.warning("FlairSeg: a matrix kept with a node cannot be read.")
        return None


def _placed(
    voxels: np.ndarray, ijk_to_ras: np.ndarray, grid: VolumeGeometry
) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """Voxels (k, j, i, ...) in the axis order of a grid, and the index of the first; None if they are not on it."""
    found = grid.locate(VolumeGeometry(voxels.shape[:3], ijk_to_ras))
    if found is None:
        return None
    return np.moveaxis(found.arrange(np.moveaxis(voxels, -1, 0)), 0, -1), found.start


def _hardened(then: VolumeGeometry, now: VolumeGeometry) -> bool:
    """Whether a grid was turned or stretched since, and not merely stored with its axes in another order."""
    moved = then.ijk_to_ras.copy()
    moved[:3, 3] = now.ijk_to_ras[:3, 3]
    re_ordered = now.locate(VolumeGeometry(then.shape, moved)) is not None
    return then.is_right_handed == now.is_right_handed and not re_ordered
