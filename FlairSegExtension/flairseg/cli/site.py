"""Commands of a site: ``adapt`` a model to its cases, watch for ``drift``, order the ``queue``, manage ``models``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from . import epilogs
from .late import Commands
from .options import Device, DeviceChoice


class Convention(str, Enum):
    """What a site may state of its masks (:data:`flairseg.adapt.terms.CONVENTIONS`)."""

    normal_as_lesions = "normal-drawn-as-lesions"
    lesions_as_normal = "lesions-drawn-as-normal"
    lesions_not_drawn = "lesions-not-drawn"
    lesions_wide = "lesions-drawn-wide"
    ventricles_wide = "ventricles-drawn-wide"
    displaced = "masks-displaced-alike"


Accepted = Annotated[
    list[Convention] | None,
    typer.Option(
        "--accept",
        help="State that a difference of the masks is your readers' convention, for instance that they count "
        "periventricular caps as lesions (normal-drawn-as-lesions); repeatable.",
        show_default=False,
    ),
]


def _codes(accepted: list[Convention] | None) -> tuple[str, ...]:
    return tuple(one.value for one in accepted or ())


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
        Path,
        typer.Option("--output", "-o", help="Folder for the adapted model and its proof.", show_default=False),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            "-b",
            help="Id or path of the model to adapt, a published one.",
            show_default="of the model in use",
        ),
    ] = None,
    time: Annotated[str, typer.Option("--time", "-t", help="Time to plan for, in all: 20m, 1h.")] = "20m",
    patients: Annotated[
        Path | None,
        typer.Option(
            "--patients",
            help="CSV with the columns case, patient, where names do not identify the patient of a case.",
            show_default=False,
        ),
    ] = None,
    model_id: Annotated[
        str | None, typer.Option("--id", help="Id of the new model.", show_default="<base>-site-v1.<n>")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", "-s", help="Seed of folds and training.", min=0)] = 0,
    device: DeviceChoice = Device.auto,
    accept: Accepted = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the output folder.")] = False,
) -> None:
    """Adapt a model to the reviewed cases of this site, and test on left-out patients whether it improved.

    Writes [green]model.onnx[/green] and [green]card.json[/green], a regular model, and
    [green]proof.html[/green]: base against adapted model on left-out patients, forgetting, and the cases that were
    not used. The verdict is [bold]better[/bold], [bold]no difference shown[/bold] or [bold]worse[/bold]. The model
    in use is unchanged until [cyan]flairseg models --use[/cyan]. Needs 3 patients, and 5 to show a difference.
    """
    from ..adapt.options import TrainingOptions
    from .adapt import adapt_model

    training = TrainingOptions(seed=seed, device=device.value, accepted=_codes(accept))
    raise typer.Exit(adapt_model(cases, output, base, time, patients, model_id, training, overwrite))


def models(
    use: Annotated[
        str | None,
        typer.Option("--use", metavar="ID|FOLDER", help="Use this model by default.", show_default=False),
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="With --use: also a model not shown to be better.")] = False,
    accept: Accepted = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the model used before.")] = False,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="ID", help="Remove one of your models.", show_default=False)
    ] = None,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="ID", help="Export a model to one file for another site.", show_default=False),
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
    """List the available models, their location, and whether their weights are intact; select one."""
    from .models import change_models, show_models

    if any((use, rollback, remove, export, install)):
        raise typer.Exit(change_models(use, anyway, _codes(accept), rollback, remove, export, file, install))
    raise typer.Exit(show_models())


def drift(
    cases: Annotated[Path, typer.Argument(metavar="CASES", help="Folder of reviewed cases.", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Id or path of the model.", show_default="the model in use")
    ] = None,
    images: Annotated[
        bool,
        typer.Option("--images/--no-images", help="Also chart confidence and image statistics (seconds per case)."),
    ] = True,
) -> None:
    """Monitor drift: control charts of the cases reviewed with a model, in order of time.

    Charts the rate of acceptance without edits, the amount of editing, model confidence and image
    statistics against the first 15 cases with the model (or those of the adaptation). The alarm rule and its
    simulated rate of false alarms are printed.

    [bold]Exit codes[/bold]   0 no change shown   2 refused   3 alarm   130 interrupted
    """
    from .drift import watch_drift

    raise typer.Exit(watch_drift(cases, model, images))


class QueueOrder(str, Enum):
    """Order of the review queue."""

    correction = "correction"
    learning = "learning"


def queue(
    source: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder of results, or CSV list of cases.", show_default=False)
    ],
    cases: Annotated[
        Path | None,
        typer.Option("--cases", help="Folder of reviewed cases, for their state.", show_default=False),
    ] = None,
    order: Annotated[
        QueueOrder,
        typer.Option(
            "--order",
            help="[bold]correction[/bold]: most to correct first. [bold]learning[/bold]: uncertain and unlike each "
            "other first, for adaptation.",
        ),
    ] = QueueOrder.correction,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV to write.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """List the cases of a folder in review order."""
    from .queue import show_queue

    raise typer.Exit(show_queue(source, cases, order is QueueOrder.learning, output, overwrite))


def add_site_commands(app: Commands) -> None:
    """Add the commands of this module to the program."""
    app.command(epilog=epilogs.ADAPT)(adapt)
    app.command()(drift)
    app.command()(queue)
    app.command(epilog=epilogs.MODELS)(models)
