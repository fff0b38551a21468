"""``flairseg study``: commands, options, help; implementation in ``study_running`` and ``study_analysis``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .label_options import MethodMeanings

study_app = typer.Typer(
    name="study",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Blinded reader studies: draft and lock a protocol, monitor, close and analyse the study.",
    epilog="Research use only - not a medical device.",
)

_NEW_EXAMPLE = """[bold]Example[/bold]

[cyan]flairseg study new protocol.json --images flair --arm tool=results --arm human=manual --rater R1 --rater R2[/cyan]
"""

_Study = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a locked study.", show_default=False)]
_Coordinator = Annotated[
    Path | None,
    typer.Option(
        "--coordinator", help="Folder with protocol and sealed key, if it was moved.", show_default="STUDY/coordinator"
    ),
]
_Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for the results; created if necessary.", show_default=False)
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")]
_Seed = Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.", min=0)]


@study_app.command(epilog=_NEW_EXAMPLE)
def new(
    protocol: Annotated[Path, typer.Argument(metavar="PROTOCOL", help="JSON file to write.", show_default=False)],
    images: Annotated[
        Path,
        typer.Option(
            "--images", help="Folder of FLAIR images: <case>.nii.gz or <case>/flair.nii.gz.", show_default=False
        ),
    ],
    arm: Annotated[
        list[str],
        typer.Option(
            "--arm", help="NAME=FOLDER of masks: <case>_labels.nii.gz and the like. Repeat it.", show_default=False
        ),
    ],
    rater: Annotated[
        list[str], typer.Option("--rater", help="Code of a rater, never a name. Repeat it.", show_default=False)
    ],
    study_id: Annotated[str, typer.Option("--id", help="Id of the study.")] = "study-1",
    repeats: Annotated[int, typer.Option("--repeats", help="Showings of each mask to each rater.", min=1, max=20)] = 2,
    binary: Annotated[bool, typer.Option("--binary", help="Lesions have value 1.")] = False,
    labels: MethodMeanings = None,
) -> None:
    """Draft a protocol from folders of images and masks. Review it before locking."""
    from .study_running import new_protocol

    raise typer.Exit(new_protocol(protocol, study_id, images, arm, rater, repeats, binary, labels or ()))


@study_app.command()
def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PROTOCOL|STUDY", help="A protocol to be locked, or a locked study.", show_default=False
        ),
    ],
    coordinator: _Coordinator = None,
) -> None:
    """Check a protocol before it is locked, or a study for changes since.

    Exit code 2 if there are findings.
    """
    from .study_running import check_path

    raise typer.Exit(check_path(path, coordinator))


@study_app.command()
def lock(
    protocol: Annotated[Path, typer.Argument(metavar="PROTOCOL", help="The protocol's JSON file.", show_default=False)],
    study: Annotated[Path, typer.Option("--study", "-s", help="New folder for the study.", show_default=False)],
    store: Annotated[
        str,
        typer.Option(
            "--store",
            help="PostgreSQL address without password (that is in ~/.pgpass), for several reading rooms at once.",
            show_default="an SQLite file in STUDY",
        ),
    ] = "",
    coordinator: Annotated[
        Path | None,
        typer.Option(
            "--coordinator",
            help="New folder for protocol and sealed key, inaccessible to raters.",
            show_default="STUDY/coordinator",
        ),
    ] = None,
) -> None:
    """Lock a protocol: orders, blinded images, a room for each rater, the sealed key. It cannot be changed later."""
    from .study_running import lock_protocol

    raise typer.Exit(lock_protocol(protocol, study, store, coordinator))


@study_app.command()
def status(study: _Study, coordinator: _Coordinator = None) -> None:
    """Show each rater's progress."""
    from .study_running import show_status

    raise typer.Exit(show_status(study, coordinator))


@study_app.command()
def exclude(
    study: _Study,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Case id of the protocol.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="Why; the report lists it.", show_default=False)],
    coordinator: _Coordinator = None,
) -> None:
    """Exclude a case from the results. Its answers stay in the records."""
    from .study_running import exclude_case

    raise typer.Exit(exclude_case(study, case, reason, coordinator))


@study_app.command()
def close(
    study: _Study,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Close although showings are unanswered.")] = False,
    coordinator: _Coordinator = None,
) -> None:
    """Close a study and open its key. No answers are accepted afterwards."""
    from .study_running import close_study

    raise typer.Exit(close_study(study, incomplete, coordinator))


@study_app.command()
def export(study: _Study, output: _Output, overwrite: _Overwrite = False, coordinator: _Coordinator = None) -> None:
    """Write a closed study's tables as CSV: ratings, marks, corrections, what was not rated."""
    from .study_running import export_tables

    raise typer.Exit(export_tables(study, output, overwrite, coordinator))


@study_app.command()
def analyse(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY|RATINGS", help="Folder of a closed study, or its ratings.csv.", show_default=False
        ),
    ],
    output: _Output,
    seed: _Seed = 0,
    overwrite: _Overwrite = False,
    coordinator: _Coordinator = None,
) -> None:
    """Analyse a closed study: acceptance, agreement, counts, time, lesion map; HTML report and CSV tables."""
    from .study_analysis import analyse_study

    raise typer.Exit(analyse_study(source, output, seed, overwrite, coordinator))


@study_app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="CSV", help="Ratings collected elsewhere: CSV files or folders of them.", show_default=False
        ),
    ],
    output: _Output,
    type_: Annotated[
        list[str] | None,
        typer.Option(
            "--type", help="QUESTION=TYPE, where a file does not state the type. Repeat it.", show_default=False
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the report.")] = "",
    seed: _Seed = 0,
    overwrite: _Overwrite = False,
) -> None:
    """Analyse ratings collected elsewhere."""
    from .study_analysis import import_ratings

    raise typer.Exit(import_ratings(files, output, type_ or (), title, seed, overwrite))
