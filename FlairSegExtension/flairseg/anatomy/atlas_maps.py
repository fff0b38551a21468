"""Images of the atlas for registration and anatomy, precomputed by ``tools/build_atlas.py``: ``atlas_maps.npz``.

Computed in each process they would take longer than the registration of a case; the suite compares the file with the
functions here.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ..image.geometry import spacing_of, triple
from ..image.volume import Volume, volume_from_sitk, volume_to_sitk
from ..lesions.boxes import bounding_box
from .atlas import TISSUES, Atlas
from .case_images import VENTRICLE_WEIGHT, grown_along, shrunk

if TYPE_CHECKING:
    import SimpleITK as sitk

FILE = Path(__file__).with_name("atlas_maps.npz")
#: Voxels of the atlas along each axis that are averaged for the fits.
ATLAS_SHRINK = 2
#: Sigma that smooths outline and contrast, mm.
OUTLINE_MM, CONTRAST_MM = 3.0, 1.0
#: The atlas's probabilities are read about this far apart and interpolated in between, mm.
PRIOR_MM = 3.0
#: Voxels of the atlas around its ventricles whose side is assigned by distance.
SIDE_VOXELS = 8
#: Steps of the stored images, as a share of white matter: far finer than noise.
STEP = 1 / 15000


@lru_cache(maxsize=2)
def outline_image(atlas: Atlas, with_ventricles: bool) -> sitk.Image:
    """The atlas's outline as the search and the first affine fit match it."""
    return _image("outline") if with_ventricles else _made(atlas, atlas.outline(0.0), OUTLINE_MM)


@lru_cache(maxsize=1)
def contrast_image(atlas: Atlas) -> sitk.Image:
    """The atlas as FLAIR would show it."""
    return _image("contrast")


@lru_cache(maxsize=1)
def around_head(atlas: Atlas) -> np.ndarray:
    """1 in the brain, the fluid around it, and as far off as samples are apart; uint8, voxels of the atlas."""
    return _bits(atlas, "around")


@lru_cache(maxsize=1)
def lateral_side(atlas: Atlas) -> np.ndarray:
    """1 where the lateral ventricles are nearer than the third and fourth, else -1; int8, voxels of the atlas."""
    return 2 * _bits(atlas, "lateral").view(np.int8) - np.int8(1)


def tissue_extents(atlas: Atlas) -> list[np.ndarray | None]:
    """First and last voxel that holds something of each tissue, (K J I, 2); None for tissues that are everywhere."""
    whole = np.prod(atlas.levels.shape[1:])
    extents = _stored()["extents"]
    return [extent if np.prod(extent[:, 1] - extent[:, 0] + 1) < whole / 2 else None for extent in extents]


@lru_cache(maxsize=1)
def brain_extent(atlas: Atlas, least: float) -> np.ndarray:
    """First and last voxel whose probability of brain with its ventricles exceeds ``least``, (K J I, 2)."""
    return np.array(_extent(atlas.brain_levels > least * 255))


# --- the file


@cache
def _stored() -> dict[str, np.ndarray]:
    with np.load(FILE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _image(name: str) -> sitk.Image:
    values = _stored()[name] * np.float32(STEP)
    return volume_to_sitk(Volume(values, _stored()["ijk_to_ras"]))


def _bits(atlas: Atlas, name: str) -> np.ndarray:
    shape = atlas.levels.shape[1:]
    return np.unpackbits(_stored()[name], count=int(np.prod(shape))).reshape(shape)


def made_maps(atlas: Atlas) -> dict[str, np.ndarray]:
    """The content of the file, made from the atlas.

    Returns
    -------
    dict of str to ndarray
        ``outline`` and ``contrast`` (int16, in steps of :data:`STEP`, on the grid of the fits, ``ijk_to_ras``);
        ``around`` and ``lateral`` (bits of the atlas's voxels); ``extents``.
    """
    outline = _made(atlas, atlas.outline(VENTRICLE_WEIGHT), OUTLINE_MM)
    contrast = _made(atlas, atlas.contrast, CONTRAST_MM)
    coded = {name: volume_from_sitk(image) for name, image in (("outline", outline), ("contrast", contrast))}
    return {
        **{name: np.rint(volume.array / STEP).astype(np.int16) for name, volume in coded.items()},
        "ijk_to_ras": coded["outline"].ijk_to_ras,
        "around": np.packbits(_around_head(atlas)),
        "lateral": np.packbits(_is_lateral(atlas)),
        "extents": np.array([_extent(levels) for levels in atlas.levels], np.int16),
    }


def _made(atlas: Atlas, array: np.ndarray, sigma_mm: float) -> sitk.Image:
    import SimpleITK as sitk

    image = volume_to_sitk(shrunk(Volume(array, atlas.ijk_to_ras), (ATLAS_SHRINK,) * 3))
    out: sitk.Image = sitk.SmoothingRecursiveGaussian(image, sigma_mm)
    return out


def _extent(levels: np.ndarray) -> list[tuple[int, int]]:
    box = bounding_box(levels > 0, (True,)) or ()
    return [(part.start, part.stop - 1) for part in box]


def _around_head(atlas: Atlas) -> np.ndarray:
    near = atlas.sum_of(*TISSUES) >= 0.1 * 255
    for axis, mm in enumerate(spacing_of(atlas.ijk_to_ras)[::-1]):
        near = grown_along(near, axis, int(1.5 * PRIOR_MM / mm) + 1)
    return near


def _is_lateral(atlas: Atlas) -> np.ndarray:
    lateral = atlas.sum_of("lateral_ventricles") > 0.35 * 255
    others = (atlas.sum_of("third_ventricle") > 0.35 * 255) | (atlas.sum_of("fourth_ventricle") > 0.35 * 255)
    cavities = lateral | others
    # Distances are needed around the ventricles; voxels farther away take the nearest value.
    around = ndimage.find_objects(cavities.view(np.uint8))[0]
    margins = [
        (min(s.start, SIDE_VOXELS), min(n - s.stop, SIDE_VOXELS)) for s, n in zip(around, lateral.shape, strict=True)
    ]
    box = triple(slice(s.start - m[0], s.stop + m[1]) for s, m in zip(around, margins, strict=True))
    nearest = ndimage.distance_transform_edt(~cavities[box], return_distances=False, return_indices=True)
    side = ~others[box][tuple(nearest)]
    side = np.pad(side, [(s.start, n - s.stop) for s, n in zip(box, lateral.shape, strict=True)], mode="edge")
    # Between the hindbrain and the temporal horns the nearest ventricle is uninformative.
    side[atlas.sum_of("brain_stem", "cerebellum", "fourth_ventricle") > 0.5 * 255] = False
    return side
