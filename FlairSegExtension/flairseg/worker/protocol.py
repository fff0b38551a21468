"""Messages between Slicer and the process that runs the model: a JSON line, then raw voxels. No pickle, no files.

A message is one line of UTF-8 JSON ending with a line feed, at most :data:`LONGEST_HEADER` bytes, followed by the bytes
of its blocks, C order, little endian, without gaps. The line is an object with ``kind`` and, if blocks follow,
``blocks``: a list of ``{"dtype": "<i2", "shape": [20, 256, 256]}``. Data types are those of :data:`DTYPES`. Whatever
breaks these rules raises :class:`ProtocolError`, before memory is taken for it. Kinds:

========== ========= ===============================================================================================
kind       direction fields
========== ========= ===============================================================================================
ready      to Slicer ``protocol``, ``version``, ``pid``: the process listens
warm       to worker ``model``, ``device``: load packages and network ahead of the first run
segment    to worker ``run``, ``model``, ``device``, ``name``, ``ijk_to_ras``; block: the voxels (K, J, I)
progress   to Slicer ``run``, ``fraction``, ``stage``: few, see :mod:`.server`
result     to Slicer ``run`` and what :func:`encode_result` adds; blocks: labels and probability levels in their box,
           see :class:`~flairseg.image.packed.CompactAnswer`
task       to worker ``run``, ``task``: one of :mod:`.handlers`; blocks: its arguments, see :func:`encode_value`
done       to Slicer ``run``; blocks: what the task answered
error      to Slicer ``run`` (null for warm), ``type`` (``module:class``), ``message``, ``advice``, ``code``, ``fields``
========== ========= ===============================================================================================
"""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors
from ..errors import FlairSegError, WorkerError, warnings_as_dicts, warnings_from
from ..image.geometry import triple
from ..image.packed import CompactAnswer
from ..image.volume import Volume
from ..models.card import ModelCard, PipelineConfig
from ..segmentation.result import Segmentation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

PROTOCOL = 2
LONGEST_HEADER = 1 << 20
#: A block may have so many bytes at the most.
LARGEST_BLOCK = 1 << 35
DTYPES = frozenset(("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"))
_MOST_BLOCKS, _MOST_AXES = 256, 4
#: Key of what stands for an array within a value.
_ARRAY = "$array"
#: Bytes handed to the pipe in one call: other threads get their turn in between.
_PIECE = 1 << 18

#: Everything but what a result is rebuilt from.
_PLAIN = ("device_requested", "device_used", "provider", "source", "seconds", "warnings", "created", "runtime")


class ProtocolError(Exception):
    """The other side sent something that is no message."""


def write_message(stream: BinaryIO, header: dict[str, Any], blocks: Sequence[np.ndarray] = ()) -> None:
    """Send one message; returns when the other side, or the pipe, has taken it.

    Raises
    ------
    OSError, ValueError
        If the other side is gone.
    """
    arrays = [np.ascontiguousarray(block, np.dtype(block.dtype).newbyteorder("<")) for block in blocks]
    if arrays:
        header = {**header, "blocks": [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays]}
    line = json.dumps(header, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
    _write_all(stream, memoryview(line))
    for array in arrays:
        if array.size:
            _write_all(stream, array.reshape(-1).view(np.uint8).data)
    stream.flush()


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """Wait for the next message.

    Parameters
    ----------
    stream : buffered binary stream

    Returns
    -------
    (dict, list of ndarray) or None
        Header and blocks; None when the other side has closed between two messages.

    Raises
    ------
    ProtocolError
        On anything that is no message, or is cut short.
    MemoryError
        If there is not enough memory for a block.
    """
    line = stream.readline(LONGEST_HEADER + 1)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise ProtocolError("a header without end")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a header that is no JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise ProtocolError("a header without kind")
    described = header.pop("blocks", [])
    if not isinstance(described, list) or len(described) > _MOST_BLOCKS:
        raise ProtocolError("blocks that are no list")
    layouts = [_layout(block) for block in described]
    return header, [_read_block(stream, dtype, shape) for dtype, shape in layouts]


def encode_error(error: BaseException) -> dict[str, Any]:
    """Type, message, advice, code and fields of an error; one that was not foreseen becomes a :class:`WorkerError`."""
    if isinstance(error, MemoryError):
        error = errors.NotEnoughMemoryError(
            "There was not enough memory to segment this volume.",
            "Close other programs or volumes, or crop the volume to the head, then segment again.",
        )
    elif not isinstance(error, FlairSegError):
        error = WorkerError(
            f"Segmenting stopped at an unexpected error ({type(error).__name__}).",
            "Segment again; if it stays, report it with the diagnostics.",
        )
    kind = f"{type(error).__module__}:{type(error).__qualname__}"
    fields = json.loads(json.dumps(error.fields, default=str))
    return {"type": kind, "message": error.message, "advice": error.advice, "code": error.code, "fields": fields}


def decode_error(fields: dict[str, Any]) -> FlairSegError:
    """The typed error that :func:`encode_error` described; an unknown type becomes a plain :class:`FlairSegError`."""
    kind = _error_class(str(fields.get("type")))
    more = fields.get("fields")
    return errors.rebuilt(
        kind,
        str(fields.get("message", "")),
        str(fields.get("advice", "")),
        str(fields.get("code", "")),
        more if isinstance(more, dict) else {},
    )


def _error_class(name: str) -> type[FlairSegError]:
    """The class ``module:name`` of this package; :class:`FlairSegError` where there is none."""
    module, _, attribute = name.partition(":")
    package = __name__.partition(".")[0]
    if not module.startswith(f"{package}."):
        return FlairSegError
    try:
        kind = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return FlairSegError
    return kind if isinstance(kind, type) and issubclass(kind, FlairSegError) else FlairSegError


def encode_result(segmentation: Segmentation) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header fields and blocks that :func:`decode_result` makes a segmentation of."""
    answer, card = segmentation.compact_answer(), segmentation.card
    fields = {name: getattr(segmentation, name) for name in _PLAIN}
    fields["warnings"] = warnings_as_dicts(segmentation.warnings)
    fields["card"] = {"path": str(card.path), "raw": card.raw, "sha256": card.sha256, "id": card.id}
    fields |= {"title": card.title, "version": card.version, "licence": card.licence, "summary": card.summary}
    fields |= {"shape": list(answer.shape), "start": list(answer.start)}
    return fields, [answer.labels] if answer.levels is None else [answer.labels, answer.levels]


def decode_result(fields: dict[str, Any], blocks: Sequence[np.ndarray], volume: Volume) -> Segmentation:
    """A segmentation from the other side, on the volume that was sent.

    Its ``labels`` are whole, its ``probabilities`` are None: they came as ``compact``.

    Raises
    ------
    ProtocolError
        If the fields and blocks make no segmentation of this volume.
    """
    try:
        shape, start = (triple(int(n) for n in fields[key]) for key in ("shape", "start"))
        if shape != volume.array.shape:
            raise ValueError("another grid")
        answer = CompactAnswer(shape, start, *blocks)
        # Deflating takes a while; here nobody waits for it.
        _ = answer.labels_text
        plain = {name: fields[name] for name in _PLAIN}
        plain["warnings"] = list(warnings_from(fields["warnings"]))
        card = fields["card"]
        return Segmentation(
            volume=replace(volume, warnings=()),
            labels=answer.full_labels(),
            probabilities=None,
            card=ModelCard(
                id=card["id"],
                title=fields["title"],
                version=fields["version"],
                path=Path(card["path"]),
                sha256=card["sha256"],
                licence=fields["licence"],
                summary=fields["summary"],
                pipeline=PipelineConfig.from_dict(card["raw"]["pipeline"]),
                raw=card["raw"],
            ),
            compact=answer,
            **plain,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"a result that does not fit ({error})") from error


def encode_value(value: Any) -> list[np.ndarray]:
    """Blocks that :func:`decode_value` makes a value of.

    Parameters
    ----------
    value : dict, list, tuple, str, number, bool, None, path or ndarray, nested
        Keys are text. Tuples come back as lists, paths as text, numbers that are none (NaN, infinity) as None. Arrays
        of at most four axes come back as they are, bool as uint8.

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
        if isinstance(part, np.ndarray):
            arrays.append(part.astype(np.uint8) if part.dtype == bool else part)
            return {_ARRAY: len(arrays)}
        if isinstance(part, np.generic):
            part = part.item()
        if isinstance(part, float):
            return part if math.isfinite(part) else None
        if isinstance(part, dict):
            return {str(key): plain(inner) for key, inner in part.items()}
        if isinstance(part, (list, tuple)):
            return [plain(inner) for inner in part]
        if isinstance(part, Path):
            return str(part)
        if part is None or isinstance(part, (str, int, bool)):
            return part
        raise TypeError(f"{type(part).__name__} cannot be sent")

    text = json.dumps(plain(value), ensure_ascii=True, allow_nan=False).encode("ascii")
    return [np.frombuffer(text, np.uint8), *arrays]


def decode_value(blocks: Sequence[np.ndarray]) -> Any:
    """The value that :func:`encode_value` described.

    Raises
    ------
    ProtocolError
        If the blocks make none.
    """

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            if set(part) == {_ARRAY}:
                return blocks[int(part[_ARRAY])]
            return {key: whole(inner) for key, inner in part.items()}
        return [whole(inner) for inner in part] if isinstance(part, list) else part

    try:
        return whole(json.loads(blocks[0].tobytes()))
    except (ValueError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError("a value that does not fit") from error


def _layout(block: Any) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of a block, once they are known to be sane."""
    if not isinstance(block, dict):
        raise ProtocolError("a block without layout")
    dtype, shape = block.get("dtype"), block.get("shape")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError("a block of an unknown type")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise ProtocolError("a block without shape")
    if not all(type(n) is int and 0 <= n <= LARGEST_BLOCK for n in shape):
        raise ProtocolError("a block of impossible size")
    if math.prod(shape) * np.dtype(dtype).itemsize > LARGEST_BLOCK:
        raise ProtocolError("a block that is too large")
    return np.dtype(dtype), tuple(shape)


def _read_block(stream: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, dtype)
    waiting = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
    while waiting:
        count = stream.readinto(waiting[:_PIECE])  # type: ignore[attr-defined] # every binary stream here has it
        if not count:
            raise ProtocolError("a block that is cut short")
        waiting = waiting[count:]
    return array


def _write_all(stream: BinaryIO, data: memoryview) -> None:
    """Write everything, also to a raw stream that takes less than it was given."""
    while data:
        count = stream.write(data[:_PIECE])
        data = data[len(data) if count is None else count :]
