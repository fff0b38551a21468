"""Training configuration: one JSON file per recipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flairseg.models.card import PipelineConfig

BUDGET = Path(__file__).with_name("budget.json")
CONFIGS = Path(__file__).with_name("configs")


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
        ``kind`` and the network's arguments; of ``kind`` "mean" the ``recipes`` whose networks are averaged
        (:mod:`training.average`).
    steps, batch, learning_rate, weight_decay
        A recipe without ``steps`` takes as many as the budget that the systems share (``budget.json``) allows, and that
        budget's folds.
    loss : str
        See ``losses.py``.
    optimiser : dict
        ``kind`` (adamw, adam, sgd) and its arguments; clip_norm: largest norm of the gradient, default 5.
    schedule : dict
        ``kind`` poly: the rate decays polynomially (power 0.9) to zero, after ``warmup`` steps. ``kind`` plateau: it is
        multiplied by ``factor`` when the mean training loss has not improved for ``patience`` epochs, down to
        ``lowest``.
    augmentation : dict
        Ranges of rotation, zoom, ... (``augment.Geometry``).
    altered : float
        Share of slices whose intensities are altered as well (``augment.intensity``).
    slices : str
        Annotated slices that are drawn: ``all`` (those with any class three times as often), ``entropy`` (those whose
        mask has a Shannon entropy of at least 0.01, source: S2), or ``entropy-thrice`` (all, those three times as
        often).
    window : list of int or None
        (rows, columns) around the head that training sees of the frame; the air beside it costs time and teaches
        nothing. For networks that do not look at the whole picture at once (no instance norm).
    crop : list of int or None
        (rows, columns) of a random part of each augmented slice, placed on a foreground pixel two times in three: a
        small network learns most where there is something to learn. For networks without instance norm.
    ema : float
        Decay of the running average of the weights, which is what gets exported; 0 switches it off.
    mix : dict
        Samples of each source in a batch: ``tabriz``, ``synthetic``, ``pseudo``, ``verdicts``.
    synthetic : dict
        ``count`` per seed and ``seeds`` of the pool of synthetic slices.
    class_weights : list of float or None
        Weights of the classes in the cross entropy.
    fold : int or None
        Patients of this fold are left out; None trains on all.
    init : str or None
        Checkpoint whose weights to start from; ``runs/<run>/last.pt`` is looked for in the output folder as well.
    half_weights : bool
        Store the exported weights in half precision.
    seed : int
    amp : bool or None
        Convolve in bf16; None: where the processor has instructions for it (elsewhere it takes twice as long).
    validate_every, checkpoint_every : int
        Steps.
    self_training : dict
        Of ``train_sites``: ``at``, the share of the steps after which the run labels the scans without labels by
        itself; ``mix``, the batches from then on; ``confidence``, the probability below which a pixel counts as
        unknown.
    notes : str
        Deviations from the paper, with reasons.
    """

    name: str
    pipeline: dict[str, Any]
    network: dict[str, Any]
    steps: int = 4000
    batch: int = 6
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    ema: float = 0.998
    loss: str = "dice-ce"
    optimiser: dict[str, Any] = field(default_factory=lambda: {"kind": "adamw"})
    schedule: dict[str, Any] = field(default_factory=lambda: {"kind": "poly", "warmup": 50})
    augmentation: dict[str, Any] = field(default_factory=dict)
    altered: float = 0.0
    slices: str = "all"
    window: list[int] | None = None
    crop: list[int] | None = None
    mix: dict[str, int] = field(default_factory=lambda: {"tabriz": 4, "synthetic": 2})
    synthetic: dict[str, Any] = field(default_factory=lambda: {"count": 1800, "seeds": [11, 12]})
    class_weights: list[float] | None = None
    fold: int | None = None
    folds: int = 5
    half_weights: bool = False
    init: str | None = None
    pseudo: str | None = None
    seed: int = 0
    amp: bool | None = None
    validate_every: int = 500
    checkpoint_every: int = 100
    self_training: dict[str, Any] = field(default_factory=dict)
    notes: str = ""

    @property
    def preprocessing(self) -> PipelineConfig:
        """The pipeline as :func:`flairseg.preprocessing.preprocess` reads it."""
        return PipelineConfig.from_dict(self.pipeline)


def shared_budget() -> dict[str, Any]:
    """The budget that the systems share: ``slices`` seen, ``folds``, and the ``order`` in which they are trained."""
    return json.loads(BUDGET.read_text(encoding="utf-8"))


def load_config(path: Path, published: bool = False, **overrides: Any) -> TrainingConfig:
    """Read a recipe and apply overrides (those that are not None).

    Parameters
    ----------
    path : Path
    published : bool
        Take the published width, resolution and schedule, which the recipe keeps under ``published``, in place of those
        that fit this project's budget.
    """
    values = json.loads(Path(path).read_text(encoding="utf-8"))
    as_published = values.pop("published", {})
    if published:
        if not as_published:
            raise ValueError(f"{path} has no published variant")
        values["pipeline"] = {**values["pipeline"], **as_published.pop("pipeline", {})}
        values.update(as_published)
        values["name"] += "-published"
    if "steps" not in values:
        budget = shared_budget()
        values["steps"] = budget["slices"] // values["batch"]
        values.setdefault("folds", budget["folds"])
    values.update({key: value for key, value in overrides.items() if value is not None})
    return TrainingConfig(**values)


def dump_config(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as plain data, for checkpoints and logs."""
    return asdict(config)
