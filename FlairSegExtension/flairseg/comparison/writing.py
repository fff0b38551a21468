"""The files of a comparison, all or none: label maps of each model, a picture, a table and a summary."""

from __future__ import annotations

import json
from pathlib import Path

from ..files.atomic import all_or_none
from ..files.csv_tables import csv_text
from ..files.same_input import FINGERPRINT, already_there, check_new_results, fingerprint, refuse_other_input
from ..files.summary_paths import input_for_summary
from ..labels import CLASSES
from ..segmentation.writing import write_part
from .comparing import Comparison

#: Files of the whole comparison, after the stem; those of each model are put in place before them.
ENDINGS = {"picture": "_comparison.png", "table": "_comparison.csv", "summary": "_comparison.json"}
#: Files of each model, after ``<stem>_<model>``: their name in :data:`flairseg.segmentation.writing.ENDINGS`.
_MODEL_ENDINGS = {"labels": "_labels.nii.gz", "segmentation": ".seg.nrrd"}


def check_comparison(output_dir: str | Path, stem: str, overwrite: bool = False) -> None:
    """Raise an error, before any work is done, if the output could not be written.

    Raises
    ------
    OutputError
        If a comparison of that stem exists and may not be replaced, or the folder cannot be written to.
    """
    names = [f"{stem}{ending}" for ending in ENDINGS.values()]
    check_new_results(output_dir, names, f"Results of the comparison of {stem}", overwrite)


def write_comparison(
    comparison: Comparison, output_dir: str | Path, stem: str | None = None, overwrite: bool = False
) -> dict[str, Path]:
    """Write the files of a comparison, all or none; after a failure existing files are unchanged.

    ``<stem>_<model>_labels.nii.gz`` and ``<stem>_<model>.seg.nrrd`` of each model that did not fail,
    ``<stem>_comparison.png`` (the slices in which they differ most), ``<stem>_comparison.csv`` (a row per model) and
    ``<stem>_comparison.json``.

    Parameters
    ----------
    comparison : Comparison
    output_dir : path
        Created if need be.
    stem : str, optional
        Default: the volume's name.
    overwrite : bool
        Replace a comparison of this stem and input, with the files of all models that it names.

    Returns
    -------
    dict of str to Path
        ``picture``, ``table``, ``summary``, and ``<model id>:labels``, ``<model id>:segmentation``.

    Raises
    ------
    OutputError
        If a comparison exists already, or the files cannot be written.
    """
    folder = Path(output_dir)
    stem = comparison.volume.name if stem is None else stem
    check_comparison(folder, stem, overwrite)
    digest = comparison.input_sha256 or fingerprint(comparison.volume)
    if already_there(folder, [f"{stem}{e}" for e in ENDINGS.values()]):
        refuse_other_input(folder / f"{stem}{ENDINGS['summary']}", stem, [(comparison.source, digest)])
    files: dict[str, str] = {}
    for one in comparison.models:
        if one.segmentation is not None:
            files |= {f"{one.card.id}:{kind}": f"{stem}_{one.card.id}{e}" for kind, e in _MODEL_ENDINGS.items()}
    files |= {kind: f"{stem}{ending}" for kind, ending in ENDINGS.items()}
    source = input_for_summary(comparison.source, folder)
    summary = {**comparison.summary(), "input": source, FINGERPRINT: digest, "files": sorted(files.values())}
    with all_or_none(folder, files.values(), [*files.values(), *_earlier(folder, stem)]) as temporary:
        for one in comparison.models:
            if one.segmentation is None:
                continue
            for kind in _MODEL_ENDINGS:
                write_part(one.segmentation, kind, temporary / files[f"{one.card.id}:{kind}"])
        _write_picture(comparison, temporary / files["picture"])
        _write_text(temporary / files["table"], table_csv(comparison))
        _write_text(temporary / files["summary"], json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return {kind: folder / name for kind, name in files.items()}


def table_csv(comparison: Comparison) -> str:
    """One row per model: volumes, lesion count, seconds, and Dice of each class with every model; blank is unknown."""
    dice = comparison.dice()
    names = [one.card.id for one in comparison.models]
    agreement = [f"dice_{key}:{name}" for key in dice for name in names]
    columns = (
        "case",
        "model",
        "title",
        *(f"{c.id}_ml" for c in CLASSES),
        "lesion_count",
        "seconds",
        *agreement,
        "error",
    )
    rows = []
    for number, one in enumerate(comparison.models):
        figures = one.figures
        values = [round(float(value), 4) for matrix in dice.values() for value in matrix[number]]
        rows.append(
            figures.to_json()
            | {f"{name}_ml": ml for name, ml in figures.volumes_ml.items()}
            | dict(zip(agreement, values, strict=True))
            | {
                "case": comparison.volume.name,
                "error": "" if figures.failure is None else figures.failure.message,
            }
        )
    return csv_text(columns, rows)


def _write_picture(comparison: Comparison, path: Path) -> None:
    from .picture import render_comparison

    render_comparison(comparison).save(path, format="PNG", compress_level=4)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _earlier(folder: Path, stem: str) -> list[str]:
    """Files listed by an earlier comparison of this stem: results of models that no longer take part."""
    try:
        listed = json.loads((folder / f"{stem}{ENDINGS['summary']}").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    endings = (*ENDINGS.values(), *_MODEL_ENDINGS.values())
    return [
        name
        for name in listed
        if isinstance(name, str)
        and name.startswith(f"{stem}_")
        and name.endswith(endings)
        and Path(name).name == name
        and name != f"{stem}{_MODEL_ENDINGS['labels']}"
    ]
