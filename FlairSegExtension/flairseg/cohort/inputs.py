"""The input of a session: its files, whether they changed, and its voxels."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from ..errors import FlairSegError, UnreadableImageError
from ..image.volume import Volume
from ..io.images import read_image
from .model import Session

#: Errors of a slow or temporarily lost share; retried after so many seconds each.
_PASSING = frozenset(
    n for name in ("ESTALE", "ETIMEDOUT", "EIO", "EAGAIN", "ENETDOWN", "EHOSTDOWN") if (n := getattr(errno, name, None))
)
_WAITS_S = (1.0, 5.0)
_CHUNK = 1 << 20
Result = TypeVar("Result")


def input_files(session: Session) -> list[Path]:
    """The files of a session's image, in order: those of the series, all of its folder, or the one.

    Raises
    ------
    UnreadableImageError
        If they cannot be listed.
    """
    path = Path(session.path)
    if session.files:
        return [path / name for name in session.files]
    if not path.is_dir():
        return [path, *_data_file(path)]
    return sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)


def _data_file(path: Path) -> list[Path]:
    """The voxels of a header that has them in a second file."""
    if path.suffix.lower() != ".hdr":
        return []
    return [p for ending in (".img", ".img.gz") if (p := path.with_suffix(ending)).is_file()]


def stamp(session: Session) -> str:
    """Hash of names, sizes and times of the input's files: where it is the same, the content is taken for the same.

    Returns
    -------
    str
        Empty where a file is not there.
    """
    digest = hashlib.sha256()
    try:
        for path in input_files(session):
            stat = path.stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
    except OSError:
        return ""
    return digest.hexdigest()


def content_sha256(session: Session) -> str:
    """SHA-256 of the input's bytes, of several files one after another; waits as :func:`read_session` does.

    Raises
    ------
    UnreadableImageError
        If a file is not there or cannot be read.
    """
    return _waiting(lambda: _content_sha256(session))


def _content_sha256(session: Session) -> str:
    digest = hashlib.sha256()
    for path in input_files(session):
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise UnreadableImageError(
                f"{path.name} cannot be read: {error.strerror or error}.",
                "Check that the file is there and may be read.",
                code="input-not-readable",
                path=str(path),
            ) from error
    return digest.hexdigest()


def read_session(session: Session) -> Volume:
    """The FLAIR of a session; a share that is lost for a moment is waited for.

    Raises
    ------
    FlairSegError
        As for :func:`flairseg.read_volume` and :func:`flairseg.dicom.read_flair`.
    """
    return _waiting(lambda: _read(session))


def _waiting(read: Callable[[], Result]) -> Result:
    """Return the result of ``read``; retry after a delay if a share is temporarily unreachable."""
    for wait in _WAITS_S:
        try:
            return read()
        except FlairSegError as error:
            if getattr(error.__cause__, "errno", None) not in _PASSING:
                raise
        time.sleep(wait)
    return read()


def _read(session: Session) -> Volume:
    path = Path(session.path)
    if not path.is_dir() or find_spec("pydicom") is None:
        return read_image(path)
    from ..dicom import list_series
    from ..dicom.find import choose_flair
    from ..dicom.read import read_found

    series, scan = list_series(input_files(session) if session.files else path)
    if not series and not scan.damaged:
        # A folder with other images gets the advice that fits.
        return read_image(path)
    found = choose_flair(series, scan, path, session.series_uid or None, by_look=True)
    return read_found(found, session.case).volume
