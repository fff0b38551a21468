"""Distances between the surfaces of two masks in millimetres: HD95 and normalised surface Dice (NSD).

The surface of a mask consists of its voxels with a face neighbour outside it, or at the edge of the image; distances
are between voxel centres. This is the definition of Metrics Reloaded and MONAI; results are tested against MONAI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image.geometry import ROUNDING_MM

#: Percentile of the robust Hausdorff distance.
ROBUST_PERCENTILE = 95


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances of surface voxels to the surface of the other mask, mm; empty if a mask is empty.

    Attributes
    ----------
    to_reference : ndarray of float64, shape (surface voxels of the prediction,)
    to_prediction : ndarray of float64, shape (surface voxels of the reference,)
    prediction_voxels, reference_voxels : int
        Surface voxels of each mask.
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray
    prediction_voxels: int
    reference_voxels: int

    @property
    def hd95(self) -> float:
        """Maximum over both directions of the 95th percentile of distances, mm; NaN if a mask is empty.

        References
        ----------
        Huttenlocher DP et al. Comparing images using the Hausdorff distance. IEEE Trans Pattern Anal Mach Intell
        1993;15:850-863. Percentile per direction, then maximum: Metrics Reloaded.
        """
        if not self.prediction_voxels or not self.reference_voxels:
            return float("nan")
        return float(max(np.percentile(d, ROBUST_PERCENTILE) for d in (self.to_reference, self.to_prediction)))

    def nsd(self, tolerance_mm: float) -> float:
        """Share of both surfaces within a tolerance of the other; 0 if one mask is empty, NaN if both are.

        Parameters
        ----------
        tolerance_mm : float
            Maximum distance, inclusive (to :data:`~flairseg.image.geometry.ROUNDING_MM`).

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
        Axes of length 1 are ignored: the surface of a single slice is its outline.
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
    # The nearest surface voxel is in the bounding box of both masks.
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
