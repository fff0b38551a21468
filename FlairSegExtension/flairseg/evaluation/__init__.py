"""Evaluation of segmentations against references: metrics per patient, class and method, statistics, tables, report.

>>> from flairseg.evaluation import evaluate, read_manifest, write_evaluation
>>> result = evaluate(read_manifest("cases.csv"))                            # doctest: +SKIP
>>> {row.case: row.dice for row in result.rows if row.class_id == "lesion"}  # doctest: +SKIP
>>> write_evaluation(result, "evaluation")                                   # doctest: +SKIP

Metrics need NumPy and SciPy; an evaluation also needs statsmodels, its report matplotlib and Jinja2 (extra ``study``).
Research use only, not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {
    "evaluate": "running",
    "choose_conventions": "conventions",
    "read_manifest": "inputs",
    "match_folders": "inputs",
    "EvaluationCase": "inputs",
    "EvaluationResult": "results",
    "LabelMapping": "foreign",
    "PRESETS": "foreign",
    "parse_mapping": "foreign",
    "read_training_log": "logs",
    "write_evaluation": "writing",
}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .conventions import choose_conventions as choose_conventions
    from .foreign import PRESETS as PRESETS
    from .foreign import LabelMapping as LabelMapping
    from .foreign import parse_mapping as parse_mapping
    from .inputs import EvaluationCase as EvaluationCase
    from .inputs import match_folders as match_folders
    from .inputs import read_manifest as read_manifest
    from .logs import read_training_log as read_training_log
    from .results import EvaluationResult as EvaluationResult
    from .running import evaluate as evaluate
    from .writing import write_evaluation as write_evaluation

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
