#!/usr/bin/env bash
# rt-utils 1.2.7: a lesion written as RTSTRUCT loses half a voxel on each side, and a lesion that is read gains as much.
#
# The contour of add_roi joins the CENTRES of the outermost voxels: 4 x 4 voxels become a square of 3 x 3 mm, a single row of
# voxels a line without area. get_roi_mask_by_name takes the voxels under the line as well, so the round trip looks exact; but
# by the contour, as a planning system has it, the lesion has 9 of 16 mm2, and a true outline of 16 mm2 is read as 25.
# Where pixels are not square, PixelSpacing is taken the wrong way round: with rows 0.5 mm and columns 1 mm apart the
# contour lies at half its x and twice its y, and is read back without loss again. No warning.
# What to do: DICOM SEG for lesions; for RTSTRUCT compare the areas of the contours with the mask's, once each way.
#
# Output seen (outline: the same lesion with a contour along the edges of its voxels):
#   rt-utils 1.2.7
#   voxels    mm2   contour written   and read   outline   and read   centre x, y   of the contour written
#    1 x 1    1.0               0.0        1.0       1.0        1.0   12.00 4.00    12.00 4.00
#    1 x 3    3.0               0.0        3.0       3.0        3.0   13.00 4.00    13.00 4.00
#    2 x 2    4.0               1.0        4.0       4.0        9.0   12.50 4.50    12.50 4.50
#    4 x 4   16.0               9.0       16.0      16.0       25.0   13.50 5.50    13.50 5.50
#   10 x 10 100.0              81.0      100.0     100.0      121.0   16.50 8.50    16.50 8.50
#   rows 0.5 mm, columns 1 mm apart
#    4 x 4    8.0               4.5        8.0       8.0       13.5   13.50 2.75    6.75 5.50
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rt-utils==1.2.7 pydicom==3.0.2 numpy==2.2.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import contextlib
import io
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from rt_utils import RTStructBuilder

EMPTY = (
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "Manufacturer",
)  # fmt: skip


def series(folder: Path, spacing: tuple[float, float]) -> None:
    """Three slices of 32 x 32 pixels, 5 mm apart; spacing of rows and of columns in mm."""
    folder.mkdir()
    study, number, frame = (generate_uid() for _ in range(3))
    for n in range(3):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, number, frame
        for name in EMPTY:
            setattr(data, name, "")
        data.Modality, data.InstanceNumber, data.SeriesNumber = "MR", n + 1, 1
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5 * n]
        data.PixelSpacing, data.SliceThickness, data.Rows, data.Columns = list(spacing), 5, 32, 32
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = np.zeros((32, 32), np.uint16).tobytes()
        data.save_as(folder / f"{n}.dcm", enforce_file_format=True)


def area(points: np.ndarray) -> float:
    """Area of a closed polygon, in mm2."""
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def export(images: Path, mask: np.ndarray) -> RTStructBuilder:
    """Write the mask by rt-utils and open what was written."""
    with contextlib.redirect_stdout(io.StringIO()):
        written = RTStructBuilder.create_new(dicom_series_path=str(images))
        written.add_roi(mask=mask, name="lesion")
        written.save("lesion")
        return RTStructBuilder.create_from(dicom_series_path=str(images), rt_struct_path="lesion.dcm")


print("rt-utils", version("rt-utils"))
print("voxels    mm2   contour written   and read   outline   and read   centre x, y   of the contour written")
seen = []
for rows, columns, height, width in (
    (1, 1, 1, 1), (1, 1, 1, 3), (1, 1, 2, 2), (1, 1, 4, 4), (1, 1, 10, 10), (0.5, 1, 4, 4)
):  # fmt: skip
    images = Path(f"images{rows}")
    if not images.exists():
        series(images, (rows, columns))
        if rows != columns:
            print(f"rows {rows} mm, columns {columns} mm apart")
    mask = np.zeros((32, 32, 3), bool)
    mask[4 : 4 + height, 12 : 12 + width, 1] = True
    found = export(images, mask)
    contour = found.ds.ROIContourSequence[0].ContourSequence[0]
    points = np.array(contour.ContourData, float).reshape(-1, 3)
    pixel = rows * columns
    own = float(found.get_roi_mask_by_name("lesion").sum()) * pixel
    left, right = 11.5 * columns, (11.5 + width) * columns
    top, bottom = 3.5 * rows, (3.5 + height) * rows
    outline = np.array([[left, top, 5], [left, bottom, 5], [right, bottom, 5], [right, top, 5]])
    contour.ContourData, contour.NumberOfContourPoints = outline.ravel().tolist(), 4
    read = float(found.get_roi_mask_by_name("lesion").sum()) * pixel
    line = height * width * pixel, area(points), own, area(outline), read
    centres = f"{(left + right) / 2:.2f} {(top + bottom) / 2:.2f}", "{:.2f} {:.2f}".format(*points.mean(axis=0))
    texts = [f"{value:{digits}.1f}" for value, digits in zip(line, (5, 17, 10, 9, 10), strict=True)]
    print(f"{height:2} x {width:<2}", " ".join(texts), f"  {centres[0]:13} {centres[1]}")
    seen.append((*line[1:], *centres))
assert seen == [
    (0.0, 1.0, 1.0, 1.0, "12.00 4.00", "12.00 4.00"),
    (0.0, 3.0, 3.0, 3.0, "13.00 4.00", "13.00 4.00"),
    (1.0, 4.0, 4.0, 9.0, "12.50 4.50", "12.50 4.50"),
    (9.0, 16.0, 16.0, 25.0, "13.50 5.50", "13.50 5.50"),
    (81.0, 100.0, 100.0, 121.0, "16.50 8.50", "16.50 8.50"),
    (4.5, 8.0, 8.0, 13.5, "13.50 2.75", "6.75 5.50"),
], seen
PYTHON
