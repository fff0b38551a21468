"""Sessions of a BIDS data set: ``sub-*/[ses-*/]anat/*_FLAIR.nii[.gz]``, with participants.tsv and acquisition times."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FlairSegError
from ..files.contrast_agent import agent_warnings, sidecar
from ..files.names import IMAGE_ENDINGS, stem_of
from .bids_labels import date_in, label_of
from .model import BIDS, Session
from .table_source import join_covariates, read_rows

_ENTITY = re.compile(r"([a-z]+)-([0-9a-zA-Z+.]+)")
#: Suffix of a FLAIR's name (BIDS, "Anatomy imaging data").
_FLAIR = "FLAIR"
#: Values of the entity ``part`` that are no magnitude.
_NO_MAGNITUDE = frozenset({"phase", "real", "imag"})

#: Number of subjects checked to recognise a data set without a description.
_LOOKED_AT = 20


@dataclass(frozen=True)
class _Image:
    path: Path
    entities: dict[str, str]

    @property
    def run(self) -> int:
        digits = "".join(c for c in self.entities.get("run", "") if c.isdigit())
        return int(digits or 0)

    @property
    def has_contrast_agent(self) -> bool:
        return bool(agent_warnings(self.path))


#: Preferences between two FLAIRs of a session, with their wording; the first difference decides.
_PREFERENCES: tuple[tuple[str, Callable[[_Image], object]], ...] = (
    ("it is the magnitude image", lambda i: i.entities.get("part", "mag") not in _NO_MAGNITUDE),
    ("it was made without contrast agent", lambda i: not i.has_contrast_agent),
    ("it is not a further reconstruction", lambda i: "rec" not in i.entities),
    ("it is the last run", lambda i: i.run),
    ("its file is the largest", lambda i: _size(i.path)),
)


def is_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS data set, or structured like one."""
    subjects = [p for p in _folders(folder) if p.name.startswith("sub-")]
    if (folder / "dataset_description.json").is_file() and subjects:
        return True
    return any(_flairs(place) for subject in subjects[:_LOOKED_AT] for place in (subject, *_visits(subject)))


def bids_sessions(folder: Path) -> list[Session]:
    """The sessions of a data set, including those without a FLAIR; ``derivatives`` and ``sourcedata`` are ignored."""
    found = []
    for subject in _folders(folder):
        if not subject.name.startswith("sub-"):
            continue
        visits = _visits(subject)
        loose = [] if visits and not (subject / "anat").is_dir() else [subject]
        for visit in [*loose, *visits]:
            found.append(_session(subject, visit))
    sessions = join_covariates(found, _rows(folder / "participants.tsv"))
    by_subject: dict[str, list[Session]] = {}
    for session in sessions:
        by_subject.setdefault(session.subject, []).append(session)
    out: list[Session] = []
    for subject_folder in _folders(folder):
        members = by_subject.get(subject_folder.name, [])
        table = subject_folder / f"{subject_folder.name}_sessions.tsv"
        rows = [{"subject": subject_folder.name, **row} for row in _rows(table)]
        out += join_covariates(members, rows) if rows else members
    return out


def _session(subject: Path, visit: Path) -> Session:
    images = _flairs(visit)
    label = label_of(visit.name, "ses") if visit != subject else ""
    if not images:
        others = sorted({stem_of(p).rpartition("_")[2] for p in _images(visit)})
        there = f"there is {', '.join(others)}" if others else "there is no image"
        return Session(subject.name, label, "", BIDS, f"No file is named _FLAIR; {there}.")
    ranked = sorted(images, key=lambda i: (*(rule(i) for _, rule in _PREFERENCES), str(i.path)), reverse=True)
    best = ranked[0]
    reason = "The only FLAIR of the session, by its name."
    if len(ranked) > 1:
        why = next((words for words, rule in _PREFERENCES if rule(best) != rule(ranked[1])), "it comes first by name")
        left = ", ".join(i.path.name for i in ranked[1:4])
        reason = f"Of {len(ranked)} FLAIRs this one was chosen because {why}; others: {left}."
    date = _acquired(subject, visit, best.path) or date_in(label)
    return Session(subject.name, label, str(best.path), BIDS, reason, date=date)


def _acquired(subject: Path, visit: Path, image: Path) -> str:
    """Date of acquisition by ``*_scans.tsv`` or the sidecar; empty where neither has it."""
    names = {f"{subject.name}_scans.tsv", f"{subject.name}_{visit.name}_scans.tsv"}
    for table in (visit / name for name in sorted(names)):
        wanted = image.relative_to(visit).as_posix()
        for row in _rows(table):
            if row.get("path") == wanted and (date := row.get("date")):
                return date
    said = sidecar(image)
    return date_in(str(said.get("AcquisitionDateTime") or said.get("AcquisitionDate") or ""))


def _rows(table: Path) -> Sequence[dict[str, str]]:
    if not table.is_file():
        return []
    try:
        return read_rows(table, given=False)
    except FlairSegError:
        # The table is optional.
        return []


def _flairs(folder: Path) -> list[_Image]:
    return [
        _Image(path, dict(_ENTITY.findall(stem_of(path))))
        for path in _images(folder)
        if stem_of(path).rpartition("_")[2] == _FLAIR
    ]


def _images(folder: Path) -> list[Path]:
    """Images of ``anat``, or of the folder itself where there is none."""
    anat = folder / "anat"
    return [
        Path(entry.path)
        for entry in _entries(anat if anat.is_dir() else folder)
        if entry.is_file() and entry.name.lower().endswith(IMAGE_ENDINGS)
    ]


def _visits(subject: Path) -> list[Path]:
    return [p for p in _folders(subject) if p.name.startswith("ses-")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda e: e.name)
    except OSError:
        return []
