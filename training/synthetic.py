"""Synthetic FLAIR slices from anatomical label maps, with simulated lesions (after SynthSeg, Billot et al. 2023).

Each sample is a slice with its two neighbours, of random orientation, thickness and slice distance, through a
whole-head label map (``head_label_maps``). Tissues have random FLAIR-like intensities. Lesions are taken from a prior
of real masks in MNI space (``ljubljana_lesions_mni``), random ellipsoids and irregular periventricular layers; normal
periventricular WMH is a rim around the ventricles. Partial volume effects result from averaging intensities and class
memberships over sub-slices of about 1 mm.

The frame is that of the default model: fixed pixel size, centred on the brain.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flairseg.adapt.framed import quantise
from scipy import ndimage

from .data import HELD_BACK_LESIONS, data_folder, refuse_held_back

log = logging.getLogger("flairseg.training")

VENTRICLE_LABELS = (4, 43, 5, 44, 14, 15)
WHITE_MATTER_LABELS = (2, 41, 7, 46, 16, 28, 60)
#: First extra-cerebral label (502..530: skull, scalp, eyes, vessels).
FIRST_EXTRACEREBRAL = 500
#: Minimum intensity of the rim relative to the median of the brain to count as normal WMH (:mod:`.normal_rule`: 1.27).
RIM_CONTRAST = 1.22
#: Bounding box of the brain in MNI152 space, RAS mm, by which masks of the lesion prior are fitted to a head.
MNI_BRAIN = np.array([[-71.0, -106.0, -62.0], [71.0, 72.0, 82.0]])

#: Tissue, labels, and range of its mean intensity relative to white matter; the first match counts.
_TISSUES: tuple[tuple[str, tuple[int, ...], tuple[float, float]], ...] = (
    ("white matter", (2, 41), (0.97, 1.03)),
    ("cerebellar white matter", (7, 46), (0.9, 1.05)),
    ("brain stem", (16, 28, 60), (0.92, 1.12)),
    ("cortex", (3, 42), (1.05, 1.45)),
    ("cerebellar cortex", (8, 47), (1.0, 1.3)),
    ("hippocampus, amygdala", (17, 53, 18, 54, 26, 58), (1.15, 1.5)),
    ("thalamus", (10, 49), (1.0, 1.25)),
    ("caudate, putamen", (11, 50, 12, 51, 136, 163, 137, 164, 25, 57), (1.05, 1.35)),
    ("pallidum", (13, 52), (0.75, 1.1)),
    ("ventricles", VENTRICLE_LABELS, (0.1, 0.5)),
    ("CSF", (24,), (0.1, 0.6)),
    ("skull", (515,), (0.02, 0.3)),
    ("marrow", (516,), (0.1, 1.2)),
    ("sinus, dura", (514,), (0.1, 0.9)),
)


@dataclass
class Head:
    """Prepared label map of a head.

    Attributes
    ----------
    labels : ndarray of uint8, shape (K, J, I)
        Indices into ``table``.
    ventricle_mm : ndarray of uint8, shape (K, J, I)
        Distance to the ventricles in tenths of a millimetre, at most 25.5 mm.
    ijk_to_ras : ndarray, shape (4, 4)
    brain : ndarray, shape (2, 3)
        Bounding box of the brain, RAS mm.
    table : ndarray of int, shape (labels,)
        Original labels.
    """

    labels: np.ndarray
    ventricle_mm: np.ndarray
    ijk_to_ras: np.ndarray
    brain: np.ndarray
    table: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Sampling grid of the sub-slices of a slice, in RAS mm of a head.

    Attributes
    ----------
    shape : tuple of int
        (sub-slices, rows, columns).
    origin : ndarray, shape (3,)
        RAS of point (0, 0, 0).
    axes : ndarray, shape (3, 3)
        RAS per sub-slice, row and column, as columns.
    """

    shape: tuple[int, int, int]
    origin: np.ndarray
    axes: np.ndarray

    def sample(self, voxels: np.ndarray, ijk_to_ras: np.ndarray, outside: int = 0) -> np.ndarray:
        """Values of an array (K, J, I) at the grid's points, by nearest neighbour."""
        inverse = np.linalg.inv(ijk_to_ras)
        # affine_transform takes input coordinates (K, J, I) as a function of (sub-slice, row, column).
        matrix = (inverse[:3, :3] @ self.axes)[::-1]
        start = (inverse[:3, :3] @ self.origin + inverse[:3, 3])[::-1]
        return ndimage.affine_transform(voxels, matrix, start, output_shape=self.shape, order=0, cval=outside)


@dataclass(frozen=True)
class Cut:
    """Orientation and position of the slices of a sample.

    Attributes
    ----------
    head : Head
    rows, columns, normal : ndarray, shape (3,)
        RAS mm per frame row, per frame column, and per millimetre along the slice normal.
    centre : ndarray, shape (3,)
        Centre of the frame, RAS mm.
    """

    head: Head
    rows: np.ndarray
    columns: np.ndarray
    normal: np.ndarray
    centre: np.ndarray

    def grid(self, offsets: np.ndarray, size: tuple[int, int]) -> Grid:
        """Grid of sub-slices at ``offsets`` (mm along the normal) with ``size`` (rows, columns)."""
        corner = self.centre - self.rows * (size[0] - 1) / 2 - self.columns * (size[1] - 1) / 2
        step = (offsets[1] - offsets[0]) if len(offsets) > 1 else 1.0
        axes = np.stack([self.normal * step, self.rows, self.columns], axis=1)
        return Grid((len(offsets), *size), corner + self.normal * offsets[0], axes)


def load_head(path: Path) -> Head:
    """Read the label map of a head."""
    import SimpleITK as sitk
    from flairseg.image.volume import volume_from_sitk

    volume = volume_from_sitk(sitk.ReadImage(str(path)))
    table, compact = np.unique(volume.array, return_inverse=True)
    labels = compact.reshape(volume.array.shape).astype(np.uint8)
    outside = ~np.isin(volume.array, VENTRICLE_LABELS)
    distance = ndimage.distance_transform_edt(outside, sampling=volume.spacing[::-1])
    cerebral = (volume.array > 0) & (volume.array < FIRST_EXTRACEREBRAL) & (volume.array != 24)
    kji = np.argwhere(cerebral)
    ends = np.stack([np.percentile(kji, 0.2, axis=0), np.percentile(kji, 99.8, axis=0)])[:, ::-1]
    ras = ends @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]
    return Head(labels, np.minimum(distance * 10, 255).astype(np.uint8), volume.ijk_to_ras, np.sort(ras, axis=0), table)


def load_lesion_masks(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lesion masks (uint8, shape (K, J, I)) with at least 500 voxels (of 1 mm3), and their affines (RAS mm)."""
    from flairseg.io.label_maps import read_label_map
    from flairseg.io.label_meanings import PRESETS

    masks = []
    for path in sorted(folder.glob("*_lesions.nii.gz")):
        refuse_held_back(path.name, HELD_BACK_LESIONS)
        found = read_label_map(path, None, PRESETS["binary"])
        if np.count_nonzero(found.labels) >= 500:
            masks.append(((found.labels > 0).astype(np.uint8), found.geometry.ijk_to_ras))
    return masks


def _rotation(rng: np.random.Generator, degrees: tuple[float, float, float]) -> np.ndarray:
    """Rotation matrix (3, 3) about x, y, z by random angles, uniform within ± ``degrees``."""
    matrix = np.eye(3)
    for axis, limit in enumerate(degrees):
        angle = np.deg2rad(rng.uniform(-limit, limit))
        i, j = [a for a in range(3) if a != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Gaussian random field of unit variance with correlation length ``sigma`` pixels, made on a coarse grid."""
    step = max(1, int(sigma / 2))
    coarse = rng.standard_normal((shape[0] // step + 3, shape[1] // step + 3)).astype(np.float32)
    coarse = ndimage.gaussian_filter(coarse, sigma / step, mode="wrap")
    field = ndimage.zoom(coarse, step, order=1)[: shape[0], : shape[1]] if step > 1 else coarse[: shape[0], : shape[1]]
    return field / max(float(field.std()), 1e-6)


#: Plane -> RAS directions of rows, columns and slice normal, as in :class:`flairseg.image.slice_stack.SliceStack`.
_PLANES = {
    "axial": np.array([[0, -1, 0], [-1, 0, 0], [0, 0, 1]], float),
    "sagittal": np.array([[0, -1, 0], [0, 0, -1], [-1, 0, 0]], float),
    "coronal": np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float),
}


class SyntheticFlair:
    """Generator of training samples in the frame of the default model.

    Parameters
    ----------
    heads : list of Head
    lesions : list of (ndarray, ndarray)
        Lesion prior: masks and affines in MNI space, from :func:`load_lesion_masks`.
    size : tuple of int
        Frame (rows, columns).
    pixel_mm : float
        Pixel size of the frame.
    neighbour_mm : float
        Distance of the neighbouring slices.
    neighbours : bool
        Include the slices below and above; not needed for networks of single slices.
    noise : bool
        Add noise. Without it the slices are compressible, noise is added when they are used, and stripped pixels
        are -1.
    """

    def __init__(
        self,
        heads: list[Head],
        lesions: list[tuple[np.ndarray, np.ndarray]],
        size=(224, 192),
        pixel_mm=0.9,
        neighbour_mm=6.0,
        neighbours: bool = True,
        noise: bool = True,
    ) -> None:
        self.heads, self.lesions = heads, lesions
        self.neighbours, self.noise = neighbours, noise
        self.size, self.pixel_mm, self.neighbour_mm = size, pixel_mm, neighbour_mm

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Generate a sample.

        Returns
        -------
        image : ndarray of float32, shape (3, rows, columns), or (1, rows, columns) without neighbours
            Intensities relative to the median of the brain; slice below, the slice itself, slice above.
        labels : ndarray of uint8, shape (rows, columns)
            Classes 0..3 of the middle slice.
        """
        head = self.heads[rng.integers(len(self.heads))]
        plane = str(rng.choice(["axial", "sagittal", "coronal"], p=[0.9, 0.06, 0.04]))
        thickness = float(
            rng.choice([rng.uniform(5.5, 8.5), rng.uniform(2.5, 5.5), rng.uniform(1.0, 2.5)], p=[0.45, 0.35, 0.2])
        )
        profile_mm = thickness * rng.uniform(0.75, 1.0) if thickness > 2 else max(thickness, 1.0)
        apart = thickness * max(1, round(self.neighbour_mm / thickness))
        directions = _PLANES[plane] @ _rotation(rng, (22.0, 8.0, 8.0))
        stretch = rng.uniform(0.9, 1.12) * np.exp(rng.normal(0, 0.03, 3))
        mirror = np.array([rng.choice([-1.0, 1.0]), 1.0, 1.0])
        centre = head.brain.mean(axis=0) + rng.normal(0, 3.0, 3)
        reach = (head.brain[1] - head.brain[0]) @ np.abs(directions[2]) / 2
        position = rng.uniform(-0.8, 0.95) * reach if rng.random() < 0.35 else rng.uniform(-0.3, 0.6) * reach
        axes = directions / stretch * mirror
        cut = Cut(head, axes[0] * self.pixel_mm, axes[1] * self.pixel_mm, axes[2], centre)
        scene = self._scene(rng, head)
        sub = max(1, round(profile_mm))
        shifts = (-apart, 0.0, apart) if self.neighbours else (0.0,)
        image = np.empty((len(shifts), *self.size), np.float32)
        membership, brain = None, []
        for n, shift in enumerate(shifts):
            offsets = position + shift + (np.arange(sub) - (sub - 1) / 2) * profile_mm / sub
            image[n], members, inside = self._slice(rng, cut, offsets, scene)
            brain.append(image[n][inside])
            if shift == 0:
                membership = members
        labels = np.argmax(membership, axis=0).astype(np.uint8)
        labels[membership[3] > 0.45] = 3
        pixels = np.concatenate(brain)
        median = float(np.median(pixels)) if pixels.size > 5000 else 1.08
        # A reader would not annotate a rim that partial volume makes hardly brighter than the brain.
        labels[(labels == 2) & (image[len(shifts) // 2] < RIM_CONTRAST * median)] = 0
        return self._acquire(rng, image, scene["stripped"]) / np.float32(median), labels

    def _scene(self, rng: np.random.Generator, head: Head) -> dict:
        """Random tissue intensities and lesion parameters of a head."""
        contrast = rng.uniform(0.5, 1.2)
        lut = np.zeros(len(head.table), np.float32)
        # One intensity per tissue, so that left and right agree, with slight variation per label.
        levels = [(members, low, rng.uniform(low, high)) for _, members, (low, high) in _TISSUES]
        for index, value in enumerate(head.table):
            low, level = next(
                ((low, level) for members, low, level in levels if value in members), (0.0, rng.uniform(0.05, 1.2))
            )
            lut[index] = (1 + (level - 1) * contrast if low > 0.7 else level) * rng.normal(1, 0.015)
        fluid = rng.uniform(0.08, 0.5)
        for index, value in enumerate(head.table):
            if value in VENTRICLE_LABELS:
                lut[index] = fluid * rng.uniform(0.9, 1.1)
            elif value == 24:
                lut[index] = fluid * rng.uniform(0.8, 1.5)
            elif value in (511, 507):
                lut[index] = 0.0
        bright_fat = rng.random() < 0.6
        lut[head.table == 507] = rng.uniform(1.6, 3.5) if bright_fat else rng.uniform(0.15, 0.9)
        lut[head.table == 511] = rng.uniform(0.5, 2.0) if bright_fat else rng.uniform(0.1, 0.7)
        lut[head.table == 0] = rng.uniform(0.0, 0.04)
        sheets = rng.random()
        return {
            "lut": lut,
            "ventricle": np.isin(head.table, VENTRICLE_LABELS),
            "white": np.isin(head.table, WHITE_MATTER_LABELS),
            "cerebral": np.isin(head.table, (2, 41)),
            "brain": (head.table > 0) & (head.table < FIRST_EXTRACEREBRAL),
            "prior": self.lesions[rng.integers(len(self.lesions))] if rng.random() < 0.7 else None,
            "prior_shift": rng.normal(0, 4.0, 3),
            "blobs": rng.poisson(rng.choice([1, 4, 10])),
            "sheet_mm": 0.0 if sheets < 0.7 else rng.uniform(3.0, 14.0),
            "rim_mm": 0.0 if rng.random() < 0.1 else rng.uniform(1.0, 3.2),
            "rim_gain": rng.uniform(0.15, 0.5),
            "lesion_gain": rng.uniform(0.28, 0.95),
            "texture": rng.uniform(0.01, 0.06),
            "stripped": rng.random() < 0.35,
            "sheet_seed": int(rng.integers(2**31)),
            "blob_seed": int(rng.integers(2**31)),
        }

    def _slice(self, rng: np.random.Generator, cut: Cut, offsets: np.ndarray, scene: dict) -> tuple:
        """Intensities (H, W), class memberships (4, H, W) and brain mask (H, W) of a slice, means over sub-slices."""
        head, grid = cut.head, cut.grid(offsets, self.size)
        labels = grid.sample(head.labels, head.ijk_to_ras)
        distance = grid.sample(head.ventricle_mm, head.ijk_to_ras, outside=255) * np.float32(0.1)
        intensity = scene["lut"][labels]
        ventricle, white = scene["ventricle"][labels], scene["white"][labels]
        lesion = self._lesions(head, grid, scene) & white
        sheet_rng = np.random.default_rng(scene["sheet_seed"])
        wobble = _smooth_noise(sheet_rng, self.size, 5.0)
        if scene["sheet_mm"]:
            lesion |= scene["cerebral"][labels] & (distance < scene["sheet_mm"] * (0.6 + 0.6 * wobble))
        inside = scene["brain"][labels] & ~ventricle & (scene["lut"][labels] > 0.7)
        rim = np.zeros(grid.shape, bool)
        if scene["rim_mm"]:
            width = scene["rim_mm"] * (0.9 + 0.45 * _smooth_noise(sheet_rng, self.size, 7.0))
            rim = inside & ~lesion & (distance < width)
        soft = ndimage.gaussian_filter(lesion.astype(np.float32), (0, 0.6, 0.6))
        mottled = 1 + 0.15 * _smooth_noise(sheet_rng, self.size, 3.0)
        intensity = intensity * (1 + scene["lesion_gain"] * soft * mottled * ~ventricle)
        intensity = intensity + scene["rim_gain"] * rim * (1 - soft)
        members = np.stack([np.zeros(self.size), ventricle.mean(0), rim.mean(0), lesion.mean(0)]).astype(np.float32)
        members[0] = 1 - members.sum(0)
        # A thin rim shares its voxels with CSF: it counts where it makes them bright, even as a minority.
        members[2] *= 1.25
        image = intensity.mean(0)
        texture = _smooth_noise(rng, self.size, 1.2) * scene["texture"]
        brain = scene["brain"][labels].mean(0) > 0.5
        if scene["stripped"]:
            image = np.where(ndimage.binary_erosion(brain), image, 0.0)
        return image * (1 + texture), members, brain

    def _lesions(self, head: Head, grid: Grid, scene: dict) -> np.ndarray:
        """Lesions of the prior and random ellipsoids: bool, shape (sub-slices, rows, columns)."""
        out = np.zeros(grid.shape, bool)
        if scene["prior"] is not None:
            mask, affine = scene["prior"]
            fit = (MNI_BRAIN[1] - MNI_BRAIN[0]) / (head.brain[1] - head.brain[0])
            shift = MNI_BRAIN.mean(0) - head.brain.mean(0) * fit + scene["prior_shift"]
            out |= Grid(grid.shape, grid.origin * fit + shift, grid.axes * fit[:, None]).sample(mask, affine) > 0
        rng = np.random.default_rng(scene["blob_seed"])
        for _ in range(scene["blobs"]):
            self._add_ovoid(rng, out, head, grid)
        return out

    def _add_ovoid(self, rng: np.random.Generator, out: np.ndarray, head: Head, grid: Grid) -> None:
        """Add an ellipsoid lesion of 2 to 14 mm at a random position in white matter near the slice."""
        inverse = np.linalg.inv(head.ijk_to_ras)
        place = np.array(
            [
                rng.uniform(0, out.shape[0] - 1),
                rng.uniform(0.1, 0.9) * out.shape[1],
                rng.uniform(0.15, 0.85) * out.shape[2],
            ]
        )
        kji = np.round((inverse[:3, :3] @ (grid.origin + grid.axes @ place) + inverse[:3, 3])[::-1]).astype(int)
        if (
            (kji < 0).any()
            or (kji >= head.labels.shape).any()
            or head.table[head.labels[tuple(kji)]] not in WHITE_MATTER_LABELS
        ):
            return
        size = np.linalg.norm(grid.axes, axis=0)
        radius = np.exp(rng.uniform(np.log(1.0), np.log(7.0)))
        axes = radius * np.exp(rng.normal(0, 0.3, 2))
        angle = rng.uniform(0, np.pi)
        reach = int(np.ceil(axes.max() / size[1:].min())) + 1
        r0, c0 = int(place[1]), int(place[2])
        rows = np.arange(max(r0 - reach, 0), min(r0 + reach + 1, out.shape[1]))
        columns = np.arange(max(c0 - reach, 0), min(c0 + reach + 1, out.shape[2]))
        dr, dc = (rows - place[1])[:, None] * size[1], (columns - place[2])[None] * size[2]
        u, v = dr * np.cos(angle) + dc * np.sin(angle), -dr * np.sin(angle) + dc * np.cos(angle)
        plane = (u / axes[0]) ** 2 + (v / axes[1]) ** 2
        depth = ((np.arange(out.shape[0]) - place[0]) * size[0] / max(radius, 2.0)) ** 2
        out[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] |= depth[:, None, None] + plane[None] <= 1

    def _acquire(self, rng: np.random.Generator, image: np.ndarray, stripped: bool) -> np.ndarray:
        """Apply blur, bias field, gain per slice, and Rician noise."""
        sigma = rng.uniform(0.3, 0.9)
        image = ndimage.gaussian_filter(image, (0, sigma, sigma))
        rows, columns = np.mgrid[-1 : 1 : self.size[0] * 1j, -1 : 1 : self.size[1] * 1j].astype(np.float32)
        basis = np.stack([rows, columns, rows * columns, rows**2, columns**2])
        image = image * np.exp(np.tensordot(rng.normal(0, 0.08, 5), basis, 1))
        image = image * np.exp(rng.normal(0, 0.03, len(image)))[:, None, None]
        if not self.noise:
            return np.where(image > 0.02, image, -1).astype(np.float32) if stripped else image.astype(np.float32)
        noise = rng.uniform(0.005, 0.05)
        real = image + rng.normal(0, noise, image.shape)
        out = np.hypot(real, rng.normal(0, noise, image.shape))
        if stripped:
            out = out * (image > 0.02)
        return out.astype(np.float32)


def make_pool(
    data: Path, path: Path, count: int, seed: int, generator: type[SyntheticFlair] = SyntheticFlair, **arguments: Any
) -> None:
    """Generate samples and store them, normalised and quantised to uint8, in an ``.npz`` (temporary file, then rename).

    Parameters
    ----------
    data : Path
        Folder with ``head_label_maps`` and ``ljubljana_lesions_mni``.
    path : Path
        Destination.
    count : int
        Samples.
    seed : int
    generator : type of SyntheticFlair
    **arguments
        For ``generator``.
    """
    heads = [load_head(file) for file in sorted((data / "head_label_maps").glob("*.nii.gz"))]
    flair = generator(heads, load_lesion_masks(data / "ljubljana_lesions_mni"), **arguments)
    rng = np.random.default_rng(seed)
    images = np.empty((count, 3 if flair.neighbours else 1, *flair.size), np.uint8)
    labels = np.empty((count, *flair.size), np.uint8)
    for n in range(count):
        image, labels[n] = flair.sample(rng)
        images[n] = quantise((image - 1) / 0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two runs that start together draw the same pool.
    part = path.with_suffix(f".{np.random.SeedSequence().entropy}.part.npz")
    np.savez(part, images=images, labels=labels)
    part.replace(path)


def stored_pool(
    path: Path, count: int, seed: int, generator: type[SyntheticFlair] = SyntheticFlair, **arguments: Any
) -> Path:
    """Path of a pool, made with :func:`make_pool` from the data folder if it does not exist yet."""
    if not path.exists():
        log.info("drawing %d synthetic slices", count)
        make_pool(data_folder(), path, count, seed, generator, **arguments)
    return path
