"""Local adaptation with unusable cases: ``python -m training.measure_useless --base models/<id>``.

For each kind of defect (:data:`WAYS`), five annotated Tabriz patients are given that defect and pass through the whole
of ``flairseg.adapt``. One line per defect is printed: the reason if too few cases remained, otherwise the verdict, the
conventions that the user would have to accept with the verdict by the figures alone, the codes of the excluded cases,
the measures that the proof reports (against the defective masks), and the lesion Dice of base and adapted model against
the original annotations of the patients not used for adaptation. A line begins with ``caught`` if no model would
be proposed. With ``--phantoms`` the patients are digital phantoms, whose truth is known; no data is needed then.
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
from flairseg.adapt.terms import BETTER
from flairseg.adapt.tuning import Settings
from flairseg.evaluation.overlap import Overlap
from flairseg.files.nifti import write_nifti
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from flairseg.phantom import make_phantom
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.postprocessing import lesion_components

from .data import SAME_PERSON, data_folder, load_tabriz

#: One patient each.
PATIENTS = ("101228", "104670", "106639", "107130", "110218")


def _swap(labels: np.ndarray, **values: int) -> np.ndarray:
    """Labels with some classes replaced by others, e.g. ``lesion=VENTRICLES``."""
    of = {"lesion": LESION, "ventricles": VENTRICLES, "normal": NORMAL_WMH}
    out = labels.copy()
    for name, value in values.items():
        out[labels == of[name]] = value
    return out


def _inverted(image: np.ndarray) -> np.ndarray:
    return np.where(image > image.min(), image.max() - image, 0)


def _every_other_lesion(labels: np.ndarray) -> np.ndarray:
    """Labels without every other lesion, in slice order."""
    lesions, _ = lesion_components(labels)
    return np.where(lesions % 2 == 1, BACKGROUND, labels).astype(np.uint8)


#: Defect -> function of a case's labels. ``inverted contrast`` changes the images, ``one case five times`` repeats the
#: first case, and :data:`HALF_EMPTY` changes only the first two cases.
HALF_EMPTY = "two of five empty"
WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": lambda labels: labels,
    **{f"moved {n} pixels": lambda labels, n=n: np.roll(labels, (n, n), (1, 2)) for n in (1, 2, 3, 8)},
    "mirrored": lambda labels: labels[:, :, ::-1],
    "slices reversed": lambda labels: labels[::-1],
    "empty": np.zeros_like,
    HALF_EMPTY: np.zeros_like,
    "every other lesion left out": _every_other_lesion,
    "one case five times": lambda labels: labels,
    "inverted contrast": lambda labels: labels,
    "lesions and ventricles exchanged": lambda labels: _swap(labels, lesion=VENTRICLES, ventricles=LESION),
    "ventricles as lesions": lambda labels: _swap(labels, ventricles=LESION),
    "normal as lesions": lambda labels: _swap(labels, normal=LESION),
    "lesions as normal": lambda labels: _swap(labels, lesion=NORMAL_WMH),
    "lesions left out": lambda labels: _swap(labels, lesion=BACKGROUND),
}


def annotated_patients() -> tuple[list[Case], list[Case]]:
    """Tabriz patients: those to adapt to, and others."""
    annotated = load_tabriz(data_folder())
    same = {name for group in SAME_PERSON if set(group) & set(PATIENTS) for name in group} | set(PATIENTS)
    return [c for c in annotated if c.name in PATIENTS], [c for c in annotated if c.name not in same]


def phantoms() -> tuple[list[Case], list[Case]]:
    """Digital phantoms: those to adapt to, and others; seeds that the check for forgetting does not use."""
    found = []
    for seed in range(21, 30):
        truth = make_phantom(seed, (16, 224, 224), (1.0, 1.0, 7.0))
        found.append(Case(f"phantom {seed}", truth.volume, truth.labels))
    return found[:5], found[5:]


def write_cases(folder: Path, cases: list[Case], way: str) -> None:
    """Write an archive of reviewed cases with one defect, and a table that states one patient for each.

    Parameters
    ----------
    folder : Path
        Of the archive; receives ``P<n>/v001`` per case.
    cases : list of Case
        Annotated cases.
    way : str
        Key of :data:`WAYS`.
    """
    for number, own in enumerate(cases, 1):
        case = cases[0] if way == "one case five times" else own
        place = folder / f"P{number}" / "v001"
        place.mkdir(parents=True)
        image = _inverted(case.volume.array) if way == "inverted contrast" else case.volume.array
        write_nifti(place / "flair.nii.gz", image, case.volume, np.float32)
        spoilt = case.labels if way == HALF_EMPTY and number > 2 else WAYS[way](case.labels)
        write_nifti(place / "labels.nii.gz", np.ascontiguousarray(spoilt), case.volume)
        verdict = {"case": f"P{number}", "version": 1, "verdict": "accepted_after_edits"}
        (place / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
    # Phantoms look alike: they would be taken for one person's.
    rows = [f"P{number},P{number}" for number in range(1, len(cases) + 1)]
    (folder / "patients.csv").write_text("\n".join(["case,patient", *rows]), encoding="utf-8")


def lesion_dice(model: str | Path, cases: list[Case]) -> float:
    """Mean lesion Dice of a model over annotated cases."""
    found = [segment(case.volume, str(model)).labels == LESION for case in cases]
    return float(np.mean([Overlap.of(ours, c.labels == LESION).dice for ours, c in zip(found, cases, strict=True)]))


def outcome(folder: Path, base: str, steps: int, others: list[Case]) -> str:
    """Adapt to an archive and describe the outcome in one line.

    Parameters
    ----------
    folder : Path
        Contains ``cases``; receives ``model``.
    base : str
        Model folder.
    steps : int
        Of each training.
    others : list of Case
        Annotated patients who are not in the archive.

    Returns
    -------
    str
        The refusal, or verdict, conventions, excluded cases, measures and lesion Dice.
    """
    try:
        training = TrainingOptions(minutes=120, settings=Settings(steps=steps))
        made = adapt(folder / "cases", ModelTarget(folder / "model"), base, training=training)
    except TooFewCasesError as error:
        return f"caught: refused: {error.message}"
    shown = ", ".join(f"{one.key} {one.base:.3f} to {one.adapted:.3f}" for one in made.comparisons)
    left_out = dict(Counter(one.code for one in made.left_out))
    truly = f"{lesion_dice(base, others):.3f} to {lesion_dice(folder / 'model', others):.3f}"
    by_figures = made.card.raw["adaptation"]["by_figures"]["verdict"]
    stated = ", ".join(f"{one.code} {one.share:.2f}" for one in made.conventions) or "none"
    return (
        f"{'not caught' if made.verdict == BETTER else 'caught'}: {made.verdict} (by the figures alone {by_figures}); "
        f"stated: {stated}; left out: {left_out}; {'; '.join(made.reasons)}; shown: {shown}; "
        f"lesion Dice on {len(others)} other scans against the annotation: {truly}"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="model folder")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--phantoms", action="store_true", help="digital phantoms in place of Tabriz patients")
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    arguments = parser.parse_args()
    cases, others = phantoms() if arguments.phantoms else annotated_patients()
    for way in arguments.ways:
        with tempfile.TemporaryDirectory(prefix="flairseg-useless-") as folder:
            write_cases(Path(folder) / "cases", cases, way)
            print(f"{way}: {outcome(Path(folder), arguments.base, arguments.steps, others)}", flush=True)


if __name__ == "__main__":
    main()
