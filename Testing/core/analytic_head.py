"""Heads whose brain is known in closed form: ellipsoids for scalp, skull, brain and ventricles, in millimetres."""

from __future__ import annotations

import numpy as np

#: Half axes of the brain (slices, rows, columns), mm: a tall head of 1.5 litres.
BRAIN_MM = (70.0, 82.0, 64.0)
SKULL_MM = 7.0
SCALP_MM = 6.0
#: Signal relative to the brain's.
FLUID, BONE = 0.2, 0.06


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient of two boolean arrays; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def head_stack(
    shape: tuple[int, int, int] = (12, 128, 112),
    spacing_mm: tuple[float, float, float] = (8.0, 1.8, 1.8),
    fat: float = 1.1,
    noise: float = 0.0,
    stripped: bool = False,
    centre_mm: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """A stack (slices, rows, columns) in float32, brain at 1000, and the true brain.

    ``fat`` is the signal of the scalp and ``noise`` the deviation of each channel of a Rician image, both relative to
    the brain's; ``centre_mm`` shifts the head in the slices.
    """
    rng = np.random.default_rng(seed)
    z, y, x = (
        (np.arange(n) - (n - 1) / 2) * s - c for n, s, c in zip(shape, spacing_mm, (0.0, *centre_mm), strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]

    def ellipsoid(extra: float) -> np.ndarray:
        a, b, c = (axis + extra for axis in BRAIN_MM)
        return (z / a) ** 2 + (y / b) ** 2 + (x / c) ** 2 <= 1

    brain = ellipsoid(0.0)
    image = np.zeros(shape, np.float32)
    if not stripped:
        image[ellipsoid(SKULL_MM + SCALP_MM)] = fat
        image[ellipsoid(SKULL_MM)] = BONE
    image[brain] = np.broadcast_to(1 + 0.08 * np.sin(x / 6) * np.sin(y / 7 + z / 9), shape)[brain]
    for side in (-1, 1):
        image[(z / 22) ** 2 + ((y + 5) / 30) ** 2 + ((x - side * 12) / 8) ** 2 <= 1] = FLUID
    if noise:
        image = np.hypot(image + rng.normal(0, noise, shape), rng.normal(0, noise, shape))
    return (image * 1000).astype(np.float32), brain
