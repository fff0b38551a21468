"""Result of one case. Light to import: a process that only shows a result does not load the pipeline."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..errors import FlairSegError, warnings_as_dicts
from ..image.packed import CompactAnswer
from ..image.volume import Volume
from ..labels import CLASS_BY_VALUE, CLASSES, LESION, LabelClass, assessed_classes
from ..models.card import ModelCard
from ..models.store import pipeline_sha256
from ..progress import STAGES, CancelToken, ProgressCallback, Reporter

if TYPE_CHECKING:
    from ..anatomy.lesion_table import LesionRow
    from ..anatomy.regions import RegionMap
    from ..image.packed_mask import PlaneMask
    from ..lesions.components import LesionMap
    from ..models.lesion_confidence import LesionConfidence


class MeasuredLesions:
    """Lesion measurements of a result and of its copies.

    It holds for the labels and affine by their content, since labels of a result that lives on may be edited in place,
    and for the very same probabilities, disagreement and regions, none of which it keeps alive.
    """

    def __init__(self) -> None:
        self._map: tuple[_Key, LesionMap] | None = None
        self._rows: tuple[_Key, list[LesionRow]] | None = None

    def lesions(self, result: Segmentation) -> LesionMap:
        """The lesions, largest first, with their voxels."""
        from ..lesions.components import find_lesions

        key = _Key(result, result.probabilities, result.disagreement, result.compact)
        if self._map is None or not self._map[0].same(key):
            probabilities, disagreement = result.probabilities, result.disagreement
            if probabilities is None and result.compact is not None:
                probabilities, disagreement = result.compact.full_probabilities(), result.compact.full_disagreement()
            found = find_lesions(
                result.labels,
                result.volume.ijk_to_ras,
                probabilities,
                disagreement=disagreement,
                confidence=result.lesion_confidence,
            )
            self._map = key, found
        return self._map[1]

    def rows(self, result: Segmentation) -> list[LesionRow]:
        """One row per lesion, largest first."""
        from ..anatomy.lesion_table import lesion_table

        key = _Key(result, result.probabilities, result.disagreement, result.compact, result.regions)
        if self._rows is None or not self._rows[0].same(key):
            lesions = self.lesions(result)
            self._rows = (
                key,
                lesion_table(result.labels, result.volume.ijk_to_ras, regions=result.regions, lesions=lesions),
            )
        return list(self._rows[1])

    def count(self, result: Segmentation) -> int:
        """Number of lesions; where they are not measured they are counted, which is quicker."""
        from ..lesions.boxes import bounding_box
        from .postprocessing import lesion_components

        key = _Key(result, result.probabilities, result.disagreement, result.compact)
        if self._map is not None and self._map[0].same(key):
            return len(self._map[1].lesions)
        box = bounding_box(result.labels, (LESION,))
        return 0 if box is None else lesion_components(result.labels[box])[1]


class _Key:
    """Identity of measured data."""

    def __init__(self, result: Segmentation, *maps: Any) -> None:
        labels = result.labels
        digest = hashlib.blake2b(f"{labels.shape}{labels.dtype.str}{result.volume.ijk_to_ras.tolist()}".encode())
        # Of each slice the lines from the first to the last that hold something.
        for k, part in enumerate(labels):
            lines = np.flatnonzero(part.any(axis=1))
            if lines.size:
                some = slice(int(lines[0]), int(lines[-1]) + 1)
                digest.update(f"{k} {some.start} {some.stop} ".encode())
                digest.update(np.ascontiguousarray(part[some]).view(np.uint8).reshape(-1).data)
        self._digest = digest.digest()
        self._maps = [None if one is None else weakref.ref(one) for one in maps]

    def same(self, other: _Key) -> bool:
        """Whether another one is of the same."""
        mine, others = ([None if one is None else (one(),) for one in key._maps] for key in (self, other))
        return self._digest == other._digest and all(
            (a is None and b is None) or (a is not None and b is not None and a[0] is b[0] is not None)
            for a, b in zip(mine, others, strict=True)
        )


@dataclass(frozen=True)
class AdaptedModel:
    """An adapted model, and whether a scan is like those that it was adapted to (else ``outside``: what is unlike)."""

    model: str
    sha256: str
    digest: str
    like: bool
    outside: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As in ``summary.json``."""
        return {**asdict(self), "outside": list(self.outside)}


@dataclass(frozen=True)
class Segmentation:
    """Result of one case.

    Attributes
    ----------
    volume : Volume
        The segmented FLAIR (float32, K, J, I).
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    probabilities : ndarray of float16, shape (4, K, J, I)
        Before thresholds and clean-up; sum 1. May be a view in another memory order. None where only ``compact`` came
        over from another process.
    card : ModelCard
        The model.
    device_requested, device_used, provider : str
        ``auto``, ``cpu`` or ``cuda``; what ran; onnxruntime's name of it.
    source : str
        Absolute path of the input, or the volume's name where a volume was given.
    seconds : dict of str to float
        Wall-clock seconds per stage and in total; of an ensemble also of each member, by its id.
    warnings : list of str
        Remarks that limit trust in the result.
    created : str
        UTC time, ISO 8601.
    runtime : str
        Version of onnxruntime.
    compact : CompactAnswer, optional
        The answer as it is kept with a segmentation node, see :meth:`compact_answer`.
    disagreement : ndarray of float16, shape (K, J, I), optional
        How much an ensemble's members disagree about lesions, 0..1, see :mod:`flairseg.segmentation.ensemble`; None
        for a single
        model, and where only ``compact`` came over from another process.
    regions : RegionMap, optional
        The anatomy of the case, see :meth:`with_regions`; None where it was not computed.
    input_sha256 : str
        :func:`flairseg.files.same_input.fingerprint` of the volume, keyed where names are pseudonyms; computed when the
        files are written.
    adaptation : AdaptedModel, optional
        An adapted model that was chosen or is in use. ``card`` is the model that read the scan.
    measured : MeasuredLesions
        Its lesions, measured on first request; copies share it.
    brain : ndarray of bool, optional
        Rough brain mask on the slice stack of the card's plane, every
        :data:`~flairseg.segmentation.postprocessing.BRAIN_STEP`-th pixel of each slice; None where only ``compact``
        came over from another process.
    """

    volume: Volume
    labels: np.ndarray
    probabilities: np.ndarray | None
    card: ModelCard
    device_requested: str
    device_used: str
    provider: str
    source: str
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    runtime: str = ""
    compact: CompactAnswer | None = field(default=None, repr=False)
    disagreement: np.ndarray | None = field(default=None, repr=False)
    regions: RegionMap | None = field(default=None, repr=False)
    input_sha256: str = ""
    adaptation: AdaptedModel | None = None
    measured: MeasuredLesions = field(default_factory=MeasuredLesions, repr=False, compare=False)
    brain: np.ndarray | None = field(default=None, repr=False)

    def compact_answer(self) -> CompactAnswer:
        """Labels and probabilities as they are kept with a segmentation node."""
        if self.compact is not None:
            return self.compact
        answer = CompactAnswer.pack(self.labels, self.probabilities, self.disagreement)
        return replace(answer, beyond=self._beyond(answer))

    def _beyond(self, answer: CompactAnswer) -> np.ndarray | None:
        """Voxels of the box that have a probability and are farther from the brain than the card's margin."""
        from ..image.slice_stack import SliceStack
        from .redrawing import beyond_margin

        if answer.levels is None or self.brain is None:
            return None
        config = self.card.pipeline
        stack = SliceStack.from_volume(Volume(self.labels, self.volume.ijk_to_ras, ""), config.plane)
        return beyond_margin(answer, stack, self.brain, config)

    @property
    def fills_holes(self) -> str:
        """Plane in whose slices the model's clean-up fills holes in lesions; empty where it fills none."""
        # Of a model that is not on this computer nothing but its id is known.
        config = getattr(self.card, "pipeline", None)
        return str(config.plane) if config is not None and getattr(config, "fill_holes", False) else ""

    def volumes_ml(self) -> dict[int, float]:
        """Volume of each class in millilitres, by class value (1, 2, 3)."""
        from ..lesions.boxes import count_voxels

        voxels = count_voxels(self.labels)
        return {c.value: float(voxels[c.value]) * self.volume.voxel_mm3 / 1000 for c in CLASSES}

    def known_volumes_ml(self) -> dict[int, float | None]:
        """The same, with None for empty classes that the model does not segment."""
        return {value: ml if ml or value in self.card.classes else None for value, ml in self.volumes_ml().items()}

    def assessed_classes(self) -> tuple[LabelClass, ...]:
        """Classes that the model knows, and any other that has a voxel."""
        from ..lesions.boxes import count_voxels

        return assessed_classes(count_voxels(self.labels), self.card.classes)

    @property
    def lesion_confidence(self) -> LesionConfidence | None:
        """How its lesions' confidence follows from probability and volume; None where it is the mean probability."""
        # Of a model that is not on this computer nothing but its id is known.
        return getattr(self.card, "lesion_confidence", None)

    @property
    def min_lesion_mm3(self) -> float | None:
        """Minimum volume of a lesion by the model's card; None where the card is not known."""
        return getattr(getattr(self.card, "pipeline", None), "min_lesion_mm3", None)

    @property
    def lesion_count(self) -> int:
        """Number of lesions (26-connected components of label 3)."""
        return self.measured.count(self)

    def lesions(self) -> list[dict[str, Any]]:
        """One row per lesion, largest first, as in ``summary.json``: :meth:`.lesion_table.LesionRow.as_dict`."""
        return [row.as_dict() for row in self.lesion_rows()]

    def lesion_rows(self) -> list[LesionRow]:
        """One row per lesion, largest first; regions are ``unknown`` before :meth:`with_regions`."""
        return self.measured.rows(self)

    def lesion_map(self) -> LesionMap:
        """The lesions themselves: their voxels by the numbers of :meth:`lesion_rows`."""
        return self.measured.lesions(self)

    def with_regions(
        self,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | Callable[[], bool] | None = None,
        is_footed: bool = False,
        mask: PlaneMask | None = None,
    ) -> Segmentation:
        """The same with the regions of its lesions found (:func:`flairseg.anatomy.find_regions`).

        Parameters
        ----------
        progress : callable, optional
            ``progress(fraction, "regions")``, the fraction being that of the whole case.
        cancel : CancelToken or callable, optional
        is_footed : bool
        mask : PlaneMask, optional
            As for :func:`flairseg.anatomy.find_regions`.

        Returns
        -------
        Segmentation
            With ``regions``, its warnings and its seconds.

        Raises
        ------
        flairseg.errors.Cancelled
            When the user cancelled.
        """
        from ..anatomy import find_regions

        reporter = Reporter(progress, cancel)
        with reporter.stage("regions", STAGES["postprocess"], STAGES["regions"]):
            regions = find_regions(
                self.volume, self.labels, lambda fraction, _: reporter.update(fraction), is_footed=is_footed, mask=mask
            )
        spent = reporter.seconds["regions"]
        seconds = {**self.seconds, "regions": spent, "total": self.seconds.get("total", 0.0) + spent}
        warnings = list(dict.fromkeys([*self.warnings, *regions.warnings]))
        return replace(self, regions=regions, seconds=seconds, warnings=warnings)

    @property
    def software(self) -> dict[str, str]:
        """Versions of what made it, by name."""
        return {"flairseg": __version__, "onnxruntime": self.runtime, "python": platform.python_version()}

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds of each stage and in total, rounded to milliseconds."""
        return {name: round(self.seconds.get(name, 0.0), 3) for name in (*STAGES, "total")}

    def summary(self) -> dict[str, Any]:
        """Everything about the case but its voxels, ready for JSON, with the keys of the project's contract."""
        from ..anatomy.lesion_table import summary_entries

        volumes = self.known_volumes_ml()
        rows = self.lesion_rows()
        return {
            "case": self.volume.name,
            "input": self.source,
            "input_sha256": self.input_sha256,
            "model": self._model_entry(),
            "software": self.software,
            "device": {"requested": self.device_requested, "used": self.device_used},
            "grid": {
                "shape_kji": list(self.labels.shape),
                "spacing_mm": [round(s, 6) for s in self.volume.spacing],
                "ijk_to_ras": self.volume.ijk_to_ras.tolist(),
            },
            "volumes_ml": {c.id: None if (ml := volumes[c.value]) is None else round(ml, 4) for c in CLASSES},
            "lesion_count": len(rows),
            **summary_entries(rows, self.regions is not None),
            "warnings": warnings_as_dicts(self.warnings),
            **read_entries(self.volume),
            "seconds": self.stage_seconds,
        }

    def _model_entry(self) -> dict[str, Any]:
        """The model as in ``summary.json``; an ensemble with its members."""
        entry: dict[str, Any] = {"id": self.card.id, "version": self.card.version, "sha256": self.card.sha256}
        # Of a model that is not on this computer only the id is known.
        pipeline = getattr(self.card, "pipeline", None)
        if pipeline is not None:
            with contextlib.suppress(FlairSegError):
                entry["pipeline_sha256"] = pipeline_sha256(self.card)
        if pipeline is not None and pipeline.thresholds:
            entry["thresholds"] = {CLASS_BY_VALUE[value].id: level for value, level in pipeline.thresholds.items()}
        if self.lesion_confidence is not None:
            entry["lesion_confidence"] = asdict(self.lesion_confidence)
        if self.adaptation is not None:
            entry["adaptation"] = self.adaptation.to_json()
        members = [
            {
                "id": member.id,
                "sha256": member.sha256,
                "weights": {CLASS_BY_VALUE[value].id: weight for value, weight in member.weights.items()},
                "seconds": round(self.seconds.get(member.id, 0.0), 3),
            }
            for member in self.card.members
        ]
        return {**entry, "members": members} if members else entry


def not_assessed(summary: Mapping[str, Any]) -> frozenset[int]:
    """Values of the classes that a ``summary.json`` states as not assessed: their volume is null."""
    found = summary.get("volumes_ml")
    volumes = found if isinstance(found, Mapping) else {}
    return frozenset(c.value for c in CLASSES if volumes.get(c.id, 0.0) is None)


def read_entries(volume: Volume) -> dict[str, Any]:
    """Reading notes for JSON files: ``information``, and for DICOM ``images`` (used, found)."""
    images = {} if volume.images is None else {"images": dict(zip(("used", "found"), volume.images, strict=True))}
    return {"information": warnings_as_dicts(volume.information), **images}


def provenance_tags(segmentation: Segmentation) -> dict[str, str]:
    """Tags that every segment carries: which model and software made it, when, and that no one has touched it yet."""
    return {
        "FlairSeg.model": segmentation.card.id,
        "FlairSeg.model_sha256": segmentation.card.sha256,
        "FlairSeg.version": __version__,
        "FlairSeg.created": segmentation.created,
        "FlairSeg.algorithm_type": "AUTOMATIC",
    }
