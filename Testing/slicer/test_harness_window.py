"""The window: views that show what Slicer renders, clicks, keys, screenshots, the event loop, two platforms."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
COLOURS = {"ventricle": (0.0, 0.0, 1.0), "normal": (0.0, 1.0, 0.0), "lesion": (1.0, 0.0, 0.0)}


@pytest.fixture
def case(slicer, head):
    """A head with its labels as segments, as nodes."""
    volume, labels = head
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(node)
    for value, (name, colour) in enumerate(COLOURS.items(), start=1):
        segmentation.GetSegmentation().AddEmptySegment(name, name, colour)
        mask = (labels == value).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, name, node)
    return node, segmentation


def picture(path) -> np.ndarray:
    """A PNG as (rows, columns, RGB), uint8."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def share(pixels: np.ndarray, name: str) -> float:
    """Share of pixels in which a class's colour leads clearly."""
    channel = int(np.argmax(COLOURS[name]))
    others = [c for c in range(3) if c != channel]
    return float((pixels[..., channel].astype(int) - pixels[..., others].max(axis=-1) > 60).mean())


def test_screenshot_shows_panel_and_views(slicer, head, case, main_window, tmp_path):
    import qt

    panel = qt.QWidget()
    panel.setStyleSheet("background: #123456;")
    window = main_window(panel, width=1400, height=900)
    slicer.util.setSliceViewerLayers(background=case[0], fit=True)
    volume, labels = head
    k, j, i = np.argwhere(labels == 1)[0]
    inside_a_ventricle = (volume.ijk_to_ras @ [i, j, k, 1])[:3]
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *inside_a_ventricle)
    pixels = picture(window.screenshot(tmp_path / "window.png"))
    assert pixels.shape == (900, 1400, 3)
    assert (pixels[400, 200] == (0x12, 0x34, 0x56)).all()
    for name in slicer.app.layoutManager().sliceViewNames():
        view = slicer.app.layoutManager().sliceWidget(name).sliceView()
        corner = view.mapTo(window, qt.QPoint(0, 0))
        part = pixels[corner.y() : corner.y() + view.height, corner.x() : corner.x() + view.width]
        assert (part.max(axis=-1) > 60).mean() > 0.3, name  # the head fills the view
        assert share(part, "ventricle") > 0.0001, name


def test_views_follow_the_slice_and_the_segments(slicer, case, main_window):
    main_window()
    node, segmentation = case
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    widget = slicer.app.layoutManager().sliceWidget("Red")
    view = widget.sliceView()

    def seen() -> float:
        slicer.app.processEvents()
        view.forceRender()
        return share(view.view.render(), "ventricle")

    shown = seen()
    segmentation.GetDisplayNode().SetSegmentVisibility("ventricle", False)
    assert (shown > 0, seen()) == (True, 0)
    segmentation.GetDisplayNode().SetSegmentVisibility("ventricle", True)
    assert seen() == shown
    widget.sliceController().setSliceOffsetValue(-60)
    assert seen() == 0
    assert widget.sliceController().sliceOffsetSlider().value == pytest.approx(-60, abs=0.1)


def test_a_change_in_the_scene_is_drawn_without_being_asked_for(slicer, case, main_window):
    from Testing.harness.interaction import wait_until

    main_window()
    slicer.util.setSliceViewerLayers(background=case[0], fit=True)
    slicer.app.processEvents()
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()

    def blue() -> bool:
        image = view.grab().toImage()
        colours = (image.pixelColor(x, y) for x in range(0, view.width, 3) for y in range(0, view.height, 3))
        return any(colour.blue() - colour.red() > 60 for colour in colours)

    wait_until(blue, 10)
    case[1].GetDisplayNode().SetSegmentVisibility("ventricle", False)
    wait_until(lambda: not blue(), 10)


def test_closed_surfaces_are_seen_in_3d(slicer, case, main_window):
    main_window()
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    assert share(view.view.render(), "lesion") == 0
    case[1].CreateClosedSurfaceRepresentation()
    view.resetFocalPoint()
    assert share(view.view.render(), "lesion") > 0.001


def test_views_survive_closing_the_scene(slicer, case, main_window):
    window = main_window()
    slicer.util.setSliceViewerLayers(background=case[0], fit=True)
    slicer.app.processEvents()
    slicer.mrmlScene.Clear(False)
    slicer.app.processEvents()
    pixels = slicer.app.layoutManager().sliceWidget("Red").sliceView().view.render()
    assert pixels.max() == 0
    assert window.isVisible()


def test_layouts(slicer, main_window):
    main_window()
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert [manager.sliceWidget(name).visible for name in manager.sliceViewNames()] == [True, False, False]
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert all(manager.sliceWidget(name).visible for name in manager.sliceViewNames())


def test_hidden_and_disabled_widgets_cannot_be_clicked(slicer):
    import qt

    from Testing.harness.interaction import click

    button = qt.QPushButton("Segment")
    heard = []
    button.clicked.connect(lambda: heard.append(1))
    with pytest.raises(RuntimeError, match="hidden or disabled"):
        click(button)
    button.show()
    click(button)
    button.setEnabled(False)
    with pytest.raises(RuntimeError, match="hidden or disabled"):
        click(button)
    assert heard == [1]


def test_keys_reach_shortcuts_and_text(slicer, main_window):
    import qt

    from Testing.harness.interaction import press, type_text

    line = qt.QLineEdit()
    window = main_window(line)
    heard = []
    shortcut = qt.QShortcut(qt.QKeySequence("N"), window)
    shortcut.activated.connect(lambda: heard.append("N"))
    press("N", window)
    assert heard == ["N"]
    shortcut.setEnabled(False)
    press("N", window)
    assert heard == ["N"]
    type_text(line, "SE-12")
    press("Backspace", line)
    assert line.text == "SE-1"


def test_wait_until_waits_for_the_event_loop_and_gives_up(slicer):
    import qt

    from Testing.harness.interaction import wait_until

    heard = []
    qt.QTimer.singleShot(20, lambda: heard.append(1))
    wait_until(lambda: heard, 5)
    with pytest.raises(TimeoutError):
        wait_until(lambda: False, 0.05)


def test_probe_finds_a_blocked_event_loop(slicer):
    import qt

    from Testing.harness.interaction import EventLoopProbe, run_event_loop

    with EventLoopProbe() as quiet:
        run_event_loop(0.3)
    with EventLoopProbe() as blocked:
        qt.QTimer.singleShot(50, lambda: time.sleep(0.2))
        run_event_loop(0.4)
    assert len(quiet.blocks_ms) > 20
    assert blocked.longest_block_ms >= 190
    assert quiet.longest_busy_ms < 190  # processor time: other processes of a busy machine are not in it


SCRIPT = """
import sys
from Testing.harness.qt_application import start
start()
import qt
from Testing.harness.interaction import click
from Testing.harness.main_window import MainWindow
button = qt.QPushButton("Segment")
heard = []
button.clicked.connect(lambda: heard.append(1))
window = MainWindow(button)
click(button)
window.screenshot(sys.argv[1])
window.close_all()
assert heard == [1]
sys.stdout.write(qt.QApplication.platformName())
"""


@pytest.mark.parametrize("platform", ["offscreen", "xcb"])
def test_runs_on_both_platforms(application, platform, tmp_path):
    import os
    from contextlib import nullcontext

    from Testing.harness import xvfb

    if platform == "xcb" and xvfb.why_not() and not os.environ.get("CI"):
        pytest.skip(xvfb.why_not())
    offscreen = nullcontext({**os.environ, "QT_QPA_PLATFORM": "offscreen"})
    with xvfb.display() if platform == "xcb" else offscreen as environment:
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "FlairSegExtension")])
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, tmp_path / "window.png"], env=environment, capture_output=True, text=True
        )
    assert (done.returncode, done.stdout) == (0, platform), done.stderr
    pixels = picture(tmp_path / "window.png")
    button = pixels[:, :420]
    assert (button.max(axis=-1) < 80).sum() > 50, "no letters: is there a font?"
