"""``flairseg compare``: several models on one case; a table of their findings and one of their agreement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..io.dicom_names import learn_headers
from ..labels import CLASSES, LESION
from .console import REFUSED, WRITTEN, command, show_error, show_information, show_warning, strict_code
from .pseudonyms import NO_PSEUDONYMS, PseudonymOptions, finish, nameless, start, told
from .segment_bars import Bars
from .segment_case import learned

if TYPE_CHECKING:
    from ..comparison.comparing import Comparison
    from ..files.names import NamedInput
    from ..privacy.pseudonyms import Pseudonymiser

#: In place of a list: every model that is installed.
ALL = "all"
_UNKNOWN = "-"


@dataclass(frozen=True)
class CompareOptions:
    """Options of ``flairseg compare``, named as on the command line."""

    output: Path
    models: str = ALL
    device: str = "auto"
    overwrite: bool = False
    name: str | None = None
    strict: bool = False
    pseudonyms: PseudonymOptions = NO_PSEUDONYMS


@command()
def compare_models(messages: Console, results: Console, path: Path, options: CompareOptions) -> int:
    """Compare the models on one case and write the files; the exit code of the command."""
    from ..files.names import name_inputs

    pseudonymiser = start(messages, *options.pseudonyms)
    with nameless(pseudonymiser):
        (item,) = name_inputs([path], options.output, [] if options.name is None else [options.name])
        if pseudonymiser is not None:
            learn_headers(path, pseudonymiser)
            item = learned(item, pseudonymiser)
        comparison = _compare(item, options, pseudonymiser, messages)
    failed = [(one.card.id, one.error) for one in comparison.models if one.error is not None]
    for text in comparison.volume.information:
        show_information(messages, text)
    for one in comparison.models:
        for warning in one.segmentation.warnings if one.segmentation is not None else ():
            show_warning(messages, warning, one.card.id)
    for model, failure in failed:
        show_error(messages, told(failure, pseudonymiser), model)
    for table in (_volumes(comparison), *_agreement(comparison)):
        results.print(table)
    results.print(Text.assemble("Results are in ", (str(options.output), "bold"), "."), soft_wrap=True)
    results.print("Research use only - not a medical device.", style="dim")
    if failed:
        messages.print(f"{len(failed)} of {len(comparison.models)} models failed.", soft_wrap=True)
    code = WRITTEN if finish(messages, pseudonymiser, options.pseudonyms[2]) and not failed else REFUSED
    done = [one.segmentation for one in comparison.models if one.segmentation is not None]
    return strict_code(messages, code, [warning for result in done for warning in result.warnings], options.strict)


def _compare(
    item: NamedInput, options: CompareOptions, pseudonymiser: Pseudonymiser | None, messages: Console
) -> Comparison:
    from ..comparison.comparing import choose_models, compare
    from ..comparison.writing import check_comparison, write_comparison

    output, overwrite = options.output, options.overwrite
    names = [name.strip() for name in options.models.split(",") if name.strip()]
    cards = choose_models(None if names == [ALL] else names)
    check_comparison(output, item.stem, overwrite)
    with Bars(messages, len(cards)) as bars:
        progress = _PerModel(len(cards), bars.case)
        comparison = compare(item.path, cards, options.device, progress)
        progress.finish()
    comparison = replace(comparison, volume=replace(comparison.volume, name=item.case))
    if pseudonymiser is not None:
        comparison = comparison.pseudonymised(pseudonymiser, item.case)
    write_comparison(comparison, output, item.stem, overwrite)
    return comparison


class _PerModel:
    """Progress of the comparison, one bar per model."""

    def __init__(self, count: int, start_bar: Callable[[str], Callable[[float, str], None]]) -> None:
        self._count, self._start_bar = count, start_bar
        self._model, self._number = "", -1
        self._bar: Callable[[float, str], None] | None = None

    def __call__(self, fraction: float, stage: str) -> None:
        model, _, name = stage.rpartition(":")
        if model != self._model:
            self.finish()
            self._model, self._bar = model, self._start_bar(model)
            self._number = int(fraction * self._count + 1e-6)
        # A full bar means "done": only once the model's result is available.
        if self._bar is not None:
            self._bar(min(fraction * self._count - self._number, 0.99), name)

    def finish(self) -> None:
        """Complete the current bar."""
        if self._bar is not None:
            self._bar(1.0, "")


def _volumes(comparison: Comparison) -> Table:
    """One row per model: volumes, lesion count, seconds."""
    table = Table(box=box.ROUNDED, header_style="bold")
    table.add_column("Model", overflow="fold")
    for label_class in CLASSES:
        style = f"rgb({','.join(map(str, label_class.rgb))})"
        head = "\n".join([*label_class.short_name.split(), "ml"])
        table.add_column(Text(head, style=style, justify="right"), justify="right", no_wrap=True)
        if label_class.value == LESION:
            table.add_column(Text("Lesions\ncount", justify="right"), justify="right")
    table.add_column("Seconds", justify="right")
    for one in comparison.models:
        if one.error is not None:
            table.add_row(Text(one.card.id), *[_UNKNOWN] * 4, Text("failed", style="bold red"))
            continue
        figures = one.figures
        volumes = [_UNKNOWN if ml is None else f"{ml:.2f}" for ml in figures.volumes_ml.values()]
        count = _UNKNOWN if figures.lesion_count is None else str(figures.lesion_count)
        table.add_row(Text(one.card.id), *volumes, count, f"{figures.seconds:.1f}")
    return table


def _agreement(comparison: Comparison) -> list[Table]:
    """Dice of each class segmented by two or more models, for each pair of models."""
    tables = []
    titles = {c.id: c.name for c in CLASSES}
    for key, matrix in comparison.dice().items():
        known = [n for n in range(len(matrix)) if not np.isnan(matrix[n, n])]
        if len(known) < 2:
            continue
        title = f"Dice: {titles.get(key, 'all WMH (normal and lesions)')}"
        table = Table(title=title, title_justify="left", title_style="bold", box=box.ROUNDED, header_style="bold")
        table.add_column("", no_wrap=True)
        table.add_column("Model", overflow="fold")
        for n in known:
            table.add_column(str(n + 1), justify="right")
        for n in known:
            cells = [_UNKNOWN if n == other else f"{matrix[n, other]:.2f}" for other in known]
            table.add_row(str(n + 1), Text(comparison.models[n].card.id), *cells)
        tables.append(table)
    return tables
