"""A window that looks and behaves like Slicer's: module panel on the left, 2 x 2 views on the right, status bar."""

from __future__ import annotations

from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from .ctk_widgets import ctkCollapsibleButton
from .qt_application import start


class ModuleSelector(QtWidgets.QWidget):
    """``slicer.util.moduleSelector()``: chooses the module whose panel is shown, and enters it."""

    STANDS_FOR_CPP = True
    STANDS_FOR = "qSlicerModuleSelectorToolBar"
    moduleSelected = Signal(str)

    def __init__(self, panel: QtWidgets.QScrollArea, help_text: QtWidgets.QTextBrowser) -> None:
        super().__init__()
        self._panel, self._help, self._selected = panel, help_text, None
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(6, 2, 6, 2)
        row.addWidget(QtWidgets.QLabel("Modules:"))
        self._title = QtWidgets.QComboBox()
        self._title.setMinimumWidth(220)
        row.addWidget(self._title)

    def selectModule(self, name):
        if name == self.selectedModule:
            return
        old = self._selected and slicer.app.moduleManager().module(self._selected)
        if old is not None and hasattr(old, "widgetRepresentation"):
            old.widgetRepresentation().exit()
            self._panel.takeWidget()
        self._selected = name
        module = slicer.app.moduleManager().module(name)
        if module is not None and hasattr(module, "widgetRepresentation"):
            widget = module.widgetRepresentation()
            if widget.layout() is not None:
                # As Slicer's module panel does.
                widget.layout().setContentsMargins(0, 0, 0, 0)
            self._panel.setWidget(widget)
            widget.show()
            widget.enter()
            self._help.setHtml(module.helpText + module.acknowledgementText)
        self._title.clear()
        self._title.addItem(getattr(module, "title", "") or name)
        self.moduleSelected.emit(name)

    selectedModule = Property(str, lambda self: self._selected or "")


def _collapsed(title: str, content: QtWidgets.QWidget) -> ctkCollapsibleButton:
    """A section of the module panel that is there and closed."""
    button = ctkCollapsibleButton(title)
    layout = QtWidgets.QVBoxLayout(button)
    layout.addWidget(content)
    button.collapsed = True
    return button


class MainWindow(QtWidgets.QMainWindow):
    """Slicer's main window, as ``slicer.util.mainWindow()`` finds it.

    Parameters
    ----------
    module : str or QWidget, optional
        What to show in the panel: a scripted module by its name (loaded before), or any widget.
    width, height : int
        Pixels.
    panel_width : int
        Of the module panel, pixels; Slicer opens it with about 310.
    """

    STANDS_FOR_CPP = False
    STANDS_FOR = "qSlicerMainWindow"
    HARNESS_NAMES = ("panel", "screenshot", "close_all")

    def __init__(self, module=None, width: int = 1400, height: int = 900, panel_width: int = 420) -> None:
        start()
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer (test harness)")
        self.panel = QtWidgets.QScrollArea()
        self.panel.setObjectName("ModulePanel")
        self.panel.setWidgetResizable(True)
        self.panel.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.panel.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        help_text = QtWidgets.QTextBrowser()
        content = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(content)
        column.setContentsMargins(2, 2, 2, 2)
        column.setSpacing(2)
        column.addWidget(_collapsed("Help && Acknowledgement", help_text))
        column.addWidget(self.panel, 1)
        probe = _collapsed("Data Probe", QtWidgets.QLabel())
        probe.setObjectName("DataProbeCollapsibleWidget")
        column.addWidget(probe)
        dock = QtWidgets.QDockWidget()
        dock.setObjectName("PanelDockWidget")
        dock.setTitleBarWidget(QtWidgets.QWidget())
        dock.setFeatures(QtWidgets.QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        dock.setWidget(content)
        content.setFixedWidth(panel_width)
        self.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        self.setCentralWidget(slicer.app.layoutManager().viewport())
        self.statusBar()
        self._selector = ModuleSelector(self.panel, help_text)
        toolbar = self.addToolBar("Modules")
        toolbar.setObjectName("ModuleSelectorToolBar")
        toolbar.setMovable(False)
        toolbar.addWidget(self._selector)
        for menu in ("File", "Edit", "View", "Help"):
            self.menuBar().addMenu(menu)
        self.resize(width, height)
        if isinstance(module, str):
            self._selector.selectModule(module)
        elif module is not None:
            self.panel.setWidget(module)
        self.show()
        slicer.app.processEvents()

    def moduleSelector(self):
        return self._selector

    def pythonConsole(self):
        return None

    def screenshot(self, path: str | Path) -> Path:
        """Save the window as it is now, all views rendered, as PNG."""
        manager = slicer.app.layoutManager()
        for _ in range(2):  # rendering fits the sliders, which asks for another turn
            slicer.app.processEvents()
            for name in manager.sliceViewNames():
                manager.sliceWidget(name).sliceView().forceRender()
            manager.threeDWidget(0).threeDView().forceRender()
        slicer.app.processEvents()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self.grab().save(str(path)):
            raise OSError(f"cannot write {path}")
        return path

    def close_all(self) -> None:
        """Leave the module and take the window and its views away."""
        self._selector.selectModule("")
        self.close()
        self.takeCentralWidget()
        slicer.app.layoutManager().close_views()
        self.setObjectName("")
        self.deleteLater()
        slicer.app.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
