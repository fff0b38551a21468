"""Cases for the reports' tests: the small head with lesions where they are wanted, and a follow-up of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from flairseg.report.case import Case, Review, change_of
from flairseg.report.gathering import from_segmentation
from flairseg.segmentation.result import Segmentation

#: What comes in headers and names of people who mean no good, and of Unicode.
HOSTILE = '"></title><script>alert(1)</script>\u202e\x07\x00../../etc/passwd\n{{ 7*7 }}' + "W" * 10_000


def spots(labels: np.ndarray, count: int) -> np.ndarray:
    """Labels with ``count`` lesions of one to three voxels, none touching another, in the middle of the head."""
    out = np.where(labels == 3, 0, labels).astype(np.uint8)
    rng = np.random.default_rng(0)
    # Every third voxel of every second slice: neighbours are never touched.
    k, j, i = out.shape
    places = [(a, b, c) for a in range(3, k - 3, 2) for b in range(20, j - 20, 4) for c in range(18, i - 18, 4)]
    free = [place for place in places if not out[place]]
    for n in rng.permutation(len(free))[:count]:
        a, b, c = free[n]
        out[a, b, c : c + int(rng.integers(1, 3))] = 3
    return out


def case_with(
    segmentation: Segmentation,
    labels: np.ndarray,
    review: Review | None = None,
    followup: object = None,
    **details: Any,
) -> Case:
    """A case with other labels and a ``followup.json``; regions are not looked for, which takes seconds."""
    return from_segmentation(segmentation, review, change_of(followup), labels=labels, regions=False, **details)


def followup(name: str, studies: int = 3) -> dict[str, Any]:
    """Content of a ``followup.json``: a lesion of each state."""
    states = ("new", "enlarging", "stable", "shrinking", "resolved", "split", "merged")
    lesions = []
    for n, state in enumerate(states, 1):
        volumes = [100.0 + 10 * n] * studies
        if state == "new":
            volumes = [0.0] * (studies - 1) + [150.0]
        if state == "resolved":
            volumes = [150.0] + [0.0] * (studies - 1)
        lesions.append(
            {
                "number": n,
                "state": state,
                "intervals": ["stable"] * (studies - 2) + [state],
                "region": "deep_white_matter",
                "volumes_mm3": volumes,
                "change_mm3": volumes[-1] - volumes[0],
                "change_percent": None if not volumes[0] else 100 * (volumes[-1] / volumes[0] - 1),
                "beyond_noise": state != "stable",
                "centre_ras_mm": [25.0, 30.0, 22.0],
                "slices": [9, 10],
                "shown_in_study": 1 if state == "resolved" else studies,
            }
        )
    names = [f"earlier-{n}" for n in range(1, studies)] + [name]
    dates = ["2022-01-10", "2023-02-11", "2024-03-12", "2025-04-13"][-studies:]
    return {
        "studies": [
            {
                "case": case,
                "input": f"/data/{case}.nii.gz",
                "date": date,
                "volumes_ml": {"ventricles": 20.0 + n, "normal_wmh": 1.0, "lesion": 3.0 + n},
                "lesion_count": 4 + n,
            }
            for n, (case, date) in enumerate(zip(names, dates, strict=True))
        ],
        "lesions": lesions,
        "counts": dict.fromkeys(states, 1),
        "ventricles": {
            "volumes_ml": [20.0 + n for n in range(studies)],
            "change_ml": studies - 1.0,
            "change_percent": 5.0 * (studies - 1),
            "noise_percent": 8.0,
            "beyond_noise": False,
        },
        "noise_floor": {"surface_mm": 0.45, "text": "A change is called only beyond the noise."},
        "registration": [],
        "warnings": ["The slices of the first study are thicker."],
        "model": {"id": "tiny-v1.0"},
        "software": {"flairseg": "0"},
    }
