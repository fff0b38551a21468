"""Speed and memory of FlairSeg, file to files, beside a yardstick in the same run. Reported, never asserted.

``make bench``, or ``python Testing/benchmarks/bench.py --output bench --repeats 5 --before COMMIT``; ``--only
follow,report`` measures these steps alone and keeps the other figures of ``benchmark.json``. This version, the one
before (out of git, into a folder of its own) and the yardstick (a generator of S1's size alone) take turns, so that a
busy moment of the machine meets all; medians are shown, and seconds of the processor beside those of the clock. Rounds
end when their share of ``--minutes`` is used up. Nothing heavy is imported here: a child's peak memory starts from what
its parent held.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from before import Version, last_tag, unpack
from rich.console import Console
from tables import show, show_steps

WORKER, STEPS_WORKER = Path(__file__).with_name("worker.py"), Path(__file__).with_name("steps.py")
THREADS = 2
SMALL = "20 x 256 x 256"
MEGABYTE = 1024 * 1024
#: Load (processes that want a core) from which figures are not to be trusted.
BUSY = 0.7
#: Rounds of the steps after the segmentation, at the most, and seconds after which a step has no further one.
STEP_ROUNDS, STEP_SECONDS = 3, 4.0
#: Cases of the batch.
BATCH = 4
#: Shares of the time at which rounds of the case and of the steps end; each step has one round after its first.
CASE_SHARE, STEPS_SHARE = 0.4, 0.85
#: What the phantom of 20 x 256 x 256 is called that is left for the benchmark of the Slicer module.
SMALL_FLAIR = "FLAIR_20x256x256.nii.gz"


@dataclass(frozen=True)
class Step:
    """A step of ``steps.py``: what it does, on what, in what time it should be done, and a part that is shared out.

    ``each`` is (part, how many things it is about, what one of them is).
    """

    title: str
    given: str
    aim: str = ""
    each: tuple[str, int, str] | None = None


PAIR = "48 x 224 x 192, 3 mm"
STEPS = {
    "lesions": Step("regions and lesion table", PAIR),
    "lesions-thin": Step("regions and lesion table", "200 x 256 x 256"),
    "follow": Step("follow-up pair, file to files, with regions", f"2 of {PAIR}", "< 15 s"),
    "report": Step("report of a case, from its files", SMALL),
    "dicom": Step("DICOM: find, read, SEG, SR", "study of 3 series, FLAIR of 200 slices"),
    "evaluate": Step("evaluation", f"2 cases x 2 methods, {SMALL}", each=("cases", 4, "case and method")),
    "compare": Step("comparison of models", f"2 models, {SMALL}", each=("models", 2, "model")),
}
SEGMENT = "segment"
#: Steps whose inputs one process makes: scans of one head, drawn once; those that are segmented as well.
TOGETHER = ((SEGMENT, "lesions", "lesions-thin", "follow", "dicom"), ("report", "evaluate", "compare"))
#: What a round measures: with the regions of the lesions, as the command does, and without.
KINDS = {"with regions": True, "without regions": False}


class Clock:
    """Whether a share of the time is used up.

    Parameters
    ----------
    minutes : float
        Of the whole benchmark.
    """

    def __init__(self, minutes: float) -> None:
        self._began = time.perf_counter()
        self._seconds = 60 * minutes

    def is_over(self, share: float) -> bool:
        """Whether more than this share was used."""
        return time.perf_counter() - self._began > share * self._seconds


class Worker:
    """A child process that answers JSON lines, with its peak memory at the end.

    Parameters
    ----------
    arguments : str
        What the script is to be.
    script : Path
        ``worker.py`` or ``steps.py``.
    version : Version, optional
        Default: the one that is installed.
    """

    def __init__(self, *arguments: str, script: Path = WORKER, version: Version | None = None) -> None:
        command = [sys.executable, str(script), *arguments]
        environment = {**os.environ, **(version.environment if version else {})}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, **request: object) -> dict:
        """Send one request and wait for its answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("A benchmark process ended early; its message stands above.")
        return json.loads(line)

    def close(self) -> float:
        """End the process and return its peak memory in MB."""
        self._process.stdin.close()
        self._process.stdout.close()
        return wait(self._process)[1]


def wait(process: subprocess.Popen) -> tuple[float, float]:
    """Wait for a child: CPU seconds and peak resident MB of it and its children (the largest one's)."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss: kilobytes on Linux, bytes on macOS.
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (MEGABYTE if sys.platform == "darwin" else 1024)


def once(*arguments: str, script: Path = WORKER) -> dict:
    """Run a worker that answers without being asked."""
    done = subprocess.run([sys.executable, str(script), *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def from_process_start(name: str, sources: Sequence[str], output: Path, *options: str) -> dict[str, float]:
    """Seconds, CPU seconds and peak MB of a whole command of ``flairseg``, a fresh process."""
    command = [sys.executable, "-m", "flairseg", name, *sources, "--output", str(output), "--overwrite", *options]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as messages:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages, stdin=subprocess.DEVNULL)
        used, memory = wait(process)
        seconds = time.perf_counter() - began
        if process.returncode:
            messages.seek(0)
            raise SystemExit(f"flairseg {name} ended with {process.returncode}:\n{messages.read()}")
    return {"seconds": seconds, "cpu_seconds": used, "peak_mb": memory}


def medians(runs: Sequence[dict]) -> dict:
    """Medians of the rounds of one kind: clock, processor, stages."""
    stages = {stage: median(run["stages"][stage] for run in runs) for stage in runs[0]["stages"]}
    return {
        "seconds": median(run["seconds"] for run in runs),
        "cpu_seconds": median(run["cpu_seconds"] for run in runs),
        "stage_seconds": stages,
    }


def measure(
    inputs: dict[str, str],
    folder: Path,
    repeats: int,
    note: Callable[[str], None],
    clock: Clock,
    before: Version | None = None,
) -> dict:
    """Everything on the CPU: warm, from process start, memory, the yardstick, the version before, growth, a batch."""
    note("yardstick: building the S1-size generator")
    reference = Worker("reference", str(folder / "reference.onnx"))
    reference.ask(slices=1)
    workers = {"ours": Worker("ours")} | ({"before": Worker("ours", version=before)} if before else {})
    runs: dict[tuple[str, str], list[dict]] = {}
    yardstick, cold, first = [], [], {}

    def ask(name: str, regions: bool) -> dict:
        request = {"input": inputs[SMALL], "output": str(folder / name), "device": "cpu", "regions": regions}
        return workers[name].ask(**request)

    for name in workers:
        note(f"first case of a process: {name}")
        first[name] = ask(name, True)
    if before and Path(first["before"]["package"]) != before.package:
        raise SystemExit(f"The version before was to be {before.package}, Python took {first['before']['package']}.")
    for repeat in range(repeats):
        note(f"20 slices of 256 x 256, round {repeat + 1} of {repeats}")
        for kind, regions in KINDS.items():
            for name in workers:
                runs.setdefault((name, kind), []).append(ask(name, regions))
        yardstick.append(reference.ask(slices=20))
        cold.append(from_process_start("segment", [inputs[SMALL]], folder / "cold"))
        if clock.is_over(CASE_SHARE):
            break
    peaks = {name: worker.close() for name, worker in workers.items()}
    reference_memory = reference.close()
    versions = {
        name: {"peak_mb": peaks[name], **{kind: medians(runs[name, kind]) for kind in KINDS}} for name in workers
    }
    case, network = versions["ours"]["with regions"], {
        key: median(run[key] for run in yardstick) for key in ("seconds", "cpu_seconds")
    }  # fmt: skip
    out = {
        "first_in_process_seconds": first["ours"]["seconds"],
        "warm_seconds": case["seconds"],
        "warm_cpu_seconds": case["cpu_seconds"],
        "stage_seconds": case["stage_seconds"],
        "versions": versions,
        **{f"process_start_{key}": median(run[key] for run in cold) for key in ("seconds", "cpu_seconds")},
        "process_peak_mb": max(run["peak_mb"] for run in cold),
        "warm_process_peak_mb": peaks["ours"],
        "reference_seconds": network["seconds"],
        "reference_cpu_seconds": network["cpu_seconds"],
        "reference_parameters": yardstick[0]["parameters"],
        "reference_peak_mb": reference_memory,
        "times_faster_than_reference": network["seconds"] / case["seconds"],
        "cpu_share_of_reference": case["cpu_seconds"] / network["cpu_seconds"],
        "growth": {
            SMALL: {
                "warm_seconds": case["seconds"],
                "cpu_seconds": case["cpu_seconds"],
                "peak_mb": peaks["ours"],
            },
            **measure_growth(inputs, folder, note),
        },
        "batch": measure_batch(inputs[SMALL], folder, note),
        "rounds": {
            **{f"{name}, {kind}": [run["cpu_seconds"] for run in found] for (name, kind), found in runs.items()},
            "reference": [run["cpu_seconds"] for run in yardstick],
            "process start": [run["cpu_seconds"] for run in cold],
        },
    }
    if before:
        name = f"{Path(inputs[SMALL]).name.removesuffix('.nii.gz')}_labels.nii.gz"
        labels = once("compare", str(folder / "ours" / name), str(folder / "before" / name))
        earlier = versions["before"]["with regions"]
        out["before"] = {
            "commit": before.commit,
            "cpu_ratio": case["cpu_seconds"] / earlier["cpu_seconds"],
            "voxels_differing": labels["differing"],
            "foreground_voxels": labels["foreground"],
        }
    return out


def measure_growth(inputs: dict[str, str], folder: Path, note: Callable[[str], None]) -> dict:
    """Each larger grid in a process of its own, which a small case has warmed."""
    growth = {}
    for name, path in inputs.items():
        if name == SMALL:
            continue
        note(f"growth: {name}")
        worker = Worker("ours")
        request = {"output": str(folder / "growth"), "device": "cpu", "regions": True}
        worker.ask(**request, input=inputs[SMALL])
        run = worker.ask(**request, input=path)
        growth[name] = {"warm_seconds": run["seconds"], "cpu_seconds": run["cpu_seconds"], "peak_mb": worker.close()}
    return growth


def measure_batch(path: str, folder: Path, note: Callable[[str], None]) -> dict:
    """A call with one case and calls with several, one after another and two at once."""
    place = folder / "batch"
    place.mkdir()
    sources = [place / f"head{n}_flair.nii.gz" for n in range(BATCH)]
    for source in sources:
        shutil.copy(path, source)
    out: dict = {"cases": BATCH}
    for name, several, jobs in (("one", sources[:1], "1"), ("all", sources, "1"), ("side by side", sources, "2")):
        note(f"batch: {len(several)} cases, {jobs} at once")
        out[name] = from_process_start("segment", [str(s) for s in several], place / "out", "--jobs", jobs)
    return out


def measure_gpu(inputs: dict[str, str], folder: Path, repeats: int) -> dict:
    """The same on CUDA, and whether its labels equal the CPU's; says so where there is no GPU."""
    untested = {"tested": False, "note": "GPU untested: no CUDA provider here"}
    if "CUDAExecutionProvider" not in once("providers")["providers"]:
        return untested
    worker = Worker("ours")
    request = {"input": inputs[SMALL], "output": str(folder / "gpu"), "device": "cuda"}
    first = worker.ask(**request)
    if first["device"] != "cuda":
        worker.close()
        return untested
    seconds = [worker.ask(**request)["seconds"] for _ in range(repeats)]
    worker.close()
    name = f"{Path(inputs[SMALL]).name.removesuffix('.nii.gz')}_labels.nii.gz"
    labels = once("compare", str(folder / "ours" / name), str(folder / "gpu" / name))
    return {
        "tested": True,
        "provider": first["provider"],
        "first_in_process_seconds": first["seconds"],
        "warm_seconds": median(seconds),
        "voxels_differing_from_cpu": labels["differing"],
        "foreground_voxels": labels["foreground"],
    }


def measure_step(name: str, folder: Path, repeats: int, note: Callable[[str], None], clock: Clock) -> dict:
    """A step in a process of its own: the first round, the median of the others, its parts, peak memory."""
    step, rounds = STEPS[name], min(repeats, STEP_ROUNDS)
    load = os.getloadavg()[0]
    worker = Worker(name, str(folder), script=STEPS_WORKER)
    runs = []
    for repeat in range(rounds + 1):
        note(f"{step.title}, {step.given}, round {repeat} of {rounds}")
        runs.append(worker.ask()["seconds"])
        spent = sum(sum(run.values()) for run in runs[1:])
        if repeat and (spent >= STEP_SECONDS or clock.is_over(STEPS_SHARE)):
            break
    first, *warm = (sum(run.values()) for run in runs)
    out = {
        "title": step.title,
        "given": step.given,
        "aim": step.aim,
        "first_in_process_seconds": first,
        "warm_seconds": median(warm),
        "part_seconds": {part: median(run[part] for run in runs[1:]) for part in runs[0]},
        "peak_mb": worker.close(),
        "load_before": load,
        "rounds": runs,
    }
    if step.each is not None:
        part, number, what = step.each
        out["each"] = {"what": what, "seconds": out["part_seconds"][part] / number}
    if name == "follow":
        note(f"{step.title}, from process start")
        pair = [str(folder / name / f"flair{n}.nii.gz") for n in (1, 2)]
        cold = from_process_start("follow", pair, folder / "cold-follow")
        out["process_start_seconds"], out["process_peak_mb"] = cold["seconds"], cold["peak_mb"]
    return out


def make_inputs(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Write what the measurements work on, two processes at a time; the paths of the case's grids."""
    wanted = [[name for name in group if name in names] for group in TOGETHER]
    with ThreadPoolExecutor(THREADS) as pool:
        made = [pool.submit(once, "inputs", str(folder), *group, script=STEPS_WORKER) for group in wanted if group]
        return {grid: path for one in made for grid, path in one.result().items()}


def machine() -> dict:
    """What the figures belong to."""
    libraries = {}
    for name in ("flairseg", "numpy", "scipy", "scikit-image", "SimpleITK", "onnxruntime", "onnxruntime-gpu"):
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "python": platform.python_version(),
        "libraries": libraries,
        "threads": THREADS,
    }


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def two_cores() -> None:
    """Keep this process, and with it every child, on two cores where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    os.environ["OMP_NUM_THREADS"] = str(THREADS)


def selected(text: str) -> list[str]:
    """Steps by their names, separated by commas, in the order of the benchmark."""
    names = {name.strip() for name in text.split(",")}
    known = [SEGMENT, *STEPS]
    unknown = sorted(names - set(known))
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
    return [name for name in known if name in names]


def main() -> None:
    """Measure, show, and write ``benchmark.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench"), help="folder for benchmark.json")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are shown (default 5, of steps 3)")
    parser.add_argument("--before", default=None, help="commit or tag to compare with (default: the last tag)")
    parser.add_argument("--minutes", type=float, default=3.0, help="time after which no round begins (default 3)")
    parser.add_argument("--only", type=selected, default=[SEGMENT, *STEPS], help=", ".join([SEGMENT, *STEPS]))
    options = parser.parse_args()

    console = Console(highlight=False)
    load = os.getloadavg()[0]
    if load > BUSY:
        console.print(f"This machine is busy (load {load:.1f}): everything below will look slower than it is.")
    two_cores()
    clock = Clock(options.minutes)
    path = options.output / "benchmark.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    report["machine"] = {**machine(), "load_before": load}
    steps = {name: step for name, step in report.get("steps", {}).items() if name in STEPS}
    with tempfile.TemporaryDirectory() as name, console.status("phantom") as status:
        folder = Path(name)
        status.update("making what is measured on")
        inputs = make_inputs(options.only, folder)
        if SEGMENT in options.only:
            options.output.mkdir(parents=True, exist_ok=True)
            shutil.copy(inputs[SMALL], options.output / SMALL_FLAIR)
            revision = last_tag() if options.before is None else options.before
            before = unpack(revision, folder / "version-before") if revision else None
            if before is None:
                console.print("No version to compare with: name one with --before (make bench BEFORE=COMMIT).")
            report["cpu"] = measure(inputs, folder, options.repeats, status.update, clock, before)
            report["gpu"] = measure_gpu(inputs, folder, options.repeats)
        for step in options.only:
            if step in STEPS:
                steps[step] = measure_step(step, folder, max(1, options.repeats), status.update, clock)
    report["steps"] = steps
    options.output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if SEGMENT in options.only:
        show(console, report)
    show_steps(console, {name: step for name, step in steps.items() if name in options.only})
    console.print(f"{report['machine']['processor']}, Python {report['machine']['python']}", style="dim")
    console.print(f"Written: {path}")


if __name__ == "__main__":
    main()
