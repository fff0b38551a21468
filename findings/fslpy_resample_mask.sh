#!/usr/bin/env bash
# fslpy 3.29.1: resampled by default, lesions up to 8 mm vanish from a mask of whole numbers; one of 20 mm keeps a third.
#
# resampleToPixdims, resampleToReference and the program resample_image smooth before they interpolate wherever voxels become
# larger by a tenth, axis by axis, in the type of the image. In a mask of 8 or 16 bits each pass cuts 0.99 to 0: only voxels
# far from any border stay. The same mask stored as float keeps its volume at a threshold of 0.5, and so do nearest
# neighbours. Intensities lose 1 to 1.5 units, too: nothing in a scan of 1000 units, 14 % in one of 10. No warning.
# What to do: order=0 ("--interp nearest") for labels; dtype=float ("--dtype float") for all else.
#
# Output seen (balls in a mask of voxels of 1 mm; volume after resampling, at 0.5 or above, divided by that before):
#   fslpy 3.29.1
#                   to 1 x 1 x 3 mm            to 1.5 x 1.5 x 1.5 mm      resample_image, 1 x 1 x 3 mm
#   diameter  mm3   integer   float  nearest   integer   float  nearest   integer   --dtype float
#       5 mm    66      0.00    0.73     0.91      0.00    0.82     0.87      0.00            0.73
#       8 mm   265      0.00    1.03     1.08      0.00    0.99     0.99      0.00            1.03
#      12 mm   899      0.12    0.93     0.94      0.01    0.92     0.97      0.12            0.93
#      20 mm  4180      0.33    1.01     1.01      0.15    0.96     1.01      0.33            1.01
#   a scan of whole numbers, to 1.5 mm: mean 9.5 before, 8.1 after; mean 998.6 before, 997.4 after
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    fslpy==3.29.1 nibabel==5.4.2 numpy==2.2.6 scipy==1.17.1
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import nibabel as nib
import numpy as np
from fsl.data.image import Image
from fsl.scripts.resample_image import main
from fsl.utils.image.resample import resampleToPixdims


def ball(diameter: float) -> np.ndarray:
    """A mask of 60 x 60 x 60 voxels of 1 mm."""
    squared = np.square(np.indices((60, 60, 60)) - np.array([30.2, 29.7, 30.0]).reshape(3, 1, 1, 1)).sum(axis=0)
    return (squared <= diameter**2 / 4).astype(np.uint8)


print("fslpy", version("fslpy"))
print("                to 1 x 1 x 3 mm            to 1.5 x 1.5 x 1.5 mm      resample_image, 1 x 1 x 3 mm")
print("diameter  mm3   integer   float  nearest   integer   float  nearest   integer   --dtype float")
seen = {}
for diameter in (5, 8, 12, 20):
    mask = ball(diameter)
    nib.save(nib.Nifti1Image(mask, np.eye(4)), "mask.nii.gz")
    kept = []
    for size in ((1, 1, 3), (1.5, 1.5, 1.5)):
        for how in ({}, {"dtype": float}, {"order": 0}):
            found, _ = resampleToPixdims(Image("mask.nii.gz"), size, **how)
            kept.append(np.count_nonzero(found >= 0.5) * np.prod(size) / mask.sum())
    for how in ([], ["--dtype", "float"]):
        main(["--dim", "1,1,3", *how, "mask.nii.gz", "resampled.nii.gz"])
        kept.append(np.count_nonzero(nib.load("resampled.nii.gz").get_fdata() >= 0.5) * 3 / mask.sum())
    texts = [f"{value:{width}.2f}" for value, width in zip(kept, (10, 8, 9, 10, 8, 9, 10, 16), strict=True)]
    print(f"{diameter:5} mm {mask.sum():5}{''.join(texts)}")
    seen[diameter] = [round(float(value), 2) for value in kept]
    assert kept[0] == kept[6] and kept[1] == kept[7]
    assert all(abs(kept[n] - 1) < 0.3 for n in (1, 2, 4, 5)), kept
assert [seen[d][0] for d in seen] == [0, 0, 0.12, 0.33], seen
assert [seen[d][3] for d in seen] == [0, 0, 0.01, 0.15], seen
texts = []
for level in (10, 1000):
    scan = (level * 2 * np.random.default_rng(1).random((60, 60, 60))).astype(np.int16)
    found, _ = resampleToPixdims(Image(scan, xform=np.eye(4)), (1.5, 1.5, 1.5))
    texts.append(f"mean {scan.mean():.1f} before, {found.mean():.1f} after")
    assert 1 < scan.mean() - found.mean() < 2, texts
print("a scan of whole numbers, to 1.5 mm:", "; ".join(texts))
PYTHON
