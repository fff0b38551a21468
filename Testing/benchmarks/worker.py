"""A process that the benchmark measures. It answers one JSON line for each JSON line that it reads.

``python worker.py inputs FOLDER [GRID...]``  writes the FLAIR phantom on grids of the benchmark (default: all), prints
                                    their paths, ends.
``python worker.py reference FILE`` answers ``{"slices": n}`` with the seconds that n slices take.
``python worker.py ours``           answers ``{"input", "output", "device", "regions"}`` with the seconds of a case; of
                                    which version is said by PYTHONPATH, and told back as ``package``.
``python worker.py result FILE FOLDER``  segments a file with regions, keeps labels, probabilities and regions in the
                                    folder, prints processor seconds and peak memory, ends.
``python worker.py providers``      prints what onnxruntime can compute on here.
``python worker.py compare A B``    prints in how many voxels two label maps differ.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from heads import write_grids

THREADS = 2


def requests() -> Iterator[dict]:
    """What the benchmark asks for, one JSON object per line of stdin."""
    for line in sys.stdin:
        yield json.loads(line)


def answer(**values: object) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(values), flush=True)


def inputs(folder: str, *names: str) -> None:
    """Scan the head of seed 0 on grids of :data:`heads.GRIDS`, by default on all of them."""
    answer(**write_grids(Path(folder), names))


def reference(path: str) -> None:
    """Serve the S1-size generator: batch 1, no preprocessing, no post-processing."""
    import numpy as np
    import onnxruntime
    from reference import SIZE, build_reference

    parameters = build_reference(Path(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((20, 1, 1, SIZE, SIZE), dtype=np.float32)
    session.run(None, {"image": images[0]})
    for request in requests():
        began, used = time.perf_counter(), time.process_time()
        for index in range(request["slices"]):
            session.run(None, {"image": images[index % len(images)]})
        spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
        answer(**spent, parameters=parameters)


def ours() -> None:
    """Serve whole cases: the same calls that the command line makes."""
    import flairseg
    from flairseg import segment, write_segmentation

    with suppress(ImportError):  # a version before it has none
        from flairseg.segmentation.memory import limit_heap

        limit_heap()

    for request in requests():
        began, used = time.perf_counter(), time.process_time()
        result = segment(request["input"], device=request["device"], regions=request.get("regions", False))
        was_segmented = time.perf_counter()
        write_segmentation(result, Path(request["output"]), result.volume.name, overwrite=True)
        done, spent = time.perf_counter(), time.process_time() - used
        stages = {**result.seconds, "write": done - was_segmented}
        del stages["total"]
        answer(
            seconds=done - began,
            cpu_seconds=spent,
            stages=stages,
            device=result.device_used,
            provider=result.provider,
            package=str(Path(flairseg.__file__).parent),
        )


def result(path: str, folder: str) -> None:
    """Keep what a version makes of a file: arrays as ``.npy``, the table of lesions and all warnings as JSON."""
    import resource

    import flairseg
    import numpy as np
    from flairseg import segment
    from flairseg.segmentation.memory import limit_heap

    limit_heap()
    began = time.process_time()
    found = segment(path, device="cpu", regions=True)
    used = time.process_time() - began
    # Kilobytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * (1024 if sys.platform == "darwin" else 1))
    place = Path(folder)
    np.save(place / "labels.npy", found.labels)
    np.save(place / "probabilities.npy", found.probabilities)
    np.save(place / "regions.npy", found.regions.codes)
    np.save(place / "lateral.npy", found.regions.lateral)
    said = {"lesions": found.lesions(), "warnings": [str(one) for one in found.warnings]}
    (place / "lesions.json").write_text(json.dumps(said), encoding="utf-8")
    answer(cpu_seconds=used, peak_mb=peak, package=str(Path(flairseg.__file__).parent))


def providers() -> None:
    """Print what onnxruntime can compute on here."""
    import onnxruntime

    answer(providers=onnxruntime.get_available_providers())


def compare(first: str, second: str) -> None:
    """Print in how many voxels two label maps differ, and in how many either has something."""
    import SimpleITK as sitk

    a, b = (sitk.GetArrayFromImage(sitk.ReadImage(path)) for path in (first, second))
    answer(differing=int((a != b).sum()), foreground=int(((a > 0) | (b > 0)).sum()))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    modes = (inputs, reference, ours, result, providers, compare)
    {mode.__name__: mode for mode in modes}[sys.argv[1]](*sys.argv[2:])
