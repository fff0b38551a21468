"""The case of a report: from a result in memory or from files, checked against its own label map.

Files may be old, edited or made by others. Figures therefore come from the label map; what other files say about it is
used where it agrees with the map, and said to be missing or doubtful where it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..anatomy.dissemination import Dissemination
from ..anatomy.regions import UNKNOWN
from ..errors import warnings_from
from ..image.volume import Volume
from ..labels import CLASS_BY_VALUE, CLASSES, LESION, NUMBER_OF_CLASSES, VENTRICLES, LabelClass, assessed_classes
from ..models.card import ModelCard
from ..review.verdict import ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED
from .json_values import mapping, number, point, sequence, slices_of, text, whole

if TYPE_CHECKING:
    from ..anatomy.lesion_table import LesionRow
    from ..privacy.pseudonyms import Pseudonymiser
    from ..segmentation.result import Segmentation

#: States of a review beside the three that a reader can decide.
NOT_REVIEWED, UNREADABLE = "not_reviewed", "unreadable"
#: The labels are not those of the summary; a version's files are not as they were saved; the verdict names another
#: case, is about other, edited labels, or cannot be shown to be about these labels.
DOUBTS = ("edited", "changed", "other_case", "other_labels", "unproven")
REVIEWED = (ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED)
REGIONS = ("periventricular", "juxtacortical", "infratentorial", "deep_white_matter", "unknown")
STATES = ("new", "enlarging", "stable", "shrinking", "resolved", "split", "merged")
#: Key of the ventricles in ``followup.json``.
_VENTRICLES = CLASS_BY_VALUE[VENTRICLES].id


@dataclass(frozen=True)
class Review:
    """A reader's decision on the labels shown.

    Attributes
    ----------
    state : str
        One of :data:`REVIEWED`, :data:`NOT_REVIEWED` or :data:`UNREADABLE`.
    reader, decided_at, reason : str
        Who, when (ISO 8601), and why a result was rejected.
    version, parent_version : int, optional
        Of the case archive.
    doubts : tuple of str
        Reasons to doubt that verdict, summary and labels belong together: :data:`DOUBTS`.
    """

    state: str = NOT_REVIEWED
    reader: str = ""
    decided_at: str = ""
    reason: str = ""
    version: int | None = None
    parent_version: int | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One lesion, as the table shows it; None where unknown. ``slices`` are counted from 0, as in ``summary.json``.

    ``confidence`` is the share of such lesions that readers drew where ``mean_probability`` is known, else the latter.
    """

    number: int
    volume_ml: float
    diameter_mm: float | None = None
    centre_ras_mm: tuple[float, float, float] | None = None
    slices: tuple[int, int] | None = None
    confidence: float | None = None
    peak_probability: float | None = None
    ventricle_distance_mm: float | None = None
    region: str | None = None
    parts: int | None = None
    disagreement: float | None = None
    mean_probability: float | None = None

    @classmethod
    def of(cls, row: LesionRow) -> Row:
        """A row that was measured here; its region is unknown if regions were not requested."""
        return cls(
            row.number, row.volume_ml, row.diameter_mm, row.centre_ras_mm, row.slices, row.confidence,
            row.peak_probability, row.ventricle_distance_mm, row.region, row.parts, row.disagreement,
            row.mean_probability,
        )  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One study of a follow-up."""

    case: str
    date: str
    volumes_ml: Mapping[str, float]
    lesion_count: int | None
    ventricles_ml: float | None = None
    model_id: str = ""


@dataclass(frozen=True)
class ChangedLesion:
    """One lesion over time; ``volumes_mm3`` has one entry per study, None where unknown.

    ``state`` and ``change`` compare the last study with the first; ``last_interval`` is the state between the last two;
    ``numbers`` are its lesions in the last study. ``centre_ras_mm`` and ``slices`` are those of the last study, None if
    it is not there any more; ``centre_common_ras_mm`` is its centre over all studies in the common space.
    """

    number: int
    state: str
    region: str | None
    volumes_mm3: tuple[float | None, ...]
    change_mm3: float | None
    change_percent: float | None
    beyond_noise: bool | None
    centre_ras_mm: tuple[float, float, float] | None
    slices: tuple[int, int] | None
    last_interval: str | None = None
    numbers: tuple[int, ...] = ()
    centre_common_ras_mm: tuple[float, float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Grade:
    """Self-grade of a follow-up: (mm3, injected, found), and (state, mm3) of false changes."""

    sizes: tuple[tuple[float, int, int], ...]
    false_changes: tuple[tuple[str, float], ...]
    compared: int


@dataclass(frozen=True)
class Change:
    """Content of ``followup.json``, as far as valid; the last study against the first.

    ``sheet`` is the picture beside it (first study, last study, subtraction), PNG; empty if there is none.
    ``shows_image`` tells by fingerprint whether one of its studies is the image of the report; None: not known.
    """

    studies: tuple[Study, ...]
    lesions: tuple[ChangedLesion, ...]
    counts: Mapping[str, int]
    ventricles_change_ml: float | None = None
    ventricles_change_percent: float | None = None
    ventricles_noise_percent: float | None = None
    ventricles_beyond_noise: bool | None = None
    noise: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    grade: Grade | None = None
    sheet: bytes = field(default=b"", repr=False)
    shows_image: bool | None = None

    def last_counts(self) -> dict[str, int] | None:
        """Count the lesions in each state between the last two studies; None if not known for all."""
        told = [lesion.last_interval for lesion in self.lesions if lesion.last_interval is not None]
        absent = sum(not any(lesion.volumes_mm3[-2:]) for lesion in self.lesions)
        if len(self.studies) < 3 or len(told) + absent < len(self.lesions):
            return None
        return {state: told.count(state) for state in STATES}

    def located(self, regions: Mapping[int, str]) -> Change:
        """With the region of each lesion that had none, by its numbers in the last study."""
        return replace(
            self,
            lesions=tuple(
                replace(row, region=regions.get(row.numbers[0], UNKNOWN))
                if row.region in (None, UNKNOWN) and row.numbers
                else row
                for row in self.lesions
            ),
        )

    def pseudonymised(self, pseudonyms: Pseudonymiser) -> Change:
        """With pseudonyms and shifted dates, and without the picture, which shows both."""
        for study in self.studies:
            pseudonyms.learn_path(study.case, study.case)
        studies = tuple(
            replace(study, case=pseudonyms.case(study.case), date=pseudonyms.date(study.date)) for study in self.studies
        )
        lesions = tuple(replace(row, note=pseudonyms.text(row.note)) for row in self.lesions)
        return replace(self, studies=studies, lesions=lesions, warnings=pseudonyms.warnings(self.warnings), sheet=b"")


@dataclass(frozen=True)
class Provenance:
    """Provenance of a segmentation, as far as known.

    Attributes
    ----------
    input : str
        The image.
    model_id, model_sha256 : str
    members : tuple of (str, str)
        Id and sha256 of each member of an ensemble.
    software : mapping of str to str
        Name -> version.
    device_used, device_requested : str
    seconds : mapping of str to float
        By stage.
    images : tuple of int, optional
        Of a DICOM series: how many are used, and how many there are.
    information : tuple of str
        Noted while reading.
    """

    input: str = ""
    model_id: str = ""
    model_sha256: str = ""
    members: tuple[tuple[str, str], ...] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    device_used: str = ""
    device_requested: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    images: tuple[int, int] | None = None
    information: tuple[str, ...] = ()

    @classmethod
    def of_result(cls, result: Segmentation) -> Provenance:
        """Provenance of a result in memory."""
        return cls(
            result.source, result.card.id, result.card.sha256,
            tuple((member.id, member.sha256) for member in result.card.members),
            result.software, result.device_used, result.device_requested, result.stage_seconds,
            result.volume.images, tuple(result.volume.information),
        )  # fmt: skip

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Provenance:
        """Provenance from ``summary.json``, or from its parts in ``verdict.json``."""
        model, software, device, images = (mapping(content.get(k)) for k in ("model", "software", "device", "images"))
        used, found = whole(images.get("used")), whole(images.get("found"))
        seconds = {stage: number(value) for stage, value in mapping(content.get("seconds")).items()}
        members = map(mapping, sequence(model.get("members")))
        return cls(
            text(content.get("input")),
            text(model.get("id")),
            text(model.get("sha256")),
            tuple((text(member.get("id")), text(member.get("sha256"))) for member in members),
            {str(name): version if isinstance(version, str) else str(version) for name, version in software.items()},
            text(device.get("used")),
            text(device.get("requested")),
            {stage: value for stage, value in seconds.items() if value is not None},
            None if used is None or found is None else (used, found),
            tuple(warnings_from(content.get("information"))),
        )


@dataclass(frozen=True)
class Case:
    """All data of a case for its report.

    Attributes
    ----------
    name : str
        As it is shown; may hold anything.
    volume : Volume
        The FLAIR.
    labels : ndarray of uint8, shape (K, J, I)
        On its grid.
    rows : tuple of Row
        Lesions, as numbered in ``components``.
    components : ndarray of int32, shape (K, J, I)
        Lesion n is n; 0 elsewhere.
    study_date : str
        Empty if not known.
    provenance : Provenance
    card : ModelCard, optional
        Card of the model, if it is on this computer.
    dissemination, change : optional
        None where unknown.
    has_regions : bool
        Whether the rows' regions are known.
    warnings : tuple of str
        Limits of trust in the result.
    labels_sha256 : str
        Of the file that the labels were read from; empty if there was none.
    dates_moved : bool
        Whether names are pseudonyms and dates are shifted.
    image_sha256 : str
        :func:`flairseg.files.same_input.fingerprint` of the image, keyed under pseudonyms; empty before writing.
    classes : frozenset of int
        Classes that the label map covers; others are not assessed.
    """

    name: str
    volume: Volume
    labels: np.ndarray
    rows: tuple[Row, ...]
    components: np.ndarray = field(repr=False)
    study_date: str = ""
    review: Review = field(default_factory=Review)
    provenance: Provenance = field(default_factory=Provenance)
    card: ModelCard | None = None
    dissemination: Dissemination | None = None
    change: Change | None = None
    has_regions: bool = False
    warnings: tuple[str, ...] = ()
    labels_sha256: str = ""
    dates_moved: bool = False
    image_sha256: str = ""
    classes: frozenset[int] = frozenset(c.value for c in CLASSES)

    @property
    def volumes_ml(self) -> dict[int, float]:
        """Volume of each class in ml, by class value, from the label map."""
        return class_volumes(self.labels, self.volume)

    def assessed_classes(self) -> tuple[LabelClass, ...]:
        """Classes that the label map and the model cover, and any other that has a voxel."""
        known = self.classes if self.card is None else self.classes & set(self.card.classes)
        return assessed_classes(np.bincount(self.labels.ravel(), minlength=NUMBER_OF_CLASSES), known)

    def load_by_region(self) -> dict[str, tuple[int, float]]:
        """Number and volume (ml) of the lesions in each of :data:`REGIONS`."""
        load = {}
        for region in REGIONS:
            own = [row.volume_ml for row in self.rows if (row.region or "unknown") == region]
            load[region] = (len(own), sum(own))
        return load


def class_volumes(labels: np.ndarray, volume: Volume) -> dict[int, float]:
    """Volume of each class in ml, by class value (1, 2, 3)."""
    voxels = np.bincount(labels.ravel(), minlength=LESION + 1)
    return {c.value: float(voxels[c.value]) * volume.voxel_mm3 / 1000 for c in CLASSES}


# --- content of files


def rows_of(content: object) -> tuple[Row, ...]:
    """Rows of ``summary.json``'s ``lesions``; what is no row is left out."""
    rows = []
    for entry in map(mapping, sequence(content)):
        own, ml, mm3 = whole(entry.get("number")), number(entry.get("volume_ml")), number(entry.get("volume_mm3"))
        volume_ml = ml if mm3 is None else mm3 / 1000
        if own is None or volume_ml is None:
            continue
        rows.append(
            Row(
                own,
                volume_ml,
                number(entry.get("diameter_mm")),
                point(entry.get("centre_ras_mm")),
                slices_of(entry),
                number(entry.get("confidence")),
                number(entry.get("peak_probability")),
                number(entry.get("ventricle_distance_mm")),
                entry["region"] if entry.get("region") in REGIONS else None,
                whole(entry.get("parts")),
                number(entry.get("disagreement")),
                number(entry.get("mean_probability")),
            )
        )
    return tuple(rows)


def dissemination_of(content: object) -> Dissemination | None:
    """``dissemination`` of ``summary.json``; None if it is not there."""
    found = mapping(content)
    if not isinstance(found.get("regions_with_lesions"), list | tuple):
        return None
    return Dissemination(tuple(name for name in map(text, sequence(found["regions_with_lesions"])) if name))


def change_of(content: object) -> Change | None:
    """``followup.json`` as far as it can be understood; None if it is none."""
    found = mapping(content)
    studies = tuple(_study(mapping(s)) for s in sequence(found.get("studies")))
    if len(studies) < 2:
        return None
    entries = (_changed(mapping(entry), len(studies)) for entry in sequence(found.get("lesions")))
    lesions = tuple(row for row in entries if row is not None)
    counts = mapping(found.get("counts"))
    stated = {state: whole(counts.get(state)) for state in STATES}
    counted = {state: sum(row.state == state for row in lesions) for state in STATES}
    counted |= {state: count for state, count in stated.items() if count is not None}
    ventricles = mapping(found.get(_VENTRICLES))
    per_study = [number(v) for v in sequence(ventricles.get("volumes_ml"))]
    if len(per_study) == len(studies):
        studies = tuple(replace(study, ventricles_ml=ml) for study, ml in zip(studies, per_study, strict=True))
    return Change(
        studies,
        lesions,
        counted,
        number(ventricles.get("change_ml")),
        number(ventricles.get("change_percent")),
        number(ventricles.get("noise_percent")),
        ventricles.get("beyond_noise") if isinstance(ventricles.get("beyond_noise"), bool) else None,
        {str(k): _shown(v) for k, v in mapping(found.get("noise_floor")).items() if _shown(v)},
        warnings_from(found.get("warnings")),
        _grade(mapping(found.get("self_grade"))),
    )


def _grade(entry: Mapping[str, Any]) -> Grade | None:
    """The self-grade of a follow-up; None where it has none, or one that cannot be understood."""
    sizes = []
    for size in map(mapping, sequence(entry.get("injected"))):
        mm3, injected, found = number(size.get("volume_mm3")), whole(size.get("count")), whole(size.get("found"))
        if mm3 is None or not injected or found is None or not 0 <= found <= injected:
            return None
        sizes.append((mm3, injected, found))
    compared = whole(entry.get("compared"))
    if not sizes or compared is None:
        return None
    called = []
    for change in map(mapping, sequence(entry.get("false_changes"))):
        state, mm3 = text(change.get("state")), number(change.get("volume_mm3"))
        if state not in STATES or mm3 is None:
            return None
        called.append((state, mm3))
    return Grade(tuple(sizes), tuple(called), compared)


def _study(entry: Mapping[str, Any]) -> Study:
    volumes = {c.id: number(mapping(entry.get("volumes_ml")).get(c.id)) for c in CLASSES}
    known = {name: ml for name, ml in volumes.items() if ml is not None}
    case, date, count = text(entry.get("case")), text(entry.get("date")), whole(entry.get("lesion_count"))
    model = text(mapping(entry.get("model")).get("id"))
    return Study(case, date, known, count, known.get(_VENTRICLES), model)


def _changed(entry: Mapping[str, Any], studies: int) -> ChangedLesion | None:
    own, state = whole(entry.get("number")), entry.get("state")
    if own is None or state not in STATES:
        return None
    beyond, intervals = entry.get("beyond_noise"), sequence(entry.get("intervals"))
    numbers = sequence(entry.get("lesion_numbers"))
    here = entry.get("shown_in_study", studies) == studies
    return ChangedLesion(
        own,
        state,
        entry["region"] if entry.get("region") in REGIONS else None,
        tuple(number(v) for v in sequence(entry.get("volumes_mm3"))),
        number(entry.get("change_mm3")),
        number(entry.get("change_percent")),
        beyond if isinstance(beyond, bool) else None,
        point(entry.get("centre_ras_mm")) if here else None,
        slices_of(entry) if here else None,
        intervals[-1] if len(intervals) == studies - 1 and intervals[-1] in STATES else None,
        tuple(filter(None, map(whole, sequence(numbers[-1])))) if len(numbers) == studies else (),
        point(entry.get("centre_common_ras_mm")),
        text(entry.get("note")),
    )


def _shown(value: object) -> str:
    """A number or a text of the noise floor as it is listed; nested things are left out."""
    if isinstance(value, bool):
        return ""
    found = number(value)
    return f"{found:.4g}" if found is not None else text(value)
