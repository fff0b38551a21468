"""How probable are lesions of another scanner: the new lesions of Ljubljana patients 01 and 03 at follow-up.

``python -m models.training.evaluate_change`` prints which share of the voxels of ``change_mask`` reaches a lesion
probability. No lesion masks exist for these patients, so this is the only look at a real scanner besides Tabriz. (The
follow-up images, unlabelled, were part of the default model's self-training.)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from flairseg.labels import LESION
from flairseg.pipeline import segment
from flairseg.volume import volume_to_sitk

from .data import data_folder, read

PATIENTS = ("patient01", "patient03")
LEVELS = (0.5, 0.35, 0.3, 0.15)


def covered(folder: Path, model: str | None) -> dict[float, float]:
    """Share of the changed voxels of one patient's follow-up that reach each lesion probability of ``LEVELS``."""
    change = sitk.ReadImage(str(folder / "change_mask.nii.gz"))
    result = segment(read(folder / "study2_flair.nii.gz"), model=model)
    probability = result.volume.with_array(np.asarray(result.probabilities[LESION], dtype=np.float32))
    # The transform takes points of the common grid to the study's.
    transform = sitk.ReadTransform(str(folder / "study2_to_common.txt"))
    resampled = sitk.Resample(volume_to_sitk(probability), change, transform, sitk.sitkLinear)
    inside = sitk.GetArrayFromImage(resampled)[sitk.GetArrayFromImage(change) > 0]
    return {level: float((inside >= level).mean()) for level in LEVELS}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="default: the default model")
    model = parser.parse_args().model
    for patient in PATIENTS:
        shares = covered(data_folder() / "ljubljana_longitudinal" / patient, model)
        print(patient, ", ".join(f"{100 * share:.0f} % at {level} and more" for level, share in shares.items()))


if __name__ == "__main__":
    main()
