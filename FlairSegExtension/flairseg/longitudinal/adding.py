"""Add lesions found by joint reading of two studies to the label map of their study, so that all files agree.

A change that is called has to be in the label map, the lesion table, the change map and the picture alike. Regions of
change (:mod:`.joint`) that the label map of their study does not show are added to it, matched and judged again like
any other lesion; what is not called then is not added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..labels import LESION, VENTRICLES
from ..lesions.boxes import bounding_box
from ..segmentation.postprocessing import lesion_components
from . import noise, rigid
from .joint import JointReading
from .judging import Judgement
from .matching import Track, match
from .noise import Witness
from .space import CommonSpace
from .states import STABLE
from .studies import Study


@dataclass(frozen=True)
class Candidate:
    """A region of change that a study's label map does not show: ``voxels`` (n, 3), K, J, I of the common grid."""

    study: int
    voxels: np.ndarray


def unseen(
    reading: JointReading, witness: Witness, members: Sequence[np.ndarray], space: CommonSpace
) -> list[Candidate]:
    """Regions of change, last study against the first, that the label map of their study does not show.

    A region is shown where the label map has the smallest lesion within it, or half of it.

    Parameters
    ----------
    reading : JointReading
    witness : Witness
        Required evidence of a region.
    members : sequence of ndarray of float, shape (K, J, I) of the common grid
        Share of lesion in each voxel, for each study.
    space : CommonSpace

    Returns
    -------
    list of Candidate
    """
    out = []
    for study, one, sign in ((len(members) - 1, reading.gained, 1), (0, reading.lost, -1)):
        labels, _ = ndimage.label(one.called, np.ones((3, 3, 3)))
        for n, box in enumerate(ndimage.find_objects(labels), start=1):
            own = labels[box] == n
            shown = float(members[study][box][own].sum())
            if shown * space.grid.voxel_mm3 >= noise.SMALLEST_MM3 or 2 * shown >= np.count_nonzero(own):
                continue
            voxels = np.argwhere(own) + [s.start for s in box]
            if sign * witness.ask(voxels).significance >= noise.SIGNIFICANT:
                out.append(Candidate(study, voxels))
    return out


def add_lesions(
    studies: Sequence[Study],
    space: CommonSpace,
    members: Sequence[np.ndarray],
    candidates: Sequence[Candidate],
    verdict: Callable[[Track], Judgement],
) -> tuple[list[Study], list[Track]]:
    """Add candidates to the label maps of their studies and match all lesions.

    Parameters
    ----------
    studies : sequence of Study
    space : CommonSpace
    members : sequence of ndarray of float, shape (K, J, I) of the common grid
        Share of lesion in each voxel, for each study, before anything is added.
    candidates : sequence of Candidate
        From :func:`unseen`.
    verdict : callable
        State of a track, last study against first.

    Returns
    -------
    (list of Study, list of Track)
        Studies with what was added in their labels (``added`` counts the lesions), and all lesions matched. What is not
        called a change once it is lesion like the others is not added.
    """
    wanted = list(candidates)
    while True:
        drawn = [_drawn(study, space, n, [c.voxels for c in wanted if c.study == n]) for n, study in enumerate(studies)]
        carried = [
            member if study is own else space.carry(study.labels == LESION, study.volume, n)
            for n, (study, own, member) in enumerate(zip(drawn, studies, members, strict=True))
        ]
        tracks = match(drawn, space, carried)
        kept = _called(wanted, tracks, space, verdict)
        if len(kept) == len(wanted):
            return drawn, tracks
        wanted = kept


def _called(
    candidates: Sequence[Candidate], tracks: Sequence[Track], space: CommonSpace, verdict: Callable[[Track], Judgement]
) -> list[Candidate]:
    """The candidates that have become part of lesions that changed, and of no others."""
    number = np.zeros(space.grid.array.shape, np.int32)
    for n, track in enumerate(tracks, start=1):
        number[tuple(track.voxels.T)] = n
    states: dict[int, str | None] = {}
    out = []
    for candidate in candidates:
        own = np.unique(number[tuple(candidate.voxels.T)])
        own = own[own > 0]
        states |= {int(n): verdict(tracks[n - 1]).state for n in own if int(n) not in states}
        if own.size and all(states[int(n)] not in (None, STABLE) for n in own):
            out.append(candidate)
    return out


def _drawn(study: Study, space: CommonSpace, number: int, outlines: Sequence[np.ndarray]) -> Study:
    """The study with outlines (K, J, I of the common grid) in its labels; the same object where there are none."""
    if not outlines:
        return study
    labels = study.labels.copy()
    marked = np.zeros(space.grid.array.shape, bool)
    for voxels in outlines:
        marked[tuple(voxels.T)] = True
    to_common = np.linalg.inv(space.grid.ijk_to_ras) @ rigid.invert(space.common_to_study[number])
    to_common = to_common @ study.volume.ijk_to_ras
    points = np.concatenate(outlines)[:, ::-1]
    own = np.round(rigid.apply(np.linalg.inv(to_common), points))[:, ::-1].astype(int)
    low = np.clip(own.min(axis=0) - 2, 0, None)
    high = np.minimum(own.max(axis=0) + 3, labels.shape)
    # Each voxel of the study whose centre is in an outline: its grid may be finer or coarser than the common one.
    kji = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    index = np.round(rigid.apply(to_common, kji[:, ::-1]))[:, ::-1].astype(int)
    within = ((index >= 0) & (index < marked.shape)).all(axis=1)
    kji, index = kji[within], index[within]
    chosen = kji[marked[tuple(index.T)]]
    # A hyperintensity that appeared or disappeared is not normal, even if one study alone suggests it.
    chosen = chosen[labels[tuple(chosen.T)] != VENTRICLES]
    labels[tuple(chosen.T)] = LESION
    box = bounding_box(labels, (LESION,))
    added = 0 if box is None else lesion_components(labels[box])[1] - lesion_components(study.labels[box])[1]
    return replace(study, labels=labels, added=added)
