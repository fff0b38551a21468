"""Self-grade of a follow-up on its own scans: detection of injected lesions of known size, and false changes.

Lesions are injected into the last study (:mod:`.injecting`), which is segmented and compared again with the first
study; the share called new is reported by size. The last study is also compared with a re-positioned copy of itself,
without any change: what is called there is false. Both describe what this pair of scans allows, with its slices, noise
and contrast, not what a reader would see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from ..errors import FlairSegError
from ..image.volume import Volume, volume_to_sitk
from ..labels import LESION
from ..progress import CancelToken
from . import rigid
from .comparing import compare_studies
from .injecting import Injected, inject, own_contrast
from .result import FollowedLesion, FollowUp, SelfGrade, SizeGrade
from .space import CommonSpace, common_space
from .states import ENLARGING, MERGED, NEW, RESOLVED, STABLE
from .studies import Study

#: What stops it, as for :func:`flairseg.segment`.
Cancel = CancelToken | Callable[[], bool] | None
#: Volumes of the injected lesions, mm3 (balls of 3, 4, 5, 6, 8 and 10 mm across), and how many of each.
SIZES_MM3, EACH = (14.0, 34.0, 65.0, 113.0, 268.0, 524.0), 3
#: Largest rotation about each axis (degrees) and shift along it (mm), as between visits; fresh noise (of the median).
TURN_DEG, SHIFT_MM, NOISE = 4.0, 4.0, 0.02
#: Of places, shapes, motion and noise.
_SEED = 0


def grade(
    result: FollowUp,
    device: str = "auto",
    step: Callable[[float], None] | None = None,
    cancel: Cancel = None,
) -> SelfGrade:
    """Grade a follow-up on its own scans; costs two segmentations, a registration and two comparisons.

    Parameters
    ----------
    result : FollowUp
        Of studies that a model segmented: the same one is graded.
    device, cancel
        As for :func:`flairseg.segment`: those of the follow-up.
    step : callable, optional
        Called with the fraction done; may raise to cancel.

    Returns
    -------
    SelfGrade

    Raises
    ------
    FlairSegError
        If the labels of the first or last study were given: a model can be graded, a reader cannot.
    """
    tell = step or (lambda fraction: None)
    refuse_given(result.studies)
    rng = np.random.default_rng(_SEED)
    sizes, contrast, found = _sensitivity(result, device, cancel, rng, lambda f: tell(0.5 * f))
    tell(0.5)
    false, compared = _false_changes(result.studies[-1], device, cancel, rng, lambda f: tell(0.5 + 0.5 * f))
    tell(1.0)
    grades = tuple(
        SizeGrade(mm3, int(np.sum(sizes == mm3)), int(np.sum(found[sizes == mm3])))
        for mm3 in SIZES_MM3
        if (sizes == mm3).any()
    )
    return SelfGrade(grades, contrast, false, compared, _SEED)


def refuse_given(studies: Sequence[Study]) -> None:
    """Raise where labels were given."""
    if studies[0].given or studies[-1].given:
        raise FlairSegError(
            "A follow-up can be graded only where a model segmented its first and last study.",
            "Omit the label maps, or the grading.",
            code="self-grade-needs-model",
        )


def repositioned(volume: Volume, seed: int) -> tuple[Volume, np.ndarray]:
    """A scan of the same head in another position, and the motion (RAS, 4 x 4) from the scan to the copy.

    Parameters
    ----------
    volume : Volume
    seed : int
        Of the motion, the coil and the noise.

    Returns
    -------
    Volume
        On a grid of the same shape, float32.
    ndarray, shape (4, 4)
    """
    import SimpleITK as sitk

    rng = np.random.default_rng(seed)
    centre = volume.ijk_to_ras @ [*((np.array(volume.array.shape[::-1]) - 1) / 2), 1.0]
    motion = random_motion(rng, centre[:3])
    image = sitk.Cast(volume_to_sitk(volume), sitk.sitkFloat32)
    moved = sitk.Resample(image, image, rigid.to_sitk(rigid.invert(motion)), sitk.sitkBSpline, 0.0)
    array = sitk.GetArrayFromImage(moved)
    level = float(np.median(array[array > array.mean()]))
    coil = ndimage.zoom(
        rng.normal(0, 0.06, (3, 3, 3)), np.array(array.shape) / 3, order=1, grid_mode=True, mode="nearest"
    )
    array = array * (1 + coil) + rng.normal(0, NOISE * level, array.shape)
    return replace(volume, array=(rng.uniform(0.6, 1.6) * array).astype(np.float32), name=f"{volume.name}-copy"), motion


def random_motion(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """A rigid motion (RAS, 4 x 4) about ``centre``, of the size of re-positioning between visits."""
    from scipy.spatial.transform import Rotation

    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-TURN_DEG, TURN_DEG, 3), degrees=True).as_matrix()
    out[:3, 3] = centre + rng.uniform(-SHIFT_MM, SHIFT_MM, 3) - out[:3, :3] @ centre
    return out


# --- steps


def _sensitivity(
    result: FollowUp, device: str, cancel: Cancel, rng: np.random.Generator, tell: Callable[[float], None]
) -> tuple[np.ndarray, float, np.ndarray]:
    """(Volumes of the injected lesions, their contrast, which were found)."""
    from .registration import head_mask

    first, last = result.studies[0], result.studies[-1]
    mask = head_mask(last.volume)
    avoid = last.labels == LESION
    for lesion in result.lesions:
        kji = _on_grid(lesion.track.voxels, result.space, last.volume)
        avoid[tuple(kji.T)] = True
    contrast = own_contrast(last.volume, last.labels, mask)
    wanted = rng.permutation(np.repeat(SIZES_MM3, EACH))
    volume, injected = inject(last.volume, mask, avoid, wanted, [contrast] * len(wanted), rng)
    again = _segmented(volume, last, device, cancel, lambda f: tell(0.7 * f))
    space = CommonSpace(
        result.space.grid, (result.space.common_to_study[0], result.space.common_to_study[-1]), result.space.plane
    )
    compared = compare_studies(
        [first, again],
        space,
        [result.registrations[-1]],
        [head_mask(first.volume), mask],
        lambda f: tell(0.7 + 0.3 * f),
    )
    called = np.zeros(space.grid.array.shape, bool)
    for lesion in compared.lesions:
        if lesion.state in (NEW, ENLARGING, MERGED):
            called[tuple(lesion.track.voxels[lesion.track.inside[-1]].T)] = True
    found = np.array([_reached(one, called, space, last.volume) for one in injected], bool)
    return np.array([one.volume_mm3 for one in injected]), contrast, found


def _false_changes(
    study: Study, device: str, cancel: Cancel, rng: np.random.Generator, tell: Callable[[float], None]
) -> tuple[tuple[tuple[str, float], ...], int]:
    """Return the changes called in an unchanged copy, and the number of lesions compared."""
    from .registration import prepare, register

    volume, _ = repositioned(study.volume, int(rng.integers(2**31)))
    copy = _segmented(volume, study, device, cancel, lambda f: tell(0.6 * f))
    prepared = prepare(study.volume), prepare(copy.volume)
    found = register(*prepared, step=lambda f: tell(0.6 + 0.2 * f))
    masks = [one.mask for one in prepared]
    space = common_space([study.volume, copy.volume], [np.eye(4), found.a_to_b], masks, prepared[0].centre_ras)
    compared = compare_studies([study, copy], space, [found], masks, lambda f: tell(0.8 + 0.2 * f))
    changed = sorted(
        ((lesion.state, _volume(lesion)) for lesion in compared.lesions if lesion.state != STABLE),
        key=lambda pair: -pair[1],
    )
    return tuple(changed), len(compared.lesions)


def _volume(lesion: FollowedLesion) -> float:
    volumes = lesion.track.volumes_mm3
    return float(volumes[0] if lesion.state == RESOLVED else max(volumes))


def _segmented(volume: Volume, like: Study, device: str, cancel: Cancel, tell: Callable[[float], None]) -> Study:
    from ..segmentation.pipeline import segment

    # The very model that read the study, which may be the parent of the one that is in use.
    done = segment(volume, like.card, device, lambda fraction, stage: tell(fraction), cancel)
    return replace(like, volume=done.volume, labels=done.labels, probabilities=done.probabilities, warnings=(), added=0)


def _on_grid(voxels: np.ndarray, space: CommonSpace, volume: Volume) -> np.ndarray:
    """Voxels (K, J, I) of the common grid as those of the last study that contain them, without those outside of it."""
    to_voxels = np.linalg.inv(volume.ijk_to_ras) @ space.common_to_study[-1] @ space.grid.ijk_to_ras
    kji = np.round(rigid.apply(to_voxels, voxels[:, ::-1]))[:, ::-1].astype(int)
    return kji[((kji >= 0) & (kji < volume.array.shape)).all(axis=1)]


def _reached(one: Injected, called: np.ndarray, space: CommonSpace, volume: Volume) -> bool:
    """Whether a called change has a voxel of an injected lesion."""
    to_common = np.linalg.inv(space.grid.ijk_to_ras) @ rigid.invert(space.common_to_study[-1]) @ volume.ijk_to_ras
    kji = np.round(rigid.apply(to_common, one.voxels[:, ::-1]))[:, ::-1].astype(int)
    kji = kji[((kji >= 0) & (kji < called.shape)).all(axis=1)]
    return bool(called[tuple(kji.T)].any())
