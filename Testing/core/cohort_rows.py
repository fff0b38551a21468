"""Rows of a cohort without images, for what is made of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from flairseg.cohort.layout import Layout
from flairseg.cohort.model import BIDS, DONE, FAILED, ChangeRow, Session, SessionRow
from flairseg.cohort.options import CaseOptions
from flairseg.cohort.run_record import RunModel, RunRecord
from flairseg.errors import CaseWarning
from PIL import Image

RUN = RunRecord(
    "/data/study", "bids", RunModel("flair-unet", "1.2.3", "ab" * 32), CaseOptions("/model.onnx", "ab" * 32),
    software={"flairseg": "9.8.7", "python": "3.12.1", "SimpleITK": "2.5.0"}, sessions={"done": 3, "failed": 1},
    subjects=2, comparisons=1, finished="2026-01-02T03:04:05+00:00",
)  # fmt: skip


def row(subject: str, session: str = "", lesion_ml: float | None = 5.0, **more: Any) -> SessionRow:
    """A row with a result; fields of the session and of the row by name."""
    known = {name: more.pop(name) for name in ("site", "group", "age", "date") if name in more}
    values: dict[str, Any] = {
        "status": DONE, "volumes_ml": {"ventricles": 25.0, "normal_wmh": 2.0, "lesion": lesion_ml}, "lesion_count": 8,
        "largest_lesion_ml": 1.0, "expected_correction_ml": 0.5, "model": {"id": "flair-unet"},
    }  # fmt: skip
    return SessionRow(Session(subject, session, f"/data/{subject}", BIDS, "", **known), **{**values, **more})


def failed(subject: str, code: str = "not-an-image", message: str = "No.", advice: str = "Export again.") -> SessionRow:
    """A row without a result."""
    return SessionRow(Session(subject, "", f"/data/{subject}", BIDS, ""), FAILED, code, message, advice, trusted=False)


def many(number: int, sites: int = 3, layout: Layout | None = None, pictures: int = 0) -> list[SessionRow]:
    """Rows of a cohort of two sessions a subject: skewed loads, warnings, 5 % failed; key slices of the first ones."""
    rng = np.random.default_rng(18)
    made: list[SessionRow] = []
    for n in range(number):
        subject, session = f"{n // 2:05d}", str(1 + n % 2)
        if rng.random() < 0.05:
            made.append(failed(f"x{n:05d}", ["not-an-image", "not-enough-memory"][n % 2]))
            continue
        load, noise = float(rng.lognormal(1.5, 1.1)), float(rng.normal(30, 4))
        warnings = [CaseWarning("It looks like a T1.", "looks-like-t1")] if rng.random() < 0.03 else []
        warnings += [CaseWarning("Shifted.", "intensities-shifted")] if rng.random() < 0.2 else []
        ventricles, expected = float(rng.lognormal(3.2, 0.3)), float(load * rng.uniform(0.01, 0.3))
        made.append(
            row(
                subject, session, load, site=f"Site {n // 2 % sites}", group=["RRMS", "SPMS"][n // 2 % 2],
                age=float(rng.integers(18, 75)), date=f"20{20 + n % 2}-03-01", warnings=tuple(warnings),
                volumes_ml={"ventricles": ventricles, "normal_wmh": float(rng.lognormal(0.6, 0.4)), "lesion": load},
                lesion_count=int(rng.poisson(4 + 2 * load)), largest_lesion_ml=load / 3,
                expected_correction_ml=expected,
                trusted=not any(w.code == "looks-like-t1" for w in warnings), quality={"noise": noise, "motion": 0.1},
                below_bar=("noise",) if noise < 23 else (),
                files=_key_slice(layout, f"sub-{subject}_ses-{session}", rng) if layout and n < pictures else {},
            )
        )  # fmt: skip
    return made


def _key_slice(layout: Layout, case: str, rng: np.random.Generator) -> dict[str, str]:
    path: Path = layout.case_file(case, "key_slice")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (64, 52, 3), dtype=np.uint8)).resize((208, 256)).save(path, quality=60)
    return {"key_slice": layout.relative(path)}


def change(subject: str = "1", **more: Any) -> ChangeRow:
    """A comparison of two sessions."""
    values: dict[str, Any] = {
        "status": DONE, "days": 365, "counts": {"new": 2, "stable": 7}, "lesion_change_ml": 1.25,
        "ventricles_change_percent": 3.4, "ventricles_beyond_noise": True,
    }  # fmt: skip
    return ChangeRow(subject, f"sub-{subject}_ses-1", f"sub-{subject}_ses-2", **{**values, **more})
