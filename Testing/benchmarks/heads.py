"""The phantoms that the benchmark measures on. In a process each head is drawn once, and each scan of it made once.

Nothing heavy is imported here before a phantom is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import SimpleITK as sitk
    from flairseg.phantom import Phantom

#: Name -> (slices, rows, columns). The same head on every grid.
GRIDS = {
    "20 x 256 x 256": (20, 256, 256),
    "200 x 256 x 256": (200, 256, 256),
    "20 x 512 x 512": (20, 512, 512),
    # Isotropic: 1 mm.
    "136 x 230 x 230": (136, 230, 230),
    "320 x 512 x 512": (320, 512, 512),
}
#: Grids that another one is resampled to: to scan the head on them takes a minute.
RESAMPLED = {"320 x 512 x 512": "136 x 230 x 230"}
#: Largest difference that is added to a resampled voxel, so that it compresses no better than a scan.
NOISE = 12
#: Of every grid along columns, rows and slices.
EXTENT_MM = (230.4, 230.4, 136.0)


def spacing(grid: str) -> list[float]:
    """Voxel size of a grid along columns, rows and slices, mm."""
    return [extent / size for extent, size in zip(EXTENT_MM, reversed(GRIDS[grid]), strict=True)]


@lru_cache(maxsize=8)
def scan(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], seed: int, tilt_deg: float) -> Phantom:
    """A scan of the head of a seed."""
    from importlib import import_module

    # ``flairseg.phantom.phantom``: the package has a function of that name's module.
    module = import_module("flairseg.phantom.phantom")
    if module.build_head is not _head:
        _draw[0] = module.build_head
        module.build_head = _head
    return module.make_phantom(seed, shape, spacing_mm, scan=module.Scan(tilt_deg=tilt_deg))


_draw: list = [None]


def _head(seed: int, n_lesions: int | None = None, report: object = None):
    return _drawn(seed, n_lesions)


@lru_cache(maxsize=2)
def _drawn(seed: int, n_lesions: int | None):
    return _draw[0](seed, n_lesions)


def on_grid(grid: str, seed: int = 0) -> Phantom:
    """The head of a seed on a grid of :data:`GRIDS` that is scanned."""
    return scan(GRIDS[grid], tuple(spacing(grid)), seed, 4.0)


def write_grids(folder: Path, names: Sequence[str] = ()) -> dict[str, str]:
    """Write the head of seed 0 on some grids, by default on all; their paths."""
    import SimpleITK as sitk
    from flairseg.image.volume import volume_to_sitk

    paths = {}
    for name in names or GRIDS:
        path = folder / f"flair_{name.replace(' ', '')}.nii.gz"
        image = volume_to_sitk(on_grid(RESAMPLED.get(name, name)).volume)
        if name in RESAMPLED:
            image = resampled(image, name)
        # Level 1: as large as at higher ones within a hundredth, in a fraction of the time.
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
        paths[name] = str(path)
    return paths


def resampled(image: sitk.Image, grid: str) -> sitk.Image:
    """A scan (int16) on another grid over the same extent, with a little noise."""
    import numpy as np
    import SimpleITK as sitk

    wanted = sitk.Image(*reversed(GRIDS[grid]), sitk.sitkInt16)
    wanted.SetSpacing(spacing(grid))
    wanted.SetDirection(image.GetDirection())
    first = [(new / old - 1) / 2 for new, old in zip(spacing(grid), image.GetSpacing(), strict=True)]
    wanted.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(first))
    voxels = sitk.GetArrayFromImage(sitk.Resample(image, wanted, sitk.Transform(), sitk.sitkLinear, 0, sitk.sitkInt16))
    random = np.random.default_rng(0)
    noise = random.integers(-NOISE, NOISE + 1, voxels.shape[1:], np.int16)
    for one in voxels:
        one += np.roll(noise, int(random.integers(noise.size)))
    out = sitk.GetImageFromArray(voxels)
    out.CopyInformation(wanted)
    return out
