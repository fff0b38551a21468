"""Two or more studies of one patient: what is new, what grew, what went; and how large the ventricles are.

Research use only - not a medical device. The steps: segment each study on its own grid, register, carry everything to
the half-way space, even out grey levels, match lesions, and call a change only what exceeds the noise floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from .._version import __version__
from ..errors import CaseWarning, FlairSegError, RegistrationError, warnings_as_dicts
from ..files.same_input import FINGERPRINT, fingerprint
from ..image.slice_stack import choose_plane
from ..image.volume import Volume
from ..io.label_meanings import LabelMapping
from ..labels import CLASS_BY_VALUE, CLASSES, LESION, VENTRICLES
from ..models.card import ModelCard
from ..progress import CancelToken, ProgressCallback, Reporter
from ..segmentation.postprocessing import lesion_components
from ..segmentation.result import Segmentation, read_entries
from . import noise, rigid
from .adding import add_lesions, unseen
from .harmonise import difference, harmonise
from .joint import REGISTRATION_MM, read_jointly
from .judging import BETWEEN, Judgement, Pair, judge
from .matching import Track
from .noise import Witness
from .parenchyma import parenchyma
from .registration import Registration, prepare, register
from .space import CommonSpace, common_space
from .states import CODES, GAINED, LOST, RESOLVED, STABLE, STATE_BY_ID, STATES
from .studies import Study, load_study

if TYPE_CHECKING:
    from ..anatomy import RegionMap
    from .grading import SelfGrade

#: Share of the whole at which segmenting, registering and comparing end; writing takes the rest.
SHARES = {"segment": 0.55, "register": 0.75, "compare": 0.85, "regions": 0.95, "write": 1.0}
#: Share of the whole after which a follow-up that is graded is graded.
GRADE_FROM = 0.4
#: Lesions and their surroundings are kept out of what is called normal tissue, mm in plane.
KEEP_OUT_MM = 2.5
#: Studies whose slices differ in thickness by more than this factor: small changes mean less, and the reader is told.
SLICE_RATIO = 1.25


@dataclass(frozen=True)
class FollowedLesion:
    """One lesion through time.

    Attributes
    ----------
    number : int
        From 1; new ones first, then in the order of :data:`~flairseg.longitudinal.states.STATES`, each largest first.
    state : str
        Last study against the first: ``new``, ``enlarging``, ``stable``, ``shrinking``, ``resolved``, ``split``,
        ``merged``.
    intervals : tuple of str
        The same for each study against the one before; ``absent`` where it is in neither.
    track : Track
    judgement : Judgement
        Change, its noise and the images' evidence, last study against the first.
    region : str
        As in the lesion table; ``unknown`` where no atlas was asked.
    """

    number: int
    state: str
    intervals: tuple[str, ...]
    track: Track
    judgement: Judgement
    region: str = "unknown"


@dataclass(frozen=True)
class VentricleChange:
    """Volume of the ventricles through time: per study (ml), last against first, and its noise (percent)."""

    volumes_ml: tuple[float, ...]
    change_ml: float
    change_percent: float | None
    noise_percent: float
    beyond_noise: bool


@dataclass(frozen=True)
class FollowUp:
    """What became of the lesions and ventricles of one patient.

    Attributes
    ----------
    studies : tuple of Study
        In the order given: first (baseline) to last.
    space : CommonSpace
        The half-way grid, and the rigid motions from it to each study.
    images : tuple of ndarray of float32, shape (K, J, I) of the common grid
        The FLAIRs there, grey levels brought together (shares of the brain's median).
    subtraction, subtraction_noise : ndarray of float32, same shape
        Last less first study, and the standard deviation of its noise.
    change_map : ndarray of uint8, same shape
        Values as in :data:`~flairseg.longitudinal.states.CODES`.
    lesions : tuple of FollowedLesion
    ventricles : VentricleChange
    registrations : tuple of Registration
        First study to each later one.
    noise_floor : dict
        What was taken for noise, ready for JSON.
    warnings : list of str
    seconds : dict of str to float
    created : str
        UTC time, ISO 8601.
    self_grade : SelfGrade or None
        What a follow-up of these scans finds of injected lesions, where that was asked for.
    """

    studies: tuple[Study, ...]
    space: CommonSpace
    images: tuple[np.ndarray, ...]
    subtraction: np.ndarray
    subtraction_noise: np.ndarray
    change_map: np.ndarray
    lesions: tuple[FollowedLesion, ...]
    ventricles: VentricleChange
    registrations: tuple[Registration, ...]
    noise_floor: dict[str, Any]
    warnings: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    self_grade: SelfGrade | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many lesions are in each state."""
        return {s.id: sum(lesion.state == s.id for lesion in self.lesions) for s in STATES}

    def summary(self) -> dict[str, Any]:
        """Everything but the voxels, ready for JSON; keys as the project's contract has them."""
        card = next((s.card for s in self.studies if s.card is not None), None)
        return {
            "studies": [_study_entry(s) for s in self.studies],
            "counts": self.counts,
            "lesions": [self._lesion_entry(lesion) for lesion in self.lesions],
            CLASS_BY_VALUE[VENTRICLES].id: {
                "volumes_ml": [round(v, 3) for v in self.ventricles.volumes_ml],
                "change_ml": round(self.ventricles.change_ml, 3),
                "change_percent": _rounded(self.ventricles.change_percent, 2),
                "noise_percent": self.ventricles.noise_percent,
                "beyond_noise": self.ventricles.beyond_noise,
            },
            "noise_floor": self.noise_floor,
            **({} if self.self_grade is None else {"self_grade": self.self_grade.as_dict()}),
            "registration": [
                {
                    "from_study": 1,
                    "to_study": n,
                    "rotation_deg": round(r.angle_deg, 3),
                    "shift_mm": round(r.shift_mm, 3),
                    "correlation": round(r.correlation, 4),
                    "consistency_mm": round(r.consistency_mm, 3),
                    "scale_percent": round(r.scale_percent, 2),
                }
                for n, r in enumerate(self.registrations, start=2)
            ],
            "common_grid": {
                "shape_kji": list(self.space.grid.array.shape),
                "spacing_mm": [round(s, 4) for s in self.space.spacing],
                "ijk_to_ras": self.space.grid.ijk_to_ras.tolist(),
                "plane": self.space.plane,
            },
            "change_map_codes": {str(value): meaning for value, meaning in CODES.items()},
            "warnings": warnings_as_dicts(self.warnings),
            "model": None if card is None else {"id": card.id, "version": card.version, "sha256": card.sha256},
            "software": {"flairseg": __version__},
            "created": self.created,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "notice": "Research use only - not a medical device.",
        }

    def _lesion_entry(self, lesion: FollowedLesion) -> dict[str, Any]:
        presences, verdict = lesion.track.presences, lesion.judgement
        shown = (
            len(presences) - 1
            if presences[-1].volume_mm3 > 0
            else max(n for n, p in enumerate(presences) if p.volume_mm3 > 0)
        )
        return {
            "number": lesion.number,
            "state": lesion.state,
            "intervals": list(lesion.intervals),
            "region": lesion.region,
            "volumes_mm3": [round(p.volume_mm3, 1) for p in presences],
            "change_mm3": round(verdict.change_mm3, 1),
            "change_percent": _rounded(verdict.change_percent, 1),
            "noise_mm3": round(verdict.noise_mm3, 1),
            "beyond_noise": verdict.beyond_noise,
            "contrast": round(verdict.evidence.contrast, 3),
            "significance": round(verdict.evidence.significance, 1),
            "joint_log_odds": round(verdict.log_odds, 1),
            "note": verdict.note,
            "parts": [p.parts for p in presences],
            "lesion_numbers": [list(p.numbers) for p in presences],
            "centre_ras_mm": [round(x, 1) for x in presences[shown].centre_ras],
            "centre_common_ras_mm": [round(x, 1) for x in self.centre_common(lesion)],
            "slices": [n + 1 for n in presences[shown].slices],
            "slices_index": list(presences[shown].slices),
            "shown_in_study": shown + 1,
        }

    def centre_common(self, lesion: FollowedLesion) -> tuple[float, float, float]:
        """Centre of a lesion over all studies, RAS mm of the common space: where all linked views should go."""
        kji = lesion.track.voxels.mean(axis=0)
        affine = self.space.grid.ijk_to_ras
        return tuple(float(x) for x in affine[:3, :3] @ kji[::-1] + affine[:3, 3])


def follow(
    studies: Sequence[Volume | Segmentation | str | Path],
    model: str | Path | ModelCard | None = None,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
    labels: Sequence[np.ndarray | str | Path | None] | None = None,
    dates: Sequence[str | None] | None = None,
    regions: bool = False,
    mappings: Sequence[LabelMapping | None] | None = None,
    self_grade: bool = False,
) -> FollowUp:
    """Compare two or more studies of one patient.

    Parameters
    ----------
    studies : sequence of Volume, Segmentation or path
        At least two, the earliest first.
    model, device
        As for :func:`flairseg.segment`; used only for studies without labels.
    progress : callable, optional
        ``progress(fraction, stage)`` with the stages ``segment``, ``register``, ``compare``, ``regions``.
    cancel : CancelToken or callable, optional
    labels : sequence, optional
        For each study a label map on its own grid (K, J, I) or its file, or None: accepted or corrected versions.
    dates : sequence of str, optional
        For each study YYYY-MM-DD or None.
    regions : bool
        Also find the region of each lesion (seconds more), see :func:`with_regions`.
    mappings : sequence, optional
        For each label file what its values mean, or None where it says so itself.
    self_grade : bool
        Also inject lesions into the last study, and compare it with a re-positioned copy of itself
        (:func:`flairseg.longitudinal.grading.grade`); takes about three times as long. Stage ``grade``.

    Returns
    -------
    FollowUp

    Raises
    ------
    RegistrationError
        If the studies cannot be laid over each other (different patients, no brain).
    FlairSegError
        What reading and segmenting raise, with the study's place in the message; ``Cancelled`` on cancel.
    """
    if len(studies) < 2:
        raise FlairSegError(
            "One study alone cannot be followed.", "Give two or more studies of one patient, the earliest first."
        )
    began = time.perf_counter()
    reporter = Reporter(progress, cancel)
    labels = list(labels) if labels is not None else [None] * len(studies)
    dates = list(dates) if dates is not None else [None] * len(studies)
    mappings = list(mappings) if mappings is not None else [None] * len(studies)
    if not len(labels) == len(dates) == len(mappings) == len(studies):
        raise FlairSegError(
            f"There are {len(studies)} studies, but {len(labels)} label maps and {len(dates)} dates.",
            "Give one of each for every study, or none.",
        )
    share = {name: (GRADE_FROM if self_grade else 1.0) * end for name, end in SHARES.items()}
    with reporter.stage("segment", 0.0, share["segment"]):
        loaded = _load(studies, labels, mappings, dates, model, device, reporter, cancel)
    if self_grade:
        from .grading import grade, refuse_given

        refuse_given(loaded)
    with _anatomy_beside(loaded[-1]) if regions else nullcontext() as anatomy:
        with reporter.stage("register", share["segment"], share["register"]):
            space, registrations, masks = _register(loaded, reporter)
        with reporter.stage("compare", share["register"], share["compare"]):
            out = compare_studies(loaded, space, registrations, masks, reporter.update)
        if anatomy is not None:
            with reporter.stage("regions", share["compare"], share["regions"]):
                out = with_regions(out, _awaited(anatomy, reporter))
    if self_grade:
        with reporter.stage("grade", share["regions"], SHARES["regions"]):
            out = replace(out, self_grade=grade(out, model, device, reporter.update, cancel))
    out.seconds.update(reporter.seconds)
    out.seconds["total"] = time.perf_counter() - began
    return out


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
    overall, tracks = None, []
    thickness = [max(s.volume.spacing) for s in studies]
    astray = max([REGISTRATION_MM, *(r.consistency_mm for r in registrations)])
    for n, (a, b) in enumerate(pairs):
        apart = difference(images[a], images[b], tissue, spacing, axis, (thickness[a], thickness[b]))
        overall = overall or apart
        witness = Witness(apart, tissue & _solid(images[a], images[b]))
        probabilities = (carried[a].probability, carried[b].probability)
        covered, within = carried[a].covered & carried[b].covered, (solid[a], solid[b])
        voxel_mm3 = max(studies[a].volume.voxel_mm3, studies[b].volume.voxel_mm3)
        joint = read_jointly(apart, probabilities, within, brain, covered, spacing, axis, reach, voxel_mm3, astray)
        pair = Pair(witness, probabilities, apart.reliefs, covered, within, axis, reach, voxel_mm3, joint)
        if n == 0:
            members = [c.member for c in carried]
            verdict = partial(judge, earlier=a, later=b, pair=pair)
            studies, tracks = add_lesions(studies, space, members, unseen(joint, witness, members, space), verdict)
        judged[a, b] = [judge(track, a, b, pair) for track in tracks]
        tell(0.6 + 0.35 * (n + 1) / len(pairs))
    consecutive = [(n, n + 1) for n in range(len(studies) - 1)]
    order = {s.id: n for n, s in enumerate(STATES)}
    found = []
    for n, track in enumerate(tracks):
        between = [judged[pair][n] for pair in consecutive]
        verdict = _overall(judged[pairs[0]][n], between)
        found.append((verdict, tuple(one.state or "absent" for one in between), track))
    found.sort(key=lambda f: (order[f[0].state], -max(f[2].volumes_mm3)))
    lesions = tuple(
        FollowedLesion(n, verdict.state, between, track, verdict)
        for n, (verdict, between, track) in enumerate(found, start=1)
    )
    change_map = _paint(lesions, space)
    floor = _noise_floor(overall, spacing, studies)
    warnings = _warnings(studies, registrations, space)
    tell(1.0)
    return FollowUp(
        tuple(studies), space, images, overall.array, overall.noise, change_map, lesions, _ventricles(studies),
        tuple(registrations), floor, warnings,
    )  # fmt: skip


def with_regions(result: FollowUp, found: RegionMap) -> FollowUp:
    """The same with the region of each lesion, by the anatomy of the last study.

    A lesion that the last study's labels do not have is judged by where it was, laid over that study.

    Parameters
    ----------
    result : FollowUp
    found : RegionMap
        From :func:`flairseg.anatomy.find_regions` on the last study.

    Returns
    -------
    FollowUp
        ``regions`` as in the lesion table; what finding them warned of is added to ``warnings``.
    """
    from ..anatomy.regions import lesion_regions
    from ..lesions.components import find_lesions

    last = result.studies[-1]
    labels = last.labels.copy()
    to_voxels = np.linalg.inv(last.volume.ijk_to_ras) @ result.space.common_to_study[-1] @ result.space.grid.ijk_to_ras
    places = []
    for lesion in result.lesions:
        kji = np.round(rigid.apply(to_voxels, lesion.track.voxels[:, ::-1]))[:, ::-1].astype(int)
        kji = kji[((kji >= 0) & (kji < labels.shape)).all(axis=1)]
        places.append(kji)
        if not lesion.track.presences[-1].numbers:
            labels[tuple(kji.T)] = LESION
    lesions = find_lesions(labels, last.volume.ijk_to_ras)
    where = lesion_regions(lesions, labels, found)
    full = np.zeros(labels.shape, np.int32)
    full[lesions.box] = lesions.components
    named = []
    for lesion, kji in zip(result.lesions, places, strict=True):
        numbers = full[tuple(kji.T)]
        numbers = numbers[numbers > 0]
        number = int(np.bincount(numbers).argmax()) if numbers.size else 0
        named.append(replace(lesion, region=where.get(number, "unknown")))
    warnings = list(dict.fromkeys([*result.warnings, *found.warnings]))
    return replace(result, lesions=tuple(named), warnings=warnings)


# --- steps


@contextmanager
def _anatomy_beside(study: Study) -> Iterator[Future[RegionMap]]:
    """Find a study's regions in a thread of their own while the rest goes on; stopped when the block is left early."""
    from ..anatomy import find_regions

    stop = CancelToken()
    with ThreadPoolExecutor(1, "flairseg-regions") as pool:
        try:
            yield pool.submit(find_regions, study.volume, study.labels, cancel=stop)
        finally:
            stop.cancel()


def _awaited(anatomy: Future[RegionMap], reporter: Reporter) -> RegionMap:
    """The regions, once they are there; a cancel is heard while waiting."""
    while True:
        try:
            return anatomy.result(timeout=0.1)
        except FutureTimeout:
            if anatomy.done():
                raise
            reporter.update(0.5)


@dataclass(frozen=True)
class _Carried:
    """A study on the common grid."""

    image: np.ndarray
    member: np.ndarray
    probability: np.ndarray
    brain: np.ndarray
    covered: np.ndarray


def _load(studies, labels, mappings, dates, model, device, reporter: Reporter, cancel) -> list[Study]:
    loaded = []
    for n, (item, own, mapping, date) in enumerate(zip(studies, labels, mappings, dates, strict=True)):

        def within(fraction: float, stage: str, n: int = n) -> None:
            reporter.update((n + fraction) / len(studies))

        try:
            loaded.append(load_study(item, own, model, device, date, within, cancel, mapping))
        except FlairSegError as error:
            if type(error).__init__ is FlairSegError.__init__:
                error.message = f"Study {n + 1}: {error.message}"
            raise
        reporter.update((n + 1) / len(studies))
    return loaded


def _register(studies: Sequence[Study], reporter: Reporter):
    """Common space, registrations of the first study to the others, and brain masks."""
    count = len(studies)
    prepared = []
    for n, study in enumerate(studies):
        prepared.append(prepare(study.volume))
        reporter.update(0.4 * (n + 1) / count)
    registrations = []
    for n in range(1, count):

        def within(fraction: float, n: int = n) -> None:
            reporter.update(0.4 + 0.6 * (n - 1 + fraction) / (count - 1))

        try:
            registrations.append(register(prepared[0], prepared[n], within))
        except RegistrationError as error:
            error.message = f"Studies 1 and {n + 1}: {error.message}"
            raise
    masks = [p.mask for p in prepared]
    motions = [np.eye(4), *(r.a_to_b for r in registrations)]
    space = common_space([s.volume for s in studies], motions, masks, prepared[0].centre_ras)
    return space, registrations, masks


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
    """Where both studies show brain, not fluid: lesions lie there, and it is quieter than the edges of sulci."""
    return (np.minimum(first, second) > noise.SOLID[0]) & (np.maximum(first, second) < noise.SOLID[1])


def _slice_axis(space: CommonSpace) -> int:
    """Array axis of the common grid that runs through the slices."""
    from ..lesions.components import through_plane_axis

    return through_plane_axis(space.grid.ijk_to_ras)


def _overall(verdict: Judgement, between: Sequence[Judgement]) -> Judgement:
    """Last study against the first; what was there in between alone is resolved if one interval says so."""
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
    volumes = tuple(float(np.count_nonzero(s.labels == VENTRICLES)) * s.volume.voxel_mm3 / 1000 for s in studies)
    change = volumes[-1] - volumes[0]
    percent = 100 * change / volumes[0] if volumes[0] > 0 else None
    floor = noise.ventricle_noise_percent([s.volume for s in studies])
    return VentricleChange(volumes, change, percent, floor, percent is not None and abs(percent) > floor)


def _noise_floor(apart, spacing, studies: Sequence[Study]) -> dict[str, Any]:
    return {
        "surface_mm": noise.SURFACE_MM,
        "smallest_mm3": noise.SMALLEST_MM3,
        "smallest_mm": noise.SMALLEST_MM,
        "smallest_voxels": noise.SMALLEST_VOXELS,
        "significance": noise.SIGNIFICANT,
        "joint_log_odds": noise.JOINT_LOG_ODDS,
        "smallest_contrast": noise.SMALLEST_CONTRAST,
        "absent_below_probability": noise.ABSENT,
        "subtraction_noise_flat": round(apart.flat_noise, 4),
        "subtraction_noise_per_gradient": round(apart.edge_noise, 4),
        "text": noise.TEXT,
    }


def _warnings(studies: Sequence[Study], registrations: Sequence[Registration], space: CommonSpace) -> list[str]:
    out = [
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
    if max(thick) > SLICE_RATIO * min(thick):
        text = (
            f"The slices differ in thickness ({min(thick):.1f} to {max(thick):.1f} mm): the thinner ones were blurred "
            "for the subtraction, and small lesions seen in them alone may be older."
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
    dates = [s.date for s in studies if s.date]
    if dates != sorted(dates):
        text = "The studies are not in the order of their dates: new and resolved may be the wrong way round."
        out.append(CaseWarning(text, "dates-out-of-order"))
    return list(dict.fromkeys(out))


def _study_entry(study: Study) -> dict[str, Any]:
    voxels = np.bincount(study.labels.ravel(), minlength=max(c.value for c in CLASSES) + 1)
    volumes = {c: float(voxels[c.value]) * study.volume.voxel_mm3 / 1000 for c in CLASSES}
    known = [c for c in CLASSES if study.card is None or c.value in study.card.classes]
    return {
        "case": study.name,
        "input": study.source,
        FINGERPRINT: study.input_sha256 or fingerprint(study.volume),
        "date": study.date,
        "volumes_ml": {c.id: round(ml, 4) if c in known else None for c, ml in volumes.items()},
        "lesion_count": lesion_components(study.labels)[1],
        "lesions_added": study.added,
        "labels": "given" if study.given else "model",
        "spacing_mm": [round(s, 4) for s in study.volume.spacing],
        **read_entries(study.volume),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
