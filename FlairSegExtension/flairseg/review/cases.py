"""The archive of judged cases: each save is a new version in its own folder, whole or not at all, never changed again.

``<case>/v<NNN>/{flair.nii.gz or flair.json, labels.nii.gz, verdict.json}``: the raw material of local adaptation and of
audit. A version is written under a temporary name, read back, compared, synced to the disk, and renamed into place; two
writers at once get two numbers.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlairSegError, GridMismatchError, OutputError
from ..files.atomic import output_error, sync
from ..files.hashing import file_sha256
from ..files.nifti import write_nifti
from ..files.safe_names import folder_name, marked, same_on_some_disk
from ..files.shielding import shielded
from ..files.staging import Staging, remove_abandoned
from ..image.volume import Volume
from ..io.label_maps import read_label_map
from ..io.label_meanings import OWN
from ..io.raw_labels import labels_description
from ..labels import BACKGROUND, CLASS_BY_VALUE
from .errors import CaseNotFoundError, DamagedCaseError, InvalidVerdictError
from .events import utc_now
from .verdict import (
    ACCEPTED,
    ACCEPTED_AFTER_EDITS,
    PENDING,
    REJECTED,
    Verdict,
    from_json,
    schema_fault,
    to_json,
)
from .version_folder import (
    FLAIR,
    FLAIR_REFERENCE,
    LABELS,
    VERDICT,
    check_read_back,
    flair_file,
    problems_in,
    read_image,
    read_verdict,
    storable,
    version_name,
    versions_in,
    write_json,
)

__all__ = [
    "ACCEPTED",
    "ACCEPTED_AFTER_EDITS",
    "PENDING",
    "REJECTED",
    "CaseArchive",
    "LoadedCase",
    "SavedCase",
    "Verdict",
]


@dataclass(frozen=True)
class SavedCase:
    """One version of a case in the archive.

    Attributes
    ----------
    case : str
        Original name.
    version : int
        From 1.
    path : Path
        Its folder.
    """

    case: str
    version: int
    path: Path


@dataclass(frozen=True)
class LoadedCase:
    """Content of one version.

    Attributes
    ----------
    saved : SavedCase
        Its location.
    verdict : Verdict
        The decision.
    labels : ndarray of uint8, shape (K, J, I)
        Classes 0..3.
    flair : Volume
        The image, float32, on the same grid.
    """

    saved: SavedCase
    verdict: Verdict
    labels: np.ndarray
    flair: Volume


class CaseArchive:
    """Versions of judged cases in one folder.

    Parameters
    ----------
    folder : str or Path
        Created with the first case.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def save(self, case: str, labels: np.ndarray, flair: Volume | str | Path, verdict: Verdict) -> SavedCase:
        """Keep a case as a new version.

        Parameters
        ----------
        case : str
            Its name or pseudonym; anything but empty.
        labels : ndarray, shape (K, J, I)
            Classes 0..3, on the grid of the FLAIR.
        flair : Volume, str or Path
            The image: a volume is kept as ``flair.nii.gz`` (once, if versions share it); the path of a file is kept as
            a reference in ``flair.json``, with its sha256.
        verdict : Verdict
            The decision.

        Returns
        -------
        SavedCase
            Once this returns, the version is whole and on the disk.

        Raises
        ------
        InvalidVerdictError
            If the verdict is not valid, or the labels are not classes on the image's grid.
        OutputError
            If it cannot be written; nothing is left behind then, and earlier versions are as they were.
        FlairSegError
            If the path of ``flair`` cannot be read.
        """
        verdict = verdict.checked()
        volume = flair if isinstance(flair, Volume) else _read_reference(Path(flair))
        labels = _checked_labels(labels, volume)
        try:
            folder = self._folder_for(case)
            with _temporary_folder(folder) as temporary:
                write_nifti(temporary / LABELS, labels, volume, description=labels_description(labels))
                check_read_back(temporary / LABELS, volume.with_array(labels))
                hashes = {LABELS: file_sha256(temporary / LABELS)}
                if isinstance(flair, Volume):
                    hashes[FLAIR] = self._keep_flair(temporary, volume, folder)
                else:
                    hashes[FLAIR] = file_sha256(Path(flair))
                    self._refer(temporary, Path(flair), hashes[FLAIR])
                if (temporary / FLAIR_REFERENCE).exists():
                    hashes[FLAIR_REFERENCE] = file_sha256(temporary / FLAIR_REFERENCE)
                for name in hashes:
                    if (temporary / name).exists():
                        sync(temporary / name)
                return self._put_in_place(temporary, folder, case, verdict, hashes)
        except OSError as error:
            raise _archive_error(self.folder, error) from error

    def cases(self) -> list[str]:
        """Original names of all cases, sorted."""
        return sorted(name for folder in self._case_folders() if (name := _name_in(folder)) is not None)

    def versions(self, case: str) -> list[int]:
        """Numbers of the versions of a case, ascending; empty if there is none."""
        folder = self._existing_folder(case)
        return [] if folder is None else versions_in(folder)

    def path(self, case: str, version: int | None = None) -> Path:
        """Folder of a version (default: the newest).

        Raises
        ------
        CaseNotFoundError
            If there is no such case or version.
        """
        folder, versions = self._existing_folder(case), self.versions(case)
        wanted = version if version is not None else max(versions, default=0)
        if folder is None or wanted not in versions:
            which = f"version {version} of " if version is not None else ""
            raise CaseNotFoundError(f"The archive has no {which}{case}.", "Check the name and the folder of cases.")
        return folder / version_name(wanted)

    def load(self, case: str, version: int | None = None) -> LoadedCase:
        """Return the content of a version (default: the newest) after verifying its hashes.

        Raises
        ------
        CaseNotFoundError
            If there is no such case or version.
        DamagedCaseError
            If a file is missing, cannot be read, or is not what it was when it was saved.
        """
        path = self.path(case, version)
        content = read_verdict(path)
        for problem in problems_in(path, content["hashes"]):
            raise DamagedCaseError(f"{path.name} of {case}: {problem}.", "Restore the file from a backup.")
        flair = read_image(flair_file(path))
        try:
            labels = read_label_map(path / LABELS, flair.geometry, OWN).labels
        except GridMismatchError as error:
            raise DamagedCaseError(
                f"{path.name} of {case}: labels and FLAIR have different grids.", "Restore the files from a backup."
            ) from error
        except FlairSegError as error:
            raise DamagedCaseError(
                f"{path.name} of {case}: {error.message}", "Restore the file from a backup."
            ) from error
        return LoadedCase(
            SavedCase(content["case"], int(content["version"]), path),
            from_json(content),
            labels,
            replace(flair, array=flair.array.astype(np.float32), name=case),
        )

    def verdicts(self) -> Iterator[tuple[SavedCase, dict[str, Any]]]:
        """Every version with the content of its ``verdict.json``, case by case, oldest first; no image is read.

        Raises
        ------
        DamagedCaseError
            If a ``verdict.json`` cannot be read.
        """
        for folder in self._case_folders():
            for number in versions_in(folder):
                path = folder / version_name(number)
                content = read_verdict(path)
                yield SavedCase(content["case"], number, path), content

    def verdict_content(self, case: str, version: int | None = None) -> dict[str, Any]:
        """``verdict.json`` of a version (default: the newest); no image is read.

        Raises
        ------
        CaseNotFoundError
            If there is no such case or version.
        DamagedCaseError
            If it cannot be read.
        """
        return read_verdict(self.path(case, version))

    def problems(self, case: str, version: int | None = None) -> list[str]:
        """Describe faults of a version's files: which are missing, which were changed; empty if none."""
        path = self.path(case, version)
        try:
            return problems_in(path, read_verdict(path)["hashes"])
        except DamagedCaseError as error:
            return [error.message]

    # --- folders

    def _case_folders(self) -> list[Path]:
        try:
            return sorted(p for p in self.folder.iterdir() if not p.name.startswith(".") and versions_in(p))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(
                f"The folder of cases {self.folder} cannot be read: {error.strerror or error}.",
                "Check the folder of cases in the settings.",
            ) from error

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _existing_folder(self, case: str) -> Path | None:
        names = self._names()
        name = _name_for(case, names)
        return self.folder / name if name in names else None

    def _folder_for(self, case: str) -> Path:
        """Folder of a case, made if need be; cases that a file system would take for one get one each."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            name = _name_for(case, self._names())
            try:
                (self.folder / name).mkdir()
            except FileExistsError:
                # Another writer may have made the same case, or on some disks one that looks like it.
                if name in self._names():
                    return self.folder / name
                continue
            sync(self.folder)
            return self.folder / name

    # --- files

    def _keep_flair(self, temporary: Path, volume: Volume, folder: Path) -> str:
        """Write the image, or refer to an earlier version that holds the very same one; its sha256."""
        stored = storable(volume)
        write_nifti(temporary / FLAIR, stored.array, stored, stored.array.dtype.type)
        check_read_back(temporary / FLAIR, stored)
        digest = file_sha256(temporary / FLAIR)
        for number in reversed(versions_in(folder)):
            earlier = folder / version_name(number) / FLAIR
            if earlier.is_file() and earlier.stat().st_size == (temporary / FLAIR).stat().st_size:
                if file_sha256(earlier) != digest:
                    continue
                (temporary / FLAIR).unlink()
                content = {"file": f"../{version_name(number)}/{FLAIR}", "sha256": digest}
                write_json(temporary / FLAIR_REFERENCE, content)
                break
        return digest

    def _refer(self, temporary: Path, path: Path, digest: str) -> None:
        content = {"file": Path(os.path.abspath(path)).as_posix(), "sha256": digest}
        write_json(temporary / FLAIR_REFERENCE, content)

    def _put_in_place(
        self, temporary: Path, folder: Path, case: str, verdict: Verdict, hashes: dict[str, str]
    ) -> SavedCase:
        """Give the finished folder the next free number."""
        while True:
            existing = versions_in(folder)
            number = max(existing, default=0) + 1
            parent = verdict.parent_version or max(existing, default=None)
            numbered = replace(verdict, parent_version=parent)
            content = to_json(numbered, case, number, utc_now(), hashes)
            fault = schema_fault(content)
            if fault is not None:
                raise InvalidVerdictError(
                    f"The verdict is not valid: {fault}.", "This is a program error; please report it."
                )
            write_json(temporary / VERDICT, content)
            sync(temporary / VERDICT)
            sync(temporary)
            target = folder / version_name(number)
            with shielded():
                try:
                    os.rename(temporary, target)
                except OSError as error:
                    taken = error.errno in (errno.EEXIST, errno.ENOTEMPTY) or target.exists()
                    if not taken:
                        raise
                    continue
                sync(folder)
            return SavedCase(case, number, target)


# --- names


def _name_for(case: str, existing: list[str]) -> str:
    """Folder name of a case among those that exist."""
    try:
        name = folder_name(case)
    except ValueError as error:
        raise InvalidVerdictError("A case needs a name.", "Name the case, or the volume it comes from.") from error
    # Some disks hand names back in another Unicode form than the one they were given.
    spelled = {unicodedata.normalize("NFC", other): other for other in existing}
    for own in (marked(name, case), name):
        if own in spelled:
            return spelled[own]
    others = any(same_on_some_disk(other, name) for other in existing)
    return marked(name, case) if others else name


def _name_in(folder: Path) -> str | None:
    """Original name of the case that a folder holds; None if no verdict there can be read."""
    for number in reversed(versions_in(folder)):
        try:
            return str(read_verdict(folder / version_name(number))["case"])
        except DamagedCaseError:
            continue
    return None


# --- content


def _checked_labels(labels: np.ndarray, volume: Volume) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != volume.array.shape:
        raise InvalidVerdictError(
            f"The labels have the shape {labels.shape}, the FLAIR {volume.array.shape}.",
            "Resample the labels to the grid of the FLAIR first.",
        )
    classes = (BACKGROUND, *CLASS_BY_VALUE)
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.uint8)
    if not np.array_equal(whole, labels) or whole.max() > max(classes):
        raise InvalidVerdictError(
            "The labels contain values that are not classes.", f"Use {', '.join(map(str, classes))} only."
        )
    return whole


def _read_reference(path: Path) -> Volume:
    from ..io.reader import read_volume

    if path.is_dir():
        raise InvalidVerdictError(
            "A folder of DICOM files cannot be referenced.", "Pass the volume itself, so that it is stored."
        )
    return read_volume(path)


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, gone again unless it was renamed; so is the case's folder if it was made for nothing."""
    remove_abandoned(folder)
    with shielded():
        staging = _made(folder)
        # Others who may read the archive may read the version as well.
        staging.content.chmod(folder.stat().st_mode & 0o777)
    try:
        yield staging.content
    finally:
        with shielded():
            staging.remove()
            # Where it is not empty, it holds versions, or another writer's work.
            with suppress(OSError):
                folder.rmdir()


def _made(folder: Path) -> Staging:
    """A temporary folder, also when another writer takes the still empty case folder away in between."""
    for _ in range(100):
        folder.mkdir(exist_ok=True)
        try:
            return Staging(folder)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(errno.ENOENT, "the folder of the case keeps disappearing")


def _archive_error(folder: Path, error: OSError) -> OutputError:
    typed = output_error(folder, error)
    advice = "Choose another folder of cases in the settings."
    return OutputError(typed.message, advice, code=f"archive-{typed.code}", path=folder)
