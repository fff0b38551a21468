"""Commands, options and help. What a command does, and everything slow to import, is in its own module."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..models.store import DEFAULT_MODEL
from .pseudonyms import Pseudonymise, PseudonymKey, PseudonymMap
from .study import study_app

app = typer.Typer(
    name="flairseg",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Research use only - not a medical device.",
)

app.add_typer(study_app)

_SEGMENT_EXAMPLES = """[bold]Examples[/bold]

[cyan]flairseg segment flair.nii.gz --output results[/cyan]

[cyan]flairseg segment patients/*/flair.nii.gz dicom/series7 --output results[/cyan]

[cyan]flairseg segment flair.nrrd --output results --device cuda --probabilities[/cyan]

[bold]Exit codes[/bold]   0 all written   2 at least one input refused   130 interrupted
"""


class Device(str, Enum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flairseg {__version__}")
        raise typer.Exit()


@app.callback()
def _flairseg(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Ventricles, normal periventricular hyperintensity and MS lesions from one brain FLAIR.

    Start with [cyan]flairseg phantom --output demo[/cyan], then
    [cyan]flairseg segment demo/phantom-0_flair.nii.gz --output demo[/cyan].
    """


@app.command(epilog=_SEGMENT_EXAMPLES)
def segment(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="FLAIR volumes: .nii, .nii.gz, .nrrd, .mha, or folders with one DICOM series each.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; created if need be.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model id, or path to a .onnx file with its card.json beside it.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    device: Annotated[
        Device,
        typer.Option("--device", "-d", help="[bold]auto[/bold] takes the NVIDIA GPU if it can be used, else the CPU."),
    ] = Device.auto,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", "-p", help="Also write the class probabilities (4-D NIfTI, float32).")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist already; without it they are kept.")
    ] = False,
    pseudonymise: Pseudonymise = False,
    pseudonym_key: PseudonymKey = None,
    pseudonym_map: PseudonymMap = None,
) -> None:
    """Segment FLAIR volumes and write the results.

    Each input gives four files:

    [green]<name>_labels.nii.gz[/green]   1 ventricles, 2 normal WMH, 3 lesions, on the input's grid

    [green]<name>.seg.nrrd[/green]        the same for 3D Slicer, named and coloured

    [green]<name>_overview.png[/green]    every slice that has something

    [green]<name>_summary.json[/green]    volumes, lesion count, model, warnings

    Files appear only when they are whole. One bad input does not stop the others.
    """
    from .segment import segment_cases

    pseudonyms = (pseudonymise, pseudonym_key, pseudonym_map)
    raise typer.Exit(segment_cases(inputs, output, model, device.value, probabilities, overwrite, pseudonyms))


@app.command()
def models() -> None:
    """List the models that can be used, where they were found, and whether their weights are intact."""
    from .models import show_models

    raise typer.Exit(show_models())


@app.command()
def phantom(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the files; created if need be.", show_default=False)
    ],
    seed: Annotated[int, typer.Option("--seed", "-s", help="Another seed makes another head.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a phantom that exists already.")] = False,
) -> None:
    """Make a digital FLAIR head with MS lesions and its ground truth, to try FlairSeg without patient data.

    Writes, for seed 0, [green]phantom-0_flair.nii.gz[/green], [green]phantom-0_truth.nii.gz[/green] (1 ventricles,
    2 normal WMH, 3 lesions), a table of its lesions and a picture.
    """
    from .phantom import write_phantom

    raise typer.Exit(write_phantom(output, seed, overwrite))
