"""The inputs of an analysis from a closed study: its tables, its design, and its protocol as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ...errors import UnreadableImageError, UnusableIntensitiesError
from ...io.reader import read_volume
from ...progress import CancelToken, ProgressCallback
from .. import checking
from ..key import SealedKey
from ..protocol import BLIND_FULL, BLIND_NONE, BLIND_SOURCE, Protocol
from ..ratings import Failure, tables
from ..room import Room
from ..study import Study
from .inputs import AnalysisInputs, StudyDescription
from .lesions import CaseFrame, brain_frame
from .report import analyse
from .results import ordinal
from .tidy import Exclusion
from .wording import counted

_BLINDING = {
    BLIND_FULL: "Raters saw a new code for every showing and neither patient, case nor source of a mask",
    BLIND_SOURCE: "Raters saw the case's code and not the source of a mask",
    BLIND_NONE: "Raters were not blinded to case and source of a mask",
}


def study_inputs(study: Study) -> AnalysisInputs:
    """Analysis inputs of a closed study; the records are checked first.

    Findings of the check do not stop the analysis; the report shows them.

    Raises
    ------
    StudyStateError
        While the study is open.
    TamperedError
        If protocol, key or images are not what was locked.
    """
    found, key = tables(study), study.key()
    findings = checking.check_study(study)
    expected = tuple(
        (entry.case, entry.arm, rater, entry.repeat)
        for rater, entries in key.entries.items()
        for entry in entries
        if not entry.training
    )
    frames, remarks = _frames(study, key, {mark.case for mark in found.marks if not mark.training})
    exclusions = tuple(Exclusion(f.case, f.reason) for f in found.failures if _is_exclusion(f))
    training = {entry.case for entries in key.entries.values() for entry in entries if entry.training}
    failures = tuple(_told(f) for f in found.failures if not _is_exclusion(f) and f.case not in training)
    description = describe(study.protocol, not findings, [*(str(finding) for finding in findings), *remarks])
    return AnalysisInputs(
        found.ratings, description, found.marks, found.corrections, exclusions, failures, expected, frames
    )


def analyse_study(
    study: Study,
    output: str | Path,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Read a closed study and write its report; parameters, result and errors as for :func:`~.report.analyse`.

    Raises
    ------
    StudyStateError
        While the study is open.
    TamperedError
        If protocol, key or images are not what was locked.
    """
    return analyse(study_inputs(study), output, progress, cancel, seed=seed, overwrite=overwrite)


def describe(protocol: Protocol, chain_verified: bool | None = None, remarks: Iterable[str] = ()) -> StudyDescription:
    """A protocol as text for a methods section."""
    from ..._version import __version__

    washout = []
    if protocol.washout.cases:
        others = counted(protocol.washout.cases, "showing")
        washout.append(f"at least {others} of other cases lay between two showings of the same mask")
    if protocol.washout.days:
        washout.append(f"at least {protocol.washout.days:g} days lay between two rounds of showings")
    display = protocol.display
    window = (
        f", window {display.window:g}, level {display.level:g}" if None not in (display.window, display.level) else ""
    )
    limit = f"; {protocol.time_limit_s:g} s at most for a showing" if protocol.time_limit_s else ""
    models: dict[str, str] = {}
    for case in protocol.cases:
        for arm in case.arms:
            models.setdefault(arm.id, arm.model or (f"reader {arm.reader}" if arm.reader else ""))
    experience = {r.id: f"{r.experience_years:g} years" for r in protocol.raters if r.experience_years is not None}
    return StudyDescription(
        title=protocol.title,
        study_id=f"{protocol.id}, version {protocol.version}",
        protocol_sha256=protocol.sha256,
        order_seed=", ".join(f"{rater.id}: {rater.seed}" for rater in protocol.raters),
        blinding=_BLINDING[protocol.blinding],
        layout=f"Masks were shown as {display.overlay} over the FLAIR, layout {display.layout}{window}{limit}",
        washout=" and ".join(washout).capitalize(),
        software=f"FlairSeg {__version__}",
        models=models,
        raters=experience,
        repeats=protocol.repeats,
        mirrored=protocol.mirror_repeats,
        threshold=None if protocol.acceptability is None else protocol.acceptability.threshold,
        chain_verified=chain_verified,
        remarks=tuple(remarks),
    )


def _is_exclusion(failure: Failure) -> bool:
    return bool(failure.case) and not failure.rater


def _told(failure: Failure) -> str:
    showing = f", {ordinal(failure.repeat)} showing" if failure.repeat is not None else ""
    return f"{failure.case}, {failure.arm}, rater {failure.rater}{showing}: {failure.reason or 'given up'}"


def _frames(study: Study, key: SealedKey, cases: set[str]) -> tuple[dict[str, CaseFrame], list[str]]:
    """Brain boxes of the cases with marks, from an unmirrored image of a reading room; and problems."""
    frames: dict[str, CaseFrame] = {}
    failed: list[str] = []
    for rater, entries in key.entries.items():
        wanted = {e.code: e.case for e in entries if e.mirror is None and e.case in cases and e.case not in frames}
        if not wanted:
            continue
        room = Room.open(study.room_folder(rater))
        for shown in room.showings:
            case = wanted.get(shown.code)
            if case is None or case in frames or case in failed:
                continue
            try:
                frames[case] = brain_frame(read_volume(room.image(shown)))
            except (UnreadableImageError, UnusableIntensitiesError):
                failed.append(case)
    if not failed:
        return frames, []
    return frames, [
        f"No brain was found in {counted(len(failed), 'image')}; those cases are placed roughly on the map."
    ]
