"""Change on real pairs of other scanners: Ljubljana patients 01 and 03, ``flairseg.change.follow`` beside subtraction.

``python -m models.training.evaluate_change`` prints, for each patient,

- which share of the voxels of ``change_mask`` reaches a lesion probability at follow-up (no lesion masks exist for these
  patients, so this is the only look at a real scanner besides Tabriz);
- Dice and lesion-level F1 of new and enlarged lesions, beside naive subtraction: both studies segmented, resampled by
  the data's own transforms, ``labels2 & ~labels1``; and the same for change of either sign.

``change_mask`` marks change of either sign (Lesjak et al. 2016): a component of it counts as new or enlarged where the
follow-up is brighter than the baseline on average over it, after brightness was matched in the brain; else it counts as
shrunk or resolved. All is compared on the data's common grid. F1: 26-connected components of 10.7 mm3 and more (source:
S5, whose rule takes smaller ones out of prediction and reference alike); a component is found if one voxel overlaps. A
second F1 keeps components of every size. (The follow-up images, unlabelled, were part of the default model's
self-training. No constant of the method was chosen on these pairs.)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from flairseg.change import rigid
from flairseg.change.followup import FollowUp, follow
from flairseg.change.noise import SMALLEST_MM3
from flairseg.change.states import GAINED, LOST, STATE_BY_ID
from flairseg.labels import LESION
from flairseg.pipeline import segment
from flairseg.segmentation import Segmentation
from flairseg.volume import volume_to_sitk
from scipy import ndimage

from .data import HELD_BACK_LONGITUDINAL, data_folder, read, refuse_held_back
from .metrics import CONNECTIVITY_26, lesion_f1, overlap

PATIENTS = ("patient01", "patient03")
LEVELS = (0.5, 0.35, 0.3, 0.15)
#: Brightness is matched over tissue within this range of each study's median brightness.
_TISSUE = (0.7, 1.4)


@dataclass(frozen=True)
class Pair:
    """A patient's studies, segmented, and the reference on the data's common grid (``SimpleITK`` image, its array)."""

    name: str
    studies: tuple[Segmentation, Segmentation]
    transforms: tuple
    grid: sitk.Image
    mask: np.ndarray

    def carry(self, array: np.ndarray, study: int, interpolator=sitk.sitkLinear) -> np.ndarray:
        """An array on a study's grid, brought to the common grid by the data's own transform (grid to study)."""
        image = volume_to_sitk(self.studies[study].volume.with_array(np.ascontiguousarray(array)))
        return sitk.GetArrayFromImage(sitk.Resample(image, self.grid, self.transforms[study], interpolator))


def load(folder: Path, model: str | None) -> Pair:
    """One patient, segmented."""
    refuse_held_back(folder.name, HELD_BACK_LONGITUDINAL)
    studies = tuple(segment(read(folder / f"study{n}_flair.nii.gz"), model) for n in (1, 2))
    transforms = tuple(sitk.ReadTransform(str(folder / f"study{n}_to_common.txt")) for n in (1, 2))
    grid = sitk.ReadImage(str(folder / "change_mask.nii.gz"))
    return Pair(folder.name, studies, transforms, grid, sitk.GetArrayFromImage(grid) > 0)


def covered(pair: Pair) -> dict[float, float]:
    """Share of the changed voxels that reach each lesion probability of ``LEVELS`` at follow-up."""
    inside = pair.carry(np.asarray(pair.studies[1].probabilities[LESION], np.float32), 1)[pair.mask]
    return {level: float((inside >= level).mean()) for level in LEVELS}


def brightened(pair: Pair) -> np.ndarray:
    """The components of ``change_mask`` that are brighter at follow-up on average, bool."""
    first, last = (pair.carry(s.volume.array, n) for n, s in enumerate(pair.studies))
    both = (first > np.percentile(first, 60)) & (last > np.percentile(last, 60))
    first, last = (image / np.median(image[both]) for image in (first, last))
    tissue = both & (np.minimum(first, last) > _TISSUE[0]) & (np.maximum(first, last) < _TISSUE[1])
    components, count = ndimage.label(pair.mask, CONNECTIVITY_26)
    ratio = np.median(last[tissue] / first[tissue])
    change = ndimage.mean(last / ratio - first, components, np.arange(1, count + 1))
    return np.concatenate([[False], change > 0])[components]


def naive(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """(Gained, lost) by subtraction of the two label maps."""
    first, last = (pair.carry(s.labels, n, sitk.sitkNearestNeighbor) == LESION for n, s in enumerate(pair.studies))
    return last & ~first, first & ~last


def ours(pair: Pair, result: FollowUp) -> tuple[np.ndarray, np.ndarray]:
    """(Gained, lost) by the follow-up's change map, brought to the data's grid through the follow-up study."""
    change = volume_to_sitk(result.space.grid.with_array(result.change_map))
    chain = sitk.CompositeTransform(3)
    # Applied last to first: data's grid -> follow-up study -> our grid.
    chain.AddTransform(rigid.to_sitk(rigid.invert(result.space.common_to_study[1])))
    chain.AddTransform(pair.transforms[1])
    codes = sitk.GetArrayFromImage(sitk.Resample(change, pair.grid, chain, sitk.sitkNearestNeighbor))
    return (
        np.isin(codes, (STATE_BY_ID["new"].code, GAINED)),
        np.isin(codes, (STATE_BY_ID["resolved"].code, LOST)),
    )


def large(mask: np.ndarray, voxel_mm3: float) -> np.ndarray:
    """The components of 10.7 mm3 and more."""
    components, _ = ndimage.label(mask, CONNECTIVITY_26)
    keep = np.bincount(components.ravel()) * voxel_mm3 >= SMALLEST_MM3
    keep[0] = False
    return keep[components]


def figures(predicted: np.ndarray, reference: np.ndarray, voxel_mm3: float) -> dict[str, float]:
    """Dice; F1, recall and precision by lesion of 10.7 mm3 and more; F1 of all sizes; how many were predicted."""
    by_lesion = lesion_f1(large(predicted, voxel_mm3), large(reference, voxel_mm3))
    return {
        "dice": overlap(predicted, reference)["dice"],
        "f1": by_lesion["lesion_f1"],
        "recall": by_lesion["lesion_recall_by_lesion"],
        "precision": by_lesion["lesion_precision_by_lesion"],
        "f1_any_size": lesion_f1(predicted, reference)["lesion_f1"],
        "predicted": ndimage.label(large(predicted, voxel_mm3), CONNECTIVITY_26)[1],
        "reference": ndimage.label(large(reference, voxel_mm3), CONNECTIVITY_26)[1],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="default: the default model")
    parser.add_argument("--output", type=Path, help="folder for the files of each follow-up")
    arguments = parser.parse_args()
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for patient in PATIENTS:
        pair = load(data_folder() / "ljubljana_longitudinal" / patient, arguments.model)
        shares = covered(pair)
        print(patient, ", ".join(f"{100 * share:.0f} % at {level} and more" for level, share in shares.items()))
        result = follow(pair.studies)
        print(" ", result.counts, {k: round(v, 1) for k, v in result.seconds.items()}, *result.warnings)
        if arguments.output:
            from flairseg.change import write_followup

            write_followup(result, arguments.output, patient, overwrite=True)
        voxel_mm3 = float(np.prod(pair.grid.GetSpacing()))
        more = brightened(pair)
        for method, (gained, lost) in (("follow", ours(pair, result)), ("subtraction", naive(pair))):
            rows.setdefault((method, "new and enlarged"), []).append(figures(gained, more, voxel_mm3))
            rows.setdefault((method, "either sign"), []).append(figures(gained | lost, pair.mask, voxel_mm3))
    for (method, what), found in rows.items():
        for name, row in (*zip(PATIENTS, found, strict=True), ("mean", _mean(found))):
            print(f"{what:17} {method:12} {name:10}", "  ".join(f"{key} {value:.3f}" for key, value in row.items()))


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    # Where nothing was predicted there is no precision, and F1 is 0.
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


if __name__ == "__main__":
    main()
