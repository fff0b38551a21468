"""Whether two versions make the same of an image, voxel by voxel: labels, probabilities, regions, lesion table.

``python Testing/benchmarks/same.py --before COMMIT FLAIR...`` segments each image with this version and with the one
of the commit, each in a process of its own; ``--grid "320 x 512 x 512"`` takes the phantom on a grid of the benchmark.
``--keep FOLDER`` keeps inputs and results, and takes the earlier version's from there next time. Processor seconds and
peak memory stand beside; ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from before import Version, unpack
from bench import WORKER, Worker, once
from heads import GRIDS
from rich.console import Console
from rich.table import Table

ARRAYS = ("labels", "probabilities", "regions", "lateral")


def made(path: Path, folder: Path, version: Version | None = None) -> dict:
    """What a version makes of an image, kept in ``folder``: processor seconds, peak memory."""
    told = folder / "figures.json"
    if version is not None and told.exists():
        return json.loads(told.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    worker = Worker("result", str(path), str(folder), script=WORKER, version=version)
    figures = worker.ask()
    worker.close()
    if version is not None and Path(figures["package"]) != version.package:
        raise SystemExit(f"The version before was to be {version.package}, Python took {figures['package']}.")
    told.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def differing(before: Path, now: Path) -> dict[str, int]:
    """In how many elements the arrays of two folders differ, and whether the lesion tables do."""
    import numpy as np

    out = {}
    for name in ARRAYS:
        a, b = (np.load(folder / f"{name}.npy", mmap_mode="r") for folder in (before, now))
        if a.shape != b.shape or a.dtype != b.dtype:
            raise SystemExit(f"{name}: {a.dtype} {a.shape} before, {b.dtype} {b.shape} now")
        # By their bits, slice by slice: a large volume need not be there twice.
        parts = zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True)
        out[name] = sum(int(np.count_nonzero(one != other)) for one, other in parts)
    tables = [(folder / "lesions.json").read_bytes() for folder in (before, now)]
    out["lesion table"] = int(tables[0] != tables[1])
    return out


def main() -> None:
    """Compare, show, end with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="*", help="FLAIR images")
    parser.add_argument("--grid", action="append", default=[], choices=GRIDS, help="phantom on a grid of the benchmark")
    parser.add_argument("--before", required=True, help="commit or tag to compare with")
    parser.add_argument("--keep", type=Path, help="folder for inputs and results (default: a temporary one)")
    options = parser.parse_args()
    table = Table("image", *ARRAYS, "lesion table", "CPU s before", "now", "peak MB before", "now")
    same = True
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep.resolve() if options.keep else Path(name) / "results"
        folder.mkdir(parents=True, exist_ok=True)
        version = unpack(options.before, Path(name) / "version-before")
        images = [path.resolve() for path in options.images]
        for grid in options.grid:
            there = folder / f"flair_{grid.replace(' ', '')}.nii.gz"
            if not there.exists():
                once("inputs", str(folder), grid)
            images.append(there)
        for path in images:
            results = folder / f"{path.parent.name}-{path.name}"
            was, now = made(path, results / "before", version), made(path, results / "now")
            found = differing(results / "before", results / "now")
            same = same and not any(found.values())
            seconds = [f"{one['cpu_seconds']:.2f}" for one in (was, now)]
            memory = [f"{one['peak_mb']:.0f}" for one in (was, now)]
            counts = [str(count) for count in found.values()]
            table.add_row(f"{path.parent.name}/{path.name}", *counts, *seconds, *memory)
    Console(highlight=False, width=160).print(table)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
