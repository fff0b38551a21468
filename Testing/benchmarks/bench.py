"""Speed and memory of FlairSeg, file to files, beside a yardstick in the same run. Reported, never asserted.

``make bench``, or ``python Testing/benchmarks/bench.py --output bench --repeats 5``; ``--only follow,report`` measures
these steps alone and keeps the other figures of ``benchmark.json``. Ours and the yardstick (a generator of S1's size
alone) take turns, so that a busy moment of the machine meets both; medians are shown. Nothing heavy is imported here: a
child's peak memory starts from what its parent held.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

WORKER, STEPS_WORKER = Path(__file__).with_name("worker.py"), Path(__file__).with_name("steps.py")
THREADS = 2
SMALL = "20 x 256 x 256"
MEGABYTE = 1024 * 1024
#: Load (processes that want a core) from which figures are not to be trusted.
BUSY = 0.7
#: Rounds of the steps after the segmentation, at the most.
STEP_ROUNDS = 3


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
    "evaluate": Step("evaluation", f"3 cases x 2 methods, {SMALL}", each=("cases", 6, "case and method")),
    "compare": Step("comparison of models", f"2 models, {SMALL}", each=("models", 2, "model")),
}
SEGMENT = "segment"


class Worker:
    """A child process that answers JSON lines, with its peak memory at the end.

    Parameters
    ----------
    arguments : str
        What the script is to be.
    script : Path
        ``worker.py`` or ``steps.py``.
    """

    def __init__(self, *arguments: str, script: Path = WORKER) -> None:
        command = [sys.executable, str(script), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

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
        return wait_for_memory(self._process)


def wait_for_memory(process: subprocess.Popen) -> float:
    """Wait for a child and return its peak resident memory in MB (ru_maxrss: kilobytes on Linux, bytes on macOS)."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / (MEGABYTE if sys.platform == "darwin" else 1024)


def once(*arguments: str, script: Path = WORKER) -> dict:
    """Run a worker that answers without being asked."""
    done = subprocess.run([sys.executable, str(script), *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def from_process_start(name: str, sources: Sequence[str], output: Path) -> tuple[float, float]:
    """Seconds and peak MB of a whole command of ``flairseg``, a fresh process."""
    program = str(Path(sys.executable).with_name("flairseg"))
    command = [program, name, *sources, "--output", str(output), "--overwrite"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as messages:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages, stdin=subprocess.DEVNULL)
        memory = wait_for_memory(process)
        seconds = time.perf_counter() - began
        if process.returncode:
            messages.seek(0)
            raise SystemExit(f"flairseg {name} ended with {process.returncode}:\n{messages.read()}")
    return seconds, memory


def measure(inputs: dict[str, str], folder: Path, repeats: int, note: Callable[[str], None]) -> dict:
    """Everything on the CPU: warm, from process start, memory, the yardstick, growth."""
    note("yardstick: building the S1-size generator")
    reference = Worker("reference", str(folder / "reference.onnx"))
    reference.ask(slices=1)
    ours = Worker("ours")
    case = {"input": inputs[SMALL], "output": str(folder / "ours"), "device": "cpu"}
    first = ours.ask(**case)
    warm, yardstick, cold = [], [], []
    for repeat in range(repeats):
        note(f"20 slices of 256 x 256, round {repeat + 1} of {repeats}")
        warm.append(ours.ask(**case))
        yardstick.append(reference.ask(slices=20))
        cold.append(from_process_start("segment", [inputs[SMALL]], folder / "cold"))
    warm_memory, reference_memory = ours.close(), reference.close()

    growth = {}
    for name, path in inputs.items():
        note(f"growth: {name}")
        worker = Worker("ours")
        request = {**case, "input": path}
        worker.ask(**request)
        seconds = [worker.ask(**request)["seconds"] for _ in range(max(1, repeats // 2))]
        growth[name] = {"warm_seconds": median(seconds), "peak_mb": worker.close()}

    warm_seconds = median(run["seconds"] for run in warm)
    yardstick_seconds = median(run["seconds"] for run in yardstick)
    return {
        "first_in_process_seconds": first["seconds"],
        "warm_seconds": warm_seconds,
        "stage_seconds": {stage: median(run["stages"][stage] for run in warm) for stage in warm[0]["stages"]},
        "process_start_seconds": median(seconds for seconds, _ in cold),
        "process_peak_mb": max(memory for _, memory in cold),
        "warm_process_peak_mb": warm_memory,
        "reference_seconds": yardstick_seconds,
        "reference_parameters": yardstick[0]["parameters"],
        "reference_peak_mb": reference_memory,
        "times_faster_than_reference": yardstick_seconds / warm_seconds,
        "growth": growth,
        "rounds": {
            "warm_seconds": [run["seconds"] for run in warm],
            "reference_seconds": [run["seconds"] for run in yardstick],
            "process_start_seconds": [seconds for seconds, _ in cold],
        },
    }


def measure_gpu(inputs: dict[str, str], folder: Path, repeats: int) -> dict:
    """The same on CUDA, and whether its labels equal the CPU's; says so where there is no GPU."""
    worker = Worker("ours")
    request = {"input": inputs[SMALL], "output": str(folder / "gpu"), "device": "cuda"}
    first = worker.ask(**request)
    if first["device"] != "cuda":
        worker.close()
        return {"tested": False, "note": "GPU untested: no CUDA provider here"}
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


def measure_step(name: str, folder: Path, repeats: int, note: Callable[[str], None]) -> dict:
    """A step in a process of its own: the first round, the median of the others, its parts, peak memory."""
    step, rounds = STEPS[name], min(repeats, STEP_ROUNDS)
    note(f"{step.title}: making what it works on")
    once("inputs", str(folder), name, script=STEPS_WORKER)
    load = os.getloadavg()[0]
    worker = Worker(name, str(folder), script=STEPS_WORKER)
    runs = []
    for repeat in range(rounds + 1):
        note(f"{step.title}, {step.given}, round {repeat} of {rounds}")
        runs.append(worker.ask()["seconds"])
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
        cold = [from_process_start("follow", pair, folder / "cold-follow") for _ in range(max(1, rounds // 2))]
        out["process_start_seconds"] = median(seconds for seconds, _ in cold)
        out["process_peak_mb"] = max(memory for _, memory in cold)
    return out


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


def show_steps(console: Console, steps: dict) -> None:
    """Print the steps after the segmentation, and their parts."""
    table = Table(title=f"Step by step, warm, {THREADS} CPU threads", title_justify="left")
    for column in ("step", "given", "seconds", "peak memory", "aim"):
        table.add_column(column, justify="left" if column in ("step", "given") else "right")
    for step in steps.values():
        memory = f"{step['peak_mb']:.0f} MB"
        table.add_row(step["title"], step["given"], f"{step['warm_seconds']:.2f} s", memory, step["aim"])
        for part, seconds in step["part_seconds"].items():
            table.add_row(f"  {part}", "", f"{seconds:.3f} s")
        if "each" in step:
            table.add_row(f"  each {step['each']['what']}", "", f"{step['each']['seconds']:.3f} s")
        if "process_start_seconds" in step:
            memory = f"{step['process_peak_mb']:.0f} MB"
            table.add_row("  the command, from process start", "", f"{step['process_start_seconds']:.2f} s", memory)
    console.print(table)


def show(console: Console, report: dict) -> None:
    """Print the report of the segmentation as tables."""
    cpu, gpu = report["cpu"], report["gpu"]
    table = Table(title=f"{SMALL}, file to files, {THREADS} CPU threads", title_justify="left")
    for column in ("", "measured", "aim"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("warm (second case of a process)", f"{cpu['warm_seconds']:.2f} s", "< 2 s")
    table.add_row("from process start (flairseg segment)", f"{cpu['process_start_seconds']:.2f} s", "< 4 s")
    table.add_row("peak memory of that process", f"{cpu['process_peak_mb']:.0f} MB", "< 700 MB")
    parameters = cpu["reference_parameters"] / 1e6
    table.add_row(f"S1-size generator alone ({parameters:.1f} M)", f"{cpu['reference_seconds']:.2f} s", "")
    table.add_row("ours, everything included, is faster", f"{cpu['times_faster_than_reference']:.1f} x", ">= 3 x")
    console.print(table)

    table = Table(title="Seconds per stage, warm", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for stage, seconds in cpu["stage_seconds"].items():
        table.add_row(stage, f"{seconds:.3f}")
    console.print(table)

    table = Table(title="Growth", title_justify="left")
    for column in ("slices x rows x columns", "warm", "voxels", "seconds", "peak memory"):
        table.add_column(column, justify="left" if column.startswith("slices") else "right")
    base = cpu["growth"][SMALL]["warm_seconds"]
    for name, row in cpu["growth"].items():
        times = count(name) / count(SMALL)
        seconds, memory = row["warm_seconds"], row["peak_mb"]
        table.add_row(name, f"{seconds:.2f} s", f"x {times:.0f}", f"x {seconds / base:.1f}", f"{memory:.0f} MB")
    console.print(table)

    if gpu["tested"]:
        console.print(
            f"GPU ({gpu['provider']}): warm {gpu['warm_seconds']:.2f} s; "
            f"{gpu['voxels_differing_from_cpu']} of {gpu['foreground_voxels']} foreground voxels differ from the CPU's."
        )
    else:
        console.print(gpu["note"])


def count(grid: str) -> int:
    """Voxels of a grid named like ``20 x 256 x 256``."""
    slices, rows, columns = (int(side) for side in grid.split(" x "))
    return slices * rows * columns


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
    parser.add_argument("--only", type=selected, default=[SEGMENT, *STEPS], help=", ".join([SEGMENT, *STEPS]))
    options = parser.parse_args()

    console = Console(highlight=False)
    load = os.getloadavg()[0]
    if load > BUSY:
        console.print(f"This machine is busy (load {load:.1f}): everything below will look slower than it is.")
    two_cores()
    path = options.output / "benchmark.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    report["machine"] = {**machine(), "load_before": load}
    steps = {name: step for name, step in report.get("steps", {}).items() if name in STEPS}
    with tempfile.TemporaryDirectory() as name, console.status("phantom") as status:
        folder = Path(name)
        if SEGMENT in options.only:
            inputs = once("inputs", str(folder))
            report["cpu"] = measure(inputs, folder, options.repeats, status.update)
            report["gpu"] = measure_gpu(inputs, folder, options.repeats)
        for step in options.only:
            if step in STEPS:
                steps[step] = measure_step(step, folder, max(1, options.repeats), status.update)
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
