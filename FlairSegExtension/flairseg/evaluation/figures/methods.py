"""Colour, dash and marker of each method, the same in every figure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ...reporting.drawing import COLOURS, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)))
_MARKERS = "osD^vP*X<>"
#: Methods side by side in one figure; more go into further figures.
PANELS = 4
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Look:
    """Colour, dash and marker of a method; methods of the same colour differ in dash and marker."""

    colour: str
    dash: str | tuple[int, tuple[float, ...]]
    marker: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """The look of each method, by its place in the evaluation."""
    return {
        name: Look(COLOURS[n % len(COLOURS)], _DASHES[n // len(COLOURS) % len(_DASHES)], _MARKERS[n % len(_MARKERS)])
        for n, name in enumerate(names)
    }


def method_labels(names: Sequence[str], length: int) -> dict[str, str]:
    """Names as figures show them: cut, and numbered where cutting made two alike."""
    cut = {name: label(name, length) for name in names}
    short = {}
    for number, name in enumerate(names, 1):
        mark = f" ({number})" if list(cut.values()).count(cut[name]) > 1 else ""
        short[name] = label(name, max(4, length - len(mark))) + mark if mark else cut[name]
    return short


def column_label(columns: int) -> int:
    """Characters of a name above one of so many panels side by side."""
    return max(12, 60 // max(columns, 2))


def portions(items: Sequence[_Item], size: int = PANELS) -> list[Sequence[_Item]]:
    """Items in portions of nearly equal size, at most ``size`` each."""
    count = math.ceil(len(items) / size) if items else 0
    edges = [round(n * len(items) / count) for n in range(count + 1)] if count else []
    return [items[a:b] for a, b in itertools.pairwise(edges)]


def method_axis(axes: Axes, names: Sequence[str], labels: dict[str, str]) -> None:
    """Methods below each other on the y axis, the first on top."""
    axes.set_yticks(range(len(names)), [labels[name] for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
