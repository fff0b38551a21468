"""Evaluation of follow-up on real pairs of other scanners, compared with subtraction of the label maps.

``python -m training.evaluate_change`` prints for Ljubljana patients 01 and 03, or those given by ``--patients`` (in
``--data``, folders of the same layout: ``study{1,2}_flair.nii.gz``, ``study{1,2}_to_common.txt`` and
``change_mask.nii.gz``),

- the share of voxels of ``change_mask`` that reach a lesion probability at follow-up (these patients have no lesion
  masks);
- Dice and lesion-level F1 of new and enlarged lesions by ``flairseg.longitudinal.follow`` and by subtraction: both
  studies segmented and resampled with the transforms of the data set, ``labels2 & ~labels1``; and the same for change
  of either sign.

``change_mask`` marks change of either sign (Lesjak et al. 2016). A component of it counts as new or enlarged if its
mean intensity increases after intensity matching, and as visibly brighter if by at least 5 % of the brain's median. All
comparisons are on the common grid. F1: 26-connected components of at least 10.7 mm3 in prediction and reference
(source: S5), detected if one voxel overlaps; a second F1 includes components of every size. (The follow-up images were
used, unlabelled, in the default model's self-training.)
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
#: Percentile above which voxels in both studies count as head; and minimum visible increase, as a share of the median.
BRAIN_PERCENTILE, VISIBLE = 60, 0.05


@dataclass(frozen=True)
class Pair:
    """Segmented studies of a patient, and the reference on the common grid of the data set.

    Attributes
    ----------
    name : str
    studies : tuple of Segmentation
        Baseline and follow-up.
    transforms : tuple of SimpleITK.Transform
        From the common grid to each study, LPS mm.
    grid : SimpleITK.Image
        The common grid.
    mask : ndarray of bool, shape (K, J, I)
        ``change_mask`` on it.
    """

    name: str
    studies: tuple[Segmentation, Segmentation]
    transforms: tuple
    grid: sitk.Image
    mask: np.ndarray

    def carry(self, array: np.ndarray, study: int, interpolator=sitk.sitkLinear) -> np.ndarray:
        """Resample an array (K, J, I) from a study's grid to the common grid."""
        image = volume_to_sitk(self.studies[study].volume.with_array(np.ascontiguousarray(array)))
        return sitk.GetArrayFromImage(sitk.Resample(image, self.grid, self.transforms[study], interpolator))


def load(folder: Path, model: str | None) -> Pair:
    """Read and segment a patient. Nothing is tuned here: pairs held back for final tests may be given."""
    studies = tuple(segment(read(folder / f"study{n}_flair.nii.gz"), model) for n in (1, 2))
    transforms = tuple(sitk.ReadTransform(str(folder / f"study{n}_to_common.txt")) for n in (1, 2))
    path = folder / "change_mask.nii.gz"
    common = read(path)
    return Pair(folder.name, studies, transforms, volume_to_sitk(common), read_lesions(path, common))


def covered(pair: Pair) -> dict[float, float]:
    """Share of the changed voxels that reach each of :data:`LEVELS` in lesion probability at follow-up."""
    inside = pair.carry(np.asarray(pair.studies[1].probabilities[LESION], np.float32), 1)[pair.mask]
    return {level: float((inside >= level).mean()) for level in LEVELS}


def brightened(pair: Pair, least: float = 0.0) -> np.ndarray:
    """Components of ``change_mask`` with an increase in mean intensity, independent of the segmentations.

    Parameters
    ----------
    pair : Pair
    least : float
        Increase to exceed, as a share of the brain's median.

    Returns
    -------
    ndarray of bool, shape (K, J, I)
    """
    first, last = (pair.carry(s.volume.array, n) for n, s in enumerate(pair.studies))
    tissue = (first > np.percentile(first, BRAIN_PERCENTILE)) & (last > np.percentile(last, BRAIN_PERCENTILE))
    first, last = harmonise((first, last), tissue & ~pair.mask, pair.grid.GetSpacing()[::-1])
    components, count = ndimage.label(pair.mask, CONNECTIVITY_26)
    change = ndimage.mean(last - first, components, np.arange(1, count + 1))
    return np.concatenate([[False], change > least])[components]


def naive(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Lesion voxels gained and lost by subtraction of the label maps, on the common grid."""
    first, last = (pair.carry(s.labels, n, sitk.sitkNearestNeighbor) == LESION for n, s in enumerate(pair.studies))
    return last & ~first, first & ~last


def ours(pair: Pair, result: FollowUp) -> tuple[np.ndarray, np.ndarray]:
    """Lesion voxels gained and lost by the change map of follow-up, on the common grid."""
    change = volume_to_sitk(result.space.grid.with_array(result.change_map))
    chain = sitk.CompositeTransform(3)
    # Transforms are applied last to first: common grid -> follow-up study -> half-way grid.
    chain.AddTransform(rigid.to_sitk(rigid.invert(result.space.common_to_study[1])))
    chain.AddTransform(pair.transforms[1])
    codes = sitk.GetArrayFromImage(sitk.Resample(change, pair.grid, chain, sitk.sitkNearestNeighbor))
    return (
        np.isin(codes, (STATE_BY_ID["new"].code, GAINED)),
        np.isin(codes, (STATE_BY_ID["resolved"].code, LOST)),
    )


def figures(predicted: np.ndarray, reference: np.ndarray, voxel_mm3: float) -> dict[str, float]:
    """Dice; lesion-level F1, recall and precision from 10.7 mm3 on; F1 of all sizes; number of lesions."""
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
    parser.add_argument("--model", help="model id or folder; default: the default model")
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
    # Without predictions, precision is undefined and F1 is 0.
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


if __name__ == "__main__":
    main()
