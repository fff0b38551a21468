"""Make the model folder of a recipe: ``python -m training.publish --recipe s4-deepwml --runs runs``.

The run on all patients (``<runs>/<recipe>/last.pt``) is exported to ``models/<id>/model.onnx``. Its card has the fields
of ``cards/<id>.json``, the cost of the run (``finished.json``), and the figures of the out-of-fold predictions
(:mod:`training.predict_folds`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from flairseg.image.slice_stack import SliceStack
from flairseg.phantom import make_phantom
from flairseg.preprocessing import preprocess
from flairseg.segmentation.decoding import decode

from .calibrate import decoded
from .card_markdown import render
from .checkpoint import FINISHED
from .config import CONFIGS, TrainingConfig, load_config
from .data import read, read_labels
from .evaluate import card_entry, compare, summarise
from .export import TOLERANCE_ON_SLICES, largest_difference, load_average, write_model
from .lesion_confidence import FIELD, draw
from .predict_folds import LABELS, REFERENCES

CARDS, MODELS = Path(__file__).with_name("cards"), Path(__file__).resolve().parents[1] / "models"


def out_of_fold_entry(config: TrainingConfig, predictions: Path) -> dict:
    """Entry of ``results`` in the card for the out-of-fold predictions of a recipe, with the classes of its network.

    Raises
    ------
    FileNotFoundError
        If a patient with a reference has no prediction.
    """
    figures = {}
    for reference in sorted((predictions / REFERENCES).glob(f"*{LABELS}")):
        truth = read(reference)
        labels = read_labels(reference, truth)
        ours = read_labels(predictions / config.name / reference.name, truth)
        spacing = tuple(reversed(truth.spacing))
        figures[reference.name.removesuffix(LABELS)] = compare(ours, labels, spacing)
    known = set(config.pipeline["output_classes"])
    unknown = [
        name
        for name, values in (("ventricles", {1}), ("normal_wmh", {2}), ("lesion", {3}), ("all_wmh", {2, 3}))
        if not values <= known
    ]
    summary = {
        key: value
        for key, value in summarise(figures).items()
        if not any(key.startswith(f"{name}_") for name in unknown)
    }
    return card_entry(
        summary,
        f"Tabriz (1.5 T, 6-8 mm), {config.folds}-fold cross-validation over patients",
        len(figures),
        f"python -m training.predict_folds --recipe {config.name} && python -m training.publish --recipe {config.name}",
        "Mean ± SD over patients, each segmented by the model of the fold that left it out, with the shipped pipeline. "
        "The shipped weights are those of the run on all patients, trained with the same budget.",
    )


def measured(paths: list[Path]) -> list[dict]:
    """Entries of ``results`` from JSON files, each with one entry or a list ``entries``."""
    out: list[dict] = []
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))
        out += content.get("entries", [content])
    return out


def in_words(fitted: dict) -> str:
    """Result of :mod:`~training.calibrate` as text for a card."""
    used, best = fitted["all"]["temperature"], sorted(one["fitted"] for one in fitted["folds"])
    divided = f"logits divided by {used:.3f}" if used != 1 else "probabilities of the network without scaling"
    bins = {key: "; ".join(
        f"{row['from']:g} to {row['to']:g}: {row['lesions']} lesions, {100 * row['drawn']:.0f} % annotated"
        for row in fitted[key]
    ) for key in ("lesions_before", "lesions_left_out")}  # fmt: skip
    chosen = "; ".join(f"{name} {value}" for name, value in fitted["all"]["pipeline"].items())
    chosen = f"{chosen}, fitted on held-out patients, in cross-validation on those of the other folds" if chosen else (
        "each voxel is of its most probable class"
    )  # fmt: skip
    return (
        f"{divided}; {chosen} (python -m training.calibrate). Share of the lesions found by argmax that readers "
        "annotated, by mean probability: "
        f"{bins['lesions_before']}. With temperatures fitted on the other folds' patients ({best[0]:.1f} to "
        f"{best[-1]:.1f}): {bins['lesions_left_out']}. Calibration error of lesion probabilities "
        f"{fitted['error_before']:.3f}, with these temperatures {fitted['error_left_out']:.3f}"
    )


def cost(folder: Path) -> str:
    """Cost of a complete run, as text."""
    spent = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
    if spent["minutes"] is None:
        return f"{spent['steps']} steps of batch {spent['batch']}; weights restored from published models, time unknown"
    return (
        f"{spent['steps']} steps of batch {spent['batch']}, {spent['minutes']} minutes of wall time on one thread of a "
        f"shared 2-core {spent['machine']} CPU, PyTorch {spent['torch']}"
    )


def phantom_slices(config: TrainingConfig) -> torch.Tensor:
    """Network input of the digital phantom: Tensor of float32, shape (slices, channels, rows, columns)."""
    stack = SliceStack.from_volume(make_phantom(0).volume, config.pipeline["plane"])
    return torch.from_numpy(np.concatenate(list(preprocess(stack, config.preprocessing).batches(8))))


@torch.inference_mode()
def draws(network: torch.nn.Module, slices: torch.Tensor, config: TrainingConfig) -> bool:
    """Whether a network segments anything: a pixel of some slices with probability above 0.5 of a foreground class."""
    answers = decode(torch.cat([network.eval()(one[None]) for one in slices]).numpy(), config.preprocessing)
    return bool((answers[:, 1:] > 0.5).any())


def publish(
    recipe: str,
    runs: Path,
    predictions: Path,
    models: Path = MODELS,
    results: list[Path] | None = None,
    decoding: Path | None = None,
) -> tuple[Path, float]:
    """Write a model folder, ``models/<id>``.

    Parameters
    ----------
    recipe : str
    runs, predictions, models : Path
        Folders of runs, out-of-fold predictions and models.
    results : list of Path, optional
        Results for the card (JSON: an entry, or ``entries``), instead of those of the out-of-fold predictions.
    decoding : Path, optional
        Output of :mod:`~training.calibrate`: temperature and decoding (``all``), and lesion confidence if fitted.

    Returns
    -------
    folder : Path
    difference : float
        Largest difference of probabilities between ONNX and PyTorch on the phantom.

    Raises
    ------
    FileNotFoundError
        If the recipe has no card fields.
    RuntimeError
        If the network segments nothing in the phantom, or ONNX and PyTorch differ on it.
    """
    config = load_config(CONFIGS / f"{recipe}.json")
    found = sorted(CARDS.glob(f"{recipe}-v*.json"))
    if not found:
        raise FileNotFoundError(f"no card fields {CARDS / recipe}-v*.json")
    card = json.loads(found[-1].read_text(encoding="utf-8"))
    card["training"]["time"] = cost(runs / recipe)
    card["results"] = measured(results) if results else [out_of_fold_entry(config, predictions)]
    folder = models / card["id"]
    network, slices = load_average(config, runs / recipe / "last.pt"), phantom_slices(config)
    if not draws(network, slices, config):
        raise RuntimeError(f"{recipe} segments nothing in the phantom: train it again with another seed")
    if decoding:
        fitted = json.loads(decoding.read_text(encoding="utf-8"))
        config = decoded(config, network, fitted["all"])
        card["training"]["decoding"] = in_words(fitted)
        if fitted.get(FIELD):
            card[FIELD] = fitted[FIELD]
            draw(card, models / "curves")
    write_model(config, network, folder, card)
    onnx, output = folder / "model.onnx", config.pipeline["output"]
    difference = largest_difference(network, onnx, slices, TOLERANCE_ON_SLICES, output)
    written = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    written["training"]["export"] = (
        f"largest difference between ONNX and PyTorch {difference:.1g} (probabilities of {len(slices)} slices of the "
        "digital phantom)"
    )
    (folder / "card.json").write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(render(written), encoding="utf-8")
    return folder, difference


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", action="append", required=True, help="may be repeated")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--predictions", type=Path, default=Path("runs/predictions"))
    parser.add_argument("--result", type=Path, action="append", help="measured results (JSON), repeatable")
    parser.add_argument("--decoding", type=Path, help="file written by training.calibrate")
    arguments = parser.parse_args()
    for recipe in arguments.recipe:
        folder, difference = publish(
            recipe,
            arguments.runs,
            arguments.predictions,
            results=arguments.result,
            decoding=arguments.decoding,
        )
        print(f"{folder}: largest difference from PyTorch {difference:.2g}")


if __name__ == "__main__":
    main()
