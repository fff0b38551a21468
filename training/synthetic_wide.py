"""Synthetic FLAIR of wider variation in contrast and lesion location than :mod:`training.synthetic`.

Wider ranges of gray-white contrast, in-plane resolution (per direction), bias field, noise and gamma; additional small
juxtacortical and infratentorial lesions, which are rare in a prior of 24 patients; bright choroid plexus in the
ventricles, which is not a lesion. Single slices without neighbours.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .synthetic import Cut, Grid, Head, SyntheticFlair

CORTEX_LABELS = (3, 42)
CEREBRAL_WHITE_MATTER = (2, 41)
INFRATENTORIAL_LABELS = (7, 46, 16)
#: Probability of bright choroid plexus in a slice with ventricles.
CHOROID_SHARE = 0.3
#: Location -> range of the radius of lesions, mm.
LESION_MM = {"deep": (0.9, 6.0), "juxtacortical": (0.9, 3.0), "infratentorial": (0.9, 4.0)}


class WideFlair(SyntheticFlair):
    """Generator of single slices; parameters as for :class:`SyntheticFlair`."""

    def _scene(self, rng: np.random.Generator, head: Head) -> dict:
        """Random tissue intensities and lesion parameters of a head."""
        scene = super()._scene(rng, head)
        tissue = scene["brain"] & ~scene["ventricle"] & (scene["lut"] > 0.7)
        stretched = 1 + (scene["lut"] - 1) * rng.uniform(0.4, 1.25)
        scene["lut"] = np.where(tissue, stretched, scene["lut"]).astype(np.float32)
        counts = {"deep": (1, 3, 8), "juxtacortical": (0, 2, 5), "infratentorial": (0, 1, 3)}
        return scene | {
            "blobs": 0,
            "ovoids": {place: int(rng.poisson(rng.choice(means))) for place, means in counts.items()},
            "lesion_gain": rng.uniform(0.2, 1.0),
        }

    def _lesions(self, head: Head, grid: Grid, scene: dict) -> np.ndarray:
        """Lesions of the prior, and ellipsoids by location: bool, shape (sub-slices, rows, columns)."""
        out = super()._lesions(head, grid, scene)
        middle = Grid((1, *grid.shape[1:]), grid.origin + grid.axes[:, 0] * (grid.shape[0] // 2), grid.axes)
        values = head.table[middle.sample(head.labels, head.ijk_to_ras)[0]]
        white = np.isin(values, CEREBRAL_WHITE_MATTER)
        places = {
            "deep": white,
            "juxtacortical": white & ndimage.binary_dilation(np.isin(values, CORTEX_LABELS), iterations=3),
            "infratentorial": np.isin(values, INFRATENTORIAL_LABELS),
        }
        rng = np.random.default_rng(scene["blob_seed"])
        for place, count in scene["ovoids"].items():
            candidates = np.argwhere(places[place])
            if not len(candidates):
                continue
            share = 1.0 if place == "deep" else min(1.0, len(candidates) / 1000)
            for row, column in candidates[rng.integers(len(candidates), size=rng.binomial(count, share))]:
                _add_ellipsoid(rng, out, grid, (row, column), LESION_MM[place])
        return out

    def _slice(self, rng: np.random.Generator, cut: Cut, offsets: np.ndarray, scene: dict) -> tuple:
        """A slice, see :meth:`SyntheticFlair._slice`, sometimes with bright choroid plexus."""
        image, members, brain = super()._slice(rng, cut, offsets, scene)
        inside = members[1] > 0.5
        if inside.any() and rng.random() < CHOROID_SHARE:
            places = np.argwhere(inside)
            spots = np.zeros(image.shape, np.float32)
            for row, column in places[rng.integers(len(places), size=rng.integers(1, 4))]:
                spots[row, column] = rng.uniform(0.2, 0.9)
            sigma = rng.uniform(0.7, 2.0)
            image = image + ndimage.gaussian_filter(spots, sigma) * (2 * np.pi * sigma**2) * inside
        return image, members, brain

    def _acquire(self, rng: np.random.Generator, image: np.ndarray, stripped: bool) -> np.ndarray:
        """Apply gamma, anisotropic blur and a bias field in addition to :meth:`SyntheticFlair._acquire`."""
        image = np.maximum(image, 0) ** rng.uniform(0.75, 1.3)
        if rng.random() < 0.4:
            image = ndimage.gaussian_filter(image, (0, rng.uniform(0, 1.0), rng.uniform(0, 1.0)))
        rows, columns = np.mgrid[-1 : 1 : self.size[0] * 1j, -1 : 1 : self.size[1] * 1j].astype(np.float32)
        basis = np.stack([rows, columns, rows * columns, rows**2, columns**2])
        image = image * np.exp(np.tensordot(rng.normal(0, 0.08, 5), basis, 1))
        out = super()._acquire(rng, image, stripped)
        if not self.noise:
            return out
        noise = np.abs(rng.normal(0, 0.03))
        return np.where(out > 0, np.hypot(out + rng.normal(0, noise, out.shape), rng.normal(0, noise, out.shape)), 0)


def _add_ellipsoid(
    rng: np.random.Generator, out: np.ndarray, grid: Grid, place: tuple[int, int], reach_mm: tuple[float, float]
) -> None:
    """Add an ellipsoid to ``out`` (bool, shape (sub-slices, rows, columns)) around ``place`` (row, column)."""
    size = np.linalg.norm(grid.axes, axis=0)
    radius = float(np.exp(rng.uniform(*np.log(reach_mm))))
    axes = radius * np.exp(rng.normal(0, 0.3, 2))
    angle, middle = rng.uniform(0, np.pi), rng.uniform(0, max(out.shape[0] - 1, 0))
    reach = int(np.ceil(axes.max() / size[1:].min())) + 1
    rows = np.arange(max(place[0] - reach, 0), min(place[0] + reach + 1, out.shape[1]))
    columns = np.arange(max(place[1] - reach, 0), min(place[1] + reach + 1, out.shape[2]))
    dr, dc = (rows - place[0])[:, None] * size[1], (columns - place[1])[None] * size[2]
    u, v = dr * np.cos(angle) + dc * np.sin(angle), -dr * np.sin(angle) + dc * np.cos(angle)
    depth = ((np.arange(out.shape[0]) - middle) * size[0] / max(radius, 2.0)) ** 2
    plane = (u / axes[0]) ** 2 + (v / axes[1]) ** 2
    out[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] |= depth[:, None, None] + plane[None] <= 1
