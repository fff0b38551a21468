"""The model card: one JSON file that describes a network, its training and its input.

A card is checked in two ways: against ``models/card.schema.json`` with jsonschema, and by the dataclasses below, whose
checks hold everywhere (Slicer's Python has no jsonschema). The weights are data: their sha256 is in the card, and a
mismatch is an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import InvalidModelError, ModelNotFoundError
from ..files import hashing
from ..labels import BACKGROUND, CLASS_BY_VALUE, LESION
from .adaptation import card_digest
from .lesion_confidence import FIELD as LESION_CONFIDENCE
from .lesion_confidence import LesionConfidence, lesion_confidence_of
from .members import ENSEMBLE_STAGES, Member, digest, members_of
from .schema import schema_path

CARD_NAME = "card.json"
NO_SUCH_PATH = "Check the path, or choose one of the installed models."

#: Variants that each stage knows, by field of :class:`PipelineConfig`. The schema repeats them; a test compares the two
#: with the registries of ``flairseg.preprocessing``.
CHOICES: dict[str, tuple[str, ...]] = {
    "plane": ("native", "axial", "sagittal", "coronal"),
    "denoise": ("none", "s1"),
    "brain_mask": ("s1",),
    "normalisation": ("brain-median", "periphery", "zscore", "minmax", "divide-255"),
    "framing": ("brain-mm", "brain-256", "crop-256", "resample-256", "resize-512", "pad-384"),
    "output": ("gray", "sigmoid", "softmax"),
}
_ALL_VALUES = (BACKGROUND, *CLASS_BY_VALUE)


@dataclass(frozen=True)
class PipelineConfig:
    """Variant and parameters of each pipeline stage for one model.

    Attributes
    ----------
    plane : str
        Plane in which the volume is sliced; ``native`` keeps the acquisition plane of thick-slice stacks.
    denoise, brain_mask, normalisation, framing : str
        Variant of each preprocessing stage, see ``flairseg.preprocessing``.
    skull_strip : bool
        Whether everything outside the brain mask is blanked before normalisation.
    frame_size : tuple of int
        (rows, columns) of the generator's input, pixels; it decides, whatever number the framing's name holds.
    frame_spacing_mm : float
        Pixel size of the frame in mm (used by framings of fixed physical size).
    input_slices : int
        1 (2-D) or 3 (2.5-D: the slice between two neighbours).
    neighbour_mm : float
        Distance of the neighbours from the slice, mm.
    slab_mm : float
        Thin slices are averaged to slabs about this thick, mm; 0 switches it off.
    output : str
        ``gray`` (one channel of gray levels), ``sigmoid`` (one channel per class) or ``softmax`` (exclusive classes).
    output_classes : tuple of int
        Class value of each output channel; for ``gray``, of each entry of ``class_values``.
    logits : bool
        Whether the network's output still needs its sigmoid or softmax. Ignored for ``gray``.
    class_values : tuple of float
        Gray level of each class (``gray`` only).
    temperature : float
        Scale of the gray-level distance softmax, in gray levels (``gray`` only).
    thresholds : mapping of int to float
        Class value -> probability from which a voxel belongs to that class whatever the other probabilities.
    flip_average : bool
        Average the output with that of the left-right mirrored slice.
    fill_holes, smooth_edges : bool
        Clean-up stages, see ``flairseg.segmentation.postprocessing``.
    min_lesion_mm3, min_normal_mm3, min_ventricle_mm3 : float
        26-connected components of the class below this volume are removed; 0 keeps all.
    min_lesion_probability : float
        Lesions whose mean probability is below this are removed; 0 keeps all.
    lesion_probability_ratio : float
        Of these, lesions that are not tiny stay if their mean probability is at least this share of the highest one of
        the scan: on scanners outside its training data a network gives lower probabilities. 0 exempts none.
    lesion_growth : float
        Lesions grow from their core to where their probability falls below this; 0 switches it off.
    brain_margin_mm : float
        Components farther than this from the rough brain mask are removed; 0 keeps all.
    crop_margin_px : int
        The network receives of each frame the part within so many pixels of the rough brain mask, cropped on a grid of
        :data:`flairseg.segmentation.cropping.GRID_PX`; 0: whole frames. For networks without normalisation,
        see :mod:`flairseg.segmentation.local_network`; others always see whole frames.
    """

    plane: str = "native"
    denoise: str = "none"
    brain_mask: str = "s1"
    skull_strip: bool = False
    normalisation: str = "brain-median"
    framing: str = "brain-mm"
    frame_size: tuple[int, int] = (224, 192)
    frame_spacing_mm: float = 0.9
    input_slices: int = 3
    neighbour_mm: float = 6.0
    slab_mm: float = 0.0
    output: str = "softmax"
    output_classes: tuple[int, ...] = (0, 1, 2, 3)
    logits: bool = True
    class_values: tuple[float, ...] = (0.0, 0.25, 0.75, 1.0)
    temperature: float = 0.1
    thresholds: MappingProxyType[int, float] = field(default_factory=lambda: MappingProxyType({}))
    flip_average: bool = False
    fill_holes: bool = True
    smooth_edges: bool = False
    min_lesion_mm3: float = 0.0
    min_normal_mm3: float = 0.0
    min_ventricle_mm3: float = 0.0
    min_lesion_probability: float = 0.0
    lesion_probability_ratio: float = 0.0
    lesion_growth: float = 0.0
    brain_margin_mm: float = 0.0
    crop_margin_px: int = 0

    def __post_init__(self) -> None:
        """Check every value.

        Raises
        ------
        ValueError
            Naming the first field that makes no sense.
        """
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}")
        if self.input_slices not in (1, 3):
            raise ValueError(f"input_slices is {self.input_slices!r}, not 1 or 3")
        if len(self.frame_size) != 2 or any(side < 16 or side > 2048 for side in self.frame_size):
            raise ValueError(f"frame_size is {self.frame_size!r}, not two sides of 16 to 2048 pixels")
        for name in ("frame_spacing_mm", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0")
        for name in (
            "neighbour_mm",
            "slab_mm",
            "min_lesion_mm3",
            "min_normal_mm3",
            "min_ventricle_mm3",
            "brain_margin_mm",
            "crop_margin_px",
            "lesion_growth",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative")
        if not set(self.output_classes) <= set(_ALL_VALUES) or len(set(self.output_classes)) != len(
            self.output_classes
        ):
            raise ValueError(f"output_classes is {self.output_classes!r}, not distinct class values 0..3")
        if self.output == "gray" and len(self.class_values) != len(self.output_classes):
            raise ValueError("class_values must give one gray level per class of output_classes")
        if (self.output == "sigmoid") == (BACKGROUND in self.output_classes):
            raise ValueError(
                "output_classes names the background for gray and softmax outputs, and not for sigmoid ones"
            )
        if not 0 <= self.min_lesion_probability < 1:
            raise ValueError(f"min_lesion_probability is {self.min_lesion_probability!r}, not a probability below 1")
        if not 0 <= self.lesion_probability_ratio <= 1:
            raise ValueError(f"lesion_probability_ratio is {self.lesion_probability_ratio!r}, not a share of 0 to 1")
        for value, threshold in self.thresholds.items():
            if value not in CLASS_BY_VALUE or not 0 < threshold < 1:
                raise ValueError(
                    f"thresholds: class {value!r} with {threshold!r} is not a class with a value in (0, 1)"
                )

    @property
    def output_channels(self) -> int:
        """Channels that the network must output."""
        return 1 if self.output == "gray" else len(self.output_classes)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PipelineConfig:
        """Config from the ``pipeline`` object of a card (JSON lists become tuples, threshold keys become ints).

        Raises
        ------
        ValueError
            On an unknown field or a value that makes no sense.
        TypeError
            On a value of the wrong type.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        converted = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        if "thresholds" in converted:
            converted["thresholds"] = MappingProxyType({int(k): float(v) for k, v in values["thresholds"].items()})
        values_of: Any = converted
        return cls(**values_of)


@dataclass(frozen=True)
class ModelCard:
    """A model that FlairSeg can run.

    Attributes
    ----------
    id : str
        ``<name>-v<major>.<minor>``.
    title, version, licence, summary : str
        For people.
    path : Path
        The ONNX file; of an ensemble, the card itself.
    sha256 : str
        Expected hash of the ONNX file; of an ensemble, :func:`.members.digest`.
    pipeline : PipelineConfig
        Preprocessing and decoding; of an ensemble, its thresholds and clean-up.
    raw : dict
        The whole card: intended use, training data, measured results.
    """

    id: str
    title: str
    version: str
    path: Path
    sha256: str
    licence: str
    summary: str
    pipeline: PipelineConfig
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of an ensemble; none of a single model."""
        return members_of(self.raw)

    @property
    def lesion_confidence(self) -> LesionConfidence | None:
        """How a lesion's mean probability and volume become its confidence; None where confidence is the former."""
        return lesion_confidence_of(self.raw)

    @property
    def classes(self) -> tuple[int, ...]:
        """Class values 1..3 that the model knows."""
        if not self.members:
            return tuple(sorted(set(self.pipeline.output_classes) - {BACKGROUND}))
        return tuple(value for value in CLASS_BY_VALUE if any(m.weights.get(value, 0) > 0 for m in self.members))

    def verify(self) -> None:
        """Compare the weights with the card's sha256; the answer is remembered until the file changes.

        Of an ensemble, compare the card's members and weights with its digest; :func:`.store.verify_model` checks
        each member too.

        Raises
        ------
        ModelNotFoundError
            If the weights are not there.
        InvalidModelError
            If they cannot be read or hash to something else.
        """
        if self.members:
            if digest(self.members) != self.sha256:
                raise InvalidModelError(
                    f"The members or weights of the ensemble {self.id} were altered (sha256 differs).",
                    "Get its card again from its source.",
                )
            return
        try:
            stat = self.path.stat()
        except FileNotFoundError as error:
            raise ModelNotFoundError(
                f"The weights of model {self.id} are missing: {self.path}.",
                "Put the matching model.onnx beside the card, or reinstall FlairSeg.",
            ) from error
        except OSError as error:
            raise _unreadable(self.path, error) from error
        key = (str(self.path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if key not in _HASHES:
            _HASHES[key] = file_sha256(self.path)
        if _HASHES[key] != self.sha256:
            raise InvalidModelError(
                f"The weights of model {self.id} are not those that its card describes (sha256 differs).",
                "The file is damaged or was replaced: reinstall FlairSeg, or copy model and card again.",
            )


def with_lesion_threshold(card: ModelCard, threshold: float | None, outline: float | None = None) -> ModelCard:
    """The card with another lesion threshold.

    The card's lesion confidence and minimum mean probability were fitted on lesions at its own threshold and are
    removed. Voxels added by a lower threshold lower the mean probability of a lesion: the minimum would remove large
    lesions, and lower thresholds would mark less.

    Parameters
    ----------
    card : ModelCard
    threshold : float or None
        Probability from which on a voxel is lesion, 0..1 exclusive; None, or the card's own: the card is returned
        unchanged.
    outline : float, optional
        Probability down to which a lesion extends from such voxels (``lesion_growth``); default: the card's.

    Raises
    ------
    InvalidModelError
        Code ``threshold-out-of-range``: not between 0 and 1.
    """
    if threshold is None:
        return card
    if not 0 < threshold < 1:
        raise InvalidModelError(
            f"A threshold of {threshold:g} is not a probability between 0 and 1.",
            "Give a value such as 0.3: lower ones mark more lesions.",
            code="threshold-out-of-range",
            threshold=threshold,
        )
    if outline is None and card.pipeline.thresholds.get(LESION) == threshold:
        return card
    thresholds = MappingProxyType({**card.pipeline.thresholds, LESION: float(threshold)})
    raw = {key: value for key, value in card.raw.items() if key != LESION_CONFIDENCE}
    pipeline = replace(card.pipeline, thresholds=thresholds, min_lesion_probability=0.0)
    if outline is not None:
        pipeline = replace(pipeline, lesion_growth=float(outline) if outline < threshold else 0.0)
    return replace(card, pipeline=pipeline, raw=raw)


_HASHES: dict[tuple[str, int, int, int], str] = {}


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content.

    Raises
    ------
    InvalidModelError
        If the file cannot be read.
    """
    try:
        return hashing.file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_card(path: str | Path) -> ModelCard:
    """Read and check a model card; its weights are not verified.

    Parameters
    ----------
    path : str or Path
        The card, a folder that holds ``card.json``, or an ``.onnx`` file with ``card.json`` beside it.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelNotFoundError
        If the card does not exist.
    InvalidModelError
        If the card is not valid.
    """
    given = Path(path)
    card_path = _card_path(given)
    raw = _read_json(card_path)
    problem = None if _shipped(card_path) else schema_problem(raw)
    if problem:
        raise _invalid(card_path, problem)
    try:
        if ("ensemble" in raw) == ("weights" in raw):
            raise ValueError("either weights or ensemble must be given")
        if "ensemble" in raw:
            members_of(raw)
            foreign = sorted(set(raw["pipeline"]) - ENSEMBLE_STAGES)
            if foreign:
                raise ValueError(f"pipeline: {foreign[0]} belongs in the members' cards, not in an ensemble's")
            name, sha256 = card_path.name, raw["ensemble"]["sha256"]
        else:
            name, sha256 = raw["weights"]["file"], raw["weights"]["sha256"]
        lesion_confidence_of(raw)
        if Path(name).name != name:
            raise ValueError("weights.file must be a plain file name")
        if "adaptation" in raw and raw["adaptation"].get("digest") != card_digest(raw):
            raise ValueError("it was altered since the model was adapted (digest differs)")
        if given.suffix.lower() == ".onnx" and given.name != name:
            raise ValueError(f"it describes {name}, not {given.name}")
        return ModelCard(
            id=str(raw["id"]),
            title=str(raw["title"]),
            version=str(raw["version"]),
            path=card_path.parent / name,
            sha256=str(sha256).lower(),
            licence=str(raw["licence"]),
            summary=str(raw["summary"]),
            pipeline=PipelineConfig.from_dict(raw["pipeline"]),
            raw=raw,
        )
    except KeyError as error:
        raise _invalid(card_path, f"{error.args[0]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _invalid(card_path, str(error)) from error


def _shipped(card_path: Path) -> bool:
    """Whether a card is beside the schema: the tests hold these against it, and jsonschema takes a while to load."""
    schema = schema_path()
    return schema is not None and card_path.resolve().parent.parent == schema.parent.resolve()


def schema_problem(raw: Any) -> str | None:
    """First violation of ``card.schema.json``, as text; None if there is none.

    Also None where jsonschema or the schema is not installed: the checks of the dataclasses stay.
    """
    path = schema_path()
    try:
        import jsonschema
    except ImportError:
        return None
    if path is None:
        return None
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    error = jsonschema.exceptions.best_match(validator.iter_errors(raw))
    return None if error is None else f"{'.'.join(map(str, error.absolute_path)) or 'the card'}: {error.message}"


def _card_path(given: Path) -> Path:
    """Resolve the path of a model's card from its card, folder or weights."""
    try:
        if given.is_dir():
            card = given / CARD_NAME
        elif given.suffix.lower() == ".onnx":
            if not given.exists():
                raise ModelNotFoundError(
                    f"There is no model file {given}.", NO_SUCH_PATH, code="model-path-not-found", path=given
                )
            card = given.with_name(CARD_NAME)
        else:
            card = given
        found = card.is_file()
    except OSError as error:
        raise _unreadable(given, error) from error
    if not found:
        raise ModelNotFoundError(
            f"There is no model card {card}.",
            "A model needs its card.json beside it: it defines the network's input.",
        )
    return card


def _read_json(path: Path) -> Any:
    """The card's content."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise _invalid(path, f"not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise _invalid(path, "not a JSON object")
    return raw


def _invalid(path: Path, problem: str) -> InvalidModelError:
    return InvalidModelError(
        f"The model card {path} is not valid: {problem}.",
        "Get the card again from the model's source, or correct it; if it was made for a newer FlairSeg, update.",
    )


def _unreadable(path: Path, error: OSError) -> InvalidModelError:
    return InvalidModelError(
        f"{path} cannot be read: {error.strerror or error}.", "Check the permissions of the model's folder."
    )
