"""Data sets of several sites as banks of slices, each with its annotated classes.

Missing sets are skipped with a log message (:class:`Absent`); folds hold out whole persons of every set.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from flairseg.adapt.banks import Bank, bank_of
from flairseg.adapt.framed import Case, FramedCase, frame_case
from flairseg.adapt.partial import NO_HYPERINTENSITY, lesions_only
from flairseg.image.volume import Volume
from flairseg.labels import LESION
from flairseg.preprocessing import PreprocessingConfig

from .data import (
    HELD_BACK_LONGITUDINAL,
    folds,
    load_tabriz,
    read,
    read_lesions,
    refuse_held_back,
)
from .normal_rule import BRIGHTNESS, RIM_MM, SMALLEST_PIXELS
from .pseudo import HAND_DRAWN_SLICES, hand_drawn_110497

log = logging.getLogger("flairseg.training")

#: Held back for final tests, never used for training or tuning (see the data's README).
HELD_BACK_MSLESSEG = frozenset({"P39"})
HELD_BACK_MUSLIM = frozenset({13, 19, 25, 34})
#: Numbers of adjacent 1 mm slices of MSLesSeg that are averaged.
MSLESSEG_THICKNESS = (1, 3, 5)
#: Of single 1 mm slices, every n-th is used, since neighbours are similar.
EVERY = 3


class Absent(Exception):
    """A data set is missing; the message names it and its expected folder."""


def _folder(data: Path, name: str) -> Path:
    if not (data / name).is_dir():
        raise Absent(f"{name} skipped: no folder {data / name}")
    return data / name


def slices_of(case: FramedCase, labels: np.ndarray, every: int = 1) -> tuple[str, np.ndarray, ...]:
    """Slices of a framed case as input of :func:`~flairseg.adapt.banks.bank_of`, without slices that show no brain.

    Parameters
    ----------
    case : FramedCase
    labels : ndarray of uint8, shape (slices, rows, columns)
        Training labels.
    every : int
        Keep every n-th slice.
    """
    kept = np.flatnonzero(case.mask.any(axis=(1, 2)))[::every]
    if not len(kept):
        log.warning("%s skipped: no brain found", case.name)
    images = [case.prepared.channels(k) for k in kept]
    return case.name, np.concatenate(images) if images else labels[:0].astype(np.float32), labels[kept], case.mask[kept]


def tabriz(data: Path, config: PreprocessingConfig) -> Bank:
    """Annotated Tabriz patients with all classes, and 110497 with annotated hyperintensities only."""
    cases = [frame_case(case, config) for case in load_tabriz(_folder(data, "tabriz").parent)]
    parts = [slices_of(case, case.labels) for case in cases]
    if (data / "tabriz_normal_abnormal" / "110497_1.png").exists():
        volume, normal, abnormal = hand_drawn_110497(data / "tabriz_normal_abnormal")
        framed = frame_case(Case("110497", volume, np.where(abnormal, 3, normal * 2).astype(np.uint8)), config)
        labels = np.where(framed.labels, framed.labels, NO_HYPERINTENSITY).astype(np.uint8)
        _, *arrays = slices_of(replace(framed, mask=np.ones_like(framed.mask)), labels)
        middle = slice(HAND_DRAWN_SLICES.start, HAND_DRAWN_SLICES.stop)
        images, labels, _ = (array[middle] for array in arrays)
        parts.append(("110497", images, labels, framed.mask[middle]))
    return bank_of(parts)


def mslesseg(data: Path, config: PreprocessingConfig) -> Bank:
    """MSLesSeg (3D FLAIR, skull-stripped): lesions only; axial slices of several thicknesses."""
    parts = []
    for visit in sorted(_folder(data, "mslesseg").glob("*/flair.nii.gz")):
        person = visit.parent.name.split("_")[0]
        refuse_held_back(person, HELD_BACK_MSLESSEG)
        volume = read(visit)
        truth = volume.with_array(read_lesions(visit.with_name("lesions.nii.gz"), volume))
        for thickness in MSLESSEG_THICKNESS:
            flair, lesions = averaged(volume, thickness), averaged(truth, thickness)
            case = Case(f"mslesseg-{person}", flair, np.where(lesions.array > 0.5, LESION, 0).astype(np.uint8))
            framed = frame_case(case, config)
            every = EVERY if thickness == 1 else 1
            parts.append(slices_of(framed, lesions_only(framed.labels == LESION), every))
    return bank_of(parts)


def muslim(data: Path, config: PreprocessingConfig) -> Bank:
    """Single slices of Muslim et al. from many scanners: lesions only; pixel size estimated."""
    folder = _folder(data, "muslim_slices")
    parts = []
    for entry in json.loads((folder / "slices.json").read_text(encoding="utf-8")):
        path = folder / entry["slice"] / "flair.nii.gz"
        if entry["held_back"] or entry["patient"] in HELD_BACK_MUSLIM or not path.exists():
            continue
        image = read(path)
        lesions = read_lesions(path.with_name("lesions.nii.gz"), image)
        framed = frame_case(
            Case(f"muslim-{entry['patient']}", image, np.where(lesions, LESION, 0).astype(np.uint8)), config
        )
        parts.append(slices_of(framed, lesions_only(framed.labels == LESION)))
    return bank_of(parts)


def averaged(volume: Volume, count: int) -> Volume:
    """Average every ``count`` adjacent slices (axis K) of a volume, float32; remaining slices are dropped."""
    whole = len(volume.array) // count * count
    array = volume.array[:whole].astype(np.float32)
    array = array.reshape(-1, count, *array.shape[1:]).mean(1)
    affine = volume.ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, 2] * (count - 1) / 2
    affine[:3, 2] *= count
    return Volume(array, affine, volume.name)


def unlabelled(data: Path, config: PreprocessingConfig) -> list[FramedCase]:
    """Unlabelled FLAIR for self-training: Ljubljana follow-up scans and four Tabriz patients; all labels are 0."""
    cases = []
    for name, pattern, held_back in (
        ("ljubljana_longitudinal", "*/study*_flair.nii.gz", HELD_BACK_LONGITUDINAL),
        ("tabriz_unlabelled", "sub-*/flair.nii.gz", frozenset()),
    ):
        try:
            paths = sorted(_folder(data, name).glob(pattern))
        except Absent as reason:
            log.warning("%s", reason)
            continue
        for path in paths:
            refuse_held_back(path.parent.name)
            refuse_held_back(path.parent.name, held_back)
            volume = read(path)
            case = Case(path.parent.name, volume, np.zeros(volume.array.shape, np.uint8))
            cases.append(frame_case(replace(case, volume=volume), config))
    return cases


#: Annotated sets by their name in ``mix`` of a recipe.
SITES: dict[str, Callable[[Path, PreprocessingConfig], Bank]] = {
    "tabriz": tabriz,
    "mslesseg": mslesseg,
    "muslim": muslim,
}


def left_out(bank: Bank, fold: int | None, count: int) -> list[str]:
    """Subjects of a bank held out by a fold; none without a fold. 110497 is always used for training."""
    if fold is None:
        return []
    names = sorted(set(bank.subjects.tolist()) - {"110497"})
    return folds(names, count)[fold] if len(names) >= count else [names[fold]] if fold < len(names) else []


def load_site(name: str, data: Path, config: PreprocessingConfig, cache: Path) -> Bank | None:
    """Bank of a set, stored in ``cache``; None, with a log message, if the set is missing.

    The name of the stored file contains :func:`_bank_key`: with other preprocessing or another rule for normal WMH the
    bank is made again.
    """
    path = cache / f"bank-{name}-{_bank_key(config)}.npz"
    if not path.exists():
        try:
            bank = SITES[name](data, config)
        except Absent as reason:
            log.warning("%s", reason)
            return None
        store_bank(bank, path)
    return read_bank(path)


def _bank_key(config: PreprocessingConfig) -> str:
    """Eight hexadecimal digits that differ where images or labels of a bank would."""
    fields = [name for name, value in vars(PreprocessingConfig).items() if isinstance(value, property)]
    content = [
        [(name, getattr(config, name)) for name in sorted(fields)],
        [RIM_MM, BRIGHTNESS, SMALLEST_PIXELS],
        [MSLESSEG_THICKNESS, EVERY],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def store_bank(bank: Bank, path: Path) -> None:
    """Write a bank as ``.npz`` (temporary file, then rename: several runs may write it at the same time)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{np.random.SeedSequence().entropy}.part.npz")
    np.savez(part, images=bank.images, labels=bank.labels, masks=bank.masks, subjects=bank.subjects)
    part.replace(path)


def read_bank(path: Path) -> Bank:
    """Read what :func:`store_bank` wrote."""
    with np.load(path) as stored:
        return Bank(stored["images"], stored["labels"], stored["masks"], stored["subjects"])
