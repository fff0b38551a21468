#!/usr/bin/env bash
# picsl-c3d 1.4.6.0: -resample-mm 1x1x1mm of thick slices gives voxels smaller than 1 mm, by an amount that is each image's own.
#
# The number of new voxels is (n + 1/2) * spacing / new spacing, rounded down, not n * spacing / new spacing; the field of
# view is kept, so the spacing shrinks to what then fits. From twice the new spacing on there are voxels too many: 20 slices
# of 5 mm become 102 slices of 0.980 mm, 10 slices of 6 mm 63 of 0.952 mm. A count of voxels taken for cubic millimetres is 2
# to 5 % too high, and baseline and follow-up with other numbers of slices are put on other spacings.
# What to do: read the spacing of the result, or name the size in voxels (-resample 256x256x100).
#
# Output seen (-int 0 -resample-mm 1x1x1mm; in-plane voxels are 1 mm before and after):
#   picsl-c3d 1.4.6.0
#   slices             result               voxels in 1000 mm3
#   16 of  1.5 mm       24 of 1.0000 mm     1000
#   20 of  2.0 mm       41 of 0.9756 mm     1025
#   40 of  3.0 mm      121 of 0.9917 mm     1008
#   20 of  5.0 mm      102 of 0.9804 mm     1020
#   10 of  6.0 mm       63 of 0.9524 mm     1050
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check picsl-c3d==1.4.6.0 SimpleITK==2.5.7 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk
from picsl_c3d import Convert3D

print("picsl-c3d", version("picsl-c3d"))
print("slices             result               voxels in 1000 mm3")
for slices, spacing, expected in ((16, 1.5, 24), (20, 2.0, 41), (40, 3.0, 121), (20, 5.0, 102), (10, 6.0, 63)):
    image = sitk.Image(8, 8, slices, sitk.sitkUInt8)
    image.SetSpacing((1, 1, spacing))
    program = Convert3D()
    program.push(image)
    program.execute("-int 0 -resample-mm 1x1x1mm", out=io.StringIO())
    result = program.pop()
    size, new = result.GetSize(), result.GetSpacing()
    print(f"{slices} of {spacing:4.1f} mm {size[2]:8} of {new[2]:.4f} mm {1000 / np.prod(new):8.0f}")
    assert size == (8, 8, expected) and expected == int((slices + 0.5) * spacing)
    assert new[:2] == (1, 1) and abs(size[2] * new[2] - slices * spacing) < 1e-9
PYTHON
