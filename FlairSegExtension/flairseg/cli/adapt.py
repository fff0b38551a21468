"""``flairseg adapt``: local adaptation with validation. Options and help are in :mod:`.site`."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import FlairSegError, typed
from ..progress import ProgressCallback
from ..reporting.wording import counted
from .console import (
    INTERRUPTED,
    REFUSED,
    WRITTEN,
    interruptible,
    messages_console,
    results_console,
    show_error,
    show_information,
    show_warning,
)

if TYPE_CHECKING:
    from ..adapt.options import TrainingOptions
    from ..adapt.running import Adapted

#: Label of each stage in the progress bar.
STAGE_NAMES = {
    "check": "checking cases",
    "base": "segmenting with the base",
    "prove": "adapting without each patient",
    "train": "adapting to all cases",
    "no-harm": "checking for forgetting",
    "write": "writing",
}


def minutes_of(text: str) -> float:
    """Minutes of a time such as ``20m``, ``1h`` or ``90s``; a plain number is minutes.

    Raises
    ------
    FlairSegError
        If it is not a time.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not found or float(found[1]) <= 0:
        raise FlairSegError(f"{text!r} is not a time.", "Write minutes as 20m, or hours as 1h.", code="no-time")
    return float(found[1]) * {"s": 1 / 60, "m": 1.0, "": 1.0, "h": 60.0}[found[2]]


def adapt_model(
    cases: Path,
    output: Path,
    base: str | None,
    time: str,
    patients: Path | None,
    model_id: str | None,
    training: TrainingOptions,
    overwrite: bool,
) -> int:
    """Adapt a model; the exit code of the command. ``time``: as typed, for the ``minutes`` of ``training``."""
    messages, results = messages_console(), results_console()
    try:
        with interruptible():
            try:
                from ..adapt.cases import read_patients
                from ..adapt.options import ModelTarget
                from ..adapt.running import adapt

                target = ModelTarget(output, model_id, overwrite)
                options = replace(training, minutes=minutes_of(time), notify=partial(show_warning, messages))
                whose = read_patients(patients) if patients is not None else None
                with bar(messages) as progress:
                    done = adapt(cases, target, base, whose, options, progress)
            except Exception as error:  # noqa: BLE001 - a user reads a sentence, not a traceback
                show_error(messages, typed(error))
                return REFUSED
    except KeyboardInterrupt:
        messages.print(
            "Interrupted. Completed parts are kept: the same command resumes. The model in use is unchanged."
        )
        return INTERRUPTED
    _show(messages, results, done, output)
    return WRITTEN


class bar:
    """Context manager of a progress bar that acts as progress callback."""

    def __init__(self, messages: Console) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=messages, transient=True)
        self._task = self._progress.add_task("starting", total=1.0)

    def __enter__(self) -> ProgressCallback:
        self._progress.start()
        return self._update

    def __exit__(self, *unused: object) -> None:
        self._progress.stop()

    def _update(self, fraction: float, stage: str) -> None:
        self._progress.update(self._task, completed=fraction, description=STAGE_NAMES.get(stage, stage))


def _show(messages: Console, results: Console, done: Adapted, output: Path) -> None:
    from ..adapt.terms import BETTER, FIGURES

    for case in done.left_out:
        show_information(messages, f"Left out ({case.code}): {case.reason}", f"case {case.number}")
    if done.unstated:
        told = f"{counted(done.unstated, 'case')} not in the table of patients: assigned to a patient by name."
        show_information(messages, told, "patients")
    table = Table(box=box.SIMPLE, title=f"{done.cases} cases, {done.patients} patients", title_justify="left")
    for column in ("Figure", "Base", "Adapted", "Gain", "95 % interval", "p"):
        table.add_column(column, justify="left" if column == "Figure" else "right", no_wrap=True)
    for one in done.comparisons:
        digits = 0 if one.key == "edit_voxels" else 3
        interval = "-" if one.low != one.low else f"{one.low:.{digits}f} to {one.high:.{digits}f}"
        numbers = (f"{value:.{digits}f}" for value in (one.base, one.adapted, one.gain))
        table.add_row(FIGURES[one.key][0], *numbers, interval, f"{one.p:.3f}")
    results.print(table)
    results.print(Text(f"{done.card.id}: {done.verdict}. {' '.join(done.reasons)}"), soft_wrap=True)
    results.print(Text(f"Proof: {output / 'proof.html'}"), soft_wrap=True)
    for asked in (found for found in done.conventions if not found.accepted):
        told = f"If {asked.statement}: flairseg models --use {output} --accept {asked.code}"
        show_information(messages, told, asked.code)
    if done.verdict == BETTER:
        results.print(Text(f"To use it: flairseg models --use {output}"), soft_wrap=True)
    else:
        results.print("The model in use is unchanged.")
