"""One study of a follow-up: its FLAIR, its labels (the model's or a reader's) and their probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..errors import InputNotFoundError, InvalidGeometryError, UnsuitableMaskError, UnsupportedImageError
from ..files.summary_paths import absolute_source
from ..image.checks import check_volume
from ..image.footing import footed
from ..image.volume import Volume
from ..io.images import read_image
from ..io.label_maps import read_label_map
from ..io.label_meanings import LabelMapping
from ..labels import CLASSES, LESION, NUMBER_OF_CLASSES
from ..models.card import ModelCard
from ..models.in_use import Model
from ..progress import CancelToken
from ..segmentation.result import Segmentation


@dataclass(frozen=True)
class Study:
    """One time point.

    Attributes
    ----------
    volume : Volume
        FLAIR, float32 (K, J, I).
    labels : ndarray of uint8, shape (K, J, I)
        Classes 0..3 on the same grid.
    probabilities : ndarray of float, shape (4, K, J, I), or None
        The model's; None where the labels were given.
    card : ModelCard or None
        The model; None where the labels were given.
    given : bool
        Whether the labels came from outside (drawn, corrected or accepted by a reader) and no model was run.
    source : str
        The named input.
    date : str or None
        Date of the study, YYYY-MM-DD, where known.
    warnings : tuple of str
    added : int
        Lesions that this study alone does not show clearly, added to its labels because two studies show them together.
    input_sha256 : str
        :func:`flairseg.files.same_input.fingerprint` of the volume where names are pseudonyms: keyed.
    classes : frozenset of int
        Classes that the labels cover: those of the model, or of the label map. Others are unknown, not absent.
    patient : tuple of str
        Digests that set patients apart (:mod:`flairseg.dicom.patients`); empty where the image does not tell.
    """

    volume: Volume
    labels: np.ndarray
    probabilities: np.ndarray | None
    card: ModelCard | None
    given: bool
    source: str
    date: str | None = None
    warnings: tuple[str, ...] = ()
    added: int = 0
    input_sha256: str = ""
    classes: frozenset[int] = frozenset(c.value for c in CLASSES)
    patient: tuple[str, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.volume.name

    def volume_ml(self, value: int, voxels: int) -> float | None:
        """Volume in ml of a class with so many voxels; None if there are none and the class was not assessed."""
        if not voxels and value not in self.classes:
            return None
        return float(voxels) * self.volume.voxel_mm3 / 1000


@dataclass(frozen=True)
class OpenedStudy:
    """The FLAIR of a study that is to be segmented: what :func:`open_study` read."""

    volume: Volume
    source: str
    date: str | None = None
    patient: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class StudyInput:
    """One time point as it is given.

    Attributes
    ----------
    image : Volume, Segmentation, OpenedStudy or path
        A path is read as by :func:`flairseg.read_volume`; in a DICOM folder the FLAIR is found where pydicom is
        installed. A segmentation is taken as it is.
    labels : ndarray or path, optional
        Classes 0..3 on the volume's grid (K, J, I), or a file that
        :func:`flairseg.io.label_maps.read_label_map` reads: an accepted or corrected version, or
        another program's mask.
    mapping : LabelMapping, optional
        Meaning of a label file's values, if the file does not define it.
    date : str, optional
        YYYY-MM-DD; for a DICOM folder it is read from the headers.
    """

    image: Volume | Segmentation | OpenedStudy | str | Path
    labels: np.ndarray | str | Path | None = None
    mapping: LabelMapping | None = None
    date: str | None = None


def open_study(item: Volume | OpenedStudy | str | Path) -> OpenedStudy:
    """Read the FLAIR of a study; one that was read is returned as it is.

    Raises
    ------
    FlairSegError
        What reading raises.
    """
    if isinstance(item, OpenedStudy):
        return item
    if isinstance(item, Volume):
        return OpenedStudy(check_volume(item), item.name)
    volume, found, patient = _read(Path(item))
    return OpenedStudy(volume, absolute_source(item), found, patient)


def load_study(
    given: StudyInput,
    model: Model = None,
    device: str = "auto",
    progress: Callable[[float, str], None] | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> Study:
    """Load a study; the model runs only if no labels are given.

    Parameters
    ----------
    given : StudyInput
    model, device, progress, cancel
        As for :func:`flairseg.segment`.

    Returns
    -------
    Study

    Raises
    ------
    FlairSegError
        Errors of reading and segmenting, for label files as well; InvalidGeometryError or UnsupportedImageError for
        arrays that do not fit.
    """
    item, labels, date = given.image, given.labels, given.date
    if isinstance(item, Segmentation):
        probabilities = item.probabilities
        if probabilities is None and item.compact is not None:
            probabilities = item.compact.full_probabilities()
        if labels is None:
            return Study(
                item.volume, np.asarray(item.labels), probabilities, item.card, False, item.source, date,
                tuple(item.warnings), classes=frozenset(item.card.classes),
            )  # fmt: skip
        item = item.volume
    opened = open_study(item)
    volume, source, date = opened.volume, opened.source, date or opened.date
    if labels is not None:
        fitting, classes, told = _fitting_labels(labels, volume, given.mapping)
        volume = footed(volume)
        warnings = (*volume.warnings, *told)
        return Study(
            replace(volume, warnings=()), fitting, None, None, True, source, date, warnings, classes=classes,
            patient=opened.patient,
        )  # fmt: skip
    from ..segmentation.pipeline import segment

    done = segment(volume, model, device, progress, cancel)
    return Study(
        done.volume, done.labels, done.probabilities, done.card, False, source, date, tuple(done.warnings),
        classes=frozenset(done.card.classes), patient=opened.patient,
    )  # fmt: skip


def _read(path: Path) -> tuple[Volume, str | None, tuple[str, ...]]:
    """Volume and date of a study, and digests of its patient."""
    if find_spec("pydicom") is not None and path.is_dir():
        from ..dicom import read_flair

        try:
            read = read_flair(path)
        except InputNotFoundError:
            # A folder with other images gets the advice that fits.
            return read_image(path), None, ()
        return read.volume, read.source.study_date or None, () if read.found is None else read.found.series.patient
    return read_image(path), dicom_date(path), ()


def dicom_date(path: Path) -> str | None:
    """Date of a DICOM study from one header of its folder (tags StudyDate, then AcquisitionDate); None if unknown."""
    if not path.is_dir():
        return None
    import SimpleITK as sitk

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
    if not names:
        return None
    reader = sitk.ImageFileReader()
    reader.SetFileName(names[0])
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    for tag in ("0008|0020", "0008|0022"):
        text = reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""
        if len(text) == 8 and text.isdigit():
            return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return None


def _fitting_labels(
    labels: np.ndarray | str | Path, volume: Volume, mapping: LabelMapping | None
) -> tuple[np.ndarray, frozenset[int], tuple[str, ...]]:
    """Labels as uint8 in the volume's own voxel order, the classes that they cover, and remarks; or an error."""
    if not isinstance(labels, np.ndarray):
        found = read_label_map(labels, volume.geometry, mapping)
        if LESION not in found.classes:
            raise UnsuitableMaskError(
                f"{found.path.name} has no lesion class, so there is nothing to follow.",
                "Give a label map with the lesions, or state which of its values they are.",
                code="no-lesion-class",
                file=found.path.name,
            )
        return found.labels, found.classes, found.warnings
    if labels.shape != volume.array.shape:
        raise InvalidGeometryError(
            f"The labels have {labels.shape} voxels, the image {volume.array.shape} (slices, rows, columns).",
            "Give the labels of this study, on its own grid.",
        )
    values = np.unique(labels)
    if values.size and (values.min() < 0 or values.max() >= NUMBER_OF_CLASSES or (values % 1 != 0).any()):
        raise UnsupportedImageError(
            f"The given labels contain values other than 0 to {NUMBER_OF_CLASSES - 1}.",
            "Give a label map of FlairSeg (1 ventricles, 2 normal WMH, 3 lesions), not an image.",
        )
    return np.ascontiguousarray(labels, dtype=np.uint8), frozenset(c.value for c in CLASSES), ()
