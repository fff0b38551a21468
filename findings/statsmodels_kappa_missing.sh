#!/usr/bin/env bash
# statsmodels 0.15.0: Fleiss' kappa takes a missing answer for a grade: raters who left out the same cases agree.
#
# aggregate_raters, which makes the table for fleiss_kappa, collects the grades by numpy.unique, and NaN is one of them. Each
# case that nobody graded (a scan that would not open, a batch not yet read) counts as complete agreement on "NaN" and raises
# kappa; each answer that one rater owes counts as disagreement and lowers it. The table adds up, so the check inside
# fleiss_kappa for equal numbers of raters passes. NaN shows only in the second result, the list of categories.
# What to do: leave out the cases without all answers, or use krippendorff.alpha, for which NaN is missing.
#
# Output seen (60 cases, four grades, three raters):
#   statsmodels 0.15.0, krippendorff 0.9.0
#   answers missing               cases with all   kappa   kappa of the cases with all   alpha
#   none                                      60    0.56                          0.56    0.56
#   6 cases, all three raters                 54    0.63                          0.56    0.57
#   20 cases, all three raters                40    0.71                          0.56    0.56
#   6 cases, one rater each                   54    0.51                          0.56    0.57
#   20 cases, one rater each                  40    0.38                          0.56    0.54
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    statsmodels==0.15.0 krippendorff==0.9.0 numpy==2.2.6 scipy==1.17.1 pandas==2.3.3
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import krippendorff
import numpy as np
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa


def kappa(answers: np.ndarray) -> float:
    table, _ = aggregate_raters(answers)
    return float(fleiss_kappa(table))


# By rules instead of at random: the second rater differs in every third case, the third one in every fifth.
case = np.arange(60)
grades = np.column_stack([case % 4 + 1, (case + (case % 3 == 0)) % 4 + 1, (case + 2 * (case % 5 == 0)) % 4 + 1]).astype(float)
print(f"statsmodels {version('statsmodels')}, krippendorff {version('krippendorff')}")
print("answers missing               cases with all   kappa   kappa of the cases with all   alpha")
seen = []
for title, rows, columns in (
    ("none", [], []),
    ("6 cases, all three raters", case[:6], slice(None)),
    ("20 cases, all three raters", case[:20], slice(None)),
    ("6 cases, one rater each", case[:6], case[:6] % 3),
    ("20 cases, one rater each", case[:20], case[:20] % 3),
):
    answers = grades.copy()
    answers[rows, columns] = np.nan
    complete = answers[~np.isnan(answers).any(axis=1)]
    alpha = krippendorff.alpha(answers.T, level_of_measurement="nominal")
    found = kappa(answers), kappa(complete), float(alpha)
    print(f"{title:29} {len(complete):14} {found[0]:7.2f} {found[1]:29.2f} {found[2]:7.2f}")
    seen.append(tuple(round(value, 2) for value in found))
assert seen == [(0.56, 0.56, 0.56), (0.63, 0.56, 0.57), (0.71, 0.56, 0.56), (0.51, 0.56, 0.57), (0.38, 0.56, 0.54)], seen
PYTHON
