"""Draw the icons of the Slicer modules: `python tools/make_icon.py`.

FLAIR Segmentation: axial FLAIR slice with the three classes. FLAIR Review: the slice with outlined lesions, a false
positive (cross) and a false negative (circle).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "FlairSegExtension"))

from flairseg.labels import CLASS_BY_VALUE, LESION, NORMAL_WMH, VENTRICLES  # noqa: E402

SIZE = 128
SCALE = 8  # supersampling for smooth edges
ICONS = ROOT / "FlairSegExtension" / "Resources" / "Icons"
LESIONS = ((-0.225, -0.10, 0.055, 0.038), (0.20, 0.05, 0.040, 0.060), (-0.20, 0.155, 0.034, 0.034))
FALSE_POSITIVE, MISSED = (240, 60, 50, 255), (250, 210, 40, 255)


def main() -> None:
    """Write the icons into ``FlairSegExtension/Resources/Icons``."""
    icon, draw = _head()
    for mirror in (-1, 1):
        _paint_horns(draw, NORMAL_WMH, mirror, rim=0.007, cap=0.030)
    for mirror in (-1, 1):
        _paint_horns(draw, VENTRICLES, mirror, rim=0.0, cap=0.0)
    for lesion in LESIONS:
        draw.polygon(_ellipse(*lesion), fill=(*CLASS_BY_VALUE[LESION].rgb, 255))
    _save(icon, "FlairSeg.png")

    icon, draw = _head()
    for mirror in (-1, 1):
        _paint_horns(draw, VENTRICLES, mirror, rim=0.0, cap=0.0, colour=(52, 54, 62, 255))
    for x, y, a, b in LESIONS:
        ring = _ellipse(x, y, 1.3 * a, 1.3 * b)
        draw.polygon(ring, fill=(214, 216, 220, 255))
        draw.line([*ring, ring[0]], fill=(*CLASS_BY_VALUE[LESION].rgb, 255), width=2 * SCALE, joint="curve")
    for sign in (-1, 1):
        ends = [_at(0.20 - 0.13, 0.05 - sign * 0.13), _at(0.20 + 0.13, 0.05 + sign * 0.13)]
        draw.line(ends, fill=FALSE_POSITIVE, width=6 * SCALE)
    circle = _ellipse(0.17, -0.22, 0.085, 0.085)
    draw.line([*circle, circle[0], circle[1]], fill=MISSED, width=5 * SCALE, joint="curve")
    _save(icon, "FlairSegReview.png")


def _head() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Axial slice of a head without ventricles."""
    side = SIZE * SCALE
    icon = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(icon)
    draw.rounded_rectangle((0, 0, side - 1, side - 1), radius=side // 6, fill=(16, 18, 24, 255))
    draw.polygon(_folded_outline(0.40, 0.455, folds=26, depth=0.032), fill=(158, 160, 166, 255))
    white_matter = Image.new("L", icon.size, 0)
    ImageDraw.Draw(white_matter).polygon(_folded_outline(0.325, 0.385, folds=13, depth=0.07), fill=255)
    icon.paste((104, 107, 114, 255), mask=white_matter.filter(ImageFilter.GaussianBlur(SCALE * 0.8)))
    draw = ImageDraw.Draw(icon)
    draw.line([_at(0, -0.44), _at(0, -0.21)], fill=(40, 42, 50, 255), width=2 * SCALE)
    draw.line([_at(0, 0.23), _at(0, 0.44)], fill=(40, 42, 50, 255), width=2 * SCALE)
    return icon, draw


def _save(icon: Image.Image, name: str) -> None:
    icon.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(ICONS / name, optimize=True)


def _at(x: float, y: float) -> tuple[float, float]:
    """Pixel of a point given in icon widths from the centre."""
    return ((0.5 + x) * SIZE * SCALE, (0.5 + y) * SIZE * SCALE)


def _turn(steps: int) -> list[float]:
    return [2 * math.pi * i / steps for i in range(steps)]


def _folded_outline(a: float, b: float, folds: int, depth: float) -> list[tuple[float, float]]:
    """Ellipse with half-axes a, b and a wavy edge like folded cortex."""
    outline = []
    for t in _turn(720):
        wave = 1 - depth * (0.5 + 0.5 * math.cos(folds * t + 1.3 * math.sin(3 * t)))
        outline.append(_at(a * wave * math.cos(t), b * wave * math.sin(t)))
    return outline


def _paint_horns(
    draw: ImageDraw.ImageDraw,
    value: int,
    mirror: int,
    rim: float,
    cap: float,
    colour: tuple[int, int, int, int] | None = None,
) -> None:
    """Draw a lateral ventricle as discs along an arc, widened by ``rim`` along its sides and ``cap`` at its ends."""
    fill = colour or (*CLASS_BY_VALUE[value].rgb, 255)
    steps = 240
    for i in range(steps + 1):
        s = i / steps
        bow = math.sin(math.pi * s)
        radius = 0.014 + 0.030 * bow + rim + (cap - rim) * (1 - bow) ** 3
        x, y = mirror * (0.052 + 0.30 * (s - 0.5) ** 2 + 0.02 * s), -0.185 + 0.38 * s
        draw.ellipse((*_at(x - radius, y - radius), *_at(x + radius, y + radius)), fill=fill)


def _ellipse(x: float, y: float, a: float, b: float) -> list[tuple[float, float]]:
    return [_at(x + a * math.cos(t), y + b * math.sin(t)) for t in _turn(60)]


if __name__ == "__main__":
    main()
