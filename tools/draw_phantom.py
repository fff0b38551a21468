"""Picture of the digital phantom for the documentation: slices without and with the ground truth.

`python tools/draw_phantom.py` rewrites docs/pictures/phantom.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "FlairSegExtension"))

from flairseg.phantom import draw_phantom, make_phantom  # noqa: E402

SEED = 0
SLICES = (4, 7, 9, 11, 13, 17)
TILE_PIXELS = 190


def main() -> None:
    """Write ``docs/pictures/phantom.png``."""
    phantom = make_phantom(SEED)
    sheets = [
        draw_phantom(phantom, outlines=outlines, columns=len(SLICES), slices=SLICES, tile_pixels=TILE_PIXELS)
        for outlines in (False, True)
    ]
    plain = sheets[0].crop((0, 0, sheets[0].width, TILE_PIXELS))
    picture = Image.new("RGB", (plain.width, plain.height + sheets[1].height))
    picture.paste(plain, (0, 0))
    picture.paste(sheets[1], (0, plain.height))
    path = ROOT / "docs" / "pictures" / "phantom.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    main()
