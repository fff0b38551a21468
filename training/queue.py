"""Train the compared systems: ``python -m training.queue --output runs --workers 2``.

Fold 0 of every system is trained first, then the other folds, then the models on all patients. Each run is a separate
process with one thread. SIGTERM or Ctrl-C stops the current runs after saving their checkpoints; started again, the
queue continues. Complete runs are skipped; a failed run is reported and does not stop the others.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from .checkpoint import FINISHED, STOPPED, StopRequest
from .config import CONFIGS, TrainingConfig, load_config, shared_budget
from .run import run_folder

log = logging.getLogger("flairseg.training")
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Job:
    """A run: a recipe on a fold or on all patients; ``once``: without patients and folds (pre-training)."""

    recipe: Path
    config: TrainingConfig
    folder: Path
    once: bool = False
    process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return (self.folder / FINISHED).exists()

    def ready(self, output: Path) -> bool:
        """Whether the run that provides the initial weights is complete, or their file exists."""
        if self.config.starts_from is None:
            return True
        first = Path(self.config.starts_from)
        return first.exists() or (output / first.parent.name / FINISHED).exists()

    def command(self, output: Path) -> list[str]:
        """Command line of the run."""
        own = {"gray": "train_pix2pix", "partial": "train_sites"}
        key = "gray" if self.config.network["kind"] == "pix2pix" else self.config.loss
        module = own.get(key, "train")
        out = [sys.executable, "-m", f"training.{module}", "--config", str(self.recipe), "--output", str(output)]
        out += ["--steps", str(self.config.steps), "--threads", "1"]
        return [*out, *([] if self.config.fold is None else ["--fold", str(self.config.fold)])]


def plan(
    output: Path, recipes: list[str] | None = None, configs: Path = CONFIGS, slices: int | None = None
) -> list[Job]:
    """All runs in the order of training.

    Parameters
    ----------
    output : Path
        Folder of the runs.
    recipes : list of str, optional
        Only these; default: those of the shared budget (``budget.json``).
    configs : Path
        Folder of the recipes.
    slices : int, optional
        Annotated slices that each system sees, instead of the shared budget's.
    """
    paths = [configs / f"{name}.json" for name in recipes or shared_budget()["order"]]
    jobs = []
    for number in range(1 + max(load_config(path).folds for path in paths)):
        for path in paths:
            config = load_config(path, slices=slices)
            once = not ("tabriz" in config.mix or config.network["kind"] == "pix2pix")  # no patients, no folds
            last = 0 if once else config.folds
            if number > last:
                continue
            if number < last:
                config.fold = number
            jobs.append(Job(path, config, run_folder(config, output), once))
    return jobs


def run(jobs: list[Job], output: Path, workers: int, niceness: int = 0, poll_s: float = 1.0) -> list[Job]:
    """Run the jobs and return those that failed.

    Parameters
    ----------
    jobs : list of Job
    output : Path
    workers : int
        Maximum number of simultaneous runs.
    niceness : int
        Niceness of the runs.
    poll_s : float
        Seconds between checks of the runs.
    """
    waiting, working, failed = [job for job in jobs if not job.finished], [], []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _search_path()}
    with StopRequest() as stop:
        while (waiting and not stop.asked) or working:
            if stop.asked:
                for job in working:
                    job.process.send_signal(signal.SIGTERM)
                for job in working:
                    job.process.wait()
            for job in [job for job in working if job.process.poll() is not None]:
                working.remove(job)
                log.info("%s: ended with %d", job.folder.name, job.process.returncode)
                if not job.finished and job.process.returncode != STOPPED:
                    failed.append(job)
            if stop.asked:
                return failed
            free = workers - len(working)
            startable = [job for job in waiting if job.ready(output)] if free else []
            for job in startable[:free]:
                waiting.remove(job)
                job.folder.mkdir(parents=True, exist_ok=True)
                with (job.folder / "output.txt").open("a", encoding="utf-8") as text:
                    job.process = subprocess.Popen(
                        job.command(output), cwd=REPOSITORY, env=environment, stdout=text, stderr=text,
                        start_new_session=True,
                    )  # fmt: skip
                if niceness and hasattr(os, "setpriority"):
                    os.setpriority(os.PRIO_PROCESS, job.process.pid, niceness)
                working.append(job)
                log.info("%s: started", job.folder.name)
            if not working:
                for job in waiting:
                    log.warning(
                        "%s: starts from %s, which no run here provides", job.folder.name, job.config.starts_from
                    )
                return failed + waiting
            time.sleep(poll_s)
    return failed


def _search_path() -> str:
    """``PYTHONPATH`` with the packages of this repository."""
    parts = [str(REPOSITORY), str(REPOSITORY / "FlairSegExtension"), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(part for part in parts if part)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--recipe", action="append", help="only this recipe (may be repeated)")
    parser.add_argument("--fold", type=int, action="append", help="only this fold (may be repeated)")
    parser.add_argument("--slices", type=int, help="annotated slices of each compared system, not the shared budget's")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--nice", type=int, default=0, help="niceness of the runs")
    parser.add_argument("--list", action="store_true", help="list the runs and their states")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    output = arguments.output.resolve()
    jobs = plan(output, arguments.recipe, slices=arguments.slices)
    if arguments.fold is not None:
        jobs = [job for job in jobs if job.once or job.config.fold in arguments.fold]
    if arguments.list:
        for job in jobs:
            state = "complete" if job.finished else "begun" if (job.folder / "last.pt").exists() else "to do"
            print(f"{job.folder.name:20s} {job.config.steps:6d} steps x {job.config.batch}  {state}")
        return
    failed = run(jobs, output, arguments.workers, arguments.nice)
    for job in failed:
        log.error("%s failed: see %s", job.folder.name, job.folder / "output.txt")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
