"""The files of a session: BIDS derivatives, and files outside BIDS; each group completely or not at all."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..files.atomic import all_or_none, remove_leftovers
from ..files.summary_paths import input_for_summary
from ..labels import CLASSES
from ..segmentation.result import Segmentation
from ..segmentation.writing import write_part
from .key_slice import jpeg, render_key_slice
from .layout import DSEG, LESION_MASK, PROBSEG, Layout
from .model import Session, SessionRow
from .options import CaseOptions

#: Of each BIDS derivative: suffix, the part of a segmentation, and the description in its sidecar.
_DERIVATIVES = {
    "dseg": (DSEG, "labels", "Ventricles, normal white matter hyperintensity and lesions; values in dseg.tsv."),
    "lesion_mask": (LESION_MASK, "lesion_mask", "Lesions (abnormal white matter hyperintensity): 1, all else: 0."),
    "probabilities": (PROBSEG, "probabilities", "Probability of each class; fourth axis as in LabelMap."),
}


def write(layout: Layout, shown: Session, result: Segmentation, options: CaseOptions, raw: str = "") -> dict[str, str]:
    """Write the files of a session; what an earlier run left of it is replaced.

    Parameters
    ----------
    layout : Layout
    shown : Session
        As it may be written.
    result : Segmentation
        Named as the session.
    options : CaseOptions
    raw : str
        Path of the image in the BIDS data set that the derivatives link to as ``raw``; empty: in none.

    Returns
    -------
    dict of str to str
        Kind to path, relative to the output folder.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    for folder in (layout.anat(shown), layout.case_folder(shown.case)):
        remove_leftovers(folder)
    wanted = ["dseg"]
    wanted += ["lesion_mask"] if options.lesion_mask else []
    wanted += ["probabilities"] if options.probabilities else []
    every = {k: layout.derivative(shown, suffix) for k, (suffix, _, _) in _DERIVATIVES.items()}
    sidecars = {k: layout.derivative(shown, suffix, ".json") for k, (suffix, _, _) in _DERIVATIVES.items()}
    names = [path[k].name for path in (every, sidecars) for k in wanted]
    old = [path.name for group in (every, sidecars) for path in group.values()]
    with all_or_none(layout.anat(shown), names, old, newer=True) as folder:
        for kind in wanted:
            _, part, text = _DERIVATIVES[kind]
            write_part(result, part, folder / every[kind].name)
            content = json.dumps(_sidecar(kind, text, result, raw), indent=2, ensure_ascii=False)
            (folder / sidecars[kind].name).write_text(content + "\n", encoding="utf-8")
    more = ["summary", "lesions", "key_slice", *(["overview"] if options.overview else [])]
    paths = {kind: layout.case_file(shown.case, kind) for kind in ("summary", "lesions", "key_slice", "overview")}
    place = layout.case_folder(shown.case)
    placed = replace(result, source=input_for_summary(result.source, place))
    with all_or_none(place, [paths[k].name for k in more], [p.name for p in paths.values()], newer=True) as folder:
        for kind in more:
            if kind == "key_slice":
                (folder / paths[kind].name).write_bytes(jpeg(render_key_slice(result)))
            else:
                write_part(placed, kind, folder / paths[kind].name)
    written = {k: every[k] for k in wanted} | {k: paths[k] for k in more}
    return {kind: layout.relative(path) for kind, path in written.items()}


def _sidecar(kind: str, text: str, result: Segmentation, raw: str) -> dict[str, Any]:
    """BIDS derivatives, "Common data types and metadata"; keys of our own begin with FlairSeg."""
    from .._version import __version__

    content: dict[str, Any] = {
        "Description": text,
        "SpatialReference": "orig",
        "FlairSegVersion": __version__,
        "FlairSegModel": result.card.id,
        "FlairSegModelSHA256": result.card.sha256,
        "FlairSegInput": result.source,
        "FlairSegInputSHA256": result.input_sha256,
        "FlairSegWarnings": [getattr(w, "code", "note") for w in result.warnings],
    }
    if raw:
        content["Sources"] = [f"bids:raw:{raw}"]
        content["SpatialReference"] = f"bids:raw:{raw}"
    if kind == "lesion_mask":
        content["Type"] = "Lesion"
    if kind == "probabilities":
        content["LabelMap"] = ["background", *(c.id for c in CLASSES)]
    if kind != "probabilities":
        content["Manual"] = False
    return content


def are_there(layout: Layout, row: SessionRow) -> bool:
    """Whether all files that a row names are there."""
    return bool(row.files) and all((layout.root / name).is_file() for name in row.files.values())


def remove(layout: Layout, shown: Session) -> None:
    """Take the files of a session away of which the present run has none: what is there is never stale."""
    anat = layout.anat(shown)
    remove_leftovers(anat)
    for suffix, _, _ in _DERIVATIVES.values():
        for ending in (".nii.gz", ".json"):
            layout.derivative(shown, suffix, ending).unlink(missing_ok=True)
    for folder in (anat, anat.parent, anat.parent.parent):
        with suppress(OSError):
            if folder != layout.root:
                folder.rmdir()
    shutil.rmtree(layout.case_folder(shown.case), ignore_errors=True)
