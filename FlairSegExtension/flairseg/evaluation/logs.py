"""Training logs: CSV files with a header and one row per validation."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .errors import InvalidManifestError
from .results import TrainingLog


def read_training_log(path: str | Path, name: str | None = None) -> TrainingLog:
    """Read a training log.

    Parameters
    ----------
    path : str or Path
        CSV with a header; cells without a number become NaN, columns without any number are omitted.
    name : str, optional
        Default: name of the folder, as of ``runs/<recipe>-fold0/log.csv``.

    Raises
    ------
    InvalidManifestError
        If the file cannot be read or contains no numbers.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidManifestError(
            f"The training log {path} cannot be read: {reason}.", "Give a log.csv of a training run."
        ) from error
    head, body = (rows[0], [row for row in rows[1:] if row]) if rows else ([], [])
    columns = {title.strip(): _numbers(body, n) for n, title in enumerate(head) if title.strip()}
    columns = {title: values for title, values in columns.items() if np.isfinite(values).any()}
    if not columns:
        raise InvalidManifestError(
            f"{path} contains no training log.", "Give a CSV file with a header and rows of numbers."
        )
    return TrainingLog(name or path.resolve().parent.name, columns)


def _numbers(rows: Sequence[Sequence[str]], column: int) -> np.ndarray:
    def number(row: Sequence[str]) -> float:
        try:
            return float(row[column])
        except (IndexError, ValueError):
            return math.nan

    return np.array([number(row) for row in rows])
