"""Commands, options and help. The commands' implementations, and slow imports, are in their own modules."""

from __future__ import annotations

import atexit
import gc
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .._version import __version__
from . import epilogs
from .cohort_command import cohort
from .config import Config
from .label_options import LabelMeaning, MethodMeanings, StudyLabels
from .late import Commands
from .options import (
    AsJson,
    CaseName,
    Device,
    DeviceChoice,
    LesionThreshold,
    ModelChoice,
    OutputFolder,
    Overwrite,
    Regions,
    Replace,
    Strict,
)
from .pseudonyms import Pseudonymise, PseudonymKey, PseudonymMap
from .site import add_site_commands
from .study import study_app

#: Commands of the program.
COMMANDS = Commands()
app = typer.Typer(
    name="flairseg",
    cls=COMMANDS.group_class(),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Research use only - not a medical device.",
)


class Paper(str, Enum):
    """Paper size of a report."""

    a4 = "a4"
    letter = "letter"


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
    # The last collection before a process ends finds modules of libraries alone, and takes a tenth of a case's time.
    atexit.register(gc.freeze)


@COMMANDS.command(epilog=epilogs.SEGMENT)
def segment(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="FLAIR volumes: .nii, .nii.gz, .nrrd, .mha, or DICOM folders: a series, or a study that contains one.",
            show_default=False,
        ),
    ],
    output: OutputFolder,
    model: ModelChoice = None,
    device: DeviceChoice = Device.auto,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", "-p", help="Also write the class probabilities (4-D NIfTI, float32).")
    ] = False,
    lesion_mask: Annotated[
        bool | None,
        typer.Option(
            "--lesion-mask/--no-lesion-mask",
            help="The lesions alone as 0 and 1, for programs that take every value for a lesion: "
            "<name>_lesion_mask.nii.gz, for a BIDS name <entities>_desc-lesion_mask.nii.gz. Written by default; "
            "with an explicit --lesion-mask also as <name>_lesions.nii.gz, its name in earlier versions.",
            show_default="--lesion-mask",
        ),
    ] = None,
    overwrite: Overwrite = False,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="Name of the case, instead of the one derived from the input; once for each input.",
            show_default=False,
        ),
    ] = None,
    regions: Regions = True,
    dicom_out: Annotated[
        Path | None,
        typer.Option(
            "--dicom-out",
            help="Folder for DICOM objects of the study: SEG, measurements (SR) and the report (PDF).",
            show_default=False,
            rich_help_panel="DICOM",
        ),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(
            "--series",
            metavar="NUMBER|UID",
            help="Series to take from a DICOM folder, instead of the one identified as FLAIR.",
            show_default=False,
            rich_help_panel="DICOM",
        ),
    ] = None,
    threshold: LesionThreshold = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=1, help="Cases at once, each in its own process; fewer where memory is short."
        ),
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and errors only.")] = False,
    as_json: AsJson = False,
    config: Config = None,
    strict: Strict = False,
    pseudonymise: Pseudonymise = False,
    pseudonym_key: PseudonymKey = None,
    pseudonym_map: PseudonymMap = None,
) -> None:
    """Segment FLAIR volumes and write the results.

    Each input gives six files:

    [green]<name>_labels.nii.gz[/green]   1 ventricles, 2 normal WMH, 3 lesions, on the input's grid

    [green]<name>_lesion_mask.nii.gz[/green]   the lesions only, 0 and 1, for programs that take any value for a lesion

    [green]<name>.seg.nrrd[/green]        the same for 3D Slicer, named and coloured

    [green]<name>_overview.png[/green]    every slice with a finding

    [green]<name>_lesions.csv[/green]     each lesion: volume, diameter, position, region, confidence

    [green]<name>_summary.json[/green]    the same with volumes, load by region, model, warnings

    The name is by BIDS (sub-01_ses-2), else PatientID and study date of DICOM, else the file's name, with its folder's
    before it where any case could be called that (flair, image1, study). Files are written completely or not at all.
    One bad input does not stop the others.
    """
    from .dicom import DicomOptions
    from .segment import SegmentOptions, segment_cases

    options = SegmentOptions(
        output, model, device.value, probabilities, lesion_mask, overwrite, tuple(name or ()), regions, threshold,
        DicomOptions(dicom_out, series), (pseudonymise, pseudonym_key, pseudonym_map), strict, quiet, as_json, jobs,
    )  # fmt: skip
    raise typer.Exit(segment_cases(inputs, options))


COMMANDS.command(epilog=epilogs.COHORT)(cohort)


@COMMANDS.command(epilog=epilogs.EVALUATE)
def evaluate(
    output: OutputFolder,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            help="CSV table with the columns case, prediction, reference and optionally method, probabilities, site, "
            "disease, image; paths are relative to its folder.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            "--predictions",
            metavar="NAME=FOLDER",
            help="Masks of a method, matched with the references by case name. May be repeated.",
            show_default=False,
        ),
    ] = None,
    references: Annotated[
        Path | None, typer.Option("--references", help="Folder of the reference masks.", show_default=False)
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", help="Folder of the FLAIR volumes, for pictures in the report.", show_default="the references'"
        ),
    ] = None,
    labels: MethodMeanings = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="METHOD=0.5",
            help="Threshold of a method's probability masks. May be repeated.",
            show_default=False,
        ),
    ] = None,
    training_log: Annotated[
        list[Path] | None,
        typer.Option(
            "--training-log", help="log.csv of a training run, for its curves. May be repeated.", show_default=False
        ),
    ] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Tolerance of NSD, mm.", min=0.0)] = 1.0,
    lesion_overlap: Annotated[
        str,
        typer.Option(
            "--lesion-overlap", help="When a lesion counts as found: voxels:1, fraction:0.1 or iou:0.25, for instance."
        ),
    ] = "voxels:1",
    min_lesion: Annotated[
        float,
        typer.Option("--min-lesion", help="Minimum volume of a lesion on both sides, mm3 (S5: 10.7).", min=0.0),
    ] = 0.0,
    slice_overlap: Annotated[
        float,
        typer.Option(
            "--slice-overlap", help="Share of a slice's reference that must be covered (S2: 0.1).", min=0.0, max=1.0
        ),
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap and of the sampled slices.", min=0)] = 0,
    overwrite: Replace = False,
    strict: Strict = False,
    pseudonymise: Pseudonymise = False,
    pseudonym_key: PseudonymKey = None,
    pseudonym_map: PseudonymMap = None,
) -> None:
    """Compare segmentations - FlairSeg's and other tools' - with references: one report, tables, tests.

    Writes [green]evaluation.html[/green], [green]cases.csv[/green], [green]summary.csv[/green] and
    [green]evaluation.json[/green]: overlap, surface distances, volumes, lesions, slices and curves, per patient and
    pooled, with intervals over patients and tests between methods.

    Masks on another grid are resampled to the reference's by their position in space. One bad mask does not stop the
    others.
    """
    from .evaluate import EvaluateOptions, evaluate_cases

    options = EvaluateOptions(
        manifest, predictions or (), references, images, output, labels or (), threshold or (), training_log or (),
        tolerance, lesion_overlap, min_lesion, slice_overlap, seed, overwrite,
        (pseudonymise, pseudonym_key, pseudonym_map), strict,
    )  # fmt: skip
    raise typer.Exit(evaluate_cases(options))


@COMMANDS.command(epilog=epilogs.COMPARE)
def compare(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="FLAIR volume: .nii, .nii.gz, .nrrd, .mha, or a folder with one DICOM series.",
            show_default=False,
        ),
    ],
    output: OutputFolder,
    models: Annotated[
        str,
        typer.Option(
            "--models",
            "-m",
            help="Model ids or paths, separated by commas; [bold]all[/bold]: all installed ones.",
        ),
    ] = "all",
    device: DeviceChoice = Device.auto,
    overwrite: Overwrite = False,
    name: CaseName = None,
    strict: Strict = False,
    pseudonymise: Pseudonymise = False,
    pseudonym_key: PseudonymKey = None,
    pseudonym_map: PseudonymMap = None,
) -> None:
    """Segment one FLAIR with several models and compare the results.

    Writes, for each model, [green]<name>_<model>_labels.nii.gz[/green] and [green]<name>_<model>.seg.nrrd[/green], and

    [green]<name>_comparison.png[/green]    the slices in which the models differ most

    [green]<name>_comparison.csv[/green]    volumes, lesion counts, seconds and pairwise Dice, a row per model

    [green]<name>_comparison.json[/green]   the same with warnings and errors

    Classes that a model does not segment are left blank. One model that fails does not stop the others.
    """
    from .compare import CompareOptions, compare_models

    pseudonyms = (pseudonymise, pseudonym_key, pseudonym_map)
    options = CompareOptions(output, models, device.value, overwrite, name, strict, pseudonyms)
    raise typer.Exit(compare_models(path, options))


@COMMANDS.command()
def series(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A DICOM series, a study, or a DICOMDIR.", show_default=False)
    ],
) -> None:
    """List the series of a DICOM folder: which one [cyan]flairseg segment[/cyan] would take, and why."""
    from .series import show_series

    raise typer.Exit(show_series(folder))


@COMMANDS.command(epilog=epilogs.FOLLOW)
def follow(
    studies: Annotated[
        list[Path],
        typer.Argument(
            metavar="STUDY1 STUDY2 [STUDY3...]",
            help="FLAIR volumes of one patient, the earliest first: files or DICOM folders as for segment.",
            show_default=False,
        ),
    ],
    output: OutputFolder,
    labels: StudyLabels = None,
    dates: Annotated[
        list[str] | None,
        typer.Option(
            "--date", metavar="YYYY-MM-DD", help="Date of a study; once for each, - if unknown.", show_default=False
        ),
    ] = None,
    model: ModelChoice = None,
    device: DeviceChoice = Device.auto,
    overwrite: Overwrite = False,
    name: CaseName = None,
    regions: Regions = True,
    self_grade: Annotated[
        bool,
        typer.Option(
            "--self-grade",
            help="Also grade the follow-up on these scans: lesions of known size are injected into the last study, and "
            "false calls are counted in a re-positioned copy of it. Takes about three times as long.",
        ),
    ] = False,
    strict: Strict = False,
    pseudonymise: Pseudonymise = False,
    pseudonym_key: PseudonymKey = None,
    pseudonym_map: PseudonymMap = None,
) -> None:
    """Compare studies of one patient: new, enlarging, stable, shrinking, resolved, split and merged lesions.

    The studies are registered to their half-way space, and only what exceeds the noise of re-positioning is called a
    change. The files are named after the last study:

    [green]<name>_followup.json[/green]   lesions with state and volumes, ventricles, noise floor, registration

    [green]<name>_followup.csv[/green]    a row per lesion

    [green]<name>_followup.png[/green]    first study, last study, subtraction

    [green]<name>_change.nii.gz[/green]   1 new, 2 enlarging, 3 stable, 4 shrinking, 5 resolved, 6 split, 7 merged

    [green]<name>_subtraction.nii.gz, <name>_study<n>_registered.nii.gz, <name>_study<n>_transform.txt,
    <name>_study<n>_labels.nii.gz[/green]
    """
    from .follow import FollowOptions, follow_studies

    options = FollowOptions(
        output, tuple(labels or ()), tuple(dates or ()), model, device.value, overwrite, name, regions, self_grade,
        strict, (pseudonymise, pseudonym_key, pseudonym_map),
    )  # fmt: skip
    raise typer.Exit(follow_studies(studies, options))


@COMMANDS.command(epilog=epilogs.REPORT)
def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT",
            help="<name>_summary.json or <name>_labels.nii.gz of flairseg segment, the folder <case>/v<NNN> of a "
            "reviewed version, or a label map of another program.",
            show_default=False,
        ),
    ],
    output: OutputFolder,
    flair: Annotated[
        list[Path] | None,
        typer.Option(
            "--flair", help="The image of a result, once for each; default: found from the result.", show_default=False
        ),
    ] = None,
    followup: Annotated[
        Path | None,
        typer.Option("--followup", help="<name>_followup.json of flairseg follow: what changed.", show_default=False),
    ] = None,
    verdict: Annotated[
        Path | None,
        typer.Option("--verdict", help="verdict.json; default: that of the version's folder.", show_default=False),
    ] = None,
    study_date: Annotated[
        str, typer.Option("--study-date", metavar="YYYY-MM-DD", help="Date of the study.", show_default=False)
    ] = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="The PDF file only.")] = False,
    html: Annotated[bool, typer.Option("--html", help="The HTML file only.")] = False,
    paper: Annotated[Paper, typer.Option("--paper", help="Paper size.")] = Paper.a4,
    language: Annotated[str, typer.Option("--language", help="Language of the texts.")] = "en",
    regions: Annotated[
        bool,
        typer.Option("--regions/--no-regions", help="Find the regions of lesions where the result lacks them."),
    ] = True,
    labels: LabelMeaning = None,
    overwrite: Replace = False,
    strict: Strict = False,
    pseudonymise: Pseudonymise = False,
    pseudonym_key: PseudonymKey = None,
    pseudonym_map: PseudonymMap = None,
) -> None:
    """Write the report of results: a page for the clinician, then all lesions, all slices and provenance.

    Each result gives two files with the same content:

    [green]<name>_report.pdf[/green]    A4 or Letter, ready to print

    [green]<name>_report.html[/green]   one self-contained file without scripts

    Volumes and counts are those of the label map. For an accepted version it names the reader and the time. It
    lists findings and never a diagnosis.
    """
    from .report import ReportOptions, report_cases

    options = ReportOptions(
        output, tuple(flair or ()), followup, verdict, study_date, pdf or not html, html or not pdf, paper.value,
        language, regions, overwrite, strict, (pseudonymise, pseudonym_key, pseudonym_map), labels,
    )  # fmt: skip
    raise typer.Exit(report_cases(results, options))


@COMMANDS.command()
def lesions(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="Label map of FlairSeg, 3D Slicer, a PACS (DICOM SEG) or another program: .nii.gz, .nrrd, .seg.nrrd, "
            ".mha, .dcm.",
            show_default=False,
        ),
    ],
    flair: Annotated[Path, typer.Option("--flair", "-f", help="The FLAIR it belongs to.", show_default=False)],
    output: OutputFolder,
    labels: LabelMeaning = None,
    regions: Regions = True,
    overwrite: Overwrite = False,
    name: CaseName = None,
    strict: Strict = False,
) -> None:
    """Measure the lesions of an existing label map, for instance a corrected one.

    Writes [green]<name>_lesions.csv[/green], one row per lesion, and [green]<name>_lesions.json[/green], the same with
    the load by region and the regions of the McDonald criteria in which lesions were found.
    """
    from .lesions import LesionOptions, measure_lesions

    raise typer.Exit(measure_lesions(path, LesionOptions(flair, output, regions, overwrite, labels, name), strict))


@COMMANDS.command()
def phantom(
    output: OutputFolder,
    seed: Annotated[
        int, typer.Option("--seed", "-s", help="A different seed generates a different head.", min=0, max=2**32 - 1)
    ] = 0,
    overwrite: Replace = False,
) -> None:
    """Generate a digital FLAIR phantom with MS lesions and ground truth, to try FlairSeg without patient data.

    Writes, for seed 0, [green]phantom-0_flair.nii.gz[/green], [green]phantom-0_truth.nii.gz[/green] (1 ventricles,
    2 normal WMH, 3 lesions), a table of its lesions and a picture.
    """
    from .phantom import write_phantom

    raise typer.Exit(write_phantom(output, seed, overwrite))


add_site_commands(COMMANDS)
COMMANDS.add_typer("study", study_app)
