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
        ``pipeline`` of the model card: preprocessing, output, thresholds.
    network : dict
        ``kind`` and the network's arguments; of ``kind`` "mean" the ``recipes`` whose networks are averaged
        (:mod:`training.average`).
    steps, batch, learning_rate, weight_decay
        A recipe without ``steps`` uses the budget shared by all systems (``budget.json``), with its folds.
    loss : str
        A key of :data:`.losses.LOSSES`, or ``partial`` (:mod:`.train_sites`).
    optimiser : dict
        ``kind`` (adamw, adam, sgd) and its arguments; ``clip_norm``: maximum norm of the gradient, default 5.
    schedule : dict
        ``kind`` poly: polynomial decay of the learning rate (power 0.9) to zero, after ``warmup`` steps. ``kind``
        plateau: multiplied by ``factor`` if the mean training loss has not improved for ``patience`` epochs, down to
        ``lowest``.
    augmentation : dict
        Ranges of rotation, zoom etc. (:class:`flairseg.adapt.augment.Geometry`).
    altered : float
        Share of slices with intensity augmentation (:func:`flairseg.adapt.augment.intensity`).
    slices : str
        Sampling of annotated slices: ``all`` (three times as often if any class is present), ``entropy`` (only slices
        whose lesion mask has a Shannon entropy of at least 0.01 bits, source: S2), or ``entropy-thrice`` (all, such
        slices three times as often).
    window : list of int or None
        (rows, columns) of the window around the head that is used in training: air takes time and carries no
        information. Only for networks without instance norm, which depends on the whole frame.
    crop : list of int or None
        (rows, columns) of a random crop of each augmented slice, centred on a foreground pixel two times in three.
        Only for networks without instance norm.
    ema : float
        Decay of the exponential moving average of the weights, which is exported; 0 switches it off.
    mix : dict
        Samples per batch from each source: ``tabriz``, ``synthetic``, ``pseudo``, ``verdicts``; sites of
        :mod:`.sites` for ``partial``.
    synthetic : dict
        Pools of synthetic slices: ``count`` of each of ``seeds``.
    class_weights : list of float or None
        Class weights of the cross entropy.
    fold : int or None
        Patients of this fold are held out; None trains on all.
    init : str or None
        Checkpoint with the initial weights; ``runs/<run>/last.pt`` is also searched for in the output folder. The run
        may end in ``{fold}``: that of the same fold.
    half_weights : bool
        Store the exported weights in half precision.
    seed : int
    amp : bool or None
        Run convolutions in bf16; None: if the processor has instructions for it (otherwise it takes twice as long).
    validate_every, checkpoint_every : int
        Intervals in steps.
    self_training : dict
        Of :mod:`.train_sites`: ``at``, share of the steps after which the run labels the unlabelled scans; ``mix`` from
        then on; ``confidence``, probability below which a pixel counts as unknown.
    teacher : dict
        Of :mod:`.train_sites`: ``recipe`` whose network of the same fold is learnt from, ``weight`` of the divergence
        from it (:mod:`.distillation`). The unlabelled scans then have its labels instead of the run's own.
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
    teacher: dict[str, Any] = field(default_factory=dict)
    notes: str = ""

    @property
    def starts_from(self) -> str | None:
        """``init`` with the fold in its place."""
        return self.init and self.init.replace("{fold}", "" if self.fold is None else f"-fold{self.fold}")

    @property
    def preprocessing(self) -> PipelineConfig:
        """The pipeline in the form that :func:`flairseg.preprocessing.preprocess` takes."""
        return PipelineConfig.from_dict(self.pipeline)


def shared_budget() -> dict[str, Any]:
    """Training budget of the compared systems: ``slices`` seen, ``folds``, and the ``order`` of training."""
    return json.loads(BUDGET.read_text(encoding="utf-8"))


def load_config(path: Path, published: bool = False, slices: int | None = None, **overrides: Any) -> TrainingConfig:
    """Read a recipe.

    Parameters
    ----------
    path : Path
    published : bool
        Use the published width, resolution and schedule (``published`` of the recipe) instead of those that fit this
        project's budget.
    slices : int, optional
        Annotated slices of a recipe that uses the shared budget, instead of the budget's.
    **overrides
        Fields to replace; None leaves the recipe's.

    Raises
    ------
    ValueError
        If ``published`` is asked of a recipe without it.
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
        values["steps"] = (slices or budget["slices"]) // values["batch"]
        values.setdefault("folds", budget["folds"])
    values.update({key: value for key, value in overrides.items() if value is not None})
    return TrainingConfig(**values)


def dump_config(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as a dictionary, for checkpoints and logs."""
    return asdict(config)
