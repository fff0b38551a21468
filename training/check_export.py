"""Effect of half-precision weights: ``python -m training.check_export --config CONFIG --checkpoint last.pt``.

The checkpoint is exported in single and in half precision, each compared with PyTorch; both then segment digital
phantoms with the shipped pipeline. Half precision is acceptable if the mean Dice of every class changes by less than
:data:`LARGEST_CHANGE`; otherwise the command exits with status 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from flairseg.image.volume import Volume
from flairseg.labels import CLASS_BY_VALUE
from flairseg.models import load_card
from flairseg.phantom import make_phantom
from flairseg.segmentation.pipeline import segment

from .config import TrainingConfig, load_config
from .evaluate import fold_card
from .export import load_average, write_model
from .metrics import class_dice

#: Change of a class's mean Dice from which on half precision is rejected.
LARGEST_CHANGE = 0.005


@dataclass(frozen=True)
class Check:
    """Comparison of single and half precision.

    Attributes
    ----------
    differences : tuple of float
        Largest difference of probabilities from PyTorch (with equally rounded weights): single, half.
    megabytes : tuple of float
        Size of the files: single, half.
    dice : ndarray, shape (2, cases, 3)
        Dice of classes 1, 2 and 3 in each case: single, half.
    classes : tuple of int
        Class values that the model knows.
    voxels : int
        Voxels with differing labels, over all cases.
    """

    differences: tuple[float, float]
    megabytes: tuple[float, float]
    dice: np.ndarray
    classes: tuple[int, ...]
    voxels: int

    @property
    def change(self) -> dict[int, float]:
        """Class value -> change of the mean Dice from single to half."""
        means = self.dice.mean(axis=1)
        return {value: float(means[1, value - 1] - means[0, value - 1]) for value in self.classes}

    @property
    def fit_to_embed(self) -> bool:
        """Whether the change of every class is below :data:`LARGEST_CHANGE`."""
        return all(abs(moved) < LARGEST_CHANGE for moved in self.change.values())


def check(config: TrainingConfig, checkpoint: Path, cases: list[tuple[Volume, np.ndarray]]) -> Check:
    """Export a checkpoint in both precisions and compare them.

    Parameters
    ----------
    config : TrainingConfig
        Its ``half_weights`` is ignored.
    checkpoint : Path
    cases : list of (Volume, ndarray of uint8, shape (K, J, I))
        Images and their references.

    Raises
    ------
    RuntimeError
        If an export differs from PyTorch (:func:`.export.export_onnx`).
    """
    differences, megabytes, labels = [], [], []
    with tempfile.TemporaryDirectory(prefix="flairseg-check-") as temporary:
        for half in (False, True):
            own = replace(config, half_weights=half)
            folder = Path(temporary) / ("half" if half else "single") / fold_card(own, 0)["id"]
            differences.append(write_model(own, load_average(own, checkpoint), folder, fold_card(own, 0)))
            card = load_card(folder)
            megabytes.append(card.path.stat().st_size / 1e6)
            labels.append([segment(volume, card, "cpu").labels for volume, _ in cases])
    dice = [[class_dice(found, truth) for found, (_, truth) in zip(one, cases, strict=True)] for one in labels]
    moved = sum(int(np.count_nonzero(a != b)) for a, b in zip(*labels, strict=True))
    return Check(tuple(differences), tuple(megabytes), np.array(dice), card.classes, moved)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="phantoms")
    arguments = parser.parse_args()
    phantoms = [make_phantom(seed) for seed in range(arguments.seeds)]
    cases = [(phantom.volume, phantom.labels) for phantom in phantoms]
    found = check(load_config(arguments.config), arguments.checkpoint, cases)
    for n, name in enumerate(("single", "half")):
        print(f"{name}: {found.megabytes[n]:.2f} MB, largest difference from PyTorch {found.differences[n]:.2g}")
    means = found.dice.mean(axis=1)
    for value, moved in found.change.items():
        before, after = means[:, value - 1]
        print(f"{CLASS_BY_VALUE[value].name}: Dice {before:.4f} -> {after:.4f} ({moved:+.4f})")
    print(f"{found.voxels} labels differ")
    if not found.fit_to_embed:
        sys.exit(f"Dice changes by {LARGEST_CHANGE} or more: keep single precision")


if __name__ == "__main__":
    main()
