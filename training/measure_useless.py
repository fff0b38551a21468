"""Local adaptation with unusable cases: ``python -m training.measure_useless --base models/<id>``.

Five annotated Tabriz patients, spoilt in one way after the other, go through a whole ``flairseg.adapt``. A line each:
the codes with which cases were left out, or the verdict where enough were left to learn from.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flairseg.adapt.framed import Case
from flairseg.adapt.options import ModelTarget, TrainingOptions
from flairseg.adapt.running import TooFewCasesError, adapt
from flairseg.adapt.tuning import Settings
from flairseg.files.nifti import write_nifti
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES

from .data import data_folder, load_tabriz

#: One patient each.
PATIENTS = ("101228", "104670", "106639", "107130", "110218")


def _swap(labels: np.ndarray, **values: int) -> np.ndarray:
    """Labels with some classes drawn as another: ``lesion=VENTRICLES``."""
    of = {"lesion": LESION, "ventricles": VENTRICLES, "normal": NORMAL_WMH}
    out = labels.copy()
    for name, value in values.items():
        out[labels == of[name]] = value
    return out


def _inverted(image: np.ndarray) -> np.ndarray:
    return np.where(image > image.min(), image.max() - image, 0)


#: Way -> labels of a case; images are spoilt in ``inverted contrast`` and exchanged in ``one case five times``.
WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": lambda labels: labels,
    **{f"moved {n} pixels": lambda labels, n=n: np.roll(labels, (n, n), (1, 2)) for n in (1, 2, 3, 8)},
    "mirrored": lambda labels: labels[:, :, ::-1],
    "slices reversed": lambda labels: labels[::-1],
    "empty": np.zeros_like,
    "one case five times": lambda labels: labels,
    "inverted contrast": lambda labels: labels,
    "lesions and ventricles exchanged": lambda labels: _swap(labels, lesion=VENTRICLES, ventricles=LESION),
    "ventricles as lesions": lambda labels: _swap(labels, ventricles=LESION),
    "normal as lesions": lambda labels: _swap(labels, normal=LESION),
    "lesions as normal": lambda labels: _swap(labels, lesion=NORMAL_WMH),
    "lesions left out": lambda labels: _swap(labels, lesion=BACKGROUND),
}


def write_cases(folder: Path, cases: list[Case], way: str) -> None:
    """The archive of reviewed cases, spoilt in one way."""
    for number, own in enumerate(cases, 1):
        case = cases[0] if way == "one case five times" else own
        place = folder / f"P{number}" / "v001"
        place.mkdir(parents=True)
        image = _inverted(case.volume.array) if way == "inverted contrast" else case.volume.array
        write_nifti(place / "flair.nii.gz", image, case.volume, np.float32)
        write_nifti(place / "labels.nii.gz", np.ascontiguousarray(WAYS[way](case.labels)), case.volume)
        verdict = {"case": f"P{number}", "version": 1, "verdict": "accepted_after_edits"}
        (place / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")


def outcome(folder: Path, base: str, steps: int) -> str:
    """Return the outcome of an adaptation to the cases of a folder."""
    try:
        training = TrainingOptions(minutes=120, settings=Settings(steps=steps))
        made = adapt(folder / "cases", ModelTarget(folder / "model"), base, training=training)
    except TooFewCasesError as error:
        return f"refused: {error.message}"
    return f"{made.verdict}; left out: {dict(Counter(one.code for one in made.left_out))}; {'; '.join(made.reasons)}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="model folder")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=200, help="of each training, where cases are left")
    arguments = parser.parse_args()
    cases = [case for case in load_tabriz(data_folder()) if case.name in PATIENTS]
    for way in arguments.ways:
        with tempfile.TemporaryDirectory(prefix="flairseg-useless-") as folder:
            write_cases(Path(folder) / "cases", cases, way)
            print(f"{way}: {outcome(Path(folder), arguments.base, arguments.steps)}", flush=True)


if __name__ == "__main__":
    main()
