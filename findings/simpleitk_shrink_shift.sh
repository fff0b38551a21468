#!/usr/bin/env bash
# SimpleITK 2.5.7: Shrink moves the content by half a voxel or not, by the number of voxels along the axis.
#
# Shrink takes every n-th voxel. It places the new grid so that both images have the same centre, takes the voxel nearest to
# each new place and, where the place is between two voxels, the upper one; the origin of the result says otherwise. So the
# content lies half an old voxel too low wherever (size - factor * new size + factor - 1) is odd: by factor 2 with 240 voxels,
# not with 241; by factor 3 the other way round. Along slices of 5 mm that is 2.5 mm. Label maps of one patient from a grid of
# 240 and one of 241 columns differ in place after Shrink, and so do Shrink and BinShrink of one image (the usual pair: the
# labels by Shrink, the image by BinShrink).
# What to do: sitk.Resample with nearest neighbours onto the grid of BinShrink.
#
# Output seen (voxels of 1 mm whose value is their place; place of the content minus place by the header, in mm):
#   SimpleITK 2.5.7
#   voxels   Shrink by 2   by 3   by 4   BinShrink by 2   by 3   by 4
#      240           0.5    0.0    0.5              0.0    0.0    0.0
#      241           0.0    0.5    0.0              0.0    0.0    0.0
#      242           0.5    0.0    0.5              0.0    0.0    0.0
#      243           0.0    0.0    0.0              0.0    0.0    0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk


def error(shrunk: sitk.Image) -> float:
    """Value (place of the content) minus place by the header, along the first axis, the same in all voxels."""
    values = sitk.GetArrayFromImage(shrunk)[0, 0]
    places = [shrunk.TransformIndexToPhysicalPoint((i, 0, 0))[0] for i in range(len(values))]
    differences = set(np.round(values - places, 6))
    assert len(differences) == 1, differences
    return differences.pop()


print("SimpleITK", sitk.Version.VersionString())
print("voxels   Shrink by 2   by 3   by 4   BinShrink by 2   by 3   by 4")
for voxels, expected in ((240, (0.5, 0, 0.5)), (241, (0, 0.5, 0)), (242, (0.5, 0, 0.5)), (243, (0, 0, 0))):
    image = sitk.GetImageFromArray(np.broadcast_to(np.arange(float(voxels)), (4, 4, voxels)).copy())
    taken = [error(sitk.Shrink(image, [factor, 1, 1])) for factor in (2, 3, 4)]
    averaged = [error(sitk.BinShrink(image, [factor, 1, 1])) for factor in (2, 3, 4)]
    print(f"{voxels:6} {taken[0]:13.1f} {taken[1]:6.1f} {taken[2]:6.1f} {averaged[0]:16.1f} {averaged[1]:6.1f} {averaged[2]:6.1f}")
    assert tuple(taken) == expected and not any(averaged), (voxels, taken, averaged)
PYTHON
