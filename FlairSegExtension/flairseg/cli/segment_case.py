"""One case of ``flairseg segment``, and its outcome: figures and texts, no image."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._lazy import postpone_numpy
from ..errors import FlairSegError, OutputError, rebuilt, typed
from ..models.card import ModelCard
from .dicom import NO_DICOM, DicomOptions
from .pseudonyms import told
from .segment_again import AlreadyDone, raise_if_done

if TYPE_CHECKING:
    from ..dicom import DicomVolume
    from ..files.names import NamedInput
    from ..models.in_use import InUse
    from ..privacy.pseudonyms import Pseudonymiser
    from ..segmentation.result import Segmentation

#: Status of a case, as in ``--json``.
DONE, ALREADY_DONE, FAILED = "done", "already-done", "failed"


@dataclass(frozen=True)
class CaseJob:
    """Options that apply to every input of a call.

    Attributes
    ----------
    output : Path
    model : ModelCard or InUse
        The model that was named for the call, or the one in use.
    device : str
    probabilities, overwrite, regions : bool
    lesion_mask : bool, optional
        None: it is written, but results of an earlier version count as complete without it.
    pseudonymiser : Pseudonymiser or None
    dicom : DicomOptions
    with_summary : bool
        Whether the outcome of a case carries its ``summary.json``.
    """

    output: Path
    model: ModelCard | InUse
    device: str
    probabilities: bool = False
    overwrite: bool = False
    pseudonymiser: Pseudonymiser | None = None
    regions: bool = True
    dicom: DicomOptions = NO_DICOM
    lesion_mask: bool | None = None
    with_summary: bool = False

    @property
    def card(self) -> ModelCard:
        """Card of the model."""
        return self.model if isinstance(self.model, ModelCard) else self.model.card


@dataclass(frozen=True)
class CaseFigures:
    """The row of a case in the table on the screen; millilitres by class value, None where they are not known."""

    volumes_ml: dict[int, float | None]
    lesion_count: int
    seconds: float


@dataclass(frozen=True)
class CaseOutcome:
    """The outcome of a case once its files are written.

    Attributes
    ----------
    case : str
        Its name.
    status : str
        :data:`DONE`, :data:`ALREADY_DONE` or :data:`FAILED`.
    figures : CaseFigures, optional
        Of a finished case.
    information, warnings : tuple of str
    summary : mapping, optional
        ``summary.json``, if requested or already present.
    error : FlairSegError, optional
        Its error, without traceback and hence without the case's arrays.
    """

    case: str
    status: str
    figures: CaseFigures | None = None
    information: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    summary: Mapping[str, Any] | None = None
    error: FlairSegError | None = None


def _unclaimed(stem: str) -> None:
    """Sequential cases need not wait for each other."""


def run_case(
    item: NamedInput,
    job: CaseJob,
    progress: Callable[[float, str], None],
    claim: Callable[[str], None] = _unclaimed,
) -> CaseOutcome:
    """Segment one input and write its files; failures are returned as outcomes.

    Parameters
    ----------
    item : NamedInput
    job : CaseJob
    progress : callable
        ``progress(fraction, stage)``.
    claim : callable, optional
        Called with the name of the files if it differs from the input's; returns once no earlier case of the call
        can claim it.

    Returns
    -------
    CaseOutcome
    """
    try:
        if item.refusal is not None:
            raise item.refusal
        case = _segment_case(item, job, progress, claim)
    except AlreadyDone as there:
        return CaseOutcome(item.case, ALREADY_DONE, summary=there.summary)
    except Exception as error:  # noqa: BLE001 - a defect in one case must not cost the others
        return failed(item.case, error, job.pseudonymiser)
    seconds = case.seconds["total"]
    return CaseOutcome(
        case.volume.name, DONE, CaseFigures(case.known_volumes_ml(), case.lesion_count, seconds),
        tuple(case.volume.information), tuple(case.warnings), _summary(case) if job.with_summary else None,
    )  # fmt: skip


def _summary(case: Segmentation) -> dict[str, Any]:
    """Content of the case's ``summary.json``."""
    from ..files.same_input import fingerprint

    digest = case.input_sha256 or fingerprint(case.volume)
    return replace(case, input_sha256=digest).summary()


def failed(case: str, error: Exception, pseudonymiser: Pseudonymiser | None) -> CaseOutcome:
    """The outcome of a case without a result."""
    shown = told(as_shown(error), pseudonymiser)
    return CaseOutcome(case, FAILED, error=rebuilt(type(shown), shown.message, shown.advice, shown.code, shown.fields))


def as_shown(error: Exception) -> FlairSegError:
    """The error as a user should read it."""
    advice = "Close other programs, or resample the image to larger voxels."
    return typed(error, "There is not enough memory for this image.", advice)


def learned(item: NamedInput, pseudonymiser: Pseudonymiser) -> NamedInput:
    """The input under the pseudonym of its case, which names its files too."""
    pseudonym = pseudonymiser.learn_path(item.path, item.case)
    return replace(item, case=pseudonym, stem=pseudonym)


def _segment_case(
    item: NamedInput, job: CaseJob, progress: Callable[[float, str], None], claim: Callable[[str], None] = _unclaimed
) -> Segmentation:
    postpone_numpy()
    from ..progress import STAGES
    from ..segmentation.pipeline import segment
    from ..segmentation.writing import check_destination, write_segmentation

    output, overwrite, dicom, pseudonymiser = job.output, job.overwrite, job.dicom, job.pseudonymiser
    wanted = _wanted(job.probabilities and bool(job.card.members), job.probabilities, bool(job.lesion_mask))
    try:
        check_destination(output, item.stem, overwrite)
        dicom.check(item.path, item.stem, overwrite)
    except OutputError as error:
        if error.code == "results-exist":
            raise_if_done(item, output, job.model, wanted, job.regions, dicom, pseudonymiser)
        raise
    began = time.perf_counter()
    read = dicom.read(item.path, lambda fraction, stage: progress(STAGES["read"] * fraction, stage), pseudonymiser)
    spent = time.perf_counter() - began
    if read is not None and not item.given:
        item = _named_by_series(item, read, job, claim)
    if overwrite:
        _refuse_other_input(item, output, read, pseudonymiser)
    case = segment(item.path if read is None else read.volume, job.model, job.device, progress, regions=job.regions)
    if read is not None:
        case = dicom.named(case, item.path, spent)
    case = replace(case, volume=replace(case.volume, name=item.case))
    if pseudonymiser is not None:
        from ..segmentation.pseudonymised import pseudonymised

        case = pseudonymised(case, pseudonymiser, item.case)
    progress(STAGES["regions"], "write")
    if read is not None:
        case.warnings.extend(dicom.write(case, read, item.stem, pseudonymiser, overwrite))
    try:
        write_segmentation(
            case, output, item.stem, job.probabilities, overwrite,
            lesion_mask=job.lesion_mask is not False, former_mask=bool(job.lesion_mask),
        )  # fmt: skip
    except OutputError as error:
        if error.code == "results-exist" and not overwrite:
            # A call with the same input, perhaps submitted twice, was faster.
            raise_if_done(item, output, job.model, wanted, job.regions, dicom, pseudonymiser)
        raise
    progress(1.0, "write")
    return case


def _wanted(disagreement: bool, probabilities: bool, lesion_mask: bool) -> set[str]:
    """The requested files of a case, as :func:`flairseg.segmentation.writing.file_names` calls them."""
    wanted = {"labels", "segmentation", "overview", "lesions", "summary"}
    wanted |= {"probabilities"} if probabilities else set()
    wanted |= {"disagreement"} if disagreement else set()
    return wanted | ({"lesion_mask"} if lesion_mask else set())


def _named_by_series(item: NamedInput, read: DicomVolume, job: CaseJob, claim: Callable[[str], None]) -> NamedInput:
    """The input named by the header of the selected series: a folder may contain several studies."""
    from ..files.names import result_stem
    from ..segmentation.writing import check_destination

    case = read.volume.name
    if job.pseudonymiser is not None:
        renamed = learned(replace(item, case=case), job.pseudonymiser)
    else:
        renamed = replace(item, case=case, stem=result_stem(case, item.path, job.output))
    if renamed.stem != item.stem:
        claim(renamed.stem)
        check_destination(job.output, renamed.stem, job.overwrite)
    return renamed


def _refuse_other_input(
    item: NamedInput, output: Path, read: DicomVolume | None, pseudonymiser: Pseudonymiser | None
) -> None:
    """Raise an error, before the model runs, instead of replacing the results of another input."""
    from ..files.same_input import fingerprint
    from ..files.summary_paths import absolute_source
    from ..io.reader import read_volume
    from ..segmentation.writing import check_same_input

    source = absolute_source(item.path) if pseudonymiser is None else item.case
    try:
        check_same_input(output, item.stem, source)
    except OutputError:
        digest = fingerprint(read_volume(item.path) if read is None else read.volume)
        if pseudonymiser is not None:
            digest = pseudonymiser.content_digest(digest)
        check_same_input(output, item.stem, source, digest)
