"""Fixtures of the tests on real MRML: Slicer's environment, a small head, and a model whose answer is known."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flairseg.image.volume import Volume

from Testing.harness.small_case import make_head, write_intensity_model

#: Top-level packages of ours; the module files are the rest.
_PACKAGES = ("flairseg", "FlairSegLib")


def _own_modules() -> dict:
    return {name: found for name, found in sys.modules.items() if name.lower().split(".")[0].startswith("flairseg")}


@pytest.fixture(autouse=True)
def _one_copy_of_our_code():
    """A test that reloads the module, as developers do, leaves the others the classes that they have imported."""
    before = _own_modules()
    yield
    if any(sys.modules.get(name) is not found for name, found in before.items()):
        for name in _own_modules():
            del sys.modules[name]
        # The module files bind names of the reloaded packages: they are imported anew when next asked for.
        sys.modules.update({name: found for name, found in before.items() if "." in name or name in _PACKAGES})


@pytest.fixture(scope="session")
def application():
    """Slicer with its Qt side. Without slicer-core or Qt the tests skip and say why, except in CI, which has both."""
    if not os.environ.get("CI"):
        for module, package in (("slicer", "slicer-core"), ("PySide6.QtWidgets", "PySide6_Essentials")):
            pytest.importorskip(module, reason=f"{package} is not installed: pip install 'flairseg[slicer]'")
    from Testing.harness.qt_application import start

    return start()


@pytest.fixture
def slicer(application):
    """The module ``slicer``; scene, settings, messages and the record of pip are emptied after the test.

    An exception that left a slot or an observer, which Qt and VTK only print, fails the test.
    """
    import qt
    import slicer
    from slicer import packaging

    from Testing.harness.application import close_scene

    # Command line tests that ran before in this process (Typer) put hooks of their own there.
    sys.excepthook = slicer.app.noteEscaped
    # Most runs here are over in a second; looking for regions after each of them would take longer than all else.
    qt.QSettings().setValue("FlairSeg/regionsAfterRun", "no")
    yield slicer
    slicer.app.processEvents()
    close_scene()
    slicer.app.messages.reset()
    slicer.app.testing = False
    packaging.recorder.reset()
    qt.QSettings().clear()
    escaped = list(slicer.app.escaped)
    slicer.app.escaped.clear()
    assert not escaped, f"exceptions left slots or observers: {escaped}"


@pytest.fixture
def load_module(slicer):
    """``load_module("FlairSeg")`` loads a scripted module of the extension as Slicer does, for one test."""
    import flairseg

    manager, loaded = slicer.app.moduleManager(), []

    def load(name: str):
        loaded.append(name)
        return manager.load(Path(flairseg.__file__).parents[1] / f"{name}.py")

    yield load
    for name in loaded:
        manager.unload(name)
    slicer.app.processEvents()


@pytest.fixture
def main_window(slicer):
    """``main_window(module)`` opens a window like Slicer's, with a module (by name) or a widget in its panel."""
    from Testing.harness.main_window import MainWindow

    windows = []

    def show(module=None, **size):
        windows.append(MainWindow(module, **size))
        return windows[-1]

    yield show
    for window in windows:
        window.close_all()


@pytest.fixture
def no_worker(slicer, monkeypatch):
    """For tests that segment nothing: no process has to warm up."""
    from FlairSegLib.run_controller import RunController

    monkeypatch.setattr(RunController, "warmUp", lambda self, modelId=None, device="auto": None)


@pytest.fixture
def open_panel(main_window, load_module):
    """``open_panel(height=1400)`` shows FLAIR Segmentation in a window and gives its panel."""

    def show(**size):
        module = load_module("FlairSeg")
        main_window("FlairSeg", **size)
        return module.widgetRepresentation().self()

    return show


@pytest.fixture
def bridge(slicer):
    """Everything between nodes of the scene and volumes and results of the core."""
    from FlairSegLib import kept_answers, scene_bridge, volume_nodes

    return SimpleNamespace(**{**vars(volume_nodes), **vars(kept_answers), **vars(scene_bridge)})


@pytest.fixture
def logic(slicer):
    from FlairSeg import FlairSegLogic

    return FlairSegLogic()


@pytest.fixture(scope="session")
def head() -> tuple[Volume, np.ndarray]:
    """A coarse head and its labels, see :func:`Testing.harness.small_case.make_head`."""
    return make_head()


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Path of a model that finds the head's three classes by their gray levels."""
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'flairseg[test]'")
    return write_intensity_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def save_nifti():
    """``save_nifti(path, array_kji, ijk_to_ras)`` by nibabel, which shares no code with ours or Slicer's readers."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")

    def save(path: Path, array: np.ndarray, ijk_to_ras: np.ndarray) -> Path:
        image = nibabel.Nifti1Image(np.transpose(array), ijk_to_ras)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, path)
        return path

    return save


@pytest.fixture
def result(slicer, main_window, tmp_path):
    """The result half of the panel in a window, driven by a :class:`Testing.slicer.result_driver.Driver`."""
    import qt
    from FlairSegLib.panel.result_panel import ResultPanel
    from FlairSegLib.settings import FlairSegSettings

    from Testing.slicer.result_driver import Driver

    holder = qt.QWidget()
    window = main_window(holder)
    settings = FlairSegSettings()
    settings.casesFolder, settings.readerName = str(tmp_path / "cases"), "R01"
    panel = ResultPanel(holder, settings)
    panel.enter()
    yield Driver(slicer, panel, window, settings)
    panel.cleanup()


@pytest.fixture
def queue(slicer, main_window, tmp_path):
    """The tab Queue in a window, driven by a :class:`Testing.slicer.queue_driver.QueueDriver`."""
    import qt
    from FlairSegLib.review_panel.queue_tab import QueueTab
    from FlairSegLib.settings import FlairSegSettings

    from Testing.slicer.queue_driver import QueueDriver

    holder = qt.QWidget()
    settings = FlairSegSettings()
    settings.casesFolder, settings.readerName = str(tmp_path / "cases"), "R01"
    tab = QueueTab(holder, settings)
    window = main_window(holder)
    tab.enter()
    yield QueueDriver(slicer, tab, window, settings)
    tab.cleanup()


@pytest.fixture
def rater(slicer, main_window):
    """The Study tab of FLAIR Review in a window, driven by a :class:`Testing.slicer.review_driver.StudyDriver`."""
    import qt
    from FlairSegLib.review_panel.study_tab import StudyTab
    from FlairSegLib.settings import FlairSegSettings

    from Testing.slicer.review_driver import StudyDriver

    holder = qt.QWidget()
    qt.QVBoxLayout(holder)
    window = main_window(holder)
    settings = FlairSegSettings()
    tab = StudyTab(holder, settings)
    tab.enter()
    slicer.app.processEvents()
    yield StudyDriver(slicer, tab, window, settings)
    tab.exit()
    tab.cleanup()


def _worker_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: str) -> Path:
    """Make workers wait where they open a file of this name, for as long as the file that is returned exists."""
    gate, site = tmp_path / "gate", tmp_path / "site"
    gate.touch()
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        f"""
import os, sys, time
def wait(event, arguments):
    if event == "open" and str(arguments[0]).endswith({opens!r}):
        while os.path.exists({str(gate)!r}):
            time.sleep(0.005)
sys.addaudithook(wait)
"""
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    return gate


@pytest.fixture
def slow_model(model, tmp_path, monkeypatch):
    """A worker whose runs wait at inference for as long as this file is there."""
    return _worker_that_waits(tmp_path, monkeypatch, "model.onnx")


@pytest.fixture
def slow_regions(tmp_path, monkeypatch):
    """A worker that looks for regions waits where it opens the atlas, for as long as this file is there."""
    return _worker_that_waits(tmp_path, monkeypatch, "atlas.npz")
