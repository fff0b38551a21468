"""A rating study as it might have been: seeded ratings and marks, no patient in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flairseg.study.records import (
    ACCEPTABILITY,
    ACCEPTABLE,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    LIKERT_5,
    UNACCEPTABLE,
    MarkRow,
    Rating,
)


def simulate(
    cases: int = 53,
    raters: Sequence[str] = ("R1", "R2"),
    repeats: int = 2,
    arms: Sequence[str] = ("model A", "model B"),
    missing: int = 6,
    seed: int = 1,
) -> tuple[list[Rating], list[MarkRow]]:
    """Ratings and marks; the second arm is worse and slower, half of ``missing`` showings lack, half lack an answer."""
    rng = np.random.default_rng(seed)
    showings = cases * len(arms) * repeats
    order = {rater: rng.permutation(showings) for rater in raters}
    gaps = {int(n) for n in rng.choice(showings * len(raters), missing, replace=False)}
    ratings: list[Rating] = []
    marks: list[MarkRow] = []
    serial = -1
    for c in range(cases):
        case, lesions = f"case-{c + 1:03d}", int(rng.integers(3, 45))
        for a, arm in enumerate(arms):
            delineated = max(1, lesions + int(rng.normal(0, 2)) - 4 * a)
            volume = delineated * float(rng.lognormal(-1.5, 0.3))
            errors = rng.normal((0.9 + 1.6 * a, 0.7 + 2.2 * a), 0.6)
            places = rng.normal((30, -5, 15), (12, 35, 18), (2, 12, 3)) * rng.choice([[-1, 1, 1], [1, 1, 1]], (2, 12))
            for r, rater in enumerate(raters):
                for repeat in range(repeats):
                    serial += 1
                    fp, fn = (int(x) for x in np.clip(np.round(errors + rng.normal(0, 0.5, 2)), 0, (delineated, 12)))
                    true = delineated - fp
                    share = min(true / delineated, true / (true + fn) if true + fn else 0.0)
                    verdict = ACCEPTABLE if share + rng.normal(0.02, 0.012) > 0.86 else UNACCEPTABLE
                    quality = int(np.clip(round(1 + 8 * (share - 0.5) + rng.normal(0, 0.5)), 1, 5))
                    position = int(order[rater][(c * len(arms) + a) * repeats + repeat])
                    if serial in gaps and serial % 2:
                        continue
                    shown = {
                        "case": case,
                        "arm": arm,
                        "rater": rater,
                        "repeat": repeat,
                        "active_seconds": float(
                            np.exp(4.2 + 0.25 * a + 0.3 * r - 0.002 * position + rng.normal(0, 0.3))
                        ),
                        "delineated": delineated,
                        "false_positives": fp,
                        "false_negatives": fn,
                        "delineated_ml": volume,
                        "proposed": ACCEPTABLE if share > 0.9 else UNACCEPTABLE,
                        "position": position,
                        "protocol_sha256": "9f2c" * 16,
                    }
                    answer = None if serial in gaps else verdict
                    ratings.append(
                        Rating(
                            question="ok",
                            value=answer,
                            response_type=ACCEPTABILITY,
                            question_text="Acceptable?",
                            **shown,
                        )
                    )
                    ratings.append(
                        Rating(
                            question="outline", value=quality, response_type=LIKERT_5, question_text="Outline", **shown
                        )
                    )
                    for kind, count, around in ((FALSE_POSITIVE, fp, places[0]), (FALSE_NEGATIVE, fn, places[1])):
                        for n in range(count):
                            at = tuple(float(x) for x in around[n % 12])
                            lesion = n + 1 if kind == FALSE_POSITIVE else None
                            marks.append(MarkRow(case, arm, rater, repeat, kind, lesion, at, at if lesion else None))
    return ratings, marks
