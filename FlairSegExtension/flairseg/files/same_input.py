"""The input of existing results: what may be replaced, and what belongs to another case."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from ..image.volume import Volume
from .atomic import check_folder, results_exist, unusable_name
from .names import is_text
from .safe_names import folded

#: Key of the input's fingerprint in a summary.
FINGERPRINT = "input_sha256"


def fingerprint(volume: Volume) -> str:
    """SHA-256 of an image's voxels and of its affine to the micrometre: the same content, wherever the file is."""
    digest = hashlib.sha256(repr((volume.array.shape, volume.array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(volume.array).data)
    digest.update(np.round(np.asarray(volume.ijk_to_ras, np.float64), 3).tobytes())
    return digest.hexdigest()


def already_there(folder: str | Path, names: Iterable[str]) -> list[str]:
    """Those of some file names that exist in a folder, ignoring case and Unicode form."""
    try:
        present = {folded(name) for name in os.listdir(folder)}
    except OSError:
        return []
    return [name for name in names if folded(name) in present]


def check_new_results(output: str | Path, names: Iterable[str], what: str, overwrite: bool) -> None:
    """Raise an error, before any work is done, if results could not be written.

    Parameters
    ----------
    output : path
        Folder of the results; need not exist.
    names : iterable of str
        Their file names.
    what : str
        Start of the message, as in ``Results of sub-01``.
    overwrite : bool
        Whether existing results may be replaced.

    Raises
    ------
    OutputError
        If one of them exists and may not be replaced, or the folder cannot be written to.
    """
    folder = Path(output)
    if not is_text(folder):
        raise unusable_name()
    existing = [] if overwrite else already_there(folder, names)
    if existing:
        raise results_exist(what, folder / existing[0])
    check_folder(folder)


def refuse_other_input(summary: Path, stem: str, inputs: Sequence[tuple[str, str]], key: str = "") -> None:
    """Refuse to replace results that belong to another input.

    Parameters
    ----------
    summary : Path
        JSON file of existing results; without it, their input is unknown.
    stem : str
        Name of the results.
    inputs : sequence of (str, str)
        Of each input its absolute path (a pseudonym where names are not kept) and its :func:`fingerprint`; where
        that is empty, the path alone decides.
    key : str
        Under which the summary lists its inputs; empty where it has one.

    Raises
    ------
    OutputError
        Code ``other-input``.
    """
    content = _content(summary)
    entries = _entries(content, key)
    same = len(entries) == len(inputs) and all(
        _is_same(entry, source, digest, summary.parent) for entry, (source, digest) in zip(entries, inputs, strict=True)
    )
    if same:
        return
    named = ", ".join(str(entry.get("input") or "") for entry in entries).strip(", ")
    raise OutputError(
        f"The results of {stem} in {summary.parent} belong to another input{f' ({named})' if named else ''}.",
        "They were kept. Choose another folder, or give this case another name.",
        code="other-input", stem=stem, folder=str(summary.parent), kept=named,
    )  # fmt: skip


def _entries(content: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if content is None:
        return []
    found = content.get(key, ()) if key else [content]
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, (list, tuple)) else []


def _is_same(entry: Mapping[str, Any], source: str, content_sha256: str, folder: Path) -> bool:
    kept = entry.get(FINGERPRINT)
    return bool(kept and kept == content_sha256) or _same_path(entry.get("input"), source, folder, bool(kept))


def _same_path(kept: Any, source: str, folder: Path, current: bool) -> bool:
    """Whether a summary in ``folder`` names this input.

    A relative path starts at the summary's folder; earlier versions (not ``current``) kept it as typed, relative
    to an unknown folder: the working directory is tried.
    """
    if not isinstance(kept, str) or not kept.strip() or not os.path.isabs(source):
        return False
    starts = [folder] if current else [folder, Path.cwd()]
    return any(_real(os.path.join(start, kept)) == _real(source) for start in starts)


def _real(path: str) -> str:
    """A path as it can be compared: links in its folders resolved, as file systems fold it."""
    folder, name = os.path.split(os.path.normpath(path))
    return folded(os.path.join(os.path.realpath(folder), name))


def _content(summary: Path) -> Mapping[str, Any] | None:
    folder, wanted = summary.parent, folded(summary.name)
    try:
        name = next((n for n in os.listdir(folder) if folded(n) == wanted), summary.name)
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
