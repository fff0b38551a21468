"""Fit the weights of an ensemble on out-of-fold predictions: ``python -m training.fit_ensemble``.

Members are the systems with a shipped model and predictions of every patient (:mod:`training.predict_folds`). The
weights of their votes and the thresholds (:mod:`training.vote_search`) are fitted twice:

- nested: for each fold on the patients of the other folds alone. The votes on the fold's own patients with these
  weights go to ``<predictions>/ensemble`` and are the basis of the ensemble's evaluation;
- on all patients, for ``models/<id>/card.json``.

The members' predictions are out-of-fold as well. As in all stacking, the members that predict the fitting patients may
have been trained on the fold's patients; only the weights, a dozen numbers, could carry that information.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from flairseg.files.atomic import all_or_none
from flairseg.files.nifti import write_nifti
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.labels import CLASS_BY_VALUE
from flairseg.models.card import CARD_NAME, PipelineConfig
from flairseg.models.members import digest, members_of
from flairseg.models.store import load_card
from flairseg.preprocessing import brain_mask
from flairseg.segmentation.ensemble import Vote
from flairseg.segmentation.pipeline import clean_vote

from .card_markdown import render
from .compare_systems import find_systems
from .config import shared_budget
from .data import data_folder, folds, read, read_labels, refuse_held_back
from .evaluate import card_entry, compare, summarise
from .predict_folds import LABELS, PROBABILITIES, REFERENCES
from .vote_search import Fitted, Patient, fit

HERE = Path(__file__).parent
CARDS, MODELS = HERE / "cards", HERE.parent / "models"
#: Name of the ensemble's folder of predictions, and of its model.
NAME = "ensemble"
#: Smaller weights are set to zero: such a member costs time and changes nothing.
_SMALLEST_WEIGHT = 0.02


@dataclass(frozen=True)
class Voter:
    """Candidate member of the ensemble.

    Attributes
    ----------
    recipe : str
        Recipe, and name of its folder of predictions.
    id, sha256 : str
        Shipped model.
    classes : tuple of int
        Class values that it segments.
    """

    recipe: str
    id: str
    sha256: str
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Fold:
    """Held-out patients of a fold, and the fit on the other patients."""

    patients: list[str]
    fitted: Fitted


def find_voters(predictions: Path, models: Path = MODELS, recipes: Sequence[str] = ()) -> list[Voter]:
    """Find the systems with predictions of every patient and a shipped model.

    Of several recipes of one model, the last in the order of the systems is used.

    Parameters
    ----------
    predictions : Path
    models : Path
        Folder of the shipped models.
    recipes : sequence of str
        Only these; default: all.

    Raises
    ------
    ValueError
        If a given recipe cannot be a member, or fewer than two members are found.
    """
    patients = patients_of(predictions)
    found: dict[str, Voter] = {}
    for system in find_systems(predictions, models):
        lacking = [name for name in patients if not (predictions / system.recipe / f"{name}{PROBABILITIES}").exists()]
        if system.recipe == NAME or system.model is None or lacking or (recipes and system.recipe not in recipes):
            continue
        card = load_card(system.model)
        found[card.id] = Voter(system.recipe, card.id, card.sha256, card.classes)
    voters = list(found.values())
    refused = sorted(set(recipes) - {voter.recipe for voter in voters})
    if refused:
        raise ValueError(f"{', '.join(refused)}: a member needs probabilities of every patient and a shipped model")
    if len(voters) < 2:
        raise ValueError("an ensemble needs two systems or more with predictions of every patient and a shipped model")
    return voters


def patients_of(predictions: Path) -> list[str]:
    """Names of the patients that have a reference.

    Raises
    ------
    ValueError
        If there is none, or one is held back for final tests.
    """
    names = sorted(path.name.removesuffix(LABELS) for path in (predictions / REFERENCES).glob(f"*{LABELS}"))
    if not names:
        raise ValueError(f"{predictions / REFERENCES} holds no references: run training.predict_folds first")
    for name in names:
        refuse_held_back(name)
    return names


def read_chances(path: Path) -> np.ndarray:
    """Probabilities of a member from a file: ndarray of float16, shape (4, K, J, I)."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float16)


def load_patient(predictions: Path, name: str, voters: Sequence[Voter]) -> Patient:
    """Predictions of a patient, reduced to the relevant voxels (:class:`.vote_search.Patient`)."""
    reference = predictions / REFERENCES / f"{name}{LABELS}"
    grid = read(reference)
    members = [read_chances(predictions / voter.recipe / f"{name}{PROBABILITIES}") for voter in voters]
    return Patient.of(name, members, read_labels(reference, grid), grid.voxel_mm3)


def fit_nested(
    patients: Sequence[Patient], voters: Sequence[Voter], count: int, clean_up: dict[str, Any]
) -> list[Fold]:
    """Fit each fold on the patients of all other folds.

    Parameters
    ----------
    patients : sequence of Patient
    voters : sequence of Voter
    count : int
        Folds.
    clean_up : dict
        Clean-up fields of the ensemble's pipeline.
    """
    known, smallest = [voter.classes for voter in voters], float(clean_up.get("min_lesion_mm3", 0.0))
    out = []
    for names in folds([patient.name for patient in patients], count):
        others = [patient for patient in patients if patient.name not in names]
        out.append(Fold(names, rounded(fit(others, known, smallest))))
    return out


def rounded(fitted: Fitted) -> Fitted:
    """The fit as written to a card: weights to three decimals, negligible ones removed."""
    weights = [
        {value: round(weight, 3) for value, weight in one.items() if weight >= _SMALLEST_WEIGHT}
        for one in fitted.weights
    ]
    return replace(fitted, weights=weights)


def pipeline_of(fitted: Fitted, clean_up: dict[str, Any]) -> dict[str, Any]:
    """``pipeline`` of the ensemble's card."""
    thresholds = {str(value): round(threshold, 3) for value, threshold in fitted.thresholds.items()}
    growth = {"lesion_growth": round(fitted.lesion_growth, 3)} if fitted.lesion_growth > 0 else {}
    return {"plane": "native", "thresholds": thresholds, **clean_up, **growth}


def vote_on(
    predictions: Path, name: str, voters: Sequence[Voter], fitted: Fitted, clean_up: dict[str, Any], image: Path | None
) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Result of the ensemble for a patient, by the stages of the shipped pipeline.

    Parameters
    ----------
    predictions : Path
    name : str
    voters : sequence of Voter
    fitted : Fitted
    clean_up : dict
        Clean-up fields of the ensemble's pipeline.
    image : Path or None
        The FLAIR, for the brain mask of the clean-up; without it, components outside the brain are not removed.

    Returns
    -------
    volume : Volume
        The reference.
    labels : ndarray of uint8, shape (K, J, I)
    probabilities : ndarray of float16, shape (4, K, J, I)
    """
    truth = read(predictions / REFERENCES / f"{name}{LABELS}")
    vote = Vote(truth.array.shape)
    for voter, weights in zip(voters, fitted.weights, strict=True):
        if weights:
            vote.add(read_chances(predictions / voter.recipe / f"{name}{PROBABILITIES}"), weights)
    config = PipelineConfig.from_dict(pipeline_of(fitted, clean_up))
    voted = vote.result(config.thresholds)
    stack, brain = SliceStack.from_volume(truth, config.plane), None
    if image is not None:
        flair = SliceStack.from_volume(read(image), config.plane)
        brain = brain_mask(flair.array, flair.spacing)
    labels = np.ascontiguousarray(stack.restore(clean_vote(voted, stack, config, brain)))
    return truth, labels, voted.probabilities


def write_predictions(
    predictions: Path, voters: Sequence[Voter], nested: Sequence[Fold], clean_up: dict[str, Any], data: Path
) -> dict[str, dict[str, float]]:
    """Write the nested predictions to ``<predictions>/ensemble`` and return their figures by patient."""
    figures = {}
    for fold in nested:
        for name in fold.patients:
            image = data / "tabriz" / f"sub-{name}" / "flair.nii.gz"
            given = image if image.exists() else None
            truth, labels, probabilities = vote_on(predictions, name, voters, fold.fitted, clean_up, given)
            files = [f"{name}{LABELS}", f"{name}{PROBABILITIES}"]
            with all_or_none(predictions / NAME, files, files) as part:
                write_nifti(part / files[0], labels, truth)
                write_nifti(part / files[1], probabilities, truth, np.float32)
            figures[name] = compare(labels, truth.array.astype(np.uint8), tuple(reversed(truth.spacing)))
    return dict(sorted(figures.items()))


def make_card(
    fields: dict[str, Any], voters: Sequence[Voter], fitted: Fitted, nested: Sequence[Fold], figures: dict, command: str
) -> dict[str, Any]:
    """Card of the ensemble.

    Parameters
    ----------
    fields : dict
        Fields written by hand: id, title etc., ``clean_up``, and ``training_data`` if it differs from the members'.
    voters : sequence of Voter
    fitted : Fitted
        Fit on all patients.
    nested : sequence of Fold
    figures : dict
        Figures of the nested predictions, by patient.
    command : str
        Command that made the card.

    Raises
    ------
    ValueError
        If fewer than two members have a vote.
    """
    members = [
        {
            "id": voter.id,
            "sha256": voter.sha256,
            "weights": {CLASS_BY_VALUE[value].id: weight for value, weight in sorted(weights.items())},
        }
        for voter, weights in zip(voters, fitted.weights, strict=True)
        if weights
    ]
    clean_up = fields["clean_up"]
    spread = {
        voter.id: {
            CLASS_BY_VALUE[value].id: [fold.fitted.weights[n].get(value, 0.0) for fold in nested]
            for value in voter.classes
        }
        for n, voter in enumerate(voters)
    }
    thresholds = {
        CLASS_BY_VALUE[value].id: [round(fold.fitted.thresholds[value], 3) for fold in nested]
        for value in fitted.thresholds
    }
    count = len(nested)
    # Figures that are undefined for all patients are omitted: JSON has no NaN.
    summary = {key: value for key, value in summarise(figures).items() if not np.isnan(value[0])}
    entry = card_entry(
        summary,
        f"Tabriz (1.5 T, 6-8 mm), {count}-fold cross-validation over patients, nested",
        len(figures),
        command,
        "Mean ± SD over patients. For each fold, weights and thresholds were fitted on out-of-fold predictions of the "
        "other folds' patients alone. The card's own weights were fitted on all patients.",
    )
    card = {key: value for key, value in fields.items() if key != "clean_up"}
    card["ensemble"] = {"members": members, "disagreement": "lesion-deviation"}
    members_of(card)
    card["ensemble"]["sha256"] = digest(members_of(card))
    card["pipeline"] = pipeline_of(fitted, clean_up)
    card["training"] = {
        **fields.get("training", {}),
        "members": ", ".join(f"{voter.id} (predictions of {voter.recipe})" for voter in voters),
        "weights in the folds": json.dumps(spread),
        "thresholds in the folds": json.dumps(thresholds),
    }
    card["results"] = [entry]
    return card


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, default=Path("runs/predictions"))
    parser.add_argument("--recipe", action="append", default=[], help="only these as members; may be repeated")
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument(
        "--card", type=Path, default=CARDS / f"{NAME}-v1.0.json", help="JSON with the fields written by hand"
    )
    parser.add_argument("--folds", type=int, default=shared_budget()["folds"])
    arguments = parser.parse_args()
    began = time.perf_counter()
    fields = json.loads(arguments.card.read_text(encoding="utf-8"))
    try:
        voters = find_voters(arguments.predictions, arguments.models, arguments.recipe)
        patients = [load_patient(arguments.predictions, n, voters) for n in patients_of(arguments.predictions)]
    except ValueError as error:
        sys.exit(str(error))
    nested = fit_nested(patients, voters, arguments.folds, fields["clean_up"])
    for fold in nested:
        print(f"without {', '.join(fold.patients)}: {fold.fitted}")
    fitted = rounded(fit(patients, [v.classes for v in voters], float(fields["clean_up"].get("min_lesion_mm3", 0.0))))
    print(f"all patients: {fitted}")
    figures = write_predictions(arguments.predictions, voters, nested, fields["clean_up"], data_folder())
    command = "python -m training.fit_ensemble" + "".join(f" --recipe {recipe}" for recipe in arguments.recipe)
    try:
        card = make_card(fields, voters, fitted, nested, figures, command)
    except ValueError as error:
        sys.exit(f"no card was written: {error}")
    folder = arguments.models / card["id"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_NAME).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(render(card), encoding="utf-8")
    load_card(folder)
    dice = {key: round(mean, 4) for key, (mean, _) in summarise(figures).items() if key.endswith("_dice")}
    print(f"{folder}: {dice} in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
