"""Networks that may be shown a part of their frame: those in which an output pixel depends on its surroundings alone.

Convolutions, pooling and pointwise steps say the same of a part of the frame as of all of it, but for pixels near the
cut and as long as the cut keeps to the grid of the pooling. Networks that normalise over the frame do not. An ONNX file
states the frame's size; :func:`freed` leaves it open, in memory, without the package ``onnx``: the fields are found by
protobuf's wire format (https://protobuf.dev/programming-guides/encoding) and keep their length.
"""

from __future__ import annotations

from collections.abc import Iterator

#: Operators whose output at a pixel depends on inputs near that pixel and on no size.
LOCAL_OPERATORS = frozenset(
    {
        "AveragePool", "BatchNormalization", "Cast", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Identity",
        "LeakyRelu", "MaxPool", "Relu", "Sigmoid", "SpaceToDepth",
    }
)  # fmt: skip
# Numbers of the fields in onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 1, 11, 12, 13
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
#: From a graph's input to its dimensions: type, tensor type, shape, dimension.
_DIMENSIONS = (2, 1, 2, 1)
_DIMENSION_VALUE, _DIMENSION_NAME = 1, 2
_VARINT, _BYTES = 0, 2


def freed(model: bytes, size: tuple[int, int]) -> bytes | None:
    """An ONNX model that takes frames of any size.

    Parameters
    ----------
    model : bytes
        The ONNX file, its input (N, channels, rows, columns).
    size : tuple of int
        Rows and columns of its stated input.

    Returns
    -------
    bytes or None
        The same with rows and columns of input and output left open; None where an operator is not one of
        :data:`LOCAL_OPERATORS`, where it takes another size, or where the file is not as expected.
    """
    try:
        return _freed(model, size)
    except (IndexError, ValueError):
        return None


def _freed(model: bytes, size: tuple[int, int]) -> bytes | None:
    [graph] = [span for number, span in _fields(model, (0, len(model))) if number == _MODEL_GRAPH]
    out = bytearray(model)
    ends = 0
    for number, span in _fields(model, graph):
        if number == _GRAPH_NODE:
            node = dict(_fields(model, span))
            operator = model[slice(*node[_NODE_OPERATOR])].decode() if _NODE_OPERATOR in node else ""
            if operator not in LOCAL_OPERATORS or model[slice(*node.get(_NODE_DOMAIN, (0, 0)))]:
                return None
        elif number == _GRAPH_VALUE_INFO:
            return None  # sizes in between would contradict
        elif number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
            dimensions = _inner(model, span, _DIMENSIONS)
            if len(dimensions) != 4:
                return None
            for dimension, name, side in zip(dimensions[2:], "hw", size, strict=True):
                _leave_open(out, dimension, name, side)
            ends += 1
    return bytes(out) if ends == 2 else None


def _inner(model: bytes, span: tuple[int, int], path: tuple[int, ...]) -> list[tuple[int, int]]:
    """Spans of the messages that a path of field numbers leads to."""
    spans = [span]
    for wanted in path:
        spans = [inner for outer in spans for number, inner in _fields(model, outer) if number == wanted]
    return spans


def _leave_open(model: bytearray, dimension: tuple[int, int], name: str, side: int) -> None:
    """Replace the number of a dimension, which must be ``side``, by a name as long as that number."""
    start, stop = dimension
    if start == stop or model[start] != _DIMENSION_VALUE << 3 | _VARINT:
        return  # open already
    if _varint(model, start + 1) != (side, stop):
        raise ValueError("another size")
    length = stop - start - 2
    model[start:stop] = bytes([_DIMENSION_NAME << 3 | _BYTES, length]) + name.encode() * length


def _fields(data: bytes, span: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Field numbers of a message, with the span of each value."""
    at, stop = span
    while at < stop:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, end = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            end = at + length
        elif kind in (1, 5):
            end = at + (8 if kind == 1 else 4)
        else:
            raise ValueError("not a protobuf message")
        if end > stop:
            raise ValueError("cut off")
        yield key >> 3, (at, end)
        at = end


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next byte is."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("not a number")
