"""A small study to try everything on: painted images whose headers are full of what must never be seen."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import nibabel
import numpy as np
from flairseg.study.protocol_reading import parse_protocol

SHAPE_KJI = (6, 24, 20)
SPACING_IJK = (2.0, 2.0, 5.0)
#: What a rater must never come across, in any file or name.
PATIENT, DESCRIPTION, INTENT, HOSPITAL = "DOE^JANE", "secretmodel v7 output", "secretintent", "Hospital17"
ARMS = ("secretmodel", "humanreader")
#: (k, j, i) of each painted lesion: one voxel each, apart from each other.
LESIONS = ((2, 6, 5), (2, 12, 14), (3, 18, 9), (4, 6, 14))


class FakeClock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 9, tzinfo=timezone.utc)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def go(self, seconds: float) -> None:
        self.seconds += seconds
        self.moment += timedelta(seconds=seconds)


def affine(seed: int = 0) -> np.ndarray:
    """Axial, a little rotated, off-centre: RAS mm from (i, j, k)."""
    angle = 0.05
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag((-SPACING_IJK[0], -SPACING_IJK[1], SPACING_IJK[2]))
    matrix[:3, 3] = (20.0 + seed, 25.0, -10.0)
    return matrix


def ras_of(kji, seed: int = 0) -> tuple[float, float, float]:
    return tuple(float(x) for x in (affine(seed) @ [kji[2], kji[1], kji[0], 1])[:3])


def write_nifti(array_kji: np.ndarray, path: Path, seed: int = 0) -> None:
    """With everything in the header that a scanner's software may put there."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(array_kji.T), affine(seed))
    header = image.header
    header["descrip"] = DESCRIPTION.encode()
    header["db_name"] = PATIENT.encode()
    header["aux_file"] = b"sub-secret1.nii"
    header["intent_name"] = INTENT.encode()[:16]
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", f"{PATIENT} {HOSPITAL}".encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def write_case(folder: Path, case: str, seed: int, lesions: int = 3, arms=ARMS) -> dict:
    """Image and one mask per arm; the case as the protocol lists it."""
    rng = np.random.default_rng(seed)
    image = rng.integers(100, 900, SHAPE_KJI).astype(np.int16)
    home = folder / HOSPITAL / f"{PATIENT}-{case}"
    write_nifti(image, home / "flair.nii.gz", seed)
    listed = []
    for n, arm in enumerate(arms):
        mask = np.zeros(SHAPE_KJI, np.uint8)
        for place in LESIONS[: max(0, lesions - n)]:
            mask[place] = 3
        write_nifti(mask, home / f"{arm}.nii.gz", seed)
        listed.append({"id": arm, "mask": str((home / f"{arm}.nii.gz").relative_to(folder)), "model": f"{arm}-v7.1"})
    return {"id": case, "flair": str((home / "flair.nii.gz").relative_to(folder)), "arms": listed}


def protocol_json(cases: list[dict], **changes) -> dict:
    content = {
        "flairseg_study": 1,
        "id": "trial-1",
        "version": "1.0",
        "title": "Lesion masks",
        "cases": cases,
        "raters": [{"id": "R1", "seed": 11}, {"id": "R2", "seed": 22}],
        "repeats": 2,
        "washout": {"cases": 1},
        "questions": [{"id": "acceptable", "text": "Is the mask acceptable?", "type": "Acceptability"}],
    }
    content.update(changes)
    return {key: value for key, value in content.items() if value is not None}


def write_protocol(folder: Path, count: int = 3, arms=ARMS, **changes) -> Path:
    """A protocol file with its images."""
    cases = [write_case(folder, f"secretcase{n + 1}", n, arms=arms) for n in range(count)]
    path = folder / "protocol.json"
    path.write_text(json.dumps(protocol_json(cases, **changes)), encoding="utf-8")
    return path


def planned(count: int, arms=("a",), **changes):
    """A protocol without files, for its order alone; ``arms`` may be a list with one tuple per case."""
    each = arms if isinstance(arms, list) else [arms] * count
    cases = [
        {"id": f"c{n}", "flair": "f.nii", "arms": [{"id": arm, "mask": "m.nii"} for arm in each[n]]}
        for n in range(count)
    ]
    return parse_protocol(protocol_json(cases, **changes))


def answer_all(session, clock: FakeClock | None = None, limit: int | None = None) -> list[str]:
    """Answer what is left (at most ``limit``); the codes."""
    codes = []
    while (limit is None or len(codes) < limit) and (showing := session.next()) is not None:
        if clock is not None:
            clock.go(5.0)
        session.shown.answer("acceptable", session.shown.acceptance.proposed)
        session.shown.submit()
        codes.append(showing.code)
    return codes
