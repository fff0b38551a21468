"""DICOM images of a folder tree: every file's header is read once, without its pixels.

Classic files (one slice each) and enhanced ones (all slices in one, DICOM PS3.3 C.7.6.16) come out alike: as
:class:`Frame` s. Nothing that identifies a patient is kept: :mod:`.patients` compares digests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.dicom_marks import has_dicom_mark
from . import text as header_text
from .gdcm import GdcmHeader, has_pydicom
from .patients import EXAMINATION, PATIENT, digests
from .stack import is_orientation

if TYPE_CHECKING:
    from pydicom import Dataset

    from .text import Header

#: Attributes read from a header.
KEYWORDS = (
    *PATIENT, *EXAMINATION,
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "SeriesNumber", "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "ImageType",
    "ScanningSequence", "SequenceVariant", "MRAcquisitionType", "AcquisitionContrast", "RepetitionTime", "EchoTime",
    "InversionTime", "EchoNumbers", "ContrastBolusAgent", "ContrastBolusAgentSequence", "Manufacturer",
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue",
    "ImagesInAcquisition", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "BurnedInAnnotation", "LossyImageCompression",
)  # fmt: skip
#: Attributes that distinguish sequences, as :class:`flairseg.image.flair_selection.Candidate` takes them.
TELLING = (
    "Modality", "SeriesDescription", "ProtocolName", "SequenceName", "ImageType", "ScanningSequence",
    "SequenceVariant", "MRAcquisitionType", "AcquisitionContrast", "RepetitionTime", "InversionTime",
    "ContrastBolusAgent", "Manufacturer", "PhotometricInterpretation", "BurnedInAnnotation", "LossyImageCompression",
)  # fmt: skip
#: Values above this (bytes) are left in the file; no entry that is read here is so long.
LARGEST_VALUE = 1 << 20
#: Storage classes that are no images although their series is among images.
DIRECTORY = "1.2.840.10008.1.3.10"
#: Secondary capture, and its multi-frame forms (DICOM PS3.4, B.5).
CAPTURES = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class Frame:
    """One slice: a classic file, or one frame of a multi-frame file.

    Attributes
    ----------
    path : Path
        Its file.
    number : int
        Frame of the file, from 0.
    frames_in_file : int
        1 for classic files.
    sop_class_uid, sop_instance_uid : str
        Of the file.
    instance_number : int or None
        InstanceNumber of the file.
    position, orientation : tuple of float or None
        ImagePositionPatient (mm, LPS) and ImageOrientationPatient.
    shape : tuple of int
        Rows, columns.
    spacing : tuple of float or None
        Between rows, between columns, mm.
    thickness, between : float or None
        SliceThickness and SpacingBetweenSlices, mm.
    echo_time, b_value : float or None
        Effective echo time in ms; diffusion weighting in s/mm2.
    traits : tuple of str
        Attributes that distinguish frames at the same position, in the order of :data:`TRAITS`; empty where unknown.
    samples : int
        Values per pixel: 3 for colour.
    role : str
        ``capture`` (secondary capture, screen save, colour), ``localizer`` (also projections); empty for an image of a
        volume.
    """

    path: Path
    number: int
    frames_in_file: int
    sop_class_uid: str
    sop_instance_uid: str
    instance_number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    shape: tuple[int, int]
    spacing: tuple[float, ...] | None
    thickness: float | None
    between: float | None
    echo_time: float | None
    b_value: float | None
    traits: tuple[str, ...]
    header: Mapping[str, str] = field(repr=False, compare=False)
    samples: int = 1
    role: str = ""


#: What may tell frames of the same place apart, most telling first. ``image type`` is ORIGINAL or DERIVED,
#: ``processing`` the whole of ImageType.
TRAITS = (
    "component", "image type", "stack", "echo", "b-value", "time point", "acquisition", "file", "trigger time",
    "processing",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """One image file.

    Attributes
    ----------
    path : Path
    study_uid, series_uid, frame_of_reference_uid : str
        Empty where absent.
    series_number : int or None
    samples : int
        Values per pixel: 3 for colour.
    expected : int or None
        Number of images of the acquisition by the header.
    frames : tuple of Frame
    header : mapping of str to str
        Attributes that distinguish sequences, by the keys of :data:`TELLING`.
    patient, examination : tuple of str
        Digests of :data:`.patients.PATIENT` and :data:`.patients.EXAMINATION`.
    """

    path: Path
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    series_number: int | None
    samples: int
    expected: int | None
    frames: tuple[Frame, ...]
    header: Mapping[str, str] = field(repr=False)
    patient: tuple[str, ...] = field(default=("",) * len(PATIENT), repr=False)
    examination: tuple[str, ...] = field(default=("",) * len(EXAMINATION), repr=False)


@dataclass
class Scan:
    """Content of a tree.

    Attributes
    ----------
    images : list of Image
    damaged : list of Path
        Files marked as DICOM that cannot be read.
    """

    images: list[Image] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)


def scan(root: Path | Sequence[Path], step: Callable[[float], None] | None = None) -> Scan:
    """Read the header of every file below a folder; links to folders are not followed.

    Parameters
    ----------
    root : Path or sequence of Path
        A folder, a file, or several of them.
    step : callable, optional
        Called with the fraction done; may raise to cancel.

    Returns
    -------
    Scan
    """
    files = [file for one in ([root] if isinstance(root, Path) else root) for file in _files(one)]
    found = Scan()
    with header_text.quiet():
        for done, path in enumerate(files):
            if step is not None:
                step(done / len(files))
            kind = _kind(path)
            if kind is None:
                continue
            try:
                data = read_header(path, KEYWORDS, force=kind == "bare")
                image = _image(path, data)
                other = image is None and _is_other_object(data)
            except header_text.bad_value():
                # Files without a preamble only look like DICOM: what cannot be read of them is something else.
                found.damaged += [path] if kind == "marked" else []
                continue
            if image is not None:
                found.images.append(image)
            elif kind == "marked" and not other:
                found.damaged.append(path)
    return found


def read_header(path: Path, keywords: tuple[str, ...] | None = None, force: bool = False) -> Header:
    """A file's header without its pixels, by pydicom (else GDCM); all of it, or the named attributes."""
    return read_dataset(path, keywords, force) if has_pydicom() else GdcmHeader(path)


def read_dataset(path: Path, keywords: tuple[str, ...] | None = None, force: bool = False) -> Dataset:
    """As :func:`read_header`, by pydicom."""
    import pydicom

    return pydicom.dcmread(
        path,
        stop_before_pixels=True,
        specific_tags=list(keywords) if keywords else None,
        defer_size=LARGEST_VALUE,
        force=force,
    )


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                yield path


def _kind(path: Path) -> str | None:
    """``marked`` as DICOM by its preamble, ``bare`` if it starts like a data set without one, else None."""
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return None
    if has_dicom_mark(head):
        return "marked"
    if len(head) < 16 or head[:2] not in (b"\x08\x00", b"\x02\x00"):
        return None
    # Group 0008 or 0002, a low element number, then a known VR or a short length.
    explicit = head[4:6] in (b"UL", b"CS", b"UI", b"DA", b"TM", b"OB", b"SH", b"LO")
    return "bare" if head[3] == 0 and (explicit or head[6:8] == b"\0\0") else None


def _media_class(data: Header) -> str:
    return header_text.text(getattr(data, "file_meta", None), "MediaStorageSOPClassUID")


def _is_other_object(data: Header) -> bool:
    """Whether a data set without pixels is meant to have none; an image's that lacks them was cut short."""
    if not has_pydicom():
        return False
    from pydicom.uid import UID

    if _media_class(data) == DIRECTORY:
        return True
    name = UID(header_text.text(data, "SOPClassUID")).name
    return bool(header_text.text(data, "SOPInstanceUID")) and "Image Storage" not in name


def _image(path: Path, data: Header) -> Image | None:
    """The image in a file; None for what has no pixels."""
    rows, columns = header_text.number(data, "Rows"), header_text.number(data, "Columns")
    if not rows or not columns or _media_class(data) == DIRECTORY:
        return None
    shared = header_text.item(data, "SharedFunctionalGroupsSequence")
    per_frame: Sequence[Dataset] = header_text.get(data, "PerFrameFunctionalGroupsSequence") or ()
    count = max(1, int(header_text.number(data, "NumberOfFrames") or 1), len(per_frame))
    header = _telling(data, shared, per_frame[0] if len(per_frame) else None)
    samples = int(header_text.number(data, "SamplesPerPixel") or 1)
    whole = _File(path, data, shared, count, (int(rows), int(columns)), header, samples)
    frames = tuple(_frame(whole, number, groups) for number, groups in enumerate(per_frame or [None] * count))
    expected = header_text.number(data, "ImagesInAcquisition")
    series_number = header_text.number(data, "SeriesNumber")
    return Image(
        path,
        header_text.text(data, "StudyInstanceUID"),
        header_text.text(data, "SeriesInstanceUID"),
        header_text.text(data, "FrameOfReferenceUID"),
        None if series_number is None else int(series_number),
        samples,
        None if expected is None else int(expected),
        frames,
        header,
        digests(data, PATIENT),
        digests(data, EXAMINATION),
    )


def _telling(data: Header, shared: Dataset | None, first: Dataset | None) -> dict[str, str]:
    """Attributes that distinguish sequences, from the root or the functional groups of the first frame."""
    out = {keyword: header_text.text(data, keyword) for keyword in TELLING}
    out["SequenceName"] = out["SequenceName"] or header_text.text(data, "PulseSequenceName")
    if not out["ContrastBolusAgent"] and header_text.item(data, "ContrastBolusAgentSequence") is not None:
        out["ContrastBolusAgent"] = "given"
    timing = _group("MRTimingAndRelatedParametersSequence", first, shared)
    out["RepetitionTime"] = out["RepetitionTime"] or header_text.text(timing, "RepetitionTime")
    modifier = _group("MRModifierSequence", first, shared)
    if header_text.text(modifier, "InversionRecovery") == "YES":
        out["ScanningSequence"] = out["ScanningSequence"] or "IR"
        out["InversionTime"] = out["InversionTime"] or header_text.text(modifier, "InversionTimes")
    kind = _group("MRImageFrameTypeSequence", first, shared)
    out["ImageType"] = out["ImageType"] or header_text.text(kind, "FrameType")
    out["AcquisitionContrast"] = out["AcquisitionContrast"] or header_text.text(kind, "AcquisitionContrast")
    return {key: value for key, value in out.items() if value}


def _group(keyword: str, *places: Header | None) -> Dataset | None:
    """First item of a functional group: of the frame if it has one, else what all frames share."""
    return next((found for place in places if (found := header_text.item(place, keyword)) is not None), None)


@dataclass(frozen=True)
class _File:
    """Attributes shared by the frames of a file."""

    path: Path
    data: Header
    shared: Dataset | None
    count: int
    shape: tuple[int, int]
    header: Mapping[str, str]
    samples: int


def _frame(whole: _File, number: int, groups: Dataset | None) -> Frame:
    path, data, shared, count = whole.path, whole.data, whole.shared, whole.count

    def place(keyword: str, sequence: str, size: int) -> tuple[float, ...] | None:
        found = header_text.numbers(_group(sequence, groups, shared), keyword, size)
        # The root of a multi-frame file places no single frame of it.
        return found if found is not None or count > 1 else header_text.numbers(data, keyword, size)

    def one(keyword: str, sequence: str) -> float | None:
        found = header_text.number(_group(sequence, groups, shared), keyword)
        return found if found is not None else header_text.number(data, keyword)

    measures = _group("PixelMeasuresSequence", groups, shared)
    spacing = header_text.numbers(measures, "PixelSpacing", 2) or header_text.numbers(data, "PixelSpacing", 2)
    orientation = place("ImageOrientationPatient", "PlaneOrientationSequence", 6)
    if orientation is not None and not is_orientation(orientation):
        orientation = None
    echo = header_text.number(_group("MREchoSequence", groups, shared), "EffectiveEchoTime")
    echo = echo if echo is not None else header_text.number(data, "EchoTime")
    b_value = one("DiffusionBValue", "MRDiffusionSequence")
    content = _group("FrameContentSequence", groups, shared)
    kind = _group("MRImageFrameTypeSequence", groups, shared)
    words = (header_text.text(kind, "FrameType") or header_text.text(data, "ImageType")).upper()
    sop_class = header_text.text(data, "SOPClassUID")
    instance = header_text.number(data, "InstanceNumber")
    return Frame(
        path,
        number,
        count,
        sop_class,
        header_text.text(data, "SOPInstanceUID"),
        None if instance is None else int(instance),
        place("ImagePositionPatient", "PlanePositionSequence", 3),
        orientation,
        whole.shape,
        spacing,
        header_text.number(measures, "SliceThickness") or header_text.number(data, "SliceThickness"),
        header_text.number(measures, "SpacingBetweenSlices") or header_text.number(data, "SpacingBetweenSlices"),
        echo,
        b_value,
        (
            _component(kind, words),
            words.split("\\")[0],
            header_text.text(content, "StackID"),
            header_text.text(data, "EchoNumbers") or ("" if echo is None else f"{echo:g}"),
            "" if b_value is None else f"{b_value:g}",
            header_text.text(content, "TemporalPositionIndex") or header_text.text(data, "TemporalPositionIdentifier"),
            header_text.text(content, "FrameAcquisitionNumber") or header_text.text(data, "AcquisitionNumber"),
            str(path) if count > 1 else "",
            header_text.text(data, "TriggerTime"),
            words,
        ),
        whole.header,
        whole.samples,
        _role(sop_class, words, whole.samples),
    )


def _role(sop_class: str, words: str, samples: int) -> str:
    """``capture``, ``localizer`` or empty, from the storage class, ImageType and values per pixel."""
    kinds = words.split("\\")
    if sop_class == CAPTURES or sop_class.startswith(f"{CAPTURES}.") or samples != 1 or "SCREEN SAVE" in words:
        return "capture"
    return "localizer" if "LOCALIZER" in kinds or "PROJECTION IMAGE" in kinds else ""


def _component(kind: Dataset | None, words: str) -> str:
    """Magnitude, phase, real or imaginary part, from the standard's ComplexImageComponent or vendor attributes."""
    component = header_text.text(kind, "ComplexImageComponent")
    if component:
        return component
    names = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}
    return next((names.get(w, w) for w in words.split("\\")[2:] if w in names or w in names.values()), "")
