"""One session from its image to its files and its row; the same in a worker of a cluster and in this process.

Only a session's name is sent: the worker knows the path of the image from :class:`Work`, so tasks, logs and dashboards
contain no paths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from ..anatomy.lesion_table import LesionRow, dissemination_of_rows, load_by_region, split_count
from ..errors import CaseWarning, FlairSegError, typed
from ..files.same_input import fingerprint
from ..files.summary_paths import absolute_source
from ..image.geometry import triple
from ..labels import CLASSES, LESION
from ..models.card import ModelCard, with_lesion_threshold
from ..models.in_use import InUse
from ..models.store import load_card, networks, pipeline_sha256
from ..privacy.pseudonyms import Pseudonymiser
from ..segmentation.inference import Generator, limit_cores, reserve_sessions
from ..segmentation.memory import limit_heap
from ..segmentation.pipeline import segment
from ..segmentation.pseudonymised import under_name
from ..segmentation.result import Segmentation
from ..segmentation.warning_codes import untrusted
from . import begun, case_files
from .inputs import content_sha256, input_files, read_session, stamp
from .layout import Layout
from .model import DONE, FAILED, QUARANTINED, Answer, Fatal, Grid, Session, SessionRow
from .options import CaseOptions
from .rows import drop_row, read_row, rewrite_row, write_row

#: Errors that every further session would meet too: the run stops.
FATAL = frozenset({"disk-full", "output-read-only", "output-no-folder", "output-path-too-long", "other-model"})
#: Deaths of processes after which a session is left alone.
MOST_DEATHS = 2


@dataclass(frozen=True)
class Work:
    """Configuration of a process that works on the sessions of a run; sent to each worker once.

    Attributes
    ----------
    layout : Layout
        As the workers see the output folder.
    options : CaseOptions
    sessions : dict of str to Session
        By case: where the image is.
    shown : dict of str to Session
        By case: what may be written of the session. The same, or its pseudonym.
    secret : bytes or None
        Of the pseudonyms.
    cores : int or None
        That one worker may use.
    mode : str
        ``in-process`` or ``workers``.
    raw : str
        The BIDS data set that results may link to; empty: none.
    """

    layout: Layout
    options: CaseOptions
    sessions: Mapping[str, Session]
    shown: Mapping[str, Session]
    secret: bytes | None = None
    cores: int | None = None
    mode: str = begun.IN_PROCESS
    raw: str = ""

    def pseudonymiser(self) -> Pseudonymiser | None:
        """A new one under the run's key, without names yet; None: no pseudonyms."""
        return None if self.secret is None else Pseudonymiser(self.secret)


_models: dict[str, ModelCard | InUse] = {}


def prepare(work: Work) -> ModelCard | InUse:
    """Make this process ready: its share of the cores, and the model's sessions open; twice is once.

    Returns
    -------
    ModelCard or InUse
        What segments a session: for :func:`flairseg.segment`.

    Raises
    ------
    FlairSegError
        Code ``other-model``: the model here is not the one of the run; also what loading a model raises.
    """
    options = work.options
    key = json.dumps(options.to_dict(), sort_keys=True)
    if key in _models:
        return _models[key]
    limit_heap()
    if work.cores is not None:
        limit_cores(work.cores)
        _limit_itk(work.cores)
    card = _same(options.model, options.model_sha256)
    if options.pipeline_sha256 not in ("", pipeline_sha256(card)):
        raise FlairSegError(
            f"The card of the model {card.id} on this computer is not the one the run was started with (its "
            "pipeline differs).",
            "Install the same version of the model on every computer of the cluster.",
            code="other-model",
        )
    members = networks(card) if card.members else (card,)
    reserve_sessions(len(members) + bool(options.parent))
    for member in members:
        Generator(member, options.device)
    card = with_lesion_threshold(card, options.threshold)
    _models[key] = card
    if options.parent:
        parent = with_lesion_threshold(_same(options.parent, options.parent_sha256), options.threshold)
        _models[key] = InUse(card, options.threshold, parent)
    return _models[key]


def _same(path: str, sha256: str) -> ModelCard:
    """A model of the run, as it is on this computer."""
    card = load_card(path)
    if card.sha256 != sha256:
        raise FlairSegError(
            f"The model {card.id} on this computer is not the one the run was started with (sha256 differs).",
            "Install the same version of the model on every computer of the cluster.",
            code="other-model",
        )
    return card


def _limit_itk(cores: int) -> None:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(cores)


@dataclass(frozen=True)
class _Made:
    """What a row was made of: a result of the same content and options is kept.

    Attributes
    ----------
    options_sha256 : str
    attempts : int
    file_stamp, file_sha256 : str
        Of the image, under the key where there are pseudonyms; empty until it was checked.
    """

    options_sha256: str
    attempts: int
    file_stamp: str = ""
    file_sha256: str = ""

    def onto(self, row: SessionRow) -> SessionRow:
        """A row with it."""
        return replace(row, **vars(self))


def work_on(case: str, work: Work) -> Answer:
    """Work on one session.

    Parameters
    ----------
    case : str
    work : Work

    Returns
    -------
    Answer
        ``row``, which is on disk by then, or ``fatal``.
    """
    shown = work.shown[case]
    try:
        deaths = begun.begin(work.layout, case, work.mode)
        lesions: list[LesionRow] | None = []
        if deaths >= MOST_DEATHS:
            row = _quarantined(shown, work, deaths)
        else:
            row, lesions = _attempt(case, work, deaths)
        # Under pseudonyms the moment of processing is left out, see :mod:`flairseg.privacy`.
        # A kept result was finished before: verdicts on it remain valid.
        row = replace(row, finished="" if work.secret is not None else row.finished or now())
        if lesions is None:
            rewrite_row(work.layout, row)
        else:
            write_row(work.layout, row, lesions)
        return Answer(row=row)
    except FlairSegError as error:
        return Answer(fatal=Fatal.of(error))
    finally:
        begun.end(work.layout, case)


def _attempt(case: str, work: Work, deaths: int) -> tuple[SessionRow, list[LesionRow] | None]:
    """The row of a session, and its lesions (None: those already written).

    An error of the session becomes its row; a fatal one is raised.
    """
    session, shown, pseudonymiser = work.sessions[case], work.shown[case], work.pseudonymiser()
    made = _Made(work.options.sha256, deaths + 1)
    try:
        model = prepare(work)
        learn_names(session, shown, pseudonymiser)
        made = replace(made, file_stamp=keyed(stamp(session), pseudonymiser))
        made = replace(made, file_sha256=keyed(content_sha256(session), pseudonymiser))
        before = read_row(work.layout, case)
        if before is not None and is_same_work(before, made) and case_files.are_there(work.layout, before):
            # Only the file's time changed.
            return replace(before, session=shown, file_stamp=made.file_stamp), None
        return _segmented(session, shown, model, work, pseudonymiser, made)
    except Exception as error:  # noqa: BLE001 - a defect in one session must not cost the others
        told = typed(error, *OUT_OF_MEMORY)
    if told.code in FATAL:
        raise told
    if pseudonymiser is not None:
        told = told.reworded(pseudonymiser.text)
    drop_row(work.layout, case)
    case_files.remove(work.layout, shown)
    return made.onto(failed_row(shown, told)), []


def is_same_work(row: SessionRow, made: _Made) -> bool:
    """Whether a row was made of the same content with the same options."""
    return (
        row.status == DONE
        and bool(row.file_sha256)
        and row.file_sha256 == made.file_sha256
        and row.options_sha256 == made.options_sha256
    )


def keyed(digest: str, pseudonymiser: Pseudonymiser | None) -> str:
    """A hash of the input, keyed under pseudonyms: it cannot be looked up from the image."""
    return digest if pseudonymiser is None or not digest else pseudonymiser.content_digest(digest)


def learn_names(session: Session, shown: Session, pseudonymiser: Pseudonymiser | None) -> None:
    """Let the pseudonymiser know what must not be in any message of this session."""
    from ..io.dicom_names import learn_headers

    if pseudonymiser is None:
        return
    from pathlib import Path

    from .pseudonyms import learn_session

    learn_session(session, shown, pseudonymiser)
    learn_headers(Path(session.path), pseudonymiser, input_files(session) if session.files else ())


#: Advice for a lack of memory.
OUT_OF_MEMORY = (
    "There is not enough memory for this image.",
    "Allow more memory for each worker, or resample the image to larger voxels.",
)


def failed_row(shown: Session, error: FlairSegError) -> SessionRow:
    """The row of a session without a result."""
    return SessionRow(shown, FAILED, error.code, error.message, error.advice, trusted=False)


def quarantined(deaths: int) -> FlairSegError:
    """The error of what ended its process too often."""
    return FlairSegError(
        f"The process that worked on this ended {deaths} times; it is skipped.",
        "Often a worker had too little memory for the image: allow more, then retry the failed sessions.",
        code="quarantined",
    )


def _quarantined(shown: Session, work: Work, deaths: int) -> SessionRow:
    pseudonymiser = work.pseudonymiser()
    made = _Made(work.options.sha256, deaths, keyed(stamp(work.sessions[shown.case]), pseudonymiser))
    row = made.onto(failed_row(shown, quarantined(deaths)))
    case_files.remove(work.layout, shown)
    return replace(row, status=QUARANTINED)


def now() -> str:
    """The present moment in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _segmented(
    session: Session,
    shown: Session,
    model: ModelCard | InUse,
    work: Work,
    pseudonymiser: Pseudonymiser | None,
    made: _Made,
) -> tuple[SessionRow, list[LesionRow]]:
    from .image_quality import measure

    volume = read_session(session)
    quality, doubts, below = measure(volume)
    result = segment(volume, model, work.options.device, regions=work.options.regions)
    result = replace(
        result,
        volume=replace(result.volume, name=shown.case),
        source=absolute_source(session.path),
        warnings=list(dict.fromkeys([*doubts, *result.warnings])),
        input_sha256=fingerprint(result.volume),
    )
    if pseudonymiser is not None:
        result = under_name(result, pseudonymiser, shown.case)
    drop_row(work.layout, shown.case)
    raw = os.path.relpath(session.path, work.raw).replace(os.sep, "/") if work.raw else ""
    files = case_files.write(work.layout, shown, result, work.options, raw)
    score = expected_correction_ml(result)
    row = replace(row_of(shown, result), quality=quality, below_bar=below, files=files, expected_correction_ml=score)
    return made.onto(row), result.lesion_rows()


def expected_correction_ml(result: Segmentation) -> float | None:
    """The score of the review queue; None where there are no probabilities."""
    from ..study.queue import expected_correction

    if result.probabilities is None:
        return None
    voxels = expected_correction(result.labels, result.probabilities[LESION])
    return round(voxels * result.volume.voxel_mm3 / 1000, 4)


def row_of(shown: Session, result: Segmentation) -> SessionRow:
    """The row of a session that was segmented."""
    volumes, lesions = result.known_volumes_ml(), result.lesion_rows()
    known = volumes[LESION] is not None
    located = result.regions is not None
    warnings = tuple(map(CaseWarning.of, result.warnings))
    card = result.card
    return SessionRow(
        shown,
        DONE,
        volumes_ml={c.id: None if (ml := volumes[c.value]) is None else round(ml, 4) for c in CLASSES},
        lesion_count=len(lesions) if known else None,
        lesion_parts=split_count(lesions) if known else None,
        regions=load_by_region(lesions) if located else {},
        largest_lesion_ml=max((round(row.volume_ml, 4) for row in lesions), default=None),
        regions_with_lesions=len(dissemination_of_rows(lesions).regions_with_lesions) if located else None,
        warnings=warnings,
        trusted=not untrusted(warnings),
        seconds=result.stage_seconds,
        model={"id": card.id, "version": card.version, "sha256": card.sha256},
        software=result.software,
        grid=Grid(result.labels.shape, triple(round(mm, 6) for mm in result.volume.spacing)),
        input_sha256=result.input_sha256,
    )
