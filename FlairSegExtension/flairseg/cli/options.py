"""Options shared by several commands: one name, one meaning, one help text."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..models.store import DEFAULT_MODEL


class Device(str, Enum):
    """Device of the network."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


OutputFolder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for the results; created if necessary.", show_default=False)
]
ModelChoice = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Model id, or path to a .onnx file with its card.json beside it.",
        show_default=f"the model in use, {DEFAULT_MODEL} if none was chosen",
    ),
]
DeviceChoice = Annotated[
    Device,
    typer.Option("--device", "-d", help="[bold]auto[/bold] takes the NVIDIA GPU if it can be used, else the CPU."),
]
LesionThreshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="Lowest probability of a lesion voxel; lower values mark more. Lesions are then not removed for "
        "their mean probability.",
        show_default="the model's",
    ),
]
CaseName = Annotated[
    str | None,
    typer.Option("--name", help="Name of the case, instead of the one derived from the input.", show_default=False),
]
Regions = Annotated[
    bool, typer.Option("--regions/--no-regions", help="Find the region of each lesion; takes about a second per case.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace results of the same input; without it they are kept.")
]
Replace = Annotated[
    bool, typer.Option("--overwrite", help="Replace results that exist already; without it they are kept.")
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="End with exit code 3 where a warning says that a result cannot be trusted; files are written."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Each case as a line of JSON on standard output, for programs.")]
