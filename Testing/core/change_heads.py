"""Painted heads in any position, with any lesions: scans of one person on different days, truth included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flairseg.image.volume import Volume
from flairseg.longitudinal import rigid

from Testing.core.tiny import AXIAL, LESIONS_MM, affine, grid, paint

#: Sagittal slices as DICOM stores them (I to the back, J to the feet, K to the left), and left-handed axial ones.
SAGITTAL = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
LEFT_HANDED = np.diag([-1.0, 1.0, 1.0])
#: Where there is room for further lesions (RAS mm).
ROOM = ((20, -42, 30), (-18, 44, 12), (-32, 12, -14), (30, 8, -18))
LESION_LEVEL = 165


def turned(angles_deg: Sequence[float], shift_mm: Sequence[float]) -> np.ndarray:
    """A rigid motion (RAS, 4 x 4) about the origin."""
    from scipy.spatial.transform import Rotation

    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    out[:3, 3] = shift_mm
    return out


def scan(
    motion: np.ndarray | None = None,
    lesions: Sequence[tuple[float, float, float, float]] = LESIONS_MM,
    shape_kji: tuple[int, int, int] = (38, 88, 76),
    spacing_ijk: tuple[float, float, float] = (2.2, 2.2, 4.4),
    orientation: np.ndarray = AXIAL,
    seed: int = 0,
    gain: float = 1.0,
    another_head: bool = False,
    name: str = "scan",
) -> tuple[Volume, np.ndarray]:
    """A head that was moved by ``motion``, and its true labels; lesions as (R, A, S, radius) in mm.

    ``another_head`` gives a head of the same outline with other sulci.
    """
    matrix = affine(orientation, spacing_ijk, shape_kji)
    points = grid(shape_kji, matrix)
    # Sub-voxel samples along the slices, as thick slices average what is in them.
    normal = matrix[:3, 2] / 4
    image, labels = 0.0, None
    for step in (-1.5, -0.5, 0.5, 1.5):
        moved = np.moveaxis(points, 0, -1) + step * normal
        if motion is not None:
            moved = rigid.apply(rigid.invert(motion), moved)
        x, y, z = np.moveaxis(moved, -1, 0)
        if another_head:
            # The inside of a head that lies crosswise, within the same outline.
            painted, own = paint(np.stack([0.8 * y, 1.2 * x, z]))
            outline, own = paint(np.stack([x, y, z]))
            outside = (x / 69) ** 2 + (y / 87) ** 2 + (z / 80) ** 2 > 1
            painted = np.where(outside, outline, painted)
        else:
            painted, own = paint(np.stack([x, y, z]))
        # The lesions of the painted head give way to those asked for.
        painted = np.where(own == 3, 100, painted)
        own = np.where(own == 3, 0, own).astype(np.uint8)
        for *centre, radius in lesions:
            inside = sum((p - c) ** 2 for p, c in zip((x, y, z), centre, strict=True)) <= radius**2
            painted, own = np.where(inside, LESION_LEVEL, painted), np.where(inside, 3, own).astype(np.uint8)
        image = image + painted / 4
        labels = own if labels is None else np.where(labels == 3, labels, own)
    noisy = gain * (image + np.random.default_rng(seed).normal(0, 2.0, image.shape))
    # A voxel is lesion where it looks like one, as a reader would draw it.
    labels = np.where((labels == 3) & (image < 130), 0, labels).astype(np.uint8)
    return Volume(noisy.astype(np.float32), matrix, name), labels
