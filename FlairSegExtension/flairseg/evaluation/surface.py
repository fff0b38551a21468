"""Distances between the surfaces of two masks in millimetres: HD95 and normalised surface Dice (NSD).

The surface of a mask is its voxels that have a face neighbour outside of it, the image's edge counting as outside, and
distances run between voxel centres: the definition of Metrics Reloaded and of MONAI, with which the tests compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image.geometry import ROUNDING_MM

#: Percentile of the robust Hausdorff distance.
ROBUST_PERCENTILE = 95


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of each surface voxel of one mask to the other mask's surface, mm; empty unless both have one.

    Attributes
    ----------
    to_reference : ndarray of float64
        One per surface voxel of the prediction.
    to_prediction : ndarray of float64
        One per surface voxel of the reference.
    prediction_voxels, reference_voxels : int
        Surface voxels of each mask.
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray
    prediction_voxels: int
    reference_voxels: int

    @property
    def hd95(self) -> float:
        """95th percentile of the distances in mm, the larger of both directions; NaN if a mask is empty.

        References
        ----------
        Huttenlocher DP et al. Comparing images using the Hausdorff distance. IEEE Trans Pattern Anal Mach Intell
        1993;15:850-863. Percentile of each direction, then the larger: Metrics Reloaded.
        """
        if not self.prediction_voxels or not self.reference_voxels:
            return float("nan")
        return float(max(np.percentile(d, ROBUST_PERCENTILE) for d in (self.to_reference, self.to_prediction)))

    def nsd(self, tolerance_mm: float) -> float:
        """Share of both surfaces that is within a tolerance of the other; 0 if one mask is empty, NaN if both are.

        Parameters
        ----------
        tolerance_mm : float
            A distance of exactly this much still agrees (to :data:`~flairseg.image.geometry.ROUNDING_MM`).

        References
        ----------
        Nikolov S et al. Clinically applicable segmentation of head and neck anatomy for radiotherapy. J Med Internet
        Res 2021;23:e26151. Surface voxels are counted, not weighted by area: Metrics Reloaded.
        """
        surfaces = self.prediction_voxels + self.reference_voxels
        if not surfaces:
            return float("nan")
        within = sum(np.count_nonzero(d <= tolerance_mm + ROUNDING_MM) for d in (self.to_reference, self.to_prediction))
        return within / surfaces


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing_kji: tuple[float, float, float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks.

    Parameters
    ----------
    prediction, reference : ndarray of bool, shape (K, J, I)
        An axis of length 1 is left out: a single slice has outlines, not surfaces.
    spacing_kji : tuple of float
        Voxel spacing in mm along K, J, I.

    Returns
    -------
    SurfaceDistances

    Examples
    --------
    >>> a, b = np.zeros((2, 3, 4, 4), bool)
    >>> a[0, 0, 0] = b[2, 0, 0] = True
    >>> surface_distances(a, b, (6.0, 1.0, 1.0)).hd95
    12.0
    """
    from scipy import ndimage

    long = [axis for axis, n in enumerate(prediction.shape) if n > 1] or [0]
    spacing = [spacing_kji[axis] for axis in long]
    single = tuple(axis for axis in range(prediction.ndim) if axis not in long)
    prediction, reference = (mask.squeeze(single) for mask in (prediction, reference))
    # The nearest surface voxel is within the box around both masks.
    box = ndimage.find_objects((prediction | reference).astype(np.uint8), 1)[0]
    if box is None:
        return SurfaceDistances(np.zeros(0), np.zeros(0), 0, 0)
    ours, theirs = (mask[box] & ~ndimage.binary_erosion(mask[box], border_value=0) for mask in (prediction, reference))
    counts = int(np.count_nonzero(ours)), int(np.count_nonzero(theirs))
    if not all(counts):
        return SurfaceDistances(np.zeros(0), np.zeros(0), *counts)
    to_reference = ndimage.distance_transform_edt(~theirs, sampling=spacing)[ours]
    to_prediction = ndimage.distance_transform_edt(~ours, sampling=spacing)[theirs]
    return SurfaceDistances(to_reference, to_prediction, *counts)
