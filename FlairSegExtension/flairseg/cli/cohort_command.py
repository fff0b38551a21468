"""The options of ``flairseg cohort``; implementation in :mod:`flairseg.cli.cohort`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .config import Config
from .options import Device, DeviceChoice, LesionThreshold, ModelChoice, Strict
from .pseudonyms import Pseudonymise, PseudonymKey, PseudonymMap

_CLUSTER, _RESULTS, _REVIEW = "Where it runs", "Results", "For readers"


class SourceKind(str, Enum):
    """Kind of the source."""

    bids = "bids"
    folders = "folders"
    table = "table"
    dicom = "dicom"
    orthanc = "orthanc"


def cohort(
    source: Annotated[
        Path,
        typer.Argument(
            help="BIDS data set, folder of folders, table (.csv, .tsv) or list of files, or tree of DICOM studies.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the results, a BIDS derivative data set.", show_default=False),
    ],
    model: ModelChoice = None,
    device: DeviceChoice = Device.auto,
    threshold: LesionThreshold = None,
    covariates: Annotated[
        Path | None,
        typer.Option(
            "--covariates",
            metavar="TABLE",
            show_default=False,
            help="Table with subject (and session) and any of site, age, group, sex, date; its values replace those "
            "of the source.",
        ),
    ] = None,
    kind: Annotated[
        SourceKind | None, typer.Option("--kind", help="What the source is.", show_default="as found")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and how long it takes.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry sessions that failed with the same image and options.")
    ] = False,
    regions: Annotated[
        bool, typer.Option("--regions/--no-regions", help="Find the region of each lesion.", rich_help_panel=_RESULTS)
    ] = True,
    follow: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Compare the sessions of a subject.", rich_help_panel=_RESULTS),
    ] = True,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", "-p", help="Also keep the class probabilities.", rich_help_panel=_RESULTS),
    ] = False,
    overview: Annotated[
        bool,
        typer.Option("--overview/--no-overview", help="A picture of each session.", rich_help_panel=_RESULTS),
    ] = True,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write cohort.html.", rich_help_panel=_RESULTS)] = True,
    review_queue: Annotated[
        bool,
        typer.Option(
            "--queue",
            help="Write queue.csv for FLAIR Review: doubtful, uncertain and outlying sessions first.",
            rich_help_panel=_REVIEW,
        ),
    ] = False,
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases",
            metavar="ARCHIVE",
            help="Folder of cases of FLAIR Review: its verdicts go into the table.",
            show_default=False,
            rich_help_panel=_REVIEW,
        ),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study",
            metavar="PROTOCOL",
            help="Draft a rating study of a sample by site, group and lesion load: a new JSON file.",
            show_default=False,
            rich_help_panel=_REVIEW,
        ),
    ] = None,
    study_cases: Annotated[
        int,
        typer.Option("--study-cases", min=1, help="Maximum number of sessions.", rich_help_panel=_REVIEW),
    ] = 30,
    rater: Annotated[
        list[str] | None,
        typer.Option(
            "--rater",
            help="Code of a rater of the study. Repeat it.",
            show_default="R1 R2",
            rich_help_panel=_REVIEW,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the study's sample.", rich_help_panel=_REVIEW)
    ] = 1,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Sessions at once; on a batch system: jobs.",
            show_default="as cores and memory allow",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(
            "--memory",
            help="Memory of each worker (4GB); a worker that exceeds it is restarted.",
            show_default="an equal share",
            rich_help_panel=_CLUSTER,
        ),
    ] = "",
    scheduler: Annotated[
        str,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="A running Dask scheduler: tcp://host:8786.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = "",
    slurm: Annotated[bool, typer.Option("--slurm", help="Workers are SLURM jobs.", rich_help_panel=_CLUSTER)] = False,
    pbs: Annotated[bool, typer.Option("--pbs", help="Workers are PBS jobs.", rich_help_panel=_CLUSTER)] = False,
    lsf: Annotated[bool, typer.Option("--lsf", help="Workers are LSF jobs.", rich_help_panel=_CLUSTER)] = False,
    cores: Annotated[
        int, typer.Option("--cores", min=1, help="Cores of each batch job.", rich_help_panel=_CLUSTER)
    ] = 2,
    walltime: Annotated[
        str, typer.Option("--walltime", help="Wall-clock limit of each batch job.", rich_help_panel=_CLUSTER)
    ] = "04:00:00",
    queue: Annotated[
        str,
        typer.Option(
            "--partition", help="Partition or queue of the batch system.", show_default=False, rich_help_panel=_CLUSTER
        ),
    ] = "",
    account: Annotated[
        str,
        typer.Option("--account", help="Account of the batch system.", show_default=False, rich_help_panel=_CLUSTER),
    ] = "",
    job_option: Annotated[
        list[str] | None,
        typer.Option(
            "--job-option",
            help="A further directive of the job script, such as --gres=gpu:1.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    job_prologue: Annotated[
        list[str] | None,
        typer.Option(
            "--job-prologue",
            help="A command of the job script before the worker starts.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    dashboard: Annotated[
        str | None,
        typer.Option(
            "--dashboard",
            metavar="ADDRESS",
            help="Where the dashboard of local workers listens; empty: no dashboard.",
            show_default="a free port of this computer",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table; failures only.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Each event as a line of JSON on standard output, for programs.")
    ] = False,
    strict: Strict = False,
    config: Config = None,
    pseudonymise: Pseudonymise = False,
    pseudonym_key: PseudonymKey = None,
    pseudonym_map: PseudonymMap = None,
) -> None:
    """Segment a whole study: from a dataset to one table, BIDS derivatives and one page.

    The FLAIR of each session is found, segmented and measured; sessions of one subject are compared. Results appear as
    sessions end: [green]cohort.csv[/green] and [green]cohort.parquet[/green] (a row per session),
    [green]lesions.parquet[/green], [green]changes.csv[/green], [green]failures.csv[/green] (with advice),
    [green]cohort.html[/green], [green]methods.md[/green], and label maps as BIDS derivatives. Repeating the call does
    only what is missing or changed.
    """
    from ..cohort.clusters import FREE_PORT, LSF, PBS, SLURM, ClusterOptions
    from ..cohort.review import ReviewOptions
    from ..cohort.running import RunOptions
    from .cohort import run_cohort

    batch = [name for name, wanted in ((SLURM, slurm), (PBS, pbs), (LSF, lsf)) if wanted]
    if len(batch) + bool(scheduler) > 1:
        raise typer.BadParameter("Choose one of --scheduler, --slurm, --pbs and --lsf.")
    cluster = ClusterOptions(
        jobs, memory, scheduler, "".join(batch), cores, walltime, queue, account, tuple(job_option or ()),
        tuple(job_prologue or ()), FREE_PORT if dashboard is None else dashboard,
    )  # fmt: skip
    review = ReviewOptions(review_queue, cases, study, study_cases, tuple(rater or ("R1", "R2")), seed)
    options = RunOptions(
        model=model, device=device.value, threshold=threshold, regions=regions, probabilities=probabilities,
        overview=overview, follow=follow, covariates=covariates, kind=kind.value if kind else None,
        retry_failed=retry_failed, pseudonymise=pseudonymise, pseudonym_key=pseudonym_key,
        pseudonym_map=pseudonym_map, page=page, cluster=cluster, review=review,
    )  # fmt: skip
    raise typer.Exit(run_cohort(source, output, options, dry_run, quiet, as_json, strict))
