"""Training curves: loss, validation Dice and area under the precision-recall curve over a run (source: S1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...reporting.drawing import FAINT, GRID, Figure, canvas, finished
from ...reporting.wording import counted, figure
from ..results import TrainingLog
from ..terms import CLASS_TITLES
from .methods import looks, method_labels

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Columns that count the progress of a run, in order of preference, with axis labels.
_PROGRESS = {"epoch": "epoch", "step": "step", "iteration": "iteration", "slices": "slices seen"}
#: Losses, the first one there is used.
_LOSSES = ("loss", "train_loss", "generator_loss")
#: Further columns that are drawn where a log has them, with their titles.
_FIGURES = {
    **{f"dice_{key}": f"Dice, {title}" for key, title in CLASS_TITLES.items()},
    "dice": "Dice",
    **{f"auc_pr_{key}": f"AUC-PR, {title}" for key, title in CLASS_TITLES.items()},
    "auc_pr": "AUC-PR",
}
#: Parts of an adversarial loss, drawn beside it (source: S1).
_PARTS = {"discriminator_loss": "Discriminator loss", "l1": "L1 distance"}
_VALIDATION_LOSSES = ("val_loss", "validation_loss")


def training_figure(
    logs: Sequence[TrainingLog], name: str = "training", what: str = "", heading: str = ""
) -> Figure | None:
    """Loss, validation Dice and AUC-PR of runs, a line each; None if no log has a loss or such a metric.

    Parameters
    ----------
    logs : sequence of TrainingLog
        Rows are validations; the figures are of patients that the run did not see.
    name : str
        Of the figure.
    what : str
        Begins the caption, for instance the system's name.
    heading : str
        Text above the panels, for a standalone figure.
    """
    drawn = [(log, axis) for log in logs if (axis := next((c for c in _PROGRESS if c in log.columns), None))]
    panels = [("loss", "Training loss")] if any(_loss(log) for log, _ in drawn) else []
    named = {**_PARTS, **_FIGURES}
    panels += [(key, title) for key, title in named.items() if any(_known(log, key) for log, _ in drawn)]
    if not panels:
        return None
    shown, labels = looks([log.name for log in logs]), method_labels([log.name for log in logs], 26)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    sheet = canvas(
        (0.75 if heading else 0.45) + 1.75 * lines + 0.14 * -(-len(drawn) // 4),
        7.1 if columns == 3 else 1.4 + 2.4 * columns,
    )
    grid = sheet.subplots(lines, columns, squeeze=False).ravel()
    for axes, (key, title) in zip(grid, panels, strict=False):
        for log, axis in drawn:
            column = _loss(log) if key == "loss" else key
            if column is None or not _known(log, column):
                continue
            look = shown[log.name]
            x, y = np.asarray(log.columns[axis], float), np.asarray(log.columns[column], float)
            known = np.isfinite(x) & np.isfinite(y)
            axes.plot(x[known], y[known], color=look.colour, ls=look.dash, lw=1.3, marker="o", ms=2.6, mew=0,
                      label=labels[log.name])  # fmt: skip
            if key == "loss":
                _validation_loss(axes, log, axis, look.colour)
        axes.set_title(title)
        axes.set_xlabel(_PROGRESS[drawn[0][1]])
        axes.set_xlim(left=0)
        if key in _FIGURES:
            axes.set_ylim(0, 1)
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=7.5)
    if heading:
        sheet.suptitle(heading, x=0.01, ha="left", fontsize=10, fontweight="bold")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles: dict[str, Artist] = {}
    for axes in grid[: len(panels)]:
        for handle, said in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(said, handle)
    sheet.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=min(5, len(handles)))
    begun = f"{what}: " if what else ""
    caption = (
        f"{begun}{counted(len(drawn), 'training run')}: mean training loss between validations, and Dice and AUC-PR of "
        "the patients that the run did not see."
    )
    alt = "; ".join(f"{log.name}: {_last(log)}" for log, _ in drawn)
    return finished(sheet, name, caption, alt)


def _loss(log: TrainingLog) -> str | None:
    return next((c for c in _LOSSES if _known(log, c)), None)


def _known(log: TrainingLog, column: str) -> bool:
    return column in log.columns and bool(np.isfinite(np.asarray(log.columns[column], float)).any())


def _validation_loss(axes: Axes, log: TrainingLog, axis: str, colour: str) -> None:
    column = next((c for c in _VALIDATION_LOSSES if _known(log, c)), None)
    if column is not None:
        axes.plot(log.columns[axis], log.columns[column], color=colour, ls=":", lw=1.2)
        axes.text(
            0.98, 0.95, "dotted: validation", transform=axes.transAxes, ha="right", va="top", fontsize=7, color=FAINT
        )


def _last(log: TrainingLog) -> str:
    told = []
    for column in (_loss(log), "dice_lesion", "auc_pr_lesion"):
        if column and _known(log, column):
            values = np.asarray(log.columns[column], float)
            told.append(f"{column} {figure(float(values[np.isfinite(values)][-1]), 3)} at the end")
    return ", ".join(told) or "no figures"
