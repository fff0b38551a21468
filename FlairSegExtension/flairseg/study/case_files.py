"""The files of a case of the work list, on one grid: opened, corrected and judged by a reader.

There are two label maps: ``original`` is the model's result, ``labels`` is what the reader continues from - the newest
version in the archive of cases, else a ``.seg.nrrd`` that was corrected in 3D Slicer, else the original. So a
reader's edits of an earlier day are neither lost nor counted as the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import CaseWarning, FlairSegError, InputNotFoundError, UnreadableImageError
from ..image.geometry import triple
from ..image.packed import CompactAnswer
from ..image.volume import Volume
from ..io.label_maps import LabelMap, read_label_map
from ..io.label_meanings import OWN
from ..io.reader import read_volume
from ..labels import CLASS_BY_VALUE, NUMBER_OF_CLASSES
from ..lesions.boxes import Box
from ..models.lesion_confidence import FIELD, LesionConfidence
from ..review.cases import CaseArchive
from ..segmentation.result import not_assessed
from .queue import QueueItem, summary_of

#: 3D Slicer's own segmentation beside ``<stem>_labels.nii.gz``.
_LABELS, _SEGMENTATION = "_labels.nii.gz", ".seg.nrrd"
_PREFIX = "FlairSeg."
#: Number of voxels sampled for window and level.
_SAMPLE = 1_000_000


@dataclass(frozen=True)
class CaseFiles:
    """A case for the scene.

    Attributes
    ----------
    item : QueueItem
    volume : Volume
        The FLAIR on a right-handed grid, which 3D Slicer wants; ``name`` is the case's.
    shown : tuple of float
        Gray values shown as black and white.
    original : CompactAnswer or None
        The model's labels and, where they were kept, probabilities; None if the case has no segmentation.
    labels : ndarray of uint8, shape (K, J, I), or None
        Labels from which the reader continues; None if that is the original.
    going_on_from : str
        Source of ``labels``, as text; empty if they are None.
    tags : mapping of int to mapping of str to str
        Class value -> provenance (``FlairSeg.model``, ...) stored with that segment; empty if unknown.
    warnings : tuple of str
    confidence : LesionConfidence or None
        How lesion confidence follows from probability and volume, as the summary has it of the model.
    classes : frozenset of int
        Classes that were assessed, by the label maps and the summary; any other is unknown, rather than absent.
    """

    item: QueueItem
    volume: Volume
    shown: tuple[float, float]
    original: CompactAnswer | None = None
    labels: np.ndarray | None = None
    going_on_from: str = ""
    tags: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    confidence: LesionConfidence | None = None
    classes: frozenset[int] = frozenset(CLASS_BY_VALUE)

    def correction(self) -> tuple[Box, np.ndarray, np.ndarray] | None:
        """Return a reader's earlier corrections: box (K, J, I), original and reader's labels in it; None if none."""
        if self.original is None or self.labels is None:
            return None
        before = self.original.full_labels()
        changed = before != self.labels
        if not changed.any():
            return None
        spans = []
        for axis in range(3):
            where = np.nonzero(changed.any(axis=tuple(a for a in range(3) if a != axis)))[0]
            spans.append(slice(int(where[0]), int(where[-1]) + 1))
        box = triple(spans)
        return box, before[box], self.labels[box]


@dataclass(frozen=True)
class SceneGrid:
    """The grid of a file, and the right-handed one with the same voxels that 3D Slicer makes of it.

    Slicer reverses the slices of a left-handed image when it loads one; so is done here.

    Attributes
    ----------
    volume : Volume
        On the right-handed grid.
    file : Volume
        As it was read.
    """

    volume: Volume
    file: Volume

    @property
    def display_range(self) -> tuple[float, float]:
        """Gray values that are shown black and white, see :func:`display_range`."""
        return display_range(self.volume.array)

    @classmethod
    def of(cls, file: Volume) -> SceneGrid:
        """The right-handed grid of a volume that was read from a file."""
        if file.geometry.is_right_handed:
            return cls(file, file)
        affine = file.ijk_to_ras.copy()
        affine[:3, 3] += affine[:3, 2] * (file.array.shape[0] - 1)
        affine[:3, 2] *= -1
        turned = Volume(np.ascontiguousarray(file.array[::-1]), affine, file.name, file.warnings)
        return cls(turned, file)

    def turn(self, array: np.ndarray) -> np.ndarray:
        """Voxels (..., K, J, I) from the one order into the other; twice gives the array."""
        if self.volume is self.file:
            return array
        return np.ascontiguousarray(np.flip(array, axis=-3))

    def labels(self, path: Path) -> LabelMap:
        """A label map in the scene's order, in whichever it was written.

        Raises
        ------
        FlairSegError
            As for :func:`flairseg.io.label_maps.read_label_map`.
        """
        return read_label_map(path, self.volume.geometry)


def display_range(array: np.ndarray) -> tuple[float, float]:
    """Gray values that are shown black and white: percentiles 0.1 and 99.9, as 3D Slicer takes them.

    Of every n-th voxel, so that it takes no longer for a large image; Slicer itself would count all of them in the
    thread that keeps its windows alive.
    """
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    low, high = (float(value) for value in np.percentile(sample, (0.1, 99.9)))
    return (low, high) if high > low else (low, low + 1.0)


def read_case(item: QueueItem, archive: CaseArchive | None = None) -> CaseFiles:
    """Read all that belongs to a case.

    Parameters
    ----------
    item : QueueItem
    archive : CaseArchive, optional
        Archive of verdicts.

    Raises
    ------
    FlairSegError
        If the FLAIR or the label map cannot be read, with the reason. What is merely helpful - probabilities, summary,
        an earlier version - is left out with a warning if it cannot be read.
    """
    if item.flair is None:
        raise InputNotFoundError(
            "The FLAIR of this case is unknown.", "Name it in a list of cases: case, flair, labels."
        )
    grid = SceneGrid.of(read_volume(item.flair))
    volume = replace(grid.volume, name=item.case)
    warnings = [*item.warnings, *volume.warnings]
    if item.labels is None:
        return CaseFiles(item, volume, grid.display_range, warnings=tuple(dict.fromkeys(warnings)))
    found = grid.labels(item.labels)
    original, tags, classes = found.labels, found.tags, found.classes
    warnings += found.warnings
    probabilities = None
    if item.probabilities is not None:
        try:
            probabilities = grid.turn(_read_probabilities(item.probabilities, grid.file))
        except FlairSegError as error:
            warnings.append(CaseWarning(str(error), "probabilities-left-out"))
    labels, origin = None, ""
    beside = _beside(item.labels)
    if beside is not None:
        try:
            found = grid.labels(beside)
            corrected, tags, classes = found.labels, found.tags, classes & found.classes
            warnings += found.warnings
            if not np.array_equal(corrected, original):
                labels, origin = corrected, f"the corrections in {beside.name}"
        except FlairSegError as error:
            text = f"{beside.name} is left out, the labels are those of {item.labels.name}. {error}"
            warnings.append(CaseWarning(text, "corrections-left-out"))
    if archive is not None and item.versions:
        try:
            saved = archive.load(item.case)
            kept = read_label_map(saved.saved.path / "labels.nii.gz", grid.volume.geometry, OWN)
            labels, origin = kept.labels, f"version {saved.saved.version} of the archive"
        except FlairSegError as error:
            warnings.append(CaseWarning(f"The archived version is left out. {error}", "version-left-out"))
    return CaseFiles(
        item,
        volume,
        grid.display_range,
        CompactAnswer.pack(original, probabilities),
        labels,
        origin,
        tags or _tags_of(item),
        tuple(dict.fromkeys(warnings)),
        _confidence_of(item),
        classes - not_assessed(summary_of(item)),
    )


def _beside(labels: Path) -> Path | None:
    """The ``.seg.nrrd`` that belongs to a ``_labels.nii.gz``; None if there is none."""
    if not labels.name.endswith(_LABELS):
        return None
    path = labels.with_name(labels.name.removesuffix(_LABELS) + _SEGMENTATION)
    return path if path.is_file() else None


def _tags_of(item: QueueItem) -> dict[int, dict[str, str]]:
    """Provenance from a summary, where no segmentation of Slicer's kept it."""
    content = summary_of(item)
    model, software = content.get("model"), content.get("software")
    if not isinstance(model, dict) or not model.get("id"):
        return {}
    found = {
        "model": model.get("id"),
        "model_sha256": model.get("sha256"),
        "version": software.get("flairseg") if isinstance(software, dict) else None,
        "algorithm_type": "AUTOMATIC",
    }
    tags = {f"{_PREFIX}{key}": str(value) for key, value in found.items() if value}
    return dict.fromkeys(CLASS_BY_VALUE, tags)


def _confidence_of(item: QueueItem) -> LesionConfidence | None:
    """How lesion confidence follows from probability and volume, by the model that a summary names."""
    model = summary_of(item).get("model")
    try:
        return LesionConfidence.of(model[FIELD]) if isinstance(model, dict) and FIELD in model else None
    except (ValueError, KeyError, TypeError):
        return None


def _read_probabilities(path: Path, grid: Volume) -> np.ndarray:
    """Class probabilities, float16, (4, K, J, I), of a NIfTI with the classes last, on the grid of its image."""
    import SimpleITK as sitk

    try:
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise UnreadableImageError(
            f"{path.name} cannot be read; the list of lesions shows no confidence.", "Segment the case again."
        ) from error
    if array.shape != (NUMBER_OF_CLASSES, *grid.array.shape):
        raise UnreadableImageError(
            f"{path.name} does not belong to the image; the list of lesions shows no confidence.",
            "Segment the case again.",
        )
    return array.astype(np.float16)
