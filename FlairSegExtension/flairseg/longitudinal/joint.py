"""Joint reading of two studies: where images and model together indicate that a lesion appeared or disappeared.

Neither kind of evidence suffices alone. The image's evidence in a voxel is the log-likelihood ratio of a difference as
lesions make it against none, given the noise of this pair (:mod:`.harmonise`). The difference is tolerant: the
brighter study less the *brightest* value of the other within the error of registration and a slice, so that nothing
that a shift can explain is a change. The model's evidence is the log-odds that it sees a lesion in the one study and
none in the other, by both probability maps. The two are added; what exceeds the threshold that repeated scans of
unchanged heads stay below, together with the voxels around it that are more likely changed than not, is a region of
change.

References
----------
Elliott et al. 2013, IEEE TMI 32:1490 (new lesions from the joint likelihood of intensities, difference and tissue
classes); Battaglini et al. 2014, HBM 35:4090 (subtraction with rules on size and intensity); Canny 1986, IEEE PAMI
8:679 (hysteresis).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..image.geometry import ROUNDING_MM
from . import noise
from .harmonise import Difference

#: What a lesion stands out by, shares of the brain's median (0.35 on average, faint ones 0.25), and the share of it by
#: which a tolerant difference speaks neither for nor against: the maximum over neighbours takes away about as much.
CONTRAST, NEUTRAL_SHARE = 0.25, 0.25
#: The images' evidence counts no more than this, log-odds: noise has longer tails than the normal distribution.
MOST_FROM_IMAGES = 6.0
#: Probabilities are limited to this certainty: a lesion of another scanner may have no probability at all.
LEAST_PROBABILITY = 0.02
#: Registration error assumed where it is not known to be larger, mm: the largest error of 20 retests was 0.7.
REGISTRATION_MM = 0.7


@dataclass(frozen=True)
class Reading:
    """Evidence for change of one sign on the common grid; arrays have its shape (K, J, I).

    Attributes
    ----------
    log_odds : ndarray of float32
        Of a change of the voxel.
    called : ndarray of bool
        Regions of change: beyond the noise of repeated scans, and large enough.
    """

    log_odds: np.ndarray
    called: np.ndarray


@dataclass(frozen=True)
class JointReading:
    """Lesions that appeared and disappeared between two studies."""

    gained: Reading
    lost: Reading

    def towards(self, later: bool) -> Reading:
        """Evidence for lesion in the later study alone (or in the earlier alone)."""
        return self.gained if later else self.lost


@dataclass(frozen=True)
class Sampling:
    """Sampling of the head in a pair of studies.

    Attributes
    ----------
    spacing : tuple of float
        Millimetres along K, J, I of the common grid.
    axis, reach : int
        Array axis through the slices, and how many steps of the grid the thicker slice has.
    voxel_mm3 : float
        The larger voxel of the studies' own grids.
    """

    spacing: tuple[float, float, float]
    axis: int
    reach: int
    voxel_mm3: float


def read_jointly(
    difference: Difference,
    probabilities: tuple[np.ndarray, np.ndarray],
    tissue: tuple[np.ndarray, np.ndarray],
    brain: np.ndarray,
    covered: np.ndarray,
    sampling: Sampling,
    registration_mm: float = REGISTRATION_MM,
) -> JointReading:
    """Read two studies together.

    Parameters
    ----------
    difference : Difference
        Later less earlier study.
    probabilities : tuple of two ndarray of float, shape (K, J, I) of the common grid
        Of lesion, earlier and later study; a reader's labels are 0 and 1.
    tissue : tuple of two ndarray of bool, same shape
        Brain tissue of each study, from :func:`~flairseg.longitudinal.parenchyma.parenchyma`.
    brain, covered : ndarray of bool, same shape
        Brain of both studies, and what both cover.
    sampling : Sampling
    registration_mm : float
        Registration error.

    Returns
    -------
    JointReading
    """
    spacing, axis = sampling.spacing, sampling.axis
    steps = [sampling.reach if n == axis else max(1, round(registration_mm / mm)) for n, mm in enumerate(spacing)]
    size = [2 * n + 1 for n in steps]
    # At the outermost slices the next one is unknown.
    possible = brain & (ndimage.minimum_filter1d(covered.view(np.uint8), size[axis], axis) > 0)
    readings = []
    for earlier, later in ((0, 1), (1, 0)):
        before, after = difference.reliefs[earlier], difference.reliefs[later]
        apart = after - ndimage.maximum_filter(before, size)
        ratio = CONTRAST * (apart - NEUTRAL_SHARE * CONTRAST) / np.square(difference.noise)
        chance = probabilities[later] * (1 - probabilities[earlier])
        log_odds = np.clip(ratio, -MOST_FROM_IMAGES, MOST_FROM_IMAGES) + _logit(chance)
        # Lesions arise in tissue, and what has turned to fluid did not heal.
        inside = (log_odds > 0) & possible & tissue[earlier]
        readings.append(Reading(log_odds, _regions(log_odds, inside, spacing, sampling.voxel_mm3)))
    return JointReading(*readings)


def smallest_mm3(voxel_mm3: float) -> float:
    """Smallest change that is called where a study has nothing, mm3; ``voxel_mm3`` is the larger voxel of the two."""
    return max(noise.SMALLEST_MM3, (noise.SMALLEST_VOXELS - 0.01) * voxel_mm3)


def _logit(probability: np.ndarray) -> np.ndarray:
    bounded = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).astype(np.float32)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _regions(
    log_odds: np.ndarray, possible: np.ndarray, spacing: tuple[float, float, float], voxel_mm3: float
) -> np.ndarray:
    """Components of ``possible`` that hold a voxel beyond the noise and have the size of a lesion."""
    labels, _ = ndimage.label(possible, np.ones((3, 3, 3)))
    called = np.zeros(possible.shape, bool)
    mm3, least = float(np.prod(spacing)), smallest_mm3(voxel_mm3)
    seeds = np.bincount(labels[log_odds >= noise.JOINT_LOG_ODDS], minlength=int(labels.max()) + 1)
    for n, box in enumerate(ndimage.find_objects(labels), start=1):
        if not seeds[n]:
            continue
        own = (labels[box] == n) & possible[box]
        across = max((np.ptp(np.nonzero(own)[k]) + 1) * mm for k, mm in enumerate(spacing))
        if np.count_nonzero(own) * mm3 >= least and across >= noise.SMALLEST_MM - ROUNDING_MM:
            called[box] |= own
    return called
