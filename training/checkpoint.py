"""Files of runs that can be killed at any time and resumed, and the signal that stops them after the current step."""

from __future__ import annotations

import csv
import json
import os
import platform
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch

#: Exit status of a run that was stopped and can be continued (128 + SIGTERM).
STOPPED = 128 + signal.SIGTERM
FINISHED = "finished.json"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint completely or not at all."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def mark_finished(folder: Path, **figures: Any) -> None:
    """Write ``finished.json``: figures of a complete run, its PyTorch version and machine."""
    figures |= {"torch": torch.__version__, "machine": platform.machine(), "cores": torch.get_num_threads()}
    part = folder / "finished.part"
    part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    os.replace(part, folder / FINISHED)


class Curve:
    """``log.csv`` of a run: a header and a row per validation.

    Rows after the step from which a run is resumed are removed, since it writes them again.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        Header; the first column is the step.
    resumed_at : int
        Step from which the run resumes.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], resumed_at: int = 0) -> None:
        self.path, self.columns = path, columns
        rows = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= resumed_at]
        part = path.with_suffix(".part")
        with part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(columns), *rows])
        os.replace(part, path)

    def append(self, row: list[Any]) -> None:
        """Add a row; an undefined figure (NaN) gives an empty cell."""
        cells = ["" if isinstance(cell, float) and cell != cell else cell for cell in row]
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(cells)


class StopRequest:
    """Context manager that turns SIGTERM and Ctrl-C into the flag ``asked``.

    The current step can then be completed and the run saved. A second signal ends the program as usual. In threads
    other than the main one, signals are not handled.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *unused: object) -> None:
        self._give_back()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
