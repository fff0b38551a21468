"""The decision rule: change of one lesion between two studies.

New needs all of: at least 10.7 mm3, 3 mm across (S5; MAGNIMS, Filippi et al. 2019) and three voxels, nothing drawn
before, the model's earlier probability low (absent, not merely below the threshold), its place covered by the earlier
study and brain tissue there (not fluid, bone or air, see :mod:`.parenchyma`), the subtraction brighter than normal
tissue of this pair, nothing of it in the earlier study's neighbouring slices, and a region of change within it
(:mod:`.joint`): images and model jointly indicate a new lesion. Resolved is the reverse. Enlarging and
shrinking lesions have such a region at their edge and a volume that changed by at least as much as a new lesion has; or
their volume changed beyond the noise of repeated scans, and the images support it where tissue was gained or lost.
Split and merged need that, and another number of parts. All else is stable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image.geometry import ROUNDING_MM
from . import noise
from .joint import JointReading, smallest_mm3
from .matching import Track
from .noise import Evidence, Witness
from .states import ENLARGING, MERGED, NEW, RESOLVED, SHRINKING, SPLIT, STABLE

#: Notes on volume changes that the images do not support.
NOT_SUPPORTED = "the subtraction does not support a change"
WITHIN_NOISE = "the joint evidence of images and model is within the noise of repeated scans"
TOO_SMALL = "smaller than the minimum for new or resolved lesions"
NOT_COVERED = "outside what both studies cover"
HESITATES = "not absent from the other study: the model is uncertain there"
BETWEEN = "seen only in an intermediate study, and not beyond the noise"
OFF_BRAIN = "not within the brain tissue of the other study"
SEEN_BESIDE = "also in the other study, spread over neighbouring slices"


@dataclass(frozen=True)
class Judgement:
    """The verdict on one lesion and one pair of studies.

    Attributes
    ----------
    state : str or None
        As in :data:`~flairseg.longitudinal.states.STATES`; None where it is in neither study.
    change_mm3 : float
        Later less earlier volume.
    change_percent : float or None
        Of the earlier volume; None where that is zero.
    noise_mm3 : float
        What a change of volume has to reach: the smallest lesion where images and model show jointly a region of
        change, or one study has nothing at all; else the volume noise of an unchanged lesion of this size.
    beyond_noise : bool
        Whether volume and evidence are beyond the noise: true for every state but stable.
    evidence : Evidence
        Of the images, where tissue was gained (or lost, if more was lost).
    note : str
        Why an apparent change was not called one; empty otherwise.
    log_odds : float
        Highest joint evidence for that change within the lesion.
    """

    state: str | None
    change_mm3: float
    change_percent: float | None
    noise_mm3: float
    beyond_noise: bool
    evidence: Evidence
    note: str = ""
    log_odds: float = 0.0


@dataclass(frozen=True)
class Pair:
    """Data of a pair of studies; all arrays have the common grid's shape (K, J, I).

    Attributes
    ----------
    witness : Witness
        Determines what exceeds the noise of the subtraction.
    probabilities : tuple of two ndarray of float
        Of lesion.
    reliefs : tuple of two ndarray of float
        Each study less the mean of its surroundings.
    covered : ndarray of bool
        Voxels covered by both studies.
    tissue : tuple of two ndarray of bool
        Brain tissue of each study, from :func:`~flairseg.longitudinal.parenchyma.parenchyma`.
    axis, reach : int
        Array axis through the slices, and how many steps of the common grid the thicker slice has.
    voxel_mm3 : float
        The larger voxel of the studies' own grids.
    joint : JointReading
        Lesions that appeared and disappeared, by images and model jointly.
    """

    witness: Witness
    probabilities: tuple[np.ndarray, np.ndarray]
    reliefs: tuple[np.ndarray, np.ndarray]
    covered: np.ndarray
    tissue: tuple[np.ndarray, np.ndarray]
    axis: int
    reach: int
    voxel_mm3: float
    joint: JointReading


def judge(track: Track, earlier: int, later: int, pair: Pair) -> Judgement:
    """Judge the change of a lesion between two studies.

    Parameters
    ----------
    track : Track
    earlier, later : int
        Places of the two studies.
    pair : Pair

    Returns
    -------
    Judgement
    """
    before, after = track.presences[earlier].volume_mm3, track.presences[later].volume_mm3
    if before == 0 and after == 0:
        return Judgement(None, 0.0, None, 0.0, False, Evidence(0.0, 0.0))
    change = after - before
    percent = 100 * change / before if before > 0 else None
    was, now = track.inside[earlier], track.inside[later]
    gained = change >= 0
    region = track.voxels[now & ~was] if gained else track.voxels[was & ~now]
    reading = pair.joint.towards(gained)
    everywhere = tuple(track.voxels.T)
    evidence, log_odds = pair.witness.ask(region), float(reading.log_odds[everywhere].max())
    called, least = track.voxels[reading.called[everywhere]], smallest_mm3(pair.voxel_mm3)
    absent = 0 if gained else 1

    def verdict(state: str, floor: float, note: str = "") -> Judgement:
        return Judgement(state, change, percent, floor, state != STABLE, evidence, note, log_odds)

    if before == 0 or after == 0:
        supported = evidence.brighter() if gained else evidence.darker()
        note = _why_not(track, region, abs(change), pair, absent, supported) or ("" if len(called) else WITHIN_NOISE)
        return verdict(STABLE if note else NEW if before == 0 else RESOLVED, least, note)
    if len(called) and abs(change) >= least and not _seen_beside(called, pair, absent):
        # Only where images and model indicate a change: the rest of its outline varies with the noise.
        local = pair.witness.ask(called)
        if local.brighter() if gained else local.darker():
            return verdict(_of_volume(track, earlier, later, change), least)
    return verdict(*_by_volume(track, earlier, later, change, region, evidence, pair))


def _by_volume(
    track: Track, earlier: int, later: int, change: float, region: np.ndarray, evidence: Evidence, pair: Pair
) -> tuple[str, float, str]:
    """State, noise (mm3) and note of a lesion that both studies have, by its volumes and the images."""
    volumes = [track.presences[n].volume_mm3 for n in (earlier, later)]
    floor = noise.volume_noise_mm3(sum(volumes) / 2, pair.voxel_mm3)
    if abs(change) <= floor:
        parts = (track.presences[earlier].parts, track.presences[later].parts)
        note = "" if parts[0] == parts[1] else f"parts {parts[0]} to {parts[1]}, volume within the noise"
        return STABLE, floor, note
    if not (evidence.brighter() if change >= 0 else evidence.darker()):
        return STABLE, floor, NOT_SUPPORTED
    absent = 0 if change >= 0 else 1
    if not _within_tissue(region, pair, absent):
        return STABLE, floor, OFF_BRAIN
    if _seen_beside(region, pair, absent):
        return STABLE, floor, SEEN_BESIDE
    return _of_volume(track, earlier, later, change), floor, ""


def _of_volume(track: Track, earlier: int, later: int, change: float) -> str:
    parts = track.presences[earlier].parts, track.presences[later].parts
    if change > 0:
        return MERGED if parts[0] > 1 and parts[1] < parts[0] else ENLARGING
    return SPLIT if parts[1] > 1 and parts[1] > parts[0] else SHRINKING


def _why_not(track: Track, region: np.ndarray, volume: float, pair: Pair, absent: int, supported: bool) -> str:
    """Reason why a lesion in one study only is neither new nor resolved; empty if there is none.

    ``absent`` is the place in the pair (0 earlier, 1 later) of the study that does not have it.
    """
    across = max(p.extent_mm for p in track.presences)
    if volume < smallest_mm3(pair.voxel_mm3) or across < noise.SMALLEST_MM - ROUNDING_MM:
        return TOO_SMALL
    where = tuple(region.T)
    if not len(region) or pair.covered[where].mean() < 0.9:
        return NOT_COVERED
    if not _within_tissue(region, pair, absent):
        return OFF_BRAIN
    if pair.probabilities[absent][where].mean() >= noise.ABSENT:
        return HESITATES
    if not supported:
        return NOT_SUPPORTED
    return SEEN_BESIDE if _seen_beside(region, pair, absent) else ""


def _within_tissue(region: np.ndarray, pair: Pair, absent: int) -> bool:
    """Whether most of a region was (or became) brain tissue in the study that does not have it.

    Lesions arise in tissue. What was fluid or bone before is something else, and what turned to fluid did not heal.
    """
    return float(pair.tissue[absent][tuple(region.T)].mean()) >= 0.5


def _seen_beside(region: np.ndarray, pair: Pair, absent: int) -> bool:
    """Whether a region stands out in the study presumed to lack it, there or within a slice of it.

    Thick slices average: the same lesion is bright where one slice holds it whole, and half as bright in two slices
    where it is across their border. Re-positioning alone makes the one out of the other.
    """
    present, other = pair.reliefs[1 - absent], pair.reliefs[absent]
    stands_out = float(present[tuple(region.T)].mean())
    size = other.shape[pair.axis]
    for step in range(-pair.reach, pair.reach + 1):
        moved = region.copy()
        moved[:, pair.axis] = np.clip(moved[:, pair.axis] + step, 0, size - 1)
        if float(other[tuple(moved.T)].mean()) >= noise.SEEN_SHARE * stands_out:
            return True
    return False
