"""Follow-up of two or more studies of one patient: new, changed and resolved lesions, and ventricular volume.

Research use only - not a medical device. The steps: segment each study on its own grid, register, carry everything to
the half-way space, even out grey levels, match lesions, and call a change only what exceeds the noise floor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CaseWarning, FlairSegError, RegistrationError
from ..image.footing import footed
from ..image.volume import Volume
from ..labels import LESION
from ..models.in_use import Model, resolved
from ..models.scope import scope_of
from ..progress import CancelToken, ProgressCallback, Reporter
from ..segmentation.result import Segmentation
from ..segmentation.suitability import model_for_all
from . import rigid
from .comparing import compare_studies
from .grading import Cancel, grade, refuse_given
from .registration import Registration, prepare, register
from .result import FollowUp
from .space import CommonSpace, common_space
from .studies import Study, StudyInput, load_study, open_study

if TYPE_CHECKING:
    from ..anatomy import RegionMap

#: Share of the whole at which segmenting, registering and comparing end; writing takes the rest.
SHARES = {"segment": 0.55, "register": 0.75, "compare": 0.85, "regions": 0.95, "write": 1.0}
#: Share of the whole after which a follow-up that is graded is graded.
GRADE_FROM = 0.4


def follow(
    studies: Sequence[StudyInput | Volume | Segmentation | str | Path],
    model: Model = None,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    cancel: Cancel = None,
    regions: bool = False,
    self_grade: bool = False,
) -> FollowUp:
    """Compare two or more studies of one patient.

    Parameters
    ----------
    studies : sequence of StudyInput, Volume, Segmentation or path
        At least two, the earliest first; a :class:`.studies.StudyInput` where a study comes with labels (accepted or
        corrected versions) or with its date.
    model, device
        As for :func:`flairseg.segment`; used only for studies without labels. One model segments all of these: the
        parent of the model in use, where that was adapted to a site and one of them is unlike the site's scans.
    progress : callable, optional
        ``progress(fraction, stage)`` with the stages ``segment``, ``register``, ``compare``, ``regions``.
    cancel : CancelToken or callable, optional
    regions : bool
        Also find the region of each lesion (about a second more), see :func:`with_regions`.
    self_grade : bool
        Also inject lesions into the last study, and compare it with a re-positioned copy of itself
        (:func:`flairseg.longitudinal.grading.grade`); takes about three times as long. Stage ``grade``.

    Returns
    -------
    FollowUp

    Raises
    ------
    RegistrationError
        If the studies cannot be aligned (different patients, no brain).
    FlairSegError
        Errors of reading and segmenting, with the study's number in the message; ``Cancelled`` on cancel.
    """
    if len(studies) < 2:
        raise FlairSegError(
            "A follow-up needs at least two studies.", "Give two or more studies of one patient, the earliest first."
        )
    began = time.perf_counter()
    reporter = Reporter(progress, cancel)
    given = [study if isinstance(study, StudyInput) else StudyInput(study) for study in studies]
    share = {name: (GRADE_FROM if self_grade else 1.0) * end for name, end in SHARES.items()}
    with reporter.stage("segment", 0.0, share["segment"]):
        loaded = _load(given, model, device, reporter, cancel)
    if self_grade:
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
            out = replace(out, self_grade=grade(out, device, reporter.update, cancel))
    out.seconds.update(reporter.seconds)
    out.seconds["total"] = time.perf_counter() - began
    return out


def with_regions(result: FollowUp, found: RegionMap) -> FollowUp:
    """The same with the region of each lesion, by the anatomy of the last study.

    A lesion that the last study's labels do not have is judged by where it was, mapped to that study.

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
    """Find a study's regions in a separate thread in the meantime; stopped when the block is left early."""
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


def _load(given: Sequence[StudyInput], model: Model, device: str, reporter: Reporter, cancel: Cancel) -> list[Study]:
    loaded: list[Study] = []
    model, told, given = _one_model(given, model)
    for n, study in enumerate(given):

        def within(fraction: float, stage: str, n: int = n) -> None:
            reporter.update((n + fraction) / len(given))

        with _numbered(n):
            done = load_study(study, model, device, within, cancel)
        loaded.append(replace(done, warnings=(*told.get(n, ()), *done.warnings)))
        reporter.update((n + 1) / len(given))
    return loaded


def _one_model(
    given: Sequence[StudyInput], model: Model
) -> tuple[Model, dict[int, tuple[CaseWarning, ...]], Sequence[StudyInput]]:
    """One model for all studies that are to be segmented, warnings by study, and the studies with what was read."""
    unread = {
        n: one.image for n, one in enumerate(given) if one.labels is None and not isinstance(one.image, Segmentation)
    }
    card, in_use = resolved(model) if unread else (None, None)
    if card is None or in_use is None or scope_of(card) is None:
        return model, {}, given
    opened = list(given)
    volumes = []
    for n, image in unread.items():
        with _numbered(n):
            study = open_study(image)
            volumes.append(footed(study.volume))
        opened[n] = replace(given[n], image=study)
    chosen, told = model_for_all(volumes, in_use)
    return chosen, dict(zip(unread, told, strict=True)), opened


@contextmanager
def _numbered(n: int) -> Iterator[None]:
    """Say of an error which study it is about."""
    try:
        yield
    except FlairSegError as error:
        if type(error).__init__ is FlairSegError.__init__:
            error.message = f"Study {n + 1}: {error.message}"
        raise


def _register(studies: Sequence[Study], reporter: Reporter) -> tuple[CommonSpace, list[Registration], list[np.ndarray]]:
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
