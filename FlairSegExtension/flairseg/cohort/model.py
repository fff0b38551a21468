"""Data model of a cohort: sessions found, a row for each processed one, changes between them.

Rows are plain values: they travel between processes, are kept as one JSON file each, and become the lines of
``cohort.csv``. Volumes are in ml, lengths in mm, times in seconds; a value that is not known is None, never 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..anatomy.regions import REGIONS
from ..errors import CaseWarning, FlairSegError, warnings_as_dicts, warnings_from
from ..image.geometry import triple
from ..labels import CLASS_BY_VALUE, CLASSES, LESION

#: Source of a session.
BIDS, FOLDERS, TABLE, DICOM, ORTHANC = "bids", "folders", "table", "dicom", "orthanc"
SOURCE_KINDS = (BIDS, FOLDERS, TABLE, DICOM, ORTHANC)

#: Status of a session. A quarantined one ended the process that worked on it, twice.
DONE, FAILED, QUARANTINED, NO_FLAIR = "done", "failed", "quarantined", "no-flair"
STATUSES = (DONE, FAILED, QUARANTINED, NO_FLAIR)


@dataclass(frozen=True)
class Session:
    """One session of one subject in the source, with the image that was chosen.

    Attributes
    ----------
    subject, session : str
        BIDS labels (letters and digits) without ``sub-`` and ``ses-``; ``session`` is empty where a subject has one
        only and the source names none. Before :func:`flairseg.cohort.bids_labels.distinct`, ``subject`` is the name
        that the source has.
    path : str
        Absolute path of the image file or DICOM folder; empty where no FLAIR was found.
    kind : str
        One of :data:`SOURCE_KINDS`.
    reason : str
        Reason for this image, or for none: one sentence.
    site, group, sex : str
        Empty where not known.
    age : float or None
        Years.
    date : str
        Of the acquisition, ISO 8601; empty where not known.
    series_uid : str
        Of the DICOM series that was chosen.
    files : tuple of str
        Files of that series relative to ``path``, where the folder holds other files too.
    """

    subject: str
    session: str
    path: str
    kind: str
    reason: str
    site: str = ""
    group: str = ""
    age: float | None = None
    sex: str = ""
    date: str = ""
    series_uid: str = ""
    files: tuple[str, ...] = ()

    @property
    def case(self) -> str:
        """Name of the case and begin of its files' names: ``sub-01_ses-2``."""
        return "_".join(part for part in (f"sub-{self.subject}", self.session and f"ses-{self.session}") if part)

    @property
    def has_flair(self) -> bool:
        """Whether there is an image to segment."""
        return bool(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for a worker."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Session:
        """Rebuild from the output of :meth:`to_dict`; unknown keys are left out."""
        return cls(**_known(cls, values) | {"files": tuple(values.get("files", ()))})


@dataclass(frozen=True)
class Grid:
    """Voxels along K, J, I and their size in mm along I, J, K."""

    shape_kji: tuple[int, ...]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> Grid | None:
        """From ``grid`` of a row; None where it is empty."""
        return cls(tuple(content.get("shape_kji", ())), triple(content["spacing_mm"])) if content else None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"shape_kji": list(self.shape_kji), "spacing_mm": list(self.spacing_mm)}


@dataclass(frozen=True)
class LesionRecord:
    """One row of ``lesions.parquet``: a lesion with the case that it belongs to; its fields are the columns.

    Values are those of :meth:`flairseg.anatomy.lesion_table.LesionRow.as_dict`; slices count from 1. None: the row, of
    an earlier version, does not have it.
    """

    case: str
    subject: str
    session: str
    number: int | None = None
    region: str | None = None
    volume_mm3: float | None = None
    volume_ml: float | None = None
    diameter_mm: float | None = None
    parts: int | None = None
    first_slice: int | None = None
    last_slice: int | None = None
    centre_r_mm: float | None = None
    centre_a_mm: float | None = None
    centre_s_mm: float | None = None
    ventricle_distance_mm: float | None = None
    confidence: float | None = None
    peak_probability: float | None = None
    disagreement: float | None = None
    mean_probability: float | None = None

    @classmethod
    def from_json(cls, session: Session, lesion: Mapping[str, Any]) -> LesionRecord:
        """From an entry of ``lesions`` in the row of a session; unknown keys are left out."""
        values = _known(cls, lesion)
        values |= dict(zip(("first_slice", "last_slice"), lesion.get("slices", (None, None)), strict=True))
        centre = lesion.get("centre_ras_mm", (None,) * 3)
        values |= dict(zip(("centre_r_mm", "centre_a_mm", "centre_s_mm"), centre, strict=True))
        return cls(**values | {"case": session.case, "subject": session.subject, "session": session.session})


@dataclass(frozen=True)
class SessionRow:
    """Result of one session: one row of ``cohort.csv``.

    Attributes
    ----------
    session : Session
        The session; under pseudonyms already.
    status : str
        One of :data:`STATUSES`.
    code, message, advice : str
        Of the error, where there is no result.
    volumes_ml : dict of str to (float or None)
        By class id; None for a class that the model does not know.
    lesion_count, lesion_parts : int or None
        ``lesion_parts``: confluent lesions counted by their parts.
    regions : dict of str to dict
        ``{region: {"count": n, "volume_ml": v}}``; empty where regions were not computed.
    largest_lesion_ml : float or None
    expected_correction_ml : float or None
        :func:`flairseg.cohort.case.expected_correction_ml`: how uncertain the model is, the order of the review queue.
    regions_with_lesions : int or None
        Of the three regions of the McDonald criteria that a brain FLAIR shows
        (:func:`flairseg.anatomy.dissemination.dissemination`); None where regions were not computed.
    warnings : tuple of CaseWarning
        Of image and result, with codes.
    trusted : bool
        False if a warning means that the result cannot be trusted
        (:func:`flairseg.segmentation.warning_codes.untrusted`).
    quality : dict of str to (float or None)
        Image quality before segmentation, by measure.
    below_bar : tuple of str
        Measures of ``quality`` that are below the stated bar; such cases are marked, not dropped.
    seconds : dict of str to float
        By stage and ``total``.
    model, software : dict of str to str
        ``id``, ``version``, ``sha256``; versions by package.
    grid : Grid or None
    input_sha256 : str
        Of voxels and affine (:func:`flairseg.files.same_input.fingerprint`).
    file_sha256, file_stamp : str
        Of the input's bytes; of its files' names, sizes and times, as a shortcut. Keyed under pseudonyms.
    options_sha256 : str
        Of the options that change results.
    files : dict of str to str
        Results by what they are (``dseg``, ``lesion_mask``, ``summary``, ``overview``, ``key_slice``, ``lesions``),
        relative to the output folder, with forward slashes.
    attempts : int
        Number of attempts.
    finished : str
        UTC time, ISO 8601.
    verdict, reader : str
        A reader's verdict in FLAIR Review, once read back; empty before.
    """

    session: Session
    status: str
    code: str = ""
    message: str = ""
    advice: str = ""
    volumes_ml: Mapping[str, float | None] = field(default_factory=dict)
    lesion_count: int | None = None
    lesion_parts: int | None = None
    regions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    largest_lesion_ml: float | None = None
    expected_correction_ml: float | None = None
    regions_with_lesions: int | None = None
    warnings: tuple[CaseWarning, ...] = ()
    trusted: bool = True
    quality: Mapping[str, float | None] = field(default_factory=dict)
    below_bar: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    grid: Grid | None = None
    input_sha256: str = ""
    file_sha256: str = ""
    file_stamp: str = ""
    options_sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    finished: str = ""
    verdict: str = ""
    reader: str = ""

    @property
    def case(self) -> str:
        """The session's :attr:`Session.case`."""
        return self.session.case

    @property
    def lesion_ml(self) -> float | None:
        """Volume of the lesions."""
        return self.volumes_ml.get(CLASS_BY_VALUE[LESION].id)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {
            "session": self.session.to_dict(),
            "warnings": warnings_as_dicts(self.warnings),
            "below_bar": list(self.below_bar),
            "grid": {} if self.grid is None else self.grid.to_json(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SessionRow:
        """Rebuild from the output of :meth:`to_dict`; unknown keys are left out."""
        known = _known(cls, values)
        return cls(
            **known
            | {
                "session": Session.from_dict(values["session"]),
                "warnings": warnings_from(values.get("warnings")),
                "below_bar": tuple(values.get("below_bar", ())),
                "grid": Grid.from_json(values.get("grid")),
            }
        )

    def flat(self) -> dict[str, Any]:
        """One line of ``cohort.csv``: single values by column, those of :data:`COLUMNS` and ``quality_*``."""
        said = self.session
        values: dict[str, Any] = {
            "case": self.case, "subject": said.subject, "session": said.session, "site": said.site,
            "group": said.group, "age": said.age, "sex": said.sex, "date": said.date, "status": self.status,
            "code": self.code, "message": self.message, "source": said.path, "source_kind": said.kind,
            "chosen_because": said.reason, "lesion_count": self.lesion_count, "lesion_parts": self.lesion_parts,
            "largest_lesion_ml": self.largest_lesion_ml, "regions_with_lesions": self.regions_with_lesions,
            "expected_correction_ml": self.expected_correction_ml,
            "warnings": " ".join(dict.fromkeys(w.code for w in self.warnings)),
            "trusted": self.trusted if self.status == DONE else None,
            "below_bar": " ".join(self.below_bar), "verdict": self.verdict, "reader": self.reader,
            "seconds": self.seconds.get("total"), "model": self.model.get("id", ""),
            "model_version": self.model.get("version", ""), "model_sha256": self.model.get("sha256", ""),
            "flairseg": self.software.get("flairseg", ""), "input_sha256": self.input_sha256,
            "file_sha256": self.file_sha256, "options_sha256": self.options_sha256, "attempts": self.attempts,
            "finished": self.finished, "dseg": self.files.get("dseg", ""),
            "overview": self.files.get("overview", ""),
        }  # fmt: skip
        values |= {f"{c.id}_ml": self.volumes_ml.get(c.id) for c in CLASSES}
        for region in REGIONS:
            found = self.regions.get(region, {})
            values |= {f"lesions_{region}": found.get("count")}
            values |= {f"lesion_ml_{region}": found.get("volume_ml")}
        spacing = (None, None, None) if self.grid is None else self.grid.spacing_mm
        values |= dict(zip(("voxel_i_mm", "voxel_j_mm", "voxel_k_mm"), spacing, strict=True))
        values |= {f"quality_{name}": value for name, value in self.quality.items()}
        return {name: values.get(name) for name in (*COLUMNS, *sorted(set(values) - set(COLUMNS)))}


@dataclass(frozen=True)
class ChangeRow:
    """Change between two sessions of one subject: one row of ``changes.csv``.

    Attributes
    ----------
    subject : str
    first, last : str
        Cases that were compared: each session with the one before, and the last with the first.
    first_date, last_date : str
    days : int or None
    status, code, message, advice
        As in :class:`SessionRow`.
    counts : dict of str to int
        Lesions by state (:data:`flairseg.longitudinal.states.STATES`).
    lesion_change_ml, ventricles_change_ml, ventricles_change_percent : float or None
    ventricles_beyond_noise : bool or None
    correlation : float or None
        Of the registered images.
    warnings : tuple of CaseWarning
    seconds : float or None
    files : dict of str to str
        ``summary``, ``picture``, ``table``, ``change``: relative to the output folder.
    key : str
        Hash of what the comparison was made of.
    finished : str
    """

    subject: str
    first: str
    last: str
    status: str
    first_date: str = ""
    last_date: str = ""
    days: int | None = None
    code: str = ""
    message: str = ""
    advice: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    lesion_change_ml: float | None = None
    ventricles_change_ml: float | None = None
    ventricles_change_percent: float | None = None
    ventricles_beyond_noise: bool | None = None
    correlation: float | None = None
    warnings: tuple[CaseWarning, ...] = ()
    seconds: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    finished: str = ""

    @property
    def name(self) -> str:
        """Name of the comparison and begin of its files' names."""
        return f"{self.last}_since-{self.first.partition('_ses-')[2] or self.first}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {"warnings": warnings_as_dicts(self.warnings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ChangeRow:
        """Rebuild from the output of :meth:`to_dict`; unknown keys are left out."""
        return cls(**_known(cls, values) | {"warnings": warnings_from(values.get("warnings"))})

    def flat(self) -> dict[str, Any]:
        """One line of ``changes.csv``."""
        from ..longitudinal.states import STATES

        values = {name: getattr(self, name) for name in _CHANGE_COLUMNS}
        values |= {f"lesions_{state.id}": self.counts.get(state.id) for state in STATES}
        return values | {
            "warnings": " ".join(dict.fromkeys(w.code for w in self.warnings)),
            "summary": self.files.get("summary", ""),
        }


_CHANGE_COLUMNS = (
    "subject", "first", "last", "first_date", "last_date", "days", "status", "code", "message", "lesion_change_ml",
    "ventricles_change_ml", "ventricles_change_percent", "ventricles_beyond_noise", "correlation", "seconds",
    "finished",
)  # fmt: skip


@dataclass(frozen=True)
class Fatal:
    """The error that ends a run, in plain values."""

    code: str
    message: str
    advice: str

    @classmethod
    def of(cls, error: FlairSegError) -> Fatal:
        """From an error as it was raised."""
        return cls(error.code, error.message, error.advice)


@dataclass(frozen=True)
class Answer:
    """The outcome of a task: the row of a session, that of a comparison, or the error that ends the run."""

    row: SessionRow | None = None
    change: ChangeRow | None = None
    fatal: Fatal | None = None


def _known(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(cls)}
    return {name: value for name, value in values.items() if name in names}


#: Columns of ``cohort.csv``, in order; ``quality_*`` follow.
COLUMNS = (
    "case", "subject", "session", "site", "group", "age", "sex", "date", "status", "code", "message",
    *(f"{c.id}_ml" for c in CLASSES), "lesion_count", "lesion_parts", "largest_lesion_ml", "regions_with_lesions",
    *(f"lesions_{region}" for region in REGIONS), *(f"lesion_ml_{region}" for region in REGIONS),
    "expected_correction_ml", "warnings", "trusted", "below_bar", "verdict", "reader", "voxel_i_mm", "voxel_j_mm",
    "voxel_k_mm", "seconds", "model", "model_version", "model_sha256", "flairseg", "input_sha256", "file_sha256",
    "options_sha256", "attempts", "finished", "source", "source_kind", "chosen_because", "dseg", "overview",
)  # fmt: skip
