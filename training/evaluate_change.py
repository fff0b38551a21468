"""Change on real pairs of other scanners: ``flairseg.longitudinal.follow`` beside subtraction of the masks.

``python -m training.evaluate_change`` prints for Ljubljana patients 01 and 03, or those that ``--patients`` names (in
``--data``, folders of the same layout: ``study{1,2}_flair.nii.gz``, ``study{1,2}_to_common.txt`` and
``change_mask.nii.gz``),

- which share of the voxels of ``change_mask`` reaches a lesion probability at follow-up (no lesion masks exist for
  these patients, so this is the only look at a real scanner besides Tabriz);
- Dice and lesion-level F1 of new and enlarged lesions, beside naive subtraction: both studies segmented, resampled by
  the data's own transforms, ``labels2 & ~labels1``; and the same for change of either sign.

``change_mask`` marks change of either sign (Lesjak et al. 2016). A component of it counts as new or enlarged where the
follow-up is brighter than the baseline on average over it, once grey levels are matched; as visibly brighter where
that is 5 % of the brain's median and more. All is compared on the common grid. F1: 26-connected components of
10.7 mm3 and more (source: S5, whose rule takes smaller ones out of prediction and reference alike), each found
if one voxel overlaps. A second F1 keeps components of every size. (The follow-up images, unlabelled, were part of the
default model's self-training.)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from flairseg.evaluation.components import CONNECTIVITY_26, match_lesions
from flairseg.evaluation.overlap import Overlap
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.volume import volume_to_sitk
from flairseg.labels import LESION
from flairseg.longitudinal import rigid
from flairseg.longitudinal.followup import follow
from flairseg.longitudinal.harmonise import harmonise
from flairseg.longitudinal.noise import SMALLEST_MM3
from flairseg.longitudinal.result import FollowUp
from flairseg.longitudinal.states import GAINED, LOST, STATE_BY_ID
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.result import Segmentation
from scipy import ndimage

from .data import data_folder, read, read_lesions

PATIENTS = ("patient01", "patient03")
LEVELS = (0.5, 0.35, 0.3, 0.15)
#: Voxels brighter than this percentile in both studies are taken for head; and the least brightening that an eye sees,
#: of the median.
BRAIN_PERCENTILE, VISIBLE = 60, 0.05


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
    """One patient, segmented. (Nothing is tuned here: pairs that are held back for checks may be named.)"""
    studies = tuple(segment(read(folder / f"study{n}_flair.nii.gz"), model) for n in (1, 2))
    transforms = tuple(sitk.ReadTransform(str(folder / f"study{n}_to_common.txt")) for n in (1, 2))
    path = folder / "change_mask.nii.gz"
    common = read(path)
    return Pair(folder.name, studies, transforms, volume_to_sitk(common), read_lesions(path, common))


def covered(pair: Pair) -> dict[float, float]:
    """Share of the changed voxels that reach each lesion probability of ``LEVELS`` at follow-up."""
    inside = pair.carry(np.asarray(pair.studies[1].probabilities[LESION], np.float32), 1)[pair.mask]
    return {level: float((inside >= level).mean()) for level in LEVELS}


def brightened(pair: Pair, least: float = 0.0) -> np.ndarray:
    """The components of ``change_mask`` that are brighter at follow-up on average, by more than ``least``, bool.

    ``least`` is a share of the brain's median. Grey levels are matched by quantiles of what is bright in both; nothing
    of the segmentations goes in.
    """
    first, last = (pair.carry(s.volume.array, n) for n, s in enumerate(pair.studies))
    tissue = (first > np.percentile(first, BRAIN_PERCENTILE)) & (last > np.percentile(last, BRAIN_PERCENTILE))
    first, last = harmonise((first, last), tissue & ~pair.mask, pair.grid.GetSpacing()[::-1])
    components, count = ndimage.label(pair.mask, CONNECTIVITY_26)
    change = ndimage.mean(last - first, components, np.arange(1, count + 1))
    return np.concatenate([[False], change > least])[components]


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


def figures(predicted: np.ndarray, reference: np.ndarray, voxel_mm3: float) -> dict[str, float]:
    """Dice; F1, recall and precision by lesion of 10.7 mm3 and more; F1 of all sizes; how many there are."""
    match = match_lesions(predicted, reference, voxel_mm3, minimum_mm3=SMALLEST_MM3)
    return {
        "dice": Overlap.of(predicted, reference).dice,
        "f1": match.f1,
        "recall": match.recall,
        "precision": match.precision,
        "f1_any_size": match_lesions(predicted, reference, voxel_mm3).f1,
        "predicted": match.prediction,
        "reference": match.reference,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="default: the default model")
    parser.add_argument("--output", type=Path, help="folder for the files of each follow-up")
    parser.add_argument(
        "--patients", action="append", metavar="NAME", help=f"repeatable; default: {', '.join(PATIENTS)}"
    )
    parser.add_argument("--data", type=Path, help="folder of the patients; default: ljubljana_longitudinal of the data")
    arguments = parser.parse_args()
    patients = tuple(arguments.patients or PATIENTS)
    folder = arguments.data or data_folder() / "ljubljana_longitudinal"
    missing = [name for name in patients if not (folder / name / "change_mask.nii.gz").is_file()]
    if missing:
        parser.error(f"no change_mask.nii.gz for {', '.join(missing)} in {folder}")
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for patient in patients:
        pair = load(folder / patient, arguments.model)
        shares = covered(pair)
        print(patient, ", ".join(f"{100 * share:.0f} % at {level} and more" for level, share in shares.items()))
        result = follow(pair.studies)
        print(" ", result.counts, {k: round(v, 1) for k, v in result.seconds.items()}, *result.warnings)
        if arguments.output:
            from flairseg.longitudinal import write_followup

            write_followup(result, arguments.output, patient, overwrite=True)
        voxel_mm3 = VolumeGeometry.from_sitk(pair.grid).voxel_volume_mm3
        references = {"new and enlarged": brightened(pair), "visibly brighter": brightened(pair, VISIBLE)}
        for method, (gained, lost) in (("follow", ours(pair, result)), ("subtraction", naive(pair))):
            for what, reference in references.items():
                rows.setdefault((method, what), []).append(figures(gained, reference, voxel_mm3))
            rows.setdefault((method, "either sign"), []).append(figures(gained | lost, pair.mask, voxel_mm3))
    for (method, what), found in rows.items():
        for name, row in (*zip(patients, found, strict=True), ("mean", _mean(found))):
            print(f"{what:17} {method:12} {name:10}", "  ".join(f"{key} {value:.3f}" for key, value in row.items()))


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    # Without predictions there is no precision, and F1 is 0.
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


if __name__ == "__main__":
    main()
