"""A case's DICOM objects, all or none: SEG, SR and, where a report can be made, its PDF."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..dicom.find import directory_of, listed
from ..dicom.grid import onto
from ..dicom.making import Algorithm, finished, require_writers, save
from ..dicom.pdf import make_pdf
from ..dicom.seg import make_seg
from ..dicom.series import list_series
from ..dicom.source import Source
from ..dicom.sr import CaseMeasurements, LesionMeasurements, make_sr
from ..errors import FlairSegError, InvalidGeometryError, NoFlairError, OutputError
from ..files.atomic import all_or_none
from ..files.same_input import check_new_results
from ..image.geometry import voxel_volume_of
from ..labels import CLASS_BY_VALUE, NUMBER_OF_CLASSES, assessed_classes

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..anatomy.lesion_table import LesionRow
    from ..privacy.pseudonyms import Pseudonymiser
    from .result import Segmentation

#: Ending of each object's file. DICOM defines none; viewers expect it.
ENDINGS = {"seg": "_seg.dcm", "sr": "_sr.dcm", "pdf": "_report.dcm"}


@dataclass(frozen=True)
class DicomTarget:
    """Destination of the DICOM objects of a case.

    Attributes
    ----------
    folder : Path
        Created if need be.
    stem : str
        Safe name of the case, from :func:`flairseg.files.names.name_inputs`.
    overwrite : bool
        Replace what exists of this stem.
    pseudonymiser : Pseudonymiser, optional
        Cleans every object in the same way, so that they still refer to each other.
    """

    folder: Path
    stem: str
    overwrite: bool = False
    pseudonymiser: Pseudonymiser | None = None


def check_dicom_destination(folder: str | Path, stem: str, overwrite: bool = False) -> None:
    """Raise an error, before any work is done, if the output could not be written.

    Raises
    ------
    OutputError
        If objects of that stem exist and may not be replaced, or the folder cannot be written to.
    MissingDependencyError
        If pydicom or highdicom is not installed.
    """
    require_writers()
    names = [f"{stem}{ending}" for ending in ENDINGS.values()]
    check_new_results(folder, names, f"DICOM results of {stem}", overwrite)


def write_results(
    segmentation: Segmentation,
    source: Source,
    target: DicomTarget,
    pdf: bytes | str | Path | None = None,
) -> dict[str, Path]:
    """Write ``<stem>_seg.dcm``, ``<stem>_sr.dcm`` and, with a PDF, ``<stem>_report.dcm``, all or none.

    Parameters
    ----------
    segmentation : Segmentation
        On the grid of ``source``.
    source : Source
        The series that it was made from (:attr:`DicomVolume.source`).
    target : DicomTarget
    pdf : bytes or path, optional
        The report.

    Returns
    -------
    dict of str to Path
        ``seg``, ``sr`` and perhaps ``pdf``.

    Raises
    ------
    OutputError
        If the files exist or cannot be written.
    FlairSegError
        As for :func:`make_seg`, :func:`make_sr` and :func:`make_pdf`.
    """
    check_dicom_destination(target.folder, target.stem, target.overwrite)
    volumes = {
        CLASS_BY_VALUE[value].id: round(ml, 4)
        for value, ml in segmentation.known_volumes_ml().items()
        if ml is not None
    }
    measurements = CaseMeasurements(volumes, lesion_measurements(segmentation.lesion_rows()))
    algorithm = Algorithm.of(segmentation.card)
    seg = make_seg(segmentation.labels, source, algorithm, segmentation.volume.ijk_to_ras)
    return _put(_objects(seg, source, measurements, algorithm, pdf), target)


def export_labels(
    labels: np.ndarray,
    ijk_to_ras: np.ndarray,
    files: str | Path | Sequence[str | Path],
    target: DicomTarget,
    algorithm: Algorithm,
    lesions: Sequence[LesionMeasurements] | None = None,
    pdf: bytes | str | Path | None = None,
) -> dict[str, Path]:
    """Labels of any origin (Slicer's editor, a NIfTI file) as DICOM objects of the series that they were drawn on.

    Parameters
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    ijk_to_ras : ndarray, shape (4, 4)
        Their affine, RAS mm. The axes may run otherwise than in the DICOM files; the voxels must be the same.
    files : path or sequence of path
        The source's folder (other series may be in it), or its files.
    target : DicomTarget
    algorithm : Algorithm
        Origin of the labels; ``kind`` states whether a reader corrected them. Classes that it does not look for and
        that have no voxel are left out of the measurements.
    lesions : sequence of LesionMeasurements, optional
        Default: number, volume, centre and distance to the ventricles, from the labels.
    pdf : bytes or path, optional
        The report.

    Returns
    -------
    dict of str to Path
        ``seg``, ``sr`` and perhaps ``pdf``.

    Raises
    ------
    InvalidGeometryError
        If no series in ``files`` has these voxels.
    NoFlairError
        If there is no DICOM image at all.
    OutputError
        If the files exist or cannot be written.
    """
    check_dicom_destination(target.folder, target.stem, target.overwrite)
    labels = np.asarray(labels, dtype=np.uint8)
    source, labels = source_of(labels, ijk_to_ras, files)
    voxel_ml = voxel_volume_of(source.ijk_to_ras) / 1000
    voxels = np.bincount(labels.ravel(), minlength=NUMBER_OF_CLASSES)
    volumes = {c.id: int(voxels[c.value]) * voxel_ml for c in assessed_classes(voxels, algorithm.classes)}
    rows = _lesions(labels, source) if lesions is None else tuple(lesions)
    seg = make_seg(labels, source, algorithm)
    return _put(_objects(seg, source, CaseMeasurements(volumes, rows), algorithm, pdf), target)


def _objects(
    seg: Dataset,
    source: Source,
    measurements: CaseMeasurements,
    algorithm: Algorithm,
    pdf: bytes | str | Path | None,
) -> dict[str, Dataset]:
    objects = {"seg": seg, "sr": make_sr(seg, source, measurements, algorithm)}
    if pdf is not None:
        objects["pdf"] = make_pdf(pdf, source, based_on=list(objects.values()))
    return objects


def source_of(
    labels: np.ndarray, ijk_to_ras: np.ndarray, files: str | Path | Sequence[str | Path]
) -> tuple[Source, np.ndarray]:
    """The series whose voxels labels were drawn on, and the labels in its order.

    Parameters
    ----------
    labels : ndarray, shape (K, J, I)
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the labels, RAS mm.
    files : path or sequence of path
        A folder, a DICOMDIR, or files.

    Returns
    -------
    source : Source
        Of several series with these voxels the one that most looks like a FLAIR by its headers.
    labels : ndarray, shape (K, J, I)
        In the order of ``source.frames``.

    Raises
    ------
    InvalidGeometryError
        If no series has these voxels.
    NoFlairError
        If there is no DICOM image at all.
    MissingDependencyError
        If pydicom is not installed.
    """
    require_writers()
    found, _ = list_series(directory_of(files) if isinstance(files, str | Path) else files)
    if not found:
        raise NoFlairError("The source contains no DICOM image.", "Name the source's folder.")
    fitting = []
    problem: FlairSegError | None = None
    for series in found:
        for stack in series.stacks:
            if stack.problem is not None or not stack.placed:
                continue
            try:
                turned = onto(labels, ijk_to_ras, stack.shape, stack.ijk_to_ras)
            except InvalidGeometryError as error:
                problem = error
                continue
            fitting.append((listed(series, stack).verdict.score, Source.of(series, stack), turned))
    if not fitting:
        raise problem or InvalidGeometryError("No series there forms a volume.", "Name the source's folder.")
    _, source, turned = max(fitting, key=lambda entry: entry[0])
    return source, turned


def lesion_measurements(rows: Iterable[LesionRow]) -> tuple[LesionMeasurements, ...]:
    """Measurements of the rows of a lesion table, with the decimals of ``summary.json``."""
    return tuple(
        LesionMeasurements(
            row.number,
            row.volume_mm3,
            row.diameter_mm,
            row.centre_ras_mm,
            row.ventricle_distance_mm,
            row.confidence if row.mean_probability is None else row.mean_probability,
            row.peak_probability,
            row.parts,
            row.region,
            None if row.mean_probability is None else row.confidence,
        )
        for row in (row.rounded() for row in rows)
    )


def _lesions(labels: np.ndarray, source: Source) -> tuple[LesionMeasurements, ...]:
    """The lesions as far as the labels alone tell."""
    from ..lesions.components import find_lesions

    return tuple(
        LesionMeasurements(
            lesion.number,
            1000 * lesion.volume_ml,
            centre_ras_mm=lesion.centre_ras,
            ventricle_distance_mm=lesion.ventricle_distance_mm,
        )
        for lesion in find_lesions(labels, source.ijk_to_ras, None).lesions
    )


def _put(objects: Mapping[str, Dataset], target: DicomTarget) -> dict[str, Path]:
    folder, stem = Path(target.folder), target.stem
    names = {name: f"{stem}{ENDINGS[name]}" for name in objects}
    objects = {name: finished(data, target.pseudonymiser) for name, data in objects.items()}
    for name, data in objects.items():
        _refuse_other_series(folder / names[name], data, stem)
    with all_or_none(folder, names.values(), [f"{stem}{e}" for e in ENDINGS.values()]) as temporary:
        for name, data in objects.items():
            save(data, temporary / names[name])
    return {name: folder / file for name, file in names.items()}


def _refuse_other_series(path: Path, made: Dataset, stem: str) -> None:
    """Refuse to replace an object of another study, or one that refers to another series of it."""
    import pydicom

    if not path.is_file():
        return
    try:
        tags = ["StudyInstanceUID", "ReferencedSeriesSequence"]
        there = _source_uids(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags))
    except (OSError, ValueError, AttributeError, pydicom.errors.InvalidDicomError):
        there = []
    if there != _source_uids(made):
        raise OutputError(
            f"The DICOM results of {stem} in {path.parent} belong to another study or series.",
            "They were kept. Choose another folder, or give this case another name.",
            code="other-input", stem=stem, folder=str(path.parent),
        )  # fmt: skip


def _source_uids(data: Dataset) -> list[str]:
    """UIDs of the study, and of the series that an object refers to."""
    series = data.get("ReferencedSeriesSequence") or ()
    return [str(data.StudyInstanceUID), *(str(one.SeriesInstanceUID) for one in series)]
