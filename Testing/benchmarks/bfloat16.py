"""What OpenVINO in bfloat16 would save and change: beside onnxruntime, in one run. FlairSeg does not use it.

``pip install openvino``, then ``python Testing/benchmarks/bfloat16.py FLAIR...`` on a processor with AMX (others
emulate bfloat16, which is slower). A case with regions, file to files, is measured with both and beside the S1-size
generator, in turns; then the labels of all images are compared class by class.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from flairseg import segment, write_segmentation
from flairseg.labels import CLASSES
from flairseg.segmentation import inference
from flairseg.segmentation.local_network import freed
from flairseg.segmentation.memory import limit_heap
from flairseg.segmentation.result import Segmentation
from reference import SIZE, build_reference
from rich.console import Console

THREADS = 2
ROUNDS = 5
ONNXRUNTIME, OPENVINO = "onnxruntime", "OpenVINO, bfloat16"


class BFloat16Session:
    """A network in OpenVINO that is asked as a session of onnxruntime is."""

    def __init__(self, model: bytes) -> None:
        import openvino

        core = openvino.Core()
        options = {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": THREADS, "INFERENCE_NUM_THREADS": THREADS}
        self._compiled = core.compile_model(core.read_model(model), "CPU", {**options, "ENABLE_CPU_PINNING": False})
        self._own = threading.local()

    def run(self, _: list[str], feeds: dict[str, np.ndarray], __: object = None) -> list[np.ndarray]:
        """The network's output; several threads may ask."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        [batch] = feeds.values()
        return [next(iter(self._own.request.infer({0: batch}).values())).copy()]


class Runtimes:
    """Cases by either runtime; sessions of both are kept."""

    def __init__(self) -> None:
        self._create = inference._create
        self._kept: dict[str, dict] = {ONNXRUNTIME: {}, OPENVINO: {}}

    def case(self, path: Path, runtime: str, folder: Path | None = None) -> tuple[Segmentation, float]:
        """A case with regions, and its files if there is a folder for them; processor seconds."""
        inference._create = self._in_bfloat16 if runtime == OPENVINO else self._create
        inference._sessions.clear()
        inference._sessions.update(self._kept[runtime])
        began = time.process_time()
        result = segment(path, device="cpu", regions=True)
        if folder is not None:
            write_segmentation(result, folder, "case", overwrite=True)
        used = time.process_time() - began
        self._kept[runtime] = dict(inference._sessions)
        return result, used

    def _in_bfloat16(self, runtime, card, provider):
        session = self._create(runtime, card, provider)
        model = freed(card.path.read_bytes(), card.pipeline.frame_size)
        return replace(session, runtime=BFloat16Session(model), provider=OPENVINO)


def generator(folder: Path):
    """20 slices through the S1-size generator, as a function that returns processor seconds."""
    build_reference(folder / "reference.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(folder / "reference.onnx", options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((20, 1, 1, SIZE, SIZE), dtype=np.float32)

    def once() -> float:
        began = time.process_time()
        for image in images:
            session.run(None, {"image": image})
        return time.process_time() - began

    return once


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two masks; 1 where both are empty."""
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def main() -> None:
    """Measure the first image, compare all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", help="FLAIR images; the first is measured")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    limit_heap()
    console, runtimes = Console(highlight=False), Runtimes()
    used: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        yardstick = generator(Path(name))
        for n in range(options.rounds + 1):
            spent = {kind: runtimes.case(options.images[0], kind, Path(name))[1] for kind in (ONNXRUNTIME, OPENVINO)}
            spent["S1-size generator"] = yardstick()
            for kind, seconds in spent.items() if n else ():
                used.setdefault(kind, []).append(seconds)
    network = median(used["S1-size generator"])
    for kind, seconds in used.items():
        share = median(seconds) / network
        console.print(f"{kind}: {median(seconds):.2f} s of the processor, {share:.2f} of the generator")
    agreement = []
    for path in options.images:
        one, other = (runtimes.case(path, kind)[0].labels for kind in (ONNXRUNTIME, OPENVINO))
        agreement.append([dice(one == c.value, other == c.value) for c in CLASSES])
    for label_class, lowest, mean in zip(CLASSES, np.min(agreement, axis=0), np.mean(agreement, axis=0), strict=True):
        console.print(f"{label_class.name}: Dice {mean:.4f}, lowest {lowest:.4f} of {len(agreement)} images")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    main()
