#!/usr/bin/env bash
# SimpleITK 2.5.7, nibabel 5.4.2: which of a NIfTI file's two affines holds depends on the code, in one of the readers alone.
#
# A coregistration that is written into the header leaves the qform as the scanner made it and changes the sform, with code
# 2 (aligned) or 4 (template). nibabel, and nilearn with it, takes the sform whenever its code is not 0. ITK (SimpleITK, and
# ANTsPy 0.6.3 alike) takes the sform if its code is 1 or if the qform's code is 0, else the qform: for codes 2 to 5 the
# registration is lost, without a word, and a mask drawn in one program lies beside the lesion in the other. With code 1 both agree, unless the sform has a shear (12 degrees of freedom):
# then ITK goes back to the qform with a warning of "unexpected scales". With both codes 0 nibabel centres the image.
# What to do: compare both affines before use; write both alike, or the qform's code as 0.
#
# Output seen (image of 4 x 5 x 6 voxels of 1 mm; the sform is 10 mm from the qform in every axis):
#   SimpleITK 2.5.7, nibabel 5.4.2
#   qform code   sform code   SimpleITK   nibabel
#            1            1   sform       sform
#            1            2   qform       sform
#            1            4   qform       sform
#            1            5   qform       sform
#            2            1   sform       sform
#            2            2   qform       sform
#            0            2   sform       sform
#            1            0   qform       qform
#            0            0   z = 0.0     z = -2.5
#            1            1   qform       sform  (sform with a shear)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import struct
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

FILE = Path("image.nii")
QFORM, SFORM = np.eye(4), np.eye(4)
SFORM[:3, 3] = 10
SHEARED = SFORM.copy()
SHEARED[0, 1] = 0.2


def name(z: float, codes: int) -> str:
    """Affine that the first voxel's height comes from."""
    return {0.0: "qform", 10.0: "sform"}[round(z, 3)] if codes else f"z = {z:.1f}"


sitk.ProcessObject.SetGlobalWarningDisplay(False)
print(f"SimpleITK {sitk.Version.VersionString()}, nibabel {nibabel.__version__}")
print("qform code   sform code   SimpleITK   nibabel")
seen = []
codes = (1, 1), (1, 2), (1, 4), (1, 5), (2, 1), (2, 2), (0, 2), (1, 0), (0, 0)
cases = [(*pair, SFORM) for pair in codes] + [(1, 1, SHEARED)]
for qform_code, sform_code, sform in cases:
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.uint8), sform)
    image.set_qform(QFORM, 1)
    image.set_sform(sform, 1)
    nibabel.save(image, FILE)
    header = bytearray(FILE.read_bytes())
    struct.pack_into("<hh", header, 252, qform_code, sform_code)
    FILE.write_bytes(header)
    itk, nib = sitk.ReadImage(str(FILE)).GetOrigin()[2], float(nibabel.load(FILE).affine[2, 3])
    sheared = "  (sform with a shear)" if sform is SHEARED else ""
    readers = name(itk, qform_code + sform_code), name(nib, qform_code + sform_code)
    print(f"{qform_code:10} {sform_code:12}   {readers[0]:11} {readers[1]}{sheared}")
    seen.append(readers)
agree, differ = ("sform", "sform"), ("qform", "sform")
assert seen == [
    *(agree, differ, differ, differ, agree, differ, agree),
    *(("qform", "qform"), ("z = 0.0", "z = -2.5"), differ),
], seen
PYTHON
