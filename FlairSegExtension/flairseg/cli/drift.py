"""``flairseg drift``: control charts of the cases reviewed with a model."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .adapt import bar
from .console import UNTRUSTED, WRITTEN, command


@command("Interrupted.")
def watch_drift(messages: Console, results: Console, cases: Path, model: str | None, images: bool) -> int:
    """Print the charts' last values; exit code 3 with an alarm."""
    from ..adapt.drift import CHARTS, RULE, watch

    with bar(messages) as progress:
        found = watch(cases, model, images, progress)
    title = f"{found.watched} cases since a baseline of {found.baseline}, {found.model}"
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    table.add_column("Figure")
    for column in ("Baseline", "Latest", "Chart", "Limit", ""):
        table.add_column(column, justify="right")
    for one in found.charts:
        alarm = "" if one.alarm is None else f"ALARM at case {one.alarm + 1}"
        recent = [value for value in one.values if value == value][-5:]
        latest = f"{sum(recent) / len(recent):.3f}" if recent else "-"
        table.add_row(
            CHARTS[one.name][0], f"{one.mean:.3f}", latest, f"{one.averages[-1]:+.2f}", f"{one.limit:.1f}", alarm
        )
    results.print(table)
    if found.unread:
        results.print(f"Images that could not be read and are not charted: {found.unread}.")
    if found.damaged:
        results.print(f"Verdicts that could not be read and are not charted: {found.damaged}.")
    results.print(Text(RULE.format(limit=found.limit, rate=found.false_alarms)), soft_wrap=True)
    if found.alarms:
        names = ", ".join(CHARTS[one.name][0] for one in found.alarms)
        results.print(
            Text(f"Changed since the baseline: {names}. Review recent cases; adapt again, or roll back."),
            soft_wrap=True,
        )
        return UNTRUSTED
    results.print("No change is shown.")
    return WRITTEN
