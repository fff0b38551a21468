"""Training data: annotated cases and patient-level folds.

Data are read from ``$FLAIRSEG_DATA`` (else ``shared/data`` beside the repository) and prepared by the functions that
are used for inference.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from flairseg.adapt.framed import Case, FramedCase
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.io.label_maps import read_label_map
from flairseg.io.label_meanings import OWN, PRESETS
from flairseg.io.reader import read_components
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, CaseArchive
from scipy import ndimage

from .normal_rule import normal_rim

#: Held back for final tests, never used for training or tuning (see the data's README): Tabriz patients of any source,
#: then patients of the two Ljubljana sets, which are numbered independently.
HELD_BACK = frozenset({"104252", "105074", "105465", "105755", "105911"})
HELD_BACK_LONGITUDINAL = frozenset({"patient12", "patient19"})
HELD_BACK_LESIONS = frozenset({"patient07", "patient19", "patient26"})
#: Scans of one person (recognised visually in the pictures of the cross-validation): always in the same fold.
SAME_PERSON = (("107130", "112776"),)
#: Position of slice n of the manually annotated patient 101228 on the slices of ``tabriz/sub-101228``, by similarity
#: registration of the pictures (correlation 0.91-0.98): scale, then shift (columns, rows) in pixels; flipped.
_HAND_DRAWN_101228 = (
    (0.781, 4, 1), (0.797, 4, 4), (0.781, 4, 8), (0.789, 4, 10), (0.805, 4, 11), (0.852, 4, 9), (0.844, 3, 11),
    (0.859, 4, 10), (0.852, 4, 10), (0.852, 4, 9), (0.844, 4, 8), (0.844, 4, 8), (0.820, 4, 8), (0.797, 4, 8),
    (0.773, 4, 8), (0.734, 4, 9), (0.695, 4, 10), (0.648, 4, 12), (0.586, 4, 14), (0.500, 4, 17),
)  # fmt: skip
Named = TypeVar("Named", Case, FramedCase)


def data_folder() -> Path:
    """Folder of the annotated data: ``$FLAIRSEG_DATA``, else ``shared/data`` beside the repository."""
    configured = os.environ.get("FLAIRSEG_DATA")
    return Path(configured) if configured else Path(__file__).resolve().parents[2] / "shared" / "data"


def refuse_held_back(name: str, held_back: frozenset[str] = HELD_BACK) -> None:
    """Raise ``ValueError`` if a name is or contains that of a patient held back for final tests."""
    if any(patient in name for patient in held_back):
        raise ValueError(f"{name} is held back for final tests and must not be used for training")


def read(path: Path) -> Volume:
    """Read an image: voxels in the data type of the file, geometry as in the rest of FlairSeg."""
    return replace(read_components(path)[0], name=path.name.split(".")[0])


def read_labels(path: Path, image: Volume) -> np.ndarray:
    """Label map with FlairSeg's values on an image's grid: ndarray of uint8, shape (K, J, I)."""
    return read_label_map(path, image.geometry, OWN).labels


def read_lesions(path: Path, image: Volume) -> np.ndarray:
    """Binary lesion mask on an image's grid: ndarray of bool, shape (K, J, I)."""
    return read_label_map(path, image.geometry, PRESETS["binary"]).labels == LESION


def split_hand_drawn(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a picture of manual annotations into normal and abnormal WMH.

    Interpolated edges of a bright (abnormal) region pass through the mid gray of the normal class: beside a bright
    region only pixels near a plateau of mid gray count as normal.

    Parameters
    ----------
    mask : ndarray of float, shape (rows, columns)
        Gray levels, 0..1.

    Returns
    -------
    normal, abnormal : ndarray of bool, shape (rows, columns)
    """
    beside = ndimage.binary_dilation(mask > 0.9)
    abnormal = (mask > 0.75) | (beside & (mask > 0.5))
    plateau = ndimage.binary_dilation((mask > 0.45) & (mask < 0.55), np.ones((3, 3)))
    return (mask > 0.25) & ~abnormal & (plateau | ~beside), abnormal


def hand_drawn_101228(folder: Path) -> np.ndarray:
    """Manually annotated normal WMH of patient 101228 on the canonical slices of ``tabriz/sub-101228``.

    Returns
    -------
    ndarray of bool, shape (20, 256, 256)
    """
    from matplotlib.image import imread

    out = np.zeros((20, 256, 256), dtype=bool)
    grid = np.arange(256) - 127.5
    for n, (scale, right, down) in enumerate(_HAND_DRAWN_101228):
        mask = imread(folder / f"101228_{n + 1}.png")[:, 256:].astype(np.float32)
        normal, _ = split_hand_drawn(mask / max(float(mask.max()), 1e-6) if mask.max() > 1 else mask)
        rows, columns = np.meshgrid((grid - down) / scale + 127.5, (grid - right) / scale + 127.5, indexing="ij")
        out[n] = ndimage.map_coordinates(normal.astype(np.float32), [rows, columns], order=1)[:, ::-1] > 0.5
    return out


def load_tabriz(folder: Path) -> list[Case]:
    """Annotated Tabriz patients; normal WMH by rule (:mod:`.normal_rule`), or manual where available (101228)."""
    from flairseg.preprocessing import brain_mask

    cases = []
    for patient in sorted((folder / "tabriz").glob("sub-*")):
        name = patient.name.removeprefix("sub-")
        refuse_held_back(name)
        volume = read(patient / "flair.nii.gz")
        truth = volume.with_array(read_labels(patient / "labels.nii.gz", volume))
        stack = SliceStack.from_volume(volume)
        labels = SliceStack.from_volume(truth).array.astype(np.uint8)
        drawn = folder / "tabriz_normal_abnormal" / f"{name}_1.png"
        if drawn.exists():
            normal = hand_drawn_101228(drawn.parent)
        else:
            normal = normal_rim(
                stack.array,
                labels == VENTRICLES,
                labels == LESION,
                brain_mask(stack.array, stack.spacing),
                stack.spacing[1],
            )
        labels = np.where(normal & (labels == 0), NORMAL_WMH, labels).astype(np.uint8)
        cases.append(Case(name, volume, stack.restore(labels)))
    return cases


def load_verdicts(folder: Path) -> list[Case]:
    """Latest version of each case of an archive that a reader accepted or corrected.

    Errors as for :class:`flairseg.review.cases.CaseArchive`, which verifies the sha256 of every file.
    """
    archive = CaseArchive(folder)
    cases = []
    for name in archive.cases():
        content = archive.verdict_content(name)
        if content["verdict"] in (ACCEPTED, ACCEPTED_AFTER_EDITS):
            refuse_held_back(name)
            loaded = archive.load(name)
            cases.append(Case(name, loaded.flair, loaded.labels))
    return cases


def folds(names: list[str], count: int = 5, seed: int = 0) -> list[list[str]]:
    """Held-out patients of each fold: seeded random assignment to folds of equal size, scans of one person together.

    Parameters
    ----------
    names : list of str
    count : int
        Folds.
    seed : int
    """
    order = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    fold_of = {name: place % count for place, name in enumerate(order)}
    for scans in SAME_PERSON:
        for name in fold_of.keys() & set(scans[1:]):
            fold_of[name] = fold_of.get(scans[0], fold_of[name])
    return [sorted(name for name, fold in fold_of.items() if fold == n) for n in range(count)]


def split_fold(cases: list[Named], fold: int | None, count: int) -> tuple[list[Named], list[Named]]:
    """Cases to train on and held-out cases of a fold, in order; without a fold none is held out.

    Parameters
    ----------
    cases : list
        Anything with the patient's name as ``name``.
    fold : int or None
    count : int
        Folds.
    """
    held = [] if fold is None else folds([case.name for case in cases], count)[fold]
    return [case for case in cases if case.name not in held], [case for case in cases if case.name in held]
