"""Rigid motions of the head between studies, RAS millimetres: compose, invert, halve, average, write.

A motion is a 4 x 4 matrix with a rotation and a shift. ``a_to_b`` takes points of study a to the same anatomy in b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..image.geometry import flip_lps

if TYPE_CHECKING:
    import SimpleITK as sitk


def invert(motion: np.ndarray) -> np.ndarray:
    """Inverse of a rigid motion (4 x 4)."""
    out = np.eye(4)
    out[:3, :3] = motion[:3, :3].T
    out[:3, 3] = -motion[:3, :3].T @ motion[:3, 3]
    return out


def mean_motion(motions: Sequence[np.ndarray], centre: np.ndarray) -> np.ndarray:
    """The motion in the middle of several: the mean of their rotations, and of where they take ``centre``.

    Of two motions it is the half-way one: half of the rotation angle, the centre moved by half of the distance.

    Parameters
    ----------
    motions : sequence of ndarray, shape (4, 4)
    centre : ndarray, shape (3,)
        RAS mm, where accuracy matters (the middle of the brain).

    Returns
    -------
    ndarray, shape (4, 4)

    References
    ----------
    Moakher 2002, SIAM J. Matrix Anal. Appl. 24:1 (mean of rotations; SciPy's ``Rotation.mean``).
    """
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_matrix(np.stack([m[:3, :3] for m in motions])).mean().as_matrix()
    moved = np.mean([m[:3, :3] @ centre + m[:3, 3] for m in motions], axis=0)
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = moved - rotation @ centre
    return out


def angle_deg(motion: np.ndarray) -> float:
    """Angle of a motion's rotation, degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1))))


def apply(motion: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3), RAS mm, moved."""
    out: np.ndarray = points @ motion[:3, :3].T + motion[:3, 3]
    return out


def to_sitk(motion: np.ndarray) -> sitk.AffineTransform:
    """A motion (RAS) as a ``SimpleITK.AffineTransform`` (LPS)."""
    import SimpleITK as sitk

    matrix = flip_lps(motion)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(x) for x in matrix[:3, :3].ravel()])
    transform.SetTranslation([float(x) for x in matrix[:3, 3]])
    return transform


def from_sitk(transform: sitk.Transform) -> np.ndarray:
    """The RAS matrix (4 x 4) of a linear ``SimpleITK`` transform (LPS)."""
    out = np.eye(4)
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    out[:3, 3] = origin
    for n in range(3):
        out[:3, n] = np.array(transform.TransformPoint(tuple(np.eye(3)[n]))) - origin
    return flip_lps(out)


def itk_text(motion: np.ndarray) -> str:
    """A motion as an ITK transform file (text, LPS), which ITK, Slicer, ANTs and elastix read.

    Parameters
    ----------
    motion : ndarray, shape (4, 4)
        RAS mm. ITK's convention for resampling: it takes points of the target grid to the image that is resampled.
    """
    matrix = flip_lps(motion)
    numbers = " ".join(repr(float(x)) for x in (*matrix[:3, :3].ravel(), *matrix[:3, 3]))
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )
