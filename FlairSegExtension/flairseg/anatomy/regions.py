"""Regions of lesions by the McDonald criteria, from the case's own ventricles and a registered atlas.

Definitions (MAGNIMS, Filippi et al. 2016 and 2019; McDonald criteria 2024, Montalban et al. 2025) and how they are
applied here, in this order:

1. ``infratentorial``: in the brain stem, the cerebellar peduncles or the cerebellum. At least half of the lesion's
   voxels are there.
2. ``periventricular``: abutting the lateral ventricles without white matter in between, the corpus callosum included.
   The lesion touches a voxel of the lateral ventricles - by a face, an edge or a corner in the slice, by a face from
   slice to slice - or comes as close to one as :data:`CONTACT_MM` in the same slice (centre to
   centre); normal periventricular hyperintensity in between does not count as white matter.
3. ``juxtacortical``: touching the cortex or in it ("juxtacortical or cortical"). Some voxels are in the cortex or share
   a face with it in the slice, see :data:`CORTEX_SHARE`.
4. ``deep_white_matter``: everything else, the deep gray nuclei included.

``unknown``: the atlas could not be registered, or half of the lesion or more is outside the atlas's brain.

A lesion that touches both ventricles and cortex is periventricular; it counts once. The criteria do not count lesions
of the deep gray nuclei as periventricular; an average caudate is not accurate enough to decide this beside the
ventricle, so a lesion that touches the lateral ventricles is periventricular here, and the reader decides.

References
----------
Filippi M et al. Lancet Neurol 2016;15:292-303 (doi:10.1016/S1474-4422(15)00393-2).
Filippi M et al. Brain 2019;142:1858-1875 (doi:10.1093/brain/awz144).
Montalban X et al. Lancet Neurol 2025;24:850-865 (doi:10.1016/S1474-4422(25)00270-4).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from ..errors import CaseWarning
from ..image.geometry import ROUNDING_MM, spacing_of, triple
from ..labels import CLASS_BY_VALUE, NORMAL_WMH, VENTRICLES
from ..lesions.boxes import Box, through_plane_axis
from ..lesions.components import Lesion, LesionMap

PERIVENTRICULAR = "periventricular"
JUXTACORTICAL = "juxtacortical"
INFRATENTORIAL = "infratentorial"
DEEP_WHITE_MATTER = "deep_white_matter"
UNKNOWN = "unknown"
#: All regions, in reporting order.
REGIONS = (PERIVENTRICULAR, JUXTACORTICAL, INFRATENTORIAL, DEEP_WHITE_MATTER, UNKNOWN)

#: Values of :attr:`RegionMap.codes`.
OUTSIDE, WHITE_MATTER, CORTEX, DEEP_GRAY, VENTRICLE, BRAIN_STEM, CEREBELLUM, FLUID = range(8)
#: Name and colour (RGB, 0..255) of each value, for pictures.
CODE_NAMES = {
    WHITE_MATTER: ("Cerebral white matter", (235, 235, 200)),
    CORTEX: ("Cortex", (205, 130, 70)),
    DEEP_GRAY: ("Deep gray nuclei", (150, 90, 190)),
    VENTRICLE: (CLASS_BY_VALUE[VENTRICLES].name, CLASS_BY_VALUE[VENTRICLES].rgb),
    BRAIN_STEM: ("Brain stem", (240, 200, 60)),
    CEREBELLUM: ("Cerebellum", (70, 170, 120)),
    FLUID: ("Fluid around the brain", (90, 150, 190)),
}
#: Share of voxels that makes a lesion infratentorial.
INFRATENTORIAL_SHARE = 0.5
#: Share of voxels off the brain above which no region is assigned: mostly scalp or neck segmented as lesion.
OUTSIDE_SHARE = 0.5
#: Gap between lesion and lateral ventricle, centre to centre in the slice, that still counts as contact, mm: outlines
#: of both are drawn half a voxel short in thick slices, where partial volume blurs the wall.
CONTACT_MM = 2.0
#: Share of a lesion's voxels (and at least two of them, if it has two) that must be in or beside the cortex.
CORTEX_SHARE = 0.05


@dataclass(frozen=True)
class Fit:
    """Quality of the atlas registration.

    Attributes
    ----------
    brain_dice : float
        Dice of the atlas's brain and the case's rough brain mask, within the image.
    ventricles_mm : float
        Mean distance between the case's ventricles and the atlas's, both ways, mm; NaN without ventricles.
    correlation : float
        Correlation of image and atlas contrast within the brain.
    scales : tuple of float
        Largest and smallest stretch of the affine map.
    """

    brain_dice: float
    ventricles_mm: float
    correlation: float
    scales: tuple[float, float]


@dataclass(frozen=True)
class RegionMap:
    """Anatomy on a case's own grid, as far as regions need it.

    Attributes
    ----------
    codes : ndarray of uint8, shape (K, J, I)
        :data:`OUTSIDE`, :data:`WHITE_MATTER`, :data:`CORTEX`...; all 0 if registration failed.
    lateral : ndarray of bool, shape (K, J, I)
        Voxels in which a ventricle would be a lateral one.
    found : bool
        Whether the registration succeeded; if not, every region is ``unknown`` and ``warnings`` give the reason.
    fit : Fit or None
        Quality of the registration.
    matrix : ndarray, shape (4, 4)
        Affine part of the way from the case's RAS mm into the atlas's.
    spacing : tuple of float
        Millimetres along I, J, K.
    normal : int
        Array axis that runs through the slices.
    warnings : tuple of str
    """

    codes: np.ndarray
    lateral: np.ndarray
    found: bool
    fit: Fit | None
    matrix: np.ndarray
    spacing: tuple[float, float, float]
    normal: int
    warnings: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along K, J, I."""
        return self.codes.shape

    def within(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """:attr:`codes` and :attr:`lateral` of a box (K, J, I)."""
        return self.codes[box], self.lateral[box]

    @classmethod
    def nothing(
        cls, shape: tuple[int, int, int], ijk_to_ras: np.ndarray, why: str, fit: Fit | None = None
    ) -> RegionMap:
        """The map of a case to which the atlas could not be registered."""
        return cls(
            np.zeros(shape, np.uint8), np.zeros(shape, bool), False, fit, np.eye(4), spacing_of(ijk_to_ras),
            through_plane_axis(ijk_to_ras), (CaseWarning(why, "regions-unknown"),),
        )  # fmt: skip


class CoarseRegionMap(RegionMap):
    """A map that was made on coarser voxels: whole only for those who ask for :attr:`codes` or :attr:`lateral`.

    Parameters
    ----------
    coarse : RegionMap
        Its ``codes`` and ``lateral`` are on the coarse voxels, the rest is as on the case's own grid.
    numbers : tuple of ndarray of int
        Of each voxel along K, J, I the index along the same axis of the coarse one that it belongs to.
    """

    _coarse: tuple[np.ndarray, np.ndarray]
    _numbers: tuple[np.ndarray, np.ndarray, np.ndarray]

    def __init__(self, coarse: RegionMap, numbers: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        for one in fields(coarse):
            if one.name not in ("codes", "lateral"):
                object.__setattr__(self, one.name, getattr(coarse, one.name))
        object.__setattr__(self, "_coarse", (coarse.codes, coarse.lateral))
        object.__setattr__(self, "_numbers", numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along K, J, I."""
        return tuple(len(line) for line in self._numbers)

    @property
    def codes(self) -> np.ndarray:
        """Tissue of each voxel, computed at each call."""
        return self.within(_EVERYWHERE)[0]

    @property
    def lateral(self) -> np.ndarray:
        """Voxels in which a ventricle would be a lateral one, computed at each call."""
        return self.within(_EVERYWHERE)[1]

    def within(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """:attr:`codes` and :attr:`lateral` of a box (K, J, I)."""
        at = np.ix_(*(line[part] for line, part in zip(self._numbers, box, strict=True)))
        codes, lateral = self._coarse
        return codes[at], lateral[at]


_EVERYWHERE = (slice(None),) * 3


def lesion_regions(lesions: LesionMap, labels: np.ndarray, regions: RegionMap) -> dict[int, str]:
    """Region of each lesion by its number.

    Parameters
    ----------
    lesions : LesionMap
        Of these labels.
    labels : ndarray of uint8, shape (K, J, I)
        Their ventricles and normal WMH are those that lesions touch: an edited outline counts as it is. Where they have
        no ventricles (a mask of lesions alone), dark voxels where the atlas expects ventricles take their place.
    regions : RegionMap

    Returns
    -------
    dict of int to str
        Values of :data:`REGIONS`.
    """
    if not regions.found:
        return {lesion.number: UNKNOWN for lesion in lesions.lesions}
    drawn = has_ventricles(labels)
    return {lesion.number: _region(lesion, lesions, labels, regions, drawn) for lesion in lesions.lesions}


def has_ventricles(labels: np.ndarray) -> bool:
    """Whether a label map (K, J, I) has any voxel of the ventricles."""
    return any(bool((part == VENTRICLES).any()) for part in labels)


def _region(lesion: Lesion, lesions: LesionMap, labels: np.ndarray, regions: RegionMap, drawn: bool) -> str:
    box, mask = lesions.mask(lesion.number)
    codes = regions.within(box)[0][mask]
    if np.mean((codes == BRAIN_STEM) | (codes == CEREBELLUM)) >= INFRATENTORIAL_SHARE:
        return INFRATENTORIAL
    if np.mean((codes == OUTSIDE) | (codes == FLUID)) >= OUTSIDE_SHARE:
        return UNKNOWN
    wide, inner = _widened(box, _margins(regions), labels.shape)
    around = np.zeros(tuple(s.stop - s.start for s in wide), bool)
    around[inner] = mask
    codes, lateral = regions.within(wide)
    ventricles = labels[wide] == VENTRICLES if drawn else (codes == VENTRICLE) & ~around
    if _abuts(around, labels[wide], ventricles & lateral, regions):
        return PERIVENTRICULAR
    if _touches_cortex(around, codes, regions.normal, lesion.voxels):
        return JUXTACORTICAL
    return DEEP_WHITE_MATTER


def _margins(regions: RegionMap) -> tuple[int, int, int]:
    """Voxels (K, J, I) around a lesion that are considered."""
    reach = [max(1, int((RIM_MM + ROUNDING_MM) / mm) + 1) for mm in regions.spacing[::-1]]
    reach[regions.normal] = 1
    return triple(reach)


#: Normal periventricular hyperintensity is followed this far from the lesion, mm: the thickest rims are not thicker.
RIM_MM = 4.0


def _abuts(lesion: np.ndarray, labels: np.ndarray, cavity: np.ndarray, regions: RegionMap) -> bool:
    """Whether a lesion touches ``cavity``, the lateral ventricles (all arrays of one box)."""
    from scipy import ndimage

    if not cavity.any():
        return False
    flat, across = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    flat[tuple(1 if axis == regions.normal else slice(None) for axis in range(3))] = True
    across[tuple(slice(None) if axis == regions.normal else 1 for axis in range(3))] = True
    if (ndimage.binary_dilation(lesion, flat | across) & cavity).any():
        return True
    rim = labels == NORMAL_WMH
    if rim.any():
        # Through the rim, slice by slice, no farther than the margin of the box.
        reached = ndimage.binary_dilation(lesion, flat, iterations=max(_margins(regions)), mask=rim | lesion)
        if (ndimage.binary_dilation(reached, flat) & cavity).any():
            return True
    sampling = list(regions.spacing[::-1])
    sampling[regions.normal] = 1000.0  # the same slice only
    return bool(ndimage.distance_transform_edt(~cavity, sampling=sampling)[lesion].min() <= CONTACT_MM + ROUNDING_MM)


def _touches_cortex(lesion: np.ndarray, codes: np.ndarray, normal: int, voxels: int) -> bool:
    """Whether a lesion is in the cortex or shares faces with it in the slice."""
    cortex = codes == CORTEX
    if not cortex.any():
        return False
    grown = cortex.copy()
    for axis in range(3):
        if axis == normal:
            continue
        front, back = [slice(None)] * 3, [slice(None)] * 3
        front[axis], back[axis] = slice(1, None), slice(None, -1)
        grown[tuple(front)] |= cortex[tuple(back)]
        grown[tuple(back)] |= cortex[tuple(front)]
    touching = np.count_nonzero(grown & lesion)
    return bool(touching >= max(min(2, voxels), CORTEX_SHARE * voxels))


def _widened(box: Box, by: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[Box, Box]:
    """A box with a margin, clipped to the grid, and the position of the box in it."""
    wide = triple(slice(max(s.start - b, 0), min(s.stop + b, n)) for s, b, n in zip(box, by, shape, strict=True))
    inner = triple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
    return wide, inner
