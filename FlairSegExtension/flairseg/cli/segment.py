"""``flairseg segment``: case after case, progress on standard error, a table of results on standard output."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import FlairSegError, warnings_from
from ..labels import CLASSES, LESION
from .console import (
    INTERRUPTED,
    REFUSED,
    WRITTEN,
    interruptible,
    messages_console,
    results_console,
    show_error,
    show_information,
    show_warning,
    strict_code,
)
from .dicom import NO_DICOM, DicomOptions
from .pseudonyms import NO_PSEUDONYMS, PseudonymOptions, finish, start
from .segment_bars import Bars
from .segment_case import ALREADY_DONE, FAILED, CaseJob, CaseOutcome, learned, run_case

if TYPE_CHECKING:
    from ..files.names import NamedInput
    from ..privacy.pseudonyms import Pseudonymiser

#: Maximum number of cases in the table on the screen; the files have all.
LISTED = 50


@dataclass(frozen=True)
class SegmentOptions:
    """Options of ``flairseg segment``, named as on the command line."""

    output: Path
    model: str | None = None
    device: str = "auto"
    probabilities: bool = False
    lesion_mask: bool | None = None
    overwrite: bool = False
    names: tuple[str, ...] = ()
    regions: bool = True
    threshold: float | None = None
    dicom: DicomOptions = NO_DICOM
    pseudonyms: PseudonymOptions = NO_PSEUDONYMS
    strict: bool = False
    quiet: bool = False
    as_json: bool = False
    jobs: int = 1


def segment_cases(inputs: Sequence[Path], options: SegmentOptions) -> int:
    """Segment every input; the exit code of the command."""
    messages = messages_console()
    told = _Told(messages, options.quiet, options.as_json)
    pseudonymiser: Pseudonymiser | None = None
    code = WRITTEN
    try:
        with interruptible():
            from ..files.names import distinct_paths, name_inputs
            from ..models.in_use import chosen_model

            inputs = distinct_paths(inputs)
            try:
                named = name_inputs(inputs, options.output, options.names, one_name_one_input=options.pseudonyms[0])
                model = chosen_model(options.model, options.threshold)
                pseudonymiser = start(messages, *options.pseudonyms)
            except FlairSegError as error:
                show_error(messages, error)
                told.error(error, len(inputs))
                return REFUSED
            with Bars(messages, len(inputs), options.quiet) as bars:
                if pseudonymiser is not None:
                    named = [learned(item, pseudonymiser) for item in named]
                job = CaseJob(
                    options.output, model, options.device, options.probabilities, options.overwrite, pseudonymiser,
                    options.regions, options.dicom, options.lesion_mask, with_summary=options.as_json,
                )  # fmt: skip
                for outcome in _outcomes(named, job, bars, options.jobs):
                    told.case(outcome, bars)
            code = REFUSED if told.refused else WRITTEN
    except KeyboardInterrupt:
        messages.print("Interrupted. Finished cases are kept; no partial files are left.", soft_wrap=True)
        code = INTERRUPTED
    if not finish(messages, pseudonymiser, options.pseudonyms[2]):
        code = code or REFUSED
    told.end(options.output, len(inputs), options.dicom.folder)
    return strict_code(messages, code, told.warnings, options.strict)


def _outcomes(named: Sequence[NamedInput], job: CaseJob, bars: Bars, jobs: int) -> Iterator[CaseOutcome]:
    if min(jobs, len(named)) <= 1:
        return _one_by_one(named, job, bars)
    from .segment_jobs import side_by_side

    return side_by_side(named, job, bars, jobs)


def _one_by_one(named: Iterable[NamedInput], job: CaseJob, bars: Bars) -> Iterator[CaseOutcome]:
    """Run each case in this process; only the outcome of the previous one is kept."""
    from ..segmentation.memory import limit_heap, release_memory

    limit_heap()
    for item in named:
        yield run_case(item, job, bars.case(item.case))
        release_memory()


class _Told:
    """Report of the cases: rows and warnings are kept, images are not.

    Attributes
    ----------
    done, already, refused : int
        Cases that ended so.
    warnings : list of str
        Of all cases, without duplicates, including cases done before.
    """

    def __init__(self, messages: Console, quiet: bool, as_json: bool) -> None:
        self._messages = messages
        self._quiet = quiet
        self._as_json = as_json
        self._lines = _Lines(as_json)
        self._rows: deque[CaseOutcome] = deque(maxlen=LISTED)
        self._warnings: dict[str, None] = {}
        self.done = self.already = self.refused = 0

    @property
    def warnings(self) -> list[str]:
        """Warnings of all cases, without duplicates."""
        return list(self._warnings)

    def case(self, outcome: CaseOutcome, bars: Bars) -> None:
        """Report a finished case."""
        if outcome.status == ALREADY_DONE:
            self.already += 1
            bars.drop()
            summary = outcome.summary or {}
            self._warnings.update(dict.fromkeys(warnings_from(summary.get("warnings"))))
            self._lines.already(summary)
        elif outcome.status == FAILED and outcome.error is not None:
            self.refused += 1
            bars.drop()
            show_error(bars.console, outcome.error, outcome.case)
            self._lines.refused(outcome.case, outcome.error)
        else:
            self.done += 1
            self._rows.append(outcome)
            self._warnings.update(dict.fromkeys(outcome.warnings))
            self._lines.done(outcome.summary or {})
            for text in () if self._quiet else outcome.information:
                show_information(bars.console, text, outcome.case)
            for warning in outcome.warnings:
                show_warning(bars.console, warning, outcome.case)

    def error(self, error: FlairSegError, inputs: int) -> None:
        """Report an error that prevented all segmentations."""
        self.refused = inputs
        self._lines.error(error)
        self._lines.end(0, 0, inputs)

    def end(self, output: Path, inputs: int, dicom: Path | None) -> None:
        """The whole call."""
        self._lines.end(self.done, self.already, self.refused)
        if self.already and not self._quiet:
            self._messages.print(f"{self.already} already done.", soft_wrap=True)
        if self.done and not (self._quiet or self._as_json):
            results = results_console()
            results.print(_table(self._rows))
            if self.done > LISTED:
                results.print(f"The last {LISTED} of {self.done} cases are listed.", soft_wrap=True)
            results.print(Text.assemble("Results are in ", (str(output), "bold"), "."), soft_wrap=True)
            if dicom is not None:
                results.print(Text.assemble("DICOM objects are in ", (str(dicom), "bold"), "."), soft_wrap=True)
            results.print("Research use only - not a medical device.", style="dim")
        if self.refused and not self._quiet:
            self._messages.print(f"{self.refused} of {inputs} inputs could not be segmented.", soft_wrap=True)


def _table(rows: Iterable[CaseOutcome]) -> Table:
    """One row per case: volumes, lesion count, seconds, number of warnings."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Case", overflow="fold")
    for label_class in CLASSES:
        style = f"rgb({','.join(map(str, label_class.rgb))})"
        head = Text(f"{label_class.short_name}\nml", style=style, justify="right")
        table.add_column(head, justify="right", no_wrap=True)
        if label_class.value == LESION:
            table.add_column(Text("Lesions\ncount", justify="right"), justify="right", no_wrap=True)
    table.add_column("Seconds", justify="right")
    table.add_column("Warnings", justify="right")
    for row in rows:
        if row.figures is None:
            continue
        figures, warnings = row.figures, len(row.warnings)
        table.add_row(
            Text(row.case),
            *("-" if (ml := figures.volumes_ml[c.value]) is None else f"{ml:.2f}" for c in CLASSES),
            str(figures.lesion_count),
            f"{figures.seconds:.1f}",
            Text(str(warnings) if warnings else "-", style="yellow" if warnings else "dim"),
        )
    return table


class _Lines:
    """Each case as a line of JSON on standard output, if requested."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def _write(self, event: str, **values: object) -> None:
        if self._wanted:
            sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
            sys.stdout.flush()

    def done(self, summary: Mapping[str, object]) -> None:
        """A case that was segmented: its ``summary.json``."""
        self._write("case", status="done", **summary)

    def already(self, summary: Mapping[str, object]) -> None:
        """A case whose results were there."""
        self._write("case", status="already-done", **summary)

    def refused(self, case: str, error: FlairSegError) -> None:
        """A case without a result."""
        known = {"code": error.code, "message": error.message, "advice": error.advice}
        self._write("case", status="failed", case=case, **known)

    def error(self, error: FlairSegError) -> None:
        """An error of the whole call."""
        self._write("error", code=error.code, message=error.message, advice=error.advice)

    def end(self, done: int, already: int, refused: int) -> None:
        """The counts of the call."""
        self._write("end", done=done, already_done=already, failed=refused)
