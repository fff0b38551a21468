"""A case as Slicer shows it, written out: the clinician's report and DICOM objects, under a pseudonym if wanted."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FlairSegError, warnings_as_dicts, warnings_from
from ..files.atomic import all_or_none, check_folder
from ..image.geometry import triple
from ..image.packed import CompactAnswer
from ..image.volume import Volume
from ..labels import CLASS_BY_VALUE
from ..progress import CancelToken, ProgressCallback, Reporter
from ..segmentation.pseudonymised import pseudonymised
from ..segmentation.result import Segmentation

if TYPE_CHECKING:
    from ..anatomy.regions import RegionMap
    from ..models.card import ModelCard
    from ..privacy.pseudonyms import Pseudonymiser
    from ..report import CaseReport

HTML, PDF, DICOM = "html", "pdf", "dicom"
#: What can be written.
OUTPUTS = (HTML, PDF, DICOM)
_ENDINGS = ("_report.html", "_report.pdf", "_seg.dcm", "_sr.dcm", "_report.dcm")
#: Shares of the whole at which the stages end.
_SHARES = {"regions": 0.5, "report": 0.75, "dicom": 0.95}
_VERSION = re.compile(r"v(\d+)$")
MANUAL = "MANUAL"


@dataclass(frozen=True)
class _Unknown:
    """In place of the card of a model that is not on this computer, or of none."""

    id: str
    version: str = ""
    sha256: str = ""
    members: tuple[()] = ()
    classes: tuple[int, ...] = tuple(CLASS_BY_VALUE)


def write_export(
    volume: Volume,
    labels: np.ndarray,
    folder: str | Path,
    stem: str,
    outputs: Sequence[str],
    model: dict[str, str] | None = None,
    levels: np.ndarray | None = None,
    levels_start: Sequence[int] | None = None,
    regions: np.ndarray | None = None,
    created: str = "",
    algorithm_type: str = "",
    warnings: Sequence[str | dict[str, str]] = (),
    verdict: dict[str, str] | None = None,
    date: str | None = None,
    followup: dict[str, Any] | None = None,
    source_files: Sequence[str] = (),
    source_folder: str = "",
    pseudonymise: bool = False,
    key: str = "",
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Write report and DICOM objects of a case.

    Parameters
    ----------
    volume : Volume
        The FLAIR (K, J, I), RAS mm as the scanner had it; its name is the case's.
    labels : ndarray of uint8, shape (K, J, I)
        As they are now, corrected or not.
    folder : path
        Created if need be.
    stem : str
        Begin of the files' names; where it is taken, a number is added. With pseudonyms, the case's takes its place.
    outputs : sequence of str
        Of :data:`OUTPUTS`; ``dicom`` is SEG, SR and the report's PDF.
    model : dict, optional
        ``id`` and ``sha256`` of what made the labels.
    levels, levels_start : optional
        The model's probabilities, see :class:`flairseg.image.packed.CompactAnswer`, and where their box starts (K,
        J, I).
    regions : ndarray of uint8, shape (K, J, I), optional
        See :mod:`flairseg.anatomy.packing`; found here if None.
    created : str
        When the model made the labels, ISO 8601.
    algorithm_type : str
        ``AUTOMATIC``, ``SEMIAUTOMATIC`` or ``MANUAL``; default: manual.
    warnings : sequence of dict or str
        Of the run, as :func:`flairseg.errors.warnings_as_dicts` gives them.
    verdict : dict, optional
        ``verdict``, ``reader``, ``reason``, ``decided_at``, ``version``: what a reader decided.
    date : str, optional
        Of the study, ISO 8601.
    followup : dict, optional
        As ``followup.json``.
    source_files, source_folder
        The DICOM series that the volume was loaded from: its files, or the folder in which they lie.
    pseudonymise : bool
        Put pseudonyms in place of names, UIDs and dates.
    key : str
        Path of the secret that makes them; made if it is not there. Empty: a random one, forgotten.
    progress : callable, optional
        ``progress(fraction, stage)``, stages ``regions``, ``report``, ``dicom``, ``write``.
    cancel : CancelToken or callable, optional

    Returns
    -------
    dict
        ``files`` (paths as text) and ``warnings``.

    Raises
    ------
    FlairSegError
        With advice, of the parts: packages that are missing, a series that does not fit, a folder that cannot be
        written to. Nothing is left half-written.
    """
    from ..privacy.pseudonyms import pseudonymiser_for

    reporter = Reporter(progress, cancel)
    folder = Path(folder)
    check_folder(folder)
    pseudonyms = pseudonymiser_for(pseudonymise, Path(key) if pseudonymise and key else None)
    case = _segmentation(volume, labels, model or {}, levels, levels_start, created, warnings)
    with reporter.stage("regions", 0.0, _SHARES["regions"]):
        found = _regions(volume, labels, regions, reporter)
    case = replace(case, regions=found, warnings=list(dict.fromkeys([*case.warnings, *found.warnings])))
    if pseudonyms is not None:
        case = pseudonymised(case, pseudonyms, stem)
        stem = case.volume.name
    stem = _free(folder, stem)
    with reporter.stage("report", _SHARES["regions"], _SHARES["report"]):
        raw, pdf = _report_files(_report(case, verdict or {}, followup, date, pseudonyms), outputs, reporter)
    written: dict[str, Path] = {}
    if DICOM in outputs:
        with reporter.stage("dicom", _SHARES["report"], _SHARES["dicom"]):
            # The series' own place and order; the labels lie on its voxels.
            written |= _dicom(case, source_files or source_folder, folder, stem, algorithm_type, pdf, pseudonyms)
    with reporter.stage("write", _SHARES["dicom"], 1.0):
        names = {kind: f"{stem}_report.{kind}" for kind in raw}
        with all_or_none(folder, names.values()) as temporary:
            for kind, content in raw.items():
                (temporary / names[kind]).write_bytes(content)
        written |= {kind: folder / name for kind, name in names.items()}
    return {"files": [str(path) for path in written.values()], "warnings": warnings_as_dicts(found.warnings)}


def _segmentation(
    volume: Volume,
    labels: np.ndarray,
    model: dict[str, str],
    levels: np.ndarray | None,
    levels_start: Sequence[int] | None,
    created: str,
    warnings: Sequence[str | dict[str, str]],
) -> Segmentation:
    """The case in the shape in which everything else takes it."""
    probabilities = disagreement = None
    if levels is not None and levels_start is not None:
        start = triple(int(n) for n in levels_start)
        box = tuple(slice(a, a + n) for a, n in zip(start, levels.shape[:3], strict=True))
        answer = CompactAnswer(triple(labels.shape), start, np.ascontiguousarray(labels[box]), levels)
        probabilities, disagreement = answer.full_probabilities(), answer.full_disagreement()
    card = _card(model) or _Unknown(model.get("id") or "unknown", sha256=model.get("sha256", ""))
    return Segmentation(
        volume, labels, probabilities, card, "auto", "", "", volume.name,
        warnings=list(warnings_from(list(warnings))), created=created, disagreement=disagreement,
    )  # fmt: skip


def _card(model: dict[str, str]) -> ModelCard | None:
    """Card of the model, if the same one is on this computer."""
    from ..models.store import find_model

    if not model.get("id"):
        return None
    try:
        card = find_model(model["id"], verify=False)
    except FlairSegError:
        return None
    return card if card.sha256 == model.get("sha256") else None


def _regions(volume: Volume, labels: np.ndarray, packed: np.ndarray | None, reporter: Reporter) -> RegionMap:
    from ..anatomy.packing import unpack_regions

    if packed is not None:
        return unpack_regions(packed, volume.ijk_to_ras)
    from ..anatomy import find_regions

    return find_regions(volume, labels, lambda fraction, _stage: reporter.update(fraction))


def _report(
    case: Segmentation,
    verdict: dict[str, str],
    followup: dict[str, Any] | None,
    date: str | None,
    pseudonyms: Pseudonymiser | None,
) -> CaseReport:
    from ..report import CaseReport, gathering
    from ..report.case import Review

    version = _VERSION.search(verdict.get("version") or "")
    review = Review()
    if verdict:
        review = Review(
            verdict["verdict"],
            verdict.get("reader", ""),
            verdict.get("decided_at", ""),
            verdict.get("reason", ""),
            int(version[1]) if version else None,
        )
    if pseudonyms is not None:
        # The moment of a decision and its words are as telling as a name.
        review = replace(review, reader=pseudonyms.person(review.reader), decided_at="", reason="")
        followup = None if followup is None else pseudonyms.content(followup)
        date = pseudonyms.date(date or "")
    found = gathering.from_segmentation(case, review, followup, date or "", regions=False)
    known = None if isinstance(case.card, _Unknown) else found.card
    return CaseReport(replace(found, card=known, dates_moved=pseudonyms is not None))


def _report_files(
    report: CaseReport, outputs: Sequence[str], reporter: Reporter
) -> tuple[dict[str, bytes], bytes | None]:
    """What is to be written, by kind, and the PDF if a DICOM object is to hold it."""
    pdf = report.pdf() if {PDF, DICOM} & set(outputs) else None
    reporter.update(0.6)
    raw = {} if pdf is None or PDF not in outputs else {PDF: pdf}
    if HTML in outputs:
        raw[HTML] = report.html().encode("utf-8")
    return raw, pdf


def _dicom(
    case: Segmentation,
    files: str | Sequence[str],
    folder: Path,
    stem: str,
    algorithm_type: str,
    pdf: bytes | None,
    pseudonyms: Pseudonymiser | None,
) -> dict[str, Path]:
    from ..dicom import Algorithm
    from ..segmentation.dicom_results import export_labels

    made = export_labels(
        case.labels,
        case.volume.ijk_to_ras,
        files if isinstance(files, str) else [Path(file) for file in files],
        folder,
        stem,
        Algorithm.of(case.card, algorithm_type or MANUAL),
        lesions=case.lesions(),
        pdf=pdf,
        pseudonymiser=pseudonyms,
    )
    return {f"dicom_{kind}": path for kind, path in made.items()}


def _free(folder: Path, stem: str) -> str:
    """The stem, with a number where files of that name exist."""
    numbered = (f"{stem}_{number}" for number in itertools.count(2))
    return next(
        name
        for name in itertools.chain([stem], numbered)
        if not any(os.path.lexists(folder / f"{name}{ending}") for ending in _ENDINGS)
    )
