#!/usr/bin/env bash
# seg-metrics 1.2.8: a patient whose lesions are all missed has a Hausdorff distance of 0 mm, as a perfect outline has.
#
# Where one of the two masks is empty its distance map is set to 0, and all distances "to" it are then 0: hd, hd95, msd and
# mdsd are 0.0 for a missed patient and for an invented lesion, and their mean over patients is the better the more patients
# are missed. Two empty masks have a volume similarity of 1, where -2 to 2 is the range and 0 is the perfect value. The
# warnings that are logged speak of precision, recall and the error rates alone.
# What to do: set hd, hd95, msd and mdsd aside wherever one mask is empty, and report how many patients that were.
#
# Output seen (spacing 5 x 1 x 1 mm):
#   seg-metrics 1.2.8
#   prediction            dice  hd95 mm    hd mm   msd mm     vs
#   exact                 1.00     0.00     0.00     0.00   0.00
#   one voxel smaller     0.86     1.00     1.00     0.18  -0.29
#   found 20 mm away      0.00    20.00    20.00    18.50   0.00
#   all missed            0.00     0.00     0.00     0.00  -2.00
#   lesion invented       0.00     0.00     0.00     0.00   2.00
#   both empty            1.00     0.00     0.00     0.00   1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    seg-metrics==1.2.8 SimpleITK==2.5.7 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
from importlib.metadata import version

import numpy as np
from seg_metrics.seg_metrics import write_metrics

truth = np.zeros((12, 40, 40), np.uint8)
truth[4:7, 10:14, 10:14] = 1
smaller = truth.copy()
smaller[:, 10] = 0
nothing = np.zeros_like(truth)
cases = {
    "exact": (truth, truth),
    "one voxel smaller": (truth, smaller),
    "found 20 mm away": (truth, np.roll(truth, 20, axis=1)),
    "all missed": (truth, nothing),
    "lesion invented": (nothing, truth),
    "both empty": (nothing, nothing),
}
print("seg-metrics", version("seg-metrics"))
print("prediction            dice  hd95 mm    hd mm   msd mm     vs")
seen = {}
for title, (reference, prediction) in cases.items():
    table = write_metrics(labels=[1], gdth_img=reference, pred_img=prediction, spacing=[5, 1, 1])[0]
    seen[title] = [float(table[name][0]) for name in ("dice", "hd95", "hd", "msd", "vs")]
    dice, hd95, hd, msd, vs = seen[title]
    print(f"{title:20} {dice:5.2f} {hd95:8.2f} {hd:8.2f} {msd:8.2f} {vs:6.2f}")
assert seen["exact"][1:4] == seen["all missed"][1:4] == seen["lesion invented"][1:4] == [0, 0, 0]
assert seen["found 20 mm away"][2] == 20 and seen["one voxel smaller"][2] == 1
assert seen["exact"][4] == 0 and seen["both empty"][4] == 1
PYTHON
