"""Training configuration: one JSON file per recipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flairseg.models.card import PipelineConfig


@dataclass
class TrainingConfig:
    """A recipe.

    Attributes
    ----------
    name : str
        Name of the run; its checkpoints go to ``<output>/<name>``.
    pipeline : dict
        The model card's pipeline: preprocessing, output, thresholds.
    network : dict
        ``kind`` and the network's arguments.
    steps, batch, learning_rate, weight_decay : schedule; the rate decays polynomially (power 0.9) to zero.
    ema : float
        Decay of the running average of the weights, which is what gets exported; 0 switches it off.
    mix : dict
        Samples of each source in a batch: ``tabriz``, ``synthetic``, ``pseudo``, ``verdicts``.
    synthetic : dict
        ``count`` per seed and ``seeds`` of the pool of synthetic slices.
    class_weights : list of float or None
        Weights of the classes in the cross entropy.
    logit_bias : list of float or None
        Added to the classes' logits on export; undoes the class weights as far as out-of-fold predictions ask for it.
    fold : int or None
        Patients of this fold are left out; None trains on all.
    init : str or None
        Checkpoint whose weights to start from.
    seed : int
    validate_every : int
    """

    name: str
    pipeline: dict[str, Any]
    network: dict[str, Any]
    steps: int = 4000
    batch: int = 6
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    ema: float = 0.998
    mix: dict[str, int] = field(default_factory=lambda: {"tabriz": 4, "synthetic": 2})
    synthetic: dict[str, Any] = field(default_factory=lambda: {"count": 1800, "seeds": [11, 12]})
    class_weights: list[float] | None = None
    logit_bias: list[float] | None = None
    fold: int | None = None
    folds: int = 5
    init: str | None = None
    pseudo: str | None = None
    seed: int = 0
    validate_every: int = 500

    @property
    def preprocessing(self) -> PipelineConfig:
        """The pipeline as :func:`flairseg.preprocessing.preprocess` reads it."""
        return PipelineConfig.from_dict(self.pipeline)


def load_config(path: Path, **overrides: Any) -> TrainingConfig:
    """Read a recipe and apply overrides (those that are not None)."""
    values = json.loads(Path(path).read_text(encoding="utf-8"))
    values.update({key: value for key, value in overrides.items() if value is not None})
    return TrainingConfig(**values)


def dump_config(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as plain data, for checkpoints and logs."""
    return asdict(config)
