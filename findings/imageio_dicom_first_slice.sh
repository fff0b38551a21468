#!/usr/bin/env bash
# imageio 2.38.1: a DICOM series whose first slice is dark, as above a head, is read modulo 256: 300 becomes 44, 500 becomes -12.
#
# Where a slice has a RescaleSlope (1 in most MR and CT series), volread(folder, "DICOM") gives it the smallest signed type for
# its own range, int8 if no value exceeds 255, and gives the volume the type of the FIRST slice. Brighter slices are cast to
# it, modulo 256, with no error and no warning; values of 128 to 255 are negative even where all slices have them. The
# same slices with a bright one first, without RescaleSlope or with a broken one are read right, so one series proves little.
# What to do: read DICOM with SimpleITK, highdicom or pydicom.
#
# Output seen (series of five slices, unsigned 16 bits, largest value of each slice as given):
#   imageio 2.38.1, pydicom 3.0.2
#   written                    RescaleSlope   read as   largest values              voxels wrong
#   [20, 100, 300, 500, 40]    1              int8      [20, 100, 44, -12, 40]      84 of 320
#   [300, 100, 20, 500, 40]    1              int16     [300, 100, 20, 500, 40]     0 of 320
#   [20, 100, 300, 500, 40]    absent         uint16    [20, 100, 300, 500, 40]     0 of 320
#   [200, 200, 200, 200, 200]  1              int8      [-56, -56, -56, -56, -56]   115 of 320
#   [20, 100, 300, 500, 40]    0.5            float32   [10, 50, 150, 250, 20]      0 of 320
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imageio==2.38.1 pydicom==3.0.2 numpy==2.2.6 pillow==12.0.0
FOLDER="$folder" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
import os
from importlib.metadata import version
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write(folder: Path, values: list[int], slope: str | None) -> np.ndarray:
    """Write an axial MR series of one slice per value, 5 mm apart; return the true volume."""
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    true = []
    for number, value in enumerate(values):
        pixels = np.linspace(0, value, 64).reshape(8, 8).astype(np.uint16)
        true.append(pixels)
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.Modality, data.InstanceNumber, data.SeriesNumber = "MR", number + 1, 1
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5.0 * number]
        data.PixelSpacing, data.SliceThickness = [1, 1], 5
        data.Rows = data.Columns = 8
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        if slope is not None:
            data.RescaleSlope, data.RescaleIntercept = slope, "0"
        data.PixelData = pixels.tobytes()
        data.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return np.array(true)


print(f"imageio {version('imageio')}, pydicom {version('pydicom')}")
print("written                    RescaleSlope   read as   largest values              voxels wrong")
seen = []
cases = (
    ([20, 100, 300, 500, 40], "1"),
    ([300, 100, 20, 500, 40], "1"),
    ([20, 100, 300, 500, 40], None),
    ([200, 200, 200, 200, 200], "1"),
    ([20, 100, 300, 500, 40], "0.5"),
)
for number, (values, slope) in enumerate(cases):
    folder = Path(os.environ["FOLDER"]) / f"series{number}"
    true = write(folder, values, slope) * float(slope or 1)
    with contextlib.redirect_stdout(io.StringIO()):
        volume = np.asarray(imageio.volread(folder, "DICOM"))
    wrong = int((volume != true).sum())
    last = [int(value) for value in volume[:, -1, -1]]
    print(f"{values!s:26} {slope or 'absent':12}   {volume.dtype!s:7}   {last!s:27} {wrong} of {true.size}")
    seen.append((str(volume.dtype), last, wrong))
assert seen == [
    ("int8", [20, 100, 44, -12, 40], 84),
    ("int16", [300, 100, 20, 500, 40], 0),
    ("uint16", [20, 100, 300, 500, 40], 0),
    ("int8", [-56] * 5, 115),
    ("float32", [10, 50, 150, 250, 20], 0),
], seen
PYTHON
