#!/usr/bin/env bash
# nibabel 5.4.2: labels that passed through float and are saved with their old uint8 header have no voxel equal to 1 any more.
#
# An edited mask is float64 as soon as it came from get_fdata(), zoom() or a product. Nifti1Image(array, affine, old.header)
# keeps the header's uint8, and save() stretches the range of the floats to 0...255 with a scl_slope, although each value is
# a whole number that uint8 holds. Stored are 0 and 255; read back, 1 is 1.00000006, so that (data == 1) is empty: a lesion
# volume of 0 ml. Where 255 is no multiple of the largest label, 1 comes back as 0.996 (labels 0, 1, 2) or 1.004 (0 to 4);
# astype(uint8) then turns label 1 into background, or label 3 into 2. SimpleITK returns the same fractions. No warning.
# What to do: array.astype(np.uint8) before Nifti1Image; np.rint(image.get_fdata()) after reading files of others.
#
# Output seen (100 voxels of each label; counts of the voxels equal to label 1, 2, ... after save and load):
#   nibabel 5.4.2, SimpleITK 2.5.7
#   labels          header   array     stored                       == label      after astype(uint8)   SimpleITK, == label
#   0, 1            uint8    float64   0, 255                       0             100                   100
#   0, 1, 2         uint8    float64   0, 127, 255                  0, 0          0, 100                0, 100
#   0, 1, 2, 3      uint8    float64   0, 85, 170, 255              0, 0, 0       100, 100, 100         100, 100, 100
#   0, 1, 2, 3, 4   uint8    float64   0, 64, 127, 191, 255         0, 0, 0, 0    200, 100, 0, 100      0, 0, 0, 100
#   0, 1, 2, 3      int16    float64   -32768, -10923, 10922, 32767 0, 0, 0       100, 100, 0           100, 100, 100
#   0, 1, 2, 3      uint8    uint8     0, 1, 2, 3                   100, 100, 100 100, 100, 100         100, 100, 100
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nibabel==5.4.2 SimpleITK==2.5.7 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import nibabel as nib
import numpy as np
import SimpleITK as sitk


def row(largest: int, header_type: type, array_type: type) -> list[list[int]]:
    """Save labels 0 to `largest`, 100 voxels each, and print and return what comes back."""
    labels = range(largest + 1)
    array = np.repeat(np.arange(largest + 1), 100).reshape(-1, 10, 10).astype(array_type)
    header = nib.Nifti1Header()
    header.set_data_dtype(header_type)
    nib.save(nib.Nifti1Image(array, np.eye(4), header), "labels.nii")
    image = nib.load("labels.nii")
    values, other = image.get_fdata(), sitk.GetArrayFromImage(sitk.ReadImage("labels.nii"))
    stored = np.unique(image.dataobj.get_unscaled()).tolist()
    counts = [
        [int(np.count_nonzero(found == label)) for label in labels[1:]]
        for found in (values, values.astype(np.uint8), other)
    ]
    assert np.array_equal(np.rint(values), array)
    columns = [", ".join(map(str, one)) for one in (labels, stored, *counts)]
    columns[1:1] = [np.dtype(header_type).name, np.dtype(array_type).name]
    print("".join(f"{text:{width}}" for text, width in zip(columns, (16, 9, 10, 29, 14, 22, 0), strict=True)))
    return counts


print(f"nibabel {version('nibabel')}, SimpleITK {version('SimpleITK')}")
titles = "labels", "header", "array", "stored", "== label", "after astype(uint8)", "SimpleITK, == label"
print("".join(f"{text:{width}}" for text, width in zip(titles, (16, 9, 10, 29, 14, 22, 0), strict=True)))
seen = [row(largest, np.uint8, np.float64) for largest in (1, 2, 3, 4)] + [row(3, np.int16, np.float64)]
assert seen == [
    [[0], [100], [100]],
    [[0, 0], [0, 100], [0, 100]],
    [[0, 0, 0], [100, 100, 100], [100, 100, 100]],
    [[0, 0, 0, 0], [200, 100, 0, 100], [0, 0, 0, 100]],
    [[0, 0, 0], [100, 100, 0], [100, 100, 100]],
], seen
assert row(3, np.uint8, np.uint8) == [[100] * 3] * 3
PYTHON
