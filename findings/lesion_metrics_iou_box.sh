#!/usr/bin/env bash
# lesion-metrics 0.1.12: "lesions found at IoU 0.5 or more" is 100 % for a mask of the whole head: the IoU is that of a box.
#
# ltpr and lfdr with an iou_threshold cut both masks to the bounding box of the lesion in turn and take the IoU within the
# box: what lies outside does not count. ltpr(prediction, truth), the sensitivity by lesions, cannot see a prediction
# that is too large: painting all voxels gives each lesion the share that it has of its own box (0.59 for a round one in one
# slice, 1 for a single voxel). lfdr, the share of false detections, cannot see one that is too small: one voxel in a lesion
# is a detection at IoU 1. So a prediction can have all lesions found AND all of its detections false. No warning. With
# the threshold at its default of 0 (any overlap) both are right.
# What to do: threshold 0 alone, or the IoU of whole components from another library, the rule named beside it.
#
# Output seen (four round lesions of 29 voxels in one slice each; both figures at iou_threshold=0.5):
#   lesion-metrics 0.1.12
#   prediction           Dice   true IoU   by lesion   by prediction   ltpr   lfdr   ltpr and lfdr by the true IoU
#   exact               1.000      1.000       1.000           1.000   1.00   0.00   1.00   0.00
#   radius 6 for 3      0.408      0.257       0.592           0.257   1.00   1.00   0.00   1.00
#   radius 9 for 3      0.206      0.115       0.592           0.115   1.00   1.00   0.00   1.00
#   all voxels          0.003      0.000       0.592           0.002   1.00   1.00   0.00   1.00
#   one voxel each      0.067      0.034       0.034           1.000   0.00   0.00   0.00   1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    lesion-metrics==0.1.12 numpy==2.2.6 scipy==1.17.1 scikit-image==0.26.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from lesion_metrics.metrics import dice, iou_per_lesion, lfdr, ltpr
from scipy import ndimage

SHAPE = (20, 60, 60)
CENTRES = (4, 15, 15), (8, 15, 42), (12, 42, 15), (16, 42, 42)


def discs(radius: float) -> np.ndarray:
    """A disc in one slice for each lesion."""
    mask = np.zeros(SHAPE, bool)
    rows, columns = np.indices(SHAPE[1:])
    for k, j, i in CENTRES:
        mask[k] |= (rows - j) ** 2 + (columns - i) ** 2 <= radius**2
    return mask


def true_iou(truth: np.ndarray, prediction: np.ndarray) -> float:
    """IoU of the first lesion with the whole component of the prediction at its centre."""
    lesion, found = (labels == labels[CENTRES[0]] for labels in (ndimage.label(m)[0] for m in (truth, prediction)))
    return float((lesion & found).sum() / (lesion | found).sum())


truth = discs(3)
cases = {
    "exact": truth,
    "radius 6 for 3": discs(6),
    "radius 9 for 3": discs(9),
    "all voxels": np.ones(SHAPE, bool),
    "one voxel each": discs(0),
}
print("lesion-metrics", version("lesion-metrics"))
print("prediction           Dice   true IoU   by lesion   by prediction   ltpr   lfdr   ltpr and lfdr by the true IoU")
seen = []
for title, mask in cases.items():
    iou, by_lesion, by_prediction = true_iou(truth, mask), iou_per_lesion(truth, mask)[0], iou_per_lesion(mask, truth)[0]
    rates = ltpr(mask, truth, iou_threshold=0.5), lfdr(mask, truth, iou_threshold=0.5)
    print(
        f"{title:16} {dice(mask, truth):8.3f} {iou:10.3f} {by_lesion:11.3f} {by_prediction:15.3f} "
        f"{rates[0]:6.2f} {rates[1]:6.2f} {iou > 0.5:6.2f} {iou <= 0.5:6.2f}"
    )
    seen.append((round(iou, 3), *rates))
assert seen == [(1, 1, 0), (0.257, 1, 1), (0.115, 1, 1), (0.0, 1, 1), (0.034, 0, 0)], seen
PYTHON
