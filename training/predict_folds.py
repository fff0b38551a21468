"""Out-of-fold predictions with the shipped pipeline, each patient by the model of the fold that left it out.

``python -m training.predict_folds --recipe s3-unet --runs runs --output runs/predictions``

The checkpoint of each fold (``<runs>/<recipe>-fold<k>/last.pt``) is exported to ONNX in a temporary folder and segments
the held-out patients: ``<output>/<recipe>/<patient>_labels.nii.gz`` and ``_probabilities.nii.gz``. Files newer than
their checkpoint are kept, so that the command can be interrupted and continued. References go to
``<output>/references``. :mod:`training.compare_systems` evaluates these files.
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
from .evaluate import fold_card, write_fold_model
from .run import run_folder

REFERENCES = "references"
LABELS, PROBABILITIES = "_labels.nii.gz", "_probabilities.nii.gz"


def write_references(cases: list[Case], output: Path) -> list[Path]:
    """Write the reference label maps; existing files are kept.

    Parameters
    ----------
    cases : list of Case
        From :func:`~.data.load_tabriz`.
    output : Path
        Folder of the predictions; files go to its subfolder ``references``.

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
    """Patients with a missing file in ``folder``, or one older than the checkpoint."""
    trained = checkpoint.stat().st_mtime

    def there(name: str) -> bool:
        paths = [folder / f"{name}{ending}" for ending in (LABELS, PROBABILITIES)]
        return all(path.exists() and path.stat().st_mtime >= trained for path in paths)

    return [name for name in patients if not there(name)]


def predict_fold(
    config: TrainingConfig, cases: dict[str, Case], runs: Path, folder: Path, settings: list[dict] | None = None
) -> list[str]:
    """Segment the held-out patients of one fold.

    Parameters
    ----------
    config : TrainingConfig
        With ``fold``.
    cases : dict of str to Case
        All patients, by name.
    runs : Path
        Folder of the runs.
    folder : Path
        Folder of the recipe's predictions.
    settings : list of dict, optional
        As for :func:`training.evaluate.evaluate`.

    Returns
    -------
    list of str
        Patients that were segmented.

    Raises
    ------
    FileNotFoundError
        If the fold has no checkpoint.
    ValueError
        If the checkpoint was trained with other folds.
    """
    checkpoint = run_folder(config, runs) / "last.pt"
    if not checkpoint.exists():
        raise FileNotFoundError(f"{checkpoint} does not exist: train fold {config.fold} of {config.name} first")
    patients = missing(folds(list(cases), config.folds)[config.fold], folder, checkpoint)
    if not patients:
        return []
    with tempfile.TemporaryDirectory(prefix="flairseg-fold-") as temporary:
        model = Path(temporary) / fold_card(config, config.fold)["id"]
        write_fold_model(config, config.fold, runs, model, settings)
        for name in patients:
            result = segment(cases[name].volume, model=model / "model.onnx", device="cpu")
            files = [f"{name}{LABELS}", f"{name}{PROBABILITIES}"]
            with all_or_none(folder, files, files) as part:
                write_nifti(part / files[0], result.labels, cases[name].volume)
                write_nifti(part / files[1], result.probabilities, cases[name].volume, np.float32)
    return patients


def predict(
    config: TrainingConfig,
    cases: dict[str, Case],
    runs: Path,
    output: Path,
    unfinished: bool = False,
    settings: list[dict] | None = None,
) -> list[int]:
    """Segment the held-out patients of every trained fold, and return the folds that are not trained yet.

    Parameters
    ----------
    config, cases, runs
        As for :func:`predict_fold`; the ``fold`` of the configuration is ignored.
    output : Path
        Folder of the predictions of all recipes.
    unfinished : bool
        Include folds whose training is not complete.
    settings : list of dict, optional
        As for :func:`training.evaluate.evaluate`.
    """
    lacking = []
    for fold in range(config.folds):
        of_fold = replace(config, fold=fold)
        run = run_folder(of_fold, runs)
        ready = (run / "last.pt").exists() if unfinished else (run / FINISHED).exists()
        if not ready:
            lacking.append(fold)
            continue
        done = predict_fold(of_fold, cases, runs, output / config.name, settings)
        print(f"{run.name}: {', '.join(done) if done else 'nothing to do'}", flush=True)
    return lacking


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", action="append", required=True, help="name of a recipe (may be repeated)")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=Path("runs/predictions"))
    parser.add_argument("--unfinished", action="store_true", help="include folds whose training is not complete")
    parser.add_argument("--decoding", type=Path, help="file written by training.calibrate, for a single recipe")
    arguments = parser.parse_args()
    if arguments.decoding and len(arguments.recipe) > 1:
        parser.error("--decoding is of one recipe")
    fitted = json.loads(arguments.decoding.read_text(encoding="utf-8"))["folds"] if arguments.decoding else None
    cases = {case.name: case for case in load_tabriz(data_folder())}
    write_references(list(cases.values()), arguments.output)
    incomplete = {}
    for recipe in arguments.recipe:
        path = CONFIGS / f"{recipe}.json"
        if not path.exists():
            sys.exit(f"{recipe} is not one of the recipes {', '.join(sorted(p.stem for p in CONFIGS.glob('*.json')))}")
        lacking = predict(load_config(path), cases, arguments.runs, arguments.output, arguments.unfinished, fitted)
        if lacking:
            incomplete[recipe] = lacking
    if incomplete:
        sys.exit(f"not trained yet: {json.dumps(incomplete)}")


if __name__ == "__main__":
    main()
