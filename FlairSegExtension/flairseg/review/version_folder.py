"""One version of a case: a folder with its image, labels and verdict; how each is written, read back and checked."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlairSegError
from ..files.hashing import file_sha256
from ..files.headers import placed_by_header
from ..files.nifti import read_header
from ..image.volume import Volume, volume_from_sitk
from .errors import DamagedCaseError

FLAIR, FLAIR_REFERENCE, LABELS, VERDICT = "flair.nii.gz", "flair.json", "labels.nii.gz", "verdict.json"

_VERSION = re.compile(r"v([0-9]{3,})")
#: Corners of what was read back may differ from what was written by this much, mm: float32 in the header.
_PLACEMENT_TOLERANCE_MM = 0.01


def version_name(number: int) -> str:
    """Folder name of a version: ``v001`` and on."""
    return f"v{number:03d}"


def versions_in(folder: Path) -> list[int]:
    """Finished versions; a folder without a verdict is none."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbers = [int(match[1]) for name in names if (match := _VERSION.fullmatch(name)) is not None]
    return sorted(n for n in numbers if (folder / version_name(n) / VERDICT).is_file())


def flair_file(version: Path) -> Path:
    """The image of a version's folder: its own file, or the one that ``flair.json`` refers to.

    Raises
    ------
    DamagedCaseError
        If there is neither.
    """
    own, reference = version / FLAIR, version / FLAIR_REFERENCE
    if own.is_file():
        return own
    try:
        named = json.loads(reference.read_text(encoding="utf-8"))["file"]
        path = Path(os.path.normpath(version / named))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCaseError(
            f"{version.parent.name}/{version.name} has neither {FLAIR} nor a readable {FLAIR_REFERENCE}.",
            "Restore the file from a backup.",
        ) from error
    if not path.is_file():
        raise DamagedCaseError(
            f"The image that {version.parent.name}/{version.name} refers to is missing.",
            f"Put the file back to {path}.",
        )
    return path


def storable(volume: Volume) -> Volume:
    """The volume in the smallest type that holds its voxels as they are (int16), else float32."""
    array = volume.array
    if array.dtype != np.int16:
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int16)
        array = whole if np.array_equal(whole, array) else array.astype(np.float32)
    return volume.with_array(array)


def check_read_back(path: Path, expected: Volume) -> None:
    """Read a file with another program than the one that wrote it; ``OSError`` if it is not what it should be."""
    try:
        found = read_image(path)
    except DamagedCaseError as error:
        raise OSError(errno.EIO, "what was written cannot be read back") from error
    # ITK reads other numbers where the file holds NaN or infinity.
    finite = np.isfinite(expected.array)
    same = found.array.shape == finite.shape and np.array_equal(found.array[finite], expected.array[finite])
    if not same or not found.geometry.matches(expected.geometry, _PLACEMENT_TOLERANCE_MM):
        raise OSError(errno.EIO, "what was written does not read back as it was")


def read_image(path: Path) -> Volume:
    """Read an image or label map of a version, voxels (K, J, I) in the file's own type.

    Raises
    ------
    DamagedCaseError
        If it is truncated or cannot be read.
    """
    import SimpleITK as sitk

    try:
        read_header(path)
        found = volume_from_sitk(sitk.ReadImage(str(path)), path.parent.name)
        return replace(found, ijk_to_ras=placed_by_header(path, found.ijk_to_ras).ijk_to_ras)
    except (FlairSegError, RuntimeError) as error:
        raise DamagedCaseError(f"{path.name} cannot be read.", "Restore the file from a backup.") from error


def read_verdict(version: Path) -> dict[str, Any]:
    """Content of ``verdict.json``.

    Raises
    ------
    DamagedCaseError
        If it cannot be read.
    """
    try:
        content = json.loads((version / VERDICT).read_text(encoding="utf-8"))
        if not isinstance(content["case"], str) or not isinstance(content["hashes"], dict):
            raise TypeError("case or hashes")
        out: dict[str, Any] = content
        return out
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCaseError(
            f"{version.parent.name}/{version.name}/{VERDICT} cannot be read.", "Restore the file from a backup."
        ) from error


def problems_in(version: Path, hashes: Mapping[str, str]) -> list[str]:
    """Files that are missing or no longer have the sha256 that ``verdict.json`` holds, as sentences."""
    found = []
    for name, expected in hashes.items():
        try:
            path = flair_file(version) if name == FLAIR else version / name
            if file_sha256(path) != expected:
                found.append(f"{name} is not what it was when it was saved")
        except DamagedCaseError as error:
            found.append(error.message.rstrip("."))
        except OSError:
            found.append(f"{name} is missing or cannot be read")
    return found


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for people and programs; ``OSError`` if it cannot be written."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:
        # Names of files may hold bytes that are no text; JSON can escape them.
        raw = json.dumps(content, indent=2).encode("ascii")
    path.write_bytes(raw + b"\n")
