"""Seconds and memory of a follow-up pair, step by step: ``python Testing/benchmarks/follow.py``. Nothing is asserted.

Two scans of one phantom, 48 slices of 224 x 192, 1 x 1 x 3 mm, the second in another position. The load of the machine
(processes that want a core) is printed, since a busy one makes every figure worthless.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

from flairseg.change import follow
from flairseg.phantom import make_phantom

SHAPE, SPACING = (48, 224, 192), (1.0, 1.0, 3.0)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--regions", action="store_true", help="also find the lesions' regions, as the command does")
    arguments = parser.parse_args()
    studies = [make_phantom(0, SHAPE, SPACING, tilt_deg=tilt).volume for tilt in (4.0, -3.0)]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for repeat in range(arguments.repeats):
        began, used = time.perf_counter(), time.process_time()
        result = follow(studies, device="cpu", regions=arguments.regions)
        steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.seconds.items() if name != "total")
        print(
            f"round {repeat + 1}: {time.perf_counter() - began:.1f} s ({steps}), "
            f"{time.process_time() - used:.1f} s of one core, load {os.getloadavg()[0]:.1f}"
        )
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
