"""Options of an adaptation: destination and training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import CaseWarning
    from .tuning import Settings


@dataclass(frozen=True)
class ModelTarget:
    """Destination and id of an adapted model.

    Attributes
    ----------
    folder : str or Path
        For ``card.json``, ``model.onnx``, ``proof.html``, ``proof.json``.
    model_id : str, optional
        Default: the base's name with ``-site`` and the first free version.
    overwrite : bool
        Replace a model in ``folder``.
    """

    folder: str | Path
    model_id: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class TrainingOptions:
    """Training time and settings.

    Attributes
    ----------
    minutes : float
        In all, as the steps of all trainings are planned from the speed at the start. On a computer that is busier
        later it takes longer; a training that needs three times its share is cut short. Completed parts are kept, and a
        second call with the same time resumes.
    seed : int
        Of the folds and of the resampling of their figures.
    settings : Settings, optional
        Of the fine-tuning; default as measured for the default model. ``steps`` is the most that is planned.
    accepted : tuple of str
        Codes of :data:`.terms.CONVENTIONS` that are the readers' convention, by the user's statement.
    device : str
        ``auto`` (an NVIDIA GPU if it can be used, else the CPU), ``cpu`` or ``cuda``; for training and segmentation.
    notify : callable, optional
        Called before the training with what the figures cannot judge (:mod:`.conventions`).
    """

    minutes: float = 20.0
    seed: int = 0
    settings: Settings | None = None
    accepted: tuple[str, ...] = ()
    device: str = "auto"
    notify: Callable[[CaseWarning], None] | None = None

    def tell(self, warning: CaseWarning) -> None:
        """Pass a warning on, if someone listens."""
        if self.notify is not None:
            self.notify(warning)
