"""The process that runs the model for Slicer, driven as Slicer does, through its pipes."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import flairseg
import numpy as np
import pytest
from flairseg import errors
from flairseg.anatomy.packing import pack_regions
from flairseg.worker import protocol as wire
from flairseg.worker import server
from flairseg.worker.codec import decode_value, encode_value
from flairseg.worker.tasks import RegionsAnswer, SegmentRequest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

PACKAGE = Path(flairseg.__file__).parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


class Worker:
    """A worker process and its pipes."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flairseg.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(PACKAGE), **environment},
        )

    def send(self, header: dict, *blocks: np.ndarray) -> None:
        wire.write_message(self.process.stdin, header, blocks)

    def segment(self, volume, model, run: int = 1) -> None:
        self.send({"kind": "task", "run": run}, *encode_value(SegmentRequest(volume, str(model), "cpu")))

    def read(self):
        return wire.read_message(self.process.stdout)

    def until(self, *kinds: str):
        """The first message of one of these kinds, and those before it."""
        seen = []
        while True:
            header, blocks = self.read()
            if header["kind"] in kinds:
                return header, blocks, seen
            seen.append(header)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()


@pytest.fixture
def worker():
    started = []

    def start(**environment):
        started.append(Worker(**environment))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_labels_are_those_of_a_run_in_this_process_and_progress_is_bounded(worker, head, model, segmentation):
    one = worker()
    ready, _, _ = one.until("ready")
    assert (ready["protocol"], ready["version"], ready["pid"]) == (wire.PROTOCOL, flairseg.__version__, one.process.pid)
    for run in (1, 2):
        one.segment(head, model, run)
        header, blocks, seen = one.until("done", "error")
        assert (header["kind"], header["run"]) == ("done", run)
        result = decode_value(blocks, head)
        np.testing.assert_array_equal(result.labels, segmentation.labels)
        assert {message["kind"] for message in seen} == {"progress"}
        assert len(seen) < 10 * result.seconds["total"] + 20
        fractions = [message["fraction"] for message in seen]
        assert fractions == sorted(fractions)
        assert {"read", "preprocess", "inference", "postprocess"} <= {message["stage"] for message in seen}


def test_the_second_run_finds_the_network_warm(worker, head, model):
    one = worker()
    one.send({"kind": "warm", "model": str(model), "device": "cpu"})
    one.segment(head, model)
    first, _, _ = one.until("done", "error")
    assert first["kind"] == "done"
    one.segment(head, model, 2)
    assert one.until("done", "error")[0]["run"] == 2


def test_regions_follow_the_segmentation_as_a_second_answer(worker, head, model, segmentation):
    one = worker()
    one.send({"kind": "task", "run": 5}, *encode_value(SegmentRequest(head, str(model), "cpu", regions=True)))
    first, blocks, _ = one.until("first", "done", "error")
    assert (first["kind"], first["run"]) == ("first", 5)
    np.testing.assert_array_equal(decode_value(blocks, head).labels, segmentation.labels)
    done, blocks, seen = one.until("first", "done", "error")
    assert (done["kind"], done["run"]) == ("done", 5)
    found = segmentation.with_regions().regions
    assert decode_value(blocks) == RegionsAnswer(pack_regions(found), tuple(found.warnings))
    # Their progress is one of its own.
    assert [message["stage"] for message in seen] == ["regions"] * len(seen)
    fractions = [message["fraction"] for message in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0


def test_a_cancelled_task_ends_at_its_next_check_and_the_next_one_is_done(worker, head, model):
    one = worker()
    one.until("ready")
    one.segment(head, model, 1)
    one.until("progress")
    # The first is under way, the second waits; what was never asked for does no harm.
    one.segment(head, model, 2)
    for run in (1, 2, 7):
        one.send({"kind": "cancel", "run": run})
    one.segment(head, model, 3)
    ended = [one.until("done", "error")[0] for _ in range(3)]
    assert [(message["kind"], message["run"]) for message in ended] == [("error", 1), ("error", 2), ("done", 3)]
    assert {message["type"] for message in ended[:2]} == {"flairseg.errors:Cancelled"}


def test_a_warm_worker_has_the_atlas_ready():
    """Unless a request waits: the process says so itself."""
    code = """
import queue, sys
from flairseg.worker import server
from flairseg.worker.codec import decode_value, encode_value
from flairseg.worker.tasks import SegmentRequest
from flairseg.worker import protocol as wire
prepared = []
server._warm_regions = lambda: prepared.append(len(answered))
answered = []
server._answer = lambda sink, header, blocks, cancel: answered.append(header["kind"])
server._listen = lambda source, requests, tokens: [requests.put(({"kind": kind}, [])) for kind in sys.argv[1].split()]
class Last(queue.Queue):
    def get(self):
        if len(answered) == len(sys.argv[1].split()):
            print(prepared, file=sys.stderr, flush=True)
            raise SystemExit
        return super().get()
server.queue.Queue = Last
thread = server.threading.Thread
server.threading.Thread = lambda target, args, **k: type("Now", (), {"start": lambda self: target(*args)})()
server.main()
"""
    for kinds, expected in (("warm", "[1]"), ("warm task", "[]"), ("task warm", "[2]"), ("task", "[]")):
        done = subprocess.run([sys.executable, "-c", code, kinds], capture_output=True, text=True, timeout=120)
        assert done.stderr.split() == [expected], done.stderr


def test_an_atlas_that_cannot_be_prepared_does_not_end_the_worker(monkeypatch):
    def fail():
        raise RuntimeError("Exception thrown in SimpleITK SmoothingRecursiveGaussian")

    monkeypatch.setattr("flairseg.anatomy.finding.prepare_atlas", fail)
    server._warm_regions()


def test_errors_cross_with_type_and_advice_and_the_process_lives_on(worker, head, model):
    one = worker()
    one.segment(head, "no-such-model-v9.9", 7)
    header, _, _ = one.until("error", "done")
    error = wire.decode_error(header)
    assert header["run"] == 7
    assert type(error) is errors.ModelNotFoundError
    assert error.advice
    one.segment(flairseg.Volume(np.full((6, 32, 32), 7, np.int16), head.ijk_to_ras, "constant"), model)
    assert type(wire.decode_error(one.until("error", "done")[0])) is errors.UnusableIntensitiesError
    one.send({"kind": "task", "run": 8})
    assert type(wire.decode_error(one.until("error", "done")[0])) is errors.WorkerError
    one.send({"kind": "dance", "run": 9})
    assert "dance" in one.until("error", "done")[0]["message"]
    one.segment(head, model, 10)
    assert one.until("done", "error")[0]["kind"] == "done"


def test_a_missing_package_is_named(worker, head, model, tmp_path):
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text("raise ModuleNotFoundError('none', name='scipy')\n")
    one = worker(PYTHONPATH=os.pathsep.join([str(tmp_path), str(PACKAGE)]))
    one.segment(head, model)
    error = wire.decode_error(one.until("error", "done")[0])
    assert type(error) is errors.MissingDependencyError
    assert "scipy is not installed" in error.message
    assert "pip_install" in error.advice


def test_what_libraries_print_does_not_reach_the_pipe(worker, head, model, tmp_path):
    (tmp_path / "onnxruntime").mkdir()
    noise = """
import ctypes, os, sys
print("hello from Python")
os.write(1, b"hello from a descriptor\\n")
libc = ctypes.CDLL(None)
libc.puts(b"hello from C")
libc.fflush(None)
os.system("echo hello from a child")
raise MemoryError("loud")
"""
    (tmp_path / "onnxruntime" / "__init__.py").write_text(noise)
    one = worker(PYTHONPATH=os.pathsep.join([str(tmp_path), str(PACKAGE)]))
    one.segment(head, model)
    header, _, seen = one.until("error", "done")
    assert type(wire.decode_error(header)) is errors.NotEnoughMemoryError
    assert {message["kind"] for message in seen} == {"ready", "progress"}
    one.process.stdin.close()
    assert one.process.stderr.read().count(b"hello from") == 4


@posix
def test_it_works_in_a_folder_with_spaces_and_letters(head, model, segmentation, tmp_path):
    """Slicer's settings folder holds the user's name."""
    folder = tmp_path / "Ünïcode Ordner 頭部"
    folder.mkdir()
    (folder / "flairseg").symlink_to(PACKAGE / "flairseg")
    process = subprocess.Popen(
        [sys.executable, "-m", "flairseg.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
    )
    named = flairseg.Volume(head.array, head.ijk_to_ras, "Größe 頭部 \udcff")
    request = encode_value(SegmentRequest(named, str(model), "cpu"))
    wire.write_message(process.stdin, {"kind": "task", "run": 1}, request)
    while (message := wire.read_message(process.stdout))[0]["kind"] not in ("done", "error"):
        pass
    process.kill()
    process.communicate()
    np.testing.assert_array_equal(decode_value(message[1], head).labels, segmentation.labels)


@pytest.mark.parametrize("busy", [False, True])
def test_it_leaves_when_stdin_closes_also_in_the_middle_of_a_run(worker, head, model, busy):
    one = worker()
    one.until("ready")
    if busy:
        one.segment(head, model)
        one.until("progress")
    one.process.stdin.close()
    assert one.process.wait(5) == 0


@posix
def test_it_leaves_when_its_parent_is_killed(tmp_path):
    code = f"""
import subprocess, sys, time, os
child = subprocess.Popen([sys.executable, "-m", "flairseg.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         env={{**os.environ, "PYTHONPATH": {str(PACKAGE)!r}}})
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    end = time.monotonic() + 5
    while time.monotonic() < end and _runs(pid):
        time.sleep(0.02)
    assert not _runs(pid)


@posix
def test_ctrl_c_in_the_terminal_is_not_for_it(worker, head, model):
    one = worker()
    one.until("ready")
    one.process.send_signal(signal.SIGINT)
    one.segment(head, model)
    assert one.until("done", "error")[0]["kind"] == "done"


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"{}\n",
        b"[1]\n",
        b'{"kind": 7}\n',
        b'{"kind": "cancel", "run": [1]}\n',
        b"\xff\xfe\x00\n",
        b'{"kind": "task", "blocks": [{"dtype": "|O", "shape": [1]}]}\n',
        b'{"kind": "task", "blocks": [{"dtype": "<i2", "shape": [-1]}]}\n',
        b'{"kind": "task", "blocks": [{"dtype": "<i2", "shape": [99999999999999999999]}]}\n',
        b'{"kind": "task", "blocks": [{"dtype": "<f8", "shape": [34359738368, 34359738368]}]}\n',
        b'{"kind": "task", "blocks": [{"dtype": "<i2", "shape": [4, true]}]}\n',
        b"[" * 100_000 + b"\n",
        b"x" * (wire.LONGEST_HEADER + 1),
    ],
)
def test_rubbish_ends_it_with_a_status_of_its_own(worker, rubbish):
    one = worker()
    one.until("ready")
    one.process.stdin.write(rubbish)
    one.process.stdin.flush()
    assert one.process.wait(10) == 3


@posix
def test_killed_at_any_moment_what_was_read_is_whole_or_refused(worker, head, model):
    chance = random.Random(5)
    for _ in range(6):
        one = worker()
        one.segment(head, model)
        time.sleep(chance.uniform(0.0, 2.5))
        one.process.send_signal(signal.SIGKILL)
        try:
            while (message := one.read()) is not None:
                if message[0]["kind"] == "done":
                    decode_value(message[1], head)
        except wire.ProtocolError:
            continue


BLOCKS = st.lists(
    npst.arrays(st.sampled_from(["u1", "<i2", ">i2", "<f4", "<f8"]), npst.array_shapes(max_dims=4, max_side=4)),
    max_size=4,
)
FIELDS = st.dictionaries(
    st.text(max_size=5).filter(lambda key: key not in ("kind", "blocks")), st.integers() | st.text()
)


@settings(max_examples=150, deadline=None)
@given(FIELDS, BLOCKS, st.data())
def test_messages_survive_and_cut_ones_are_refused(fields, blocks, data):
    stream = io.BytesIO()
    wire.write_message(stream, {**fields, "kind": "x"}, blocks)
    whole = stream.getvalue()
    header, again = wire.read_message(io.BytesIO(whole))
    assert header == {**fields, "kind": "x"}
    for ours, theirs in zip(blocks, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(wire.ProtocolError):
        wire.read_message(io.BytesIO(whole[:cut]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: b'{"kind":"done","blocks":[' + b + b"]}\n"))
def test_any_bytes_are_a_message_or_refused(data):
    stream = io.BytesIO(data)
    try:
        message = wire.read_message(stream)
    except wire.ProtocolError:
        return
    assert message is None or isinstance(message[0]["kind"], str)


def test_unforeseen_errors_become_typed_ones_without_their_text():
    for error in (ValueError("secret name"), KeyError("x")):
        fields = wire.encode_error(error)
        assert fields["type"] == "flairseg.errors:WorkerError"
        assert "secret" not in fields["message"]
        assert fields["advice"]


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
