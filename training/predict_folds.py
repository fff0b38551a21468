"""Out-of-fold predictions: every patient is segmented by the model that never saw it, through the shipped pipeline.

``python -m training.predict_folds --recipe s3-unet --runs runs --output runs/predictions``

For each fold the checkpoint (``<runs>/<recipe>-fold<k>/last.pt``) is exported to ONNX in a temporary folder and
segments the fold's left-out patients: ``<output>/<recipe>/<patient>_labels.nii.gz`` and ``_probabilities.nii.gz``. What
is there and newer than its checkpoint is kept, so the command can be stopped and started again. The references go to
``<output>/references``. :mod:`training.compare_systems` makes the table of all systems from these files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from flairseg.adapt.framed import Case
from flairseg.files.atomic import all_or_none
from flairseg.files.nifti import write_nifti
from flairseg.segmentation.pipeline import segment

from .checkpoint import FINISHED
from .config import CONFIGS, TrainingConfig, load_config
from .data import data_folder, folds, load_tabriz
from .evaluate import fold_card, fold_network
from .export import write_model
from .train import run_folder

REFERENCES = "references"
LABELS, PROBABILITIES = "_labels.nii.gz", "_probabilities.nii.gz"


def write_references(cases: list[Case], output: Path) -> list[Path]:
    """The annotated label maps, with the normal class by rule or by hand, as files.

    Parameters
    ----------
    cases : list of Case
        From :func:`~.data.load_tabriz`.
    output : Path
        Folder of the predictions; they go to ``references`` in it. Files that are there are kept.

    Returns
    -------
    list of Path
        ``<patient>_labels.nii.gz`` of each case.
    """
    folder, made = output / REFERENCES, []
    for case in cases:
        path = folder / f"{case.name}{LABELS}"
        if not path.exists():
            with all_or_none(folder, [path.name]) as temporary:
                write_nifti(temporary / path.name, case.labels, case.volume)
        made.append(path)
    return made


def missing(patients: list[str], folder: Path, checkpoint: Path) -> list[str]:
    """Patients without both files in ``folder``, or with files older than the checkpoint."""
    trained = checkpoint.stat().st_mtime

    def there(name: str) -> bool:
        paths = [folder / f"{name}{ending}" for ending in (LABELS, PROBABILITIES)]
        return all(path.exists() and path.stat().st_mtime >= trained for path in paths)

    return [name for name in patients if not there(name)]


def predict_fold(config: TrainingConfig, cases: dict[str, Case], runs: Path, folder: Path) -> list[str]:
    """Segment the left-out patients of one fold.

    Parameters
    ----------
    config : TrainingConfig
        With its ``fold``.
    cases : dict of str to Case
        All patients, by name.
    runs : Path
    folder : Path
        Of the recipe's predictions.

    Returns
    -------
    list of str
        Patients that were segmented now.

    Raises
    ------
    FileNotFoundError
        If the fold has no checkpoint.
    ValueError
        If the checkpoint was trained on other folds than the recipe has.
    """
    checkpoint = run_folder(config, runs) / "last.pt"
    if not checkpoint.exists():
        raise FileNotFoundError(f"{checkpoint} is not there: train fold {config.fold} of {config.name} first")
    patients = missing(folds(list(cases), config.folds)[config.fold], folder, checkpoint)
    if not patients:
        return []
    network = fold_network(config, checkpoint)
    with tempfile.TemporaryDirectory(prefix="flairseg-fold-") as temporary:
        model = Path(temporary) / fold_card(config, config.fold)["id"]
        write_model(config, network, model, fold_card(config, config.fold))
        for name in patients:
            result = segment(cases[name].volume, model=model / "model.onnx", device="cpu")
            files = [f"{name}{LABELS}", f"{name}{PROBABILITIES}"]
            with all_or_none(folder, files, files) as part:
                write_nifti(part / files[0], result.labels, cases[name].volume)
                write_nifti(part / files[1], result.probabilities, cases[name].volume, np.float32)
    return patients


def predict(
    config: TrainingConfig, cases: dict[str, Case], runs: Path, output: Path, unfinished: bool = False
) -> list[int]:
    """Segment the left-out patients of every fold that is trained, and return the folds that are not.

    Parameters
    ----------
    config, cases, runs
        As for :func:`predict_fold`, whatever fold the configuration names.
    output : Path
        Folder of all recipes' predictions.
    unfinished : bool
        Take folds as well that are still being trained.
    """
    lacking = []
    for fold in range(config.folds):
        of_fold = replace(config, fold=fold)
        run = run_folder(of_fold, runs)
        ready = (run / "last.pt").exists() if unfinished else (run / FINISHED).exists()
        if not ready:
            lacking.append(fold)
            continue
        done = predict_fold(of_fold, cases, runs, output / config.name)
        print(f"{run.name}: {', '.join(done) if done else 'nothing to do'}", flush=True)
    return lacking


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", action="append", required=True, help="name of a recipe (may be repeated)")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=Path("runs/predictions"))
    parser.add_argument("--unfinished", action="store_true", help="take folds as well that are still being trained")
    arguments = parser.parse_args()
    cases = {case.name: case for case in load_tabriz(data_folder())}
    write_references(list(cases.values()), arguments.output)
    incomplete = {}
    for recipe in arguments.recipe:
        path = CONFIGS / f"{recipe}.json"
        if not path.exists():
            sys.exit(f"{recipe} is no recipe: {', '.join(sorted(p.stem for p in CONFIGS.glob('*.json')))} are")
        lacking = predict(load_config(path), cases, arguments.runs, arguments.output, arguments.unfinished)
        if lacking:
            incomplete[recipe] = lacking
    if incomplete:
        sys.exit(f"not trained yet: {json.dumps(incomplete)}")


if __name__ == "__main__":
    main()
