"""The frames of a series parted into stacks: planes of a localiser, captures, echoes, time points; slabs merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from .placing import is_rotated
from .scan import TRAITS, Frame
from .stack import GAP, REPEATED, ROTATED, UNEVEN, distances, is_regular, mean_orientation, normal, repeats
from .text import plain

#: Planes at angles below this (degrees) belong to one stack, rotated by motion correction or rounding on the scanner;
#: beyond it they are separate stacks.
SLIGHTLY_ROTATED_DEG = 3.0
#: A stray kind of image is left out where the rest, of at least this share, is a regular stack.
_MOST = 2 / 3
#: Traits by which parts of one stack (slabs) may differ.
SLAB_TRAITS = ("stack", "time point", "acquisition", "file")

_Parts = list[list[Frame]]


def split(frames: list[Frame]) -> list[tuple[list[Frame], str]]:
    """Frames that belong together, with what sets each part apart.

    Parameters
    ----------
    frames : list of Frame
        Of one series, without copies.

    Returns
    -------
    list of (list of Frame, str)
        The text is empty where the series is one stack.
    """
    parts: list[tuple[list[Frame], list[str]]] = [(frames, [])]
    parts = _split_by(parts, lambda fs: _alike(fs, lambda f: f.role), "role")
    parts = _split_by(parts, lambda fs: _alike(fs, lambda f: (f.shape, _rounded(f.spacing))), "matrix")
    parts = _split_by(parts, _by_orientation, "orientation")
    # Phase images are where the magnitude is, and are never part of one volume with it.
    parts = _split_by(parts, lambda fs: _alike(fs, lambda f: f.traits[0]), TRAITS[0])
    for n, trait in enumerate(TRAITS[1:], start=1):
        parts = _split_by(parts, partial(_where_needed, trait=n), trait)
    return [(members, ", ".join(words)) for members, words in parts]


def _split_by(
    parts: list[tuple[list[Frame], list[str]]], divide: Callable[[list[Frame]], _Parts], trait: str
) -> list[tuple[list[Frame], list[str]]]:
    out = []
    for members, words in parts:
        divided = divide(members)
        for n, part in enumerate(divided):
            out.append((part, words if len(divided) == 1 else [*words, _in_words(trait, part[0], n)]))
    return [(part, [word for word in words if word]) for part, words in out]


def _in_words(trait: str, frame: Frame, number: int) -> str:
    if trait == "role":
        return frame.role
    if trait == "echo" and frame.echo_time is not None:
        return f"echo time {frame.echo_time:g} ms"
    if trait in ("component", "image type", "b-value", "echo", "time point", "acquisition"):
        value = plain(frame.traits[TRAITS.index(trait)], 16)
        return value.lower() if trait in ("component", "image type") and value else f"{trait} {value or number + 1}"
    return f"{trait} {number + 1}"


def _alike(frames: list[Frame], key: Callable[[Frame], object]) -> _Parts:
    groups: dict[object, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return list(groups.values())


def _rounded(spacing: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if spacing is None else tuple(round(s, 3) for s in spacing)


def _placed(frames: Sequence[Frame]) -> bool:
    return all(f.position is not None and f.orientation is not None for f in frames)


def _overlap(frames: list[Frame]) -> bool:
    """Whether some of these frames are at the same place."""
    if len(frames) < 2 or not _placed(frames):
        return False
    return repeats(_distances(frames))


def _distances(frames: Sequence[Frame]) -> np.ndarray:
    orientation = mean_orientation(np.array([f.orientation for f in frames]))
    return distances(np.array([f.position for f in frames]), orientation)


# --- planes


def _by_orientation(frames: list[Frame]) -> _Parts:
    """Frames by plane; planes at small angles to each other stay together if they form one stack."""
    groups: list[tuple[np.ndarray | None, list[Frame]]] = []
    for frame in frames:
        own = None if frame.orientation is None else np.array(frame.orientation)
        for other, members in groups:
            if (own is None and other is None) or (
                own is not None and other is not None and abs(own - other).max() <= ROTATED
            ):
                members.append(frame)
                break
        else:
            groups.append((own, [frame]))
    parts = [members for _, members in groups]
    near = _nearly_parallel(parts)
    if len(near) < 2:
        return parts
    together = [frame for part in near for frame in part]
    return [together, *(part for part in parts if part not in near)] if _is_stack(together) else parts


def _nearly_parallel(parts: _Parts) -> _Parts:
    """The parts whose planes nearly agree with that of the largest, the largest among them."""
    with_plane = [part for part in parts if _placed(part)]
    if not with_plane:
        return []
    main = np.reshape(np.asarray(max(with_plane, key=len)[0].orientation, np.float64), (2, 3))
    out = []
    for part in with_plane:
        own = np.reshape(np.asarray(part[0].orientation, np.float64), (2, 3))
        cosine = float((main * own).sum(axis=1).min())
        if cosine >= np.cos(np.radians(SLIGHTLY_ROTATED_DEG)):
            out.append(part)
    return out


def _is_stack(frames: Sequence[Frame]) -> bool:
    """Whether frames form a stack without a missing slice, by their centres, which a rotation leaves fixed."""
    orientation = mean_orientation(np.array([f.orientation for f in frames]))
    along = np.diff(np.sort(_centres(frames) @ normal(orientation)))
    return not repeats(along) and bool(along.max() <= GAP * np.median(along))


def _centres(frames: Sequence[Frame]) -> np.ndarray:
    """Centre of each slice, mm, LPS, shape (K, 3)."""
    down, along = frames[0].spacing or (1.0, 1.0)
    rows, columns = frames[0].shape
    own = np.array([f.orientation for f in frames])
    half = 0.5 * ((columns - 1) * along * own[:, :3] + (rows - 1) * down * own[:, 3:])
    return np.array([f.position for f in frames]) + half


# --- frames at the same place


def _where_needed(frames: list[Frame], trait: int) -> _Parts:
    """Parts by a trait, where the frames as a whole make no stack; slabs that share slices are put together."""
    parts = _alike(frames, lambda f: f.traits[trait])
    if len(parts) == 1:
        return [frames]
    if _overlap(frames):
        return _merged(parts) if TRAITS[trait] in SLAB_TRAITS else parts
    if TRAITS[trait] in SLAB_TRAITS and _placed(frames) and _off_grid(frames, parts):
        return parts
    if TRAITS[trait] == "image type" and _placed(frames) and not is_rotated(frames):
        main = max(parts, key=len)
        if len(main) >= _MOST * len(frames) and not _regular(frames) and _regular(main):
            return parts
    return [frames]


def _off_grid(frames: Sequence[Frame], parts: _Parts) -> bool:
    """Whether regular slabs reach into each other without sharing one grid: no single volume holds their slices."""
    if _regular(frames) or not all(len(part) > 2 and _regular(part) for part in parts):
        return False
    axis = normal(mean_orientation(np.array([f.orientation for f in frames])))
    ends = []
    for part in parts:
        along = np.array([f.position for f in part]) @ axis
        ends.append((float(along.min()), float(along.max())))
    ends.sort()
    return any(high > low for (_, high), (low, _) in pairwise(ends))


def _regular(frames: Sequence[Frame]) -> bool:
    orientation = mean_orientation(np.array([f.orientation for f in frames]))
    return is_regular(np.array([f.position for f in frames]), orientation)


def _merged(parts: _Parts) -> _Parts:
    """Slabs that overlap in some slices and continue each other become one stack; repeats stay apart.

    Of a slice that two slabs have, that of the slab is kept in which it is farther from the end.
    """
    parts = sorted(parts, key=len, reverse=True)
    whole, rest = parts[0], []
    for part in parts[1:]:
        joined = _joined(whole, part)
        if joined is None:
            rest.append(part)
        else:
            whole, left = joined
            rest += [left] if left else []
    return [whole, *rest]


def _joined(one: list[Frame], other: list[Frame]) -> tuple[list[Frame], list[Frame]] | None:
    """Both slabs as one stack, and the frames that it leaves out; None if they do not form one."""
    if len(one) < 2 or len(other) < 2 or _overlap(one) or _overlap(other):
        return None
    axis = normal(mean_orientation(np.array([f.orientation for f in one])))
    heights = [np.array([f.position for f in slab]) @ axis for slab in (one, other)]
    step = float(np.median(_distances(one)))
    same = abs(heights[0][:, None] - heights[1][None, :]) < REPEATED * step
    shared = np.argwhere(same)
    if not len(shared) or len(shared) in (len(one), len(other)):
        return None
    left: tuple[set[int], set[int]] = (set(), set())
    for pair in shared:
        depths = [min(h[n] - h.min(), h.max() - h[n]) for n, h in zip(pair, heights, strict=True)]
        loser = 1 if depths[0] >= depths[1] else 0
        left[loser].add(int(pair[loser]))
    slabs = (one, other)
    kept = [f for slab, out in zip(slabs, left, strict=True) for n, f in enumerate(slab) if n not in out]
    if not _regular(kept) or abs(np.median(_distances(kept)) / step - 1) > UNEVEN:
        return None
    return kept, [slab[n] for slab, out in zip(slabs, left, strict=True) for n in sorted(out)]
