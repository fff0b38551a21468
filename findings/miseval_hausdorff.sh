#!/usr/bin/env bash
# miseval 1.3.0: metric "HD" does not depend on how far apart two masks are; "AverageHausdorffDistance" is the largest distance.
#
# evaluate(truth, prediction, metric="HD") hands the masks to a function that wants lists of points, so each ROW of the
# image becomes one point with as many coordinates as there are columns. The result is no distance in the image: for a
# lesion of 4 x 4 pixels it is 0 wherever the prediction lies above or below it, and 2 (the root of 4 differing pixels)
# wherever it lies beside it. A three-dimensional mask is refused. metric="AverageHausdorffDistance" averages nothing: it is
# the maximum over both outlines, that is, the Hausdorff distance, in pixels.
# What to do: leave "HD" alone, take "AverageHausdorffDistance" for the Hausdorff distance in pixels, or use another library.
#
# Output seen (true lesion of 4 x 4 pixels; "with a tail": 10 more pixels in one row):
#   miseval 1.3.0
#   prediction             HD   Average...   true Hausdorff   true average
#   same place           0.00         0.00             0.00           0.00
#   5 rows below         0.00         5.00             5.00           3.50
#   40 rows below        0.00        40.00            40.00          38.50
#   5 columns beside     2.00         5.00             5.00           3.50
#   40 columns beside    2.00        40.00            40.00          38.50
#   with a tail          3.16        10.00            10.00           2.62
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    miseval==1.3.0 hausdorff==0.2.6 dictances==1.5.3 numba==0.68.1 numpy==2.2.6 scipy==1.17.1 scikit-image==0.26.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from miseval import evaluate
from scipy import ndimage
from scipy.spatial.distance import cdist


def outline(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


truth = np.zeros((64, 64), bool)
truth[10:14, 10:14] = True
tail = truth.copy()
tail[12, 14:24] = True
cases = {
    "same place": truth,
    "5 rows below": np.roll(truth, 5, 0),
    "40 rows below": np.roll(truth, 40, 0),
    "5 columns beside": np.roll(truth, 5, 1),
    "40 columns beside": np.roll(truth, 40, 1),
    "with a tail": tail,
}
print("miseval", version("miseval"))
print("prediction             HD   Average...   true Hausdorff   true average")
seen = {}
for title, prediction in cases.items():
    table = cdist(outline(truth), outline(prediction))
    directed = [table.min(axis=1), table.min(axis=0)]
    largest, average = max(d.max() for d in directed), max(d.mean() for d in directed)
    hd, named_average = (
        float(evaluate(truth.astype(int), prediction.astype(int), metric=name))
        for name in ("HD", "AverageHausdorffDistance")
    )
    print(f"{title:18} {hd:6.2f} {named_average:12.2f} {largest:16.2f} {average:14.2f}")
    seen[title] = hd
    assert named_average == largest, "the average is no longer the maximum"
    assert title == "same place" or average < largest
assert [round(hd, 2) for hd in seen.values()] == [0, 0, 0, 2, 2, 3.16], seen
PYTHON
