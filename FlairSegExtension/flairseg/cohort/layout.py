"""Paths in the output folder of a cohort.

The folder is a BIDS derivative data set. Files outside BIDS (tables, pictures, summaries, the state of the run) are
listed in its ``.bidsignore``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .model import ChangeRow, Session

#: Of the BIDS derivatives; the entity ``desc`` is explained in ``descriptions.tsv``.
DSEG, LESION_MASK, PROBSEG = "dseg", "desc-lesion_mask", "probseg"
#: Begin of a case's files that are no BIDS derivatives, by what they are.
CASE_ENDINGS = {
    "summary": "_summary.json",
    "overview": "_overview.png",
    "key_slice": "_key.jpg",
    "lesions": "_lesions.csv",
}


class _Under:
    """A path below the output folder."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, layout: Layout, owner: type[Layout]) -> Path:
        return layout.root.joinpath(*self._parts)


@dataclass(frozen=True)
class Layout:
    """Paths below the output folder ``root``."""

    root: Path

    # Tables and pages over the whole cohort
    #: One row a session.
    table_csv = _Under("cohort.csv")
    #: The same, typed.
    table_parquet = _Under("cohort.parquet")
    #: One row a lesion.
    lesions_parquet = _Under("lesions.parquet")
    #: One row a comparison of two sessions.
    changes_csv = _Under("changes.csv")
    #: One row a session without a result: code, message, advice.
    failures_csv = _Under("failures.csv")
    #: The work list for FLAIR Review.
    queue_csv = _Under("queue.csv")
    #: The self-contained HTML page.
    page = _Under("cohort.html")
    #: The methods paragraph, Markdown.
    methods = _Under("methods.md")
    #: Options, versions and hashes of the last run.
    run_json = _Under("run.json")

    # State
    #: Everything needed to resume a run: rows, lock, job script.
    work = _Under("work")
    #: Held while a run writes into the folder.
    lock = _Under("work", "run.lock")

    def row(self, case: str) -> Path:
        """The row of a session; it is written last, so that who sees it sees all files of the case."""
        return self.work / "rows" / f"{case}.json"

    def begun(self, case: str) -> Path:
        """There while a session is worked on; longer by one byte for each time that it was begun and not ended."""
        return self.work / "begun" / case

    def change_row(self, name: str) -> Path:
        """The row of a comparison, see :attr:`flairseg.cohort.model.ChangeRow.name`."""
        return self.work / "changes" / f"{name}.json"

    # Files of a case
    def anat(self, session: Session) -> Path:
        """Folder of the BIDS derivatives of a session."""
        parts = [f"sub-{session.subject}", *([f"ses-{session.session}"] if session.session else []), "anat"]
        return self.root.joinpath(*parts)

    def derivative(self, session: Session, suffix: str, ending: str = ".nii.gz") -> Path:
        """A BIDS derivative of a session, ``suffix`` being :data:`DSEG`, :data:`LESION_MASK` and the like."""
        return self.anat(session) / f"{session.case}_{suffix}{ending}"

    def case_folder(self, case: str) -> Path:
        """Folder of a case's other files."""
        return self.root / "cases" / case

    def case_file(self, case: str, kind: str) -> Path:
        """One of :data:`CASE_ENDINGS`."""
        return self.case_folder(case) / f"{case}{CASE_ENDINGS[kind]}"

    def change_folder(self, change: ChangeRow) -> Path:
        """Folder of a comparison's files, named as by :func:`flairseg.longitudinal.writing.write_followup`."""
        return self.root / "changes" / change.name

    def relative(self, path: Path) -> str:
        """A path as rows keep it."""
        return path.relative_to(self.root).as_posix()
