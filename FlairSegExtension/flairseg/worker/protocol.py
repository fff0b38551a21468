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
progress   to Slicer ``run``, ``fraction``, ``stage``: few, see :mod:`.server`
task       to worker ``run``; blocks: a request of :mod:`.tasks`, see :mod:`.codec`
cancel     to worker ``run``: its answer is not wanted; it ends at its next check, with an error
first      to Slicer ``run``; blocks: the first answer to a request that has two
done       to Slicer ``run``; blocks: the answer, or the second one
error      to Slicer ``run`` (null for warm), ``type`` (``module:class``), ``message``, ``advice``, ``code``, ``fields``
========== ========= ===============================================================================================
"""

from __future__ import annotations

import importlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors
from ..errors import FlairSegError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

PROTOCOL = 4
LONGEST_HEADER = 1 << 20
#: Maximum size of a block, bytes.
LARGEST_BLOCK = 1 << 35
DTYPES = frozenset(("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"))
_MOST_BLOCKS, _MOST_AXES = 256, 4
#: Bytes handed to the pipe in one call: other threads get their turn in between.
_PIECE = 1 << 18


class ProtocolError(Exception):
    """The other side sent an invalid message."""


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
        On an invalid or truncated message.
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
        raise ProtocolError("a header that is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise ProtocolError("a header without kind")
    described = header.pop("blocks", [])
    if not isinstance(described, list) or len(described) > _MOST_BLOCKS:
        raise ProtocolError("blocks that are not a list")
    layouts = [_layout(block) for block in described]
    return header, [_read_block(stream, dtype, shape) for dtype, shape in layouts]


def encode_error(error: BaseException) -> dict[str, Any]:
    """Type, message, advice, code and fields of an error; an unexpected one becomes a :class:`WorkerError`."""
    if isinstance(error, MemoryError):
        error = errors.NotEnoughMemoryError(
            "There was not enough memory to segment this volume.",
            "Close other programs or volumes, or crop the volume to the head, then segment again.",
        )
    elif not isinstance(error, FlairSegError):
        error = WorkerError(
            f"Segmenting stopped at an unexpected error ({type(error).__name__}).",
            "Segment again; if the error persists, report it with the diagnostics.",
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
