#!/usr/bin/env bash
# The 95 % Hausdorff distance of one pair of masks is 1 mm or 34 mm by the library: three false lesions 30 mm away count or do not.
#
# MedPy 0.5.2 (hd95): percentile of the distances of both surfaces together, one per surface voxel.
# grand-challenge-metrics 0.6.0, the former evalutils: percentile of each surface by itself, then the larger of the two.
# surface-distance 0.1 (DeepMind): as the second, weighted by the area of each surface element.
# Three false lesions of 2 x 4 x 4 voxels are 8 % of the predicted surface, 4 % of both surfaces together: the first library
# passes over them. Three flat ones are 2.4 % of the surface voxels but 5.2 % of the area: the second passes over them, too.
# All three agree as long as the masks differ by an even rim, and on the Hausdorff distance itself.
# What to do: state library and version beside every HD95, and compare none across papers; count false lesions separately.
#
# Output seen (reference of 6 x 20 x 20 voxels of 5 x 1 x 1 mm, prediction one voxel beside it; mm):
#   MedPy 0.5.2, grand-challenge-metrics 0.6.0, surface-distance 0.1
#   three false lesions      MedPy   grand-challenge   surface-distance   Hausdorff distance, each
#   none                       1.0               1.0                1.0                        1.0
#   of 2 x 4 x 4 voxels        1.0              33.4               33.7                       36.8
#   of 1 x 3 x 3 voxels        1.0               1.0               30.0                       34.8
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    MedPy==0.5.2 grand-challenge-metrics==0.6.0 surface-distance==0.1 SimpleITK==2.5.7 numpy==2.2.6 scipy==1.17.1
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from grand_challenge_metrics.stats import hausdorff_distance, percentile_hausdorff_distance
from medpy.metric.binary import hd, hd95
from surface_distance.metrics import compute_robust_hausdorff, compute_surface_distances

SPACING = (5.0, 1.0, 1.0)
names = "MedPy", "grand-challenge-metrics", "surface-distance"
print(", ".join(f"{name} {version(name)}" for name in names))
print("three false lesions      MedPy   grand-challenge   surface-distance   Hausdorff distance, each")
seen = {}
for size in (None, (2, 4, 4), (1, 3, 3)):
    truth, prediction = np.zeros((24, 96, 96), bool), np.zeros((24, 96, 96), bool)
    truth[8:14, 20:40, 20:40] = True
    prediction[8:14, 20:40, 21:41] = True
    for column in (10, 18, 26) if size else ():
        prediction[14 : 14 + size[0], 70 : 70 + size[1], column : column + size[2]] = True
    distances = compute_surface_distances(truth, prediction, SPACING)
    percentiles = (
        float(hd95(prediction, truth, SPACING)),
        float(percentile_hausdorff_distance(truth, prediction, 0.95, SPACING)),
        float(compute_robust_hausdorff(distances, 95)),
    )
    largest = {
        round(float(value), 1)
        for value in (
            hd(prediction, truth, SPACING),
            hausdorff_distance(truth, prediction, SPACING),
            compute_robust_hausdorff(distances, 100),
        )
    }
    name = f"of {size[0]} x {size[1]} x {size[2]} voxels" if size else "none"
    print(f"{name:20} {percentiles[0]:9.1f} {percentiles[1]:17.1f} {percentiles[2]:18.1f}   {largest.pop():24.1f}")
    assert not largest, "the Hausdorff distances differ"
    seen[size] = tuple(round(value, 1) for value in percentiles)
assert seen == {None: (1.0, 1.0, 1.0), (2, 4, 4): (1.0, 33.4, 33.7), (1, 3, 3): (1.0, 1.0, 30.0)}, seen
PYTHON
