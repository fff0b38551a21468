"""Brain tissue of a study in which a lesion can arise: not fluid, vessels within it, bone or skin.

The rough brain mask includes the cisterns at the skull base, whose isolated bright pixels resemble tissue. An opening
keeps brain, which is thick, and removes thin structures within dark fluid.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..preprocessing.brain_mask import OPENING_MM
from . import noise


def parenchyma(image: np.ndarray, brain: np.ndarray, spacing: tuple[float, float, float], axis: int) -> np.ndarray:
    """Brain tissue of one study.

    Parameters
    ----------
    image : ndarray, shape (K, J, I)
        From :func:`~flairseg.longitudinal.harmonise.harmonise`: shares of the brain's median.
    brain : ndarray of bool, same shape
        Rough brain mask.
    spacing : tuple of float
        Millimetres along K, J, I.
    axis : int
        Array axis that runs through the slices; each slice is judged separately.

    Returns
    -------
    ndarray of bool, same shape
    """
    offsets = [np.arange(-n, n + 1) * mm for n, mm in ((_steps(mm, k == axis), mm) for k, mm in enumerate(spacing))]
    distance = sum(np.square(along) for along in np.meshgrid(*offsets, indexing="ij"))
    disk = distance <= (OPENING_MM / 2) ** 2
    solid = brain & (image > noise.SOLID[0])
    out: np.ndarray = ndimage.binary_dilation(ndimage.binary_erosion(solid, disk, border_value=1), disk)
    return out


def _steps(mm: float, through: bool) -> int:
    """Radius of the opening in steps of the grid."""
    return 0 if through else int(OPENING_MM / 2 / mm + 1e-6)
