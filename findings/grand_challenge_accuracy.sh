#!/usr/bin/env bash
# grand-challenge-metrics 0.6.0 (evalutils): accuracies_from_confusion_matrix is 0 for every class unless not one voxel is wrong.
#
# The count of voxels that are right is divided by all voxels with rounding down, so the accuracy of a class is 1 where its
# voxels are all right and 0 otherwise: a segmentation with 1 wrong voxel of 10,000 has an accuracy of 0 for both classes that
# this voxel belongs to. The mean over patients is then the share of patients without any error. dice_from_confusion_matrix
# and jaccard_from_confusion_matrix of the same module divide as one expects.
# What to do: compute accuracies from the confusion matrix oneself.
#
# Output seen (classes 0, 1 and 2; 10,000 voxels, of which some of class 1 are called class 0):
#   grand-challenge-metrics 0.6.0
#   wrong   accuracies              true accuracies         Dice
#       0   1.0000 1.0000 1.0000    1.0000 1.0000 1.0000    1.0000 1.0000 1.0000
#       1   0.0000 0.0000 1.0000    0.9999 0.9999 1.0000    0.9999 0.9975 1.0000
#     100   0.0000 0.0000 1.0000    0.9900 0.9900 1.0000    0.9948 0.6667 1.0000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check grand-challenge-metrics==0.6.0 numpy==2.2.6 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from grand_challenge_metrics.stats import (
    accuracies_from_confusion_matrix,
    calculate_confusion_matrix,
    dice_from_confusion_matrix,
)

truth = np.zeros((25, 20, 20), int)
truth.reshape(-1)[:200] = 1
truth.reshape(-1)[200:400] = 2
print("grand-challenge-metrics", version("grand-challenge-metrics"))
print("wrong   accuracies              true accuracies         Dice")
for wrong in (0, 1, 100):
    prediction = truth.copy()
    prediction.reshape(-1)[:wrong] = 0
    matrix = calculate_confusion_matrix(truth, prediction, [0, 1, 2])
    found, dice = accuracies_from_confusion_matrix(matrix), dice_from_confusion_matrix(matrix)
    right = np.array([np.mean((truth == label) == (prediction == label)) for label in (0, 1, 2)])
    print(f"{wrong:5}   " + "    ".join(" ".join(f"{x:.4f}" for x in row) for row in (found, right, dice)))
    assert list(found) == ([1, 1, 1] if wrong == 0 else [0, 0, 1])
    assert right.min() >= 0.99 and np.allclose(dice[1], 2 * (200 - wrong) / (400 - wrong))
PYTHON
