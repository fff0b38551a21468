"""Records a verdict: the case in the archive, the event in the outbox and, when it can be reached, in the store.

The one class that both Slicer modules call. It works without SQLAlchemy: the event waits in the outbox then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FlairSegError
from ..files.safe_names import folder_name
from .cases import CaseArchive, SavedCase
from .outbox import Outbox, Receipt
from .verdict import Verdict

if TYPE_CHECKING:
    from ..image.volume import Volume
    from .store import ReviewStore

#: Kind of the event that a saved verdict makes.
VERDICT_RECORDED = "case.verdict_recorded"
#: Default store of verdicts: beside the cases. Names with a dot are not cases.
DEFAULT_STORE = ".review/review.sqlite"
DEFAULT_OUTBOX = ".review/outbox"
#: A click waits for the store no longer than this, seconds; the event is safe in the outbox already.
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Recorded:
    """Result of recording a verdict.

    Attributes
    ----------
    saved : SavedCase
        The new version in the archive.
    delivered : bool
        Whether the store has the event already; else it waits in the outbox.
    problem : FlairSegError, optional
        Why it is pending.
    """

    saved: SavedCase
    delivered: bool
    problem: FlairSegError | None = None


class VerdictRecorder:
    """Saves verdicts.

    Parameters
    ----------
    archive : CaseArchive
        Archive of images, labels and verdicts.
    outbox : Outbox
        Destination of the events.
    """

    def __init__(self, archive: CaseArchive, outbox: Outbox) -> None:
        self.archive = archive
        self.outbox = outbox

    def record(self, case: str, labels: np.ndarray, flair: Volume | str | Path, verdict: Verdict) -> Recorded:
        """Save a case with its verdict; parameters and errors as for :meth:`CaseArchive.save`.

        If the event cannot even be put into the outbox, the case is saved nevertheless, and :meth:`reconcile` makes
        up for the event.
        """
        saved = self.archive.save(case, labels, flair, verdict)
        try:
            receipt = self._record(saved)
        except FlairSegError as error:
            return Recorded(saved, False, error)
        return Recorded(saved, receipt.delivered, receipt.problem)

    def reconcile(self) -> int:
        """Record the verdicts of versions whose event never came about (killed in between); how many those were.

        Call it once at the start, away from the user's clicks.
        """
        known = {event.event_id for event in self.outbox.recorded()}
        missing = [saved for saved, content in self.archive.verdicts() if content["event_id"] not in known]
        for saved in missing:
            self._record(saved)
        return len(missing)

    def close(self) -> None:
        """Close the outbox and its store."""
        self.outbox.close()

    def _record(self, saved: SavedCase) -> Receipt:
        content = self.archive.verdict_content(saved.case, saved.version)
        return self.outbox.record(
            verdict_stream(content["case"]),
            VERDICT_RECORDED,
            content,
            content["event_id"],
            content["times"]["saved_at"],
        )


def verdict_stream(case: str) -> str:
    """Stream of the events of one case."""
    return f"case/{folder_name(case)}"


def open_recorder(cases_folder: str | Path, store_address: str | Path | None = None) -> VerdictRecorder:
    """A recorder for a folder of cases.

    Parameters
    ----------
    cases_folder : str or Path
        From the settings.
    store_address : str or Path, optional
        Path of an SQLite file or ``postgresql://...``; default: a file beside the cases.

    Raises
    ------
    OutboxError
        If the folder cannot be written to.
    """
    folder = Path(cases_folder)
    address = store_address or folder / DEFAULT_STORE

    def open_store() -> ReviewStore:
        from .store import ReviewStore

        return ReviewStore(address, patience_s=PATIENCE_S)

    return VerdictRecorder(CaseArchive(folder), Outbox(folder / DEFAULT_OUTBOX, open_store))
