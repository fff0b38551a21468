"""Where everything is in the output folder of a cohort.

The folder is a BIDS derivative data set. What BIDS has no place for (tables, pictures, summaries, the state of the run)
is listed in its ``.bidsignore``.
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


@dataclass(frozen=True)
class Layout:
    """Paths below the output folder ``root``."""

    root: Path

    # Tables and pages over the whole cohort
    @property
    def table_csv(self) -> Path:
        """One row a session."""
        return self.root / "cohort.csv"

    @property
    def table_parquet(self) -> Path:
        """The same, typed."""
        return self.root / "cohort.parquet"

    @property
    def lesions_parquet(self) -> Path:
        """One row a lesion."""
        return self.root / "lesions.parquet"

    @property
    def changes_csv(self) -> Path:
        """One row a comparison of two sessions."""
        return self.root / "changes.csv"

    @property
    def failures_csv(self) -> Path:
        """One row a session without a result: code, message, advice."""
        return self.root / "failures.csv"

    @property
    def queue_csv(self) -> Path:
        """The work list for FLAIR Review."""
        return self.root / "queue.csv"

    @property
    def page(self) -> Path:
        """The self-contained HTML page."""
        return self.root / "cohort.html"

    @property
    def methods(self) -> Path:
        """The methods paragraph, Markdown."""
        return self.root / "methods.md"

    @property
    def run_json(self) -> Path:
        """Options, versions and hashes of the last run."""
        return self.root / "run.json"

    # State
    @property
    def work(self) -> Path:
        """Everything that lets a run go on: rows, lock, job script."""
        return self.root / "work"

    @property
    def lock(self) -> Path:
        """Held while a run writes into the folder."""
        return self.work / "run.lock"

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
