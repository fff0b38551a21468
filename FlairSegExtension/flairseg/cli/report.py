"""``flairseg report``: one page for the clinician, then the details, as HTML and PDF, for each result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from ..errors import FlairSegError, InputNotFoundError
from .console import (
    INTERRUPTED,
    REFUSED,
    WRITTEN,
    interruptible,
    messages_console,
    results_console,
    show_error,
    show_warning,
    strict_code,
)
from .dates import iso_date
from .label_options import meaning_of
from .pseudonyms import NO_PSEUDONYMS, PseudonymOptions, finish, start, told
from .segment_case import as_shown

if TYPE_CHECKING:
    from ..privacy.pseudonyms import Pseudonymiser


@dataclass(frozen=True)
class ReportOptions:
    """Options of the command, apart from its inputs."""

    output: Path
    flair: tuple[Path, ...] = ()
    followup: Path | None = None
    verdict: Path | None = None
    study_date: str = ""
    pdf: bool = True
    html: bool = True
    paper: str = "a4"
    language: str = "en"
    regions: bool = True
    overwrite: bool = False
    strict: bool = False
    pseudonyms: PseudonymOptions = NO_PSEUDONYMS
    labels: str | None = None


def report_cases(inputs: Sequence[Path], options: ReportOptions) -> int:
    """Write the report of every result; the exit code of the command."""
    messages, results = messages_console(), results_console()
    pseudonymiser: Pseudonymiser | None = None
    written: list[Path] = []
    doubts: list[str] = []
    refused = 0
    code = WRITTEN
    try:
        with interruptible():
            from ..files.names import distinct_paths
            from ..report.gathering import case_named

            inputs = distinct_paths(inputs)
            try:
                _check(inputs, options)
                pseudonymiser = start(messages, *options.pseudonyms)
            except FlairSegError as error:
                show_error(messages, error)
                return REFUSED
            images = options.flair or (None,) * len(inputs)
            for path, flair in zip(inputs, images, strict=True):
                about = case_named(path)
                if pseudonymiser is not None:
                    about = pseudonymiser.learn_path(path, about)
                messages.print(about, markup=False, soft_wrap=True)
                try:
                    files, warnings = _write(path, flair, options, pseudonymiser)
                except Exception as error:  # noqa: BLE001 - a defect in one case must not cost the others
                    refused += 1
                    show_error(messages, told(as_shown(error), pseudonymiser), about)
                    continue
                written += files
                doubts += warnings
                for warning in warnings:
                    show_warning(messages, warning, about)
            code = REFUSED if refused else WRITTEN
    except KeyboardInterrupt:
        messages.print("Interrupted. Finished reports are kept; no partial files are left.", soft_wrap=True)
        code = INTERRUPTED
    if not finish(messages, pseudonymiser, options.pseudonyms[2]):
        code = code or REFUSED
    for path in written:
        results.print(Text(str(path)), soft_wrap=True)
    if written:
        results.print("Research use only - not a medical device.", style="dim")
    if refused:
        messages.print(f"{refused} of {len(inputs)} reports could not be made.", soft_wrap=True)
    return strict_code(messages, code, doubts, options.strict)


def _check(inputs: Sequence[Path], options: ReportOptions) -> None:
    """Raise an error, before any work is done, for options that match no case or are ambiguous."""
    from ..files.atomic import check_folder
    from ..report.texts import load_texts

    load_texts(options.language)
    if options.study_date:
        iso_date(options.study_date)
    meaning_of(options.labels)
    check_folder(options.output)
    if options.flair and len(options.flair) != len(inputs):
        raise InputNotFoundError(
            f"{len(options.flair)} FLAIR images were given for {len(inputs)} results.",
            "Name one --flair for each result, in the same order, or none.",
        )
    alone = {"--followup": options.followup, "--verdict": options.verdict, "--study-date": options.study_date}
    named = [name for name, value in alone.items() if value]
    if named and len(inputs) > 1:
        raise InputNotFoundError(
            f"{named[0]} belongs to one case, and {len(inputs)} results were given.", "Run the command once per case."
        )


def _write(
    path: Path, flair: Path | None, options: ReportOptions, pseudonymiser: Pseudonymiser | None
) -> tuple[list[Path], tuple[str, ...]]:
    """Write one report; return its files and remarks."""
    from ..report import CaseReport

    if pseudonymiser is not None:
        for other in (flair, options.followup, options.verdict):
            if other is not None:
                pseudonymiser.learn_path(other)
    report = CaseReport.from_files(
        path,
        flair,
        options.verdict,
        options.followup,
        options.language,
        options.paper,
        study_date=options.study_date,
        pseudonymiser=pseudonymiser,
        regions=options.regions,
        meaning=meaning_of(options.labels),
    )
    files = report.write(options.output, options.html, options.pdf, options.overwrite)
    return list(files.values()), report.case.warnings
