"""``flairseg models``: list installed models and verify them; install, select, remove and export."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import FlairSegError, ModelNotFoundError
from ..models import store
from ..models.card import ModelCard
from ..models.in_use import parent_of
from ..models.scope import scope_of
from ..models.store import ENVIRONMENT, default_model, find_model, survey, verify_model
from .console import REFUSED, WRITTEN, messages_console, results_console, show_error


def change_models(
    use: str | None, anyway: bool, accepted: tuple[str, ...], rollback: bool, remove: str | None, export: str | None,
    file: Path | None, install: Path | None,
) -> int:  # fmt: skip
    """Install, select, roll back, remove or export, then print the model in use; the exit code of the command."""
    messages, results = messages_console(), results_console()
    asked = {"--use": use, "--rollback": rollback or None, "--remove": remove, "--export": export}
    named = [option for option, value in asked.items() if value is not None]
    try:
        if len(named) > 1:
            raise FlairSegError(f"{' and '.join(named)} were given together.", "Call the command once for each.")
        if install is not None:
            _install(results, install)
        if use is not None:
            _use(results, use, anyway, accepted)
        if rollback:
            _roll_back(results)
        if remove is not None:
            from ..models.choosing import remove as remove_model

            results.print(Text(f"Removed {remove} from {remove_model(remove).parent}."), soft_wrap=True)
        if export is not None:
            _export(results, export, file)
    except FlairSegError as error:
        show_error(messages, error)
        return REFUSED
    return WRITTEN


def _install(results: Console, path: Path) -> ModelCard:
    from ..models.install import install_model

    card = install_model(path)
    results.print(Text(f"Installed {card.id} (sha256 {card.sha256[:16]})."), soft_wrap=True)
    return card


def _use(results: Console, named: str, anyway: bool, accepted: tuple[str, ...]) -> None:
    """Select a model: an installed one, or a folder or file, which is installed first."""
    if accepted:
        _accept(named, accepted)
    from ..models.choosing import ModelInUseError, check_better
    from ..models.choosing import use as use_model

    card = find_model(named)
    if not anyway:
        check_better(card)
    if card.sha256 not in {one.sha256 for _, one in survey() if isinstance(one, ModelCard) and one.id == card.id}:
        card = _install(results, card.path.parent)
    if find_model(card.id).sha256 != card.sha256:
        raise ModelInUseError(f"Another model named {card.id} takes precedence.", f"Remove it from ${ENVIRONMENT}.")
    use_model(card, anyway)
    results.print(Text(f"In use: {card.id} (sha256 {card.sha256[:16]}) unless another is named."), soft_wrap=True)


def _accept(named: str, codes: tuple[str, ...]) -> None:
    """Accept conventions of a model, and of its copy among the installed ones: they stay one model."""
    from ..adapt.acceptance import accept

    card = accept(find_model(named).path.parent, codes)
    for _, one in survey():
        if isinstance(one, ModelCard) and (one.id, one.sha256) == (card.id, card.sha256) and one.raw != card.raw:
            accept(one.path.parent, codes)


def _roll_back(results: Console) -> None:
    from ..models.choosing import rollback

    rollback()
    card = find_model()
    results.print(Text(f"In use again: {card.id} (sha256 {card.sha256[:16]})."), soft_wrap=True)


def _export(results: Console, named: str, file: Path | None) -> None:
    from ..models.export import export_model

    card = find_model(named)
    path = export_model(card, file or Path(f"{card.id}.zip"))
    results.print(Text(f"Wrote {path}. Elsewhere: flairseg models --install {path.name}"), soft_wrap=True)


def show_models() -> int:
    """Print the table; exit code 2 if there is no model or one is damaged."""
    messages, results = messages_console(), results_console()
    found, default = survey(), default_model()
    # Id and title share a column: side by side they leave no room for words in a terminal of 80 columns.
    caption = "* used when no --model is given"
    table = Table(
        title="Models",
        title_justify="left",
        title_style="bold",
        caption=caption,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("Id and title", overflow="fold")
    table.add_column("Licence", overflow="fold", max_width=12)
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Found in", overflow="fold")
    table.add_column("Weights", no_wrap=True)
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
        name = f"{card.id} *" if card.id == default else card.id
        titled = Text.assemble((name, "bold"), "\n", (_title(card), "dim"))
        table.add_row(titled, Text(card.licence), _size(card), Text(where), Text(state, style=style))
    if table.row_count:
        results.print(table)
    else:
        advice = f"Reinstall FlairSeg, or name folders with models in ${ENVIRONMENT}."
        problems.append(("", FlairSegError("No usable model was found.", advice)))
    try:
        in_use = find_model(verify=False)
        if scope_of(in_use) is not None:
            parent_of(in_use)
    except FlairSegError as error:
        # With only other models and no selection, no default is needed.
        none_chosen = default == store.DEFAULT_MODEL and isinstance(error, ModelNotFoundError)
        if table.row_count and not none_chosen:
            problems.append(("model in use", error))
    for about, problem in problems:
        show_error(messages, problem, about)
    return REFUSED if problems else WRITTEN


def _title(card: ModelCard) -> str:
    adapted = card.raw.get("adaptation")
    return card.title if adapted is None else f"{card.title} (from {adapted['parent']['id']}: {adapted['verdict']})"


def _size(card: ModelCard) -> str:
    if card.members:
        return f"{len(card.members)} models"
    try:
        return f"{card.path.stat().st_size / 1e6:.1f} MB"
    except OSError:
        return "-"
