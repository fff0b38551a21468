#!/usr/bin/env bash
# niimath 1.0.20261016: "-kernel box 3" is 7 mm wide, not 3: the width that its help asks for is taken as half of the width.
#
# By the help, "box" makes a cube of width <size> mm centred on the voxel, and "boxv" one of width <size> voxels. On voxels
# of 1 mm the two should be one kernel. "boxv 3" dilates a single voxel to 3 x 3 x 3, "box 3" to 7 x 7 x 7, "box 1" to
# 3 x 3 x 3: each side grows by <size> mm. On such voxels a mask dilated by "box 3" gains a rim of 3 voxels, not 1.
# What to do: give "box" half of the width (box 1 for 3 mm), or use boxv and boxv3.
#
# Output seen (one voxel, dilated by -kernel ... -dilF):
#   niimath 1.0.20261016
#   voxels         kernel    grown to voxels   mm
#   1 x 1 x 1 mm   boxv 3        3 x  3 x  3   3 x 3 x 3
#   1 x 1 x 1 mm   box 3         7 x  7 x  7   7 x 7 x 7
#   1 x 1 x 1 mm   box 1         3 x  3 x  3   3 x 3 x 3
#   1 x 1 x 3 mm   box 3         7 x  7 x  3   7 x 7 x 9
#   1 x 1 x 3 mm   box 5        11 x 11 x  3   11 x 11 x 9
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    niimath==1.0.20261016 nibabel==5.4.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import re
import subprocess
from importlib.metadata import version

import nibabel as nib
import numpy as np

told = subprocess.run(["venv/bin/niimath"], capture_output=True, text=True)
assert re.search(r"-kernel box\s+<size>\s+: all voxels in a cube of width <size> mm", told.stdout + told.stderr)
print("niimath", version("niimath"))
print("voxels         kernel    grown to voxels   mm")
for spacing, kernel, expected in (
    ((1, 1, 1), "boxv 3", (3, 3, 3)),
    ((1, 1, 1), "box 3", (7, 7, 7)),
    ((1, 1, 1), "box 1", (3, 3, 3)),
    ((1, 1, 3), "box 3", (7, 7, 3)),
    ((1, 1, 3), "box 5", (11, 11, 3)),
):
    array = np.zeros((25, 25, 13), np.uint8)
    array[12, 12, 6] = 1
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), "in.nii")
    subprocess.run(
        ["venv/bin/niimath", "in.nii", "-kernel", *kernel.split(), "-dilF", "-gz", "0", "out.nii"], check=True
    )
    where = np.argwhere(np.asarray(nib.load("out.nii").dataobj))
    width = tuple(int(w) for w in where.max(axis=0) - where.min(axis=0) + 1)
    assert len(where) == np.prod(width) and width == expected, width
    mm = " x ".join(f"{w * s:g}" for w, s in zip(width, spacing, strict=True))
    print(f"{' x '.join(map(str, spacing))} mm   {kernel:8} {' x '.join(f'{w:2}' for w in width):>16}   {mm}")
PYTHON
