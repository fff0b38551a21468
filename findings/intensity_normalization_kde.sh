#!/usr/bin/env bash
# intensity-normalization 3.0.1: the "tissue mode" of KDE is the mean of all voxels, unless the image was divided by 1000.
#
# KDENormalizer divides an image by the mode of a tissue, found in a smoothed histogram. It hands SciPy "brightest voxel
# / 80" as bandwidth, meant in intensities. SciPy multiplies a number given as bw_method by the standard deviation of the
# data: an image of 0 to 1000 is smoothed by a dozen standard deviations, and the only mode left is the mean of all
# voxels. So white matter is scaled by how much CSF a brain has: the same white matter comes out 18 % brighter in an
# atrophic brain than in a young one, where normalisation should make it equal. The result depends on the unit, too: the
# same image divided by 1000 is normalised rightly. No error, no warning.
# What to do: scale the image to about 0..1 first, or use WhiteStripeNormalizer, which is right at any scale; and look at
# the tissue mode it found (tissue_mode) beside the histogram.
#
# Output seen (white matter of 500 in three brains of FLAIR contrast that differ in CSF alone; modality FLAIR):
#   intensity-normalization 3.0.1, SciPy 1.16.3
#   CSF     mean of all    scale    tissue mode    white matter    by WhiteStripe
#   1000    537.5          1        533.7          0.94            495.7
#   1000    537.5          0.1      546.4          0.92            495.7
#   1000    537.5          0.001    495.7          1.01            495.7
#   3000    497.6          1        492.4          1.02            504.7
#   3000    497.6          0.1      541.3          0.92            504.7
#   3000    497.6          0.001    504.6          0.99            504.7
#   6000    451.0          1        450.7          1.11            500.5
#   6000    451.0          0.1      500.5          1.00            500.5
#   6000    451.0          0.001    500.5          1.00            500.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    intensity-normalization==3.0.1 numpy==2.2.6 scipy==1.16.3
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from intensity_normalization.adapters.images import NumpyImageAdapter
from intensity_normalization.domain.models import Modality
from intensity_normalization.normalizers.individual.kde import KDENormalizer
from intensity_normalization.normalizers.individual.whitestripe import WhiteStripeNormalizer

print(f"intensity-normalization {version('intensity-normalization')}, SciPy {version('scipy')}")
print("CSF     mean of all    scale    tissue mode    white matter    by WhiteStripe")
scaled = {1: [], 0.1: [], 0.001: []}
for csf in (1000, 3000, 6000):
    rng = np.random.default_rng(0)
    tissues = ((150, 25, csf), (500, 20, 9000), (620, 30, 7000), (900, 40, 400))  # CSF, white, grey matter, lesions
    brain = np.concatenate([rng.normal(*tissue) for tissue in tissues]).clip(1).reshape(-1, 1, 1)
    for scale, found in scaled.items():
        image = NumpyImageAdapter(brain * scale)
        kde, stripe = KDENormalizer(Modality.FLAIR), WhiteStripeNormalizer(modality=Modality.FLAIR)
        white = float(np.median(kde.fit_transform(image).get_data()[csf : csf + 9000]))
        stripe.fit(image)
        mode, right = kde.tissue_mode / scale, stripe._mean / scale
        print(f"{csf:<7} {brain.mean():<14.1f} {scale:<8} {mode:<14.1f} {white:<15.2f} {right:.1f}")
        found.append(white)
        assert abs(right - 500) < 6
        if scale == 1:
            assert abs(mode - brain.mean()) < 6, (mode, brain.mean())
        if scale == 0.001:
            assert abs(mode - 500) < 6, mode
spread = {scale: max(found) / min(found) for scale, found in scaled.items()}
assert spread[1] > 1.15 and spread[0.001] < 1.03, spread
PYTHON
