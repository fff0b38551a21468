"""One case from a volume to its segmentation: the order of the stages, and what is known about the result.

Source of the order: S1 (preprocess, frame, generate, decode, inverse frame, clean up).
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, quality
from .decoding import classify, decode
from .inference import Generator, onnxruntime_version
from .labels import CLASSES
from .models.card import ModelCard
from .models.store import find_model
from .postprocessing import clean_labels, lesion_components
from .preprocessing import Prepared, preprocess
from .progress import CancelToken, ProgressCallback, Reporter
from .reading import check_volume, read_volume
from .slicestack import SliceStack
from .volume import Volume

#: Probabilities below this are kept as zero.
SMALLEST_PROBABILITY = np.float32(1e-4)
#: Stages in order, with the share of the whole case at which each ends (for the progress bar; writing takes the rest).
STAGES = {"read": 0.03, "preprocess": 0.25, "inference": 0.85, "postprocess": 0.92, "write": 1.0}


@dataclass(frozen=True)
class Segmentation:
    """What came out for one case.

    Attributes
    ----------
    volume : Volume
        The FLAIR as it was segmented (float32, K, J, I).
    labels : ndarray of uint8, shape (K, J, I)
        0 background, 1 ventricles, 2 normal WMH, 3 lesion.
    probabilities : ndarray of float16, shape (4, K, J, I)
        Before thresholds and clean-up; sum 1. May be a view in another memory order.
    card : ModelCard
        The model.
    device_requested, device_used, provider : str
        ``auto``, ``cpu`` or ``cuda``; what ran; onnxruntime's name of it.
    source : str
        What the caller named as input: a path, or the volume's name.
    seconds : dict of str to float
        Wall-clock seconds per stage and in total.
    warnings : list of str
        What the reader should know before trusting the result.
    created : str
        UTC time, ISO 8601.
    """

    volume: Volume
    labels: np.ndarray
    probabilities: np.ndarray
    card: ModelCard
    device_requested: str
    device_used: str
    provider: str
    source: str
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))

    def volumes_ml(self) -> dict[int, float]:
        """Volume of each class in millilitres, by class value (1, 2, 3)."""
        voxels = np.bincount(self.labels.ravel(), minlength=max(c.value for c in CLASSES) + 1)
        return {c.value: float(voxels[c.value]) * self.volume.voxel_mm3 / 1000 for c in CLASSES}

    @property
    def lesion_count(self) -> int:
        """Number of lesions (26-connected components of label 3)."""
        return lesion_components(self.labels)[1]

    def lesions(self) -> list[dict[str, Any]]:
        """One row per lesion, largest first: ``volume_ml`` and ``centre_ras_mm`` (its centre of mass)."""
        components, count = lesion_components(self.labels)
        if count == 0:
            return []
        where = np.nonzero(components)
        numbers = components[where]
        voxels = np.bincount(numbers)[1:]
        # Columns I, J, K of the centres of mass.
        centres = np.stack([np.bincount(numbers, axis)[1:] / voxels for axis in where[::-1]], axis=1)
        ras = centres @ self.volume.ijk_to_ras[:3, :3].T + self.volume.ijk_to_ras[:3, 3]
        order = np.argsort(-voxels, kind="stable")
        scale = self.volume.voxel_mm3 / 1000
        return [
            {"volume_ml": round(float(voxels[n]) * scale, 4), "centre_ras_mm": [round(float(x), 1) for x in ras[n]]}
            for n in order
        ]

    def summary(self) -> dict[str, Any]:
        """Everything about the case but its voxels, ready for JSON, with the keys of the project's contract."""
        volumes = self.volumes_ml()
        lesions = self.lesions()
        stages = {name: round(self.seconds.get(name, 0.0), 3) for name in (*STAGES, "total")}
        return {
            "case": self.volume.name,
            "input": self.source,
            "model": {"id": self.card.id, "version": self.card.version, "sha256": self.card.sha256},
            "software": {
                "flairseg": __version__,
                "onnxruntime": onnxruntime_version(),
                "python": platform.python_version(),
            },
            "device": {"requested": self.device_requested, "used": self.device_used},
            "grid": {
                "shape_kji": list(self.labels.shape),
                "spacing_mm": [round(s, 6) for s in self.volume.spacing],
                "ijk_to_ras": self.volume.ijk_to_ras.tolist(),
            },
            "volumes_ml": {c.id: round(volumes[c.value], 4) for c in CLASSES},
            "lesion_count": len(lesions),
            "lesions": lesions,
            "warnings": list(self.warnings),
            "seconds": stages,
        }


def segment(
    volume: Volume | str | Path,
    model: str | Path | ModelCard | None = None,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> Segmentation:
    """Segment one FLAIR.

    Parameters
    ----------
    volume : Volume or path
        A volume (any real type, RAS affine in mm), or what :func:`flairseg.read_volume` reads.
    model : str, Path or ModelCard, optional
        Model id or path; default the embedded model.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    progress : callable, optional
        Called as ``progress(fraction, stage)`` in the caller's thread.
    cancel : CancelToken or callable, optional
        Checked between steps and batches.

    Returns
    -------
    Segmentation
        On the volume's own grid.

    Raises
    ------
    FlairSegError
        Every error of reading, models and inference is a subclass of it, with advice; ``Cancelled`` on cancel.
    """
    began = time.perf_counter()
    reporter = Reporter(progress, cancel)
    with reporter.stage("read", 0.0, STAGES["read"]):
        card = model if isinstance(model, ModelCard) else find_model(model)
        source = volume.name if isinstance(volume, Volume) else str(volume).encode("utf-8", "replace").decode("utf-8")
        checked = check_volume(volume) if isinstance(volume, Volume) else read_volume(volume)
    config = card.pipeline
    with reporter.stage("preprocess", STAGES["read"], STAGES["preprocess"]):
        stack = SliceStack.from_volume(checked, config.plane)
        prepared = preprocess(stack, config, reporter.update)
    with reporter.stage("inference", STAGES["preprocess"], STAGES["inference"]):
        generator = Generator(card, device)
        labels, probabilities = predict(prepared, generator, stack.plane, reporter.update)
    with reporter.stage("postprocess", STAGES["inference"], STAGES["postprocess"]):
        labels = clean_labels(labels, probabilities, stack.spacing, config, prepared.mask)
        reporter.update(0.5)
        doubts = quality.assess(stack, prepared.mask, labels)
        labels = np.ascontiguousarray(stack.restore(labels))
        probabilities = stack.restore(probabilities)
    warnings = list(dict.fromkeys([*checked.warnings, *doubts, *generator.warnings]))
    seconds = {**reporter.seconds, "total": time.perf_counter() - began}
    return Segmentation(
        replace(checked, warnings=()), labels, probabilities, card, device, generator.used, generator.provider,
        source, seconds, warnings,
    )  # fmt: skip


def predict(
    prepared: Prepared, generator: Generator, plane: str, step: Callable[[float], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Run the network over a prepared stack and bring its answer back to the stack's grid, batch by batch.

    Batches run side by side in ``generator.workers`` threads: small networks use several cores better so than by
    splitting each layer. Only the batches in work exist in float32 on the full grid; what is kept is float16.

    Parameters
    ----------
    prepared : Prepared
        From :func:`flairseg.preprocessing.preprocess`.
    generator : Generator
    plane : str
        Plane of the stack: it says what a left-right mirror image is.
    step : callable, optional
        Called in this thread with the fraction done after each batch; may raise to cancel.

    Returns
    -------
    labels : ndarray of uint8, shape (slices, rows, columns)
        By the card's thresholds, not yet cleaned.
    probabilities : ndarray of float16, shape (4, slices, rows, columns)
    """
    config = generator.card.pipeline
    labels = np.empty(prepared.mask.shape, dtype=np.uint8)
    probabilities = np.empty((4, *labels.shape), dtype=np.float16)

    def run(start: int) -> int:
        stop = min(start + generator.batch_size, len(labels))
        batch = prepared.batch(start, stop)
        answer = decode(generator.run(batch), config)
        mirrored = _mirror(batch, plane) if config.flip_average else None
        if mirrored is not None:
            other = decode(generator.run(np.ascontiguousarray(mirrored)), config)
            answer = (answer + (other if plane == "sagittal" else other[..., ::-1])) / np.float32(2)
        restored = prepared.restore(answer, start)
        labels[start:stop] = classify(restored, config.thresholds)
        # float16 knows nothing between 0 and 6e-8, and converts what lies below 6e-5 thirty times slower.
        restored[restored < SMALLEST_PROBABILITY] = 0
        probabilities[:, start:stop] = restored
        return stop - start

    done = 0
    with ThreadPoolExecutor(generator.workers, "flairseg") as pool:
        try:
            pending = [pool.submit(run, start) for start in range(0, len(labels), generator.batch_size)]
            for future in as_completed(pending):
                done += future.result()
                if step is not None:
                    step(done / len(labels))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return labels, probabilities


def _mirror(batch: np.ndarray, plane: str) -> np.ndarray | None:
    """The batch as the left-right mirrored head would show it; None where nothing would change.

    Columns of axial and coronal slices run right to left. Mirrored sagittal slices look the same, but their neighbours
    swap.
    """
    if plane != "sagittal":
        return batch[..., ::-1]
    return batch[:, ::-1] if batch.shape[1] > 1 else None
