"""Pseudonymisation of a segmentation result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..files.names import is_common
from ..files.same_input import fingerprint

if TYPE_CHECKING:
    from ..privacy.pseudonyms import Pseudonymiser
    from .result import Segmentation


def pseudonymised(segmentation: Segmentation, pseudonymiser: Pseudonymiser, stem: str | None = None) -> Segmentation:
    """Replace name, source and names in warnings by the pseudonym, and remove the time of creation.

    Parameters
    ----------
    segmentation : Segmentation
    pseudonymiser : Pseudonymiser
    stem : str, optional
        Name of the case; default: that of the volume.

    Returns
    -------
    Segmentation
        ``volume.name`` is the pseudonym, which is also the stem of its files.
    """
    stem = segmentation.volume.name if stem is None else stem
    pseudonym = pseudonymiser.learn_path(segmentation.source, stem)
    if not is_common(segmentation.volume.name):
        pseudonymiser.learn(segmentation.volume.name, pseudonym)
    return under_name(segmentation, pseudonymiser, pseudonym)


def under_name(segmentation: Segmentation, pseudonymiser: Pseudonymiser, name: str) -> Segmentation:
    """:func:`pseudonymised` where the pseudonym is known."""
    digest = segmentation.input_sha256 or fingerprint(segmentation.volume)
    volume = replace(
        segmentation.volume,
        name=name,
        warnings=pseudonymiser.warnings(segmentation.volume.warnings),
        information=pseudonymiser.warnings(segmentation.volume.information),
    )
    return replace(
        segmentation,
        volume=volume,
        source=name,
        warnings=list(pseudonymiser.warnings(segmentation.warnings)),
        created="",
        input_sha256=pseudonymiser.content_digest(digest),
    )
