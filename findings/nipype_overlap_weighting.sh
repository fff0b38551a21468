#!/usr/bin/env bash
# nipype 1.11.0: Overlap with weighting="volume" weights each class by 1 / volume: the mean Dice is that of the smallest class.
#
# The help says that overlaps "are weighted by the class volume" or by its square; the code divides by them. A mean Dice
# meant to be carried by the ventricles is that of a few voxels of lesion, and volume_difference likewise. The volumes are
# those of volume1 alone. Both weights exist in the literature (Crum et al. 2006 divide, to give small classes a voice), so
# the figure is plausible either way. The lists roi_di and roi_voldiff are right.
# What to do: take roi_di and average it by hand.
#
# Output seen (ventricles of 24 ml overlap well, lesions of 0.2 ml hardly):
#   nipype 1.11.0
#   weighting     Dice by nipype   weighted as the help says
#   none                   0.588                       0.588
#   volume                 0.231                       0.944
#   squared_vol            0.225                       0.950
#   Dice of ventricles 0.950, of lesions 0.225
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    nipype==1.11.0 nibabel==5.4.2 numpy==2.2.6 scipy==1.15.3
cd "$folder"
NIPYPE_NO_ET=1 venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import nibabel as nib
import numpy as np
from nipype.algorithms.metrics import Overlap

truth, prediction = np.zeros((64, 64, 40), np.uint8), np.zeros((64, 64, 40), np.uint8)
truth[10:50, 10:40, 10:30] = 1
prediction[10:50, 10:40, 11:31] = 1
truth[52:60, 10:15, 10:15] = 2
prediction[57:62, 10:18, 12:17] = 2
for name, array in (("truth.nii", truth), ("prediction.nii", prediction)):
    nib.save(nib.Nifti1Image(array, np.eye(4)), name)

print("nipype", version("nipype"))
print("weighting     Dice by nipype   weighted as the help says")
volumes = np.array([np.sum(truth == label) for label in (1, 2)], float)
seen = {}
for weighting, power in (("none", 0), ("volume", 1), ("squared_vol", 2)):
    found = Overlap(volume1="truth.nii", volume2="prediction.nii", weighting=weighting).run().outputs
    each = np.array(found.roi_di)
    said, inverse = (float(np.average(each, weights=volumes**n)) for n in (power, -power))
    print(f"{weighting:13} {found.dice:14.3f} {said:27.3f}")
    seen[weighting] = round(found.dice, 3), round(said, 3)
    assert abs(found.dice - inverse) < 1e-4, (found.dice, inverse)
print(f"Dice of ventricles {each[0]:.3f}, of lesions {each[1]:.3f}")
assert seen == {"none": (0.588, 0.588), "volume": (0.231, 0.944), "squared_vol": (0.225, 0.95)}, seen
PYTHON
