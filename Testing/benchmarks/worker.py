"""A process that the benchmark measures. It answers one JSON line for each JSON line that it reads.

``python worker.py inputs FOLDER``  writes the FLAIR phantom on the grids of the benchmark, prints their paths, ends.
``python worker.py reference FILE`` answers ``{"slices": n}`` with the seconds that n slices take.
``python worker.py ours``           answers ``{"input", "output", "device", "regions"}`` with the seconds of a case; of
                                    which version is said by PYTHONPATH, and told back as ``package``.
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

#: Name -> (slices, rows, columns). The same head on every grid.
GRIDS = {
    "20 x 256 x 256": (20, 256, 256),
    "200 x 256 x 256": (200, 256, 256),
    "20 x 512 x 512": (20, 512, 512),
    # Isotropic: 1 mm.
    "136 x 230 x 230": (136, 230, 230),
}
#: Of every grid along columns, rows and slices.
EXTENT_MM = (230.4, 230.4, 136.0)
THREADS = 2


def requests() -> Iterator[dict]:
    """What the benchmark asks for, one JSON object per line of stdin."""
    for line in sys.stdin:
        yield json.loads(line)


def answer(**values: object) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(values), flush=True)


def inputs(folder: str) -> None:
    """Scan the head of seed 0 on every grid of :data:`GRIDS`."""
    import SimpleITK as sitk
    from flairseg.image.volume import volume_to_sitk
    from flairseg.phantom import make_phantom

    paths = {}
    for name, shape in GRIDS.items():
        spacing = [extent / size for extent, size in zip(EXTENT_MM, reversed(shape), strict=True)]
        path = Path(folder) / f"flair_{'x'.join(map(str, shape))}.nii.gz"
        sitk.WriteImage(volume_to_sitk(make_phantom(shape=shape, spacing_mm=spacing).volume), str(path))
        paths[name] = str(path)
    answer(**paths)


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


def compare(first: str, second: str) -> None:
    """Print in how many voxels two label maps differ, and in how many either has something."""
    import SimpleITK as sitk

    a, b = (sitk.GetArrayFromImage(sitk.ReadImage(path)) for path in (first, second))
    answer(differing=int((a != b).sum()), foreground=int(((a > 0) | (b > 0)).sum()))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    {"inputs": inputs, "reference": reference, "ours": ours, "compare": compare}[sys.argv[1]](*sys.argv[2:])
