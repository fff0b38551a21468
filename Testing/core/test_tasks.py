"""What Slicer has its process do besides segmenting: values across the pipe, errors that say what to do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flairseg.errors import FlairSegError, MissingDependencyError, OutputError, WorkerError
from flairseg.image.volume import Volume
from flairseg.worker import handlers as tasks
from flairseg.worker import protocol as wire
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

_PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_LEAVES = _PLAIN | st.text(max_size=8) | npst.arrays(np.uint8, npst.array_shapes(max_dims=4, max_side=3))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def same(one, other) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(_VALUES)
def test_a_value_comes_back_as_it_was(value):
    assert same(value, wire.decode_value(wire.encode_value(value)))


def test_what_json_does_not_know_is_made_plain():
    value = {"t": (1, 2), "n": math.nan, "f": np.float32(0.5), "i": np.int64(3), "b": np.array([True, False])}
    back = wire.decode_value(wire.encode_value(value))
    assert (back["t"], back["n"], back["f"], back["i"]) == ([1, 2], None, 0.5, 3)
    assert back["b"].dtype == np.uint8
    with pytest.raises(TypeError, match="object cannot be sent"):
        wire.encode_value([object()])


@pytest.mark.parametrize("text", [b"{", b'{"$array": 7}', b'{"$array": "x"}', b"\xff"])
def test_nonsense_is_refused(text):
    with pytest.raises(wire.ProtocolError):
        wire.decode_value([np.frombuffer(text, np.uint8)])
    with pytest.raises(wire.ProtocolError):
        wire.decode_value([])


def test_a_volume_comes_back_as_it_was():
    affine = np.array([[2, 0, 0.1, 3], [0, -1, 0, 4], [0, 0, 5, 6], [0, 0, 0, 1.0]])
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine, "FLAIR")
    back = tasks.volume_of(wire.decode_value(wire.encode_value(tasks.volume_fields(volume))))
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_array_equal(back.ijk_to_ras, affine)
    assert back.name == "FLAIR"


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (ModuleNotFoundError("none", name="highdicom"), MissingDependencyError, "highdicom is not installed"),
        (PermissionError(13, "Permission denied"), OutputError, "Permission denied"),
        (FlairSegError("Said.", "Do."), FlairSegError, "Said. Do."),
    ],
)
def test_what_goes_wrong_is_said_with_advice(monkeypatch, raised, kind, words):
    def fail(arguments, progress, cancel):
        raise raised

    monkeypatch.setitem(tasks.TASKS, "fail", fail)
    with pytest.raises(kind, match=words) as caught:
        tasks.run("fail", {})
    assert caught.value.advice


def test_an_unknown_task_is_refused():
    with pytest.raises(WorkerError, match="no task called dance"):
        tasks.run("dance", {})
