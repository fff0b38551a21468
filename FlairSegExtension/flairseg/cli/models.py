"""``flairseg models``: what is installed, from where, and whether it is intact."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ..errors import FlairSegError, ModelNotFoundError
from ..models.card import ModelCard
from ..models.store import DEFAULT_MODEL, ENVIRONMENT, survey, verify_model
from .console import REFUSED, WRITTEN, messages_console, results_console, show_error


def show_models() -> int:
    """Print the table; exit code 2 if there is no model or one is damaged."""
    messages, results = messages_console(), results_console()
    found = survey()
    table = Table(title="Models", title_justify="left", title_style="bold", caption="* used when no --model is given")
    table.add_column("Id", no_wrap=True)
    for column in ("Title", "Licence"):
        table.add_column(column, overflow="fold")
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Found in")
    table.add_column("Weights")
    problems: list[tuple[str, FlairSegError]] = []
    for where, card in found:
        if isinstance(card, FlairSegError):
            problems.append((where, card))
            continue
        try:
            verify_model(card)
            state, style = "intact", "green"
        except FlairSegError as error:
            problems.append((card.id, error))
            gone = isinstance(error, ModelNotFoundError)
            state, style = "missing" if gone else "damaged", "bold red"
        name = f"{card.id} *" if card.id == DEFAULT_MODEL else card.id
        table.add_row(
            Text(name), Text(card.title), Text(card.licence), _size(card), Text(where), Text(state, style=style)
        )
    if table.row_count:
        results.print(table)
    else:
        advice = f"Reinstall FlairSeg, or name folders with models in ${ENVIRONMENT}."
        problems.append(("", FlairSegError("No usable model was found.", advice)))
    for about, error in problems:
        show_error(messages, error, about)
    return REFUSED if problems else WRITTEN


def _size(card: ModelCard) -> str:
    if card.members:
        return f"{len(card.members)} models"
    try:
        return f"{card.path.stat().st_size / 1e6:.1f} MB"
    except OSError:
        return "-"
