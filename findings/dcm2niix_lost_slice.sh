#!/usr/bin/env bash
# dcm2niix 1.0.20260724: a series with a lost slice gives two images, one misplaced, one with an invented slice; status 0.
#
# Eight MR slices 6 mm apart of which one is gone:
#  - image.nii has the seven slices, evenly spaced by the FIRST gap: 12 mm where the second slice is the lost one, so the
#    head is twice as long and every lesion has twice its volume; 6 mm where a later one is lost, so what follows is shifted;
#  - image_Eq_1.nii has eight slices; the lost one is the mean of its neighbours, which nobody acquired.
# One line of the log tells of it; the exit status is 0 and the sidecar .json of neither image says so.
# What to do: look for "_Eq_" among the results before anything is measured on either.
#
# Output seen:
#   dcm2niix 1.0.20260724
#   4th lost  status 0  image.nii 7 slices, 6 mm   image_Eq_1.nii 8 slices, 6 mm, lost = 118 (neighbours 112, 124)
#   2nd lost  status 0  image.nii 7 slices, 12 mm  image_Eq_1.nii 8 slices, 6 mm, lost = 106 (neighbours 100, 112)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    dcm2niix==1.0.20260724 pydicom==3.0.1 nibabel==5.3.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write(folder: Path, positions: list[int]) -> None:
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number, position in enumerate(positions, 1):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientID, ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "1", "MR", 1, number
        ds.PatientPosition, ds.MRAcquisitionType, ds.ImageType = "HFS", "2D", ["ORIGINAL", "PRIMARY", "M"]
        ds.EchoTime, ds.RepetitionTime, ds.InversionTime = 100, 9000, 2500
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-16, -16, position]
        ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [1, 1], 5, 6
        ds.Rows = ds.Columns = 32
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.PixelData = np.full((32, 32), 100 + position, np.uint16).tobytes()
        dcmwrite(folder / f"{number}.dcm", ds, enforce_file_format=True)


def convert(lost: int) -> tuple[int, float, int, float, float]:
    """Slices and spacing of both images, and the value of the lost slice in the second."""
    source, target = Path(f"lost{lost}"), Path(f"nifti{lost}")
    write(source, [6 * n for n in range(8) if n != lost])
    target.mkdir()
    run = subprocess.run(
        ["venv/bin/dcm2niix", "-f", "image", "-o", str(target), str(source)], capture_output=True, text=True
    )
    assert run.returncode == 0 and "Interslice distance varies" in run.stdout + run.stderr
    for sidecar in target.glob("*.json"):
        assert not any("varies" in str(value) or "Eq" in key for key, value in json.loads(sidecar.read_text()).items())
    plain, even = nib.load(target / "image.nii"), nib.load(target / "image_Eq_1.nii")
    values = np.asarray(even.dataobj).mean(axis=(0, 1))
    print(
        f"{lost + 1}{'nd' if lost == 1 else 'th'} lost  status {run.returncode}  "
        f"image.nii {plain.shape[2]} slices, {plain.header.get_zooms()[2]:g} mm  "
        f"image_Eq_1.nii {even.shape[2]} slices, {even.header.get_zooms()[2]:g} mm, "
        f"lost = {values[lost]:g} (neighbours {values[lost - 1]:g}, {values[lost + 1]:g})"
    )
    return plain.shape[2], float(plain.header.get_zooms()[2]), even.shape[2], float(even.header.get_zooms()[2]), values[lost]


print("dcm2niix 1.0.20260724")
assert convert(3) == (7, 6.0, 8, 6.0, 118.0)
assert convert(1) == (7, 12.0, 8, 6.0, 106.0)
PYTHON
