"""The geometry of a volume: voxel size, position and orientation, and the comparison of two grids.

Everything that FlairSeg derives from an affine is derived here, once: spacing, voxel volume, ITK's LPS form, whether
two images share their voxels, and where a cropped or re-ordered part belongs on a whole grid.

**Tolerance.** Two grids are the same if they have the same shape and no corner voxel centre of one is farther from
its counterpart than :data:`GRID_TOLERANCE_VOXELS` = 0.1 of the smallest voxel edge of the two. Corners bound the
displacement of all voxels, since the difference of two affine maps is affine; along an axis with one voxel a second
one is assumed, so that the thickness of a single slice counts. A tenth of a voxel admits what headers
lose by rounding (single precision in NIfTI, decimal strings in DICOM and MetaImage: below 0.02 mm over a head) and is
a fifth of the half voxel by which two conventions of the origin (voxel centre, voxel corner) differ, so that this
error is found in every image. Callers may pass another tolerance in mm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import GridMismatchError, InvalidGeometryError

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Largest displacement of a corner voxel centre between grids that count as one, in units of the smallest voxel edge.
GRID_TOLERANCE_VOXELS = 0.1
#: Lengths that differ by less are equal, mm: single-precision headers make 1.00000002 or 0.99999998 mm of the 1 mm of
#: an oblique grid, direction cosines of six decimals somewhat more. Lengths are compared with limits by this margin.
ROUNDING_MM = 1e-4

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LAST_ROW = np.array([0.0, 0.0, 0.0, 1.0])
_LETTERS = ("LR", "PA", "IS")


Item = TypeVar("Item")


def triple(values: Iterable[Item]) -> tuple[Item, Item, Item]:
    """Exactly three values as a tuple."""
    first, second, third = values
    return first, second, third


def spacing_of(ijk_to_ras: np.ndarray) -> tuple[float, float, float]:
    """Voxel size in mm along I, J, K of an affine (4 x 4 or 3 x 3)."""
    return triple(float(s) for s in np.linalg.norm(np.asarray(ijk_to_ras, float)[:3, :3], axis=0))


def voxel_volume_of(ijk_to_ras: np.ndarray) -> float:
    """Volume of a voxel in mm3 of an affine (4 x 4 or 3 x 3)."""
    return float(abs(np.linalg.det(np.asarray(ijk_to_ras, float)[:3, :3])))


def is_right_handed(ijk_to_ras: np.ndarray) -> bool:
    """Whether the I, J, K axes of an affine (4 x 4 or 3 x 3) form a right-handed system."""
    return bool(np.linalg.det(np.asarray(ijk_to_ras, float)[:3, :3]) > 0)


def directions_of(ijk_to_ras: np.ndarray) -> np.ndarray:
    """Unit vectors (columns, RAS) along I, J, K of an affine: ndarray (3, 3).

    Raises
    ------
    InvalidGeometryError
        If an axis has no length.
    """
    spacing = np.asarray(spacing_of(ijk_to_ras))
    if not (spacing > 0).all():
        raise InvalidGeometryError(
            "A voxel axis of the image has zero length.", "Export the image again.", code="no-voxel-size"
        )
    out: np.ndarray = np.asarray(ijk_to_ras, float)[:3, :3] / spacing
    return out


def dominant_axes(ijk_to_ras: np.ndarray) -> np.ndarray:
    """RAS axis (0 R, 1 A, 2 S) that each of the I, J, K axes follows most closely, each used once: int (3,)."""
    direction = np.abs(directions_of(ijk_to_ras))
    axes = np.full(3, -1)
    for _ in range(3):
        ras, voxel = np.unravel_index(np.argmax(direction), (3, 3))
        axes[voxel] = ras
        direction[ras, :] = -1
        direction[:, voxel] = -1
    return axes


def flip_lps(matrix: np.ndarray) -> np.ndarray:
    """A map between points (4 x 4) in RAS, written for LPS, or the reverse."""
    out: np.ndarray = _LPS_TO_RAS @ np.asarray(matrix, float) @ _LPS_TO_RAS
    return out


def flip_lps_points(points: np.ndarray) -> np.ndarray:
    """Points or displacements (..., 3) in RAS mm as LPS mm, or the reverse; single precision is kept."""
    points = np.asarray(points)
    kind = points.dtype if points.dtype.kind == "f" else np.dtype(float)
    return points * np.array((-1, -1, 1), kind)


def lps_affine(ijk_to_ras: np.ndarray) -> np.ndarray:
    """An affine from indices to RAS (4 x 4) as one to LPS, or the reverse."""
    out: np.ndarray = _LPS_TO_RAS @ np.asarray(ijk_to_ras, float)
    return out


@dataclass(frozen=True)
class Placement:
    """Position of a part on a full grid, voxel on voxel.

    Attributes
    ----------
    order : tuple of 3 int
        For each array axis (K, J, I) of the whole the array axis of the part that runs along it.
    flips : tuple of 3 bool
        For each array axis of the whole whether the part runs the other way.
    start : tuple of 3 int
        Index (K, J, I) of the part's first voxel on the whole, after re-ordering; may be negative.
    shape : tuple of 3 int
        Shape (K, J, I) of the part after re-ordering.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    def arrange(self, array: np.ndarray) -> np.ndarray:
        """The part (..., K, J, I) in the whole's axis order and direction: a view."""
        lead = array.ndim - 3
        moved = np.transpose(array, (*range(lead), *(lead + axis for axis in self.order)))
        return moved[(..., *(slice(None, None, -1) if flip else slice(None) for flip in self.flips))]

    def overlap(
        self, whole: tuple[int, int, int]
    ) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]] | None:
        """Slices (K, J, I) of the whole and of the arranged part that hold the same voxels; None if there are none."""
        here, there = [], []
        for first, n, size in zip(self.start, self.shape, whole, strict=True):
            low, high = max(first, 0), min(first + n, size)
            if low >= high:
                return None
            here.append(slice(low, high))
            there.append(slice(low - first, high - first))
        return triple(here), triple(there)


def _is_off(last_row: np.ndarray) -> bool:
    """Whether the last row of an affine (finite) is not 0 0 0 1; ``np.allclose`` takes ten times as long."""
    return bool((np.abs(last_row - _LAST_ROW) > 1e-8 + 1e-5 * _LAST_ROW).any())


@dataclass(frozen=True, eq=False)
class VolumeGeometry:
    """A voxel grid in space.

    Parameters
    ----------
    shape : tuple of 3 int
        Number of voxels along K, J, I (array order).
    ijk_to_ras : ndarray, shape (4, 4)
        Affine from voxel indices (I, J, K) to RAS mm; copied, and read-only afterwards.
    alternatives : tuple of ndarray, shape (4, 4)
        Other placements that the same header gives (NIfTI's qform beside its sform), for :meth:`reconcile` alone.

    Raises
    ------
    InvalidGeometryError
        If the affine is not 4 x 4, not finite, or its last row is not 0 0 0 1.

    Examples
    --------
    >>> grid = VolumeGeometry((20, 256, 192), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> grid.spacing, grid.voxel_volume_mm3, grid.orientation
    ((1.0, 1.0, 3.0), 3.0, 'RAS')
    """

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    alternatives: tuple[np.ndarray, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        affine = np.array(self.ijk_to_ras, dtype=float)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or _is_off(affine[3]):
            raise InvalidGeometryError(
                "The image's position in space is not given by finite numbers (an affine matrix of 4 x 4).",
                "Export the image again as .nii.gz, .nrrd or .mha, for instance from 3D Slicer.",
                code="invalid-affine",
            )
        affine.flags.writeable = False
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "ijk_to_ras", affine)

    def __eq__(self, other: object) -> bool:
        """Exact equality; :meth:`matches` allows for rounding."""
        if not isinstance(other, VolumeGeometry):
            return NotImplemented
        return self.shape == other.shape and bool(np.array_equal(self.ijk_to_ras, other.ijk_to_ras))

    def __hash__(self) -> int:
        return hash((self.shape, (self.ijk_to_ras + 0.0).tobytes()))

    # --- from and to ITK

    @classmethod
    def from_itk(
        cls, size: tuple[int, ...], spacing: tuple[float, ...], direction: tuple[float, ...], origin: tuple[float, ...]
    ) -> VolumeGeometry:
        """From ITK's size (I, J, K), spacing (mm), direction (9, row by row, LPS) and origin (3, mm, LPS)."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(direction, (3, 3)) * np.asarray(spacing, float)
        affine[:3, 3] = origin
        return cls(triple(size[::-1]), lps_affine(affine))

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> VolumeGeometry:
        """Of a 3-D ``SimpleITK.Image``."""
        return cls.from_itk(image.GetSize(), image.GetSpacing(), image.GetDirection(), image.GetOrigin())

    def to_itk(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """ITK's spacing (3, mm), direction (9, row by row, LPS) and origin (3, mm, LPS)."""
        lps = self.ijk_to_lps
        return (
            self.spacing,
            tuple(float(x) for x in directions_of(lps).ravel()),
            tuple(float(x) for x in lps[:3, 3]),
        )

    @property
    def ijk_to_lps(self) -> np.ndarray:
        """Affine (4 x 4) from voxel indices (I, J, K) to LPS mm, as ITK and DICOM count."""
        return lps_affine(self.ijk_to_ras)

    # --- measures

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along I, J, K."""
        return spacing_of(self.ijk_to_ras)

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        """Voxel size in mm along the array axes K, J, I."""
        return self.spacing[::-1]

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of a voxel in mm3."""
        return voxel_volume_of(self.ijk_to_ras)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of a voxel in ml."""
        return self.voxel_volume_mm3 / 1000.0

    @property
    def directions(self) -> np.ndarray:
        """Unit vectors (columns, RAS) along I, J, K: ndarray (3, 3)."""
        return directions_of(self.ijk_to_ras)

    @property
    def shear(self) -> float:
        """Largest cosine between two different axes: 0 where they are at right angles."""
        direction = self.directions
        return float(np.abs(direction.T @ direction - np.eye(3)).max())

    @property
    def is_right_handed(self) -> bool:
        """Whether I, J, K form a right-handed system."""
        return is_right_handed(self.ijk_to_ras)

    @property
    def orientation(self) -> str:
        """Three letters: the side towards which I, J and K increase, for instance ``LPS``."""
        axes = dominant_axes(self.ijk_to_ras)
        return "".join(_LETTERS[ras][int(self.ijk_to_ras[ras, n] > 0)] for n, ras in enumerate(axes))

    @property
    def corners(self) -> np.ndarray:
        """Centres of the eight corner voxels, RAS mm: ndarray (8, 3)."""
        last = np.array(self.shape[::-1]) - 1
        ijk = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * last
        out: np.ndarray = ijk @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]
        return out

    def index_map(self, other: VolumeGeometry) -> np.ndarray:
        """Affine (4 x 4) from indices (I, J, K) of another grid to indices of this one."""
        if self.voxel_volume_mm3 == 0:
            raise InvalidGeometryError(
                "The image's voxels have no volume (a singular affine).",
                "Export the image again.",
                code="no-voxel-size",
            )
        return np.linalg.solve(self.ijk_to_ras, other.ijk_to_ras)

    def part(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> VolumeGeometry:
        """The grid of a box of this one: its first voxel (K, J, I; may be outside) and its shape (K, J, I)."""
        affine = self.ijk_to_ras.copy()
        affine[:3, 3] += affine[:3, :3] @ np.asarray(start, float)[::-1]
        return VolumeGeometry(shape, affine)

    # --- comparison

    def tolerance_mm(self, other: VolumeGeometry) -> float:
        """Default tolerance of two grids in mm: :data:`GRID_TOLERANCE_VOXELS` of the smallest voxel edge."""
        return GRID_TOLERANCE_VOXELS * min(*self.spacing, *other.spacing)

    def displacement_mm(self, other: VolumeGeometry) -> float:
        """Largest distance in mm between the same corner voxel (by index, over this shape) of two grids."""
        shape = triple(max(n, 2) for n in self.shape)
        here, there = (VolumeGeometry(shape, g.ijk_to_ras).corners for g in (self, other))
        return float(np.linalg.norm(here - there, axis=1).max())

    def matches(self, other: VolumeGeometry, tolerance_mm: float | None = None) -> bool:
        """Whether two grids have the same voxels at the same places.

        Parameters
        ----------
        other : VolumeGeometry
        tolerance_mm : float, optional
            Largest displacement of a corner voxel centre; by default 0.1 of the smallest voxel edge of the two.
        """
        if self.shape != other.shape:
            return False
        limit = self.tolerance_mm(other) if tolerance_mm is None else tolerance_mm
        return self.displacement_mm(other) <= limit

    def same_size(self, other: VolumeGeometry) -> bool:
        """Whether two grids have the same shape and voxel size, wherever they are; tolerance as for :meth:`matches`."""
        last = np.maximum(np.array(self.shape[::-1]) - 1, 1)
        lengths = np.abs(np.subtract(self.spacing, other.spacing)) * last
        return self.shape == other.shape and bool((lengths <= self.tolerance_mm(other)).all())

    def differences(self, other: VolumeGeometry, tolerance_mm: float | None = None) -> tuple[str, ...]:
        """Describe the differences between two grids, one phrase each, own value first; empty if they match."""
        if self.matches(other, tolerance_mm):
            return ()
        limit = self.tolerance_mm(other) if tolerance_mm is None else tolerance_mm
        last = np.maximum(np.array(self.shape[::-1]) - 1, 1)
        found = []
        if self.shape != other.shape:
            found.append(f"{_numbers(self.shape[::-1])} against {_numbers(other.shape[::-1])} voxels")
        if (np.abs(np.subtract(self.spacing, other.spacing)) * last > limit).any():
            found.append(f"voxel size {_numbers(self.spacing)} against {_numbers(other.spacing)} mm")
        if self.orientation != other.orientation:
            found.append(f"axes {self.orientation} against {other.orientation}")
        else:
            cosines = np.clip((self.directions * other.directions).sum(axis=0), -1.0, 1.0)
            angles = np.arccos(cosines)
            if (angles * last * self.spacing > limit).any():
                found.append(f"directions {np.degrees(angles.max()):.3g} degrees apart")
        first, second = self.ijk_to_ras[:3, 3], other.ijk_to_ras[:3, 3]
        if (apart := float(np.linalg.norm(first - second))) > limit:
            found.append(f"first voxel at {_point(first)} against {_point(second)} mm (RAS), {apart:.4g} mm apart")
        return tuple(found) or (f"voxel centres up to {self.displacement_mm(other):.3g} mm apart",)

    def reconcile(self, other: VolumeGeometry) -> tuple[VolumeGeometry, bool]:
        """Another image's grid, by the placement on which both headers agree.

        Registration programs move the sform and leave the qform; of two files of one image, one program's has both
        and another's the one that it read. Where the grids differ as they are and one placement of the one header is
        a placement of the other, these are the same voxels.

        Parameters
        ----------
        other : VolumeGeometry

        Returns
        -------
        VolumeGeometry
            ``other``, or its shape at this grid's own placement.
        bool
            Whether another placement than the first one decided.
        """
        if self.shape != other.shape or not (self.alternatives or other.alternatives) or self.matches(other):
            return other, False
        own = [VolumeGeometry(self.shape, affine) for affine in (self.ijk_to_ras, *self.alternatives)]
        others = [VolumeGeometry(other.shape, affine) for affine in (other.ijk_to_ras, *other.alternatives)]
        if any(one.matches(two) for one in own for two in others):
            return VolumeGeometry(other.shape, self.ijk_to_ras), True
        return other, False

    # --- parts of a grid

    def locate(self, source: VolumeGeometry, tolerance_mm: float | None = None) -> Placement | None:
        """Locate the voxels of another grid on this one, if each coincides with a voxel of it (or of its continuation).

        Axes may be permuted or flipped, and the other grid may be cropped, or larger.

        Parameters
        ----------
        source : VolumeGeometry
        tolerance_mm : float, optional
            As for :meth:`matches`, over the corners of ``source``.

        Returns
        -------
        Placement or None
            None where the axes are not aligned, the voxel sizes differ, or the grids are shifted by part of a voxel.
        """
        change = self.index_map(source)
        turn = np.rint(change[:3, :3])
        used = np.abs(turn)
        if not ((used.sum(axis=0) == 1).all() and (used.sum(axis=1) == 1).all()):
            return None
        whole = np.eye(4)
        whole[:3, :3] = turn
        # The offset that fits the middle of the part: the first voxel alone would carry all of the rounding.
        centre = (np.array(source.shape[::-1]) - 1) / 2
        whole[:3, 3] = np.rint(change[:3, :3] @ centre + change[:3, 3] - turn @ centre)
        limit = self.tolerance_mm(source) if tolerance_mm is None else tolerance_mm
        if source.displacement_mm(VolumeGeometry(source.shape, self.ijk_to_ras @ whole)) > limit:
            return None
        ends = whole[:3, :3] @ np.stack([np.zeros(3), np.array(source.shape[::-1]) - 1], axis=1) + whole[:3, 3:]
        start = ends.min(axis=1)
        along = [int(np.flatnonzero(row)[0]) for row in turn]  # which I, J, K axis of the part runs along each
        order = triple(2 - along[2 - axis] for axis in range(3))
        return Placement(
            order,
            triple(bool(turn[2 - axis, along[2 - axis]] < 0) for axis in range(3)),
            triple(int(n) for n in start[::-1]),
            triple(source.shape[axis] for axis in order),
        )

    def place(
        self,
        array: np.ndarray,
        source: VolumeGeometry,
        *,
        fill: float = 0,
        clip: bool = False,
        tolerance_mm: float | None = None,
    ) -> np.ndarray:
        """Bring the voxels of a cropped or re-ordered part onto this grid: exact, nothing is interpolated.

        Parameters
        ----------
        array : ndarray, shape (..., K, J, I)
            Voxels of the part; leading axes (classes) are kept.
        source : VolumeGeometry
            The part's grid; its shape must be that of the array's last three axes.
        fill : float
            Value where the part has no voxels.
        clip : bool
            Whether voxels that differ from ``fill`` may be lost outside of this grid.
        tolerance_mm : float, optional
            As for :meth:`matches`.

        Returns
        -------
        ndarray, shape (..., K, J, I)
            A new array of the same type.

        Raises
        ------
        GridMismatchError
            If the grids are not aligned (code ``grid-mismatch``), or something would be lost (code ``outside-grid``).
        ValueError
            If the array does not have the shape of ``source``.
        """
        if tuple(array.shape[-3:]) != source.shape:
            raise ValueError(f"shape {array.shape} does not match the grid {source.shape}")
        placement = self.locate(source, tolerance_mm)
        if placement is None:
            raise GridMismatchError(
                f"The voxels of the two images do not coincide ({'; '.join(self.differences(source, tolerance_mm))}).",
                "Resample one to the grid of the other (labels with nearest-neighbour interpolation).",
                differences=list(self.differences(source, tolerance_mm)),
            )
        part = placement.arrange(array)
        out = np.full((*array.shape[:-3], *self.shape), fill, dtype=array.dtype)
        found = placement.overlap(self.shape)
        if found is not None:
            out[(..., *found[0])] = part[(..., *found[1])]
        lost = np.count_nonzero(array != fill) - np.count_nonzero(out != fill)
        if lost and not clip:
            raise GridMismatchError(
                f"{lost} marked voxels are outside of the image's grid.",
                "Check that the two images belong together.",
                code="outside-grid",
                voxels=int(lost),
            )
        return out


def _numbers(values: tuple[float, ...]) -> str:
    return " x ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)


def _point(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{x:.4g}" for x in point) + ")"
