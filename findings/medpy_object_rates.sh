#!/usr/bin/env bash
# MedPy 0.5.2: obj_tpr is the precision of the lesions found, and obj_fpr the share of lesions missed; arguments in their order.
#
# By its names and docstring ("whatever array is considered as reference should be passed second"; "a perfect score tells that
# all distinct objects in the reference also exist in the result"), obj_tpr(result, reference) is the lesion-wise sensitivity.
# It divides by the objects of the result: a rater who finds 1 of 10 lesions and nothing else has an obj_tpr of 1.0 and an
# obj_fpr of 0.9. One who finds all and invents ten has 0.5 and 0.0: false lesions cannot raise obj_fpr. recall and
# precision of the same module take their arguments in the same order and are as their names say. (An empty result, that is,
# all lesions missed, ends with a ZeroDivisionError in obj_tpr.)
# What to do: obj_tpr(reference, result) is the sensitivity, obj_fpr(reference, result) the share of false detections.
#
# Output seen (10 lesions in the reference, all apart from each other):
#   MedPy 0.5.2
#   found                    sensitivity   obj_tpr   share of false   obj_fpr   of voxels: recall   precision
#   all 10, none invented           1.00      1.00             0.00      0.00                1.00        1.00
#   1 of 10, none invented          0.10      1.00             0.00      0.90                0.10        1.00
#   all 10, 10 invented             1.00      0.50             0.50      0.00                1.00        0.50
#   5 of 10, 5 invented             0.50      0.50             0.50      0.50                0.50        0.50
#   5 of 10, 1 invented             0.50      0.83             0.17      0.50                0.50        0.83
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    MedPy==0.5.2 SimpleITK==2.5.7 numpy==2.2.6 scipy==1.17.1
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from medpy.metric.binary import obj_fpr, obj_tpr, precision, recall


def lesions(*columns: int) -> np.ndarray:
    mask = np.zeros((8, 8, 100), bool)
    for column in columns:
        mask[3:5, 3:5, 5 * column : 5 * column + 2] = True
    return mask


reference = lesions(*range(10))
cases = {
    "all 10, none invented": lesions(*range(10)),
    "1 of 10, none invented": lesions(0),
    "all 10, 10 invented": lesions(*range(20)),
    "5 of 10, 5 invented": lesions(*range(5, 15)),
    "5 of 10, 1 invented": lesions(*range(5, 11)),
}
print("MedPy", version("MedPy"))
print("found                    sensitivity   obj_tpr   share of false   obj_fpr   of voxels: recall   precision")
for title, result in cases.items():
    found = sum(bool((result & lesions(i)).any()) for i in range(10))
    drawn = sum(bool((result & lesions(i)).any()) for i in range(20))
    found_rate, false_rate = obj_tpr(result, reference), obj_fpr(result, reference)
    voxels = recall(result, reference), precision(result, reference)
    print(
        f"{title:24} {found / 10:11.2f} {found_rate:9.2f} {(drawn - found) / drawn:16.2f} {false_rate:9.2f}"
        f" {voxels[0]:19.2f} {voxels[1]:11.2f}"
    )
    assert voxels == (found / 10, found / drawn)
    assert (found_rate, false_rate) == (found / drawn, 1 - found / 10), "the rates have changed places"
    assert (obj_tpr(reference, result), obj_fpr(reference, result)) == (found / 10, (drawn - found) / drawn)
PYTHON
