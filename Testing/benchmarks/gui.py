"""How the Slicer module feels: longest block of the event loop, click to overlay, regions, cancel; not asserted.

``make bench`` runs it after the command line's benchmark and adds its figures to ``bench/benchmark.json``. The module
is the real one, in the window of the test harness with Slicer's own rendering (and once without views), on the platform
in ``QT_QPA_PLATFORM``. Module and command line take turns on the same file, so that a busy moment of the machine meets
both; medians are shown, and the longest of all blocks.

    python Testing/benchmarks/gui.py --output bench            20 slices of 256 x 256
    python Testing/benchmarks/gui.py --output bench --large    and 200 of 512 x 512: minutes
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "FlairSegExtension")]

THREADS = 2
GRIDS = {"20 x 256 x 256": (20, 256, 256), "200 x 512 x 512": (200, 512, 512)}
SMALL, LARGE = GRIDS
#: What ``bench.py`` calls the phantom that both measure.
SMALL_FLAIR = "FLAIR_20x256x256.nii.gz"
#: Of every grid along columns, rows and slices, as for the command line's benchmark.
EXTENT_MM = (230.4, 230.4, 136.0)
WITH_VIEWS, WITHOUT_VIEWS = "2 x 2 views", "no views"
#: What a reader does not notice, or puts up with.
AIMS = {
    "longest_block_ms": "< 50 ms (large: 150)",
    "renders_per_view": "3",
    "cancel_seconds": "< 1 s",
    "overlay_seconds": "< 1 s",
    "regions_seconds": "< 0.5 s",
    "ratio": "< 1.5",
}
RUN_S = 900
#: Runs that are cancelled, with views and without: each takes five seconds, most of it until the worker is warm again.
CANCELS = {True: 1, False: 1}
#: Runs after which the regions are looked for.
REGION_RUNS = 2


class Reader:
    """The module in a process of its own, which answers JSON lines.

    Parameters
    ----------
    path : Path
        FLAIR that is loaded.
    views : bool
        Whether Slicer's views are there and render.
    """

    def __init__(self, path: Path, views: bool) -> None:
        command = [sys.executable, __file__, "--serve", str(path), *(["--views"] if views else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def ask(self, what: str) -> dict:
        """``segment``, ``regions`` or ``cancel``."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("The process with the module ended early; its message stands above.")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve(path: Path, views: bool) -> None:
    """Load the FLAIR into the module, then do what is asked for on stdin; with Python's lock held, as in Slicer."""
    from Testing.harness.event_lock import python_lock_held

    with python_lock_held() as held:
        _serve(path, views, held)


def _serve(path: Path, views: bool, lock_held: bool) -> None:
    from Testing.harness.qt_application import start

    app = start()
    import slicer
    from FlairSegLib import kept_answers
    from FlairSegLib.settings import FlairSegSettings

    from Testing.harness.interaction import EventLoopProbe, click, run_event_loop, wait_until
    from Testing.harness.main_window import MainWindow
    from Testing.harness.render_count import RenderCount

    # A run, and nothing after it: the regions of the brain, which follow by themselves, are measured by themselves.
    settings = FlairSegSettings()
    settings.regionsAfterRun = False
    module = app.moduleManager().load(ROOT / "FlairSegExtension" / "FlairSeg.py")
    window = MainWindow("FlairSeg", width=1400, height=1000)
    if not views:
        app.layoutManager().viewport().hide()
    panel = module.widgetRepresentation().self()
    view = app.layoutManager().sliceWidget("Red").sliceView()
    volume = slicer.util.loadVolume(str(path))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    wait_until(lambda: panel.case.volumeNode is volume and panel.case._task is None, RUN_S)
    wait_until(lambda: panel.run.controller.workerPid is not None, RUN_S)
    # The worker says that it listens before it has loaded the network; a reader looks at the image meanwhile.
    run_event_loop(3.0)

    def segmentations() -> list:
        return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")

    def forget() -> None:
        for node in segmentations():
            slicer.mrmlScene.RemoveNode(node)
        run_event_loop(0.5)
        wait_until(lambda: not panel.result.busy, RUN_S)

    def segment() -> dict:
        with RenderCount() as drawn:
            answer = timed_run()
        if not segmentations():
            raise SystemExit(f"The module did not segment: {panel.ui.statusLabel.text}")
        forget()
        return {**answer, "renders_per_view": drawn.most, "scene_events": sum(drawn.events.values())}

    def timed_run() -> dict:
        with EventLoopProbe() as run:
            began = time.perf_counter()
            click(panel.ui.segmentButton)
            wait_until(lambda: not panel.run.running, RUN_S)
            if views:
                view.forceRender()
            overlay = time.perf_counter() - began
        with EventLoopProbe() as counting:
            wait_until(lambda: not panel.result.busy, RUN_S)
            run_event_loop(0.2)
        return {
            "overlay_seconds": overlay,
            "list_seconds": time.perf_counter() - began - 0.2,
            "longest_block_ms": run.longest_block_ms,
            "longest_block_processor_ms": run.longest_busy_ms,
            "longest_block_of_counting_ms": counting.longest_block_ms,
            "longest_block_of_counting_processor_ms": counting.longest_busy_ms,
        }

    def regions() -> dict:
        for attribute in (kept_answers.REGIONS_ATTRIBUTE, kept_answers.REGIONS_GRID_ATTRIBUTE):
            volume.RemoveAttribute(attribute)
        settings.regionsAfterRun = True
        with EventLoopProbe() as probe:
            clicked = time.perf_counter()
            click(panel.ui.segmentButton)
            wait_until(lambda: not panel.run.running, RUN_S)
            if views:
                view.forceRender()
            began = time.perf_counter()
            wait_until(lambda: panel.result.regions.known, RUN_S)
            seconds = time.perf_counter() - began
            wait_until(lambda: not panel.result.busy, RUN_S)
        settings.regionsAfterRun = False
        forget()
        return {
            "overlay_seconds": began - clicked,
            "regions_seconds": seconds,
            "longest_block_ms": probe.longest_block_ms,
            "longest_block_processor_ms": probe.longest_busy_ms,
        }

    def cancel() -> dict:
        click(panel.ui.segmentButton)
        wait_until(lambda: panel.ui.progressBar.value > 20, RUN_S)
        began = time.perf_counter()
        click(panel.ui.segmentButton)
        wait_until(lambda: not panel.run.running and panel.ui.segmentButton.text == "Segment", RUN_S)
        seconds = time.perf_counter() - began
        if segmentations():
            raise SystemExit("A cancelled run left a segmentation.")
        wait_until(lambda: panel.run.controller.workerPid is not None, RUN_S)
        run_event_loop(3.0)
        return {"cancel_seconds": seconds}

    tasks = {"segment": segment, "regions": regions, "cancel": cancel}
    sys.stdout.write(json.dumps({"platform": os.environ["QT_QPA_PLATFORM"], "python_lock_held": lock_held}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(tasks[line.strip()]()) + "\n")
        sys.stdout.flush()
    app.moduleManager().unload("FlairSeg")
    window.close_all()


def command_line(path: Path, output: Path) -> float:
    """Seconds of ``flairseg segment`` on the same file, from process start."""
    program = str(Path(sys.executable).with_name("flairseg"))
    began = time.perf_counter()
    subprocess.run(
        [program, "segment", str(path), "--output", str(output), "--overwrite", "--no-regions"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def write_phantom(grid: str, folder: Path) -> Path:
    """The head of seed 0 on a grid, as NIfTI."""
    import SimpleITK as sitk
    from flairseg.image.volume import volume_to_sitk
    from flairseg.phantom import make_phantom

    shape = GRIDS[grid]
    spacing = [extent / size for extent, size in zip(EXTENT_MM, reversed(shape), strict=True)]
    path = folder / f"FLAIR_{'x'.join(map(str, shape))}.nii.gz"
    sitk.WriteImage(volume_to_sitk(make_phantom(shape=shape, spacing_mm=spacing).volume), str(path))
    return path


def measure(path: Path, views: bool, rounds: int, folder: Path) -> dict:
    """Module and command line in turns; the first round of each is not counted."""
    reader = Reader(path, views)
    runs, others, cancels = [], [], []
    for n in range(rounds + 1):
        run, other = reader.ask("segment"), command_line(path, folder / "results")
        if n:
            runs.append(run)
            others.append(other)
    # The first one has the worker load the atlas, if it was not done by then.
    followed = [reader.ask("regions") for _ in range(REGION_RUNS if views else 0)]
    for _ in range(min(rounds, CANCELS[views])):
        cancels.append(reader.ask("cancel")["cancel_seconds"])
    reader.close()
    overlay, other = median(run["overlay_seconds"] for run in runs), median(others)
    regions = {
        "regions_seconds": median(run["regions_seconds"] for run in followed),
        "longest_block_with_regions_ms": max(run["longest_block_ms"] for run in followed),
        "longest_block_with_regions_processor_ms": max(run["longest_block_processor_ms"] for run in followed),
    } if followed else {}  # fmt: skip
    return {
        **regions,
        "overlay_seconds": overlay,
        "list_seconds": median(run["list_seconds"] for run in runs),
        "command_line_seconds": other,
        "ratio": overlay / other,
        "longest_block_ms": max(run["longest_block_ms"] for run in runs),
        "longest_block_processor_ms": max(run["longest_block_processor_ms"] for run in runs),
        "longest_block_of_counting_ms": max(run["longest_block_of_counting_ms"] for run in runs),
        "longest_block_of_counting_processor_ms": max(run["longest_block_of_counting_processor_ms"] for run in runs),
        "renders_per_view": max(run["renders_per_view"] for run in runs),
        "scene_events": max(run["scene_events"] for run in runs),
        "cancel_seconds": max(cancels),
        "rounds": {"module": runs, "regions": followed, "command_line_seconds": others, "cancel_seconds": cancels},
    }


def show(report: dict) -> None:
    """Print the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    cases = report["cases"]
    table = Table(title=f"Slicer module, {THREADS} CPU threads, {report['platform']}", title_justify="left")
    table.add_column("")
    for name in cases:
        table.add_column(name, justify="right")
    table.add_column("aim", justify="right")
    for key, title, text in (
        ("longest_block_ms", "longest block of the event loop during a run", "{:.0f} ms"),
        ("longest_block_processor_ms", "the same in processor time of the GUI thread", "{:.0f} ms"),
        ("longest_block_of_counting_ms", "longest block while lesions are counted after it", "{:.0f} ms"),
        ("longest_block_of_counting_processor_ms", "the same in processor time of the GUI thread", "{:.0f} ms"),
        ("renders_per_view", "renders of a slice view for one result, on a slow machine", "{:d}"),
        ("scene_events", "scene, display and slice events for one result", "{:d}"),
        ("cancel_seconds", "Cancel in effect, longest", "{:.2f} s"),
        ("overlay_seconds", "click to coloured overlay", "{:.2f} s"),
        ("list_seconds", "click to lesion list", "{:.2f} s"),
        ("regions_seconds", "regions of the brain after the overlay", "{:.2f} s"),
        ("longest_block_with_regions_ms", "longest block of the event loop in a run with regions", "{:.0f} ms"),
        ("longest_block_with_regions_processor_ms", "the same in processor time of the GUI thread", "{:.0f} ms"),
        ("command_line_seconds", "command line on the same file", "{:.2f} s"),
        ("ratio", "overlay / command line", "{:.2f}"),
    ):
        shown = (text.format(case[key]) if key in case else "" for case in cases.values())
        table.add_row(title, *shown, AIMS.get(key, ""))
    Console(highlight=False).print(table)


def main() -> None:
    """Measure, show, and add to ``benchmark.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench"), help="folder of benchmark.json")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds per case (default 3; 2 without views and for the large volume)"
    )
    parser.add_argument("--large", action="store_true", help="also 200 slices of 512 x 512 (minutes)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--views", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    if options.serve:
        serve(options.serve, options.views)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    report = {"platform": os.environ["QT_QPA_PLATFORM"], "load_before": os.getloadavg()[0], "cases": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for grid in (SMALL, LARGE) if options.large else (SMALL,):
            # The benchmark of the command line leaves the small one there.
            kept = options.output / SMALL_FLAIR
            path = kept.resolve() if grid == SMALL and kept.exists() else write_phantom(grid, folder)
            rounds = options.rounds if grid == SMALL else min(options.rounds, 2)
            for views in (True, False):
                case = f"{grid}, {WITH_VIEWS if views else WITHOUT_VIEWS}"
                # Without views there is less to vary.
                report["cases"][case] = measure(path, views, rounds if views else min(rounds, 2), folder)
    path = options.output / "benchmark.json"
    whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    options.output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**whole, "gui": report}, indent=2) + "\n", encoding="utf-8")
    show(report)
    sys.stdout.write(f"Written: {path}\n")


if __name__ == "__main__":
    main()
