"""Source series of a result, and those of its headers that new objects of the same study repeat."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidGeometryError, UnreadableImageError, UnsupportedImageError
from ..image.geometry import spacing_of
from .placing import is_rotated
from .scan import Frame, read_dataset
from .series import Series, Stack
from .text import bad_value, get, numbers, plain, quiet

if TYPE_CHECKING:
    from pydicom import Dataset

#: Attributes that a new object of a study inherits (DICOM PS3.3: Patient, General Study, Patient Study modules), with
#: the longest value of each. Names and numbers of the patient are the PACS's key to the study: they are repeated, not
#: shown.
_INHERITED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize",
    "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "StudyDescription", "ReferringPhysicianName",
)  # fmt: skip
#: Those that must be there, empty where they are unknown (type 2).
_REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_PATTERNS = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "DS": re.compile(r"[+-]?\d*\.?\d+([eE][+-]?\d+)?"),
    "CS": re.compile(r"[A-Z0-9_ ]{1,16}"),
    "UI": re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+"),
}
_LONGEST = {"SH": 16, "LO": 64, "PN": 64, "DS": 16}
_SEXES = ("M", "F", "O")


@dataclass(frozen=True)
class Source:
    """The frames that a volume was read from.

    Attributes
    ----------
    frames : tuple of Frame
        ``frames[k]`` is slice K of the volume.
    ijk_to_ras : ndarray, shape (4, 4)
        Affine of the volume, RAS mm.
    study_uid, series_uid, frame_of_reference_uid : str
    title : str
        Number and description of the series, for people.
    placed : bool
        Whether the headers give slice positions.
    joined : bool
        Whether its images have different UIDs of series or study.
    """

    frames: tuple[Frame, ...]
    ijk_to_ras: np.ndarray = field(repr=False)
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    title: str
    placed: bool = True
    joined: bool = False

    @classmethod
    def of(cls, series: Series, stack: Stack) -> Source:
        """The source of one stack of a series."""
        return cls(
            stack.frames, stack.ijk_to_ras, series.study_uid, series.uid, series.frame_of_reference_uid, series.title,
            stack.placed, len(series.uids) > 1 or series.studies > 1,
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along K, J, I."""
        return (len(self.frames), *self.frames[0].shape)

    @property
    def is_multiframe(self) -> bool:
        """Whether the frames are in one multi-frame file."""
        return self.frames[0].frames_in_file > 1

    def check(self) -> None:
        """Refuse a series that no DICOM object can refer to.

        Raises
        ------
        UnsupportedImageError
            If its UIDs are missing, invalid or not its slices' own, or it is spread over several multi-frame files.
        InvalidGeometryError
            If its slices have no positions, or are rotated against each other.
        """
        uids = [self.study_uid, self.series_uid, *(f.sop_instance_uid for f in self.frames)]
        if not all(_is_uid(uid) for uid in uids):
            raise UnsupportedImageError(
                f"The headers of {self.title} lack valid UIDs: no DICOM object can refer to it.",
                "Write no DICOM, or take the series from the PACS again.",
            )
        if not self.placed:
            raise InvalidGeometryError(
                f"The headers of {self.title} give no positions of its slices: no DICOM object can refer to it.",
                "Write no DICOM, or take the series from the PACS again.",
            )
        if not self.is_multiframe and len({f.sop_instance_uid for f in self.frames}) < len(self.frames):
            raise UnsupportedImageError(
                f"Different slices of {self.title} share one SOPInstanceUID: no DICOM object can refer to them.",
                "Write no DICOM, or take the series from the PACS again.",
                code="dicom-uid-shared",
            )
        if self.joined:
            raise UnsupportedImageError(
                f"The slices of {self.title} have different SeriesInstanceUIDs or StudyInstanceUIDs: no DICOM object "
                "can refer to them.",
                "Write no DICOM, or take the series from the PACS again.",
                code="dicom-series-broken-up",
            )
        if is_rotated(self.frames):
            raise InvalidGeometryError(
                f"The slices of {self.title} are rotated against each other: no DICOM object can represent them.",
                "Write no DICOM for this series.",
                code="dicom-slices-turned",
            )
        if self.is_multiframe and len({f.sop_instance_uid for f in self.frames}) > 1:
            raise UnsupportedImageError(
                f"{_upper(self.title)} is spread over several multi-frame files, which one DICOM object cannot follow.",
                "Write no DICOM for this series.",
            )

    @property
    def study_date(self) -> str:
        """Day of the study, ``2024-05-31``; empty where the header has none.

        Raises
        ------
        UnreadableImageError
            If the file can no longer be read.
        """
        with quiet():
            day = _clean(_header(self.frames[0]), "StudyDate")
        return f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else ""

    def in_series_order(self) -> list[int]:
        """Slices K in the order in which the series itself lists them: by instance number, or by frame."""
        return sorted(
            range(len(self.frames)),
            key=lambda k: (self.frames[k].instance_number or 0, self.frames[k].number, str(self.frames[k].path)),
        )

    def headers(self) -> list[Dataset]:
        """Headers to refer to, in series order: one per file, only what a derived object repeats, cleaned.

        Text is cut to what its VR allows, control characters are gone, and every text is UTF-8.

        Returns
        -------
        list of pydicom.Dataset
            Without pixel data. A multi-frame source gives one, reduced to the frames of this volume.

        Raises
        ------
        UnreadableImageError
            If a file can no longer be read.
        """
        self.check()
        if self.is_multiframe:
            return [self._multiframe_header()]
        order = self.in_series_order()
        with quiet():
            first = self._common(_header(self.frames[order[0]]))
            return [self._classic_header(self.frames[k], first) for k in order]

    def _common(self, header: Dataset) -> Dataset:
        """Attributes common to all objects of a study; missing ones are empty."""
        from pydicom import Dataset
        from pydicom.uid import generate_uid

        out = Dataset()
        out.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _INHERITED:
            value = _clean(header, keyword)
            if value or keyword in _REQUIRED:
                setattr(out, keyword, value)
        out.StudyInstanceUID, out.SeriesInstanceUID = self.study_uid, self.series_uid
        # A frame of reference is needed to place anything; where the series has none, nothing else can share this one.
        own = self.frame_of_reference_uid
        out.FrameOfReferenceUID = own if _is_uid(own) else generate_uid(None)
        out.PositionReferenceIndicator = ""
        out.Modality = _clean(header, "Modality") or "MR"
        out.Rows, out.Columns = self.frames[0].shape
        out.SamplesPerPixel, out.PhotometricInterpretation = 1, "MONOCHROME2"
        out.LossyImageCompression = _clean(header, "LossyImageCompression") or "00"
        if out.LossyImageCompression == "01":
            out.LossyImageCompressionRatio = numbers(header, "LossyImageCompressionRatio") or 1.0
            out.LossyImageCompressionMethod = _clean(header, "LossyImageCompressionMethod") or "ISO_10918_1"
        return out

    def _classic_header(self, frame: Frame, common: Dataset) -> Dataset:
        from copy import deepcopy

        out = deepcopy(common)
        out.SOPClassUID, out.SOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
        out.InstanceNumber = frame.instance_number
        out.ImagePositionPatient = [_decimal(x) for x in frame.position or ()]
        out.ImageOrientationPatient = [_decimal(x) for x in frame.orientation or ()]
        out.PixelSpacing = [_decimal(x) for x in frame.spacing or (1.0, 1.0)]
        out.SliceThickness = _decimal(frame.thickness or self._step())
        out.SpacingBetweenSlices = _decimal(self._step())
        return out

    def _multiframe_header(self) -> Dataset:
        from pydicom import Dataset
        from pydicom.sequence import Sequence

        with quiet():
            out = self._common(_header(self.frames[0]))
        first = self.frames[0]
        out.SOPClassUID, out.SOPInstanceUID = first.sop_class_uid, first.sop_instance_uid
        out.NumberOfFrames = len(self.frames)
        shared, measures, plane = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing = [_decimal(x) for x in first.spacing or (1.0, 1.0)]
        measures.SliceThickness = _decimal(first.thickness or self._step())
        measures.SpacingBetweenSlices = _decimal(self._step())
        plane.ImageOrientationPatient = [_decimal(x) for x in first.orientation or ()]
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
        out.SharedFunctionalGroupsSequence = Sequence([shared])
        groups = []
        for k in self.in_series_order():
            group, place = Dataset(), Dataset()
            place.ImagePositionPatient = [_decimal(x) for x in self.frames[k].position or ()]
            group.PlanePositionSequence = Sequence([place])
            groups.append(group)
        out.PerFrameFunctionalGroupsSequence = Sequence(groups)
        return out

    def _step(self) -> float:
        return spacing_of(self.ijk_to_ras)[2]


def _header(frame: Frame) -> Dataset:
    try:
        return read_dataset(frame.path, (*_INHERITED, "SpecificCharacterSet", "Modality", *_LOSSY), force=True)
    except bad_value() as error:
        raise UnreadableImageError(
            f"{frame.path.name} can no longer be read.", "Do not move the series while a command runs."
        ) from error


_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def _clean(header: Dataset, keyword: str) -> str:
    """An attribute as its VR allows it; empty where it cannot be corrected."""
    from pydicom.datadict import dictionary_VR

    value = get(header, keyword)
    if value is None:
        return ""
    try:
        words = str(value)
    except bad_value():
        return ""
    vr = dictionary_VR(keyword)
    if vr == "PN":
        # Alphabetic, ideographic and phonetic group; a backslash would start a second name.
        groups = [plain(group.replace("\\", " "), _LONGEST[vr]) for group in words.split("=")[:3]]
        return "=".join(group.removesuffix("…") for group in groups).rstrip("=")
    words = plain(words.replace("\\", " "), _LONGEST.get(vr, 64)).removesuffix("…")
    if keyword == "PatientSex" and words not in _SEXES:
        return ""
    if vr in ("DA", "TM"):
        return valid_date(words) if vr == "DA" else valid_time(words)
    return words if vr not in _PATTERNS or _PATTERNS[vr].fullmatch(words) else ""


def valid_date(words: str) -> str:
    """A DICOM date (DA); empty for what is no day of the calendar. ``2024.05.31`` of ACR-NEMA becomes ``20240531``."""
    match = re.fullmatch(r"(\d{4})([.-]?)(\d{2})\2(\d{2})", words)
    if match is None:
        return ""
    year, _, month, day = match.groups()
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return ""
    return year + month + day


def valid_time(words: str) -> str:
    """A DICOM time (TM); empty for what is no time of the day. ``10:11:12`` of ACR-NEMA becomes ``101112``."""
    match = re.fullmatch(r"(\d{2})(?:(:?)(\d{2})(?:\2(\d{2})(\.\d{1,6})?)?)?", words)
    if match is None:
        return ""
    hour, _, minute, second, fraction = match.groups(default="")
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 59:
        return ""
    return hour + minute + second + fraction


def _is_uid(uid: str) -> bool:
    return len(uid) <= 64 and _PATTERNS["UI"].fullmatch(uid) is not None


def _decimal(value: float) -> str:
    """A number as a decimal string of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
