"""Make the fonts of the PDF report: subsets of DejaVu Sans (from matplotlib) for the scripts of personal names.

``pip install fonttools matplotlib``, then ``python tools/subset_fonts.py``. Latin, Greek, Cyrillic, Armenian, Georgian,
Hebrew and Arabic (including Persian) letters with Arabic presentation forms, punctuation and some symbols.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
from fontTools import subset

FONTS = Path(__file__).resolve().parents[1] / "FlairSegExtension" / "flairseg" / "report" / "fonts"
NAMES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
RANGES = (
    (0x0020, 0x024F),  # Latin
    (0x02B0, 0x036F),  # modifiers, combining marks
    (0x0370, 0x052F),  # Greek, Cyrillic
    (0x0531, 0x05F4),  # Armenian, Hebrew
    (0x0600, 0x06FF),  # Arabic
    (0x0750, 0x077F),
    (0x10A0, 0x10FF),  # Georgian
    (0x1E00, 0x1EFF),  # Latin of Vietnamese and others
    (0x2000, 0x206F),  # punctuation
    (0x2070, 0x209F),
    (0x20A0, 0x20BF),
    (0x2100, 0x214F),
    (0x2190, 0x2199),
    (0x2200, 0x2265),
    (0x25A0, 0x25FF),
    (0xFB13, 0xFDFF),  # presentation forms
    (0xFE70, 0xFEFF),
    (0xFFFD, 0xFFFD),
)


def main() -> None:
    """Write the two fonts and their licence."""
    source = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    options = subset.Options(layout_features=["kern"], hinting=False, notdef_outline=True, name_IDs=["*"])
    for name in NAMES:
        font = subset.load_font(str(source / name), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
        subsetter.subset(font)
        subset.save_font(font, str(FONTS / name), options)
        print(name, (FONTS / name).stat().st_size)
    shutil.copyfile(source / "LICENSE_DEJAVU", FONTS / "LICENSE_DEJAVU")


if __name__ == "__main__":
    main()
