"""Pictures of the Slicer tutorial: a walk-through of the module on the digital phantom. Needs ``flairseg[slicer]``.

    python tools/tutorial_pictures.py

Writes ``docs/pictures/tutorial_*.png``. Panel, scene, rendering and editing are those of the module and of Slicer; the
window is that of the test harness, as each caption states.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "FlairSegExtension")]
PICTURES = ROOT / "docs" / "pictures"

from Testing.harness.qt_application import start  # noqa: E402

#: Step of the walk-through -> name of its picture.
SHOWN = {
    "loaded": "tutorial_1_case",
    "segmenting": "tutorial_2_running",
    "located": "tutorial_3_result",
    "painted": "tutorial_4_correct",
    "accepted": "tutorial_5_verdict",
    "second_version": "tutorial_6_versions",
    "comparing": "tutorial_7_compare",
    "following": "tutorial_8_follow",
    "reported": "tutorial_9_report",
}
#: Caption of the picture of an adaptation.
ADAPTED = (
    "A small model adapted to five painted heads in the test harness: all figures are of this run. Not the Slicer "
    "application. Research use only."
)
#: Maximum size of a picture, so that a page with all of them loads quickly.
MOST_BYTES = 250_000
INK, PAPER = (60, 60, 60), (255, 255, 255)
FOOT = 24


def main() -> None:
    """Run the walk-through and save the pictures of the tutorial."""
    app = start()
    from Testing.harness.main_window import MainWindow
    from Testing.slicer.walkthrough import Walkthrough

    caption = (
        f"FlairSeg's panel on a digital phantom in the test harness: Slicer's own scene and rendering (slicer-core "
        f"{version('slicer-core')}), not the Slicer application. Research use only."
    )
    module = app.moduleManager().load(ROOT / "FlairSegExtension" / "FlairSeg.py")
    window = MainWindow("FlairSeg", width=1400, height=1000)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def picture(step: str) -> None:
            if step in SHOWN:
                raw = window.screenshot(folder / f"{step}.png")
                keep(raw, PICTURES / f"{SHOWN[step]}.png", caption)

        # The case folder is visible in a picture: use a path that is the same on every computer.
        os.chdir(folder)
        panel = module.widgetRepresentation().self()
        Walkthrough(window, panel, folder, picture, other_volumes=False, cases=Path("MS cases"), further=True).run()
        os.chdir(ROOT)
        adapt(panel, folder)
        raw = window.screenshot(folder / "adapted.png")
        keep(raw, PICTURES / "tutorial_10_adapt.png", ADAPTED)
    app.moduleManager().unload("FlairSeg")
    window.close_all()


def adapt(panel, folder: Path) -> None:
    """Adapt a small model to five synthetic heads in the worker process and show the result."""
    from flairseg.models import choosing, store
    from FlairSegLib.settings import FlairSegSettings

    from Testing.harness.interaction import click, run_event_loop, wait_until
    from Testing.slicer import adaptation_driver as driver

    models, cases = folder / "models", folder / "site"
    for path in (models, cases):
        path.mkdir()
    os.environ["PYTHONPATH"] = str(driver.prepare_site(models, cases, folder / "worker"))
    store.user_cache = choosing.user_cache = lambda: models
    store.DEFAULT_MODEL = driver.BASE
    FlairSegSettings().casesFolder = str(cases)
    panel.model.refresh()
    section = driver.opened(panel)
    click(section.ui.adaptButton)
    wait_until(lambda: not section.running, 1800)
    wait_until(lambda: not section.looking, 60)
    run_event_loop(0.5)
    for widget in (section.ui.adaptCollapsibleButton, section.ui.inUseLabel):
        panel.ui.contentArea.ensureWidgetVisible(widget)
    run_event_loop(0.3)


def keep(source: Path, target: Path, caption: str) -> None:
    """Save a screenshot with its caption, in few colours.

    Raises
    ------
    SystemExit
        If the file would be too large for the docs.
    """
    shot = Image.open(source).convert("RGB")
    picture = Image.new("RGB", (shot.width, shot.height + FOOT), PAPER)
    picture.paste(shot)
    ImageDraw.Draw(picture).text((8, shot.height + 5), caption, font=ImageFont.load_default(size=13), fill=INK)
    # Maximum coverage preserves the few coloured pixels; quantisation by frequency would merge them with grays.
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(target, optimize=True)
    size = target.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{target.name} has {size} bytes, more than {MOST_BYTES}")
    print(f"wrote {target.relative_to(ROOT)} ({size // 1000} kB)")


if __name__ == "__main__":
    main()
