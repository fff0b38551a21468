"""Sessions of a folder of folders: subject and visit by the folders' names, the FLAIR by the files' names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..files.names import IMAGE_ENDINGS, case_name, is_common, is_made, stem_of, without_mask_words
from ..files.visits import is_visit
from ..image import flair_selection as proposal
from .bids_labels import date_in, first_name, label_of, subject_and_session
from .dicom_source import dicom_sessions, is_dicom_folder
from .model import FOLDERS, Session

#: Folders of results, without input images.
_RESULTS = frozenset({"derivatives", "flairseg", "results", "work", "__pycache__"})
#: Voxels along K, J, I of a head: what images are judged by here is their names alone.
_ANY_HEAD = (32, 256, 256)


def folder_sessions(root: Path, exclude: Path | None = None) -> list[Session]:
    """The sessions below a folder, those without a FLAIR too.

    Every folder with image files is considered. In one of several images the FLAIR is chosen by the names
    (:mod:`flairseg.image.flair_selection`); files that are named after several visits or patients are a session each.
    A folder of DICOM files is a session by its headers.

    Parameters
    ----------
    root : Path
    exclude : Path, optional
        A folder that is not looked into: where the results go.
    """
    found: list[Session] = []
    dicom: list[Path] = []
    for folder, names in _walk(root, exclude):
        images = [Path(folder, name) for name in names if _is_image(name)]
        if images:
            found += _in_folder(root, folder, images)
        elif names and is_dicom_folder(folder):
            dicom.append(folder)
    return found + (dicom_sessions(root, dicom) if dicom else [])


def _in_folder(root: Path, folder: Path, images: Sequence[Path]) -> list[Session]:
    usable = {p: proposal.examine(proposal.Candidate(p.name, stem_of(p), p.name, shape=_ANY_HEAD)) for p in images}
    flairs = [p for p in images if usable[p].score > 0]
    silent = [p for p in images if usable[p].score == 0 and not usable[p].doubts]
    candidates = flairs or (silent if folder == root or len(silent) == 1 or _apart(silent) else [])
    if not candidates:
        subject, visit = _names(root, folder, None)
        listed = ", ".join(p.name for p in images[:4])
        reason = f"None of its images is named FLAIR ({listed})."
        return [Session(subject, visit, "", FOLDERS, reason, date=_date(folder, root))]
    if len(candidates) > 1 and (folder == root or _apart(candidates)):
        return [_session(root, p, p, "Its name says FLAIR." if p in flairs else "One image of this name.")
                for p in candidates]  # fmt: skip
    best = candidates[-1]
    if len(images) == 1:
        reason = "The only image of its folder."
    elif len(candidates) == 1:
        reason = "Its name says FLAIR." if flairs else "All other images are named otherwise."
    else:
        reason = f"Of {len(candidates)} FLAIRs it comes last by name; not taken: "
        reason += f"{', '.join(p.name for p in candidates[:-1][:3])}."
    return [_session(root, best, best if folder == root else None, reason)]


def _session(root: Path, image: Path, named: Path | None, reason: str) -> Session:
    if named is None and is_visit(_plain(stem_of(image))):
        named = image
    subject, visit = _names(root, image.parent, named)
    date = _date(image.parent, root) or date_in(visit)
    return Session(subject, visit, str(image), FOLDERS, reason, date=date)


def _names(root: Path, folder: Path, file: Path | None) -> tuple[str, str]:
    """Name of the subject and label of the visit, by folders below the root and the stem that identifies sessions."""
    parts = list(folder.relative_to(root).parts)
    if file is not None:
        parts.append(without_mask_words(stem_of(file))[0])
    subject, visit = subject_and_session(_plain(part) for part in parts)
    return first_name(subject, parts[0] if parts else case_name(folder)), label_of(visit, "ses")


def _plain(part: str) -> str:
    """A stem without words for the sequence at its end: ``study1_flair`` is ``study1``."""
    words = part.split("_")
    while len(words) > 1 and words[-1].lower() in ("flair", "t2flair", "brain", "n4", "3d", "2d"):
        words.pop()
    return "_".join(words)


def _apart(images: Sequence[Path]) -> bool:
    """Whether the files' names distinguish sessions: each another subject or visit."""
    names = [subject_and_session([_plain(without_mask_words(stem_of(p))[0])]) for p in images]
    return len(set(names)) == len(images) and all(visit or (subject and not is_common(subject))
                                                  for subject, visit in names)  # fmt: skip


def _date(folder: Path, root: Path) -> str:
    return next((d for part in reversed(folder.relative_to(root).parts) if (d := date_in(part))), "")


def _is_image(name: str) -> bool:
    stem = stem_of(name)
    if name.startswith(".") or not name.lower().endswith(IMAGE_ENDINGS) or name.lower().endswith(".dcm"):
        return False
    # An image registered to another one is a second image of that session.
    if name.lower().endswith((".img", ".img.gz")) or stem.lower().endswith("_registered"):
        return False
    return not is_made(stem)


def _walk(root: Path, exclude: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Folders with the names of their files, in order; hidden ones and results are left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            n for n in folders if not n.startswith(".") and n.lower() not in _RESULTS and Path(folder, n) != exclude
        )
        yield Path(folder), sorted(names)
