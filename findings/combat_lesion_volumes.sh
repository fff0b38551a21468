#!/usr/bin/env bash
# neuroCombat 0.2.12, neuroHarmonize 2.5.2: harmonised for site, patients without a lesion in a region have up to 5.4 ml of lesions.
#
# Both remove site effects from a table of patients and figures (ComBat), by the same code. Volumes of lesions by region are
# 0 in many patients:
#  - a region in which no patient of one site has a lesion: both give these 20 patients -0.7 to 5.4 ml, without a warning;
#  - a region in which no patient at all has one: neuroCombat gives each site its own volume (-0.14, 0.02, 0.13 ml),
#    neuroHarmonize returns NaN for EVERY region of every patient, with no more than a RuntimeWarning of numpy's each;
#  - one figure alone, such as the total volume: all NaN from neuroCombat, numbers from neuroHarmonize.
# What to do: harmonise counts and volumes by a model of their distribution, or leave out figures that are constant over a
# site; look for NaN and for values below 0.
#
# Output seen (60 patients of three sites, age as covariate, six regions; volumes in ml):
#   neuroCombat 0.2.12, neuroHarmonize 2.5.2
#   table                        by                NaN   below 0   patients of 0 ml in that region have
#   six regions                  neurocombat         0        10   -
#   six regions                  neuroharmonize      0        10   -
#   no lesion in one at site c   neurocombat         0        13   -0.72 to 5.37 ml (20 patients)
#   no lesion in one at site c   neuroharmonize      0        13   -0.72 to 5.37 ml (20 patients)
#   no lesion in one             neurocombat         0        23   -0.14 to 0.13 ml (60 patients)
#   no lesion in one             neuroharmonize    360         0   nan to nan ml (60 patients)
#   one figure                   neurocombat        60         0   -
#   one figure                   neuroharmonize      0         8   -
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    neuroCombat==0.2.12 neuroHarmonize==2.5.2 statsmodels==0.15.0 scipy==1.17.1 pandas==2.3.3 numpy==1.26.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
from importlib.metadata import version

import numpy as np
import pandas as pd
from neuroCombat import neuroCombat
from neuroHarmonize import harmonizationLearn

random = np.random.default_rng(0)
site = np.repeat(["a", "b", "c"], 20)
age = random.uniform(20, 60, 60)
volumes = random.lognormal(1, 1, (60, 6)) + 2 * (site == "b")[:, None]
at_one_site, nowhere = volumes.copy(), volumes.copy()
at_one_site[site == "c", 3] = 0
nowhere[:, 3] = 0


def by_neurocombat(table: np.ndarray) -> np.ndarray:
    covariates = pd.DataFrame({"site": site, "age": age})
    return neuroCombat(dat=table.T, covars=covariates, batch_col="site", continuous_cols=["age"])["data"].T


def by_neuroharmonize(table: np.ndarray) -> np.ndarray:
    return harmonizationLearn(table, pd.DataFrame({"SITE": site, "age": age}))[1]


print(f"neuroCombat {version('neuroCombat')}, neuroHarmonize {version('neuroHarmonize')}")
print("table                        by                NaN   below 0   patients of 0 ml in that region have")
cases = {
    "six regions": volumes,
    "no lesion in one at site c": at_one_site,
    "no lesion in one": nowhere,
    "one figure": volumes[:, :1],
}
seen = []
for title, table in cases.items():
    for method in (by_neurocombat, by_neuroharmonize):
        with contextlib.redirect_stdout(io.StringIO()):
            result = method(table)
        lost, negative = int(np.isnan(result).sum()), int((result < 0).sum())
        told = "-"
        if title.startswith("no lesion"):
            empty = result[:, 3][table[:, 3] == 0]
            told = f"{empty.min():.2f} to {empty.max():.2f} ml ({len(empty)} patients)"
        name = method.__name__.removeprefix("by_")
        print(f"{title:28} {name:14} {lost:6} {negative:9}   {told}")
        seen.append((lost, negative, told))
assert seen == [
    *((0, 10, "-"), (0, 10, "-")),
    *((0, 13, "-0.72 to 5.37 ml (20 patients)"), (0, 13, "-0.72 to 5.37 ml (20 patients)")),
    *((0, 23, "-0.14 to 0.13 ml (60 patients)"), (360, 0, "nan to nan ml (60 patients)")),
    *((60, 0, "-"), (0, 8, "-")),
], seen
PYTHON
