"""The comparison of studies that are segmented and registered: what changed beyond the noise floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from scipy import ndimage

from ..errors import CaseWarning, GridMismatchError
from ..image.geometry import ROUNDING_MM
from ..image.slice_stack import choose_plane
from ..image.volume import Volume
from ..labels import LESION, VENTRICLES
from . import noise
from .adding import add_lesions, unseen
from .harmonise import difference, harmonise
from .joint import REGISTRATION_MM, Sampling, read_jointly
from .judging import BETWEEN, Judgement, Pair, judge
from .matching import Track
from .noise import Witness
from .parenchyma import parenchyma
from .registration import Registration
from .result import FollowedLesion, FollowUp, NoiseFloor, VentricleChange
from .space import CommonSpace
from .states import GAINED, LOST, RESOLVED, STABLE, STATE_BY_ID, STATES
from .studies import Study

#: Lesions and their surroundings are kept out of what is called normal tissue, mm in plane.
KEEP_OUT_MM = 2.5
#: Studies whose slices differ in thickness by more than this factor: small changes mean less, with a warning.
SLICE_RATIO = 1.25


def compare_studies(
    studies: Sequence[Study],
    space: CommonSpace,
    registrations: Sequence[Registration],
    masks: Sequence[np.ndarray],
    step: Callable[[float], None] | None = None,
) -> FollowUp:
    """The comparison itself, once the studies are segmented and registered.

    Parameters
    ----------
    studies : sequence of Study
        In order of time.
    space : CommonSpace
    registrations : sequence of Registration
        First study to each later one.
    masks : sequence of ndarray of bool
        Brain masks, each on its study's grid (K, J, I).
    step : callable, optional
        Called with the fraction done; may raise to cancel.

    Returns
    -------
    FollowUp
    """
    tell = step or (lambda fraction: None)
    carried = [_carry(space, study, mask, n) for n, (study, mask) in enumerate(zip(studies, masks, strict=True))]
    tell(0.35)
    brain = np.logical_and.reduce([c.brain for c in carried])
    spacing = space.spacing[::-1]
    out_of = np.maximum.reduce([c.member for c in carried]) > 0.1
    radius = [max(1, round(KEEP_OUT_MM / s)) if s < 1.5 * min(spacing) else 1 for s in spacing]
    wide = ndimage.maximum_filter(out_of.astype(np.uint8), [2 * r + 1 for r in radius]) > 0
    tissue = brain & ~wide
    images = harmonise([c.image for c in carried], tissue, spacing)
    tell(0.5)
    axis = _slice_axis(space)
    solid = [parenchyma(image, c.brain, spacing, axis) for image, c in zip(images, carried, strict=True)]
    reach = max(1, round(max(max(s.volume.spacing) for s in studies) / spacing[axis]))
    pairs = [(0, len(studies) - 1)] + ([(n, n + 1) for n in range(len(studies) - 1)] if len(studies) > 2 else [])
    judged: dict[tuple[int, int], list[Judgement]] = {}
    tracks: list[Track] = []
    thickness = [max(s.volume.spacing) for s in studies]
    astray = max([REGISTRATION_MM, *(r.consistency_mm for r in registrations)])
    for n, (a, b) in enumerate(pairs):
        apart = difference(images[a], images[b], tissue, spacing, axis, (thickness[a], thickness[b]))
        witness = Witness(apart, tissue & _solid(images[a], images[b]))
        probabilities = (carried[a].probability, carried[b].probability)
        covered, within = carried[a].covered & carried[b].covered, (solid[a], solid[b])
        voxel_mm3 = max(studies[a].volume.voxel_mm3, studies[b].volume.voxel_mm3)
        sampling = Sampling(spacing, axis, reach, voxel_mm3)
        joint = read_jointly(apart, probabilities, within, brain, covered, sampling, astray)
        pair = Pair(witness, probabilities, apart.reliefs, covered, within, axis, reach, voxel_mm3, joint)
        if n == 0:
            overall = apart
            members = [c.member for c in carried]
            judged_by = partial(judge, earlier=a, later=b, pair=pair)
            studies, tracks = add_lesions(studies, space, members, unseen(joint, witness, members, space), judged_by)
        judged[a, b] = [judge(track, a, b, pair) for track in tracks]
        tell(0.6 + 0.35 * (n + 1) / len(pairs))
    lesions = _followed(tracks, judged, len(studies))
    change_map = _paint(lesions, space)
    floor = NoiseFloor(overall.flat_noise, overall.edge_noise)
    warnings = _warnings(studies, registrations, space) + _load_doubts(lesions)
    tell(1.0)
    return FollowUp(
        tuple(studies), space, images, overall.array, change_map, lesions, _ventricles(studies),
        tuple(registrations), floor, warnings,
    )  # fmt: skip


@dataclass(frozen=True)
class _Carried:
    """A study on the common grid."""

    image: np.ndarray
    member: np.ndarray
    probability: np.ndarray
    brain: np.ndarray
    covered: np.ndarray


def _carry(space: CommonSpace, study: Study, mask: np.ndarray, number: int) -> _Carried:
    volume = study.volume
    member = space.carry(study.labels == LESION, volume, number)
    probability = member
    if study.probabilities is not None:
        probability = space.carry(study.probabilities[LESION], volume, number)
    covered = space.covered(volume, number)
    return _Carried(
        space.carry(volume.array, volume, number), member, probability,
        (space.carry(mask, volume, number) > 0.5) & covered, covered,
    )  # fmt: skip


def _solid(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Brain covered by both studies, without fluid: where lesions are, with less noise than at sulci."""
    return np.asarray((np.minimum(first, second) > noise.SOLID[0]) & (np.maximum(first, second) < noise.SOLID[1]))


def _slice_axis(space: CommonSpace) -> int:
    """Array axis of the common grid that runs through the slices."""
    from ..lesions.boxes import through_plane_axis

    return through_plane_axis(space.grid.ijk_to_ras)


def _followed(
    tracks: Sequence[Track], judged: Mapping[tuple[int, int], Sequence[Judgement]], studies: int
) -> tuple[FollowedLesion, ...]:
    """Tracks with what was judged of each pair of studies, by state, the largest first."""
    order = {s.id: n for n, s in enumerate(STATES)}
    found = []
    for n, track in enumerate(tracks):
        between = [judged[n_study, n_study + 1][n] for n_study in range(studies - 1)]
        verdict = _overall(judged[0, studies - 1][n], between)
        found.append((verdict.state or STABLE, verdict, tuple(one.state or "absent" for one in between), track))
    found.sort(key=lambda f: (order[f[0]], -max(f[3].volumes_mm3)))
    return tuple(
        FollowedLesion(n, state, between, track, verdict)
        for n, (state, verdict, between, track) in enumerate(found, start=1)
    )


def _overall(verdict: Judgement, between: Sequence[Judgement]) -> Judgement:
    """Last study against the first; lesions only in intermediate studies are resolved if one interval shows it."""
    if verdict.state is not None:
        return verdict
    went = [one for one in between if one.state == RESOLVED]
    return went[-1] if went else replace(verdict, state=STABLE, note=BETWEEN)


def _paint(lesions: Sequence[FollowedLesion], space: CommonSpace) -> np.ndarray:
    """The change map; what is rare is painted last."""
    out = np.zeros(space.grid.array.shape, np.uint8)
    for lesion in sorted(lesions, key=lambda f: f.state != "stable"):
        track = lesion.track
        first, last = track.inside[0], track.inside[-1]
        out[tuple(track.voxels.T)] = STATE_BY_ID[lesion.state].code
        if lesion.state in ("enlarging", "merged"):
            out[tuple(track.voxels[last & ~first].T)] = GAINED
        elif lesion.state in ("shrinking", "split"):
            out[tuple(track.voxels[first & ~last].T)] = LOST
    return out


def _ventricles(studies: Sequence[Study]) -> VentricleChange:
    volumes = tuple(s.volume_ml(VENTRICLES, int(np.count_nonzero(s.labels == VENTRICLES))) for s in studies)
    first, last = volumes[0], volumes[-1]
    # Every brain has ventricles: where a study has none they were not drawn, or not found, and did not change by that.
    change = last - first if first and last else None
    percent = 100 * change / first if change is not None and first else None
    floor = noise.ventricle_noise_percent([s.volume for s in studies])
    return VentricleChange(volumes, change, percent, floor, percent is not None and abs(percent) > floor)


def _warnings(studies: Sequence[Study], registrations: Sequence[Registration], space: CommonSpace) -> list[str]:
    out: list[str] = [
        CaseWarning.of(text).reworded(f"Study {n}: {text}")
        for n, s in enumerate(studies, start=1)
        for text in s.warnings
    ]
    out += [
        text if len(studies) == 2 else CaseWarning.of(text).reworded(f"Studies 1 and {n}: {text}")
        for n, r in enumerate(registrations, start=2)
        for text in r.warnings
    ]
    thick = [max(s.volume.spacing) for s in studies]
    if max(thick) > SLICE_RATIO * min(thick) + ROUNDING_MM:
        text = (
            f"The slices differ in thickness ({min(thick):.1f} to {max(thick):.1f} mm): the thinner ones were blurred "
            "for the subtraction, and small lesions seen only in them may be older."
        )
        out.append(CaseWarning(text, "slice-thickness-differs"))
    if space.plane == "mixed":
        planes = " and ".join(sorted({choose_plane(s.volume) for s in studies}))
        text = f"The studies were sliced in different planes ({planes}): expect more noise at every edge."
        out.append(CaseWarning(text, "planes-differ"))
    ids = {s.card.id for s in studies if s.card is not None}
    if len(ids) > 1 or len({s.given for s in studies}) > 1:
        text = (
            "The labels of the studies come from different sources (models or readers): differences between those "
            "look like change."
        )
        out.append(CaseWarning(text, "labels-of-different-sources"))
    for (n, one), (m, other) in combinations(enumerate(studies, start=1), 2):
        if _same_image(one.volume, other.volume):
            text = f"Studies {n} and {m} are identical images: no change between them can be detected."
            out.append(CaseWarning(text, "same-image-twice"))
    if _differ_in_patient(studies):
        text = (
            "PatientID, birth date or sex in the DICOM headers differ between the studies: check that they are of one "
            "patient."
        )
        out.append(CaseWarning(text, "patients-differ"))
    dates = [s.date for s in studies if s.date]
    if dates != sorted(dates):
        text = "The studies are not in the order of their dates: new and resolved may be reversed."
        out.append(CaseWarning(text, "dates-out-of-order"))
    return list(dict.fromkeys(out))


def _load_doubts(lesions: Sequence[FollowedLesion]) -> list[str]:
    """A remark where the lesion volumes of first and last study differ much, and lesions called stable make it up."""
    first, last = (sum(lesion.track.presences[n].volume_mm3 for lesion in lesions) for n in (0, -1))
    stable = [lesion.judgement for lesion in lesions if lesion.state == STABLE]
    unexplained = sum(judgement.change_mm3 for judgement in stable)
    within = max(
        noise.LOAD_SHARE * max(first, last), noise.load_noise_mm3([judgement.noise_mm3 for judgement in stable])
    )
    if abs(unexplained) <= within + ROUNDING_MM:
        return []
    text = (
        f"The lesion volumes by the labels are {first / 1000:.2f} ml in the first and {last / 1000:.2f} ml in the last "
        f"study, and {unexplained / 1000:+.2f} ml of the difference are in lesions that are called stable because the "
        "images do not show a change of each. Either the labels were drawn differently, or small changes of many "
        "lesions add up: compare both studies before the volumes are used."
    )
    fields = {"first_ml": first, "last_ml": last, "stable_ml": unexplained}
    return [CaseWarning(text, "stable-lesions-differ", **{k: round(v / 1000, 4) for k, v in fields.items()})]


def _differ_in_patient(studies: Sequence[Study]) -> bool:
    known = [study.patient for study in studies if study.patient]
    if len(known) < 2:
        return False
    from ..dicom.patients import differ

    return differ(known)


def _same_image(one: Volume, other: Volume) -> bool:
    """Whether two volumes hold the same voxels, whatever the order in which they are stored."""
    if np.array_equal(one.array, other.array):
        return True
    if one.array.size != other.array.size:
        return False
    try:
        return np.array_equal(one.array, one.geometry.place(other.array, other.geometry))
    except GridMismatchError:
        return False
