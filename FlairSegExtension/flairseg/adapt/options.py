"""Where an adapted model goes, and how long and how it learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tuning import Settings


@dataclass(frozen=True)
class ModelTarget:
    """Where an adapted model goes, and what it is called.

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
    """How long and how a model learns.

    Attributes
    ----------
    minutes : float
        Time that all of the adaptation may take. What is finished is kept, and a second call goes on.
    seed : int
        Of the folds and of the resampling of their figures.
    settings : Settings, optional
        Of the fine-tuning; default as measured for the default model. ``steps`` is the most that is planned.
    """

    minutes: float = 20.0
    seed: int = 0
    settings: Settings | None = None
