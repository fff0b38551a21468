"""What Slicer has its process do besides segmenting: values across the pipe, errors that say what to do."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import get_args

import numpy as np
import pytest
from flairseg.errors import CaseWarning, FlairSegError, MissingDependencyError, OutputError, WorkerError
from flairseg.image.packed import CompactAnswer
from flairseg.image.volume import Volume
from flairseg.report.case import Review, change_of
from flairseg.worker import codec, handlers, tasks
from flairseg.worker.protocol import ProtocolError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from Testing.core.report_data import followup

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
    assert same(value, codec.decode_value(codec.encode_value(value)))


def test_what_json_does_not_know_is_made_plain():
    value = {"t": (1, 2), "n": math.nan, "f": np.float32(0.5), "i": np.int64(3), "b": np.array([True, False])}
    back = codec.decode_value(codec.encode_value(value))
    assert (back["t"], back["n"], back["f"], back["i"]) == ((1, 2), None, 0.5, 3)
    assert back["b"].dtype == np.uint8
    with pytest.raises(TypeError, match="object cannot be sent"):
        codec.encode_value([object()])


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"$array": 7}',
        b'{"$array": "x"}',
        b"\xff",
        b'{"$type": "Path", "a": 1}',
        b'{"$type": "RegionsAnswer", "other": 1}',
        b'{"$type": "Volume", "array": 1, "ijk_to_ras": 2, "name": "x"}',
        b'{"$type": "CompactAnswer"}',
        b'{"$type": "Segmentation", "compact": null}',
        b'{"$type": ["Volume"]}',
    ],
)
def test_nonsense_is_refused(text):
    with pytest.raises(ProtocolError):
        codec.decode_value([np.frombuffer(text, np.uint8)])
    with pytest.raises(ProtocolError):
        codec.decode_value([])


def test_a_request_comes_back_as_it_was():
    affine = np.array([[2, 0, 0.1, 3], [0, -1, 0, 4], [0, 0, 5, 6], [0, 0, 0, 1.0]])
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine, "FLAIR")
    labels = (volume.array % 4).astype(np.uint8)
    answer = CompactAnswer.pack(labels)
    request = tasks.ExportRequest(
        volume,
        labels,
        "/out",
        "case",
        ["html"],
        answer=answer,
        warnings=[CaseWarning("Half.", "slices-missing", used=10), "plain"],
        review=Review("accepted", "Dr A", version=3),
        followup=change_of(followup("a")),
    )
    back = codec.decode_value(codec.encode_value(request))
    assert same(back.volume.array, volume.array)
    assert same(back.volume.ijk_to_ras, affine)
    assert back.volume.name == "FLAIR"
    assert (back.answer.shape, back.answer.start) == (answer.shape, answer.start)
    assert same(back.answer.labels, answer.labels)
    assert same(back.labels, labels)
    assert (back.warnings[0].code, back.warnings[0].fields, back.warnings[1]) == (
        "slices-missing",
        {"used": 10},
        "plain",
    )
    plain = [f.name for f in fields(request) if f.name not in ("volume", "labels", "answer")]
    assert {name: getattr(back, name) for name in plain} == {name: getattr(request, name) for name in plain}


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (ModuleNotFoundError("none", name="highdicom"), MissingDependencyError, "highdicom is not installed"),
        (PermissionError(13, "Permission denied"), OutputError, "Permission denied"),
        (FlairSegError("Said.", "Do."), FlairSegError, "Said. Do."),
    ],
)
def test_what_goes_wrong_is_said_with_advice(monkeypatch, raised, kind, words):
    def fail(request, progress, cancel):
        raise raised

    monkeypatch.setitem(handlers.TASKS, tasks.AdaptRequest, fail)
    with pytest.raises(kind, match=words) as caught:
        handlers.run(tasks.AdaptRequest("cases", "output", 1.0))
    assert caught.value.advice


def test_a_missing_package_is_advised_by_the_name_that_pip_knows(monkeypatch):
    def fail(request, progress, cancel):
        raise ModuleNotFoundError("none", name="skimage")

    monkeypatch.setitem(handlers.TASKS, tasks.AdaptRequest, fail)
    with pytest.raises(MissingDependencyError, match="pip_install\\('scikit-image'\\)"):
        handlers.run(tasks.AdaptRequest("cases", "output", 1.0))


def test_an_unknown_task_is_refused():
    with pytest.raises(WorkerError, match="no task for dict"):
        handlers.run({})


def test_every_request_has_a_task():
    assert set(handlers.TASKS) == set(get_args(tasks.Request)) <= set(tasks.MESSAGES)
