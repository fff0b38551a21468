#!/usr/bin/env bash
# SimpleITK 2.5.7, pydicom 3.0.2: the values of an Enhanced MR are wrong in frames whose slope is not the first's, or not 1.
#
# An Enhanced MR object keeps RescaleSlope and RescaleIntercept by frame, and each frame may have its own:
#  - SimpleITK multiplies ALL frames by the slope of the first one in the file;
#  - pydicom's apply_modality_lut looks at the top of the header, finds neither, and returns the stored values unchanged.
# Neither warns. Of the same slices as classic files, one a slice, SimpleITK applies each slope, but in the number type that
# the FIRST slice asks for: where its slope is 1, the others are cut off to whole numbers, and what is below 1 becomes 0.
# What to do: highdicom's imread(...).get_volume(); for classic series ReadImage(files, sitk.sitkFloat32).
#
# Output seen (five slices of stored value 100; value by slice):
#   SimpleITK 2.5.7, pydicom 3.0.2, highdicom 0.28.2
#     true                          200.00  100.00   50.00   25.00  400.00
#     enhanced: SimpleITK           200.00  200.00  200.00  200.00  200.00
#     enhanced: pydicom             100.00  100.00  100.00  100.00  100.00
#     enhanced: highdicom           200.00  100.00   50.00   25.00  400.00
#     classic: SimpleITK            200.00  100.00   50.00   25.00  400.00
#     classic: SimpleITK, float32   200.00  100.00   50.00   25.00  400.00
#
#     true                          100.00  150.00   50.00   37.50    0.40
#     enhanced: SimpleITK           100.00  100.00  100.00  100.00  100.00
#     enhanced: pydicom             100.00  100.00  100.00  100.00  100.00
#     enhanced: highdicom           100.00  150.00   50.00   37.50    0.40
#     classic: SimpleITK            100.00  150.00   50.00   37.00    0.00
#     classic: SimpleITK, float32   100.00  150.00   50.00   37.50    0.40
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    SimpleITK==2.5.7 pydicom==3.0.2 highdicom==0.28.2 numpy==2.2.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

STUDY, SERIES, FRAME = (generate_uid() for _ in range(3))


def item(**elements) -> Dataset:
    data = Dataset()
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def head(kind: str, frames: int) -> Dataset:
    """What classic and enhanced files have in common; 8 x 8 pixels of value 100 in each frame."""
    data = item(
        SOPClassUID=kind, SOPInstanceUID=generate_uid(), StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES,
        FrameOfReferenceUID=FRAME, Modality="MR", SeriesNumber=1, InstanceNumber=1, Rows=8, Columns=8,
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16, HighBit=15,
        PixelRepresentation=0, PixelData=np.full((frames, 8, 8), 100, np.uint16).tobytes(),
    )  # fmt: skip
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = kind
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


def enhanced(path: Path, slopes: list[float]) -> None:
    data = head(EnhancedMRImageStorage, len(slopes))
    data.NumberOfFrames = len(slopes)
    organisation = generate_uid()
    data.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organisation)]
    data.DimensionIndexSequence = [
        item(DimensionOrganizationUID=organisation, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111)
        for pointer in (0x00209056, 0x00209057)
    ]
    data.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=5, SpacingBetweenSlices=5)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=n + 1, DimensionIndexValues=[1, n + 1])],
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 5 * n])],
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")],
        )
        for n, slope in enumerate(slopes)
    ]
    data.save_as(path, enforce_file_format=True)


def classic(folder: Path, slopes: list[float]) -> None:
    folder.mkdir()
    for n, slope in enumerate(slopes):
        data = head(MRImageStorage, 1)
        data.InstanceNumber, data.ImagePositionPatient = n + 1, [0, 0, 5 * n]
        data.ImageOrientationPatient, data.PixelSpacing, data.SliceThickness = [1, 0, 0, 0, 1, 0], [1, 1], 5
        data.RescaleSlope, data.RescaleIntercept = slope, 0
        data.save_as(folder / f"{n}.dcm", enforce_file_format=True)


def column(values) -> list[float]:
    """The value of each slice, of 100, highest slice last."""
    return [round(float(value), 2) for value in np.asarray(values)[:, 0, 0]]


names = "SimpleITK", "pydicom", "highdicom"
print(", ".join(f"{name} {version(name)}" for name in names))
for number, slopes in enumerate(([2, 1, 0.5, 0.25, 4], [1, 1.5, 0.5, 0.375, 0.004])):
    path, folder = Path(f"enhanced{number}.dcm"), Path(f"classic{number}")
    enhanced(path, slopes)
    classic(folder, slopes)
    data = pydicom.dcmread(path)
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    found = {
        "true": [100.0 * slope for slope in slopes],
        "enhanced: SimpleITK": column(sitk.GetArrayFromImage(sitk.ReadImage(path))),
        "enhanced: pydicom": column(apply_modality_lut(data.pixel_array, data)),
        "enhanced: highdicom": column(highdicom.imread(path).get_volume().array[::-1]),
        "classic: SimpleITK": column(sitk.GetArrayFromImage(sitk.ReadImage(files))),
        "classic: SimpleITK, float32": column(sitk.GetArrayFromImage(sitk.ReadImage(files, sitk.sitkFloat32))),
    }
    for title, values in found.items():
        print(f"  {title:28} " + " ".join(f"{value:7.2f}" for value in values))
    print()
    true, wrong, unchanged, right, rounded, floats = found.values()
    assert true == right == floats and wrong == [true[0]] * 5 and unchanged == [100] * 5
    assert rounded == ([float(int(value)) for value in true] if number else true)
PYTHON
