"""All files or none: written under a temporary folder beside their place, then renamed; interrupts wait for the end.

Renaming within one folder is atomic for each file, so no program ever sees a half-written one.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OutputError
from .shielding import shielded
from .staging import TEMPORARY, Staging

_ANOTHER = "Choose another output folder."
#: Less free space than this after a failed write: the disk is full.
_FULL_BYTES = 1 << 16


@contextmanager
def all_or_none(folder: Path, names: Iterable[str], replace: Iterable[str] = (), newer: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write ``names`` into; put them in place when the block ends without an error.

    After any error or interrupt none of the files is there, existing files are unchanged, and folders made for
    them are gone again. What a killed process left there is removed at the next call (:mod:`.staging`).

    Parameters
    ----------
    folder : Path
        Destination of the files; created if necessary.
    names : iterable of str
        File names that the block writes.
    replace : iterable of str
        Files in ``folder`` that the new ones replace; those not among ``names`` are removed.
    newer : bool
        Replace also files that another process wrote while the block ran.

    Yields
    ------
    Path
        The temporary folder.

    Raises
    ------
    OutputError
        If anything cannot be written; code ``results-exist`` where another process wrote one of the files meanwhile.
    """
    names, replace = list(names), list(replace)
    created, staging, done = _make_folder(folder), None, False
    before = _states(folder, [*names, *replace])
    try:
        with shielded():
            staging = Staging(folder)
        temporary = staging.content
        yield temporary
        for name in names:
            sync(temporary / name)
        with shielded():
            if not newer:
                _refuse_newer(folder, before)
            _put_in_place(temporary, folder, names, replace)
            done = True
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        with shielded():
            if staging is not None:
                staging.remove()
            if not done:
                _remove_folders(created)


def _states(folder: Path, names: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Of each file its number and time of change; None where there is none."""
    found: dict[str, tuple[int, int] | None] = {}
    for name in names:
        try:
            state = os.lstat(folder / name)
        except OSError:
            found[name] = None
        else:
            found[name] = state.st_ino, state.st_mtime_ns
    return found


def _refuse_newer(folder: Path, before: Mapping[str, tuple[int, int] | None]) -> None:
    """Refuse to replace what another process, perhaps with another input, wrote since ``before`` was noted."""
    for name, now in _states(folder, before).items():
        if now is not None and now != before[name]:
            raise results_exist("Another process was writing the same results; they", folder / name)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write one file whole, replacing what is there: under a temporary name beside it, then renamed.

    Parameters
    ----------
    path : Path
        Its folder is created if need be.
    content : bytes or str
        Text is written as UTF-8, line ends as they are.

    Raises
    ------
    OutputError
        If it cannot be written; an existing file is unchanged.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for their owner alone.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise output_error(path.parent, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Take away what a process left in a folder that was killed while it wrote: temporary files and folders.

    Parameters
    ----------
    folder : Path
        Not being written to at the moment; need not exist.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            if not name.startswith(TEMPORARY):
                continue
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that new files of this process do not get; asking for it means to set it."""
    global _mask
    if _mask is None:
        _mask = os.umask(0o022)
        os.umask(_mask)
    return _mask


_mask: int | None = None


def sync(path: Path) -> None:
    """Flush a file (or a folder's list of files) to disk; ignored where folders cannot be flushed."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        # Windows opens no folders.
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
    finally:
        os.close(handle)


def results_exist(what: str, path: Path) -> OutputError:
    """The error for results that would be replaced without the user's request.

    Parameters
    ----------
    what : str
        Start of a sentence, as in ``Results of sub-01`` or ``A model``.
    path : Path
        One file that is there.
    """
    return OutputError(
        f"{what} {'exists' if what.startswith('A ') else 'exist'} already: {path}.",
        "Nothing was replaced. Allow replacing existing results, or choose another output folder.",
        code="results-exist",
        path=path,
    )


def unusable_name() -> OutputError:
    """The error for an output folder whose name is not UTF-8 text."""
    return OutputError("The name of the output folder is not UTF-8 text.", _ANOTHER, code="output-name-not-text")


def _read_only(folder: Path) -> OutputError:
    return OutputError(
        f"{folder} may not be written to.",
        "Choose another output folder, or ask for write permission.",
        code="output-read-only",
        path=folder,
    )


def check_folder(folder: Path) -> None:
    """Refuse, before any work is done, a folder that cannot be written to.

    Raises
    ------
    OutputError
        If the folder, or the nearest one above it that exists, is a file or may not be written to.
    """
    try:
        nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
        usable, writable = nearest.is_dir(), os.access(nearest, os.W_OK | os.X_OK)
    except OSError as error:
        raise output_error(folder, error) from error
    if not usable:
        raise OutputError(f"{nearest} is not a folder.", _ANOTHER, code="output-no-folder", path=nearest)
    if not writable:
        raise _read_only(nearest)


def output_error(folder: Path, error: OSError) -> OutputError:
    """The typed error, with advice, for an operating system's one."""
    number = error.errno
    # Libraries report that a file could not be written, not why.
    full = number == errno.EIO and _free_bytes(folder) < _FULL_BYTES
    if full or number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return OutputError(
            f"The disk of {folder} is full; nothing was written.",
            "Free some space, or choose an output folder on another disk.",
            code="disk-full",
            path=folder,
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _read_only(folder)
    if number in (errno.ENOTDIR, errno.EEXIST):
        return OutputError(f"{folder} is not a folder.", _ANOTHER, code="output-no-folder", path=folder)
    if number == errno.ENAMETOOLONG:
        return OutputError(
            f"The path of {folder} is too long.", "Choose a shorter path.", code="output-path-too-long", path=folder
        )
    return OutputError(
        f"The results cannot be written to {folder}: {error.strerror or error}.", "Check the disk and its free space."
    )


def _free_bytes(folder: Path) -> float:
    """Free space of the disk of a folder, or of the nearest one above it that exists; infinite where unknown."""
    for path in (folder, *folder.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(path).free
    return float("inf")


def _put_in_place(temporary: Path, folder: Path, names: list[str], replace: list[str]) -> None:
    """Rename the finished files to their places; if that fails half-way, bring back what was there."""
    old = [name for name in dict.fromkeys([*names, *replace]) if os.path.lexists(folder / name)]
    backup = temporary / "old"
    backup.mkdir()
    touched: list[str] = []
    try:
        for name in old:
            _keep_copy(folder / name, backup / name)
        for name in names:
            touched.append(name)
            os.replace(temporary / name, folder / name)
        for name in old:
            if name not in names:
                touched.append(name)
                (folder / name).unlink()
    except OSError:
        for name in touched:
            if name in old:
                os.replace(backup / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        raise
    sync(folder)


def _keep_copy(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(path, copy, follow_symlinks=False)


def _make_folder(folder: Path) -> list[Path]:
    """Create a folder; the ones that were not there before, outermost first."""
    missing: list[Path] = []
    try:
        for path in (folder, *folder.parents):
            if path.exists():
                break
            missing.insert(0, path)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_folders(missing)
        raise output_error(folder, error) from error
    return missing


def _remove_folders(created: list[Path]) -> None:
    """Remove folders that were created for results that were not written; filled ones stay."""
    for path in reversed(created):
        try:
            path.rmdir()
        except OSError:
            continue
