"""Memory of one call of ``flairseg segment`` over many cases: resident memory after the fifth case and after the last.

``python Testing/benchmarks/long_batch.py --cases 200``. Small phantoms of several heads and grids, with regions; Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import MEGABYTE

#: (slices, rows, columns) and mm along columns, rows and slices.
GRIDS = (((8, 72, 64), (3.2, 3.2, 17.0)), ((10, 96, 80), (2.4, 2.4, 14.0)))
HEADS = 4
#: From this case on memory is compared: the first ones load what all need.
FROM_CASE = 5
#: Seconds between two looks at the process.
PAUSE = 0.2


def make_inputs(folder: Path, cases: int) -> list[Path]:
    """So many files, of a few heads on a few grids."""
    import SimpleITK as sitk
    from flairseg.image.volume import volume_to_sitk
    from flairseg.phantom import make_phantom

    heads = []
    for seed in range(HEADS):
        shape, spacing = GRIDS[seed % len(GRIDS)]
        heads.append(folder / f"head{seed}.nii.gz")
        sitk.WriteImage(volume_to_sitk(make_phantom(seed, shape, spacing).volume), str(heads[-1]))
    sources = [folder / f"case{n:04d}.nii.gz" for n in range(cases)]
    for n, source in enumerate(sources):
        shutil.copy(heads[n % HEADS], source)
    return sources


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def measure(sources: list[Path], output: Path) -> dict[int, float]:
    """Highest resident MB that was seen while each case was the last one written, by cases written."""
    command = [sys.executable, "-m", "flairseg", "segment", *map(str, sources), "--output", str(output), "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    seen: dict[int, float] = {}
    while process.poll() is None:
        done = len(list(output.glob("*_summary.json"))) if output.exists() else 0
        try:
            seen[done] = max(seen.get(done, 0.0), resident_mb(process.pid))
        except (OSError, IndexError):
            break
        time.sleep(PAUSE)
    if process.wait():
        raise SystemExit(f"flairseg segment ended with {process.returncode}.")
    return seen


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen = measure(make_inputs(folder, options.cases), folder / "out")
    early = max(mb for done, mb in seen.items() if FROM_CASE <= done < FROM_CASE + HEADS)
    late = max(mb for done, mb in seen.items() if done >= options.cases - HEADS)
    print(json.dumps({"cases": options.cases, "early_mb": round(early), "late_mb": round(late), "ratio": late / early}))


if __name__ == "__main__":
    main()
