"""Shares of what a proof cannot judge, on annotated patients: ``python -m training.measure_conventions EVALUATION``.

``EVALUATION`` is a folder written by :mod:`.evaluate`: out-of-fold labels and references of each Tabriz patient. For
each way of changing all references (:data:`WAYS`), the shares of :mod:`flairseg.adapt.conventions` are printed: median
over patients, lowest and highest, and what would be stated. With ``--base MODEL`` also those that depend on the image
and not on a model's result, and the displacements, in the frame of that model's pipeline.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from flairseg.adapt.conventions import FEWEST_VOXELS, differences, displaced_alike, of_other_tissue, shared_by_most
from flairseg.adapt.evidence import weigh
from flairseg.adapt.framed import Case, frame_case
from flairseg.image.footing import footed
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from flairseg.models.card import PipelineConfig
from flairseg.models.store import load_card
from flairseg.segmentation.postprocessing import lesion_components
from scipy import ndimage

from .data import SAME_PERSON, data_folder, load_tabriz
from .measure_useless import WAYS as USELESS

REVIEWED = (VENTRICLES, NORMAL_WMH, LESION)
_DISC = ndimage.generate_binary_structure(2, 1)[None]
Spoil = Callable[[np.ndarray], np.ndarray]


def _wider(labels: np.ndarray, value: int, pixels: int) -> np.ndarray:
    """A class dilated in plane over background and normal hyperintensity."""
    around = ndimage.binary_dilation(labels == value, _DISC, pixels) & np.isin(labels, (BACKGROUND, NORMAL_WMH))
    return np.where(around, value, labels).astype(np.uint8)


def _eroded(labels: np.ndarray) -> np.ndarray:
    drawn = labels == LESION
    return np.where(drawn & ~ndimage.binary_erosion(drawn, _DISC), BACKGROUND, labels).astype(np.uint8)


def _half_of_normal(labels: np.ndarray) -> np.ndarray:
    """Every other component of normal hyperintensity as lesion, in slice order."""
    swapped = np.where(labels == NORMAL_WMH, LESION, BACKGROUND).astype(np.uint8)
    components, _ = lesion_components(swapped)
    return np.where(components % 2 == 1, LESION, labels).astype(np.uint8)


def _near_ventricles(labels: np.ndarray) -> np.ndarray:
    """Lesion pixels within six pixels of the ventricles as normal hyperintensity."""
    near = ndimage.binary_dilation(labels == VENTRICLES, _DISC, 6)
    return np.where(near & (labels == LESION), NORMAL_WMH, labels).astype(np.uint8)


#: Way -> function of a case's labels.
WAYS: dict[str, Spoil] = {
    "as annotated": lambda labels: labels,
    "normal as lesions": USELESS["normal as lesions"],
    "half of normal as lesions": _half_of_normal,
    "periventricular lesions as normal": _near_ventricles,
    "every other lesion left out": USELESS["every other lesion left out"],
    "lesions eroded by 1": _eroded,
    **{f"lesions dilated by {n}": lambda labels, n=n: _wider(labels, LESION, n) for n in (1, 2)},
    "ventricles dilated by 1": lambda labels: _wider(labels, VENTRICLES, 1),
    "moved by 1": lambda labels: np.roll(labels, 1, 2),
    "moved by 1 in both directions": USELESS["moved 1 pixels"],
}


def person_of(name: str) -> str:
    """The person of a scan."""
    return next((group[0] for group in SAME_PERSON if name in group), name)


def summary(counts: Sequence[Mapping[str, Sequence[int]]], persons: Sequence[str]) -> list[str]:
    """Median, lowest and highest share of the persons by code, and whether it would be stated.

    Parameters
    ----------
    counts : sequence of mappings
        Of each scan, see :func:`flairseg.adapt.conventions.differences`.
    persons : sequence of str
        Person of each scan.
    """
    stated = {one.code for one in shared_by_most(counts, persons)}
    out = []
    for code in dict.fromkeys(code for one in counts for code in one):
        sums: dict[str, np.ndarray] = {}
        for one, person in zip(counts, persons, strict=True):
            sums[person] = sums.get(person, np.zeros(2)) + np.array(one.get(code, (0, 0)))
        shares = [part / whole for part, whole in sums.values() if whole >= FEWEST_VOXELS]
        if shares:
            figures = f"{np.median(shares):.3f} ({min(shares):.3f}-{max(shares):.3f})"
            out.append(f"{code} {figures}{' STATED' if code in stated else ''}")
    return out


def against_results(folder: Path, spoil: Spoil) -> list[str]:
    """Shares that depend on a model's results, from an evaluation's folder."""
    counts, persons = [], []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as kept:
            counts.append(differences(kept["labels"], spoil(kept["reference"]), REVIEWED))
        persons.append(person_of(path.stem))
    return summary(counts, persons)


def by_images(cases: Sequence[Case], config: PipelineConfig, spoil: Spoil) -> list[str]:
    """Shares that depend on the images alone, and a displacement that most masks have."""
    counts, shifts = [], []
    for case in cases:
        framed = frame_case(Case(case.name, footed(case.volume), case.labels), config)
        drawn = spoil(framed.labels)
        counts.append(of_other_tissue(framed.prepared.slices, drawn, REVIEWED))
        shifts.append(weigh(framed.prepared.slices, drawn, framed.mask).shift_px)
    persons = [person_of(case.name) for case in cases]
    alike = [f"{one.code} {one.share:.2f} STATED" for one in displaced_alike(shifts, persons)]
    return summary(counts, persons) + alike


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path, help="folder written by training.evaluate")
    parser.add_argument("--base", type=Path, help="model folder, for its pipeline")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    cases = load_tabriz(data_folder()) if arguments.base is not None else []
    for way in arguments.ways:
        found = against_results(arguments.evaluation, WAYS[way])
        if arguments.base is not None:
            found += by_images(cases, load_card(arguments.base).pipeline, WAYS[way])
        print(f"{way}: {'; '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
