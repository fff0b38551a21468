"""Lesions that two studies show together are added to the label map of their study, so that all files agree.

A lesion that is called new or resolved has to be in the label map, the lesion table, the change map and the picture
alike. What :mod:`.faint` finds is in no label map: it is added to that of its study and matched and judged again like
any other lesion; what is not called then is not added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..labels import BACKGROUND, LESION
from ..segmentation.postprocessing import lesion_components
from . import rigid
from .judging import Judgement
from .matching import Track, match
from .space import CommonSpace
from .states import NEW, RESOLVED
from .studies import Study


def add_lesions(
    studies: Sequence[Study],
    space: CommonSpace,
    members: Sequence[np.ndarray],
    candidates: Sequence[Track],
    verdict: Callable[[Track], Judgement],
) -> tuple[list[Study], list[Track]] | None:
    """Add candidates to the label maps of their studies and match anew.

    Parameters
    ----------
    studies : sequence of Study
    space : CommonSpace
    members : sequence of ndarray of float, shape (K, J, I) of the common grid
        Share of lesion in each voxel, for each study, before anything is added.
    candidates : sequence of Track
        From :func:`.faint.faint_tracks`: each in one study.
    verdict : callable
        What is said of a track, last study against first.

    Returns
    -------
    (list of Study, list of Track) or None
        Studies with the added lesions in their labels (``added`` counts them), and all lesions matched anew; None if no
        candidate is called new or resolved once it is a lesion like the others.
    """
    wanted = [track for track in candidates if verdict(track).state in (NEW, RESOLVED)]
    while wanted:
        drawn = [
            _drawn(study, space, n, [t.voxels for t in wanted if t.inside[n].any()]) for n, study in enumerate(studies)
        ]
        carried = [
            member if study is own else space.carry(study.labels == LESION, study.volume, n)
            for n, (study, own, member) in enumerate(zip(drawn, studies, members, strict=True))
        ]
        tracks = match(drawn, space, carried)
        refused = [t for t in wanted if not _is_called(t, tracks, verdict)]
        if not refused:
            return drawn, tracks
        wanted = [t for t in wanted if not any(t is other for other in refused)]
    return None


def _is_called(candidate: Track, tracks: Sequence[Track], verdict: Callable[[Track], Judgement]) -> bool:
    """Whether the lesion that a candidate has become is new or resolved."""
    places = set(map(tuple, candidate.voxels))
    own = [track for track in tracks if places & set(map(tuple, track.voxels))]
    return bool(own) and all(verdict(track).state in (NEW, RESOLVED) for track in own)


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
    # Each voxel of the study whose centre lies in an outline: its grid may be finer or coarser than the common one.
    kji = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    index = np.round(rigid.apply(to_common, kji[:, ::-1]))[:, ::-1].astype(int)
    within = ((index >= 0) & (index < marked.shape)).all(axis=1)
    kji, index = kji[within], index[within]
    chosen = kji[marked[tuple(index.T)]]
    chosen = chosen[labels[tuple(chosen.T)] == BACKGROUND]
    labels[tuple(chosen.T)] = LESION
    added = lesion_components(labels)[1] - lesion_components(study.labels)[1]
    return replace(study, labels=labels, added=added)
