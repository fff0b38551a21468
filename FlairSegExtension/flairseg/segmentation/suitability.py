"""Comparison of a scan with the scope of an adapted model, and selection of the model for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import CaseWarning
from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..models.card import ModelCard
from ..models.in_use import Model, resolved
from ..models.scope import Outside, scope_of
from ..preprocessing import Prepared, preprocess
from ..preprocessing.scan_figures import scan_figures
from ..progress import STAGES, Reporter
from .result import AdaptedModel


@dataclass(frozen=True)
class Suitability:
    """What an adapted model's card says about a scan.

    Attributes
    ----------
    adapted : ModelCard
        The adapted model.
    outside : tuple of Outside
        What is unlike its adaptation; none for a scan like those.
    """

    adapted: ModelCard
    outside: tuple[Outside, ...] = ()

    @property
    def like(self) -> bool:
        """Whether the scan is like those of the adaptation."""
        return not self.outside

    def warning(self, used: ModelCard, about: str = "Segmented") -> CaseWarning:
        """Which model was used, and what is unlike.

        Parameters
        ----------
        used : ModelCard
            The model that segmented the scan: the adapted one itself where it was chosen for the run.
        about : str
            What was done with it.
        """
        what = "; ".join(one.text for one in self.outside)
        if used.sha256 == self.adapted.sha256:
            why = f"as chosen, although the scan is unlike those that it was adapted to ({what})"
        else:
            origin = f"the model that {self.adapted.id} was adapted from"
            why = f"{origin}: the scan is unlike those of the adaptation ({what})"
        text = f"{about} with {used.id}, {why}."
        figures = {one.name: one.value for one in self.outside if one.value == one.value}
        return CaseWarning(text, "unlike-adaptation", **figures)

    def noted(self) -> AdaptedModel:
        """What a result states of it."""
        card = self.adapted
        outside = tuple(one.name for one in self.outside)
        return AdaptedModel(card.id, card.sha256, str(card.raw["adaptation"]["digest"]), self.like, outside)


@dataclass(frozen=True)
class Reading:
    """Which model segments a scan, and what is known by then.

    Attributes
    ----------
    card : ModelCard
        The model.
    suitability : Suitability or None
        None without an adapted model with a scope.
    prepared : list of (SliceStack, Prepared)
        The scan in the frame of ``card``, where it was prepared to look at it: one entry, which whoever runs the model
        takes out, so that its memory can be freed.
    warnings : tuple of CaseWarning
    """

    card: ModelCard
    suitability: Suitability | None = None
    prepared: list[tuple[SliceStack, Prepared]] = field(default_factory=list)
    warnings: tuple[CaseWarning, ...] = ()


def model_for(volume: Volume, model: Model, reporter: Reporter | None = None) -> Reading:
    """The model for a scan: the one that was chosen; instead of the model in use its parent for scans unlike its own.

    Parameters
    ----------
    volume : Volume
        Checked, and on the common footing (:mod:`flairseg.image.footing`).
    model : str, Path, ModelCard, InUse or None
    reporter : Reporter, optional
        Of a run: stage ``preprocess``, where there is something to look at.

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        Of the model; and of its parent, where that is to segment the scan.
    """
    card, in_use = resolved(model)
    scope = scope_of(card)
    if scope is None:
        return Reading(card)
    with (reporter or Reporter()).stage("preprocess", STAGES["read"], STAGES["preprocess"]) as stage:
        stack = SliceStack.from_volume(volume, card.pipeline.plane)
        prepared = preprocess(stack, card.pipeline, stage.update)
        suitability = Suitability(card, scope.outside(stack.plane, scan_figures(stack, prepared)))
    used = card if suitability.like or in_use is None else in_use.parent()
    warnings = () if suitability.like else (suitability.warning(used),)
    kept = [(stack, prepared)] if used.pipeline == card.pipeline else []
    return Reading(used, suitability, kept, warnings)


def model_for_all(volumes: Sequence[Volume], model: Model) -> tuple[Model, list[tuple[CaseWarning, ...]]]:
    """One model for scans that are compared: the parent of the model in use for all, if one is unlike its own.

    Parameters
    ----------
    volumes : sequence of Volume
        As for :func:`model_for`.
    model : str, Path, ModelCard, InUse or None

    Returns
    -------
    model : ModelCard or as given
        For all of them.
    list of tuple of CaseWarning
        Of each scan, where the parent takes over.

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        As :func:`model_for`.
    """
    card, in_use = resolved(model)
    nothing: list[tuple[CaseWarning, ...]] = [() for _ in volumes]
    if in_use is None or scope_of(card) is None:
        return card, nothing
    found = [model_for(volume, card).suitability for volume in volumes]
    if all(one is None or one.like for one in found):
        return card, nothing
    parent = in_use.parent()
    about = "All studies were segmented"
    return parent, [() if one is None or one.like else (one.warning(parent, about),) for one in found]
