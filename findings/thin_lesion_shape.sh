#!/usr/bin/env bash
# SimpleITK 2.5.7, scikit-image 0.26.0: a lesion of one slice, the usual one in slices of 5 mm, has ellipsoid diameters of 0 mm.
#
# LabelShapeStatisticsImageFilter of a lesion of 6 x 6 x 1 voxels of 1 x 1 x 5 mm: all three diameters of the equivalent
# ellipsoid are 0, those in the plane, too, beside a physical size of 180 mm3 (voxels are points there, so the moment across
# the slice is 0, and all diameters are scaled by the product of the moments). With a second slice they are there at once.
# The Feret diameter joins voxel centres: 0 mm for one voxel. The surface (perimeter) of one voxel is 8.4 instead of 22 mm2,
# that of a box of 6 x 6 x 30 mm 458 instead of 792, so roundness, at most 1 for any real body, is 1.1 to 1.7.
# regionprops(spacing=...) of scikit-image keeps the diameters in the plane, has an infinite solidity, and
# feret_diameter_max raises "Surface level must be within volume data range".
# What to do: take extents in voxels plus one for sizes, and set shape figures aside for lesions of one or two slices.
#
# Output seen (the true values are those of the box):
#   SimpleITK 2.5.7, scikit-image 0.26.0
#               |  true                 |  SimpleITK                                         |  scikit-image
#   voxels      |   mm3 surface   Feret |   mm3 surface   Feret   round  ellipsoid            |  axes          solidity   Feret
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    SimpleITK==2.5.7 scikit-image==0.26.0 scipy==1.17.1 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
import skimage
from skimage.measure import regionprops

SPACING = np.array([1.0, 1.0, 5.0])
print(f"SimpleITK {sitk.Version.VersionString()}, scikit-image {skimage.__version__}")
print("            |  true                 |  SimpleITK                                         |  scikit-image")
print("voxels      |   mm3 surface   Feret |   mm3 surface   Feret   round  ellipsoid            |  axes          solidity   Feret")
seen = {}
for size in ((1, 1, 1), (6, 6, 1), (6, 6, 2), (6, 6, 6)):
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[8 : 8 + size[2], 8 : 8 + size[1], 8 : 8 + size[0]] = 1
    sides = np.array(size) * SPACING
    true = sides.prod(), 2 * (sides.prod() / sides).sum(), np.linalg.norm(sides)
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(SPACING.tolist())
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputeFeretDiameterOn()
    shape.Execute(image)
    ellipsoid = np.round(shape.GetEquivalentEllipsoidDiameter(1), 1).tolist()
    itk = shape.GetPhysicalSize(1), shape.GetPerimeter(1), shape.GetFeretDiameter(1), shape.GetRoundness(1)
    props = regionprops(mask, spacing=SPACING[::-1])[0]
    axes = [round(float(value), 1) for value in (props.axis_major_length, props.axis_minor_length)]
    try:
        feret = f"{props.feret_diameter_max:.1f}"
    except ValueError:
        feret = "error"
    seen[size] = ellipsoid, [round(value, 2) for value in itk], axes, round(float(props.solidity), 2), feret
    name = " x ".join(map(str, size))
    print(
        f"{name:11} | {true[0]:5.0f} {true[1]:7.0f} {true[2]:7.1f} |"
        f" {itk[0]:5.0f} {itk[1]:7.1f} {itk[2]:7.1f} {itk[3]:7.2f}  {ellipsoid!s:20} |"
        f"  {axes!s:13} {props.solidity:8.2f} {feret:>7}"
    )
assert seen[1, 1, 1] == ([0, 0, 0], [5, 8.36, 0, 1.69], [0, 0], np.inf, "error"), seen
assert seen[6, 6, 1] == ([0, 0, 0], [180, 138.96, 7.07, 1.11], [7.6, 0], np.inf, "error"), seen
assert seen[6, 6, 2] == ([7.8, 7.8, 11.4], [360, 202.83, 8.66, 1.21], [11.2, 7.6], 1, "12.2"), seen
assert seen[6, 6, 6] == ([7.4, 7.4, 37.2], [1080, 458.3, 25.98, 1.11], [38.2, 7.6], 1, "30.8"), seen
PYTHON
