"""Lesions that one study alone would leave below the threshold, and that two studies show together.

A single image needs a high probability to be believed. Where the later of two studies is brighter than the earlier and
the model sees a lesion at least a little, each confirms the other: such places become candidates, which then have to
pass everything that a new lesion has to pass (:mod:`.judging`). The same holds for what went, the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..lesions.components import through_plane_axis
from . import noise, rigid
from .harmonise import Difference
from .matching import Presence, Track
from .space import CommonSpace
from .studies import Study

#: Smallest probability of a lesion that counts as seen a little.
SEEN = 0.1
_NOWHERE = Presence(0.0, 0, None, None, ())


def faint_tracks(
    studies: Sequence[Study],
    space: CommonSpace,
    probabilities: Sequence[np.ndarray],
    drawn: np.ndarray,
    difference: Difference,
    brain: np.ndarray,
) -> list[Track]:
    """Candidates for new and resolved lesions, from the last study and the first, that no label map has.

    Parameters
    ----------
    studies : sequence of Study
    space : CommonSpace
    probabilities : sequence of ndarray of float, shape (K, J, I) of the common grid
        Of lesion, for each study.
    drawn : ndarray of bool, same shape
        Lesions of any study and their margins: what lies there is a matter of the lesions that are drawn.
    difference : Difference
        Last less first.
    brain : ndarray of bool, same shape
        Brain in all studies.

    Returns
    -------
    list of Track
        Each with a volume measured on the common grid, and without numbers in any lesion table.
    """
    out = []
    ends = ((len(studies) - 1, difference.array), (0, -difference.array))
    for place, brighter in ends:
        if studies[place].probabilities is None:
            continue  # a reader's labels say yes or no
        seen = (probabilities[place] >= SEEN) & (brighter >= noise.SMALLEST_CONTRAST) & brain & ~drawn
        labels, _ = ndimage.label(seen, np.ones((3, 3, 3)))
        for n, box in enumerate(ndimage.find_objects(labels), start=1):
            voxels = np.argwhere(labels[box] == n) + [s.start for s in box]
            if len(voxels) * space.grid.voxel_mm3 >= noise.SMALLEST_MM3:
                out.append(_track(studies, space, place, voxels))
    return out


def _track(studies: Sequence[Study], space: CommonSpace, place: int, voxels: np.ndarray) -> Track:
    grid = space.grid
    points = voxels[:, ::-1] @ grid.ijk_to_ras[:3, :3].T + grid.ijk_to_ras[:3, 3]
    points = rigid.apply(space.common_to_study[place], points)
    affine = studies[place].volume.ijk_to_ras
    along = rigid.apply(np.linalg.inv(affine), points)[:, 2 - through_plane_axis(affine)]
    presence = Presence(
        float(len(voxels) * grid.voxel_mm3),
        1,
        tuple(float(x) for x in points.mean(axis=0)),
        (round(float(along.min())), round(float(along.max()))),
        (),
        float(((np.ptp(voxels, axis=0) + 1) * grid.spacing[::-1]).max()),
    )
    inside = np.zeros((len(studies), len(voxels)), bool)
    inside[place] = True
    return Track(tuple(presence if n == place else _NOWHERE for n in range(len(studies))), voxels, inside)
