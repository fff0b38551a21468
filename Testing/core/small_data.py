"""A small stand-in for the training data: painted patients, label maps and lesion masks in the same folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from flairseg.image.volume import Volume
from flairseg.review.cases import REJECTED, CaseArchive, Verdict

from Testing.core.analytic_head import head_stack

SPACING_KJI = (14.0, 3.6, 3.6)
PATIENTS = ("a1", "b2", "c3", "d4", "e5", "f6")


def write_image(array: np.ndarray, spacing_ijk, path: Path, origin=(0.0, 0.0, 0.0)) -> None:
    """An axial LPS image."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in spacing_ijk])
    image.SetOrigin([float(o) for o in origin])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def painted_patient(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A head with a bright periventricular rim and two lesions, and its labels (1 and 3, as in the annotated data)."""
    image, brain = head_stack((6, 64, 56), SPACING_KJI, noise=0.02, seed=seed)
    labels = np.where(brain & (image < 500), 1, 0).astype(np.uint8)
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:64, :56]
    for k in (2, 3):
        row, column = rng.integers(18, 24), rng.integers(14, 42)
        lesion = (rows - row) ** 2 + (columns - column) ** 2 <= 6
        image[k][lesion], labels[k][lesion] = 1800, 3
    return image, labels


def write_patients(folder: Path, names=PATIENTS) -> Path:
    """``tabriz/sub-*/{flair,labels}.nii.gz``."""
    for seed, name in enumerate(names):
        image, labels = painted_patient(seed)
        for array, file in ((image.astype(np.int16), "flair"), (labels, "labels")):
            write_image(array, SPACING_KJI[::-1], folder / "tabriz" / f"sub-{name}" / f"{file}.nii.gz")
    return folder


def write_verdict(folder: Path, case: str, version: int, verdict: str, value: int = 3) -> None:
    """The next version of a case, as Slicer's panel keeps it; ``value`` marks the label map."""
    image, labels = painted_patient(0)
    grid = np.diag([-SPACING_KJI[2], -SPACING_KJI[1], SPACING_KJI[0], 1.0])
    marked = np.where(labels > 0, value, 0).astype(np.uint8)
    decided = Verdict(verdict, "motion" if verdict == REJECTED else "")
    saved = CaseArchive(folder).save(case, marked, Volume(image.astype(np.int16), grid), decided)
    assert saved.version == version


def label_map(white_matter: bool = True) -> np.ndarray:
    """A head in FreeSurfer's numbering, 3 mm voxels, (K, J, I) = (60, 72, 60), LPS order."""
    z, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 3.0 for n in (60, 72, 60)), indexing="ij")

    def ellipsoid(a, b, c, centre=(0.0, 0.0, 0.0)):
        return ((x - centre[0]) / a) ** 2 + ((y - centre[1]) / b) ** 2 + ((z - centre[2]) / c) ** 2 <= 1

    right = x < 0  # LPS: x grows to the left
    out = np.zeros(x.shape, np.uint16)
    out[ellipsoid(84, 102, 88)] = 507
    out[ellipsoid(78, 96, 82)] = 515
    out[ellipsoid(72, 89, 76)] = 24
    cortex = ellipsoid(67, 84, 71)
    out[cortex] = np.where(right, 42, 3)[cortex]
    white = ellipsoid(55, 72, 59)
    if white_matter:
        out[white] = np.where(right, 41, 2)[white]
    for side, value in ((-1, 43), (1, 4)):
        out[ellipsoid(9, 32, 18, (side * 14, 0, 6))] = value
    return out


def write_anatomy(folder: Path, white_matter: bool = True) -> Path:
    """``head_label_maps/*.nii.gz`` and ``ljubljana_lesions_mni/*_lesions.nii.gz``."""
    for n in (1, 2):
        write_image(
            np.roll(label_map(white_matter), n, axis=2), (3, 3, 3), folder / "head_label_maps" / f"head_{n:02d}.nii.gz"
        )
    z, y, x = np.meshgrid(np.arange(91) * 2.0 - 72, 126 - np.arange(109) * 2.0, 90 - np.arange(91) * 2.0, indexing="ij")
    mask = np.zeros(x.shape, np.uint8)
    for centre in ((28, -20, 20), (-28, 10, 24), (30, 25, 18)):
        mask[sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True)) < 100] = 1
    write_image(mask, (2, 2, 2), folder / "ljubljana_lesions_mni" / "patient01_lesions.nii.gz", (-90, -126, -72))
    return folder
