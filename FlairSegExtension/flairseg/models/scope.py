"""What an adapted model was adapted to: the range of scans that it learnt from and was proven on, in its card.

A figure of a new scan is like those of the adaptation if it is within a margin of a case's figure (of several cases,
where there are many: one odd case of a hundred does not widen a range). The margin is the larger, the fewer cases there
were: :data:`MARGIN` deviations of the figure within one scanner at :data:`FEWEST` cases, and in proportion to
``1 / sqrt(cases)`` from there on, but no less than :data:`LEAST_MARGIN` of them. What was measured with it:
docs/adaptation.md, ``python -m training.measure_scope``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .card import ModelCard

#: Within an ``adaptation`` of a card.
KEY = "scope"
#: Margin at :data:`FEWEST` cases, and the least there is, in deviations within one scanner.
MARGIN, LEAST_MARGIN, FEWEST = 3.0, 1.0, 3
#: One case of so many may be odd: a range has at least ``cases / ODD`` cases (rounded up) within the margin.
ODD = 50
Interval = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """One figure of :func:`flairseg.preprocessing.scan_figures.scan_figures`.

    Attributes
    ----------
    title, unit : str
        For messages.
    deviation : float
        Standard deviation within one scanner; of the natural logarithm, where ``relative``.
    relative : bool
        Whether the margin is a factor.
    """

    title: str
    unit: str
    deviation: float
    relative: bool

    def widened(self, value: float, deviations: float) -> Interval:
        """The values within so many deviations of a value."""
        margin = deviations * self.deviation
        return (
            (value / math.exp(margin), value * math.exp(margin)) if self.relative else (value - margin, value + margin)
        )

    def text(self, value: float) -> str:
        """The value in a message."""
        return f"{value:.2f} {self.unit}".rstrip()


#: Deviations of the grid's figures are tolerances: a protocol sets them. Those of the image's are over persons.
FIGURES: dict[str, Figure] = {
    "in_plane_mm": Figure("pixel size", "mm", 0.06, True),
    "slice_mm": Figure("slice distance", "mm", 0.08, True),
    "extent_mm": Figure("extent of the slices", "mm", 0.10, True),
    "image_spread": Figure("spread of the brain's intensity", "", 0.12, True),
    "image_dark": Figure("dark end of the brain's intensity", "", 0.40, False),
    "image_bright": Figure("bright end of the brain's intensity", "", 0.25, False),
    "image_texture": Figure("texture of the brain", "", 0.15, True),
}


@dataclass(frozen=True)
class Outside:
    """A figure of a scan that is outside of what a model was adapted to.

    Attributes
    ----------
    name : str
        ``plane``, or one of :data:`FIGURES`.
    value : float
        Of the scan; NaN for ``plane``.
    seen : tuple of float
        Lowest and highest at adaptation.
    text : str
        For a message: the figure of the scan, and what it was at adaptation.
    """

    name: str
    value: float
    seen: Interval
    text: str


@dataclass(frozen=True)
class Scope:
    """What a model was adapted to.

    Attributes
    ----------
    planes : tuple of str
        In which scans were sliced.
    ranges : mapping of str to tuple of (float, float)
        Figure -> intervals of the values that count as like those of the adaptation.
    seen : mapping of str to (float, float)
        Figure -> lowest and highest value at adaptation.
    """

    planes: tuple[str, ...]
    ranges: Mapping[str, tuple[Interval, ...]]
    seen: Mapping[str, Interval]

    def outside(self, plane: str, figures: Mapping[str, float]) -> tuple[Outside, ...]:
        """The figures of a scan that are unlike those of the adaptation; none for a scan like these.

        Parameters
        ----------
        plane : str
            In which the scan is sliced.
        figures : mapping of str to float
            Of :func:`flairseg.preprocessing.scan_figures.scan_figures`. A figure that is none (NaN) is outside.
        """
        found = []
        if plane not in self.planes:
            text = f"{plane} slices; adapted to {' and '.join(self.planes)} ones"
            found.append(Outside("plane", math.nan, (math.nan, math.nan), text))
        for name, intervals in self.ranges.items():
            value = figures[name]
            if not any(low <= value <= high for low, high in intervals):
                found.append(Outside(name, value, self.seen[name], _compared(name, value, self.seen[name])))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """As it is in a card."""
        return {
            "planes": list(self.planes),
            "figures": {
                name: {"seen": _rounded(self.seen[name]), "like": [_rounded(one) for one in intervals]}
                for name, intervals in self.ranges.items()
            },
        }


def scope_of(card: ModelCard) -> Scope | None:
    """The scope in a model's card; None of a model that was not adapted, or adapted by an earlier version.

    The card's digest has been checked when it was read, and covers this. Figures that this version does not know are
    left out.
    """
    content = (card.raw.get("adaptation") or {}).get(KEY)
    if content is None:
        return None
    figures = {name: one for name, one in content["figures"].items() if name in FIGURES}
    return Scope(
        tuple(map(str, content["planes"])),
        {name: tuple((float(low), float(high)) for low, high in one["like"]) for name, one in figures.items()},
        {name: (float(one["seen"][0]), float(one["seen"][1])) for name, one in figures.items()},
    )


def learnt_scope(planes: Iterable[str], cases: Sequence[Mapping[str, float]]) -> Scope:
    """The scope of an adaptation.

    Parameters
    ----------
    planes : iterable of str
        In which the cases are sliced.
    cases : sequence of mapping
        Results of each case, see :meth:`Scope.outside`.

    Raises
    ------
    ValueError
        If there is no case.
    """
    if not cases:
        raise ValueError("no case")
    values = {name: sorted(one[name] for one in cases) for name in FIGURES}
    deviations = max(LEAST_MARGIN, MARGIN * math.sqrt(FEWEST / max(len(cases), FEWEST)))
    fewest = math.ceil(len(cases) / ODD)
    return Scope(
        tuple(sorted(set(planes))),
        {name: _covered([FIGURES[name].widened(v, deviations) for v in own], fewest) for name, own in values.items()},
        {name: (own[0], own[-1]) for name, own in values.items()},
    )


def _covered(intervals: Sequence[Interval], fewest: int) -> tuple[Interval, ...]:
    """Where at least so many of some intervals overlap."""
    edges = sorted([(low, -1) for low, _ in intervals] + [(high, 1) for _, high in intervals])
    found, depth, begun = [], 0, 0.0
    for place, closes in edges:
        depth -= closes
        if closes < 0 and depth == fewest:
            begun = place
        elif closes > 0 and depth == fewest - 1:
            found.append((begun, place))
    return tuple(found)


def _compared(name: str, value: float, seen: Interval) -> str:
    figure = FIGURES[name]
    low, high = (f"{one:.2f}" for one in seen)
    span = low if low == high else f"{low} to {high}"
    return f"{figure.title} {figure.text(value)}; {f'{span} {figure.unit}'.rstrip()} at adaptation"


def _rounded(interval: Interval) -> list[float]:
    return [round(one, 4) for one in interval]
