#!/usr/bin/env bash
# SimpleITK 2.5.7: a mask of 0 and 255 switches N4 off without a word and empties STAPLE; a mask of 0 and 1 is refused by Otsu.
#
# N4BiasFieldCorrection(image, mask) looks at voxels with the mask value 1 alone. With 255 no voxel takes part: the
# "corrected" image is the input to the last bit, and no error or warning tells. STAPLE of masks of 255 is NaN in every voxel,
# so that "probability >= 0.5" is an empty consensus. OtsuThreshold(image, mask) has it the other way round: only 255 counts,
# and a mask of 1 ends with "Lower threshold cannot be greater than upper threshold".
# What to do: hand over (mask != 0), set SetMaskLabel, STAPLE's foregroundValue and Otsu's maskValue, and compare N4's output
# with its input.
#
# Output seen (true values 100 +/- 1 with a bias field along one axis):
#   SimpleITK 2.5.7
#   N4, mask of 1      deviation in the mask 6.97 -> 1.25
#   N4, mask of 255    deviation in the mask 6.97 -> 6.97, voxels changed: 0
#   STAPLE, masks of 1      48 voxels of 0.5 or more, 0 NaN
#   STAPLE, masks of 255    0 voxels of 0.5 or more, 25600 NaN
#   Otsu, mask of 1      Lower threshold cannot be greater than upper threshold.
#   Otsu, mask of 255    threshold found
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
k, j, i = np.indices((16, 40, 40)).astype(float)
noise = np.random.default_rng(0).standard_normal(k.shape)
array = ((100 + noise) * np.exp(0.01 * (i - 20))).astype(np.float32)
inside = np.zeros(k.shape, np.uint8)
inside[:, 8:32, 8:32] = 1
image = sitk.GetImageFromArray(array)
print("SimpleITK", sitk.Version.VersionString())


def n4(value: int) -> np.ndarray:
    method = sitk.N4BiasFieldCorrectionImageFilter()
    method.SetMaximumNumberOfIterations([20])
    return sitk.GetArrayFromImage(method.Execute(image, sitk.GetImageFromArray(inside * np.uint8(value))))


before = array[inside > 0].std()
after = {value: n4(value) for value in (1, 255)}
changed = int(np.count_nonzero(after[255] != array))
print(f"N4, mask of 1      deviation in the mask {before:.2f} -> {after[1][inside > 0].std():.2f}")
print(f"N4, mask of 255    deviation in the mask {before:.2f} -> {after[255][inside > 0].std():.2f}, voxels changed: {changed}")
assert after[1][inside > 0].std() < 1.5 < 6 < before and changed == 0

lesion = np.zeros(k.shape, np.uint8)
lesion[5:8, 10:14, 10:14] = 1
for value, expected in ((1, (48, 0)), (255, (0, lesion.size))):
    consensus = sitk.GetArrayFromImage(sitk.STAPLE([sitk.GetImageFromArray(lesion * np.uint8(value))] * 3))
    counts = int((consensus >= 0.5).sum()), int(np.isnan(consensus).sum())
    print(f"STAPLE, masks of {value:<5}  {counts[0]} voxels of 0.5 or more, {counts[1]} NaN")
    assert counts == expected, counts

for value in (1, 255):
    try:
        sitk.OtsuThreshold(image, sitk.GetImageFromArray(inside * np.uint8(value)))
        told = "threshold found"
    except RuntimeError as error:
        told = str(error).strip().rsplit("): ", 1)[-1]
    print(f"Otsu, mask of {value:<5}  {told}")
    assert told == ("threshold found" if value == 255 else "Lower threshold cannot be greater than upper threshold.")
PYTHON
