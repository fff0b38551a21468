"""Drift monitoring: control charts of the cases reviewed with a model, in order of time.

Charts of acceptance without edits, amount of editing, model confidence, and image statistics. The baseline is the first
cases with the model; for confidence and images that of the adaptation, where the card has it. Rule and rate of false
alarms: :mod:`.charts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import FlairSegError, InputNotFoundError
from ..image.slice_stack import SliceStack
from ..models.card import ModelCard
from ..models.store import find_model
from ..preprocessing import preprocess
from ..progress import CancelToken, ProgressCallback, Reporter
from ..review.cases import ACCEPTED, REJECTED
from ..review.version_folder import version_name, versions_in
from ..segmentation.pipeline import segment
from .cases import KeptVerdict, load_image
from .charts import BOTH, HIGH, HORIZON, LOW, Chart, chart, chart_of, false_alarm_rate, limit_for
from .framed import quantise
from .reference import FEATURES, Reference, case_features

#: Cases with the model from which the baseline is taken, and the least that there must be after them.
BASELINE, FEWEST_AFTER = 15, 1
#: Charts -> (what they show, side that alarms).
CHARTS: dict[str, tuple[str, int]] = {
    "accepted": ("accepted without edits", LOW),
    "edited": ("logarithm of 1 + edited voxels", HIGH),
    **{name: (what, LOW if name == "confidence" else BOTH) for name, what in FEATURES.items()},
}


@dataclass(frozen=True)
class FirstVerdict:
    """The first verdict on a case with a model.

    Attributes
    ----------
    path : Path
        Of the version.
    when : str
        ISO 8601, or empty.
    accepted : float
        1 if the result was accepted without edits, else 0.
    edited : float
        Logarithm of 1 + edited voxels; NaN if the result was rejected.
    """

    path: Path
    when: str
    accepted: float
    edited: float


class TooFewForDriftError(FlairSegError):
    """Too few cases were reviewed with the model."""


@dataclass(frozen=True)
class Drift:
    """Result of the control charts.

    Attributes
    ----------
    model : str
        Id of the model.
    baseline, watched : int
        Cases of the baseline, and since.
    charts : list of Chart
    limit : float
    false_alarms : float
        Simulated rate over :data:`~.charts.HORIZON` cases, all charts together.
    from_card : bool
        Whether confidence and images are compared with those of the adaptation.
    unread : int
        Cases whose image could not be read: charts of images and confidence are without them.
    damaged : int
        Versions whose ``verdict.json`` cannot be read: whether they were reviewed with the model is unknown.
    """

    model: str
    baseline: int
    watched: int
    charts: list[Chart]
    limit: float
    false_alarms: float
    from_card: bool
    unread: int = 0
    damaged: int = 0

    @property
    def alarms(self) -> list[Chart]:
        """Charts that passed the limit."""
        return [one for one in self.charts if one.alarm is not None]


def watch(
    folder: str | Path,
    model: str | Path | None = None,
    images: bool = True,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> Drift:
    """Chart the cases of a folder that were reviewed with a model.

    Parameters
    ----------
    folder : str or Path
        Reviewed cases, rejected ones too.
    model : str or Path, optional
        Default the model in use.
    images : bool
        Also confidence and images: seconds a case.
    progress, cancel
        As for :func:`flairseg.segment`.

    Raises
    ------
    TooFewForDriftError
        If there is no case beyond the baseline.
    FlairSegError
        As :func:`.cases.read_cases`.
    """
    card, reporter = find_model(model), Reporter(progress, cancel)
    with reporter.stage("read", 0.0, 0.1):
        events, damaged = reviewed_with(folder, card)
    if len(events) < BASELINE + FEWEST_AFTER:
        raise TooFewForDriftError(
            f"{len(events)} cases were reviewed with {card.id}; the first {BASELINE} are the baseline."
            + (f" Verdicts that cannot be read: {damaged}." if damaged else ""),
            "Review more cases with this model first.",
            code="too-few-for-drift",
        )
    figures: dict[str, list[float]] = {
        "accepted": [one.accepted for one in events],
        "edited": [one.edited for one in events],
    }
    measured: list[dict[str, float]] = []
    if images:
        with reporter.stage("measure", 0.1, 1.0):
            for n, one in enumerate(events):
                measured.append(_measured(one.path, card))
                reporter.update((n + 1) / len(events))
            figures |= {name: [one.get(name, float("nan")) for one in measured] for name in FEATURES}
    return replace(charted(figures, card), unread=sum(not one for one in measured), damaged=damaged)


def charted(figures: Mapping[str, Sequence[float]], card: ModelCard) -> Drift:
    """Charts of figures of cases in order of time.

    Parameters
    ----------
    figures : mapping of str to sequence of float
        Some of :data:`CHARTS`; NaN where unknown.
    card : ModelCard
    """
    sides = tuple(CHARTS[name][1] for name in figures)
    limit = limit_for(BASELINE, sides)
    reference = Reference.of_card(card)
    known = reference.figures if reference is not None and reference.cases >= BASELINE else {}
    charts = []
    for name, values in figures.items():
        before, after = values[:BASELINE], values[BASELINE:]
        if name in known:
            charts.append(chart_of(name, known[name].mean, known[name].sd, after, limit, CHARTS[name][1]))
        else:
            charts.append(chart(name, before, after, limit, CHARTS[name][1]))
    watched = len(next(iter(figures.values()))) - BASELINE
    return Drift(card.id, BASELINE, watched, charts, limit, false_alarm_rate(limit, BASELINE, sides), bool(known))


def reviewed_with(folder: str | Path, card: ModelCard) -> tuple[list[FirstVerdict], int]:
    """First verdict on each case that names the model, in order of time, and how many verdicts cannot be read.

    Returns
    -------
    tuple
        The verdicts, and the number of damaged versions.

    Raises
    ------
    InputNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputNotFoundError(f"There is no folder of cases {folder}.", "Check the path.")
    first: dict[str, FirstVerdict] = {}
    damaged = 0
    for place in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        for path in (place / version_name(number) for number in versions_in(place)):
            try:
                kept = KeptVerdict.read(path)
            except FlairSegError:
                damaged += 1
                continue
            # Verdicts on another model's result, or on a mask drawn by hand, do not count.
            if kept.model == card.sha256:
                first.setdefault(kept.case, _first(path, kept))
    return sorted(first.values(), key=lambda one: (one.when, str(one.path))), damaged


def _first(path: Path, kept: KeptVerdict) -> FirstVerdict:
    # The edits that a rejected result would have needed are unknown.
    edited = float(np.log1p(kept.edited_voxels)) if kept.verdict != REJECTED else float("nan")
    return FirstVerdict(path, kept.decided_at, float(kept.verdict == ACCEPTED and kept.edited_voxels == 0), edited)


def _measured(version: Path, card: ModelCard) -> dict[str, float]:
    """Figures of a version's image and of the model's result; empty where it cannot be read.

    Rejected results, and those that were corrected later, count like all others: they show drift.
    """
    try:
        volume = load_image(version)
        result = segment(volume, card)
    except FlairSegError:
        return {}
    prepared = preprocess(SliceStack.from_volume(volume, card.pipeline.plane), card.pipeline)
    masks = prepared.frame.apply(prepared.mask.astype(np.float32)) > 0.5
    kept = np.flatnonzero(masks.any(axis=(1, 2)))
    return case_features(result, quantise(prepared.slices[kept]), masks[kept])


#: For the rule as text.
RULE = (
    "Alarm if an exponentially weighted moving average (weight 0.2) of a figure, in units of its own standard "
    f"deviation, exceeds {{limit:.1f}}; in simulated runs of {HORIZON} cases without change, at least one chart alarms "
    "in {rate:.1%}."
)
