#!/usr/bin/env bash
# nii2dcm 0.1.1: the DICOM series of a NIfTI image lies elsewhere: mirrored through the scanner's centre, tilt reversed.
#
# NIfTI counts to the right and to the front, DICOM to the left and to the back. nii2dcm turns the directions but not the
# position: ImagePositionPatient has the signs of NIfTI, and is that of the slice below. The directions' third component is
# turned as well, so slices tilted to the front come out tilted to the back. PixelSpacing has two decimals: 0.46875 mm
# becomes 0.47, and areas and volumes 0.5 % larger. So a FLAIR, or a segmentation, brought to a viewer this way fits neither
# the patient's other series nor its own source, and the converted series looks well by itself. No error, no word about it.
# What to do: send it back through a converter and compare the places of a landmark, the spacing and a volume.
#
# Output seen (a landmark and a lesion in slices of 3.3 mm, pixels of 0.46875 mm; SimpleITK reads both files):
#   nii2dcm 0.1.1
#   slices          file    landmark: left, back, up (mm)   tilt   pixel, mm   lesion, mm3
#   axial           NIfTI       -89.1      98.6    -36.7         0     0.46875        261.0
#   axial           DICOM        90.9    -101.4    -40.0         0        0.47        262.4
#   tilted by 15    NIfTI       -89.1      99.5    -36.4       -15     0.46875        261.0
#   tilted by 15    DICOM        90.9    -101.4    -40.4        15        0.47        262.4
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    nii2dcm==0.1.1 pydicom==3.0.2 nibabel==5.4.2 SimpleITK==2.5.7 numpy==2.2.6 matplotlib==3.11.2
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import contextlib
import io
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nii2dcm.run import run_nii2dcm

LANDMARK, LESION = 500, 100


def seen_in(image: sitk.Image) -> tuple[list[float], float, float, float]:
    """Place of the landmark (mm, DICOM's axes), tilt of the slices (degrees to the back), pixel (mm), lesion (mm3)."""
    array = sitk.GetArrayFromImage(image)
    index = [int(n) for n in np.argwhere(array == LANDMARK)[0][::-1]]
    direction, spacing = np.array(image.GetDirection()).reshape(3, 3), image.GetSpacing()
    front = direction[:, np.argmax(np.abs(direction[1, :2]))]
    tilt = np.degrees(np.arcsin(front[2] / np.sign(front[1])))
    volume = np.count_nonzero(array == LESION) * np.prod(spacing)
    return list(image.TransformIndexToPhysicalPoint(index)), float(tilt), spacing[0], float(volume)


print("nii2dcm", version("nii2dcm"))
print("slices          file    landmark: left, back, up (mm)   tilt   pixel, mm   lesion, mm3")
seen = []
array = np.zeros((40, 48, 10), np.int16)
array[8:20, 30:40, 3:6] = LESION
array[2, 3, 1] = LANDMARK
for name, degrees in (("axial", 0.0), ("tilted by 15", 15.0)):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.46875, 0.46875, 3.3])
    affine[:3, 3] = 90, -100, -40
    nib.save(nib.Nifti1Image(array, affine), "scan.nii.gz")
    series = Path(name)
    series.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
        run_nii2dcm("scan.nii.gz", str(series), dicom_type="MR")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    for file, image in (("NIfTI", sitk.ReadImage("scan.nii.gz")), ("DICOM", reader.Execute())):
        place, tilt, pixel, volume = seen_in(image)
        line = *(round(value, 1) for value in place), round(tilt) + 0, round(pixel, 5), round(volume, 1)
        left, back, up, tilt, pixel, volume = line
        print(f"{name:14}  {file:6} {left:10.1f} {back:9.1f} {up:8.1f} {tilt:9} {pixel:11} {volume:12.1f}")
        seen.append(line)
assert seen == [
    (-89.1, 98.6, -36.7, 0, 0.46875, 261.0),
    (90.9, -101.4, -40.0, 0, 0.47, 262.4),
    (-89.1, 99.5, -36.4, -15, 0.46875, 261.0),
    (90.9, -101.4, -40.4, 15, 0.47, 262.4),
], seen
PYTHON
