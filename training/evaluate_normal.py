"""Normal WMH compared with manual annotation: the second annotated patient, 110497, held out of every fold.

``python -m training.evaluate_normal --config training/configs/flairseg2d.json --runs runs`` prints Dice, precision and
recall on the middle slices for the averaged fold models, and for the calibrated rule of S1 with these models'
ventricles (which were not annotated).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from flairseg.evaluation.overlap import Overlap
from flairseg.image.slice_stack import SliceStack
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.preprocessing import preprocess

from .config import load_config
from .data import data_folder
from .export import load_average
from .normal_rule import normal_rim
from .pseudo import HAND_DRAWN_SLICES, ensemble, hand_drawn_110497


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    checkpoints = [arguments.runs / f"{config.name}-fold{fold}" / "last.pt" for fold in range(config.folds)]
    networks = [load_average(config, checkpoint).eval() for checkpoint in checkpoints]
    volume, normal, abnormal = hand_drawn_110497(data_folder() / "tabriz_normal_abnormal")
    prepared = preprocess(SliceStack.from_volume(volume), config.preprocessing)
    normal, abnormal, brain = (
        prepared.frame.apply(mask.astype(np.float32)) > 0.5 for mask in (normal, abnormal, prepared.mask)
    )
    predicted = ensemble(networks, prepared, config.preprocessing).argmax(1)
    # Relative to the brain's median; the threshold of the rule depends on ratios alone.
    signal = prepared.slices * 0.2 + 1
    rule = normal_rim(signal, predicted == VENTRICLES, abnormal, brain, config.preprocessing.frame_spacing_mm)
    pairs = {
        "models, normal WMH": (predicted == NORMAL_WMH, normal),
        "models, lesions": (predicted == LESION, abnormal),
        "rule, normal WMH": (rule, normal),
    }
    middle = slice(HAND_DRAWN_SLICES.start, HAND_DRAWN_SLICES.stop)
    for name, (ours, drawn) in pairs.items():
        counts = Overlap.of(ours[middle], drawn[middle])
        print(name, ", ".join(f"{key} {getattr(counts, key):.2f}" for key in ("dice", "precision", "recall")))


if __name__ == "__main__":
    main()
