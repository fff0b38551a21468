"""The files of a follow-up, all or none."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from ..files import csv_tables
from ..files.atomic import all_or_none
from ..files.names import case_name, result_stem
from ..files.nifti import write_nifti
from ..files.same_input import already_there, check_new_results, fingerprint, refuse_other_input
from ..files.summary_paths import input_for_summary
from ..io.raw_labels import CHANGE_MAP_DESCRIPTION, labels_description
from . import rigid
from .result import FollowUp

#: Endings of the files whose number does not depend on the studies'; the summary comes last, as with a segmentation.
ENDINGS = {
    "change": "_change.nii.gz",
    "subtraction": "_subtraction.nii.gz",
    "picture": "_followup.png",
    "table": "_followup.csv",
    "summary": "_followup.json",
}
#: Endings of the files of each study, numbered from 1.
STUDY_ENDINGS = {
    "flair": "_study{}_registered.nii.gz",
    "transform": "_study{}_transform.txt",
    "labels": "_study{}_labels.nii.gz",
}
#: Studies whose files of an earlier run are searched.
_MOST_STUDIES = 50
_COLUMNS = (
    "number", "state", "region", "change_mm3", "change_percent", "noise_mm3", "beyond_noise", "contrast",
    "significance", "joint_log_odds", "note",
)  # fmt: skip


def followup_stem(inputs: Sequence[str | Path], output_dir: str | Path, name: str | None = None) -> str:
    """Stem of the files of a follow-up: the user's name, else that of its last study (:mod:`flairseg.files.names`)."""
    case = name or case_name(inputs[-1])
    return case if name else result_stem(case, inputs[-1], output_dir)


def followup_files(stem: str, studies: int) -> dict[str, str]:
    """Names of all files of a follow-up by what they are: ``flair_1``, ``transform_1``, ..., ``change``, ..."""
    names = {
        f"{kind}_{n}": f"{stem}{ending.format(n)}"
        for n in range(1, studies + 1)
        for kind, ending in STUDY_ENDINGS.items()
    }
    return names | {kind: f"{stem}{ending}" for kind, ending in ENDINGS.items()}


def check_destination(output_dir: str | Path, stem: str, overwrite: bool = False) -> None:
    """Raise an error, before any work is done, if the output could not be written.

    Raises
    ------
    OutputError
        If results of that stem exist and may not be replaced, or the folder cannot be written to.
    """
    check_new_results(output_dir, followup_files(stem, 2).values(), f"Results of the follow-up of {stem}", overwrite)


def write_followup(
    result: FollowUp,
    output_dir: str | Path,
    stem: str | None = None,
    overwrite: bool = False,
    check: Callable[[], None] | None = None,
    kinds: Collection[str] | None = None,
) -> dict[str, Path]:
    """Write the files of a follow-up, all or none; after a failure existing files are unchanged.

    On the common grid: ``<stem>_change.nii.gz`` (uint8, values as in ``followup.json``),
    ``<stem>_subtraction.nii.gz`` (last less first; 1000 is the brain's median intensity) and, for each study,
    ``<stem>_study<n>_registered.nii.gz`` (FLAIR, grey levels brought together, same unit) with
    ``<stem>_study<n>_transform.txt`` (ITK text: takes points of the common grid to the study). On the grid of
    each study its label map, in which every lesion of the table is: ``<stem>_study<n>_labels.nii.gz``. Besides
    ``<stem>_followup.png``, ``_followup.csv`` (a row per lesion) and ``_followup.json``.

    Parameters
    ----------
    result : FollowUp
        Its ``seconds`` get ``write``.
    output_dir : path
        Created if need be.
    stem : str, optional
        Default: the last study's name.
    overwrite : bool
        Replace an existing follow-up of this stem and these inputs, all of it.
    check : callable, optional
        Called between files; may raise to cancel.
    kinds : collection of str, optional
        Which of the files, as :func:`followup_files` calls them; default: all.

    Returns
    -------
    dict of str to Path
        As :func:`followup_files` names them.

    Raises
    ------
    OutputError
        If results exist already, or the files cannot be written.
    """
    began = time.perf_counter()
    folder = Path(output_dir)
    stem = result.studies[-1].name if stem is None else stem
    check_destination(folder, stem, overwrite)
    if already_there(folder, followup_files(stem, 2).values()):
        inputs = [(s.source, s.input_sha256 or fingerprint(s.volume)) for s in result.studies]
        refuse_other_input(folder / f"{stem}{ENDINGS['summary']}", stem, inputs, "studies")
    count = len(result.studies)
    wanted = {kind: name for kind, name in followup_files(stem, count).items() if kinds is None or kind in kinds}
    every = list(followup_files(stem, max(count, _MOST_STUDIES)).values())
    grid = result.space.grid
    with all_or_none(folder, wanted.values(), every) as temporary:
        for kind, name in wanted.items():
            path = temporary / name
            if kind.startswith("flair_"):
                write_nifti(path, _permille(result.images[int(kind[6:]) - 1]), grid, np.int16)
            elif kind.startswith("transform_"):
                motion = result.space.common_to_study[int(kind[10:]) - 1]
                path.write_text(rigid.itk_text(motion), encoding="ascii")
            elif kind.startswith("labels_"):
                study = result.studies[int(kind[7:]) - 1]
                write_nifti(
                    path, study.labels, study.volume, description=labels_description(study.labels, study.classes)
                )
            elif kind == "change":
                write_nifti(path, result.change_map, grid, description=CHANGE_MAP_DESCRIPTION)
            elif kind == "subtraction":
                write_nifti(path, _permille(result.subtraction), grid, np.int16)
            elif kind == "picture":
                from .picture import render_followup

                render_followup(result).save(path, format="PNG", compress_level=4)
            elif kind == "table":
                path.write_text(followup_csv(result, stem), encoding="utf-8", newline="")
            else:
                result.seconds["write"] = time.perf_counter() - began
                summary = {"case": stem, **result.summary()}
                for study in summary["studies"]:
                    study["input"] = input_for_summary(study["input"], folder)
                text = json.dumps(summary, indent=2, ensure_ascii=False)
                path.write_text(text + "\n", encoding="utf-8")
            if check is not None:
                check()
    return {kind: folder / name for kind, name in wanted.items()}


def _permille(array: np.ndarray) -> np.ndarray:
    """Shares of the brain's median as whole thousandths: a third of the size of floats, and finer than any noise."""
    return np.clip(np.round(array * 1000), -32768, 32767).astype(np.int16)


def followup_csv(result: FollowUp, case: str) -> str:
    """The table of lesions as CSV (RFC 4180): a row per lesion, a column of volumes per study; the case in each row."""
    rows = [result.lesion_entry(lesion) for lesion in result.lesions]
    volumes = [f"volume_mm3_study{n}" for n in range(1, len(result.studies) + 1)]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["case", *_COLUMNS, *volumes, "centre_r_mm", "centre_a_mm", "centre_s_mm", "shown_in_study"])
    for row in rows:
        cells = [case, *(row[c] for c in _COLUMNS), *row["volumes_mm3"], *row["centre_ras_mm"], row["shown_in_study"]]
        writer.writerow([csv_tables.cell(one) for one in cells])
    return out.getvalue()
