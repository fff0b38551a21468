"""Build FlairSeg's head atlas for anatomical regions from annotated whole-head label maps.

    python -m tools.build_atlas [--data ../shared/data]  the atlas, and what the fits need of it
    python -m tools.build_atlas --maps                   what the fits need of the atlas that is there

FLAIR-like images of the label maps (``head_label_maps``: the training label maps of SynthSeg, Billot et al. 2023,
Apache-2.0) are registered group-wise, first affinely to their average, then with smooth demons. The labels are averaged
per class on a 2 mm grid together with their mirror images, so that the atlas is symmetric. It contains tissue
probabilities, 0..255; single heads cannot be recognised.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from flairseg.anatomy.atlas import FILE, SIGNAL, TISSUES, load_atlas
from flairseg.anatomy.atlas_maps import FILE as MAPS
from flairseg.anatomy.atlas_maps import made_maps

ROOT = Path(__file__).resolve().parents[1]
#: Tissue -> FreeSurfer labels. Hippocampus and amygdala count as cortex, vessels and old lesions as white matter.
FREESURFER = {
    "fluid": (24,),
    "white_matter": (2, 41, 25, 57, 30, 62, 77, 85, 137, 164, 251, 252, 253, 254, 255),
    "cortex": (3, 42, 17, 53, 18, 54),
    "deep_gray": (10, 11, 12, 13, 26, 28, 49, 50, 51, 52, 58, 60, 136, 163),
    "lateral_ventricles": (4, 43, 5, 44, 31, 63, 72),
    "third_ventricle": (14,),
    "fourth_ventricle": (15,),
    "brain_stem": (16,),
    "cerebellum": (7, 8, 46, 47),
}
SPACING_MM = 2.0
#: Voxels of the grid along x, y, z; its centre is the centre of the average brain.
SIZE = (84, 104, 92)
AFFINE_ROUNDS, DEMONS_ROUNDS = 3, 2
#: Sigma for smoothing of displacements (adapts the overall shape without matching single sulci); shrink factor.
DEMONS_SIGMA_MM, DEMONS_SHRINK = 6.0, 2


@dataclass
class Head:
    """Tissue masks and FLAIR-like image of a label map at 2 mm, centred on the brain's centre of mass."""

    tissues: list[sitk.Image]
    contrast: sitk.Image


def main() -> None:
    """Register, average and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--maps", action="store_true", help="only what the fits need of the atlas")
    options = parser.parse_args()
    if options.maps:
        write_maps()
        return
    files = sorted((options.data / "head_label_maps").glob("head_*.nii.gz"))
    if not files:
        raise SystemExit(f"no head_*.nii.gz in {options.data / 'head_label_maps'}")
    heads = [load(file) for file in files]
    transforms: list[sitk.Transform] = [sitk.AffineTransform(3) for _ in heads]
    maps = average(heads, transforms)
    for number in range(AFFINE_ROUNDS):
        template = contrast_of(maps)
        transforms = [affine(template, head, before) for head, before in zip(heads, transforms, strict=True)]
        maps = average(heads, transforms)
        print(f"affine round {number + 1}: sharpness {sharpness(maps):.4f}")
    affines = transforms
    for number in range(DEMONS_ROUNDS):
        template = contrast_of(maps)
        transforms = [demons(template, head, before) for head, before in zip(heads, affines, strict=True)]
        maps = average(heads, transforms)
        print(f"demons round {number + 1}: sharpness {sharpness(maps):.4f}")
    write(FILE, maps, files)
    write_maps()


def load(file: Path) -> Head:
    """Read a label map and make its FLAIR-like image."""
    image = sitk.ReadImage(str(file))
    labels = sitk.GetArrayFromImage(image)
    occupied = [np.isin(labels, FREESURFER[name]) for name in TISSUES]
    unknown = (labels > 0) & (labels < 500) & ~np.any(occupied, axis=0)
    if unknown.any():
        raise SystemExit(f"{file.name}: labels {np.unique(labels[unknown])} belong to no tissue")
    brain = np.any([mask for name, mask in zip(TISSUES, occupied, strict=True) if name != "fluid"], axis=0)
    centre = np.argwhere(brain).mean(axis=0)[::-1]
    origin = np.array(image.GetOrigin()) - image.TransformContinuousIndexToPhysicalPoint(centre.tolist())

    def placed(array: np.ndarray) -> sitk.Image:
        out = sitk.GetImageFromArray(array.astype(np.float32))
        out.SetSpacing(image.GetSpacing())
        out.SetDirection(image.GetDirection())
        out.SetOrigin(origin.tolist())
        return sitk.BinShrink(out, [2, 2, 2])

    signal = sum(SIGNAL[name] * mask for name, mask in zip(TISSUES, occupied, strict=True))
    return Head([placed(mask) for mask in occupied], placed(signal))


def grid() -> sitk.Image:
    """Grid of the atlas: axes along R, A and S, centre at the origin (in ITK's LPS)."""
    image = sitk.Image(SIZE, sitk.sitkFloat32)
    image.SetSpacing([SPACING_MM] * 3)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin([(n - 1) / 2 * SPACING_MM * s for n, s in zip(SIZE, (1, 1, -1), strict=True)])
    return image


def average(heads: list[Head], transforms: list[sitk.Transform]) -> np.ndarray:
    """Mean of each tissue mask over all heads and their mirror images: ndarray, shape (tissues, z, y, x)."""
    total = np.zeros((len(TISSUES), *SIZE[::-1]))
    for head, transform in zip(heads, transforms, strict=True):
        for n, tissue in enumerate(head.tissues):
            total[n] += sitk.GetArrayFromImage(sitk.Resample(tissue, grid(), transform, sitk.sitkLinear, 0.0))
    total /= len(heads)
    return (total + total[..., ::-1]) / 2


def contrast_of(maps: np.ndarray) -> sitk.Image:
    """FLAIR-like image of the average head."""
    signal = sum(SIGNAL[name] * part for name, part in zip(TISSUES, maps, strict=True))
    image = sitk.GetImageFromArray(signal.astype(np.float32))
    image.CopyInformation(grid())
    return image


def affine(template: sitk.Image, head: Head, before: sitk.Transform) -> sitk.Transform:
    """Affine transform from template to head, LPS mm; ``before`` is the initial transform."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 5e-3, 60, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([3])
    method.SetSmoothingSigmasPerLevel([3])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetNumberOfThreads(1)
    method.SetInitialTransform(sitk.AffineTransform(before), inPlace=False)
    return sitk.AffineTransform(sitk.CompositeTransform(method.Execute(template, head.contrast)).GetNthTransform(0))


def demons(template: sitk.Image, head: Head, before: sitk.Transform) -> sitk.Transform:
    """Transform from template to head: smooth displacement, then the affine transform ``before``."""
    moved = sitk.Resample(head.contrast, grid(), before, sitk.sitkLinear, 0.0)
    fixed, moving = (sitk.BinShrink(image, [DEMONS_SHRINK] * 3) for image in (template, moved))
    method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    method.SetNumberOfIterations(40)
    method.SetSmoothDisplacementField(True)
    method.SetStandardDeviations(DEMONS_SIGMA_MM / (SPACING_MM * DEMONS_SHRINK))
    method.SetNumberOfThreads(1)
    field = method.Execute(fixed, moving)
    field = sitk.Cast(sitk.Resample(field, grid()), sitk.sitkVectorFloat64)
    # Transforms are applied last to first: displacement in the template, then the affine transform.
    return sitk.CompositeTransform([before, sitk.DisplacementFieldTransform(field)])


def write_maps() -> None:
    """Write what the fits need of the atlas, so that no process has to make it."""
    np.savez_compressed(MAPS, allow_pickle=False, **made_maps(load_atlas()))
    print(f"{MAPS}: {MAPS.stat().st_size / 1e6:.2f} MB")


def sharpness(maps: np.ndarray) -> float:
    """Mean over brain voxels of the sum of squared probabilities; 1 if all heads agree."""
    inside = maps.sum(axis=0) > 0.5
    return float(np.square(maps[:, inside]).sum(axis=0).mean())


def write(path: Path, maps: np.ndarray, files: list[Path]) -> None:
    """Write the maps as uint8 with their provenance."""
    levels = np.rint(np.clip(maps, 0, 1) * 255).astype(np.uint8)
    image = grid()
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = [-(n - 1) / 2 * SPACING_MM for n in SIZE]
    assert np.allclose(image.GetOrigin(), affine[:3, 3] * [-1, -1, 1])
    provenance = {
        "tissues": list(TISSUES),
        "heads": len(files),
        "source": "SynthSeg training label maps (Billot et al. 2023, doi:10.1016/j.media.2023.102789), Apache-2.0",
        "sha256": hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, levels=levels, ijk_to_ras=affine, provenance=np.array(json.dumps(provenance)))
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
