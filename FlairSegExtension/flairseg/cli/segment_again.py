"""Repeated calls of ``flairseg segment``: existing results that match the request are kept as done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FlairSegError
from ..labels import CLASS_BY_VALUE
from ..models.card import ModelCard
from ..models.scope import scope_of
from ..models.store import pipeline_sha256

if TYPE_CHECKING:
    from ..files.names import NamedInput
    from ..models.in_use import InUse
    from ..privacy.pseudonyms import Pseudonymiser
    from .dicom import DicomOptions


class AlreadyDone(Exception):
    """The results of a case exist, from the same image and model."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        super().__init__("already done")
        self.summary = summary


def raise_if_done(
    item: NamedInput,
    output: Path,
    model: ModelCard | InUse,
    wanted: set[str],
    regions: bool,
    dicom: DicomOptions,
    pseudonymiser: Pseudonymiser | None,
) -> None:
    """Raise :class:`AlreadyDone` if the existing results match the request.

    They match if every requested file exists, from an image with the same voxels and affine, by the same model with the
    same pipeline and thresholds, with regions if requested. If the model in use was adapted to a site, the result must
    be its own for a scan like the site's, and its parent's for any other. Otherwise nothing is raised and the refusal
    stands.

    Parameters
    ----------
    item : NamedInput
    output : Path
    model : ModelCard or InUse
    wanted : set of str
        Kinds of files.
    regions : bool
    dicom : DicomOptions
        DICOM objects carry no hash of their image: if they are requested, the refusal stands.
    pseudonymiser : Pseudonymiser or None
    """
    from ..files.summary_paths import absolute_source
    from ..segmentation.writing import file_names

    if dicom.folder is not None:
        return
    names = file_names(item.stem)
    if not all((output / names[kind]).is_file() for kind in wanted):
        return
    try:
        summary = json.loads((output / names["summary"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if _is_of(summary, model, regions) and summary.get("input_sha256") == _digest(item, dicom, pseudonymiser):
        # In the file it is seen from the output folder; a line of JSON has it as that of a case done now.
        named = summary.get("input") if pseudonymiser is not None else absolute_source(item.path)
        raise AlreadyDone({**summary, "input": named})


def _is_of(summary: Any, model: ModelCard | InUse, regions: bool) -> bool:
    if not isinstance(summary, dict) or not isinstance(summary.get("model"), dict):
        return False
    made = summary["model"]
    card = model if isinstance(model, ModelCard) else _reader(made, model)
    if card is None:
        return False
    thresholds = {CLASS_BY_VALUE[value].id: level for value, level in card.pipeline.thresholds.items()}
    # Summaries of earlier versions lack the pipeline.
    pipelines = (None, pipeline_sha256(card))
    same = made.get("sha256") == card.sha256 and made.get("thresholds", {}) == thresholds
    return same and made.get("pipeline_sha256") in pipelines and ("regions" in summary or not regions)


def _reader(made: Mapping[str, Any], model: InUse) -> ModelCard | None:
    """The model for the scan of a result: the one in use or its parent; None if the result does not state it."""
    if scope_of(model.card) is None:
        return model.card
    known = made.get("adaptation")
    if not isinstance(known, dict) or known.get("digest") != model.card.raw["adaptation"]["digest"]:
        return None
    if known.get("like") is True:
        return model.card
    try:
        return model.parent()
    except FlairSegError:
        return None


def _digest(item: NamedInput, dicom: DicomOptions, pseudonymiser: Pseudonymiser | None) -> str:
    """The input's fingerprint as its summary would hold it; empty where it cannot be read."""
    from ..files.same_input import fingerprint
    from ..image.footing import footed
    from ..io.reader import read_volume

    try:
        read = dicom.read(item.path, lambda fraction, stage: None, pseudonymiser)
        digest = fingerprint(footed(read_volume(item.path) if read is None else read.volume))
    except FlairSegError:
        return ""
    return digest if pseudonymiser is None else pseudonymiser.content_digest(digest)
