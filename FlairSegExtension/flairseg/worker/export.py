"""Export of a case as shown in Slicer: report and DICOM objects, pseudonymised if requested."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ..errors import CaseWarning, FlairSegError
from ..files.atomic import all_or_none, check_folder
from ..progress import CancelToken, ProgressCallback, Reporter
from ..segmentation.pseudonymised import pseudonymised
from ..segmentation.result import Segmentation
from .tasks import ExportAnswer, ExportRequest

if TYPE_CHECKING:
    from ..anatomy.regions import RegionMap
    from ..models.card import ModelCard
    from ..privacy.pseudonyms import Pseudonymiser
    from ..report import CaseReport

HTML, PDF, DICOM = "html", "pdf", "dicom"
#: Possible outputs.
OUTPUTS = (HTML, PDF, DICOM)
_ENDINGS = ("_report.html", "_report.pdf", "_seg.dcm", "_sr.dcm", "_report.dcm")
#: Shares of the whole at which the stages end.
_SHARES = {"regions": 0.5, "report": 0.75, "dicom": 0.95}
MANUAL = "MANUAL"


@dataclass(frozen=True)
class _Unknown:
    """In place of the card of a model that is not on this computer, or of none."""

    id: str
    version: str = ""
    sha256: str = ""
    members: tuple[()] = ()
    classes: tuple[int, ...] = ()


def write_export(
    request: ExportRequest,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> ExportAnswer:
    """Write report and DICOM objects of a case.

    Parameters
    ----------
    request : ExportRequest
    progress : callable, optional
        ``progress(fraction, stage)``, stages ``regions``, ``report``, ``dicom``, ``write``.
    cancel : CancelToken or callable, optional

    Raises
    ------
    FlairSegError
        With advice, of the parts: packages that are missing, a series that does not fit, a folder that cannot be
        written to. Nothing is left half-written.
    """
    from ..privacy.pseudonyms import pseudonymiser_for

    reporter = Reporter(progress, cancel)
    folder, outputs = Path(request.folder), request.outputs
    check_folder(folder)
    key = Path(request.key) if request.pseudonymise and request.key else None
    pseudonyms = pseudonymiser_for(request.pseudonymise, key)
    with reporter.stage("regions", 0.0, _SHARES["regions"]):
        found = _regions(request, reporter)
    case = _segmentation(request, found)
    stem = request.stem
    if pseudonyms is not None:
        case = pseudonymised(case, pseudonyms, stem)
        stem = case.volume.name
    stem = _free(folder, stem)
    with reporter.stage("report", _SHARES["regions"], _SHARES["report"]):
        raw, pdf = _report_files(_report(case, request, pseudonyms), outputs, reporter)
    written: dict[str, Path] = {}
    if DICOM in outputs:
        with reporter.stage("dicom", _SHARES["report"], _SHARES["dicom"]):
            written |= _dicom(case, request, stem, pdf, pseudonyms)
    with reporter.stage("write", _SHARES["dicom"], 1.0):
        names = {kind: f"{stem}_report.{kind}" for kind in raw}
        with all_or_none(folder, names.values()) as temporary:
            for kind, content in raw.items():
                (temporary / names[kind]).write_bytes(content)
        written |= {kind: folder / name for kind, name in names.items()}
    return ExportAnswer([str(path) for path in written.values()], found.warnings)


def _segmentation(request: ExportRequest, regions: RegionMap) -> Segmentation:
    """The case as a result, which report and DICOM objects are made of."""
    answer = request.answer
    unknown = _Unknown(request.model_id or "unknown", sha256=request.model_sha256, classes=tuple(request.classes))
    return Segmentation(
        request.volume,
        request.labels,
        None if answer is None else answer.full_probabilities(),
        _card(request) or cast("ModelCard", unknown),
        "auto",
        "",
        "",
        request.volume.name,
        warnings=list(dict.fromkeys([*map(CaseWarning.of, request.warnings), *regions.warnings])),
        created=request.created,
        disagreement=None if answer is None else answer.full_disagreement(),
        regions=regions,
    )


def _card(request: ExportRequest) -> ModelCard | None:
    """Card of the model, if the same one is on this computer; with the thresholds at which lesions were redrawn."""
    from ..models.card import with_lesion_threshold
    from ..models.store import find_model

    if not request.model_id:
        return None
    try:
        card = find_model(request.model_id, verify=False)
    except FlairSegError:
        return None
    if card.sha256 != request.model_sha256:
        return None
    answer, redrawn = request.answer, request.thresholds
    if redrawn is None or (answer is not None and np.array_equal(answer.full_labels(), request.labels)):
        # Never redrawn, or undone.
        return card
    return with_lesion_threshold(card, *redrawn)


def _regions(request: ExportRequest, reporter: Reporter) -> RegionMap:
    from ..anatomy.packing import unpack_regions

    if request.regions is not None:
        return unpack_regions(request.regions, request.volume.ijk_to_ras)
    from ..anatomy import find_regions

    return find_regions(request.volume, request.labels, lambda fraction, _stage: reporter.update(fraction))


def _report(case: Segmentation, request: ExportRequest, pseudonyms: Pseudonymiser | None) -> CaseReport:
    from ..report import CaseReport, gathering

    review, followup, date = request.review, request.followup, request.date or ""
    if pseudonyms is not None:
        # The moment of a decision and its words are as telling as a name.
        review = replace(review, reader=pseudonyms.person(review.reader), decided_at="", reason="")
        followup = None if followup is None else followup.pseudonymised(pseudonyms)
        date = pseudonyms.date(date)
    found = gathering.from_segmentation(case, review, followup, date, regions=False)
    known = None if isinstance(case.card, _Unknown) else found.card
    return CaseReport(replace(found, card=known, dates_moved=pseudonyms is not None))


def _report_files(
    report: CaseReport, outputs: Sequence[str], reporter: Reporter
) -> tuple[dict[str, bytes], bytes | None]:
    """Return the requested outputs, by kind, and the PDF if a DICOM object is to contain it."""
    pdf = report.pdf() if {PDF, DICOM} & set(outputs) else None
    reporter.update(0.6)
    raw = {} if pdf is None or PDF not in outputs else {PDF: pdf}
    if HTML in outputs:
        raw[HTML] = report.html().encode("utf-8")
    return raw, pdf


def _dicom(
    case: Segmentation, request: ExportRequest, stem: str, pdf: bytes | None, pseudonyms: Pseudonymiser | None
) -> dict[str, Path]:
    from ..dicom import Algorithm
    from ..segmentation.dicom_results import DicomTarget, export_labels, lesion_measurements

    made = export_labels(
        case.labels,
        case.volume.ijk_to_ras,
        # In the series' own place and order; the labels are on its voxels.
        [Path(file) for file in request.source_files] or request.source_folder,
        DicomTarget(Path(request.folder), stem, pseudonymiser=pseudonyms),
        Algorithm.of(case.card, request.algorithm_type or MANUAL),
        lesions=lesion_measurements(case.lesion_rows()),
        pdf=pdf,
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
