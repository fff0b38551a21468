"""Segmentations against references: figures per patient, class and method, their statistics, tables and report.

>>> from flairseg.evaluation import evaluate, read_manifest
>>> result = evaluate(read_manifest("cases.csv"))                         # doctest: +SKIP
>>> {row.case: row.dice for row in result.rows if row.class_id == "lesion"}  # doctest: +SKIP

Research use only, not a medical device.
"""

from __future__ import annotations
