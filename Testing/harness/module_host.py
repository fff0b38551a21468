"""Stand-ins for the C++ objects around a scripted module: module, its widget, and Slicer's module manager."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

from .mrml_widgets import qMRMLWidget


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """A scripted module as Slicer's core sees it: the ``parent`` of the Python class.

    Parameters
    ----------
    path : str
        The module's .py file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.module_name = Path(path).stem
        self.setObjectName(self.module_name)
        self.title = self.helpText = self.acknowledgementText = ""
        self.categories, self.dependencies, self.contributors = [], [], []
        self.hidden = False
        self.icon = None
        self._representation = None

    def widgetRepresentation(self):
        if self._representation is None:
            self._representation = self.createNewWidgetRepresentation()
        return self._representation

    def createNewWidgetRepresentation(self):
        return qSlicerScriptedLoadableModuleWidget(self)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The widget in the module panel: the ``parent`` of the Python widget class.

    Parameters
    ----------
    module : qSlicerScriptedLoadableModule
        Whose it is.
    """

    STANDS_FOR_CPP = False

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module = module
        self._python = None
        self._entered = False
        self.setLayout(QtWidgets.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)
        self.reload()

    def self(self):
        return self._python

    def reload(self) -> None:
        # As in Slicer: who was entered counts as entered, and the new panel is not told.
        name = self._module.module_name
        self._python = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._python)
        self._python.setup()

    def enter(self) -> None:
        if not self._entered:
            self._entered = True
            getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        if self._entered:
            self._entered = False
            getattr(self._python, "exit", lambda: None)()


class ModuleManager(QtCore.QObject):
    """``slicer.app.moduleManager()``; also what loads a module of ours."""

    STANDS_FOR = "qSlicerModuleManager"
    HARNESS_NAMES = ("load", "unload")
    moduleAboutToBeUnloaded = Signal(str)
    moduleUnloaded = Signal(str)
    moduleLoaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._scripted = {}

    def load(self, path: str | Path) -> qSlicerScriptedLoadableModule:
        """Load a scripted module from its file, as Slicer does at its start; the panel is made when first asked for."""
        path = Path(path).resolve()
        name = path.stem
        if name in self._scripted:
            return self._scripted[name]
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        module = qSlicerScriptedLoadableModule(str(path))
        module.python = getattr(sys.modules[name], name)(module)
        self._scripted[name] = module
        setattr(slicer.modules, name.lower(), module)
        setattr(slicer.modules, f"{name}Instance", module.python)
        self.moduleLoaded.emit(name)
        slicer.app.complete_startup()
        return module

    def unload(self, name: str) -> None:
        """Unload a scripted module: its panel is cleaned up and goes, as when the application ends."""
        module = self._scripted.pop(name)
        if module._representation is not None:
            module._representation.exit()
        self.moduleAboutToBeUnloaded.emit(name)
        if module._representation is not None:
            module._representation.deleteLater()
        for attribute in (name.lower(), f"{name}Instance", f"{name}Widget"):
            if hasattr(slicer.modules, attribute):
                delattr(slicer.modules, attribute)
        self.moduleUnloaded.emit(name)

    def module(self, name: str):
        return self._scripted.get(name) or getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> list[str]:
        return list(self._scripted)

    def factoryManager(self):
        return SimpleNamespace(
            loadedModuleNames=self.modulesNames,
            isLoaded=lambda name: self.module(name) is not None,
            registerModules=lambda *_: None,
        )
