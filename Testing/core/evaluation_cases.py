"""Small references, predictions and probabilities on disk, for the tests of ``flairseg evaluate``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flairseg.files.nifti import write_nifti
from flairseg.image.volume import Volume
from scipy import ndimage

SHAPE = (6, 36, 40)
AFFINE = np.array([[-0.9, 0, 0, 17], [0, 0.9, 0, -20], [0, 0, 6.5, -8], [0, 0, 0, 1.0]])


def grid(array: np.ndarray, affine: np.ndarray = AFFINE, name: str = "case") -> Volume:
    return Volume(array, affine, name)


def reference_labels(seed: int = 0) -> np.ndarray:
    """A ventricle, a rim of normal WMH around it, and half a dozen lesions."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    distance = np.hypot(j - 18, i - 20) + 2 * np.abs(k - 2.5)
    labels[distance < 7] = 2
    labels[distance < 5.5] = 1
    for _ in range(6):
        centre = rng.integers((0, 4, 4), (SHAPE[0], SHAPE[1] - 4, SHAPE[2] - 4))
        size = rng.uniform(1.2, 3)
        lesion = np.hypot(np.hypot(j - centre[1], i - centre[2]), 4 * (k - centre[0])) < size
        labels[lesion & (labels == 0)] = 3
    return labels


def probabilities_of(labels: np.ndarray, seed: int, noise: float = 0.25) -> np.ndarray:
    """Blurred, noisy memberships of the four classes, sum 1: float16 (4, K, J, I)."""
    rng = np.random.default_rng(seed)
    blurred = [ndimage.gaussian_filter((labels == c).astype(float), (0, 0.8, 0.8)) for c in range(4)]
    noisy = np.stack(blurred) + noise * rng.random((4, *labels.shape)) ** 3
    return (noisy / noisy.sum(0)).astype(np.float16)


def write_labels(path: Path, labels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, labels, grid(labels, affine), labels.dtype.type)
    return path


def write_probabilities(path: Path, probabilities: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, probabilities, grid(probabilities.reshape(-1, *SHAPE)[0]), np.float32)
    return path


def write_study(folder: Path, names=("anna", "bela", "cleo", "dora")) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """``references/NAME.nii.gz``, ``ours/NAME_flair_{labels,probabilities}.nii.gz``; case -> both label maps."""
    made = {}
    for n, name in enumerate(names):
        reference = reference_labels(n)
        probabilities = probabilities_of(reference, n)
        prediction = probabilities.astype(np.float32).argmax(0).astype(np.uint8)
        write_labels(folder / "references" / f"{name}.nii.gz", reference)
        write_labels(folder / "ours" / f"{name}_flair_labels.nii.gz", prediction)
        write_probabilities(folder / "ours" / f"{name}_flair_probabilities.nii.gz", probabilities)
        made[name] = reference, prediction
    return made
