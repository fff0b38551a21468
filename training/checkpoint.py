"""Runs that can be killed at any time and resumed: whole checkpoints, a consistent log, a stop after a whole step."""

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

#: Exit status of a run that was asked to stop and can be continued (128 + SIGTERM).
STOPPED = 128 + signal.SIGTERM
FINISHED = "finished.json"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def mark_finished(folder: Path, **figures: Any) -> None:
    """Write ``finished.json``: what the run cost, and on what."""
    figures |= {"torch": torch.__version__, "machine": platform.machine(), "cores": torch.get_num_threads()}
    part = folder / "finished.part"
    part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    os.replace(part, folder / FINISHED)


class Curve:
    """``log.csv`` of a run: a row per validation, with a head; rows that a resumed run will write again are dropped.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        The first one is the step.
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
        """Add one row; an undefined figure (NaN) leaves its cell empty."""
        cells = ["" if isinstance(cell, float) and cell != cell else cell for cell in row]
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(cells)


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a flag, so that the step in work ends and the run is saved.

    A context manager; in threads other than the main one it always returns False. A second signal ends the program as
    usual.
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
