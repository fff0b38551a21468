"""Cost of a model: parameters, file size, and run time and memory of one case on the command line.

The case is the digital phantom on the grid of the Tabriz scanner (20 slices of 256 x 256 pixels), so that the
measurement can be repeated without patient data. Each run is a separate process, ``flairseg segment --device cpu`` on
two cores.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flairseg.files.nifti import write_nifti
from flairseg.models.card import CARD_NAME
from flairseg.phantom import make_phantom

#: Cores available to a run.
CORES = 2
REPEATS = 3
_MB = 1e6


@dataclass(frozen=True)
class Cost:
    """Cost of one model.

    Attributes
    ----------
    parameters : int or None
    megabytes : float or None
        Size of the weights (of all members for an ensemble).
    seconds : float
        Wall time of the command, median of the runs.
    memory_mb : float
        Peak resident memory of the process in MB, maximum of the runs.
    """

    parameters: int | None
    megabytes: float | None
    seconds: float
    memory_mb: float


def weights_of(folder: Path) -> tuple[int | None, float | None, str]:
    """Parameters, megabytes and sha256 of a model; summed (hashes joined) over the members of an ensemble."""
    card = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
    members = [member["id"] for member in card.get("ensemble", {}).get("members", [])]
    if members:
        parts = [weights_of(folder.parent / member) for member in members]
        parameters, megabytes, digests = zip(*parts, strict=True)
        return _sum(parameters), _sum(megabytes), "+".join(digests)
    weights = card["weights"]
    path = folder / weights["file"]
    size = weights.get("bytes") or (path.stat().st_size if path.exists() else None)
    return weights.get("parameters"), None if size is None else size / _MB, weights["sha256"]


def _sum(numbers: Iterable[float | None]) -> Any:
    """Sum; None if a number is unknown."""
    numbers = list(numbers)
    return None if None in numbers else sum(numbers)


def measure_cost(folder: Path, repeats: int = REPEATS, case: Path | None = None) -> Cost:
    """Measure a model on the phantom.

    Parameters
    ----------
    folder : Path
        Model folder with ``card.json`` and weights (for an ensemble: its members in the same parent folder).
    repeats : int
        Runs.
    case : Path, optional
        Image to use instead of the phantom.

    Raises
    ------
    RuntimeError
        If the command fails; with its output.
    """
    parameters, megabytes, _ = weights_of(folder)
    with tempfile.TemporaryDirectory(prefix="flairseg-cost-") as temporary:
        image = case
        if image is None:
            phantom = make_phantom()
            image = Path(temporary) / "phantom.nii.gz"
            write_nifti(image, phantom.volume.array, phantom.volume, phantom.volume.array.dtype.type)
        runs = [_run(folder, image, Path(temporary) / str(n)) for n in range(repeats)]
    return Cost(parameters, megabytes, statistics.median(s for s, _ in runs), max(m for _, m in runs))


def _run(folder: Path, image: Path, output: Path) -> tuple[float, float]:
    """Wall time (s) and peak memory (MB) of one run."""
    command = [sys.executable, "-m", "flairseg", "segment", str(image), "--output", str(output), "--device", "cpu"]
    environment = {**os.environ, "FLAIRSEG_MODELS": str(folder.parent.resolve())}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(
            [*command, "--model", folder.name], env=environment, stdout=said, stderr=said, preexec_fn=_two_cores
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{folder.name}: {said.read().decode(errors='replace').strip()}")
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS.
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / _MB


def _two_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def stored_cost(folder: Path, store: Path, repeats: int = REPEATS, again: bool = False) -> Cost:
    """Cost of a model, measured once for its weights and stored in a JSON file.

    Parameters
    ----------
    folder : Path
    store : Path
        JSON: sha256 of the weights -> cost.
    repeats : int
    again : bool
        Measure even if a stored value exists.
    """
    known = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    digest = weights_of(folder)[2]
    if digest not in known or again:
        known[digest] = {"model": folder.name, **asdict(measure_cost(folder, repeats))}
        part = store.with_suffix(".part")
        part.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        os.replace(part, store)
    return Cost(**{key: value for key, value in known[digest].items() if key != "model"})
