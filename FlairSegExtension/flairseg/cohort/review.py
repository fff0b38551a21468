"""Review of a cohort by readers: a work list for FLAIR Review, a drafted reader study, verdicts in the table.

The work list begins with untrustworthy results and images beyond a threshold, then the most uncertain and the most
outlying sessions: priority = the larger of two ranks, that of the expected correction
(:mod:`flairseg.study.queue`) and that of the distance from the cohort's median.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlairSegError, InputNotFoundError
from ..files.atomic import write_whole
from ..labels import CLASS_BY_VALUE, VENTRICLES
from ..review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, CaseArchive
from ..study.drafting import StudyDesign, draft_of, write_draft
from .layout import Layout
from .model import DONE, Session, SessionRow
from .priority import robust_z
from .rows import rewrite_row
from .tables import csv_text

#: The arm of a drafted study.
ARM = "flairseg"
QUEUE_COLUMNS = (
    "case", "flair", "labels", "summary", "probabilities", "priority", "why", "state", "expected_correction_ml",
    "outlying_sd", "trusted", "below_bar",
)  # fmt: skip
_COMPARED: dict[str, Callable[[SessionRow], float | None]] = {
    "lesion volume": lambda row: row.lesion_ml,
    "number of lesions": lambda row: row.lesion_count,
    "volume of the ventricles": lambda row: row.volumes_ml.get(CLASS_BY_VALUE[VENTRICLES].id),
}


@dataclass(frozen=True)
class ReviewOptions:
    """Options for the review of a run.

    Attributes
    ----------
    queue : bool
        Write ``queue.csv``.
    archive : Path or None
        Archive of cases of FLAIR Review; its verdicts go into the rows.
    study : Path or None
        Protocol of a rating study to draft; an existing one is never replaced.
    study_cases : int
        Maximum number of sessions.
    raters : tuple of str
        Codes of its raters.
    seed : int
        Of the sample.
    """

    queue: bool = False
    archive: Path | None = None
    study: Path | None = None
    study_cases: int = 30
    raters: tuple[str, ...] = ("R1", "R2")
    seed: int = 1

    @property
    def any(self) -> bool:
        """Whether anything is wanted."""
        return self.queue or self.archive is not None or self.study is not None

    def check(self, pseudonyms: bool) -> None:
        """Raise an error before the run if the review would fail after it.

        Raises
        ------
        FlairSegError
            Codes ``review-needs-images`` (under pseudonyms no result names its image), ``study-exists``.
        """
        if pseudonyms and (self.queue or self.study is not None):
            raise FlairSegError(
                "Under pseudonyms the results name no image, so no work list or study can be made from them.",
                "Pseudonymise the images first and run the cohort on those.",
                code="review-needs-images",
            )
        if self.study is not None and self.study.exists():
            raise FlairSegError(
                f"{self.study} exists already.",
                "It was kept. Name another file.",
                code="study-exists",
                path=str(self.study),
            )


@dataclass(frozen=True)
class Reviewed:
    """Counts for the event ``review`` of a run.

    Attributes
    ----------
    queued : int or None
        Sessions in the work list.
    drafted : int or None
        Sessions in the drafted study.
    left_out : int
        Sessions with a result whose image no path alone names (a series among others in a DICOM folder).
    verdicts, outdated, damaged : int
        Verdicts in the table; on earlier results; unreadable ones.
    """

    queued: int | None = None
    drafted: int | None = None
    left_out: int = 0
    verdicts: int = 0
    outdated: int = 0
    damaged: int = 0


# --- verdicts


def read_verdicts(
    layout: Layout, rows: Mapping[str, SessionRow], archive: CaseArchive
) -> tuple[dict[str, SessionRow], Reviewed]:
    """Take the newest verdict on each session over into its row, on disk too.

    A verdict refers to the result at its time: one on another model's result, or from before the session was segmented
    again, is not used. Volumes stay the model's, also after a reader's edits.

    Parameters
    ----------
    layout : Layout
    rows : dict of str to SessionRow
    archive : CaseArchive

    Returns
    -------
    dict of str to SessionRow
        All rows, with ``verdict`` and ``reader``.
    Reviewed
        Counts of verdicts.

    Raises
    ------
    OutputError
        If the archive's folder cannot be read, or a row cannot be written.
    """
    out, counts = dict(rows), {"verdicts": 0, "outdated": 0, "damaged": 0}
    for case in archive.cases():
        row = rows.get(case)
        if row is None or row.status != DONE:
            continue
        try:
            judged = _Judged.from_json(archive.verdict_content(case))
            about = judged.is_about(row)
        except (FlairSegError, KeyError, TypeError, ValueError, AttributeError):
            counts["damaged"] += 1
            continue
        counts["verdicts" if about else "outdated"] += 1
        out[case] = (
            replace(row, verdict=judged.verdict, reader=judged.reader) if about else replace(row, verdict="", reader="")
        )
        if out[case] != row:
            rewrite_row(layout, out[case])
    return out, Reviewed(**counts)


@dataclass(frozen=True)
class _Judged:
    """A verdict, the model whose result it is on, and its time (ISO 8601)."""

    verdict: str
    reader: str
    model_sha256: str
    decided_at: str

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> _Judged:
        times, model = content["times"], content["model"]
        return cls(str(content["verdict"]), str(content["reader"]), model.get("sha256") or "", times["decided_at"])

    def is_about(self, row: SessionRow) -> bool:
        """Whether it is about the result that a row has."""
        made = row.model.get("sha256")
        if self.model_sha256 and made and self.model_sha256 != made:
            return False
        return not row.finished or _moment(self.decided_at) >= _moment(row.finished)


def _moment(text: str) -> datetime:
    # Python 3.10 does not read Z, and a fraction of any length.
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.replace(microsecond=0)


# --- the work list


@dataclass(frozen=True)
class Priority:
    """Position of a session in the work list.

    Attributes
    ----------
    value : float
        0 to 1 by rank; one more where the result or the image is in doubt.
    why : str
        In words.
    outlying_sd : float or None
        Largest distance from the cohort's median, in robust standard deviations; None: too few sessions.
    """

    value: float
    why: str
    outlying_sd: float | None = None


def priorities(rows: Iterable[SessionRow]) -> dict[str, Priority]:
    """The priority of each session with a result, by case.

    Notes
    -----
    Volumes and counts are compared as log(1 + x), whose distribution over patients is less skewed, by
    :func:`flairseg.cohort.priority.robust_z`.
    """
    done = [row for row in rows if row.status == DONE]
    distances = _distances(done)
    uncertain = _ranks([row.expected_correction_ml for row in done])
    outlying = _ranks([None if d is None else d[0] for d in distances])
    found = {}
    for row, distance, u, o in zip(done, distances, uncertain, outlying, strict=True):
        doubt = not row.trusted or bool(row.below_bar)
        parts = []
        if not row.trusted:
            parts.append("result not to be trusted")
        if row.below_bar:
            parts.append(f"image quality: {', '.join(row.below_bar)}")
        if row.expected_correction_ml is not None:
            parts.append(f"{row.expected_correction_ml:.2f} ml are expected to be corrected")
        if distance is not None:
            parts.append(f"{distance[1]} {distance[0]:.1f} SD from the median")
        value = float(doubt) + max(u, o) + 1e-3 * min(u, o)
        found[row.case] = Priority(round(value, 6), "; ".join(parts), None if distance is None else distance[0])
    return found


def _distances(rows: Sequence[SessionRow]) -> list[tuple[float, str] | None]:
    """Largest distance from the median over what is compared, and of what; None where nothing can be compared."""
    best: list[tuple[float, str] | None] = [None] * len(rows)
    for name, value_of in _COMPARED.items():
        values = [value_of(row) for row in rows]
        logs = np.array([math.nan if v is None else math.log1p(v) for v in values], float)
        for n, distance in enumerate(np.abs(robust_z(logs))):
            now = best[n]
            if math.isfinite(distance) and (now is None or distance > now[0]):
                best[n] = (round(float(distance), 3), name)
    return best


def _ranks(values: Sequence[float | None]) -> list[float]:
    """Rank of each value among the known ones, 1 for the largest; 0 where it is not known. Equal values rank alike."""
    known = sorted(v for v in values if v is not None)
    return [0.0 if v is None else float(np.searchsorted(known, v, side="right")) / len(known) for v in values]


def write_queue(layout: Layout, rows: Iterable[SessionRow], sessions: Mapping[str, Session]) -> tuple[int, int]:
    """Write ``queue.csv``, the list of cases that FLAIR Review and ``flairseg queue`` open.

    Sessions that a reader has accepted are left out.

    Parameters
    ----------
    layout : Layout
    rows : iterable of SessionRow
        With verdicts.
    sessions : dict of str to Session
        By case: where the images are.

    Returns
    -------
    int, int
        Sessions in the list; sessions whose image no path alone names.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    done = [row for row in rows if row.status == DONE]
    order, lines, left_out = priorities(done), [], 0
    for row in done:
        if row.verdict in (ACCEPTED, ACCEPTED_AFTER_EDITS):
            continue
        flair = _image(sessions.get(row.case))
        if flair is None:
            left_out += 1
            continue
        priority = order[row.case]
        files = {kind: _file(layout, row, name) for kind, name in _QUEUE_FILES.items()}
        lines.append(
            {
                "case": row.case, "flair": flair, **files, "priority": priority.value, "why": priority.why,
                "state": row.verdict or "open", "expected_correction_ml": row.expected_correction_ml,
                "outlying_sd": priority.outlying_sd, "trusted": row.trusted, "below_bar": " ".join(row.below_bar),
            }
        )  # fmt: skip
    lines.sort(key=lambda line: (line["state"] != "open", -order[str(line["case"])].value, line["case"]))
    write_whole(layout.queue_csv, csv_text(QUEUE_COLUMNS, lines))
    return len(lines), left_out


_QUEUE_FILES = {"labels": "dseg", "summary": "summary", "probabilities": "probabilities"}


def _file(layout: Layout, row: SessionRow, kind: str) -> str | None:
    # Relative, as the list is in the same folder: it can be moved together with the results.
    name = row.files.get(kind)
    return name if name and (layout.root / name).is_file() else None


def _image(session: Session | None) -> str | None:
    if session is None or not session.path or session.files:
        return None
    return session.path


# --- the rating study


def stratified_sample(rows: Iterable[SessionRow], count: int, seed: int) -> list[SessionRow]:
    """A sample of sessions by site, group and tertile of the lesion load, one session of a subject.

    Each stratum gets its share of ``count`` (largest remainders), and at least one session where ``count`` is enough
    for all strata.

    Parameters
    ----------
    rows : iterable of SessionRow
        Those without a result or without a lesion volume are left out.
    count : int
    seed : int

    Returns
    -------
    list of SessionRow
        By case; the same for the same rows and seed in any order.
    """
    usable = sorted((r for r in rows if r.status == DONE and r.lesion_ml is not None), key=lambda r: r.case)
    by_subject: dict[str, list[SessionRow]] = {}
    for row in usable:
        by_subject.setdefault(row.session.subject, []).append(row)
    one_each = [min(own, key=lambda row: _draw(seed, row.case)) for own in by_subject.values()]
    by_load = sorted(one_each, key=lambda row: (row.lesion_ml, row.case))
    strata: dict[tuple[str, str, int], list[SessionRow]] = {}
    for n, row in enumerate(by_load):
        strata.setdefault((row.session.site, row.session.group, 3 * n // len(by_load)), []).append(row)
    shares = _allocate({key: len(members) for key, members in strata.items()}, min(count, len(one_each)))
    chosen = []
    for key, members in strata.items():
        chosen += sorted(members, key=lambda row: _draw(seed, row.case))[: shares[key]]
    return sorted(chosen, key=lambda row: row.case)


def _draw(seed: int, case: str) -> str:
    """A session's random number: it depends on seed and case only, so that a larger cohort changes a sample little."""
    return hashlib.sha256(f"{seed} {case}".encode()).hexdigest()


def _allocate(sizes: Mapping[Any, int], count: int) -> dict[Any, int]:
    """Allocate the sample to strata: proportional to size, each at least one where possible."""
    total, floor = sum(sizes.values()), int(count >= len(sizes))
    exact = {key: count * size / total for key, size in sizes.items()}
    shares = {key: min(sizes[key], max(floor, int(exact[key]))) for key in sizes}
    while sum(shares.values()) != count:
        step = 1 if sum(shares.values()) < count else -1
        open_ones = [k for k in sizes if (shares[k] < sizes[k] if step > 0 else shares[k] > floor)]
        key = max(open_ones, key=lambda k: (step * (exact[k] - shares[k]), str(k)))
        shares[key] += step
    return shares


def draft_study(
    layout: Layout, rows: Iterable[SessionRow], sessions: Mapping[str, Session], options: ReviewOptions
) -> int:
    """Draft the protocol of a rating study of a stratified sample; to be looked through before it is locked.

    Parameters
    ----------
    layout : Layout
    rows : iterable of SessionRow
    sessions : dict of str to Session
        By case: where the images are.
    options : ReviewOptions
        ``study`` is given.

    Returns
    -------
    int
        Sessions in the study.

    Raises
    ------
    FlairSegError
        If no session can be shown, or the file exists or cannot be written.
    """
    if options.study is None:
        raise ValueError("no study is wanted")
    shown = [row for row in rows if row.files.get("dseg") and _image(sessions.get(row.case)) is not None]
    sample = stratified_sample(shown, options.study_cases, options.seed)
    if not sample:
        raise InputNotFoundError(
            "No session can be shown to raters: none has both a lesion mask and its own image.",
            "Check the list of failures.",
        )
    cases = []
    for row in sample:
        arm = {
            "id": ARM, "mask": (layout.root / row.files["dseg"]).as_posix(), "model": row.model.get("id", ""),
            "model_sha256": row.model.get("sha256", ""),
        }  # fmt: skip
        cases.append({"id": row.case, "flair": Path(sessions[row.case].path).as_posix(), "arms": [arm]})
    draft = draft_of(StudyDesign("cohort-study", options.raters), cases)
    write_draft(draft, options.study)
    return len(sample)


def review(
    layout: Layout, rows: Mapping[str, SessionRow], sessions: Mapping[str, Session], options: ReviewOptions
) -> tuple[dict[str, SessionRow], Reviewed]:
    """Verdicts into the rows, then the work list and the study, as wanted.

    Parameters
    ----------
    layout : Layout
    rows : dict of str to SessionRow
    sessions : dict of str to Session
        By case: where the images are.
    options : ReviewOptions

    Returns
    -------
    dict of str to SessionRow
    Reviewed

    Raises
    ------
    FlairSegError
        As for the parts.
    """
    done, found = dict(rows), Reviewed()
    if options.archive is not None:
        done, found = read_verdicts(layout, done, CaseArchive(options.archive))
    if options.queue:
        queued, left_out = write_queue(layout, done.values(), sessions)
        found = replace(found, queued=queued, left_out=left_out)
    if options.study is not None:
        found = replace(found, drafted=draft_study(layout, done.values(), sessions, options))
    return done, found
