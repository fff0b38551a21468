"""Calibration of the rule for normal WMH on the manually annotated slices of two patients.

``python -m training.calibrate_normal --model models/flairseg2d-accurate-v1.1`` prints the Dice of the rule
(:mod:`.normal_rule`) with the annotation of each patient for several rim widths and thresholds. Ventricles of 101228
are annotated, those of 110497 are the model's; lesions are annotated for both.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flairseg.evaluation.overlap import Overlap
from flairseg.image.slice_stack import SliceStack
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.preprocessing import brain_mask
from flairseg.segmentation.pipeline import segment

from .data import data_folder, load_tabriz
from .normal_rule import normal_rim
from .pseudo import HAND_DRAWN_SLICES, hand_drawn_110497

RIMS_MM = (2.5, 3.0, 3.7, 4.5, 5.5, 7.0)
BRIGHTNESSES = tuple(round(1.15 + 0.03 * n, 2) for n in range(11))


@dataclass(frozen=True)
class Annotated:
    """Slices of a patient whose normal WMH was annotated by hand; arrays of shape (slices, rows, columns).

    Attributes
    ----------
    name : str
    image : ndarray
    ventricles, lesions, normal, brain : ndarray of bool
    pixel_mm : float
    slices : slice
        Slices that are compared.
    """

    name: str
    image: np.ndarray
    ventricles: np.ndarray
    lesions: np.ndarray
    normal: np.ndarray
    brain: np.ndarray
    pixel_mm: float
    slices: slice

    def dice(self, rim_mm: float, brightness: float) -> float:
        """Dice coefficient of the rule with the annotation."""
        masks = (self.ventricles, self.lesions, self.brain)
        rule = normal_rim(self.image, *masks, self.pixel_mm, rim_mm, brightness)
        return Overlap.of(rule[self.slices], self.normal[self.slices]).dice


def annotated_patients(data: Path, model: Path) -> list[Annotated]:
    """Both patients.

    Parameters
    ----------
    data : Path
        Folder of the data sets.
    model : Path
        ONNX file that segments the ventricles of 110497.
    """
    case = next(case for case in load_tabriz(data) if case.name == "101228")
    stack, labels = SliceStack.from_volume(case.volume), SliceStack.from_volume(case.volume.with_array(case.labels))
    first = Annotated(
        case.name, stack.array, labels.array == VENTRICLES, labels.array == LESION, labels.array == NORMAL_WMH,
        brain_mask(stack.array, stack.spacing), stack.spacing[1], slice(None),
    )  # fmt: skip
    volume, normal, abnormal = hand_drawn_110497(data / "tabriz_normal_abnormal")
    stack = SliceStack.from_volume(volume)
    ventricles = stack.arrange(segment(volume, model=model).labels) == VENTRICLES
    second = Annotated(
        "110497", stack.array, ventricles, abnormal, normal & ~ventricles, brain_mask(stack.array, stack.spacing),
        stack.spacing[1], slice(HAND_DRAWN_SLICES.start, HAND_DRAWN_SLICES.stop),
    )  # fmt: skip
    return [first, second]


def table(patients: list[Annotated]) -> list[tuple[float, float, list[float]]]:
    """Rim width, threshold and Dice of each patient, best mean first."""
    rows = [(rim, least, [one.dice(rim, least) for one in patients]) for rim in RIMS_MM for least in BRIGHTNESSES]
    return sorted(rows, key=lambda row: -float(np.mean(row[2])))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder, for the ventricles of 110497")
    arguments = parser.parse_args()
    patients = annotated_patients(data_folder(), arguments.model / "model.onnx")
    print("rim mm, multiple of the median; Dice of", ", ".join(one.name for one in patients), "and mean")
    for rim, least, values in table(patients)[:12]:
        print(f"{rim:.1f}, {least:.2f};", ", ".join(f"{value:.3f}" for value in (*values, float(np.mean(values)))))


if __name__ == "__main__":
    main()
