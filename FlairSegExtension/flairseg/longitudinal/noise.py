"""Test-retest variability: effect of re-positioning, interpolation and the model on an unchanged lesion.

Every figure was measured on scans of one head in other positions, where nothing has changed (``python -m
training.measure_follow``), and none on the pairs that the follow-up is judged by:

- The volumes: how far a lesion's volume strays depends on its size and on the voxels (:data:`SURFACE_MM`,
  :data:`VENTRICLE_NOISE_PERCENT`).
- The images: the outline of an apparent change is placed :data:`PLACEMENTS` times on normal tissue
  of this very pair of studies. Its mean difference must exceed the values there.
- Images and model together: :mod:`.joint`, :data:`JOINT_LOG_ODDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..image.geometry import ROUNDING_MM
from ..image.volume import Volume
from .harmonise import Difference

#: Thickness of the shell by which the outline of an unchanged lesion moves in or out, mm: the noise of a volume V is
#: this times the surface of a ball of V. 95th percentile of 309 lesions in 20 retests 0.73 (median 0.18): of 50 to 200
#: mm3 0.71, to 1000 mm3 0.77, above 0.56. One figure for all: of 386 lesions none was called changed.
SURFACE_MM = 0.9
#: Noise of the ventricles' volume between two scans, percent, for slices thicker than :data:`THICK_MM`: 95th percentile
#: of 17 retests 16 to 20, by model (re-sliced phantoms stayed below 8; interpolated copies of real scans
#: vary more).
VENTRICLE_NOISE_PERCENT = 20.0
#: For thinner slices: three retests stayed below 4.5; set with care, since three are few.
VENTRICLE_NOISE_THIN_PERCENT = 5.0
THICK_MM = 5.0
#: Share of the larger lesion volume that lesions called stable may have gained or lost together without a remark, if it
#: is within :func:`load_noise_mm3` or less than this: in 20 retests at most 0.12 (and 0.71 of that noise).
LOAD_SHARE = 0.2
#: Factor where the voxels of the scans differ by a quarter or more. Not measured: a quarter more, to be careful.
OTHER_VOXELS_FACTOR = 1.25
#: Smallest lesion that is called new or resolved: 10.7 mm3 (source: S5), which is 3 mm across (MAGNIMS: Filippi et al.
#: 2019, Brain 142:1858) along its longest side.
SMALLEST_MM3, SMALLEST_MM = 10.7, 3.0
#: And it has this many voxels of the coarser study: in retests of thick slices one or two came and went.
SMALLEST_VOXELS = 3
#: Number of placements of an outline on normal tissue.
PLACEMENTS = 400
#: A difference counts when it is this many (robust) standard deviations out of the placements: one in a thousand.
SIGNIFICANT = 3.1
#: And is at least this share of the brain's median: a quarter of what lesions stand out by. Re-positioning of thick
#: slices alone made up to 0.10 in retests.
SMALLEST_CONTRAST = 0.125
#: A lesion is taken to be there already where a study shows it at this share of its contrast, in its own place or
#: within a slice of it: half is what remains of a lesion that is across the border of two slices, a little less where
#: the slices are tilted as well (0.45 in a re-sliced phantom; new lesions of two real pairs: 0.32 and less).
SEEN_SHARE = 0.4
#: Brain that is neither fluid nor vessel, in shares of the brain's median (white matter is about 0.95).
SOLID = (0.75, 1.5)
#: Regions of change hold a voxel of at least this joint evidence of images and model (:mod:`.joint`), log-odds: twenty
#: to one. Images alone give 2.1 at most: where the model sees nothing at all, nothing is called.
JOINT_LOG_ODDS = 3.0
#: A lesion counts as absent from a study where the model's mean probability in it stays below this.
ABSENT = 0.25
_MAD = 1.4826
TEXT = (
    "A lesion is called new or resolved if images and model jointly show that it appeared or disappeared: by a "
    "difference that no shift within the registration error explains and that exceeds the noise of normal tissue in "
    "the same pair of studies, and by the model's probabilities; the other study's neighbouring slices do not show it. "
    "Enlarging and shrinking lesions show the same at their edge, or their volume changed by more than it does between "
    "repeated scans of an unchanged lesion of that size (95th percentile)."
)


@dataclass(frozen=True)
class Evidence:
    """Image evidence in a region.

    Attributes
    ----------
    contrast : float
        Mean difference, shares of the brain's median; positive where the later study is brighter.
    significance : float
        In robust standard deviations of the same outline on normal tissue; 0 where it could not be tested.
    """

    contrast: float
    significance: float

    def brighter(self) -> bool:
        """Whether the region got brighter beyond the noise."""
        return self.contrast >= SMALLEST_CONTRAST and self.significance >= SIGNIFICANT

    def darker(self) -> bool:
        """Whether the region got darker beyond the noise."""
        return self.contrast <= -SMALLEST_CONTRAST and self.significance <= -SIGNIFICANT


def volume_noise_mm3(volume_mm3: float, voxel_mm3: float) -> float:
    """Volume noise of an unchanged lesion between two scans, mm3 (95 % of cases stay within).

    Parameters
    ----------
    volume_mm3 : float
        Mean of the volumes in the two scans.
    voxel_mm3 : float
        The larger voxel of the two scans: a lesion strays by one at least.
    """
    surface = 4 * np.pi * (3 * max(volume_mm3, 0.0) / (4 * np.pi)) ** (2 / 3)
    return float(max(SURFACE_MM * surface, voxel_mm3))


def load_noise_mm3(noises_mm3: Sequence[float]) -> float:
    """Noise of the summed volume of unchanged lesions between two scans, mm3: each strays on its own.

    Parameters
    ----------
    noises_mm3 : sequence of float
        Of the single lesions, from :func:`volume_noise_mm3`.
    """
    return float(np.sqrt(np.sum(np.square(noises_mm3))))


def ventricle_noise_percent(volumes: Sequence[Volume]) -> float:
    """Noise of a change of the ventricles' volume, percent (95 % of repeated scans stay within).

    Parameters
    ----------
    volumes : sequence of Volume
        The studies: where slices or pixels differ, partial volume differs too.
    """
    sizes = [v.voxel_mm3 for v in volumes]
    same = max(sizes) <= 1.25 * min(sizes) * (1 + ROUNDING_MM)
    thick = max(max(v.spacing) for v in volumes) > THICK_MM + ROUNDING_MM
    percent = VENTRICLE_NOISE_PERCENT if thick else VENTRICLE_NOISE_THIN_PERCENT
    return percent if same else percent * OTHER_VOXELS_FACTOR


class Witness:
    """Decides for any region of a pair of studies whether its difference stands out of normal tissue.

    Parameters
    ----------
    difference : Difference
    tissue : ndarray of bool, shape (K, J, I)
        Brain that both studies cover, without lesions.
    seed : int
        Of the placements: the same input gives the same answer.
    """

    def __init__(self, difference: Difference, tissue: np.ndarray, seed: int = 0) -> None:
        self._difference = difference.array
        self._score = difference.score
        self._tissue = tissue
        self._places = np.argwhere(tissue)
        self._seed = seed

    def ask(self, voxels: np.ndarray) -> Evidence:
        """Evidence for a region.

        Parameters
        ----------
        voxels : ndarray of int, shape (n, 3)
            K, J, I on the common grid.
        """
        if not len(voxels) or not len(self._places):
            return Evidence(0.0, 0.0)
        where = tuple(voxels.T)
        contrast, score = float(self._difference[where].mean()), float(self._score[where].mean())
        shape = np.array(self._score.shape)
        centre = np.round(voxels.mean(axis=0)).astype(int)
        rng = np.random.default_rng(self._seed)
        outline = voxels - centre
        if len(outline) > 400:  # a sample of a large region has the same mean
            outline = outline[:: len(outline) // 400]
        placed: list[np.ndarray] = []
        for _ in range(8):
            places = self._places[rng.integers(len(self._places), size=PLACEMENTS)]
            index = places[:, None, :] + outline[None]
            within = ((index >= 0) & (index < shape)).all(axis=2)
            index = np.clip(index, 0, shape - 1)
            flat = np.ravel_multi_index(tuple(np.moveaxis(index, 2, 0)), tuple(shape))
            inside = within & self._tissue.ravel()[flat]
            # Large outlines fit nowhere wholly: most of one is enough, and what is outside is left out.
            enough = inside.mean(axis=1) >= 0.7
            if enough.any():
                values = np.where(inside, self._score.ravel()[flat], 0.0)[enough]
                placed.append(values.sum(axis=1) / inside[enough].sum(axis=1))
            if sum(p.size for p in placed) >= PLACEMENTS:
                break
        found = np.concatenate(placed) if placed else np.zeros(0)
        if found.size < 30:
            return Evidence(contrast, 0.0)
        middle = float(np.median(found))
        spread = max(_MAD * float(np.median(np.abs(found - middle))), float(np.std(found)) / 2, 1e-3)
        return Evidence(contrast, (score - middle) / spread)
