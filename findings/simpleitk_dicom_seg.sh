#!/usr/bin/env bash
# SimpleITK 2.5.7: a DICOM SEG opens without error, with a slice spacing that depends on which slices have a lesion.
#
# A SEG stores no frames for empty slices (highdicom's and dcmqi's default). ReadImage takes the frames for neighbouring
# slices: two lesions 36 mm apart become slices 36 mm thick, so the same mask has 6 times its volume; three slices at
# uneven distances get 1 mm, in reverse order; frames of a second segment are stacked behind those of the first.
# Foreground is 255. Spacing 6 mm is in the file and read right by highdicom, and by SimpleITK only if no frame is left out.
# What to do: read SEG with highdicom or dcmqi's segimage2itkimage, never with a general image reader.
#
# Output seen (10 slices, 6 mm apart, SliceThickness 5, SpacingBetweenSlices 6; lesions of 12 pixels a slice):
#   SimpleITK 2.5.7, highdicom 0.28.2
#   lesions in slices       true mm3   SimpleITK: frames  spacing   mm3   highdicom: spacing   mm3
#   2 and 8, all frames          144                  10      6.0   144                  6.0   144
#   2 and 8                      144                   2     36.0   864                  6.0   144
#   2, 3 and 4                   216                   3      6.0   216                  6.0   216
#   2, 4 and 9                   216                   3      1.0    36                  6.0   216
#   2 and 8; 5 (segment 2)       216                   3      1.0    36                  6.0   216
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    SimpleITK==2.5.7 highdicom==0.28.2 pydicom==3.0.2 numpy==2.2.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def series() -> list[Dataset]:
    study, number, frame = generate_uid(), generate_uid(), generate_uid()
    slices = []
    for n in range(10):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, number, frame
        ds.PatientID, ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "1", "MR", 1, n + 1
        ds.PatientName = ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.ReferringPhysicianName = ""
        ds.StudyID, ds.StudyDate, ds.StudyTime, ds.Manufacturer = "1", "20200101", "000000", ""
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-16, -16, 6 * n]
        ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [1, 1], 5, 6
        ds.Rows = ds.Columns = 32
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.PixelData = bytes(2 * 32 * 32)
        slices.append(ds)
    return slices


source = series()


def write(mask: np.ndarray, omit: bool) -> None:
    descriptions = [
        hd.seg.SegmentDescription(
            number,
            f"lesion {number}",
            Code("49755003", "SCT", "Morphologically Altered Structure"),
            Code("52988006", "SCT", "Lesion"),
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, int(mask.max()) + 1)
    ]
    hd.seg.Segmentation(
        source, mask, "BINARY", descriptions, hd.UID(), 1, hd.UID(), 1, "M", "M", "1", "1", omit_empty_frames=omit
    ).save_as("seg.dcm")


print(f"SimpleITK {sitk.Version.VersionString()}, highdicom {version('highdicom')}")
print("lesions in slices       true mm3   SimpleITK: frames  spacing   mm3   highdicom: spacing   mm3")
for title, first, second, omit, expected in (
    ("2 and 8, all frames", (2, 8), (), False, (10, 6.0, 144.0)),
    ("2 and 8", (2, 8), (), True, (2, 36.0, 864.0)),
    ("2, 3 and 4", (2, 3, 4), (), True, (3, 6.0, 216.0)),
    ("2, 4 and 9", (2, 4, 9), (), True, (3, 1.0, 36.0)),
    ("2 and 8; 5 (segment 2)", (2, 8), (5,), True, (3, 1.0, 36.0)),
):
    mask = np.zeros((10, 32, 32), np.uint8)
    mask[list(first), 5:8, 5:9] = 1
    mask[list(second), 5:8, 20:24] = 2
    write(mask, omit)
    image = sitk.ReadImage("seg.dcm")
    frames, spacing = image.GetSize()[2], image.GetSpacing()[2]
    volume = float(np.count_nonzero(sitk.GetArrayFromImage(image)) * np.prod(image.GetSpacing()))
    right = hd.seg.segread("seg.dcm").get_volume(combine_segments=True)
    other = float(np.count_nonzero(right.array) * np.prod(right.spacing))
    true = float(np.count_nonzero(mask) * 6)
    print(f"{title:22} {true:9g} {frames:19} {spacing:8.1f} {volume:5g} {right.spacing[0]:20.1f} {other:5g}")
    assert other == true and right.spacing[0] == 6
    assert (frames, spacing, volume) == expected
    if spacing == 1:  # the first frame is at its place, the further ones lie on the wrong side of it
        assert image.GetOrigin()[2] in (54, 48) and image.GetDirection()[8] == 1
PYTHON
