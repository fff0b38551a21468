"""The matrix in ``docs/label_maps.md``, row by row: what is read, what is refused, what ``--labels`` makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from flairseg.errors import FlairSegError
from flairseg.files.nifti import write_nifti
from flairseg.image.volume import Volume
from flairseg.io.label_maps import read_label_map
from flairseg.io.label_meanings import PRESETS, parse_meaning
from flairseg.io.raw_labels import LABELS_DESCRIPTION, LESION_MASK_DESCRIPTION

from Testing.core.test_label_maps import AFFINE, GRID, SHAPE, mitk, nifti, slicer, truth, values

PAGE = Path(__file__).resolve().parents[2] / "docs/label_maps.md"
LESION_ONLY, ALL = truth(3), truth()
FREESURFER = values(ventricles=4, normal=41)


def freesurfer(lesion: int = 0) -> np.ndarray:
    array = np.where(FREESURFER > 0, FREESURFER, values(lesion=lesion))
    array[0, 0, :6] = 2, 3, 4, 41, 42, 43
    return array


def in_freesurfer(array: np.ndarray) -> np.ndarray:
    """The labels, with the two voxels of a ventricle that :func:`freesurfer` adds."""
    out = array.copy()
    out[0, 0, [2, 5]] = 1
    return out


def own(description: str) -> Callable:
    def write(path: Path, array: np.ndarray) -> Path:
        write_nifti(
            path, array.astype(np.uint8), Volume(np.zeros(SHAPE, np.float32), AFFINE, "m"), np.uint8, description
        )
        return path

    return write


def with_segments(*segments: tuple, **fields: str) -> Callable:
    def write(path: Path, array: np.ndarray) -> Path:
        return slicer(path, array, segments, **fields)

    return write


def with_groups(*groups: dict[str, int]) -> Callable:
    listed = [{"labels": [{"name": name, "value": value} for name, value in group.items()]} for group in groups]

    def write(path: Path, array: np.ndarray) -> Path:
        return mitk(path, array.astype(np.uint16) if array.ndim == 4 else array.astype(np.uint16)[None], listed)

    return write


@dataclass(frozen=True)
class Row:
    """One file of a program: the labels that it is read as or the code of the refusal; what meanings make of it."""

    program: str
    name: str
    array: np.ndarray
    plainly: np.ndarray | str
    stated: dict[str, np.ndarray] = field(default_factory=dict)
    write: Callable = nifti
    names: tuple[str, str] | None = None
    suggestion: str | None = None
    warnings: tuple[str, ...] = ()


LAYERS = np.stack([truth(1), truth(3) // 3])
NORMAL_ONLY, VENTRICLES_ONLY = truth(2), truth(1)
HALF = values(lesion=1) * np.float32(0.8)
SNAP = ("snap.txt", '0 0 0 0 0 0 0 "Clear Label"\n5 255 0 0 1 1 1 "MS lesion"\n6 0 0 255 1 1 1 "Ventricles"\n')
NNUNET = ("dataset.json", json.dumps({"labels": {"background": 0, "ventricles": 2, "MS lesion": 1}}))
OWN_VALUES = {f"m_{n}.nii.gz": array for n, array in (("1", VENTRICLES_ONLY), ("2", NORMAL_ONLY), ("3", LESION_ONLY))}

PLACES = np.where(LESION_ONLY, np.arange(36) % 4 + 1, 0).astype(np.uint8)
ROWS = [
    Row("FlairSeg", "c_labels.nii.gz", ALL, ALL, write=own(LABELS_DESCRIPTION)),
    *(Row("FlairSeg", name, array, array, write=own(LABELS_DESCRIPTION)) for name, array in OWN_VALUES.items()),
    Row("FlairSeg", "c_lesion_mask.nii.gz", values(lesion=1), LESION_ONLY, write=own(LESION_MASK_DESCRIPTION)),
    Row("FlairSeg", "sub-1_desc-lesion_mask.nii.gz", values(lesion=1), LESION_ONLY, write=own(LESION_MASK_DESCRIPTION)),
    Row("3D Slicer", "a.seg.nrrd", truth(1, 3) // 3 * 7 + truth(1) * 9, truth(1, 3),
        write=with_segments(("Segment_1", "MS lesion", 7, 0), ("Segment_2", "Ventricles", 9, 0))),
    Row("3D Slicer", "layers.seg.nrrd", LAYERS, truth(1, 3),
        write=with_segments(("lesion", "x", 1, 1), ("ventricles", "y", 1, 0))),
    Row("3D Slicer", "unnamed.seg.nrrd", values(lesion=1), "unnamed-labels",
        {"Segment_1=lesion": LESION_ONLY, "1=3": LESION_ONLY}, write=with_segments(("Segment_1", "Segment_1", 1, 0))),
    Row("3D Slicer", "fractional.seg.nrrd", values(lesion=1), "fractional-segmentation",
        write=with_segments(("lesion", "Lesion", 1, 0), Segmentation_MasterRepresentation="Fractional labelmap")),
    Row("ITK-SNAP", "snap.nii.gz", ALL, ALL),
    Row("ITK-SNAP", "one.nii.gz", values(lesion=1), "unnamed-labels", {"1=lesion": LESION_ONLY}),
    Row("ITK-SNAP", "two.nii.gz", values(lesion=5, ventricles=6), "unnamed-labels", {"NAMES": truth(1, 3)}, names=SNAP),
    Row("ITK-SNAP", "snap.nrrd", values(lesion=5, ventricles=6), "unnamed-labels", {"NAMES": truth(1, 3)},
        write=lambda path, array: _nrrd(path, array), names=SNAP),
    Row("FSL BIANCA", "bianca_output.nii.gz", values(lesion=1) * np.float32(0.95), "probabilities-not-labels",
        {"bianca": LESION_ONLY, "probability": LESION_ONLY}),
    Row("FSL BIANCA", "bianca_output.nii.gz", HALF, "probabilities-not-labels",
        {"bianca": np.zeros(SHAPE), "probability": LESION_ONLY}),
    Row("FSL BIANCA", "bianca_mask.nii.gz", values(lesion=1), "unnamed-labels",
        {"binary": LESION_ONLY, "bianca": LESION_ONLY}),
    Row("FSL FAST", "T1_pveseg.nii.gz", ALL, "unnamed-labels"),
    Row("LST (LPA, LGA)", "ples_lpa_mFLAIR.nii", HALF, "probabilities-not-labels", {"lst": LESION_ONLY}),
    Row("LST (LPA, LGA)", "ples_lga_0.3_rmFLAIR.nii", values(lesion=1), "unnamed-labels", {"lst": LESION_ONLY}),
    Row("LST-AI", "space-flair_seg-lst.nii.gz", values(lesion=1), "unnamed-labels", {"lst-ai": LESION_ONLY},
        suggestion="lst-ai"),
    Row("LST-AI", "space-flair_desc-annotated_seg-lst.nii.gz", PLACES, "unnamed-labels",
        {"lst-ai": LESION_ONLY}, suggestion="lst-ai"),
    *(
        Row("SAMSEG, FreeSurfer", "seg.nii.gz", freesurfer(99), "unnamed-labels",
            {preset: in_freesurfer(truth(1, 3))}, suggestion="samseg")
        for preset in ("samseg", "freesurfer")
    ),
    *(
        Row("SAMSEG, FreeSurfer", "aseg.nii.gz", freesurfer(value), "unnamed-labels",
            {"freesurfer": in_freesurfer(truth(1, 3)), "samseg": in_freesurfer(truth(1, 3))})
        for value in (25, 57, 77, 78, 79)
    ),
    Row("SynthSeg", "x_synthseg.nii.gz", freesurfer(), "unnamed-labels", {"synthseg": in_freesurfer(truth(1))},
        suggestion="synthseg"),
    Row("WMH-SynthSeg", "x_seg.nii.gz", freesurfer(77), "unnamed-labels",
        {"wmh-synthseg": in_freesurfer(truth(1, 3))}, suggestion="wmh-synthseg"),
    Row("nnU-Net", "case_001.nii.gz", ALL, ALL, {"nnunet": ALL}),
    Row("nnU-Net", "case_002.nii.gz", values(lesion=1), "unnamed-labels", {"binary": LESION_ONLY, "NAMES": LESION_ONLY},
        names=NNUNET),
    Row("nnU-Net", "case_003.nii.gz", values(lesion=1, ventricles=2), values(lesion=1, ventricles=2),
        {"NAMES": truth(1, 3)}, names=NNUNET, warnings=("labels-in-doubt",)),
    Row("nnU-Net", "case_004.nii.gz", values(lesion=4, ventricles=2), "unnamed-labels", {"2=1,4=3": truth(1, 3)}),
    Row("WMH Challenge", "wmh.nii.gz", values(lesion=1), "unnamed-labels", {"wmh-challenge": LESION_ONLY}),
    Row("WMH Challenge", "wmh.nii.gz", values(lesion=1, normal=2), values(lesion=1, normal=2),
        {"wmh-challenge": LESION_ONLY}, warnings=("labels-in-doubt",)),
    Row("MITK", "a.nrrd", values(lesion=1, ventricles=2), truth(1, 3),
        write=with_groups({"Ventricles": 2, "MS lesion": 1})),
    Row("MITK", "groups.nrrd", LAYERS, truth(1, 3), {"Lesion=3,Ventricles=0": LESION_ONLY},
        write=with_groups({"Ventricles": 1}, {"Lesion": 1})),
    Row("MITK", "new.nrrd", values(lesion=1), "unnamed-labels",
        {"1=lesion": LESION_ONLY, "New label 1=lesion": LESION_ONLY},
        write=with_groups({"New label 1": 1})),
]  # fmt: skip
#: Rows whose files are made by the programs themselves: test_label_maps_dicom.py, and test_label_maps.py of slicer.
ELSEWHERE = {"DICOM SEG (highdicom, dcmqi, PACS)": "Testing/core/test_label_maps_dicom.py"}


def _nrrd(path: Path, array: np.ndarray) -> Path:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array.astype(np.uint8))
    spacing, direction, origin = GRID.to_itk()
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


def table() -> list[list[str]]:
    """The cells of the matrix."""
    lines = PAGE.read_text(encoding="utf-8").split("## The matrix")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def test_every_program_of_the_page_has_its_rows_and_ten_are_of_others():
    programs = [row[0] for row in table()]
    assert set(programs) == {row.program for row in ROWS} | set(ELSEWHERE)
    assert len(programs) == len(set(programs)) >= 11
    assert all((PAGE.parents[1] / path).is_file() for path in ELSEWHERE.values())


def test_every_preset_that_the_page_names_is_tried():
    tried = {meaning for row in ROWS for meaning in row.stated}
    named = {cell for row in table() for cell in row[4].replace("(", "`").split("`") if cell in PRESETS}
    assert named <= tried


@pytest.mark.parametrize("row", ROWS, ids=[f"{n}-{row.program}-{row.name}" for n, row in enumerate(ROWS)])
def test_a_file_is_read_as_the_page_says(tmp_path, row):
    path = row.write(tmp_path / row.name, row.array)
    if isinstance(row.plainly, str):
        with pytest.raises(FlairSegError) as refused:
            read_label_map(path, GRID)
        assert refused.value.code == row.plainly
        assert refused.value.advice
        if row.suggestion:
            assert refused.value.fields["suggestion"] == row.suggestion
    else:
        found = read_label_map(path, GRID)
        assert np.array_equal(found.labels, row.plainly)
        assert tuple(warning.code for warning in found.warnings) == row.warnings
    for meaning, expected in row.stated.items():
        if meaning == "NAMES":
            file, content = row.names
            (tmp_path / file).write_text(content, encoding="utf-8")
            meaning = str(tmp_path / file)
        found = read_label_map(path, GRID, parse_meaning(meaning))
        assert np.array_equal(found.labels, expected), meaning


def test_tissue_classes_are_refused_by_their_volume_under_any_name(tmp_path):
    """FAST's white matter under value 3, as much of it as a head has."""
    array = truth(1, 2) + 3 * (np.indices(SHAPE)[0] < 6).astype(np.uint8) * (truth(1, 2) == 0)
    path = nifti(tmp_path / "anything.nii.gz", array, AFFINE @ np.diag([3.0, 3.0, 1.5, 1.0]))
    with pytest.raises(FlairSegError) as refused:
        read_label_map(path)
    assert refused.value.code == "implausible-labels"
