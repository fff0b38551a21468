"""Reviewed cases of a site, read for adaptation: the newest version of each, what was reviewed, how much it weighs.

Layout: ``<case>/v<NNN>/{flair.nii.gz or flair.json, labels.nii.gz, verdict.json}``, as :mod:`flairseg.review.cases`
writes it. Of ``verdict.json`` only ``case``, ``version`` and ``verdict`` are required here; ``classes`` (segment ids)
lists the classes reviewed. Cases are numbered in the order of their names, and from then on identified by number:
names reach neither the report nor the card.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlairSegError, InputNotFoundError, UnreadableImageError
from ..files.visits import patient_of
from ..image.checks import check_volume
from ..image.footing import footed
from ..image.volume import Volume
from ..io.label_maps import read_label_map
from ..io.label_meanings import OWN
from ..io.reader import read_volume
from ..labels import CLASS_BY_ID, CLASS_BY_VALUE
from ..review.cases import ACCEPTED, ACCEPTED_AFTER_EDITS, REJECTED
from ..review.errors import DamagedCaseError
from ..review.version_folder import FLAIR_REFERENCE, LABELS, VERDICT, flair_file, problems_in, version_name, versions_in
from .record import LeftOut

#: Table of cases and patients (:func:`read_patients`) within a folder of cases: used where none is named.
PATIENTS = "patients.csv"
#: Weight of a case whose mask is the model's own, accepted unchanged: it confirms, and teaches less than a correction.
CONFIRMED_WEIGHT = 0.5


@dataclass(frozen=True)
class KeptVerdict:
    """What adaptation and drift need of a version's ``verdict.json``.

    Attributes
    ----------
    case, verdict : str
    classes : tuple of str or None
        Segment ids that were reviewed; None where they are not listed.
    edited_voxels : int
    model : str or None
        sha256 of the model whose result was reviewed, empty where it is not stated; None for a mask drawn by hand.
    decided_at : str
        ISO 8601, empty if the verdict has none.
    hashes : mapping of str to str, or None
        File -> sha256.
    """

    case: str
    verdict: str
    classes: tuple[str, ...] | None
    edited_voxels: int
    model: str | None
    decided_at: str
    hashes: Mapping[str, str] | None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> KeptVerdict:
        """From a file's content.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError
            If it is no verdict.
        """
        classes, model, hashes = content.get("classes"), content.get("model"), content.get("hashes")
        return cls(
            str(content["case"]),
            str(content["verdict"]),
            None if classes is None else tuple(classes),
            sum(sum(counts.values()) for counts in (content.get("edits") or {}).values()),
            str(model.get("sha256", "")) if model else None,
            str((content.get("times") or {}).get("decided_at") or ""),
            hashes if isinstance(hashes, dict) else None,
        )

    @classmethod
    def read(cls, version: Path) -> KeptVerdict:
        """Read the ``verdict.json`` of a version.

        Raises
        ------
        DamagedCaseError
            If it cannot be read.
        """
        try:
            return cls.from_json(json.loads((version / VERDICT).read_text(encoding="utf-8")))
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedCaseError(f"{VERDICT} cannot be read.", "Restore the file from a backup.") from error

    @property
    def reviewed(self) -> tuple[int, ...]:
        """Class values that were reviewed; all where the verdict does not list them.

        Raises
        ------
        KeyError
            If a class is unknown.
        """
        if self.classes is None:
            return tuple(CLASS_BY_VALUE)
        return tuple(sorted(CLASS_BY_ID[name].value for name in self.classes))


@dataclass(frozen=True)
class ReviewedCase:
    """The newest version of one case usable for training; images are read when needed (:func:`load`).

    Attributes
    ----------
    number : int
        From 1, in the order of names, as in the report.
    name, patient : str
        Of case and patient; they stay on this computer.
    folder : Path
        Of the version.
    verdict : str
        Accepted, or accepted after edits.
    reviewed : tuple of int
        Class values 1..3 that were reviewed; the others are unknown, not background.
    weight : float
        Weight of the case in training.
    rejected : Path or None
        The newest earlier version that was rejected: where its labels differ, the model was wrong.
    decided_at : str
        ISO 8601, empty if the verdict has none.
    stated : bool
        Whether the user stated the patient; else names and appearance decide.
    """

    number: int
    name: str
    patient: str
    folder: Path
    verdict: str
    reviewed: tuple[int, ...]
    weight: float = 1.0
    rejected: Path | None = None
    decided_at: str = ""
    stated: bool = False


@dataclass(frozen=True)
class LoadedCase:
    """Image and labels of a reviewed case.

    Attributes
    ----------
    volume : Volume
        FLAIR, intensities as :func:`flairseg.segment` sees them.
    labels : ndarray of uint8, shape (K, J, I)
        Classes 0..3.
    corrected : ndarray of bool, shape (K, J, I)
        Voxels that were wrong in the rejected version of the case.
    """

    volume: Volume
    labels: np.ndarray
    corrected: np.ndarray


def read_cases(
    folder: str | Path, patients: Mapping[str, str] | None = None
) -> tuple[list[ReviewedCase], list[LeftOut]]:
    """The cases of a folder, newest versions; no image is read.

    Parameters
    ----------
    folder : str or Path
        Folder of cases.
    patients : mapping of str to str, optional
        Case -> patient, if names do not identify it; default the folder's own table :data:`PATIENTS`, if there is
        one.

    Returns
    -------
    tuple
        Cases that can be used, and those that cannot, with the reason.

    Raises
    ------
    InputNotFoundError
        If there is no such folder or no case in it.
    UnreadableImageError
        If the folder's own table of patients is invalid, or a table names none of the cases.
    """
    folder = Path(folder)
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and versions_in(path))
    except OSError as error:
        raise InputNotFoundError(f"There is no folder of cases {folder}.", "Check the path.") from error
    if not found:
        raise InputNotFoundError(
            f"There are no reviewed cases in {folder}.",
            "Choose the folder in which accepted and corrected cases are kept.",
            code="no-reviewed-cases",
        )
    if patients is None and (folder / PATIENTS).is_file():
        patients = read_patients(folder / PATIENTS)
    read = [_newest(number, path, patients or {}) for number, path in enumerate(found, 1)]
    cases = [one for one in read if isinstance(one, ReviewedCase)]
    if patients and cases and not any(one.stated for one in cases):
        raise UnreadableImageError(
            "The table of patients names none of the cases.",
            "Its column case holds the names of the cases, as their folders are called.",
            code="patients-of-other-cases",
        )
    return cases, [one for one in read if not isinstance(one, ReviewedCase)]


def read_patients(path: Path) -> dict[str, str]:
    """Case -> patient from a CSV file with the columns ``case, patient``.

    Raises
    ------
    UnreadableImageError
        If it is no such table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = {row["case"].strip(): row["patient"].strip() for row in csv.DictReader(stream)}
        if not table:
            raise KeyError("no row")
        return table
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise UnreadableImageError(
            f"{path.name} is not a table of cases and patients.", "Its columns are case, patient; CSV, UTF-8."
        ) from error


def load(case: ReviewedCase) -> LoadedCase:
    """Read a case's image and labels.

    Raises
    ------
    FlairSegError
        If a file is missing, damaged, or was changed since it was saved; or labels and image have different grids.
    """
    volume = load_image(case.folder)
    labels = read_label_map(case.folder / LABELS, volume.geometry, OWN).labels
    corrected = np.zeros(labels.shape, bool)
    if case.rejected is not None:
        try:
            wrong = read_label_map(case.rejected / LABELS, volume.geometry, OWN).labels
            corrected = (wrong != labels) & (np.isin(wrong, case.reviewed) | np.isin(labels, case.reviewed))
        except FlairSegError:
            # The earlier version only adds emphasis: the case is whole without it.
            pass
    return LoadedCase(volume, labels, corrected)


def load_image(version: Path) -> Volume:
    """The image of a version, whatever its verdict.

    Parameters
    ----------
    version : Path
        Its folder.

    Raises
    ------
    FlairSegError
        If a file of the version is missing, damaged, or was changed since it was saved.
    """
    for problem in problems_in(version, KeptVerdict.read(version).hashes or {}):
        raise DamagedCaseError(f"A file of a case was altered: {problem}.", "Restore the file from a backup.")
    return footed(check_volume(read_volume(_image(version))))


def fingerprint(cases: list[ReviewedCase]) -> str:
    """sha256 over patients, verdicts, labels and images: whether a run that was stopped resumes with the same cases."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(f"{case.name}\0{case.patient}\0{case.stated}\0".encode("utf-8", "surrogateescape"))
        for path in (case.folder / VERDICT, case.folder / LABELS):
            digest.update(_content_digest(path))
        try:
            digest.update(_content_digest(_image(case.folder)))
        except DamagedCaseError:
            # Left out with a reason when it is read.
            digest.update(b"no image")
    return digest.hexdigest()


def _content_digest(path: Path) -> bytes:
    """sha256 of a file, of the names in a folder (DICOM), or of the error where neither can be read."""
    try:
        content = str(sorted(p.name for p in path.iterdir())).encode() if path.is_dir() else path.read_bytes()
    except OSError as error:
        content = type(error).__name__.encode()
    return hashlib.sha256(content).digest()


def _newest(number: int, folder: Path, patients: Mapping[str, str]) -> ReviewedCase | LeftOut:
    versions = [folder / version_name(n) for n in versions_in(folder)]
    newest = versions[-1]
    try:
        kept = KeptVerdict.read(newest)
        name, verdict, reviewed = kept.case, kept.verdict, kept.reviewed
        by_hand = verdict == ACCEPTED_AFTER_EDITS or kept.model is None
        if verdict == REJECTED:
            return LeftOut(number, "rejected", "Its newest version was rejected and not corrected since.")
        if verdict not in (ACCEPTED, ACCEPTED_AFTER_EDITS):
            return LeftOut(number, "verdict-unknown", f"Its verdict {verdict!r} cannot be used for training.")
        if not reviewed:
            return LeftOut(number, "no-class-reviewed", "No class was reviewed.")
        return ReviewedCase(
            number,
            name,
            patients.get(name) or patient_of(name),
            newest,
            verdict,
            reviewed,
            1.0 if by_hand or kept.edited_voxels else CONFIRMED_WEIGHT,
            _rejected_before(versions),
            kept.decided_at,
            bool(patients.get(name)),
        )
    except (DamagedCaseError, KeyError):
        return LeftOut(number, "verdict-damaged", "Its verdict.json cannot be read.")


def _rejected_before(versions: list[Path]) -> Path | None:
    for path in reversed(versions[:-1]):
        try:
            if KeptVerdict.read(path).verdict == REJECTED and (path / LABELS).is_file():
                return path
        except DamagedCaseError:
            continue
    return None


def _image(version: Path) -> Path:
    """Image of a version: a file, or a DICOM folder that ``flair.json`` refers to.

    Raises
    ------
    DamagedCaseError
        If there is none.
    """
    try:
        return flair_file(version)
    except DamagedCaseError as damaged:
        try:
            named = json.loads((version / FLAIR_REFERENCE).read_text(encoding="utf-8"))["file"]
            path = Path(os.path.normpath(version / named))
        except (OSError, ValueError, KeyError, TypeError):
            raise damaged from None
        if path.is_dir():
            return path
        raise
