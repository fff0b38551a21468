"""Test-retest variability and false changes of follow-up: ``python -m training.measure_follow``.

Runs 20 trials without change with ``flairseg.longitudinal.follow`` and prints for each the number
of lesions classified as new, enlarging etc., then the figures behind the constants of
``flairseg/longitudinal/noise.py`` and ``registration.py``. A trial compares

- a scan of a Tabriz or Ljubljana patient with a copy rotated by up to 4 degrees and shifted by up to 4 mm (cubic
  interpolation to a new grid), with other brightness, coil sensitivity and noise;
- two scans of a digital phantom with different tilt, slice positions, slice thickness and noise, resampled without
  interpolation.

The Ljubljana pairs that ``evaluate_change`` measures (patients 01 and 03) are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from flairseg.image.volume import Volume
from flairseg.longitudinal import rigid
from flairseg.longitudinal.followup import follow
from flairseg.longitudinal.grading import repositioned
from flairseg.longitudinal.result import FollowUp
from flairseg.phantom import Scan, make_phantom

from .data import HELD_BACK, HELD_BACK_LONGITUDINAL, data_folder, read, refuse_held_back

PHANTOMS = 4
#: Tabriz patients with a second copy.
TWICE = 3


def trials(folder: Path, phantoms: int) -> Iterator[tuple[str, Callable[[], tuple[Volume, Volume, np.ndarray]]]]:
    """Name of each trial and a function that returns scan, copy, and the motion between them (4 x 4, RAS mm)."""
    found: list[tuple[str, Callable[[], tuple[Volume, Volume, np.ndarray]]]] = []
    patients = sorted((folder / "tabriz").glob("sub-*/flair.nii.gz"))
    for n, path in enumerate([*patients, *patients[:TWICE]]):
        name = path.parent.name
        refuse_held_back(name, HELD_BACK)
        found.append((name if n < len(patients) else f"{name}-again", partial(_copied, path, name, n)))
    for n, name in enumerate(("patient04/study1", "patient09/study2", "patient20/study2")):
        refuse_held_back(name, HELD_BACK_LONGITUDINAL)
        found.append(
            (name, partial(_copied, folder / "ljubljana_longitudinal" / f"{name}_flair.nii.gz", name, 100 + n))
        )
    drawn = [(f"phantom-{n}", partial(phantom_twice, n)) for n in range(phantoms)]
    for place, trial in enumerate(drawn):
        found.insert(min(3 * place + 1, len(found)), trial)
    yield from found


def _copied(path: Path, name: str, seed: int) -> tuple[Volume, Volume, np.ndarray]:
    volume = replace(read(path), name=name)
    return (volume, *repositioned(volume, seed))


def phantom_twice(seed: int) -> tuple[Volume, Volume, np.ndarray]:
    """Two scans of one phantom, which does not move: only the slices differ."""
    first = make_phantom(seed).volume
    # Receive field and noise depend on the shape of the image as well as on the seed.
    again = make_phantom(seed, (22, 240, 240), (0.95, 0.95, 6.2), scan=Scan(noise=0.025, tilt_deg=-5.0)).volume
    return first, replace(again, name=f"{again.name}-again"), np.eye(4)


def record(name: str, result: FollowUp, motion: np.ndarray) -> dict:
    """Result of a trial as values for JSON."""
    found = result.registrations[0]
    k, j, i = np.nonzero(result.studies[0].labels > 0)
    affine = result.studies[0].volume.ijk_to_ras
    points = np.stack([i, j, k], axis=1) @ affine[:3, :3].T + affine[:3, 3]
    error = np.linalg.norm(rigid.apply(found.a_to_b, points) - rigid.apply(motion, points), axis=1)
    return {
        "trial": name,
        "counts": result.counts,
        "registration_mm": float(error.max()) if len(error) else None,
        "correlation": found.correlation,
        "consistency_mm": found.consistency_mm,
        "scale_percent": found.scale_percent,
        "ventricles_percent": result.ventricles.change_percent,
        "lesions": [
            {
                "volumes": lesion.track.volumes_mm3,
                "state": lesion.state,
                "contrast": lesion.judgement.evidence.contrast,
                "significance": lesion.judgement.evidence.significance,
                "log_odds": lesion.judgement.log_odds,
                "note": lesion.judgement.note,
            }
            for lesion in result.lesions
        ],
        "voxel_mm3": max(s.volume.voxel_mm3 for s in result.studies),
    }


def print_figures(records: list[dict]) -> None:
    """Print the table of trials and the figures behind the constants."""
    states = list(records[0]["counts"])
    print(f"{'trial':20}", *(f"{s:>9}" for s in states), f"{'reg. mm':>9} {'corr.':>6} {'ventr. %':>9}")
    for r in records:
        figures = f"{r['registration_mm'] or 0:9.2f} {r['correlation']:6.3f} {r['ventricles_percent'] or 0:9.2f}"
        print(f"{r['trial']:20}", *(f"{r['counts'][s]:9d}" for s in states), figures)
    lesions = [(lesion, r["voxel_mm3"]) for r in records for lesion in r["lesions"]]
    both = [(lesion["volumes"], voxel) for lesion, voxel in lesions if min(lesion["volumes"]) > 0]
    volumes = np.array([v for v, _ in both])
    mean = volumes.mean(axis=1)
    surface = 4 * np.pi * (3 * mean / (4 * np.pi)) ** (2 / 3)
    shell = np.abs(np.diff(volumes, axis=1)[:, 0]) / surface
    print(f"{len(both)} lesions in both scans: outlines move by", _quantiles(shell), "mm")
    for low, high in ((0, 50), (50, 200), (200, 1000), (1000, 1e9)):
        own = (mean >= low) & (mean < high)
        if own.sum() > 4:
            print(f"  of {low:g} to {high:g} mm3 ({own.sum()}):", _quantiles(shell[own]), "mm")
    alone = [lesion for lesion, _ in lesions if min(lesion["volumes"]) == 0]
    towards = [np.sign(a["volumes"][1] - a["volumes"][0]) * a["significance"] for a in alone]
    print(f"{len(alone)} lesions in one scan alone: significance towards a change", _quantiles(towards))
    print("volumes of those, mm3:", _quantiles([max(a["volumes"]) for a in alone]))
    print(
        "ventricles, percent:", _quantiles([abs(r["ventricles_percent"]) for r in records if r["ventricles_percent"]])
    )
    print("registration error, mm:", _quantiles([r["registration_mm"] for r in records]))
    print("inconsistency, mm:", _quantiles([r["consistency_mm"] for r in records]))
    print("scale, percent:", _quantiles([abs(r["scale_percent"]) for r in records]))
    print("correlation, smallest:", round(min(r["correlation"] for r in records), 3))
    odds = [lesion["log_odds"] for lesion in alone if "log_odds" in lesion]
    print("joint evidence of those, log-odds:", _quantiles(odds))
    changed = {state: sum(r["counts"][state] for r in records) for state in states if state != "stable"}
    print(f"of {len(lesions)} lesions in {len(records)} trials:", ", ".join(f"{n} {s}" for s, n in changed.items()))


def _quantiles(values) -> str:
    values = np.asarray(list(values), dtype=float)
    if not values.size:
        return "-"
    return ", ".join(f"P{q} {np.percentile(values, q):.2f}" for q in (50, 90, 95, 99)) + f", largest {values.max():.2f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model id or folder; default: the default model")
    parser.add_argument("--phantoms", type=int, default=PHANTOMS)
    parser.add_argument("--records", type=Path, help="JSON lines, one per trial; trials in the file are not repeated")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("N", "OF"), help="every OF-th trial only")
    arguments = parser.parse_args()
    records = []
    if arguments.records and arguments.records.exists():
        records = [json.loads(line) for line in arguments.records.read_text(encoding="utf-8").splitlines()]
    done = {r["trial"] for r in records}
    first, step = arguments.part
    for name, make in list(trials(data_folder(), arguments.phantoms))[first::step]:
        if name in done:
            continue
        scan, copy, motion = make()
        records.append(record(name, follow([scan, copy], arguments.model), motion))
        if arguments.records:
            arguments.records.parent.mkdir(parents=True, exist_ok=True)
            with arguments.records.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(records[-1]) + "\n")
    print_figures(records)


if __name__ == "__main__":
    main()
