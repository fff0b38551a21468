#!/usr/bin/env bash
# ANTsPy 0.6.3: label_image_centroids returns points outside the label, axes exchanged; physical=True changes nothing.
#
# The table of coordinates is made for an array that runs the other way round: the first and the third axis change places,
# and where sides differ in length, as in any head scan, indices of different slices are mixed. The centroid of a lesion
# is a point outside it; only a cube's is right, read backwards, as in the 2 x 2 x 2 voxels of its example. physical=True
# ("whether you want physical space coordinates") returns the same numbers. No error, no warning.
# What to do: ants.get_centroids(image), in physical space and right, or the centroids of ants.label_geometry_measures.
#
# Output seen (a label of one voxel; spacing 1 x 1 x 5 mm, origin -10, 20, 30 mm):
#   ANTsPy 0.6.3
#   size of the image    index            centroid         physical=True    true place       get_centroids
#   40 x 40 x 40         10, 20, 30       30, 20, 10       30, 20, 10       0, 40, 180       0, 40, 180
#   40 x 40 x 20         10, 20, 15       15, 10, 10       15, 10, 10       0, 40, 105       0, 40, 105
#   40 x 48 x 20         10, 20, 15       15, 10, 12       15, 10, 12       0, 40, 105       0, 40, 105
#   181 x 217 x 181      90, 100, 80      80, 100, 108     80, 100, 108     80, 120, 430     80, 120, 430
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check antspyx==0.6.3 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import ants
import numpy as np

print("ANTsPy", version("antspyx"))
print("size of the image    index            centroid         physical=True    true place       get_centroids")
cases = {
    ((40, 40, 40), (10, 20, 30)): [30, 20, 10],
    ((40, 40, 20), (10, 20, 15)): [15, 10, 10],
    ((40, 48, 20), (10, 20, 15)): [15, 10, 12],
    ((181, 217, 181), (90, 100, 80)): [80, 100, 108],
}
for (size, index), expected in cases.items():
    array = np.zeros(size, np.float32)
    array[index] = 1
    image = ants.from_numpy(array, origin=(-10.0, 20.0, 30.0), spacing=(1.0, 1.0, 5.0))
    told, physical = (ants.label_image_centroids(image, physical=flag)["vertices"][0] for flag in (False, True))
    true = ants.transform_index_to_physical_point(image, list(index))
    other = ants.get_centroids(image)[0, :3]
    columns = (", ".join(f"{value:.0f}" for value in point) for point in (index, told, physical, true, other))
    print(f"{' x '.join(map(str, size)):20}", *(f"{text:16}" for text in columns))
    assert told.tolist() == physical.tolist() == expected, (size, told, physical)
    assert np.allclose(other, true)
PYTHON
