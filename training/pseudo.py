"""Pseudo-labels for self-training: unlabelled scans segmented by the fold models, for the final model.

``python -m training.pseudo --config CONFIG --runs runs --output runs/cache/pseudo.npz`` averages the fold models over
each unlabelled Ljubljana FLAIR and its mirror image. Slices of the second patient with manually annotated normal WMH
(110497) are added with the annotated WMH and the averaged models' ventricles, which were not annotated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from flairseg.adapt.framed import quantise
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.models.card import PipelineConfig
from flairseg.preprocessing import Prepared, preprocess
from flairseg.segmentation.decoding import decode
from flairseg.segmentation.postprocessing import grow_lesions

from .config import TrainingConfig, load_config
from .data import HELD_BACK_LONGITUDINAL, data_folder, read, refuse_held_back, split_hand_drawn
from .export import load_average

#: Slice distance and pixel size of 110497 (slice, row, column), valid for its middle slices: the pictures were scaled
#: individually to fill the frame.
HAND_DRAWN_SPACING_MM = (6.8, 0.75, 0.75)
HAND_DRAWN_SLICES = range(6, 15)
#: Lesion probability down to which lesions are extended: the models are less certain on unseen scanners.
LESION_GROWTH = 0.3


@torch.inference_mode()
def ensemble(networks: list[torch.nn.Module], prepared: Prepared, config: PipelineConfig) -> np.ndarray:
    """Class probabilities averaged over networks and left-right mirror images.

    Returns
    -------
    ndarray of float32, shape (slices, 4, rows, columns)
    """
    out = []
    for batch in prepared.batches(8):
        images = torch.from_numpy(batch)
        total = np.zeros(())
        for network in networks:
            total = total + decode(network(images).numpy(), config)
            total = total + decode(network(images.flip(3)).numpy(), config)[..., ::-1]
        out.append(np.float32(total / (2 * len(networks))))
    return np.concatenate(out)


def teach(probabilities: np.ndarray) -> np.ndarray:
    """Pseudo-labels (slices, rows, columns) from probabilities (slices, 4, rows, columns)."""
    labels = probabilities.argmax(1).astype(np.uint8)
    return grow_lesions(labels, probabilities[:, LESION], LESION_GROWTH)


def hand_drawn_110497(folder: Path) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Pictures of patient 110497 as a volume, with annotated normal and abnormal WMH (bool, same shape)."""
    from matplotlib.image import imread

    pictures = np.stack([imread(folder / f"110497_{n}.png").astype(np.float32) for n in range(1, 21)])
    # The pictures show the patient's left on the left, canonical slices on the right.
    images, masks = pictures[:, :, :256][:, :, ::-1], pictures[:, :, 256:][:, :, ::-1]
    drawn = [split_hand_drawn(mask / pictures.max()) for mask in masks]
    k, j, i = HAND_DRAWN_SPACING_MM
    affine = np.diag([-i, -j, k, 1.0])
    normal, abnormal = (np.stack([pair[n] for pair in drawn]) for n in (0, 1))
    return Volume(np.ascontiguousarray(images), affine, "110497"), normal, abnormal


def label(config: TrainingConfig, networks: list[torch.nn.Module]) -> dict[str, np.ndarray]:
    """Quantised images, labels and brain masks of all slices, for :class:`.sources.PseudoSource`."""
    images, labels, masks = [], [], []

    def add(prepared: Prepared, predicted: np.ndarray, slices: range) -> None:
        mask = prepared.frame.apply(prepared.mask.astype(np.float32)) > 0.5
        for k in slices:
            images.append(quantise(prepared.channels(k)))
            labels.append(predicted[k].astype(np.uint8))
            masks.append(mask[k])

    for path in sorted((data_folder() / "ljubljana_longitudinal").glob("*/study*_flair.nii.gz")):
        refuse_held_back(path.parent.name, HELD_BACK_LONGITUDINAL)
        prepared = preprocess(SliceStack.from_volume(read(path), config.preprocessing.plane), config.preprocessing)
        add(prepared, teach(ensemble(networks, prepared, config.preprocessing)), range(len(prepared.slices)))
    volume, normal, abnormal = hand_drawn_110497(data_folder() / "tabriz_normal_abnormal")
    prepared = preprocess(SliceStack.from_volume(volume), config.preprocessing)
    ventricles = ensemble(networks, prepared, config.preprocessing).argmax(1) == VENTRICLES
    predicted = np.where(ventricles, VENTRICLES, 0)
    for drawn, value in ((normal, NORMAL_WMH), (abnormal, LESION)):
        predicted[prepared.frame.apply(drawn.astype(np.float32)) > 0.5] = value
    add(prepared, predicted, HAND_DRAWN_SLICES)
    return {"images": np.stack(images), "labels": np.stack(labels), "masks": np.stack(masks)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--fold", type=int, action="append", help="model to use (may be repeated; default: all folds)")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    teachers = arguments.fold or range(config.folds)
    networks = [load_average(config, arguments.runs / f"{config.name}-fold{f}" / "last.pt").eval() for f in teachers]
    part = arguments.output.with_suffix(".part.npz")
    np.savez_compressed(part, **label(config, networks))
    part.replace(arguments.output)


if __name__ == "__main__":
    main()
