"""``flairseg evaluate``: segmentations against references, one report and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import FlairSegError
from .console import REFUSED, WRITTEN, command, show_error, show_warning, stage_bar, strict_code
from .label_options import meanings_by_name
from .pseudonyms import NO_PSEUDONYMS, PseudonymOptions, finish, nameless, start, told

if TYPE_CHECKING:
    from ..errors import CaseWarning
    from ..evaluation.inputs import EvaluationCase
    from ..evaluation.results import EvaluationResult, Refusal
    from ..io.label_meanings import LabelMapping
    from ..privacy.pseudonyms import Pseudonymiser

#: Label of each stage in the progress bar, and the fraction at which it ends.
_STAGES = {
    "cases": ("comparing", 0.9),
    "statistics": ("intervals and tests", 0.9),
    "report": ("writing the report", 1.0),
}
#: Metrics of the table on the screen: key, heading, decimals.
_SHOWN = (("dice", "Dice", 3), ("hd95_mm", "HD95\nmm", 1), ("average_precision", "AUC-PR", 3),
          ("lesion_f1", "Lesion\nF1", 3))  # fmt: skip


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of the command; see its help."""

    manifest: Path | None
    predictions: Sequence[str]
    references: Path | None
    images: Path | None
    output: Path
    labels: Sequence[str]
    thresholds: Sequence[str]
    training_logs: Sequence[Path]
    tolerance_mm: float
    lesion_overlap: str
    min_lesion_mm3: float
    slice_overlap: float
    seed: int
    overwrite: bool
    pseudonyms: PseudonymOptions = NO_PSEUDONYMS
    strict: bool = False


@command()
def evaluate_cases(messages: Console, results: Console, options: EvaluateOptions) -> int:
    """Evaluate and write; the exit code of the command."""
    pseudonymiser = start(messages, *options.pseudonyms)
    with nameless(pseudonymiser):
        result, written = _run(options, messages, pseudonymiser)
    for info in result.cases:
        for warning in info.warnings:
            show_warning(messages, warning, info.case)
    for note in result.notes:
        show_warning(messages, note)
    results.print(_table(result))
    for path, what in written:
        results.print(Text.assemble((str(path), "bold"), f"  {what}"), soft_wrap=True)
    results.print("Research use only - not a medical device.", style="dim")
    if result.refusals:
        count = sum(method.cases for method in result.methods) + len(result.refusals)
        messages.print(f"{len(result.refusals)} of {count} masks could not be evaluated.", soft_wrap=True)
    kept = finish(messages, pseudonymiser, options.pseudonyms[2])
    warnings = [*result.notes, *(warning for info in result.cases for warning in info.warnings)]
    return strict_code(messages, WRITTEN if kept and not result.refusals else REFUSED, warnings, options.strict)


def _run(
    options: EvaluateOptions, messages: Console, pseudonymiser: Pseudonymiser | None
) -> tuple[EvaluationResult, list[tuple[Path, str]]]:
    from ..evaluation.conventions import choose_conventions
    from ..evaluation.foreign import REFERENCE
    from ..evaluation.logs import read_training_log
    from ..evaluation.running import evaluate
    from ..evaluation.writing import FILES, check_destination, write_evaluation

    rule, minimum = _lesion_overlap(options.lesion_overlap)
    conventions = choose_conventions(
        options.tolerance_mm, rule, minimum, options.min_lesion_mm3, options.slice_overlap, options.seed
    )
    cases, notes = _cases(options)
    if pseudonymiser is not None:
        cases, notes = _pseudonymised(cases, pseudonymiser), [n.reworded(n.partition(":")[0] + ".") for n in notes]
    mappings = _mappings(options, {case.method for case in cases} | {REFERENCE})
    logs = [read_training_log(path) for path in options.training_logs]
    check_destination(options.output, options.overwrite)
    with stage_bar(messages, _STAGES["cases"][0], TimeElapsedColumn()) as update:

        def refused(refusal: Refusal) -> None:
            error = told(refusal.error or FlairSegError(refusal.message, refusal.advice), pseudonymiser)
            show_error(messages, error, f"{refusal.case}, {refusal.method}")

        def progress(fraction: float, stage: str) -> None:
            name, end = _STAGES[stage]
            start = 0.0 if stage != "report" else _STAGES["statistics"][1]
            update(start + (end - start) * fraction, name)

        result = evaluate(cases, conventions, mappings, progress, refused=refused).with_context(logs, notes)
        if pseudonymiser is not None:
            result = _without_names(result, pseudonymiser)
        paths = write_evaluation(result, options.output, options.overwrite, progress)
    return result, [(paths[name], what) for name, what in FILES.items()]


def _cases(options: EvaluateOptions) -> tuple[list[EvaluationCase], list[CaseWarning]]:
    """The cases of the table or of the folders, and what was left out."""
    from ..evaluation.inputs import match_folders, read_manifest

    folders = bool(options.predictions or options.references)
    if bool(options.manifest) == folders:
        raise FlairSegError(
            "Give either a table of cases or folders." if folders else "No cases were given.",
            "Write --manifest cases.csv, or --predictions NAME=FOLDER --references FOLDER.",
        )
    if options.manifest:
        return read_manifest(options.manifest), []
    if not options.predictions or options.references is None:
        raise FlairSegError(
            "Folders of predictions and of references are needed.",
            "Write --predictions NAME=FOLDER (for each method) and --references FOLDER.",
        )
    methods: dict[str, Path] = {}
    for text in options.predictions:
        name, sign, folder = text.partition("=")
        # A folder without a name is a method named like it.
        name, folder = (name.strip(), folder.strip()) if sign else (Path(text).resolve().name, text)
        if not name or not folder:
            raise FlairSegError(f"--predictions {text} cannot be understood.", "Write --predictions NAME=FOLDER.")
        if name in methods:
            raise FlairSegError(f"Two folders are called {name}.", "Give each method a different name.")
        methods[name] = Path(folder)
    return match_folders(methods, options.references, options.images)


def _pseudonymised(cases: Sequence[EvaluationCase], pseudonymiser: Pseudonymiser) -> list[EvaluationCase]:
    """Pseudonymise the cases and register the names of their files for replacement in texts."""
    for case in cases:
        pseudonym = pseudonymiser.case(case.case)
        for path in (case.prediction, case.reference, case.probabilities, case.image):
            if path is not None:
                pseudonymiser.learn(str(path), pseudonym)
                pseudonymiser.learn(path.name, pseudonym)
    return [replace(case, case=pseudonymiser.case(case.case)) for case in cases]


def _without_names(result: EvaluationResult, pseudonymiser: Pseudonymiser) -> EvaluationResult:
    """The result without names in its warnings and errors."""
    clean = pseudonymiser.text
    warnings = pseudonymiser.warnings
    return replace(
        result,
        cases=tuple(replace(c, warnings=warnings(c.warnings)) for c in result.cases),
        refusals=tuple(replace(r, message=clean(r.message), advice=clean(r.advice)) for r in result.refusals),
    )


def _mappings(options: EvaluateOptions, known: set[str]) -> dict[str, LabelMapping]:
    from ..evaluation.foreign import OWN, REFERENCE, with_threshold

    mappings = meanings_by_name(options.labels, known, REFERENCE)
    for text in options.thresholds:
        method, _, number = text.rpartition("=")
        try:
            threshold = float(number)
        except ValueError as error:
            raise FlairSegError(f"--threshold {text} cannot be understood.", "Write --threshold METHOD=0.5.") from error
        mappings[method] = with_threshold(mappings.get(method, OWN), threshold, method)
    unknown = sorted(mappings.keys() - known)
    if unknown:
        raise FlairSegError(
            f"There is no method {unknown[0]} among the cases.", f"Methods are: {', '.join(sorted(known))}."
        )
    return mappings


def _lesion_overlap(text: str) -> tuple[str, float | None]:
    """Rule and minimum of ``voxels``, ``voxels:3``, ``fraction:0.1``, ``iou:0.25``."""
    rule, sign, number = text.partition(":")
    try:
        return rule.strip().lower(), float(number) if sign else None
    except ValueError as error:
        raise FlairSegError(
            f"--lesion-overlap {text} cannot be understood.", "Write voxels:1, fraction:0.1 or iou:0.25."
        ) from error


def _table(result: EvaluationResult) -> Table:
    """Means over patients, a row per method and class."""
    from ..evaluation.terms import CLASS_TITLES

    means = {(row.method, row.class_id, row.figure): row.mean for row in result.summary if row.grouping == "all"}
    table = Table(box=box.ROUNDED, header_style="bold", title="Means over patients")
    table.add_column("Method", overflow="fold", min_width=12)
    table.add_column("Class", no_wrap=True)
    table.add_column("Patients", justify="right", no_wrap=True)
    for _, heading, _ in _SHOWN:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for method in result.methods:
        for class_id in method.classes:
            found = [means.get((method.name, class_id, key)) for key, _, _ in _SHOWN]
            cells = [
                "-" if mean is None or mean.value is None else f"{mean.value:.{digits}f}"
                for mean, (_, _, digits) in zip(found, _SHOWN, strict=True)
            ]
            table.add_row(Text(method.name), CLASS_TITLES[class_id], str(method.cases), *cells)
    return table
