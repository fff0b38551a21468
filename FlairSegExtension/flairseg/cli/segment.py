"""``flairseg segment``: case after case, progress on standard error, a table of results on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import CaseWarning, FlairSegError, OutputError, warnings_from
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
from .pseudonyms import NO_PSEUDONYMS, PseudonymOptions, finish, start, told
from .segment_again import AlreadyDone, raise_if_done

if TYPE_CHECKING:
    from ..dicom import DicomVolume
    from ..files.names import NamedInput
    from ..models.card import ModelCard
    from ..privacy.pseudonyms import Pseudonymiser
    from ..segmentation.result import Segmentation

#: Cases that the table on the screen lists; all are in the files.
LISTED = 50
#: Terminals narrower than this get no bar, the stage alone.
_BAR_WIDTH = 70
#: What the progress bar calls each stage.
STAGE_NAMES = {
    "read": "reading",
    "preprocess": "finding the brain",
    "inference": "segmenting",
    "postprocess": "cleaning up",
    "regions": "finding regions",
    "write": "writing",
}


def segment_cases(
    inputs: Sequence[Path],
    output: Path,
    model: str | None,
    device: str,
    probabilities: bool,
    overwrite: bool,
    pseudonyms: PseudonymOptions = NO_PSEUDONYMS,
    regions: bool = True,
    dicom: DicomOptions = NO_DICOM,
    strict: bool = False,
    lesion_mask: bool | None = None,
    names: Sequence[str] = (),
    threshold: float | None = None,
    quiet: bool = False,
    as_json: bool = False,
) -> int:
    """Segment every input; the exit code of the command."""
    messages, results = messages_console(), results_console()
    finished: list[tuple[str, Segmentation]] = []
    kept: list[CaseWarning] = []
    told_by = _Lines(as_json)
    pseudonymiser: Pseudonymiser | None = None
    refused = already = 0
    code = WRITTEN
    try:
        with interruptible():
            from ..files.names import name_inputs
            from ..models.card import with_lesion_threshold
            from ..models.store import find_model

            inputs = list({Path(p).absolute(): p for p in inputs}.values())
            try:
                named = name_inputs(inputs, output, names, one_name_one_input=pseudonyms[0])
                card = with_lesion_threshold(find_model(model), threshold)
                pseudonymiser = start(messages, *pseudonyms)
            except FlairSegError as error:
                show_error(messages, error)
                return REFUSED
            with _Bars(messages, len(inputs), quiet) as bars:
                if pseudonymiser is not None:
                    named = [_learned(item, pseudonymiser) for item in named]
                for item in named:
                    progress = bars.case(item.case)
                    try:
                        if item.refusal is not None:
                            raise item.refusal
                        case = _segment_case(
                            item, output, card, device, probabilities, overwrite, progress, pseudonymiser, regions,
                            dicom, lesion_mask,
                        )  # fmt: skip
                    except AlreadyDone as there:
                        already += 1
                        kept.extend(warnings_from(there.summary.get("warnings")))
                        bars.drop()
                        told_by.already(there.summary)
                        continue
                    except Exception as error:  # noqa: BLE001 - a defect in one case must not cost the others
                        refused += 1
                        bars.drop()
                        shown = told(_told(error), pseudonymiser)
                        show_error(bars.console, shown, item.case)
                        told_by.refused(item.case, shown)
                        continue
                    finished.append((case.volume.name, case))
                    told_by.done(case)
                    for text in () if quiet else case.volume.information:
                        show_information(bars.console, text, case.volume.name)
                    for warning in case.warnings:
                        show_warning(bars.console, warning, case.volume.name)
            code = REFUSED if refused else WRITTEN
    except KeyboardInterrupt:
        messages.print("Interrupted. Cases that were finished are kept; nothing half-written is left.", soft_wrap=True)
        code = INTERRUPTED
    if not finish(messages, pseudonymiser, pseudonyms[2]):
        code = code or REFUSED
    told_by.end(len(finished), already, refused)
    if already and not quiet:
        messages.print(f"{already} already done.", soft_wrap=True)
    if finished and not (quiet or as_json):
        results.print(_table(finished[-LISTED:]))
        if len(finished) > LISTED:
            results.print(f"The last {LISTED} of {len(finished)} cases are listed.", soft_wrap=True)
        results.print(Text.assemble("Results are in ", (str(output), "bold"), "."), soft_wrap=True)
        if dicom.folder is not None:
            results.print(Text.assemble("DICOM objects are in ", (str(dicom.folder), "bold"), "."), soft_wrap=True)
        results.print("Research use only - not a medical device.", style="dim")
    if refused and not quiet:
        messages.print(f"{refused} of {len(inputs)} inputs could not be segmented.", soft_wrap=True)
    return strict_code(messages, code, [*kept, *(w for _, case in finished for w in case.warnings)], strict)


def _learned(item: NamedInput, pseudonymiser: Pseudonymiser) -> NamedInput:
    """The input under the pseudonym of its case, which names its files too."""
    pseudonym = pseudonymiser.learn_path(item.path, item.case)
    return replace(item, case=pseudonym, stem=pseudonym)


def _segment_case(
    item: NamedInput,
    output: Path,
    card: ModelCard,
    device: str,
    probabilities: bool,
    overwrite: bool,
    progress: Callable[[float, str], None],
    pseudonymiser: Pseudonymiser | None = None,
    regions: bool = True,
    dicom: DicomOptions = NO_DICOM,
    lesion_mask: bool | None = None,
) -> Segmentation:
    from ..progress import STAGES
    from ..segmentation.pipeline import segment
    from ..segmentation.writing import check_destination, write_segmentation

    # Results of an earlier version are done without the mask, which is written unless it is declined.
    wanted = _wanted(probabilities and bool(card.members), probabilities, bool(lesion_mask))
    try:
        check_destination(output, item.stem, overwrite)
        dicom.check(item.path, item.stem, overwrite)
    except OutputError as error:
        raise_if_done(error, item, output, card, wanted, regions, dicom, pseudonymiser)
        raise
    began = time.perf_counter()
    read = dicom.read(item.path, lambda fraction, stage: progress(STAGES["read"] * fraction, stage), pseudonymiser)
    spent = time.perf_counter() - began
    if read is not None and not item.given:
        item = _named_by_series(item, read, output, overwrite, pseudonymiser)
    if overwrite:
        _refuse_other_input(item, output, read, pseudonymiser)
    case = segment(item.path if read is None else read.volume, card, device, progress, regions=regions)
    if read is not None:
        case = dicom.named(case, item.path, spent)
    case = replace(case, volume=replace(case.volume, name=item.case))
    if pseudonymiser is not None:
        from ..segmentation.pseudonymised import pseudonymised

        case = pseudonymised(case, pseudonymiser, item.case)
    progress(STAGES["regions"], "write")
    if read is not None:
        case.warnings.extend(dicom.write(case, read, item.stem, pseudonymiser, overwrite))
    write_segmentation(case, output, item.stem, probabilities, overwrite, lesion_mask=lesion_mask is not False)
    progress(1.0, "write")
    return case


def _wanted(disagreement: bool, probabilities: bool, lesion_mask: bool) -> set[str]:
    """The files of a case that were asked for, as :func:`flairseg.segmentation.writing.file_names` calls them."""
    wanted = {"labels", "segmentation", "overview", "lesions", "summary"}
    wanted |= {"probabilities"} if probabilities else set()
    wanted |= {"disagreement"} if disagreement else set()
    return wanted | ({"lesion_mask"} if lesion_mask else set())


def _named_by_series(
    item: NamedInput, read: DicomVolume, output: Path, overwrite: bool, pseudonymiser: Pseudonymiser | None
) -> NamedInput:
    """The input named by the header of the series that was taken: a folder may hold several studies."""
    from ..files.names import result_stem
    from ..segmentation.writing import check_destination

    case = read.volume.name
    if pseudonymiser is not None:
        renamed = _learned(replace(item, case=case), pseudonymiser)
    else:
        renamed = replace(item, case=case, stem=result_stem(case, item.path, output))
    if renamed.stem != item.stem:
        check_destination(output, renamed.stem, overwrite)
    return renamed


def _refuse_other_input(
    item: NamedInput, output: Path, read: DicomVolume | None, pseudonymiser: Pseudonymiser | None
) -> None:
    """Refuse, before the model runs, to replace the results of another input."""
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


def _told(error: Exception) -> FlairSegError:
    """The error as a user should read it."""
    if isinstance(error, FlairSegError):
        return error
    if isinstance(error, MemoryError):
        return FlairSegError(
            "There is not enough memory for this image.",
            "Close other programs, or resample the image to larger voxels.",
        )
    return FlairSegError(
        f"Something went wrong that should not ({type(error).__name__}: {error}).",
        "This is a defect of FlairSeg: please report it with this message.",
    )


def _table(finished: Sequence[tuple[str, Segmentation]]) -> Table:
    """One row per case: volumes, lesion count, seconds, number of warnings."""
    table = Table(box=box.ROUNDED, header_style="bold")
    table.add_column("Case", overflow="fold")
    for label_class in CLASSES:
        style = f"rgb({','.join(map(str, label_class.rgb))})"
        head = Text(f"{label_class.short_name}\nml", style=style, justify="right")
        table.add_column(head, justify="right", no_wrap=True)
        if label_class.value == LESION:
            table.add_column(Text("Lesions\ncount", justify="right"), justify="right", no_wrap=True)
    table.add_column("Seconds", justify="right")
    table.add_column("Warnings", justify="right")
    for stem, case in finished:
        volumes = case.known_volumes_ml()
        warnings = len(case.warnings)
        table.add_row(
            Text(stem),
            *("-" if (ml := volumes[c.value]) is None else f"{ml:.2f}" for c in CLASSES),
            str(case.lesion_count),
            f"{case.seconds['total']:.1f}",
            Text(str(warnings) if warnings else "-", style="yellow" if warnings else "dim"),
        )
    return table


class _Lines:
    """Each case as a line of JSON on standard output, where that was asked for."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def _write(self, event: str, **values: object) -> None:
        if self._wanted:
            sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
            sys.stdout.flush()

    def done(self, case: Segmentation) -> None:
        """A case that was segmented: its ``summary.json``."""
        self._write("case", status="done", **case.summary())

    def already(self, summary: Mapping[str, object]) -> None:
        """A case whose results were there."""
        self._write("case", status="already-done", **summary)

    def refused(self, case: str, error: FlairSegError) -> None:
        """A case without a result."""
        known = {"code": error.code, "message": error.message, "advice": error.advice}
        self._write("case", status="failed", case=case, **known)

    def end(self, done: int, already: int, refused: int) -> None:
        """The counts of the call."""
        self._write("end", done=done, already_done=already, failed=refused)


class _Bars:
    """The present case and, of several, how far the call is: two lines on a terminal; one line per case in a log."""

    def __init__(self, console: Console, count: int, quiet: bool = False) -> None:
        self.console = console
        self._count = count
        self._number = 0
        self._quiet = quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._all: TaskID | None = None
        if console.is_terminal and not quiet:
            wide = console.width >= _BAR_WIDTH
            columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
            columns += [BarColumn(bar_width=28)] if wide else []
            columns += [TextColumn("{task.fields[stage]}", style="dim")]
            self._progress = Progress(SpinnerColumn(), *columns, TimeElapsedColumn(), console=console)
            if count > 1:
                self._all = self._progress.add_task(f"{count} cases", total=count, stage="")

    def __enter__(self) -> _Bars:
        (self._progress or nullcontext()).__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def case(self, stem: str) -> Callable[[float, str], None]:
        """Start the bar of the next case, in place of the one before; what to call with its progress."""
        self._number += 1
        title = f"[{self._number}/{self._count}] {stem}" if self._count > 1 else stem
        if self._progress is None:
            if not self._quiet:
                self.console.print(title, markup=False, soft_wrap=True)
            return lambda fraction, stage: None
        progress = self._progress
        self.drop()
        if self._all is not None:
            progress.update(self._all, completed=self._number - 1)
        task = self._task = progress.add_task(_shortened(title, min(40, self.console.width // 2)), total=1.0, stage="")

        def update(fraction: float, stage: str) -> None:
            name = STAGE_NAMES.get(stage, stage) if fraction < 1 else "done"
            progress.update(task, completed=fraction, stage=name)
            if fraction >= 1 and self._all is not None:
                progress.update(self._all, completed=self._number)

        return update

    def drop(self) -> None:
        """Take the bar of the present case away."""
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def _shortened(title: str, width: int = 40) -> str:
    width = max(width, 20)
    return title if len(title) <= width else title[: width - 14] + "..." + title[-11:]
