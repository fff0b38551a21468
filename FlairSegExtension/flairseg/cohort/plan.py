"""Plan of a run: sessions to segment and why, done, failed before, and without a FLAIR."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..privacy.pseudonyms import Pseudonymiser
from . import case_files
from .case import keyed
from .inputs import stamp
from .layout import Layout
from .model import DONE, NO_FLAIR, Session, SessionRow
from .options import CaseOptions

#: Seconds of one core for a session before any was measured: the default model on 20 slices of 256 x 256, regions too.
SECONDS_A_SESSION = 40.0
#: Seconds of one core for a comparison before any was measured: two sessions of 30 slices of 512 x 512.
SECONDS_A_COMPARISON = 30.0
#: Reasons for segmenting a session.
NEW, CHANGED_INPUT, CHANGED_OPTIONS, FILES_GONE, RETRY = (
    "new", "input changed", "options changed", "files gone", "tried again",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The sessions of a source by what is to be done, each by its case as it is shown.

    Attributes
    ----------
    shown : dict of str to Session
        All sessions.
    todo : dict of str to str
        To be segmented, and why.
    done : frozenset of str
        Results are there and current.
    failed : frozenset of str
        Failed before with the same input and options.
    without : tuple of str
        Have no FLAIR.
    gone : tuple of str
        Have results, and are in the source no more.
    comparisons : int
        Of two sessions of a subject: to be made, once the sessions have results.
    seconds_each : float
        Time of one session on one worker.
    measured : bool
        Whether that was measured on this cohort.
    seconds_comparison : float
        Time of one comparison on one worker.
    """

    shown: Mapping[str, Session]
    todo: Mapping[str, str] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    without: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    comparisons: int = 0
    seconds_each: float = SECONDS_A_SESSION
    measured: bool = False
    seconds_comparison: float = SECONDS_A_COMPARISON

    def state(self, case: str) -> str:
        """Why a session is to be segmented, or why not."""
        for known, text in ((self.done, "done"), (self.failed, "failed before"), (self.without, "no FLAIR")):
            if case in known:
                return text
        return self.todo.get(case, "")

    def seconds(self, workers: int) -> float:
        """Wall-clock seconds that segmenting and comparing will take."""
        work = ((len(self.todo), self.seconds_each), (self.comparisons, self.seconds_comparison))
        return sum(-(-count // max(1, workers)) * each for count, each in work)

    def to_dict(self, workers: int) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "sessions": len(self.shown),
            "todo": len(self.todo),
            "done": len(self.done),
            "failed_before": len(self.failed),
            "no_flair": len(self.without),
            "gone": len(self.gone),
            "comparisons": self.comparisons,
            "seconds_each": round(self.seconds_each, 1),
            "seconds_measured": self.measured,
            "workers": workers,
            "expected_seconds": round(self.seconds(workers), 1),
        }


def make_plan(
    layout: Layout,
    shown: Mapping[str, Session],
    sessions: Mapping[str, Session],
    rows: Mapping[str, SessionRow],
    options: CaseOptions,
    retry_failed: bool = False,
    pseudonymiser: Pseudonymiser | None = None,
) -> Plan:
    """Compare the sessions of a source with the rows that are there.

    Parameters
    ----------
    layout : Layout
    shown, sessions : dict of str to Session
        By case: as they may be written, and where their images are.
    rows : dict of str to SessionRow
    options : CaseOptions
    retry_failed : bool
        Try again what failed with the same input and options.
    pseudonymiser : Pseudonymiser or None
    """
    todo: dict[str, str] = {}
    done, failed, without = [], [], []
    for case, session in sessions.items():
        if not session.has_flair:
            without.append(case)
            continue
        row = rows.get(case)
        reason = _reason(layout, row, session, options, retry_failed, pseudonymiser)
        if reason:
            todo[case] = reason
        elif row is not None and row.status == DONE:
            done.append(case)
        else:
            failed.append(case)
    gone = tuple(case for case, row in rows.items() if case not in shown and row.status == DONE)
    spent = [row.seconds["total"] for row in rows.values() if row.seconds.get("total")]
    each = statistics.median(spent) if spent else SECONDS_A_SESSION
    return Plan(shown, todo, frozenset(done), frozenset(failed), tuple(without), gone, 0, each, bool(spent))


def _reason(
    layout: Layout,
    row: SessionRow | None,
    session: Session,
    options: CaseOptions,
    retry_failed: bool,
    pseudonymiser: Pseudonymiser | None,
) -> str:
    """Why a session is to be segmented; empty: it need not."""
    if row is None or row.status == NO_FLAIR:
        return NEW
    if row.options_sha256 != options.sha256:
        return CHANGED_OPTIONS
    if row.file_stamp != keyed(stamp(session), pseudonymiser):
        # Whether the content changed is found out by its hash, where the work is done.
        return CHANGED_INPUT
    if row.status != DONE:
        return RETRY if retry_failed else ""
    return "" if case_files.are_there(layout, row) else FILES_GONE
