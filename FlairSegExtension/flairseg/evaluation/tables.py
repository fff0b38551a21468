"""Files of an evaluation: cases.csv, summary.csv and evaluation.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..files.csv_tables import csv_text
from .results import EvaluationResult
from .rows import CaseRow, LesionCaseRow
from .terms import LESION_FIGURES, VOXEL_FIGURES

CASES, SUMMARY, EVERYTHING = "cases.csv", "summary.csv", "evaluation.json"
#: File name -> description.
TABLES = {
    CASES: "every figure of every patient, method and class",
    SUMMARY: "means over patients with intervals, spread and quartiles; figures of all patients pooled",
    EVERYTHING: "all of it, with conventions, confusion matrices, curves and tests",
}
_KEYS = ("case", "method", "class", "site", "disease")
_VOXEL_COLUMNS = (
    "tp", "fp", "fn", "tn", "reference_ml", "predicted_ml", *(figure.key for figure in VOXEL_FIGURES),
)  # fmt: skip
_LESION_COLUMNS = (
    "reference_lesions", "predicted_lesions", "found", "right", *(figure.key for figure in LESION_FIGURES),
)  # fmt: skip
_SUMMARY_COLUMNS = (
    "grouping", "group", "method", "class", "figure", "over", "value", "low", "high", "n", "undefined", "sd", "median",
    "lower_quartile", "upper_quartile", "minimum", "maximum", "interval", "note",
)  # fmt: skip


def case_table(result: EvaluationResult) -> str:
    """CSV with a row per patient, method and class; metrics in columns, empty where undefined (comma, LF)."""
    lesions = {(row.case, row.method, row.class_id): row for row in result.lesion_rows}

    def cells(row: CaseRow) -> dict[str, Any]:
        lesion: LesionCaseRow | None = lesions.get((row.case, row.method, row.class_id))
        notes = [row.note, lesion.note if lesion is not None else ""]
        return {
            "class": row.class_id,
            **{name: getattr(row, name) for name in ("case", "method", "site", "disease", *_VOXEL_COLUMNS)},
            **{name: getattr(lesion, name, None) for name in _LESION_COLUMNS},
            "note": " ".join(note for note in notes if note),
        }

    return csv_text((*_KEYS, *_VOXEL_COLUMNS, *_LESION_COLUMNS, "note"), (cells(row) for row in result.rows))


def summary_table(result: EvaluationResult) -> str:
    """CSV with a row per group, method, class and metric: means over patients, then pooled voxels or lesions."""
    rows: list[dict[str, Any]] = []
    for row in result.summary:
        spread = ("undefined", "sd", "median", "lower_quartile", "upper_quartile", "minimum", "maximum")
        rows.append({**_named(row, row.mean), "over": "patients", **{name: getattr(row, name) for name in spread}})
    rows += [{**_named(row, row.estimate), "over": "pooled"} for row in result.pooled]
    return csv_text(_SUMMARY_COLUMNS, rows)


def _named(row: Any, estimate: Any) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("grouping", "group", "method", "figure")},
        "class": row.class_id,
        **{name: getattr(estimate, name) for name in ("value", "low", "high", "n", "interval", "note")},
    }


def everything(result: EvaluationResult) -> str:
    """The complete result as JSON; undefined values are null, keys are the attributes of :mod:`~.results`."""
    content = {"research_use_only": True, **_plain(result)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def texts(result: EvaluationResult) -> dict[str, str]:
    """File name -> content of each of :data:`TABLES`."""
    return {CASES: case_table(result), SUMMARY: summary_table(result), EVERYTHING: everything(result)}


def _plain(value: Any) -> Any:
    """Convert to types of JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name not in ("arrays", "error")}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
