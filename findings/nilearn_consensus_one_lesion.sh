#!/usr/bin/env bash
# nilearn 0.14.1: intersect_masks, the majority vote of several masks, keeps one lesion of the patient's twelve: the largest.
#
# intersect_masks([rater1, rater2, rater3], threshold=0.5) is an obvious way to a consensus of raters. By default
# (connected=True, meant for masks of the brain) all but the largest component of the result is dropped, neighbours by faces:
# three identical masks of twelve lesions become a mask of one lesion, and so does a single mask. No warning; against such
# a reference, a method that finds the other eleven lesions has eleven false ones. The vote itself is strict: with two raters,
# threshold=0.5 is the intersection.
# What to do: connected=False for anything that is not one piece.
#
# Output seen (lesions of 8, 10, ... 30 voxels, none beside another; voxels and lesions of the result):
#   nilearn 0.14.1
#   raters                        threshold   default          connected=False
#   one                                 0.5   30 voxels, 1     228 voxels, 12
#   three, all alike                    0.5   30 voxels, 1     228 voxels, 12
#   three, all alike                      1   30 voxels, 1     228 voxels, 12
#   two, twelve and six lesions         0.5   18 voxels, 1     78 voxels, 6
#   two, twelve and six lesions           0   30 voxels, 1     228 voxels, 12
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nilearn==0.14.1 nibabel==5.4.2 numpy==2.2.6 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import nibabel as nib
import numpy as np
from nilearn.masking import intersect_masks
from scipy import ndimage


def rater(lesions: int) -> nib.Nifti1Image:
    """A mask of that many lesions, of 8, 10, 12, ... voxels, none beside another."""
    array = np.zeros((26, 8, 8), np.uint8)
    for number in range(lesions):
        array[1 + 2 * number].reshape(-1)[: 8 + 2 * number] = 1
    return nib.Nifti1Image(array, np.eye(4))


def told(image: nib.Nifti1Image) -> tuple[int, int]:
    array = np.asarray(image.dataobj)
    return int(np.count_nonzero(array)), ndimage.label(array)[1]


twelve, six = rater(12), rater(6)
cases = (
    ("one", [twelve], 0.5),
    ("three, all alike", [twelve] * 3, 0.5),
    ("three, all alike", [twelve] * 3, 1),
    ("two, twelve and six lesions", [twelve, six], 0.5),
    ("two, twelve and six lesions", [twelve, six], 0),
)
print("nilearn", version("nilearn"))
print("raters                        threshold   default          connected=False")
seen = []
for title, masks, threshold in cases:
    both = [told(intersect_masks(masks, threshold=threshold, **options)) for options in ({}, {"connected": False})]
    texts = [f"{voxels} voxels, {lesions}" for voxels, lesions in both]
    print(f"{title:29} {threshold:9}   {texts[0]:16} {texts[1]}")
    seen.append(both)
one = [(30, 1), (228, 12)]
assert seen == [one, one, one, [(18, 1), (78, 6)], one], seen
PYTHON
