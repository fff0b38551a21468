#!/usr/bin/env bash
# pyirr 0.84.1.2: Krippendorff's alpha holds for four categories only; with two, raters who agree in 37 of 40 cases get -0.78.
#
# kripp_alpha pairs the counts of the coincidence matrix with the distances between categories. With two or three categories
# (acceptable or not; none, minor, major) the agreements are paired with distances, too, and count as disagreements; with five
# the pairs come in another order than their distances, so that alpha of ordinal and interval grades is off; six end with an
# IndexError. No warning; a negative alpha is possible, so the figure looks like bad raters.
# What to do: the package krippendorff. kappa2 and intraclass_correlation of pyirr agree with scikit-learn and pingouin.
#
# Output seen (two raters, 40 cases, 37 times the same grade):
#   pyirr 0.84.1.2, krippendorff 0.9.0
#                pyirr                              krippendorff
#   categories   nominal     ordinal     interval   nominal   ordinal   interval
#            2   -0.779      -0.779      -0.779     0.852     0.852     0.852
#            3   -0.890      0.010       0.012      0.889     0.890     0.890
#            4   0.901       0.970       0.970      0.901     0.970     0.970
#            5   0.907       0.963       0.962      0.907     0.981     0.981
#            6   IndexError  IndexError  IndexError 0.911     0.986     0.987
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pyirr==0.84.1.2 krippendorff==0.9.0 numpy==2.2.6 pandas==2.3.3 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import krippendorff
import numpy as np
from pyirr import kripp_alpha

LEVELS = "nominal", "ordinal", "interval"


def own(ratings: np.ndarray, level: str) -> str:
    try:
        return f"{float(kripp_alpha(ratings, level).value):.3f}"
    except IndexError:
        return "IndexError"


print(f"pyirr {version('pyirr')}, krippendorff {version('krippendorff')}")
print(f"{'':13}{'pyirr':35}krippendorff")
print("categories   nominal     ordinal     interval   nominal   ordinal   interval")
seen = {}
for count in (2, 3, 4, 5, 6):
    first = np.arange(40) % count + 1
    second = first.copy()
    second[:3] = first[:3] % count + 1
    ratings = np.column_stack([first, second])
    found = [own(ratings, level) for level in LEVELS]
    true = [f"{krippendorff.alpha(ratings.T.astype(float), level_of_measurement=level):.3f}" for level in LEVELS]
    print(f"{count:10}   " + "  ".join(f"{text:10}" for text in found) + " " + "     ".join(true))
    seen[count] = found, true
assert seen == {
    2: (["-0.779"] * 3, ["0.852"] * 3),
    3: (["-0.890", "0.010", "0.012"], ["0.889", "0.890", "0.890"]),
    4: (["0.901", "0.970", "0.970"], ["0.901", "0.970", "0.970"]),
    5: (["0.907", "0.963", "0.962"], ["0.907", "0.981", "0.981"]),
    6: (["IndexError"] * 3, ["0.911", "0.986", "0.987"]),
}, seen
PYTHON
