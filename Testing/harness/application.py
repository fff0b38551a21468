"""The scene, logics and host objects that Slicer's application sets up before it loads a scripted module."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace

# Before VTK is loaded: off screen through EGL, Mesa's software renderer where there is no GPU.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import slicer
import slicer.util
import vtk

from .io_manager import CoreIOManager
from .strict import Guarded

#: slicer-core's class of each module logic, by the name under ``slicer.modules``. The order is that of dependency.
_MODULE_LOGICS = {
    "subjecthierarchy": ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    "terminologies": ("Terminologies", "vtkSlicerTerminologiesModuleLogic"),
    "units": ("Units", "vtkSlicerUnitsLogic"),
    "volumes": ("Volumes", "vtkSlicerVolumesLogic"),
    "segmentations": ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
    "markups": ("Markups", "vtkSlicerMarkupsLogic"),
}


@dataclass
class Application(Guarded):
    """``slicer.app``: the few methods of ``qSlicerApplication`` that modules and ``slicer.util`` call."""

    STANDS_FOR = "qSlicerApplication"
    logic: slicer.vtkSlicerApplicationLogic
    io_manager: CoreIOManager
    temporaryPath: str
    applicationName: str = "Slicer"
    _keep_alive: list = field(default_factory=list, repr=False)

    def coreIOManager(self) -> CoreIOManager:
        return self.io_manager

    def ioManager(self) -> CoreIOManager:
        return self.io_manager

    def applicationLogic(self):
        return self.logic

    def mrmlScene(self):
        return slicer.mrmlScene

    def testingEnabled(self) -> bool:
        return True

    def processEvents(self) -> None:
        """No event loop runs here."""

    def connect(self, signature, slot) -> None:
        """Without Qt nothing is ever signalled."""

    def layoutManager(self):
        """There is no main window here."""
        return None

    def pauseRender(self) -> None:
        """Nothing renders by itself here."""

    def resumeRender(self) -> None:
        """Nothing renders by itself here."""


@cache
def start() -> Application:
    """Set Slicer up in this process, once; later calls return the same application.

    Sets ``slicer.mrmlScene``, ``slicer.app``, ``slicer.modules`` and makes ``slicer.ScriptedLoadableModule`` and
    ``slicer.i18n`` importable.
    """
    slicer.__path__.append(str(Path(__file__).parent / "slicer_side"))
    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    _add_scene_defaults(scene)
    _follow_removals(scene)

    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    temporary = tempfile.TemporaryDirectory(prefix="flairseg-slicer-")
    logic.SetTemporaryPath(temporary.name)
    keep_alive = [temporary]

    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    logic.SetColorLogic(colors)
    logic.SetModuleLogic("Colors", colors)
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())

    modules = {}
    for attribute, (name, class_name) in _MODULE_LOGICS.items():
        module_logic = getattr(slicer, class_name)()
        module_logic.SetMRMLApplicationLogic(logic)
        with _vtk_quiet():  # Slicer's terminology lists are data of the application, not of slicer-core
            module_logic.SetMRMLScene(scene)
        logic.SetModuleLogic(name, module_logic)
        modules[attribute] = SimpleNamespace(name=name, logic=lambda module_logic=module_logic: module_logic)
    slicer.modules = SimpleNamespace(**modules)

    keep_alive += _remote_io(scene, temporary.name)
    manager = CoreIOManager(modules["volumes"].logic(), modules["segmentations"].logic())
    slicer.app = Application(logic, manager, temporary.name, _keep_alive=keep_alive)
    return slicer.app


def close_scene() -> None:
    """What "Close scene" does: every node goes, except those the application made for itself."""
    slicer.mrmlScene.Clear(False)


@contextmanager
def _vtk_quiet():
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()


def _add_scene_defaults(scene) -> None:
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetName("default")
    crosshair.SetSingletonTag("default")
    scene.AddNode(crosshair)
    for class_name in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode"):
        node = getattr(slicer, class_name)()
        node.SetSingletonTag("Singleton")
        scene.AddNode(node)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)


def _follow_removals(scene) -> None:
    """With a node go, as in the application, its display and storage nodes, before it is gone itself."""

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def about_to_be_removed(_scene, _event, node=None):
        if node is None or scene.IsClosing():
            return
        with_it = []
        if node.IsA("vtkMRMLDisplayableNode"):
            with_it += [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
        if node.IsA("vtkMRMLStorableNode"):
            with_it += [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
        for child in with_it:
            if child is not None and child.GetScene() is scene:
                scene.RemoveNode(child)

    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, about_to_be_removed, -1.0)


def _remote_io(scene, cache_directory: str) -> list:
    """Storage nodes and scene bundles look for a cache and a data manager, even for local files."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(cache_directory)
    remote.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLScene(scene)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    return [remote, manager]
