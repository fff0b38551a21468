"""``flairseg segment``: case after case, progress on standard error, a table of results on standard output."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import FlairSegError, OutputError
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

if TYPE_CHECKING:
    from ..dicom import DicomVolume
    from ..files.names import NamedInput
    from ..privacy.pseudonyms import Pseudonymiser
    from ..segmentation.pipeline import Segmentation

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
    lesion_mask: bool = False,
    names: Sequence[str] = (),
) -> int:
    """Segment every input; the exit code of the command."""
    messages, results = messages_console(), results_console()
    finished: list[tuple[str, Segmentation]] = []
    pseudonymiser: Pseudonymiser | None = None
    refused = 0
    code = WRITTEN
    try:
        with interruptible():
            from ..files.names import name_inputs
            from ..models.store import find_model

            inputs = list({Path(p).absolute(): p for p in inputs}.values())
            try:
                named = name_inputs(inputs, output, names, one_name_one_input=pseudonyms[0])
                card = find_model(model)
                pseudonymiser = start(messages, *pseudonyms)
            except FlairSegError as error:
                show_error(messages, error)
                return REFUSED
            with _Bars(messages, len(inputs)) as bars:
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
                    except Exception as error:  # noqa: BLE001 - a defect in one case must not cost the others
                        refused += 1
                        bars.drop()
                        show_error(bars.console, told(_told(error), pseudonymiser), item.case)
                        continue
                    finished.append((case.volume.name, case))
                    for text in case.volume.information:
                        show_information(bars.console, text, case.volume.name)
                    for warning in case.warnings:
                        show_warning(bars.console, warning, case.volume.name)
            code = REFUSED if refused else WRITTEN
    except KeyboardInterrupt:
        messages.print("Interrupted. Cases that were finished are kept; nothing half-written is left.", soft_wrap=True)
        code = INTERRUPTED
    if not finish(messages, pseudonymiser, pseudonyms[2]):
        code = code or REFUSED
    if finished:
        results.print(_table(finished))
        results.print(Text.assemble("Results are in ", (str(output), "bold"), "."), soft_wrap=True)
        if dicom.folder is not None:
            results.print(Text.assemble("DICOM objects are in ", (str(dicom.folder), "bold"), "."), soft_wrap=True)
        results.print("Research use only - not a medical device.", style="dim")
    if refused:
        messages.print(f"{refused} of {len(inputs)} inputs could not be segmented.", soft_wrap=True)
    return strict_code(messages, code, [w for _, case in finished for w in case.warnings], strict)


def _learned(item: NamedInput, pseudonymiser: Pseudonymiser) -> NamedInput:
    """The input under the pseudonym of its case, which names its files too."""
    pseudonym = pseudonymiser.learn_path(item.path, item.case)
    return replace(item, case=pseudonym, stem=pseudonym)


def _segment_case(
    item: NamedInput,
    output: Path,
    card,
    device: str,
    probabilities: bool,
    overwrite: bool,
    progress: Callable[[float, str], None],
    pseudonymiser: Pseudonymiser | None = None,
    regions: bool = True,
    dicom: DicomOptions = NO_DICOM,
    lesion_mask: bool = False,
) -> Segmentation:
    from ..segmentation.pipeline import STAGES, segment
    from ..segmentation.writing import check_destination, write_segmentation

    check_destination(output, item.stem, overwrite)
    dicom.check(item.path, item.stem, overwrite)
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
    write_segmentation(case, output, item.stem, probabilities, overwrite, lesion_mask=lesion_mask)
    progress(1.0, "write")
    return case


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


class _Bars:
    """One progress bar per case on a terminal; one line per case in a log file."""

    def __init__(self, console: Console, count: int) -> None:
        self.console = console
        self._count = count
        self._number = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(finished_text="[green]✓[/green]" if console.encoding.lower().startswith("utf") else "+"),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28),
                TextColumn("{task.fields[stage]}", style="dim"),
                TimeElapsedColumn(),
                console=console,
            )

    def __enter__(self) -> _Bars:
        (self._progress or nullcontext()).__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def case(self, stem: str) -> Callable[[float, str], None]:
        """Start the bar of the next case; what to call with its progress."""
        self._number += 1
        title = f"[{self._number}/{self._count}] {stem}" if self._count > 1 else stem
        if self._progress is None:
            self.console.print(title, markup=False, soft_wrap=True)
            return lambda fraction, stage: None
        progress = self._progress
        task = self._task = progress.add_task(_shortened(title), total=1.0, stage="")

        def update(fraction: float, stage: str) -> None:
            name = STAGE_NAMES.get(stage, stage) if fraction < 1 else "done"
            progress.update(task, completed=fraction, stage=name)

        return update

    def drop(self) -> None:
        """Take the bar of the present case away: it was refused, and the error says why."""
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)


def _shortened(title: str, width: int = 40) -> str:
    return title if len(title) <= width else title[: width - 14] + "..." + title[-11:]
