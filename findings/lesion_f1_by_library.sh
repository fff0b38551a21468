#!/usr/bin/env bash
# Lesion-wise F1 of one pair of masks is 0.82, 0.55 or 0.18 by the library that computes it, each with its defaults.
#
# lesion-metrics 0.1.12: a lesion is found if a single voxel overlaps (IoU > 0); one prediction may find several lesions.
# picai_eval 1.4.13: IoU >= 0.1, one to one, and a prediction that overlaps less is neither true nor false positive.
# panoptica 2.1.7: IoU >= 0.5, one to one; a prediction over two lesions is one false positive and two misses.
# What to do: state library, version, overlap rule and matching beside every lesion-wise figure.
#
# Output seen (six reference lesions: one drawn exactly, one at IoU 1/3, one barely touched, two under one prediction, one
# missed; and one false prediction):
#   lesion-metrics 0.1.12  recall 0.833  precision 0.800  F1 0.816
#   picai_eval 1.4.13      TP 3  FP 2  FN 3               F1 0.545
#   panoptica 2.1.7        TP 1  FP 4  FN 5               F1 0.182
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    lesion-metrics==0.1.12 picai-eval==1.4.13 panoptica==2.1.7 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import contextlib
import io

import numpy as np

truth, prediction = np.zeros((24, 64, 64), np.uint8), np.zeros((24, 64, 64), np.uint8)


def box(mask, k, j, i, size=(3, 4, 4)):
    mask[k : k + size[0], j : j + size[1], i : i + size[2]] = 1


box(truth, 2, 4, 4), box(prediction, 2, 4, 4)  # drawn exactly
box(truth, 2, 4, 20), box(prediction, 2, 6, 20)  # half beside: IoU 1/3
box(truth, 8, 4, 4, (6, 6, 6)), box(prediction, 13, 9, 9, (3, 4, 4))  # barely touched
box(truth, 2, 30, 4), box(truth, 2, 30, 12), box(prediction, 2, 30, 4, (3, 4, 12))  # two under one
box(truth, 18, 50, 50)  # missed
box(prediction, 18, 4, 50)  # false

seen = {}
with contextlib.redirect_stdout(io.StringIO()):
    from lesion_metrics.metrics import lfdr, ltpr
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
    )
    from picai_eval import evaluate

    recall, precision = ltpr(prediction, truth), 1 - lfdr(prediction, truth)
    seen["lesion-metrics"] = 2 * recall * precision / (recall + precision)

    found = evaluate([prediction.astype(float)], [truth.astype(np.int32)], num_parallel_calls=1)
    rows = [row for rows in found.lesion_results.values() for row in rows]
    tp, fn, fp = (
        sum(bool(true) and score > 0 for true, score, _ in rows),
        sum(bool(true) and score == 0 for true, score, _ in rows),
        sum(not true for true, _, _ in rows),
    )
    seen["picai_eval"] = 2 * tp / (2 * tp + fp + fn)

    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(),
    )
    result = evaluator.evaluate(prediction, truth, verbose=False)
    result = result["ungrouped"] if isinstance(result, dict) else result
    seen["panoptica"] = result.rq

print(f"lesion-metrics 0.1.12  recall {recall:.3f}  precision {precision:.3f}  F1 {seen['lesion-metrics']:.3f}")
print(f"picai_eval 1.4.13      TP {tp}  FP {fp}  FN {fn}               F1 {seen['picai_eval']:.3f}")
print(f"panoptica 2.1.7        TP {result.tp}  FP {result.fp}  FN {result.fn}               F1 {seen['panoptica']:.3f}")
expected = {"lesion-metrics": 0.816, "picai_eval": 0.545, "panoptica": 0.182}
assert all(abs(seen[name] - value) < 1e-3 for name, value in expected.items()), seen
PYTHON
