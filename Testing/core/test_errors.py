"""Errors and warnings: codes, fields, and that every class crosses the worker's pipe and a pickle as it is."""

from __future__ import annotations

import errno
import importlib
import json
import pickle
import pkgutil
from pathlib import Path

import flairseg
import pytest
from flairseg import errors
from flairseg.errors import CaseWarning, FlairSegError
from flairseg.study.errors import ProtocolError
from flairseg.worker import protocol as wire


def all_error_classes() -> list[type[FlairSegError]]:
    for module in pkgutil.walk_packages(flairseg.__path__, "flairseg."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, queue = [], [FlairSegError]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue.extend(kind.__subclasses__())
    return sorted({k for k in found if k.__module__.startswith("flairseg.")}, key=lambda k: k.__name__)


def made(kind: type[FlairSegError]) -> FlairSegError:
    if kind is ProtocolError:
        return kind("cases[3]", "no mask")
    return kind("It happened.", "Do this.", code="a-code", path=Path("a/b"), found=[1, 2])


def test_every_class_survives_the_pipe_and_a_pickle():
    kinds = all_error_classes()
    assert len(kinds) > 35
    for kind in kinds:
        error = made(kind)
        crossed = wire.decode_error(json.loads(json.dumps(wire.encode_error(error))))
        copied = pickle.loads(pickle.dumps(error))
        for other in (crossed, copied):
            assert type(other) is kind
            assert (other.message, other.advice, other.code) == (error.message, error.advice, error.code)
            assert str(other) == str(error)
            assert set(other.fields) == set(error.fields)
    again = wire.decode_error(wire.encode_error(ProtocolError("cases[3]", "no mask")))
    assert (again.place, again.problem) == ("cases[3]", "no mask")


@pytest.mark.parametrize(
    "name", ["os:error", "flairseg.worker.protocol:Path", "flairseg.nowhere:Error", "", "OutputError"]
)
def test_a_name_that_is_no_error_of_ours_becomes_the_base_class(name):
    error = wire.decode_error({"type": name, "message": "m", "advice": "a"})
    assert type(error) is FlairSegError
    assert str(error) == "m a"


def test_codes_come_from_the_class_unless_given():
    assert errors.InputNotFoundError("m").code == "input-not-found"
    assert errors.OutputError("m", code="results-exist", path="p").code == "results-exist"
    assert errors.OutputError("m", path="p").fields == {"path": "p"}


def test_a_warning_is_text_with_a_code():
    warning = CaseWarning("The head is cut off.", "brain-cut")
    assert warning == "The head is cut off."
    assert warning.to_dict() == {"code": "brain-cut", "message": "The head is cut off."}
    assert CaseWarning.of(warning.to_dict()).code == "brain-cut"
    assert CaseWarning.of("plain").code == "note"
    assert pickle.loads(pickle.dumps(warning)).code == "brain-cut"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/model.onnx"), "disk-full", "left on device: a/model.onnx"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full", "A disk is full (No space left on device)."),
        (OSError(errno.EFBIG, "File too large"), "file-too-large", "larger than this system allows"),
        (PermissionError(errno.EACCES, "Permission denied", Path("cases")), "no-permission", "denied: cases"),
        (OSError(errno.EROFS, "Read-only file system"), "no-permission", "Access was refused"),
        (OSError(errno.ESTALE, "Stale file handle", "x"), "disk-failed", "network drive failed"),
        (OSError(errno.EMFILE, "Too many open files"), "too-many-files", "Too many files"),
        (MemoryError(), "not-enough-memory", "not enough memory"),
        (KeyError("spacing"), "unexpected-error", "KeyError: 'spacing'"),
        (OSError(errno.EBADF, "Bad file descriptor"), "unexpected-error", "Bad file descriptor"),
    ],
)
def test_what_the_system_refuses_is_no_defect(error, code, words):
    """``flairseg adapt`` on a full disk asked to be reported as a defect of FlairSeg."""
    told = errors.typed(error)
    assert told.code == code
    assert words in told.message
    assert told.advice
    assert ("defect" in told.advice) == (code == "unexpected-error")
    assert errors.typed(told) is told
