"""Slicer with its Qt side: what :mod:`.application` sets up, and ``qt``, ``ctk``, ``slicer.qMRML*``, ``slicer.app``."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Signal

from . import application, ctk_widgets, event_lock, layout, module_host, mrml_widgets, pythonqt, segment_editor
from .ui_loader import QUiLoader


class Messages(list):
    """What Slicer would have shown in a box: (kind, text) in order, and what the user answers.

    ``answers`` are for boxes that ask (True, False, a standard button), ``files`` for file dialogs (a path; the dialog
    is cancelled when there is none).
    """

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Forget all of it."""
        self.clear()
        self.answers: list = []
        self.files: list[str] = []


class _Signals(QtCore.QObject):
    startupCompleted = Signal()
    lastWindowClosed = Signal()
    mrmlSceneChanged = Signal(object)


class QtSlicerApplication(application.Application):
    """``slicer.app``; what is not defined here is asked of the ``QApplication``."""

    HARNESS_NAMES = ("complete_startup", "escaped", "messages", "noteEscaped", "qt_app", "testing")

    def __init__(self, base: application.Application, qt_app: QtWidgets.QApplication) -> None:
        super().__init__(**{name: getattr(base, name) for name in base.__dataclass_fields__})
        self.qt_app = qt_app
        self.messages = Messages()
        self._signals = _Signals()
        self._modules = module_host.ModuleManager()
        self._layout_manager = None
        self._settings = None
        self.slicerHome = str(Path(sys.prefix))
        self.isInstalled = True
        self.majorVersion, self.minorVersion, self.revision = 5, 12, "0"
        self.applicationVersion = "5.12.0-harness"
        self.slicerUserSettingsFilePath = str(Path(self.temporaryPath) / "settings" / "Slicer.ini")
        #: True as under ``Slicer --testing``; a user's Slicer says False.
        self.testing = False
        #: Exceptions that left a slot or an observer: Qt and VTK print these and go on, a test should not.
        self.escaped: list[BaseException] = []

    def __getattr__(self, name: str):
        if name.startswith("_") or "qt_app" not in self.__dict__:
            raise AttributeError(name)
        for source in (self._signals, self.qt_app):
            if hasattr(source, name):
                return getattr(source, name)
        raise AttributeError(f"slicer.app has no {name} in the test harness")

    def connect(self, signature, slot):
        self._signals.connect(signature, slot)

    def complete_startup(self) -> None:
        """Tell those who wait for it that all modules are loaded; each is told once."""
        self._signals.startupCompleted.emit()
        if self._signals.receivers(QtCore.SIGNAL("startupCompleted()")):
            self._signals.startupCompleted.disconnect()

    def processEvents(self, *arguments) -> None:
        if event_lock.held():
            event_lock.process_events()(event_lock.ALL_EVENTS)
        else:
            self.qt_app.processEvents(*arguments)

    def testingEnabled(self) -> bool:
        return self.testing

    def moduleManager(self):
        return self._modules

    def layoutManager(self):
        if self._layout_manager is None:
            self._layout_manager = layout.LayoutManager()
        return self._layout_manager

    def pauseRender(self) -> None:
        self.layoutManager().pauseRender()

    def resumeRender(self) -> None:
        self.layoutManager().resumeRender()

    def settings(self):
        # One object as in Slicer: each that goes writes its file at once, which a user's Slicer does when it is idle.
        if self._settings is None:
            self._settings = QtCore.QSettings()
        return self._settings

    userSettings = revisionUserSettings = settings

    def startupEnvironment(self):
        return QtCore.QProcessEnvironment.systemEnvironment()

    def commandOptions(self):
        return type("Options", (), {"noMainWindow": False, "testingEnabled": True})()

    def pythonConsole(self):
        return None

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"https://example.org/{name}"


@cache
def start() -> QtSlicerApplication:
    """Set Slicer with Qt up in this process, once; later calls return the same application.

    On the platform in ``QT_QPA_PLATFORM``: ``offscreen`` unless something else is set; ``xcb`` needs a display, see
    :mod:`.xvfb`.
    """
    base = application.start()
    pythonqt.patch()
    QtCore.qInstallMessageHandler(_log_qt_message)
    qt_app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    QtCore.QCoreApplication.setOrganizationName("NA-MIC")
    QtCore.QCoreApplication.setOrganizationDomain("www.na-mic.org")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    _isolate_settings(Path(base.temporaryPath) / "settings")
    qt_app.setStyle("Fusion")
    qt_app.setQuitOnLastWindowClosed(False)
    font = QtGui.QFont("DejaVu Sans")
    font.setPixelSize(11)
    qt_app.setFont(font)

    pythonqt.module(QUiLoader)
    ctk_widgets.module()
    standins = {
        **mrml_widgets.names(),
        "qMRMLSegmentEditorWidget": segment_editor.qMRMLSegmentEditorWidget,
        "qMRMLSliceWidget": layout.qMRMLSliceWidget,
        "qSlicerScriptedLoadableModule": module_host.qSlicerScriptedLoadableModule,
        "qSlicerScriptedLoadableModuleWidget": module_host.qSlicerScriptedLoadableModuleWidget,
    }
    for name, value in standins.items():
        setattr(slicer, name, value)
    slicer.app = QtSlicerApplication(base, qt_app)
    slicer.app.noteEscaped = _keep_escaped(sys.excepthook)
    sys.excepthook = slicer.app.noteEscaped
    sys.path.append(str(Path(__file__).parent / "module_side"))
    _record_messages(slicer.app)
    return slicer.app


def _keep_escaped(hook):
    """An exception hook that also notes what escaped in ``slicer.app.escaped``."""

    def escaped(kind, value, traceback):
        slicer.app.escaped.append(value)
        hook(kind, value, traceback)

    return escaped


def _log_qt_message(kind, context, message: str) -> None:
    """Qt's own warnings go where Slicer's go, except what the offscreen platform says about itself."""
    if "This plugin does not support" not in message:
        logging.getLogger("qt").warning(message)


def _isolate_settings(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
        for kind in (QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Format.NativeFormat):
            QtCore.QSettings.setPath(kind, scope, str(folder))
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)


def _record_messages(app: QtSlicerApplication) -> None:
    """Boxes and file dialogs are noted in ``slicer.app.messages`` and answered from there, instead of shown."""
    util = slicer.util

    def ask_for_file(parent=None, caption="", *arguments):
        app.messages.append(("file", caption))
        return str(app.messages.files.pop(0)) if app.messages.files else ""

    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
        setattr(QtWidgets.QFileDialog, name, staticmethod(ask_for_file))

    def record(kind, default):
        def display(text, *arguments, **keywords):
            app.messages.append((kind, text))
            if default is None:
                return None
            return app.messages.answers.pop(0) if app.messages.answers else default

        return display

    util.infoDisplay = record("info", None)
    util.warningDisplay = record("warning", None)
    util.errorDisplay = record("error", None)
    util.messageBox = record("message", QtWidgets.QMessageBox.StandardButton.Ok)
    util.confirmOkCancelDisplay = record("confirm", True)
    util.confirmYesNoDisplay = record("confirm", True)
    util.confirmRetryCloseDisplay = record("confirm", True)
    util.delayDisplay = record("delay", None)
