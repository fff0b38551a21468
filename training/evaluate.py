"""Cross-validation with the shipped pipeline: every patient is segmented by the model of the fold that left it out.

``python -m training.evaluate --config CONFIG --runs runs --output runs/evaluation`` exports the checkpoint of each
fold to ONNX, segments the fold's patients with :func:`flairseg.segment` and writes figures per patient (CSV) and their
mean and standard deviation (JSON, Markdown).
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from flairseg.image.slice_stack import SliceStack
from flairseg.segmentation.pipeline import segment

from .calibrate import decoded
from .config import TrainingConfig, load_config
from .data import data_folder, folds, load_tabriz
from .export import load_average, write_model
from .metrics import compare
from .run import run_folder

#: Columns of the table: (key, heading, decimals).
COLUMNS = (
    ("dice", "Dice", 3),
    ("precision", "precision", 3),
    ("recall", "recall", 3),
    ("hd95", "HD95 mm", 1),
)
#: Default note on the figures in a card.
NOTE = (
    "Mean ± SD over patients, each segmented by the model of the fold that left it out, with the shipped pipeline. "
    "The recipe was chosen on the first fold, so that the figures are slightly optimistic."
)
CLASS_NAMES = {
    "ventricles": "Ventricles",
    "normal_wmh": "Normal WMH",
    "lesion": "Lesions",
    "all_wmh": "All WMH (2 + 3)",
}


def fold_card(config: TrainingConfig, fold: int) -> dict:
    """Card fields of the temporary model of a fold."""
    return {
        "id": f"{config.name}-fold{fold}-v0.1",
        "title": f"{config.name}, fold {fold}",
        "version": "0.1",
        "licence": "none",
        "summary": "Model of a fold of the cross-validation; not for use.",
        "intended_use": "Cross-validation.",
        "training_data": [],
        "results": [],
    }


def fold_network(config: TrainingConfig, checkpoint: Path) -> torch.nn.Module:
    """Network of a fold; the checkpoint must have been trained with this fold held out.

    Parameters
    ----------
    config : TrainingConfig
        With ``fold``.
    checkpoint : Path

    Raises
    ------
    ValueError
        If the checkpoint was trained with other folds.
    """
    trained = torch.load(checkpoint, weights_only=True)["config"]
    if (trained["fold"], trained["folds"]) != (config.fold, config.folds):
        raise ValueError(
            f"{checkpoint} is fold {trained['fold']} of {trained['folds']}, the recipe's is {config.fold} of "
            f"{config.folds}: its patients may have been used for training"
        )
    return load_average(config, checkpoint)


def write_fold_model(
    config: TrainingConfig, fold: int, runs: Path, folder: Path, settings: list[dict] | None = None
) -> None:
    """Export the network of a fold from its last checkpoint to ``folder``; other parameters as :func:`evaluate`."""
    of_fold = replace(config, fold=fold)
    network = fold_network(of_fold, run_folder(of_fold, runs) / "last.pt")
    decoding = decoded(config, network, settings[fold]) if settings else config
    write_model(decoding, network, folder, fold_card(config, fold))


def evaluate(
    config: TrainingConfig,
    runs: Path,
    output: Path,
    only: list[int] | None = None,
    settings: list[dict] | None = None,
) -> dict[str, dict[str, float]]:
    """Segment and evaluate the held-out patients of each fold.

    Parameters
    ----------
    config : TrainingConfig
    runs : Path
        Folder of the runs.
    output : Path
        Folder for the models of the folds, and for ``<patient>.npz``: ``probabilities``, ``labels``, ``reference``
        (K, J, I) and ``spacing`` (mm).
    only : list of int, optional
        Folds to evaluate; default: all.
    settings : list of dict, optional
        Temperature and decoding of each fold (:mod:`training.calibrate`).

    Returns
    -------
    dict of str to dict
        Patient -> figures (:func:`.metrics.compare`).
    """
    cases = {case.name: case for case in load_tabriz(data_folder())}
    figures: dict[str, dict[str, float]] = {}
    for fold, patients in enumerate(folds(list(cases), config.folds)):
        if only is not None and fold not in only:
            continue
        folder = output / f"{config.name}-fold{fold}-v0.1"
        write_fold_model(config, fold, runs, folder, settings)
        for name in patients:
            case = cases[name]
            result = segment(case.volume, model=folder / "model.onnx")
            figures[name] = compare(result.labels, case.labels, tuple(reversed(case.volume.spacing)))
            stack = SliceStack.from_volume(case.volume)
            np.savez_compressed(
                output / f"{name}.npz",
                probabilities=result.probabilities,
                labels=result.labels,
                reference=case.labels,
                spacing=stack.spacing,
            )
    return figures


def summarise(figures: dict[str, dict[str, float]]) -> dict[str, list[float]]:
    """Mean and standard deviation of every figure over the patients for whom it is defined (not NaN)."""
    keys = next(iter(figures.values())).keys()
    table = {key: np.array([row[key] for row in figures.values()]) for key in keys}
    return {key: [float(np.nanmean(v)), float(np.nanstd(v, ddof=1)) if len(v) > 1 else 0.0] for key, v in table.items()}


def card_entry(summary: dict[str, list[float]], data: str, cases: int, command: str, note: str = "") -> dict:
    """Entry of a card's ``results``: mean and standard deviation of every figure, cases, command and note."""
    figures = {key: {"mean": round(mean, 4), "sd": round(deviation, 4)} for key, (mean, deviation) in summary.items()}
    return {"data": data, "cases": cases, "command": command, "note": note, "figures": figures}


def markdown(summary: dict[str, list[float]]) -> str:
    """Table of mean ± SD over patients."""

    def cell(key: str, decimals: int) -> str:
        mean, deviation = summary[key]
        return f"{mean:.{decimals}f} ± {deviation:.{decimals}f}"

    lines = ["| class | " + " | ".join(heading for _, heading, _ in COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for name, title in CLASS_NAMES.items():
        lines.append(f"| {title} | " + " | ".join(cell(f"{name}_{key}", digits) for key, _, digits in COLUMNS) + " |")
    lines.append("")
    f1, recall, precision = (cell(f"lesion_{key}", 3) for key in ("f1", "recall_by_lesion", "precision_by_lesion"))
    lines.append(f"Lesion level (26-connected, overlap of one voxel): F1 {f1}, recall {recall}, precision {precision}.")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--fold", type=int, action="append", help="only this fold (may be repeated)")
    parser.add_argument("--decoding", type=Path, help="file written by training.calibrate")
    parser.add_argument("--note", default=NOTE, help="note on the figures in the card")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    arguments.output.mkdir(parents=True, exist_ok=True)
    decoding = json.loads(arguments.decoding.read_text(encoding="utf-8")) if arguments.decoding else {}
    figures = evaluate(config, arguments.runs, arguments.output, arguments.fold, decoding.get("folds"))
    with (arguments.output / "patients.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["patient", *next(iter(figures.values()))])
        writer.writeheader()
        writer.writerows({"patient": name, **row} for name, row in figures.items())
    summary = summarise(figures)
    entry = card_entry(
        summary,
        f"Tabriz (1.5 T, 6-8 mm), {config.folds}-fold cross-validation over patients",
        len(figures),
        f"python -m training.evaluate --config {arguments.config.as_posix()} --runs runs"
        + (" --decoding runs/decoding.json" if arguments.decoding else ""),
        arguments.note,
    )
    (arguments.output / "result.json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    print(markdown(summary))


if __name__ == "__main__":
    main()
