#!/usr/bin/env bash
# antspyx 0.6.3: iMath(mask, "GetLargestComponent") is 1 in EVERY voxel where no component has 50 voxels or more.
#
# The smallest size that counts is 50 voxels unless another is given. What falls short is not returned empty and not kept:
# the whole image, background and all, becomes one component. So does an empty mask. A lesion of 49 voxels is "cleaned" to
# a mask of the full field of view (here 7680 voxels), without a message, and one of 50 voxels stays as it is.
# What to do: iMath(mask, "GetLargestComponent", 1), and not at all where the mask may be empty.
#
# Output seen (volume of 16 x 20 x 24 = 7680 voxels):
#   antspyx 0.6.3
#   mask                         in   result   result with size 1
#   one component of 50          50       50                   50
#   one component of 49          49     7680                   49
#   one component of 1            1     7680                    1
#   components of 40, 30, 8      78     7680                   40
#   empty                         0     7680                 7680
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check antspyx==0.6.3 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import ants
import numpy as np


def mask(*sizes: int) -> ants.ANTsImage:
    """One component of each size, in slices that are no neighbours."""
    array = np.zeros((16, 20, 24), np.float32)
    for number, size in enumerate(sizes):
        array[1 + 3 * number].reshape(-1)[:size] = 1
    return ants.from_numpy(array)


cases = {
    "one component of 50": (50,),
    "one component of 49": (49,),
    "one component of 1": (1,),
    "components of 40, 30, 8": (40, 30, 8),
    "empty": (),
}
print("antspyx", version("antspyx"))
print("mask                         in   result   result with size 1")
seen = []
for title, sizes in cases.items():
    image = mask(*sizes)
    counts = [int(np.count_nonzero(found.numpy())) for found in (
        image, ants.iMath(image, "GetLargestComponent"), ants.iMath(image, "GetLargestComponent", 1)
    )]
    print(f"{title:24} {counts[0]:6} {counts[1]:8} {counts[2]:20}")
    seen.append(tuple(counts))
assert seen == [(50, 50, 50), (49, 7680, 49), (1, 7680, 1), (78, 7680, 40), (0, 7680, 7680)], seen
PYTHON
