#!/usr/bin/env bash
# antspyx 0.6.3: morphology(..., shape="box" | "cross" | "annulus" | "polygon") is always the ball, and that ball has corners.
#
# The argument is checked (an unknown name is an error) and then has no effect: one voxel, dilated with radius 2, becomes the
# same 81 voxels for each of the five shapes; a box would have 125, a cross 13. The ball of radius r holds more than the
# voxels within r: 19 for r = 1, where 7 lie within 1, unless radius_is_parametric=True, which gives these 7.
# A rim "of one voxel" around a lesion reaches over its edges.
# What to do: use another library's structuring element for anything but a ball, and radius_is_parametric=True for a ball.
#
# Output seen (voxels that one voxel becomes; operation "dilate", mtype "binary"):
#   antspyx 0.6.3
#   radius   ball  box  cross  annulus  polygon   parametric ball   true box  true ball  true cross
#   1           19   19     19       19       19                 7         27          7           7
#   2           81   81     81       81       81                33        125         33          13
#   3          179  179    179      179      179               123        343        123          19
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check antspyx==0.6.3 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import ants
import numpy as np

array = np.zeros((15, 15, 15), np.float32)
array[7, 7, 7] = 1
image = ants.from_numpy(array)
offsets = np.indices(array.shape) - 7


def grown(radius: int, shape: str, **options) -> np.ndarray:
    return ants.morphology(image, "dilate", radius, "binary", 1, shape, **options).numpy() > 0


print("antspyx", version("antspyx"))
print("radius   ball  box  cross  annulus  polygon   parametric ball   true box  true ball  true cross")
for radius, expected in ((1, 19), (2, 81), (3, 179)):
    masks = [grown(radius, shape) for shape in ("ball", "box", "cross", "annulus", "polygon")]
    parametric = int(grown(radius, "ball", radius_is_parametric=True).sum())
    box = (2 * radius + 1) ** 3
    ball = int(((offsets**2).sum(axis=0) <= radius**2).sum())
    counts = [int(mask.sum()) for mask in masks]
    print(
        f"{radius}        {counts[0]:5}{counts[1]:5}{counts[2]:7}{counts[3]:9}{counts[4]:9}"
        f"{parametric:18}{box:11}{ball:11}{6 * radius + 1:12}"
    )
    assert counts == [expected] * 5 and parametric == ball
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
try:
    grown(1, "cube")
except ValueError:
    pass
else:
    raise SystemExit("an unknown shape is no error any more")
PYTHON
