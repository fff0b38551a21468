"""Validation on held-out patients during training."""

from __future__ import annotations

import math

import numpy as np
import torch
from flairseg.adapt.framed import FramedCase
from flairseg.evaluation.curves import average_precision
from flairseg.labels import LESION, NUMBER_OF_CLASSES
from flairseg.models.card import PipelineConfig
from flairseg.segmentation.decoding import classify, decode

from .metrics import class_dice

#: Figures of :func:`validate`, in order.
FIGURES = ("dice_ventricles", "dice_normal_wmh", "dice_lesion", "auc_pr_lesion")


@torch.inference_mode()
def validate(
    network: torch.nn.Module, cases: list[FramedCase], config: PipelineConfig, amp: bool = True
) -> list[float]:
    """Evaluate a network in the frame, with the card's decoding and without clean-up.

    Parameters
    ----------
    network : Module
    cases : list of FramedCase
    config : PipelineConfig
    amp : bool
        Run convolutions in bf16.

    Returns
    -------
    list of float
        :data:`FIGURES`: mean over patients of Dice of classes 1, 2 and 3, and area under the precision-recall curve of
        lesion voxels of all patients. NaN for a class that the network does not segment or that no patient has; empty
        without cases.
    """
    if not cases:
        return []
    was_training = network.training
    network.eval()
    dice, scores, truths = [], [], []
    for case in cases:
        answers = []
        for batch in case.prepared.batches(8):
            image = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                answers.append(decode(network(image).float().numpy(), config))
        probabilities = np.concatenate(answers).transpose(1, 0, 2, 3)
        dice.append(class_dice(classify(probabilities, config.thresholds), case.labels))
        scores.append(probabilities[LESION].ravel())
        truths.append((case.labels == LESION).ravel())
    network.train(was_training)
    known = [value in config.output_classes for value in range(1, NUMBER_OF_CLASSES)]
    columns = np.where(known, dice, np.nan).T
    means = [float(np.nanmean(column)) if np.isfinite(column).any() else math.nan for column in columns]
    area = average_precision(np.concatenate(scores), np.concatenate(truths))
    return [*(round(x, 4) for x in means), round(area, 4)]
