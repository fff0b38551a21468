"""Result of a follow-up: lesions and ventricles over time, with its reliability."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import warnings_as_dicts
from ..files.same_input import FINGERPRINT, fingerprint
from ..image.geometry import triple
from ..labels import CLASS_BY_VALUE, CLASSES, VENTRICLES
from ..lesions.boxes import count_voxels
from ..models.card import ModelCard
from ..segmentation.postprocessing import lesion_components
from ..segmentation.result import read_entries
from . import noise
from .judging import Judgement
from .matching import Track
from .registration import Registration
from .space import CommonSpace
from .states import CODES, STATES
from .studies import Study

NOTICE = (
    "Artificial lesions with the contrast of the scan's own lesions in the last study, and a re-positioned copy of it "
    "without change: the sensitivity that these scans allow, not that of a reader."
)


@dataclass(frozen=True)
class SizeGrade:
    """Injected lesions of one size: volume (mm3), how many there were, how many were called new or a growth."""

    volume_mm3: float
    injected: int
    found: int


@dataclass(frozen=True)
class SelfGrade:
    """Self-grade of a follow-up on its own scans.

    Attributes
    ----------
    sizes : tuple of SizeGrade
        Smallest first.
    contrast : float
        Of the injected lesions, shares of the brain's median.
    false_changes : tuple of (str, float)
        State and volume (mm3, the larger of the two) of each change called in a copy in which nothing changed.
    compared : int
        Lesions in that copy that could have been called.
    seed : int
    """

    sizes: tuple[SizeGrade, ...]
    contrast: float
    false_changes: tuple[tuple[str, float], ...]
    compared: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "injected": [{"volume_mm3": s.volume_mm3, "count": s.injected, "found": s.found} for s in self.sizes],
            "contrast": round(self.contrast, 3),
            "false_changes": [{"state": state, "volume_mm3": round(mm3, 1)} for state, mm3 in self.false_changes],
            "compared": self.compared,
            "seed": self.seed,
            "text": NOTICE,
        }


@dataclass(frozen=True)
class FollowedLesion:
    """One lesion through time.

    Attributes
    ----------
    number : int
        From 1; new ones first, then in the order of :data:`~flairseg.longitudinal.states.STATES`, each largest first.
    state : str
        Last study against the first: ``new``, ``enlarging``, ``stable``, ``shrinking``, ``resolved``, ``split``,
        ``merged``.
    intervals : tuple of str
        The same for each study against the one before; ``absent`` where it is in neither.
    track : Track
    judgement : Judgement
        Change, its noise and the images' evidence, last study against the first.
    region : str
        As in the lesion table; ``unknown`` where no atlas was asked.
    """

    number: int
    state: str
    intervals: tuple[str, ...]
    track: Track
    judgement: Judgement
    region: str = "unknown"


@dataclass(frozen=True)
class VentricleChange:
    """Volume of the ventricles through time: per study (ml), last against first, and its noise (percent).

    A volume is None where the study's labels do not have the class, a change where one of its volumes is None or 0.
    """

    volumes_ml: tuple[float | None, ...]
    change_ml: float | None
    change_percent: float | None
    noise_percent: float
    beyond_noise: bool


@dataclass(frozen=True)
class NoiseFloor:
    """What is taken for noise: the constants of :mod:`.noise`, and the noise of the subtraction.

    Attributes
    ----------
    flat : float
        Standard deviation of the subtraction's noise where the images are flat, share of the brain's median.
    per_gradient : float
        What it gains per unit of gradient.
    """

    flat: float
    per_gradient: float

    def as_dict(self) -> dict[str, Any]:
        """As in ``followup.json``."""
        return {
            "surface_mm": noise.SURFACE_MM,
            "smallest_mm3": noise.SMALLEST_MM3,
            "smallest_mm": noise.SMALLEST_MM,
            "smallest_voxels": noise.SMALLEST_VOXELS,
            "significance": noise.SIGNIFICANT,
            "joint_log_odds": noise.JOINT_LOG_ODDS,
            "smallest_contrast": noise.SMALLEST_CONTRAST,
            "absent_below_probability": noise.ABSENT,
            "subtraction_noise_flat": round(self.flat, 4),
            "subtraction_noise_per_gradient": round(self.per_gradient, 4),
            "text": noise.TEXT,
        }


@dataclass(frozen=True)
class FollowUp:
    """Follow-up of the lesions and ventricles of one patient.

    Attributes
    ----------
    studies : tuple of Study
        In the order given: first (baseline) to last.
    space : CommonSpace
        The half-way grid, and the rigid motions from it to each study.
    images : tuple of ndarray of float32, shape (K, J, I) of the common grid
        The FLAIRs there, grey levels brought together (shares of the brain's median).
    subtraction : ndarray of float32, same shape
        Last less first study.
    change_map : ndarray of uint8, same shape
        Values as in :data:`~flairseg.longitudinal.states.CODES`.
    lesions : tuple of FollowedLesion
    ventricles : VentricleChange
    registrations : tuple of Registration
        First study to each later one.
    noise_floor : NoiseFloor
    warnings : list of str
    seconds : dict of str to float
    created : str
        UTC time, ISO 8601.
    self_grade : SelfGrade or None
        Detection of injected lesions on these scans, if requested.
    """

    studies: tuple[Study, ...]
    space: CommonSpace
    images: tuple[np.ndarray, ...]
    subtraction: np.ndarray
    change_map: np.ndarray
    lesions: tuple[FollowedLesion, ...]
    ventricles: VentricleChange
    registrations: tuple[Registration, ...]
    noise_floor: NoiseFloor
    warnings: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    self_grade: SelfGrade | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Count the lesions in each state."""
        return {s.id: sum(lesion.state == s.id for lesion in self.lesions) for s in STATES}

    @property
    def card(self) -> ModelCard | None:
        """The model of the first study that one segmented; None where all labels were given."""
        return next((s.card for s in self.studies if s.card is not None), None)

    def summary(self) -> dict[str, Any]:
        """Everything but the voxels, ready for JSON; keys as the project's contract has them."""
        card = self.card
        return {
            "studies": [_study_entry(s) for s in self.studies],
            "counts": self.counts,
            "lesions": [self.lesion_entry(lesion) for lesion in self.lesions],
            CLASS_BY_VALUE[VENTRICLES].id: {
                "volumes_ml": [rounded(v, 3) for v in self.ventricles.volumes_ml],
                "change_ml": rounded(self.ventricles.change_ml, 3),
                "change_percent": rounded(self.ventricles.change_percent, 2),
                "noise_percent": self.ventricles.noise_percent,
                "beyond_noise": self.ventricles.beyond_noise,
            },
            "noise_floor": self.noise_floor.as_dict(),
            **({} if self.self_grade is None else {"self_grade": self.self_grade.as_dict()}),
            "registration": [
                {
                    "from_study": 1,
                    "to_study": n,
                    "rotation_deg": round(r.angle_deg, 3),
                    "shift_mm": round(r.shift_mm, 3),
                    "correlation": round(r.correlation, 4),
                    "consistency_mm": round(r.consistency_mm, 3),
                    "scale_percent": round(r.scale_percent, 2),
                }
                for n, r in enumerate(self.registrations, start=2)
            ],
            "common_grid": {
                "shape_kji": list(self.space.grid.array.shape),
                "spacing_mm": [round(s, 4) for s in self.space.spacing],
                "ijk_to_ras": self.space.grid.ijk_to_ras.tolist(),
                "plane": self.space.plane,
            },
            "change_map_codes": {str(value): meaning for value, meaning in CODES.items()},
            "warnings": warnings_as_dicts(self.warnings),
            "model": None if card is None else {"id": card.id, "version": card.version, "sha256": card.sha256},
            "software": {"flairseg": __version__},
            "created": self.created,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "notice": "Research use only - not a medical device.",
        }

    def lesion_entry(self, lesion: FollowedLesion) -> dict[str, Any]:
        """A lesion as in ``followup.json``."""
        presences, verdict = lesion.track.presences, lesion.judgement
        shown = max(n for n, p in enumerate(presences) if p.volume_mm3 > 0)
        centre, slices = presences[shown].centre_ras, presences[shown].slices
        assert centre is not None  # noqa: S101 - a lesion that is there has both
        assert slices is not None  # noqa: S101
        return {
            "number": lesion.number,
            "state": lesion.state,
            "intervals": list(lesion.intervals),
            "region": lesion.region,
            "volumes_mm3": [round(p.volume_mm3, 1) for p in presences],
            "change_mm3": round(verdict.change_mm3, 1),
            "change_percent": rounded(verdict.change_percent, 1),
            "noise_mm3": round(verdict.noise_mm3, 1),
            "beyond_noise": verdict.beyond_noise,
            "contrast": round(verdict.evidence.contrast, 3),
            "significance": round(verdict.evidence.significance, 1),
            "joint_log_odds": round(verdict.log_odds, 1),
            "note": verdict.note,
            "parts": [p.parts for p in presences],
            "lesion_numbers": [list(p.numbers) for p in presences],
            "centre_ras_mm": [round(x, 1) for x in centre],
            "centre_common_ras_mm": [round(x, 1) for x in self.centre_common(lesion)],
            "slices": [n + 1 for n in slices],
            "slices_index": list(slices),
            "shown_in_study": shown + 1,
        }

    def centre_common(self, lesion: FollowedLesion) -> tuple[float, float, float]:
        """Centre of a lesion over all studies, RAS mm of the common space: where all linked views should go."""
        kji = lesion.track.voxels.mean(axis=0)
        affine = self.space.grid.ijk_to_ras
        return triple(float(x) for x in affine[:3, :3] @ kji[::-1] + affine[:3, 3])


def study_volumes_ml(study: Study) -> dict[int, float | None]:
    """Volume of each class of a study with the decimals that are written, by class value; None: not assessed."""
    voxels = count_voxels(study.labels)
    return {c.value: rounded(study.volume_ml(c.value, int(voxels[c.value])), 4) for c in CLASSES}


def _study_entry(study: Study) -> dict[str, Any]:
    return {
        "case": study.name,
        "input": study.source,
        FINGERPRINT: study.input_sha256 or fingerprint(study.volume),
        "date": study.date,
        "volumes_ml": {CLASS_BY_VALUE[value].id: ml for value, ml in study_volumes_ml(study).items()},
        "lesion_count": lesion_components(study.labels)[1],
        "lesions_added": study.added,
        "labels": "given" if study.given else "model",
        "model": None if study.card is None else {"id": study.card.id, "sha256": study.card.sha256},
        "spacing_mm": [round(s, 4) for s in study.volume.spacing],
        **read_entries(study.volume),
    }


def rounded(value: float | None, digits: int) -> float | None:
    """With so many decimals; None stays None."""
    return None if value is None else round(value, digits)
