#!/usr/bin/env bash
# SimpleITK 2.5.7: where two raters disagree, LabelVoting writes a label that nobody gave, such as another class of the study.
#
# Voxels without a majority get the largest label of the images plus 1 unless another is given. For two (or four) masks of 1
# that is 2: the "majority" (vote > 0) is the union of the raters, and (vote == 1) what more than half of them marked. With
# several classes the number depends on what the raters marked in the case at hand: with lesion 1, normal hyperintensity 2 and
# ventricle 3, disagreement is 4 where a ventricle was drawn and 3, that is, ventricle, where none was. No warning.
# What to do: set labelForUndecidedPixels to a number outside the scheme (255), and count it.
#
# Output seen (voxels of each label in the result):
#   SimpleITK 2.5.7
#   raters                              marked by each   all   any   LabelVoting
#   2, lesion                           256 256          160   352   1: 160, 2: 192
#   3, lesion                           256 256 256      100   448   1: 220
#   4, lesion                           256 256 256 32     8   448   1: 116, 2: 112
#   2, lesion and normal                256 256          160   352   1: 120, 2: 40, 3: 192
#   2, lesion, normal and ventricle     265 265          169   361   1: 120, 2: 40, 3: 9, 4: 192
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk


def mask(row: int, column: int, size: int = 8, slices: int = 4) -> np.ndarray:
    array = np.zeros((6, 24, 24), np.uint8)
    array[1 : 1 + slices, row : row + size, column : column + size] = 1
    return array


def classes(lesion: np.ndarray, ventricle: bool) -> np.ndarray:
    """The last two rows of each rater's lesion as normal hyperintensity (2), and a ventricle (3) on which all agree."""
    array = lesion.copy()
    array[:, 10:12][array[:, 10:12] == 1] = 2
    if ventricle:
        array[5, 20:23, 20:23] = 3
    return array


first, second, third, small = mask(4, 4), mask(4, 7), mask(7, 4), mask(5, 5, 4, 2)
cases = {
    "2, lesion": [first, second],
    "3, lesion": [first, second, third],
    "4, lesion": [first, second, third, small],
    "2, lesion and normal": [classes(first, False), classes(second, False)],
    "2, lesion, normal and ventricle": [classes(first, True), classes(second, True)],
}
print("SimpleITK", version("SimpleITK"))
print("raters                              marked by each   all   any   LabelVoting")
seen = []
for title, raters in cases.items():
    vote = sitk.GetArrayFromImage(sitk.LabelVoting([sitk.GetImageFromArray(rater) for rater in raters]))
    counts = {int(label): int(count) for label, count in zip(*np.unique(vote, return_counts=True), strict=True) if label}
    marked = np.array([rater > 0 for rater in raters])
    each = " ".join(str(int(one.sum())) for one in marked)
    told = ", ".join(f"{label}: {count}" for label, count in counts.items())
    print(f"{title:35} {each:14} {int(marked.all(0).sum()):5} {int(marked.any(0).sum()):5}   {told}")
    seen.append(counts)
assert seen == [
    {1: 160, 2: 192},
    {1: 220},
    {1: 116, 2: 112},
    {1: 120, 2: 40, 3: 192},
    {1: 120, 2: 40, 3: 9, 4: 192},
], seen
PYTHON
