#!/usr/bin/env bash
# SimpleITK 2.5.7: a MetaImage field whose name is spelt otherwise is ignored without a word, and spacing becomes 1 mm.
#
# The reader compares names of fields letter by letter. "elementspacing" or "Spacing" in place of "ElementSpacing" is no
# error and no warning: the image has 1 x 1 x 1 mm, the volume of everything in it is wrong. "ElementSize" stands in for
# "ElementSpacing" where that is absent, and "Origin" is an accepted name of "Offset" while "Spacing" is none.
# What to do: after reading a .mha or .mhd, take a spacing of 1 x 1 x 1 mm for "not given" unless the header says so.
#
# Output seen:
#   SimpleITK 2.5.7
#   ElementSpacing = 0.5 0.5 6                   spacing (0.5, 0.5, 6.0)  origin (0.0, 0.0, 0.0)
#   elementspacing = 0.5 0.5 6; offset = 1 2 3   spacing (1.0, 1.0, 1.0)  origin (0.0, 0.0, 0.0)
#   Spacing = 0.5 0.5 6; Origin = 1 2 3          spacing (1.0, 1.0, 1.0)  origin (1.0, 2.0, 3.0)
#   ElementSize = 0.5 0.5 6                      spacing (0.5, 0.5, 6.0)  origin (0.0, 0.0, 0.0)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7
cd "$folder"
venv/bin/python - <<'PYTHON'
import SimpleITK as sitk

FIXED = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False"]
LAST = ["DimSize = 8 8 4", "ElementType = MET_UCHAR", "ElementDataFile = LOCAL"]


def read(*fields: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    with open("image.mha", "wb") as file:
        file.write(("\n".join([*FIXED, *fields, *LAST]) + "\n").encode() + bytes(8 * 8 * 4))
    image = sitk.ReadImage("image.mha")
    print(f"{'; '.join(fields):44} spacing {image.GetSpacing()}  origin {image.GetOrigin()}")
    return image.GetSpacing(), image.GetOrigin()


print("SimpleITK", sitk.Version.VersionString())
given, one, zero = (0.5, 0.5, 6.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
assert read("ElementSpacing = 0.5 0.5 6") == (given, zero)
assert read("elementspacing = 0.5 0.5 6", "offset = 1 2 3") == (one, zero)
assert read("Spacing = 0.5 0.5 6", "Origin = 1 2 3") == (one, (1.0, 2.0, 3.0))
assert read("ElementSize = 0.5 0.5 6") == (given, zero)
PYTHON
