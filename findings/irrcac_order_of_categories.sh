#!/usr/bin/env bash
# irrCAC 0.4.4: ordinal weights follow the sorted categories that occur, so text and unused grades change the coefficient.
#
# CAC(ratings, weights="quadratic") takes the categories from the table, sorts them as they are and gives them ranks:
#  - grades 1 to 11 that were read as text are ordered 1, 10, 11, 2, ...: Gwet's AC2 of raters who are never more than one
#    grade apart is 0.58 instead of 0.97, without a warning; "good", "moderate", "poor" are right by luck alone;
#  - a grade that nobody gave is no category: ratings of 1 and 5 alone agree as well as ratings of 1 and 2 do.
# What to do: give CAC(categories=[...]) the whole scale in its order, with numbers as numbers.
#
# Output seen:
#   irrCAC 0.4.4
#   AC2, quadratic, 40 cases, grades 1 to 11: as numbers 0.97182, as text 0.57737
#   AC2, quadratic, grades 1 and 5 of 1 to 5: categories as found 0.65517, as on the scale 0.67010
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check irrCAC==0.4.4 numpy==1.26.4 pandas==2.3.3
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import pandas as pd
from irrCAC.raw import CAC


def ac2(first, second, **options) -> float:
    table = pd.DataFrame({"first": first, "second": second})
    return CAC(table, weights="quadratic", **options).gwet()["est"]["coefficient_value"]


rng = np.random.default_rng(1)
first = rng.integers(1, 12, 40)
second = np.clip(first + rng.integers(-1, 2, 40), 1, 11)
numbers, text = ac2(first, second), ac2(first.astype(str), second.astype(str))
few = (np.array([1, 1, 5, 5, 1]), np.array([1, 1, 5, 1, 1]))
found, scale = ac2(*few), ac2(*few, categories=[1, 2, 3, 4, 5])
print("irrCAC", version("irrCAC"))
print(f"AC2, quadratic, 40 cases, grades 1 to 11: as numbers {numbers}, as text {text}")
print(f"AC2, quadratic, grades 1 and 5 of 1 to 5: categories as found {found:.5f}, as on the scale {scale:.5f}")
assert (numbers, text) == (0.97182, 0.57737)
assert found == ac2(*(np.where(grades == 5, 2, grades) for grades in few)) == 0.65517
assert scale == 0.6701
PYTHON
