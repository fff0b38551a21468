"""Correspondence of lesions between studies: a graph over all studies, on the common grid.

The lesions of each study are nodes. Two nodes of different studies are joined where they overlap, or come as close as
re-positioning and the slices allow. A connected component is one lesion through time, however many parts it has in each
study: this identifies new, resolved, split and merged ones (source of the graph: Koehler et al. 2019, Magn Reson Med
Sci for matching by overlap; tolerance by Lesjak et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..image.geometry import triple
from ..labels import LESION
from ..lesions.boxes import through_plane_axis
from ..lesions.components import find_lesions
from . import rigid
from .space import CommonSpace
from .studies import Study

#: Nodes this close in plane are one lesion: registration (under 0.5 mm) and outlines (about a pixel) allow as much, mm.
TOLERANCE_MM = 1.5
#: And this share of the thicker slice through plane: a lesion may be at either end of a slice.
SLICE_TOLERANCE = 0.6
#: Share of a voxel of the common grid that lesion must fill to count.
FILLED = 0.5


@dataclass(frozen=True)
class Presence:
    """A tracked lesion in one study.

    Attributes
    ----------
    volume_mm3 : float
        On the study's own grid, so that all lesions add up to the study's lesion table; 0 where it is absent.
    parts : int
        Number of separate pieces, those within the tolerance taken as one.
    centre_ras : tuple of float or None
        Centre of mass, RAS mm of the study itself; None where it is absent.
    slices : tuple of int or None
        First and last slice of the study, from 0, along its through-plane axis.
    numbers : tuple of int
        Numbers of the lesion's pieces in the study's own lesion table.
    extent_mm : float
        Longest side of its box along the study's axes.
    """

    volume_mm3: float
    parts: int
    centre_ras: tuple[float, float, float] | None
    slices: tuple[int, int] | None
    numbers: tuple[int, ...]
    extent_mm: float = 0.0


@dataclass(frozen=True)
class Track:
    """One lesion through time: its presence in each study, and where it is on the common grid.

    ``voxels`` (n, 3) are K, J, I of the common grid; ``inside`` (studies, n) says in which studies they are lesion.
    """

    presences: tuple[Presence, ...]
    voxels: np.ndarray
    inside: np.ndarray

    @property
    def volumes_mm3(self) -> tuple[float, ...]:
        """Volume in each study."""
        return tuple(p.volume_mm3 for p in self.presences)


@dataclass(frozen=True)
class _Nodes:
    """The lesions of one study on the common grid: label image, its voxels, and for each own voxel its node."""

    labels: np.ndarray
    count: int
    voxels: np.ndarray
    voxel_node: np.ndarray
    own_kji: np.ndarray
    own_node: np.ndarray
    own_number: np.ndarray


def match(studies: Sequence[Study], space: CommonSpace, members: Sequence[np.ndarray]) -> list[Track]:
    """Match the lesions of all studies.

    Parameters
    ----------
    studies : sequence of Study
        In order of time.
    space : CommonSpace
    members : sequence of ndarray of float, shape of the common grid (K, J, I)
        Share of lesion in each voxel (0..1), for each study (:meth:`CommonSpace.carry` of label 3).

    Returns
    -------
    list of Track
        Largest first (by the largest volume in any study).
    """
    nodes = [_nodes(study, space, member, n) for n, (study, member) in enumerate(zip(studies, members, strict=True))]
    reach = _reach(studies, space)
    offsets = np.concatenate([[0], np.cumsum([n.count for n in nodes])])
    rows, columns = [], []
    found = [n.voxels for n in nodes]
    for a in range(len(nodes)):
        for b in range(len(nodes)):
            if a == b or not len(found[a]) or not len(found[b]):
                continue
            distance, which = cKDTree(found[a] / reach).query(found[b] / reach, distance_upper_bound=1.0)
            near = np.isfinite(distance)
            ours = nodes[a].voxel_node[which[near]] - 1 + offsets[a]
            theirs = nodes[b].voxel_node[near] - 1 + offsets[b]
            rows.append(ours)
            columns.append(theirs)
    total = int(offsets[-1])
    if total == 0:
        return []
    row = np.concatenate(rows) if rows else np.zeros(0, int)
    column = np.concatenate(columns) if columns else np.zeros(0, int)
    graph = coo_matrix((np.ones(row.size), (row, column)), shape=(total, total))
    _, group = connected_components(graph, directed=False)
    tracks = [
        _track(studies, nodes, [np.flatnonzero(group[offsets[n] : offsets[n + 1]] == g) + 1 for n in range(len(nodes))])
        for g in np.unique(group)
    ]
    return sorted(tracks, key=lambda t: -max(t.volumes_mm3))


def _reach(studies: Sequence[Study], space: CommonSpace) -> np.ndarray:
    """Tolerance along K, J, I of the common grid, in its voxels."""
    tolerance = np.full(3, TOLERANCE_MM)
    for n, study in enumerate(studies):
        axis = 2 - through_plane_axis(study.volume.ijk_to_ras)
        normal = study.volume.ijk_to_ras[:3, axis]
        # Along which axis of the common grid this study's slices are stacked.
        turned = space.common_to_study[n][:3, :3].T @ normal
        along = np.abs(space.grid.ijk_to_ras[:3, :3].T @ turned) / np.asarray(space.spacing)
        place = int(np.argmax(along))
        tolerance[place] = max(tolerance[place], SLICE_TOLERANCE * float(np.linalg.norm(normal)))
    # Always the neighbouring pixel, or grids coarser than the tolerance would allow none at all.
    out: np.ndarray = np.maximum((tolerance / np.asarray(space.spacing))[::-1], 1.001)
    return out


def _nodes(study: Study, space: CommonSpace, member: np.ndarray, number: int) -> _Nodes:
    """Lesions of one study on the common grid; those that fill no voxel of it by half get the one at their place."""
    shape = member.shape
    found = find_lesions(study.labels, study.volume.ijk_to_ras)
    to_common = np.linalg.inv(space.grid.ijk_to_ras) @ rigid.invert(space.common_to_study[number])
    filled = member >= FILLED
    for lesion in found.lesions:
        index = np.round((to_common @ [*lesion.anchor_ras, 1.0])[2::-1]).astype(int)
        filled[tuple(np.clip(index, 0, np.array(shape) - 1))] = True
    # Pieces a pixel apart in plane are one: a bridge of one pixel depends on the noise.
    fine = np.asarray(space.spacing)[::-1] < 1.5 * min(space.spacing)
    labels, count = np.zeros(shape, np.int32), 0
    (box,) = ndimage.find_objects(filled.view(np.uint8)) or [None]
    if box is not None:
        box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        wide = ndimage.binary_dilation(filled[box], np.ones(np.where(fine, 3, 1)))
        labels[box], count = ndimage.label(wide, np.ones((3, 3, 3)))
        labels[~filled] = 0
    voxels = np.argwhere(labels)
    voxel_node = labels[tuple(voxels.T)]
    own = np.argwhere(study.labels == LESION)
    if not len(own):
        return _Nodes(labels, count, voxels, voxel_node, own, np.zeros(0, int), np.zeros(0, int))
    points = own[:, ::-1] @ study.volume.ijk_to_ras[:3, :3].T + study.volume.ijk_to_ras[:3, 3]
    index = (points @ to_common[:3, :3].T + to_common[:3, 3])[:, ::-1]
    steps = np.asarray(space.spacing)[::-1]
    _, nearest = cKDTree(voxels * steps).query(index * steps)
    inner = own - [s.start for s in found.box]
    return _Nodes(labels, count, voxels, voxel_node, own, voxel_node[nearest], found.components[tuple(inner.T)])


def _track(studies: Sequence[Study], nodes: Sequence[_Nodes], chosen: Sequence[np.ndarray]) -> Track:
    """One lesion from its nodes (numbers from 1) in each study."""
    voxels = np.concatenate([n.voxels[np.isin(n.voxel_node, c)] for n, c in zip(nodes, chosen, strict=True)])
    voxels = np.unique(voxels, axis=0)
    inside = np.stack([np.isin(n.labels[tuple(voxels.T)], c) for n, c in zip(nodes, chosen, strict=True)])
    presences = []
    for study, node, own in zip(studies, nodes, chosen, strict=True):
        mine = np.isin(node.own_node, own)
        kji = node.own_kji[mine]
        if not len(kji):
            presences.append(Presence(0.0, 0, None, None, ()))
            continue
        affine = study.volume.ijk_to_ras
        centre = affine[:3, :3] @ kji.mean(axis=0)[::-1] + affine[:3, 3]
        along = kji[:, through_plane_axis(affine)]
        presences.append(
            Presence(
                float(len(kji) * study.volume.voxel_mm3),
                len(own),
                triple(float(x) for x in centre),
                (int(along.min()), int(along.max())),
                tuple(int(n) for n in np.unique(node.own_number[mine])),
                float(((np.ptp(kji, axis=0) + 1) * study.volume.spacing[::-1]).max()),
            )
        )
    return Track(tuple(presences), voxels, inside)
