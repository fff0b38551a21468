#!/usr/bin/env bash
# pingouin 0.7.0: intraclass_corr averages repeated readings first: the ICC of a single reading is that of the mean of two.
#
# Where a rater reads each case more than once, the long table has several rows of a case and a rater; intraclass_corr makes
# one cell of them by their mean, as pivot_table does, and the rows called "Single raters" are those of the mean of all
# sessions. The more sessions in the table, the better the raters: here from 0.38 to 0.71 with the same raters. A table
# joined twice by mistake passes just so. Missing readings are an error, repeated ones not even a warning.
# What to do: one session at a time, after a check that no (case, rater) occurs twice.
#
# Output seen (20 cases, two raters with an error as large as the spread of the cases; absolute agreement):
#   pingouin 0.7.0
#   each session by itself: 0.38, 0.37, 0.66, 0.19 (mean 0.40)
#   sessions in the table: 1   single raters 0.38   means of the sessions 0.38
#   sessions in the table: 2   single raters 0.52   means of the sessions 0.52
#   sessions in the table: 4   single raters 0.71   means of the sessions 0.71
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pingouin==0.7.0 numpy==2.2.6 scipy==1.17.1 pandas==2.3.3 statsmodels==0.15.0 matplotlib==3.11.2
MPLBACKEND=Agg "$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import pandas as pd
import pingouin

random = np.random.default_rng(0)
volume = random.normal(10, 3, 20)
table = pd.DataFrame(
    [
        (case, rater, session, volume[case] + random.normal(0, 3))
        for session in range(4)
        for rater in "ab"
        for case in range(20)
    ],
    columns=["case", "rater", "session", "ml"],
)


def single(rows: pd.DataFrame) -> float:
    """ICC(A,1), the agreement of single raters."""
    found = pingouin.intraclass_corr(rows, targets="case", raters="rater", ratings="ml").set_index("Type")
    return float(found.loc["ICC(A,1)", "ICC"])


print("pingouin", version("pingouin"))
each = [single(table[table.session == session]) for session in range(4)]
print("each session by itself:", ", ".join(f"{value:.2f}" for value in each), f"(mean {np.mean(each):.2f})")
seen = []
for sessions in (1, 2, 4):
    rows = table[table.session < sessions]
    means = rows.groupby(["case", "rater"], as_index=False).ml.mean()
    seen.append((round(single(rows), 2), round(single(means), 2)))
    print(f"sessions in the table: {sessions}   single raters {seen[-1][0]:.2f}   means of the sessions {seen[-1][1]:.2f}")
assert seen == [(0.38, 0.38), (0.52, 0.52), (0.71, 0.71)], seen
twice = single(pd.concat([table[table.session == 0]] * 2))
assert np.isclose(twice, each[0]), (twice, each)
PYTHON
