#!/usr/bin/env bash
# SimpleITK 2.5.7: reading a .vtk image, or writing a DICOM slice with its position, leaves the process in the locale "C".
#
# Both set C++'s global locale for their numbers and then set it "back" to what C++ had before: "C", as Python never told
# C++ of its own. From then on the whole process is in that locale. Python up to 3.14 takes the encoding of open() and of
# subprocess's text mode from it: the next text file with an umlaut is an error, in code that has nothing to do with
# images. NIfTI, NRRD, MetaImage and DICOM slices without ImagePositionPatient and ImageOrientationPatient change nothing.
# What to do: encoding="utf-8" wherever text is opened, or locale.setlocale(locale.LC_CTYPE, before) after the call.
#
# Output seen (locale, its encoding, a text file that holds "Müller"):
#   SimpleITK 2.5.7
#   start                           C.UTF-8   UTF-8            read
#   written as .nii.gz              C.UTF-8   UTF-8            read
#   read as .nii.gz                 C.UTF-8   UTF-8            read
#   written as .nrrd                C.UTF-8   UTF-8            read
#   read as .nrrd                   C.UTF-8   UTF-8            read
#   written as .mha                 C.UTF-8   UTF-8            read
#   read as .mha                    C.UTF-8   UTF-8            read
#   written as .vtk                 C.UTF-8   UTF-8            read
#   read as .vtk                    C         ANSI_X3.4-1968   UnicodeDecodeError
#   DICOM slice written             C.UTF-8   UTF-8            read
#   the same with its position      C         ANSI_X3.4-1968   UnicodeDecodeError
#   the same with its orientation   C         ANSI_X3.4-1968   UnicodeDecodeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7 numpy==2.2.6
LC_ALL=C.UTF-8 "$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import locale
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

folder = Path(sys.argv[1])
name = folder / "name.txt"
name.write_bytes("Müller".encode())
locale.setlocale(locale.LC_ALL, "C.UTF-8")
image = sitk.GetImageFromArray(np.zeros((1, 16, 16), np.int16))


def dicom(**tags: str) -> None:
    slice_ = image[:, :, 0]
    for tag, value in tags.items():
        slice_.SetMetaData(f"{tag[1:5]}|{tag[5:]}", value)
    sitk.WriteImage(slice_, folder / "slice.dcm")


def written(ending: str) -> None:
    sitk.WriteImage(image, folder / f"image{ending}")


print("SimpleITK", sitk.Version.VersionString())
steps = {
    "start": lambda: None,
    **{f"{verb} as {ending}": lambda do=do, ending=ending: do(ending)
       for ending in (".nii.gz", ".nrrd", ".mha", ".vtk")
       for verb, do in (("written", written), ("read", lambda e: sitk.ReadImage(folder / f"image{e}")))},
    "DICOM slice written": lambda: dicom(t00080060="MR", t00180050="3", t00280030="0.9\\0.9"),
    "the same with its position": lambda: dicom(t00080060="MR", t00200032="1\\2\\3"),
    "the same with its orientation": lambda: dicom(t00080060="MR", t00200037="1\\0\\0\\0\\1\\0"),
}  # fmt: skip
changed = set()
for step, act in steps.items():
    act()
    now, encoding = locale.setlocale(locale.LC_CTYPE), locale.nl_langinfo(locale.CODESET)
    try:
        said = open(name).read()
    except UnicodeDecodeError as error:
        said = type(error).__name__
        changed.add(step)
    print(f"{step:31} {now:9} {encoding:16} {'read' if said == 'Müller' else said}")
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
assert changed == {"read as .vtk", "the same with its position", "the same with its orientation"}, changed
PYTHON
