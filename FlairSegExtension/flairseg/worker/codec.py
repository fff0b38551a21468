"""Codec of values between Slicer and its process, in both directions: JSON with types by name, arrays as blocks.

Requests and answers of :mod:`.tasks`, volumes, results, warnings: :data:`_TYPES` lists the permitted types, so that
nothing else can be created on the other side.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CaseWarning
from ..image.geometry import triple
from ..image.packed import CompactAnswer
from ..image.volume import Volume
from ..models.card import ModelCard, PipelineConfig
from ..report.case import Change
from ..segmentation.result import AdaptedModel, Segmentation
from . import tasks
from .protocol import ProtocolError

#: Keys of an encoded array and of a typed value.
_ARRAY, _TYPE = "$array", "$type"
#: Fields of a result that are sent as they are. Volume and probabilities are not sent.
_PLAIN = (
    "device_requested", "device_used", "provider", "source", "seconds", "created", "runtime",
    "input_sha256", "card", "adaptation",
)  # fmt: skip


@dataclass(frozen=True)
class _Codec:
    """Encoding of a type: its fields, and decoding from these and the request's volume."""

    type: type
    fields: Callable[[Any], dict[str, Any]]
    value: Callable[[dict[str, Any], Volume | None], Any]


def encode_value(value: Any) -> list[np.ndarray]:
    """Blocks that :func:`decode_value` makes a value of.

    Parameters
    ----------
    value : a type of :data:`_TYPES`, dict, list, tuple, str, number, bool, None, path or ndarray, nested
        Keys are text. Paths are returned as text, NaN and infinity as None. Arrays of at most four
        axes are returned unchanged, bool as uint8. A :class:`~flairseg.segmentation.result.Segmentation` has
        its probabilities as ``compact``, on the volume that :func:`decode_value` is given.

    Returns
    -------
    list of ndarray
        First the value as JSON (UTF-8, uint8), then its arrays.

    Raises
    ------
    TypeError
        For anything else.
    """
    arrays: list[np.ndarray] = []

    def plain(part: Any) -> Any:
        codec = _TYPES.get(type(part).__name__)
        if codec is not None and type(part) is codec.type:
            return {_TYPE: type(part).__name__} | {key: plain(inner) for key, inner in codec.fields(part).items()}
        if isinstance(part, np.ndarray):
            arrays.append(part.astype(np.uint8) if part.dtype == bool else part)
            return {_ARRAY: len(arrays)}
        if isinstance(part, np.generic):
            part = part.item()
        if isinstance(part, float):
            return part if math.isfinite(part) else None
        if isinstance(part, dict):
            return {str(key): plain(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [plain(inner) for inner in part]
        if isinstance(part, Path):
            return str(part)
        if part is None or isinstance(part, (str, int, bool)):
            return part
        raise TypeError(f"{type(part).__name__} cannot be sent")

    text = json.dumps(plain(value), ensure_ascii=True, allow_nan=False).encode("ascii")
    return [np.frombuffer(text, np.uint8), *arrays]


def decode_value(blocks: Sequence[np.ndarray], volume: Volume | None = None) -> Any:
    """The value that :func:`encode_value` described.

    Parameters
    ----------
    blocks : sequence of ndarray
    volume : Volume, optional
        The volume of the request: results are on its grid.

    Raises
    ------
    ProtocolError
        If the blocks make none: also a type that may not cross, fields that do not fit, a result of another grid.
    """

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            if set(part) == {_ARRAY}:
                return blocks[int(part[_ARRAY])]
            found = {key: whole(inner) for key, inner in part.items()}
            return _TYPES[found.pop(_TYPE)].value(found, volume) if _TYPE in found else found
        return [whole(inner) for inner in part] if isinstance(part, list) else part

    try:
        return whole(json.loads(blocks[0].tobytes()))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"a value that does not fit ({error})") from error


def _shallow(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _volume_fields(volume: Volume) -> dict[str, Any]:
    return {"array": volume.array, "ijk_to_ras": np.asarray(volume.ijk_to_ras, float), "name": volume.name}


def _volume(fields: dict[str, Any], _volume: Volume | None) -> Volume:
    found = Volume(**fields)
    if found.array.ndim != 3 or found.ijk_to_ras.shape != (4, 4):
        raise ValueError("a volume without grid")
    return found


def _answer(fields: dict[str, Any], _volume: Volume | None) -> CompactAnswer:
    shape, start = (triple(int(n) for n in fields.pop(key)) for key in ("shape", "start"))
    return CompactAnswer(shape, start, **fields)


def _segmentation_fields(segmentation: Segmentation) -> dict[str, Any]:
    warnings = [CaseWarning.of(warning) for warning in segmentation.warnings]
    fields = {name: getattr(segmentation, name) for name in _PLAIN}
    return fields | {"warnings": warnings, "compact": segmentation.compact_answer()}


def _segmentation(fields: dict[str, Any], volume: Volume | None) -> Segmentation:
    answer = fields["compact"]
    if volume is None or answer.shape != volume.array.shape or not isinstance(fields["card"], ModelCard):
        raise ValueError("another grid, or no card")
    # Compressing takes a while; here, outside the GUI thread, it delays nothing.
    _ = answer.labels_text, answer.beyond_text
    return Segmentation(volume=replace(volume, warnings=()), labels=answer.full_labels(), probabilities=None, **fields)


def _change_fields(change: Change) -> dict[str, Any]:
    return {name: value for name, value in _shallow(change).items() if name != "sheet"}


def _card_fields(card: ModelCard) -> dict[str, Any]:
    return {name: value for name, value in _shallow(card).items() if name != "pipeline"}


def _card(fields: dict[str, Any], _volume: Volume | None) -> ModelCard:
    pipeline = PipelineConfig.from_dict(fields["raw"]["pipeline"])
    return ModelCard(**{**fields, "path": Path(fields["path"])}, pipeline=pipeline)


def _plain_codec(kind: type) -> _Codec:
    return _Codec(kind, _shallow, lambda fields, _volume: kind(**fields))


#: Name -> encoding.
_TYPES: dict[str, _Codec] = {
    codec.type.__name__: codec
    for codec in (
        *map(_plain_codec, tasks.MESSAGES),
        _Codec(tuple, lambda value: {"items": list(value)}, lambda fields, _volume: tuple(fields["items"])),
        _Codec(Volume, _volume_fields, _volume),
        _Codec(CompactAnswer, _shallow, _answer),
        _plain_codec(AdaptedModel),
        _Codec(Segmentation, _segmentation_fields, _segmentation),
        _Codec(Change, _change_fields, lambda fields, _volume: Change(**fields)),
        _Codec(ModelCard, _card_fields, _card),
        _Codec(CaseWarning, CaseWarning.to_dict, lambda fields, _volume: CaseWarning.of(fields)),
    )
}
