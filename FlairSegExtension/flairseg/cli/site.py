"""Commands of a site: ``adapt`` a model to its cases, watch for ``drift``, and manage ``models``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_ADAPT_EXAMPLES = """[bold]Examples[/bold]

[cyan]flairseg adapt cases --output site-model[/cyan]

[cyan]flairseg adapt cases --output site-model --time 1h --base flairseg2d-v1.0[/cyan]

[cyan]flairseg models --use site-model[/cyan]   [cyan]flairseg models --rollback[/cyan]

[bold]Exit codes[/bold]   0 written, whatever the verdict   2 refused   130 interrupted
"""

_MODELS_EXAMPLES = """[bold]Examples[/bold]

[cyan]flairseg models[/cyan]

[cyan]flairseg models --use flairseg2d-site-v1.0[/cyan]   [cyan]flairseg models --rollback[/cyan]

[cyan]flairseg models --export flairseg2d-site-v1.0 --file site.zip[/cyan]

[cyan]flairseg models --install site.zip[/cyan]
"""


def adapt(
    cases: Annotated[
        Path,
        typer.Argument(
            metavar="CASES",
            help="Folder of reviewed cases: <case>/v<NNN>/ with image, labels and verdict.json.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the adapted model and its proof.", show_default=False)
    ],
    base: Annotated[
        str | None,
        typer.Option("--base", "-b", help="Id or path of the model to adapt.", show_default="the model in use"),
    ] = None,
    time: Annotated[str, typer.Option("--time", "-t", help="What all of it may take: 20m, 1h.")] = "20m",
    patients: Annotated[
        Path | None,
        typer.Option(
            "--patients",
            help="CSV with the columns case, patient, where names do not tell which cases are of one patient.",
            show_default=False,
        ),
    ] = None,
    model_id: Annotated[
        str | None, typer.Option("--id", help="Id of the new model.", show_default="<base>-site-v1.<n>")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", "-s", help="Of folds and training.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the output folder.")] = False,
) -> None:
    """Adapt a model to the reviewed cases of this site, and prove on left-out patients whether it became better.

    Writes [green]model.onnx[/green] and [green]card.json[/green], a model like any other, and
    [green]proof.html[/green]: base against adapted on patients that were left out, what was forgotten, which cases were
    not used and why. The verdict is [bold]better[/bold], [bold]no difference shown[/bold] or [bold]worse[/bold]. The
    model in use stays until [cyan]flairseg models --use[/cyan]. Takes 3 patients or more, 5 to show a difference.
    """
    from .adapt import adapt_model

    raise typer.Exit(adapt_model(cases, output, base, time, patients, model_id, seed, overwrite))


def models(
    use: Annotated[
        str | None,
        typer.Option("--use", metavar="ID|FOLDER", help="Use this model where none is named.", show_default=False),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="With --use: also a model that was not shown to be better.")
    ] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the model that was in use before.")] = False,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="ID", help="Remove one of your models.", show_default=False)
    ] = None,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="ID", help="Write a model to one file for another site.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="With --export: the file.", show_default="<id>.zip")
    ] = None,
    install: Annotated[
        Path | None,
        typer.Option(
            "--install", metavar="FILE", help="Install a model: zip, folder, .onnx or card.json.", show_default=False
        ),
    ] = None,
) -> None:
    """List the models that can be used, where they were found, and whether their weights are intact; choose one."""
    from .models import change_models, show_models

    if any((use, rollback, remove, export, install)):
        raise typer.Exit(change_models(use, anyway, rollback, remove, export, file, install))
    raise typer.Exit(show_models())


def add_site_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command(epilog=_ADAPT_EXAMPLES)(adapt)
    app.command(epilog=_MODELS_EXAMPLES)(models)
