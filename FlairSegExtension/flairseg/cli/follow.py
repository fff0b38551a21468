"""``flairseg follow``: change between two or more studies of one patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .._lazy import postpone_numpy
from ..errors import FlairSegError
from ..io.dicom_names import learn_headers
from .console import REFUSED, WRITTEN, command, show_information, show_warning, strict_code
from .dates import iso_date
from .label_options import files_and_meanings
from .pseudonyms import NO_PSEUDONYMS, PseudonymOptions, finish, nameless, start

if TYPE_CHECKING:
    from ..longitudinal import FollowUp, StudyInput
    from ..longitudinal.result import SelfGrade
    from ..privacy.pseudonyms import Pseudonymiser

#: Label of each stage in the progress bar.
STAGE_NAMES = {
    "segment": "segmenting",
    "register": "registering",
    "compare": "comparing",
    "regions": "finding regions",
    "grade": "grading on injected lesions",
    "write": "writing",
}
#: Given instead of a label map: this study is segmented by the model.
NO_LABELS = "-"


@dataclass(frozen=True)
class FollowOptions:
    """Options of ``flairseg follow``, named as on the command line."""

    output: Path
    labels: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    model: str | None = None
    device: str = "auto"
    overwrite: bool = False
    name: str | None = None
    regions: bool = True
    self_grade: bool = False
    strict: bool = False
    pseudonyms: PseudonymOptions = NO_PSEUDONYMS


@command()
def follow_studies(messages: Console, results: Console, studies: Sequence[Path], options: FollowOptions) -> int:
    """Follow one patient; the exit code of the command."""
    pseudonymiser = start(messages, *options.pseudonyms)
    with nameless(pseudonymiser):
        result = _follow(studies, options, messages, pseudonymiser)
    for n, study in enumerate(result.studies, start=1):
        for text in study.volume.information:
            show_information(messages, text, f"study {n}")
    for warning in result.warnings:
        show_warning(messages, warning)
    _print(results, result)
    if result.self_grade is not None:
        _print_grade(results, result.self_grade)
    results.print(Text.assemble("Results are in ", (str(options.output), "bold"), "."), soft_wrap=True)
    results.print("Research use only - not a medical device.", style="dim")
    code = WRITTEN if finish(messages, pseudonymiser, options.pseudonyms[2]) else REFUSED
    return strict_code(messages, code, result.warnings, options.strict)


def _follow(
    studies: Sequence[Path], options: FollowOptions, messages: Console, pseudonymiser: Pseudonymiser | None
) -> FollowUp:
    postpone_numpy()
    from ..files.names import case_name
    from ..longitudinal import follow, followup_stem, write_followup
    from ..longitudinal.writing import check_destination

    output, name = options.output, options.name
    stem = followup_stem(studies, output, name)
    if pseudonymiser is not None:
        for path in studies:
            pseudonymiser.learn_path(path)
            learn_headers(path, pseudonymiser)
        stem = pseudonymiser.case(name or case_name(studies[-1]))
    check_destination(output, stem, options.overwrite)
    given = _given(studies, options)
    with _bar(messages) as tell:
        result = follow(given, options.model, options.device, tell, None, options.regions, options.self_grade)
        if pseudonymiser is not None:
            result = _pseudonymised(result, pseudonymiser)
        tell(0.95, "write")
        write_followup(result, output, stem, options.overwrite)
        tell(1.0, "write")
    return result


def _given(studies: Sequence[Path], options: FollowOptions) -> list[StudyInput]:
    """Each study with its labels, what their values mean, and its date."""
    from ..longitudinal import StudyInput

    labels, mappings = files_and_meanings(options.labels, NO_LABELS)
    dates = [None if text == NO_LABELS else iso_date(text) for text in options.dates]
    count, none = len(studies), [None] * len(studies)
    for what, found in (("label map", len(labels)), ("date", len(dates))):
        if found not in (0, count):
            raise FlairSegError(
                f"There are {count} studies, but {found} {what}{'' if found == 1 else 's'}.",
                f"Give a {what} for every study (- where it is unknown), or none.",
            )
    given = zip(studies, labels or none, mappings or none, dates or none, strict=True)
    return [StudyInput(image, own, mapping, date) for image, own, mapping, date in given]


def _pseudonymised(result: FollowUp, pseudonymiser: Pseudonymiser) -> FollowUp:
    """The same result without names and with shifted dates."""
    from ..files.same_input import fingerprint

    studies = tuple(
        replace(
            study,
            volume=replace(
                study.volume,
                name=pseudonymiser.case(study.name),
                information=pseudonymiser.warnings(study.volume.information),
            ),
            source=pseudonymiser.text(study.source),
            date=pseudonymiser.date(study.date) or None if study.date else None,
            warnings=pseudonymiser.warnings(study.warnings),
            input_sha256=pseudonymiser.content_digest(study.input_sha256 or fingerprint(study.volume)),
        )
        for study in result.studies
    )
    return replace(result, studies=studies, warnings=list(pseudonymiser.warnings(result.warnings)), created="")


def _print(console: Console, result: FollowUp) -> None:
    """Print the changes and the studies."""
    from ..labels import CLASSES
    from ..longitudinal import STATES
    from ..longitudinal.result import study_volumes_ml
    from ..segmentation.postprocessing import lesion_components

    table = Table(box=box.ROUNDED, header_style="bold")
    table.add_column("Study")
    table.add_column("Date")
    for label_class in CLASSES:
        table.add_column(f"{label_class.short_name}\nml", justify="right")
    table.add_column("Lesions\ncount", justify="right")
    for study in result.studies:
        volumes = ["-" if ml is None else f"{ml:.2f}" for ml in study_volumes_ml(study).values()]
        table.add_row(Text(study.name), study.date or "-", *volumes, str(lesion_components(study.labels)[1]))
    console.print(table)
    counts = Table(box=box.ROUNDED, header_style="bold")
    for state in STATES:
        counts.add_column(Text(state.name, style=f"rgb({','.join(map(str, state.rgb))})"), justify="right")
    counts.add_row(*(str(result.counts[state.id]) for state in STATES))
    console.print(counts)
    for n, study in enumerate(result.studies, start=1):
        if study.added:
            console.print(
                f"{study.added} lesion{'s' * (study.added > 1)} of study {n} that two studies show together "
                f"{'were' if study.added > 1 else 'was'} added to its label map (_study{n}_labels.nii.gz)."
            )
    ventricles = result.ventricles
    if ventricles.change_ml is not None and ventricles.change_percent is not None:
        verdict = "beyond the noise" if ventricles.beyond_noise else "within the noise"
        console.print(
            f"Ventricles {ventricles.change_ml:+.2f} ml ({ventricles.change_percent:+.1f} %): {verdict} of "
            f"±{ventricles.noise_percent:g} %."
        )


def _print_grade(console: Console, grade: SelfGrade) -> None:
    """Print the detected injected lesions, and the changes called where nothing changed."""
    table = Table(box=box.ROUNDED, header_style="bold", title="Self-grade: injected lesions found")
    for size in grade.sizes:
        table.add_column(f"{size.volume_mm3:g} mm³", justify="right")
    table.add_row(*(f"{size.found} of {size.injected}" for size in grade.sizes))
    console.print(table)
    listed = ", ".join(f"{state} {mm3:.0f} mm³" for state, mm3 in grade.false_changes)
    console.print(
        f"Falsely called changes in a re-positioned copy of the last study: {len(grade.false_changes)} of "
        f"{grade.compared} lesions{f' ({listed})' if listed else ''}."
    )


class _bar:
    """Context manager of a progress bar (nothing in a log file); yields the progress callback."""

    def __init__(self, console: Console) -> None:
        self._progress = None
        if console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(), TextColumn("following"), BarColumn(bar_width=28),
                TextColumn("{task.fields[stage]}", style="dim"), TimeElapsedColumn(), console=console,
            )  # fmt: skip

    def __enter__(self) -> Callable[[float, str], None]:
        if self._progress is None:
            return lambda fraction, stage: None
        progress = self._progress
        progress.start()
        task = progress.add_task("", total=1.0, stage="")
        return lambda fraction, stage: progress.update(task, completed=fraction, stage=STAGE_NAMES.get(stage, stage))

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()
