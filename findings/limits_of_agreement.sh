#!/usr/bin/env bash
# pyCompare 1.5.4, statsmodels 0.15.0: the Bland-Altman limits of agreement are too narrow: by 11 % for five patients.
#
# blandAltman and mean_diff_plot divide the squared differences by n, as numpy.std does unless told otherwise, so that the
# limits are those of the sample; Bland and Altman, and pingouin, divide by n - 1. A scan-rescan study of lesion volume has
# five to twenty patients, and its limits are the smallest change that later counts as one: the same pairs have other limits
# by library, and a better repeatability the fewer patients there are. The plots look alike.
# What to do: 1.96 * numpy.std(differences, ddof=1), with n and the formula beside the limits.
#
# Output seen (lesion volumes in ml of patients scanned twice; half of the distance between the limits drawn):
#   pyCompare 1.5.4, statsmodels 0.15.0, pingouin 0.7.0
#   patients   pyCompare   statsmodels   pingouin   1.96 SD, n - 1   1.96 SD, n
#          3        1.43          1.43       1.76             1.76         1.43
#          5        1.77          1.77       1.98             1.98         1.77
#         10        1.77          1.77       1.86             1.86         1.77
#         20        1.62          1.62       1.66             1.66         1.62
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pyCompare==1.5.4 statsmodels==0.15.0 pingouin==0.7.0 numpy==2.2.6 scipy==1.17.1 pandas==2.3.3 matplotlib==3.11.2
MPLBACKEND=Agg "$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import matplotlib.pyplot as plt
import numpy as np
import pingouin
import pyCompare
from statsmodels.graphics.agreement import mean_diff_plot

LIBRARIES = {
    "pyCompare": pyCompare.blandAltman,
    "statsmodels": mean_diff_plot,
    "pingouin": pingouin.plot_blandaltman,
}


def half(plot, first: np.ndarray, second: np.ndarray) -> float:
    """Half of the distance between the limits that a library draws."""
    figure, axes = plt.subplots()
    plot(first, second, ax=axes)
    levels = [float(line.get_ydata()[0]) for line in axes.lines]
    plt.close(figure)
    return (max(levels) - min(levels)) / 2


first = np.array(
    [10.2, 14.1, 8.3, 22.5, 17.0, 5.1, 31.4, 12.8, 9.9, 19.3, 7.7, 26.0, 15.5, 11.2, 4.4, 18.1, 21.9, 13.3, 6.8, 16.4]
)
second = np.array(
    [10.9, 13.2, 8.9, 21.1, 17.7, 5.6, 30.2, 13.5, 9.1, 20.4, 7.2, 26.9, 14.6, 11.8, 4.9, 17.0, 22.8, 12.7, 7.3, 15.8]
)
print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
print("patients   pyCompare   statsmodels   pingouin   1.96 SD, n - 1   1.96 SD, n")
for count in (3, 5, 10, 20):
    pairs = first[:count], second[:count]
    found = [half(plot, *pairs) for plot in LIBRARIES.values()]
    right, narrow = (1.96 * float(np.std(pairs[0] - pairs[1], ddof=ddof)) for ddof in (1, 0))
    print(f"{count:8} {found[0]:11.2f} {found[1]:13.2f} {found[2]:10.2f} {right:16.2f} {narrow:12.2f}")
    assert np.allclose(found, [narrow, narrow, right]) and np.isclose(narrow / right, np.sqrt(1 - 1 / count))
PYTHON
