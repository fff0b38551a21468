"""Evaluation of a model on the digital phantom, which is never used for training.

``python -m training.evaluate_phantom --model models/flairseg2d-distilled-v1.1 --output runs/evaluation/phantom.json``;
with ``--without-lesions`` the number of lesions that are found in phantoms that have none.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from flairseg.phantom import make_phantom
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.postprocessing import lesion_components

from .evaluate import card_entry, markdown, summarise
from .metrics import compare


def false_lesions(model: Path, seeds: int) -> list[int]:
    """Number of lesions (26-connected) found in each phantom without lesions.

    Parameters
    ----------
    model : Path
        Folder of a model.
    seeds : int
        Phantoms, of seeds 0, 1, ...
    """
    phantoms = (make_phantom(seed, n_lesions=0) for seed in range(seeds))
    return [
        int(lesion_components(segment(phantom.volume, model=model / "model.onnx").labels)[1]) for phantom in phantoms
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--output", type=Path, help="JSON")
    kind.add_argument("--without-lesions", action="store_true", help="count false lesions, write nothing")
    arguments = parser.parse_args()
    if arguments.without_lesions:
        print(", ".join(map(str, false_lesions(arguments.model, arguments.seeds))))
        return
    figures = {}
    for seed in range(arguments.seeds):
        phantom = make_phantom(seed)
        labels = segment(phantom.volume, model=arguments.model / "model.onnx").labels
        figures[phantom.volume.name] = compare(labels, phantom.labels, tuple(reversed(phantom.volume.spacing)))
    summary = summarise(figures)
    entry = card_entry(
        summary,
        "Digital phantom, default scan",
        arguments.seeds,
        f"python -m training.evaluate_phantom --model {arguments.model.as_posix()} --output phantom.json",
        f"Mean ± SD over the heads of seeds 0 to {arguments.seeds - 1}.",
    )
    arguments.output.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    print(markdown(summary))


if __name__ == "__main__":
    main()
