"""`flairseg segment --jobs`: the same as one case after another, within the memory there is; nothing left behind."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flairseg.cli import app, segment_bars, segment_case, segment_jobs
from flairseg.cli.console import interruptible
from flairseg.files.names import NamedInput
from flairseg.image import pages
from flairseg.io.extent import voxels_in
from flairseg.segmentation import memory
from rich.console import Console
from typer.testing import CliRunner

from Testing.core.tiny import make_head, make_model, to_dicom, to_nifti, to_sitk

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Three heads, a damaged file and one that is not there."""
    folder = tmp_path_factory.mktemp("inputs")
    made = [to_nifti(make_head()[0], folder / f"head-{letter}.nii.gz") for letter in "abc"]
    (folder / "broken.nii.gz").write_bytes(b"no image")
    return [made[0], folder / "broken.nii.gz", made[1], folder / "missing.nii.gz", made[2]]


def content(folder: Path) -> dict[str, object]:
    """Everything written, without what tells when it was made."""
    found: dict[str, object] = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith("_summary.json"):
            summary = json.loads(path.read_text(encoding="utf-8"))
            found[path.name] = {k: v for k, v in summary.items() if k not in ("seconds", "input")}
        elif path.suffix != ".nrrd":
            found[path.name] = path.read_bytes()
        else:
            found[path.name] = path.read_bytes().split(b"\n\n", 1)[1]
    return found


def events(result) -> list[dict]:
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_two_at_once_write_and_say_what_one_after_another_does(inputs, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ("-m", model, "--no-regions", "--json", "-o", "out")
    one = run("segment", *inputs, *common)
    shutil.move("out", "one")
    two = run("segment", *inputs, *common, "--jobs", 2)
    assert (one.exit_code, two.exit_code) == (2, 2), two.output
    assert content(Path("one")) == content(Path("out"))
    assert len(content(Path("out"))) == 18
    assert events(one) == events(two)
    assert one.stderr == two.stderr
    again = run("segment", *inputs, *common, "--jobs", 3)
    assert [line.get("status") for line in events(again)] == [
        "already-done", "failed", "already-done", "failed", "already-done", None,
    ]  # fmt: skip


def test_pseudonyms_and_their_map_are_the_same(model, tmp_path):
    head = make_head()[0]
    for number in (1, 2):
        to_dicom(head, tmp_path / f"Jane{number}", series=number)
    inputs = [tmp_path / "Jane1", tmp_path / "Jane2"]
    common = ("-m", model, "--no-regions", "--pseudonymise", "--pseudonym-key", tmp_path / "key")
    for jobs, place in ((1, "one"), (2, "two")):
        done = run(
            "segment",
            *inputs,
            *common,
            "--pseudonym-map",
            tmp_path / f"{place}.json",
            "-o",
            tmp_path / place,
            "-j",
            jobs,
        )
        assert done.exit_code == 0, done.output
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert json.loads((tmp_path / "one.json").read_text()) == json.loads((tmp_path / "two.json").read_text())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes_and_leaves_nothing(tmp_path, number):
    slow = make_model(tmp_path, "slow-v1.0", width=160)
    head = make_head()[0]
    long = type(head)(np.concatenate([head.array] * 4), head.ijk_to_ras)
    inputs = [to_nifti(long, tmp_path / f"long-{letter}.nii.gz") for letter in "ab"]
    command = [sys.executable, "-m", "flairseg", "segment", *inputs, "-o", tmp_path / "out", "-m", slow, "-j", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "FlairSegExtension"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("the system does not tell a process' children")
        until = time.monotonic() + 120
        # The tracker of resources, and a process for each case.
        while len(children.read_text().split()) < 3 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        workers = children.read_text().split()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    assert len(workers) >= 3
    # The tracker notices by itself, a moment later, that nobody is left.
    until = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


# --- who starts when, without processes


class _Fake:
    """A worker that does what a test tells it."""

    exitcode = -9

    def join(self, timeout=None):
        """Nothing to wait for."""


class _Pipe:
    def __init__(self) -> None:
        self.sent = []

    def send(self, message) -> None:
        self.sent.append(message)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def crew(monkeypatch, tmp_path):
    """A crew whose processes are not there; ``needed`` in units of its budget."""

    def make(needed, jobs=4, budget=100):
        named = [NamedInput(tmp_path / f"{n}.nii.gz", f"case-{n}", f"case-{n}") for n in range(len(needed))]
        console = Console(file=(tmp_path / "log").open("w", encoding="utf-8"))
        bars = segment_bars.Bars(console, len(needed))
        made = segment_jobs._Crew(
            named, segment_case.CaseJob(tmp_path, None, "cpu"), jobs, needed.__getitem__, budget, 5, bars
        )
        made.waiting.extend(range(len(needed)))

        def new_worker():
            made.workers.append(segment_jobs._Worker(_Fake(), _Pipe()))
            return made.workers[-1]

        monkeypatch.setattr(made, "_new_worker", new_worker)
        return made

    return make


def running(crew) -> list[int]:
    return sorted(worker.index for worker in crew._busy)


def end(crew, index: int) -> None:
    worker = next(one for one in crew._busy if one.index == index)
    crew._ended(worker, segment_case.CaseOutcome(f"case-{index}", segment_case.DONE))


def test_cases_wait_for_memory(crew):
    one = crew([40, 40, 40, 10, 200])
    one._start_cases()
    # The fourth would fit, but never overtakes.
    assert running(one) == [0, 1]
    end(one, 0)
    one._start_cases()
    assert running(one) == [1, 2, 3]
    end(one, 1)
    end(one, 2)
    one._start_cases()
    assert running(one) == [3]
    end(one, 3)
    # What is larger than all the memory is tried alone: without jobs it would be, too.
    one._start_cases()
    assert running(one) == [4]


def test_no_more_than_jobs(crew):
    one = crew([1] * 9, jobs=3)
    one._start_cases()
    assert running(one) == [0, 1, 2]
    assert len(one.workers) == 3


def test_a_lost_process_costs_its_case_alone_and_only_when_lost_alone(crew):
    one = crew([10, 10, 10])
    one._start_cases()
    lost = next(worker for worker in one.workers if worker.index == 1)
    one._lost(lost)
    one._start_cases()
    # Its memory was others': it waits until they have ended.
    assert running(one) == [0, 2]
    end(one, 0)
    end(one, 2)
    one._start_cases()
    assert running(one) == [1]
    one._lost(one._busy[0])
    assert one.outcomes[1].error.code == "case-process-lost"
    assert one.outcomes[1].status == segment_case.FAILED


def test_a_name_found_in_a_header_waits_for_the_cases_before(crew):
    one = crew([10, 10, 10])
    one._start_cases()
    for worker in one.workers[1:]:
        worker.claims = True
    one._grant()
    assert all(len(worker.pipe.sent) == 1 for worker in one.workers)
    end(one, 0)
    one._grant()
    assert [worker.pipe.sent[1:] for worker in one.workers] == [[], [True], []]


def test_a_case_begun_again_is_not_waited_for_by_those_that_wait_for_a_name(crew):
    one = crew([10, 10, 10, 10])
    one._start_cases()
    by_index = {worker.index: worker for worker in one.workers}
    by_index[1].claims = True
    # Lost in this order, begun again in that of the inputs.
    one._lost(by_index[0])
    one._lost(by_index[2])
    one._start_cases()
    one._grant()
    assert running(one) == [1, 3]
    end(one, 3)
    # The case that is left waits for the name until the one before it has ended, which needs all to itself.
    one._start_cases()
    assert running(one) == [0, 1]
    assert True not in by_index[1].pipe.sent
    end(one, 0)
    one._start_cases()
    one._grant()
    assert by_index[1].pipe.sent[-1] is True
    assert running(one) == [1]
    end(one, 1)
    one._start_cases()
    assert running(one) == [2]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_process_starts_is_not_lost_and_leaves_no_process(tmp_path, monkeypatch, number):
    seen = []

    class Starting(_Fake):
        def start(self):
            signal.raise_signal(number)
            seen.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    class Context:
        def Pipe(self):
            return _Pipe(), _Pipe()

        def Process(self, **_):
            return Starting()

    monkeypatch.setattr(segment_jobs, "get_context", lambda _: Context())
    bars = segment_bars.Bars(Console(file=io.StringIO()), 1)
    crew = segment_jobs._Crew([], segment_case.CaseJob(tmp_path, None, "cpu"), 2, [].__getitem__, 100, 5, bars)
    with pytest.raises(KeyboardInterrupt), interruptible():
        crew._new_worker()
    # It started whole, deaf to Ctrl-C, and is among those that are ended.
    assert seen == [True]
    assert len(crew.workers) == 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("asked", [False, True])
def test_a_busy_process_stops_at_the_next_step_when_asked(monkeypatch, asked):
    """As on Windows, where a process that is ended has no time to remove its temporary files."""
    here, there = multiprocessing.Pipe()
    tidied = []

    def working(item, job, progress, claim):
        try:
            progress(0.5, "inference")
        finally:
            tidied.append(True)
        return "outcome"

    monkeypatch.setattr(segment_jobs, "run_case", working)
    if asked:
        here.send(None)
    with pytest.raises(KeyboardInterrupt) if asked else contextlib.nullcontext():
        segment_jobs._do(there, segment_case.CaseJob(Path(), None, "cpu"), None, None)
    assert tidied == [True]
    told = []
    while here.poll():
        told.append(here.recv()[0])
    assert told == ([] if asked else ["progress", "ended"])


# --- memory


def test_memory_of_machine_and_of_control_groups(tmp_path):
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert memory.available_bytes(proc, groups) == 8000 * 1024
    own = groups / "slice" / "job"
    own.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/slice/job\n")
    (own / "memory.max").write_text("max\n")
    assert memory.available_bytes(proc, groups) == 8000 * 1024
    # The limit may be that of a group above; files in the cache can be dropped.
    for name, value in (
        ("memory.max", "5000000"),
        ("memory.current", "3000000"),
        ("memory.stat", "inactive_file 1000000"),
    ):
        (groups / "slice" / name).write_text(value)
    assert memory.available_bytes(proc, groups) == 3000000
    (proc / "self" / "cgroup").write_text("4:memory:/not/here\n")
    old = groups / "memory"
    old.mkdir()
    for name, value in (
        ("memory.limit_in_bytes", "2000000"), ("memory.usage_in_bytes", "500000"),
        ("memory.stat", "total_inactive_file 0"),
    ):  # fmt: skip
        (old / name).write_text(value)
    assert memory.available_bytes(proc, groups) == 1500000


def test_needed_memory_grows_with_the_image():
    small, large = memory.needed_bytes(20 * 256 * 256), memory.needed_bytes(320 * 512 * 512)
    assert 0.4e9 < small < 0.6e9
    assert 1e9 < large < 2e9
    assert memory.needed_bytes(1000, members=5) > memory.needed_bytes(1000) + 5e8


def test_voxels_by_the_header(tmp_path):
    head = make_head()[0]
    count = head.array.size
    assert voxels_in(to_nifti(head, tmp_path / "a.nii.gz")) == count
    assert voxels_in(to_sitk(head, tmp_path / "a.nrrd")) == count
    assert voxels_in(to_dicom(head, tmp_path / "dicom")) == count
    (tmp_path / "b.nii.gz").write_bytes(bytes(1000))
    assert voxels_in(tmp_path / "b.nii.gz") == 500
    assert voxels_in(tmp_path / "missing") == 0


def test_zeros_take_memory_where_they_are_written_alone():
    array = pages.untouched_zeros((4, 100, 512, 512), np.float16)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert not array[3, ::10, ::10].any()
    array[2, 50] = 1
    assert float(array[2, 50].mean()) == 1.0
    assert not array[2, 49:52:2].any()
    assert pages.untouched_zeros((2, 3), np.uint8).tolist() == [[0] * 3] * 2
