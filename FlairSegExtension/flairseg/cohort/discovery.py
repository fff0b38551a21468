"""Content of a source: its kind, its sessions, the FLAIR of each and why, and sessions without one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputNotFoundError, UnreadableImageError
from .bids_labels import distinct
from .bids_source import bids_sessions, is_bids
from .dicom_source import dicom_sessions, holds_dicom
from .folder_source import folder_sessions
from .model import BIDS, DICOM, FOLDERS, SOURCE_KINDS, TABLE, Session
from .table_source import join_covariates, read_rows, table_sessions

#: Endings of tables and lists.
_TABLES = (".csv", ".tsv", ".txt", ".lst")


@dataclass(frozen=True)
class Source:
    """A source that was searched.

    Attributes
    ----------
    path : Path
    kind : str
        One of :data:`flairseg.cohort.model.SOURCE_KINDS`.
    sessions : tuple of Session
        By subject and date; labels are distinct. Those without a FLAIR have no path.
    """

    path: Path
    kind: str
    sessions: tuple[Session, ...]

    @property
    def with_flair(self) -> tuple[Session, ...]:
        """Sessions that can be segmented."""
        return tuple(s for s in self.sessions if s.has_flair)

    @property
    def subjects(self) -> int:
        """Number of subjects."""
        return len({s.subject for s in self.sessions})

    @property
    def followed(self) -> int:
        """Number of subjects with two sessions and more that can be segmented."""
        counts = Counter(s.subject for s in self.with_flair)
        return sum(n > 1 for n in counts.values())


def find_sessions(
    source: str | Path,
    covariates: str | Path | None = None,
    kind: str | None = None,
    exclude: str | Path | None = None,
) -> Source:
    """Search a source for sessions.

    Parameters
    ----------
    source : path
        A BIDS data set; a folder of folders; a CSV, TSV or list of files; a tree of DICOM studies; an export of
        Orthanc (archive, unpacked, or storage).
    covariates : path, optional
        Table with subject (and session) and any of site, age, group, sex, date, for sources that do not know them.
    kind : str, optional
        One of :data:`~flairseg.cohort.model.SOURCE_KINDS`; default: by what is there.
    step : callable, optional
        Called with the fraction of a DICOM tree that was read.
    exclude : path, optional
        A folder that is not looked into: where the results go.

    Returns
    -------
    Source

    Raises
    ------
    InputNotFoundError
        Code ``empty-source``: there is no session; also where the path does not exist.
    UnreadableImageError
        Code ``unreadable-table``; ``source-not-readable``: a folder that may not be read, or an archive that has to be
        unpacked first.
    """
    path = Path(source).absolute()
    if not path.exists():
        raise InputNotFoundError(f"There is no file or folder {path}.", "Check the path for typing errors.")
    chosen = kind or kind_of(path)
    if chosen == TABLE:
        sessions = table_sessions(path)
    elif chosen == BIDS:
        sessions = bids_sessions(path)
    elif chosen == FOLDERS:
        sessions = folder_sessions(path, None if exclude is None else Path(exclude).absolute())
    else:
        sessions = dicom_sessions(path)
    if not sessions:
        raise InputNotFoundError(
            f"{path} contains no session: neither images nor DICOM files were found.",
            "Give a BIDS data set, a folder of folders with images, a table of files or a tree of DICOM studies.",
            code="empty-source",
            path=str(path),
        )
    if covariates is not None:
        sessions = join_covariates(sessions, read_rows(Path(covariates)))
    kinds = {s.kind for s in sessions}
    return Source(path, kinds.pop() if len(kinds) == 1 else chosen, tuple(distinct(sessions)))


def kind_of(path: Path) -> str:
    """Determine the kind of source of a path.

    Raises
    ------
    UnreadableImageError
        Code ``source-not-readable``.
    """
    if path.is_file():
        if path.suffix.lower() in _TABLES:
            return TABLE
        advice = "Unpack the archive and give its folder." if path.suffix.lower() in (".zip", ".tar", ".gz") else ""
        raise UnreadableImageError(
            f"{path.name} is neither a folder nor a table.",
            advice or "Give a folder, or a table (.csv, .tsv) of files; a single image needs no cohort.",
            code="source-not-readable",
            path=str(path),
        )
    try:
        next(path.iterdir(), None)
    except OSError as error:
        raise UnreadableImageError(
            f"{path} cannot be read: {error.strerror or error}.",
            "Check the permissions of the folder.",
            code="source-not-readable",
            path=str(path),
        ) from error
    if is_bids(path):
        return BIDS
    return FOLDERS if _holds_images(path) or not holds_dicom(path) else DICOM


def _holds_images(path: Path) -> bool:
    """Whether image files are among the first files of the tree."""
    import os

    from ..files.names import IMAGE_ENDINGS

    looked = 0
    for _, folders, names in os.walk(path):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        if any(n.lower().endswith(IMAGE_ENDINGS) and not n.lower().endswith(".dcm") for n in names):
            return True
        looked += bool(names)
        if looked > 50:
            return False
    return False


__all__ = ["SOURCE_KINDS", "Source", "find_sessions", "kind_of"]
