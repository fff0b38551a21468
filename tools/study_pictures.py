"""Pictures of a study report for docs/study.md, from a simulated study of phantoms, rendered by a browser.

`python tools/study_pictures.py` rewrites docs/pictures/study_*.png, without patient images or answers of people. Needs
Chromium; without it, the pictures are not changed.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from demo_study import run_study
from PIL import Image
from rich.console import Console

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
CASES = 12
#: Words in the caption of a figure -> name of its picture.
FIGURES = {"Wilson intervals": "acceptance", "Gwet": "agreement", "schematic head": "error_map", "quartiles": "time"}
_FIGURE = re.compile(r'<img src="data:image/svg\+xml;base64,([^"]+)".*?</b>(.*?)</figcaption>', re.DOTALL)
_SIZE = re.compile(
    r'<svg[^>]*?height="([\d.]+)pt"[^>]*?width="([\d.]+)pt"|<svg[^>]*?width="([\d.]+)pt"[^>]*?height="([\d.]+)pt"'
)
_PIXELS_PER_POINT = 1.6
_PAGE = (1000, 640)


def browser() -> str | None:
    """Path of Chromium; None if it is not installed."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


def shoot(program: str, page: Path, size: tuple[int, int], picture: Path) -> None:
    """Save a page as PNG with few colours."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    where = [f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run([program, *options, *where], check=True, capture_output=True)
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)


def main() -> None:
    """Run the study and save pictures of the top of its report and of each figure in ``FIGURES``."""
    program = browser()
    if program is None:
        print("Chromium is not installed: docs/pictures/study_*.png are not changed.")
        return
    with tempfile.TemporaryDirectory(prefix="flairseg-study-pictures-") as name:
        folder = Path(name)
        report = run_study(folder / "study", CASES, Console(highlight=False, quiet=True)) / "report.html"
        shoot(program, report, _PAGE, PICTURES / "study_report.png")
        for encoded, caption in _FIGURE.findall(report.read_text(encoding="utf-8")):
            wanted = next((short for word, short in FIGURES.items() if word in caption), None)
            if wanted is None:
                continue
            svg = base64.b64decode(encoded).decode("utf-8")
            height, width = (float(x) * _PIXELS_PER_POINT for x in _points(svg))
            page = folder / f"{wanted}.html"
            page.write_text(
                f'<body style="margin:0;background:#fff"><img style="width:{width:.0f}px" '
                f'src="data:image/svg+xml;base64,{encoded}">',
                encoding="utf-8",
            )
            shoot(program, page, (round(width), round(height)), PICTURES / f"study_{wanted}.png")


def _points(svg: str) -> tuple[float, float]:
    """Height and width of an SVG made by matplotlib, points."""
    found = _SIZE.search(svg).groups()
    return (float(found[0]), float(found[1])) if found[0] else (float(found[3]), float(found[2]))


if __name__ == "__main__":
    main()
