"""``qt.QUiLoader``: PySide6's, taught Slicer's promoted widgets and the connections of its .ui files."""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree as ET

from PySide6 import QtCore
from PySide6.QtUiTools import QUiLoader as PySideUiLoader

from . import ctk_widgets


class QUiLoader(PySideUiLoader):
    """Loads .ui files with ctk and qMRML widgets in them.

    Connections between such widgets name signals and slots of C++ that Qt cannot find in the stand-ins; they are made
    here by name, after loading.
    """

    def __init__(self, parent=None):
        super().__init__(parent)
        self._created = []

    def createWidget(self, class_name, parent=None, name=""):
        cls = self._stand_in(class_name)
        if cls is None:
            if class_name.startswith(("ctk", "qMRML", "qSlicer")):
                raise RuntimeError(f"the test harness has no stand-in for {class_name}")
            return super().createWidget(class_name, parent, name)
        widget = cls(parent) if parent is not None else cls()
        widget.setObjectName(name)
        self._created.append(widget)
        return widget

    @staticmethod
    def _stand_in(class_name: str):
        import slicer

        if class_name.startswith("ctk"):
            return getattr(ctk_widgets, class_name, None)
        return getattr(slicer, class_name, None) if class_name.startswith(("qMRML", "qSlicer")) else None

    def load(self, device, parent=None):
        content, wanted = _without_connections(bytes(device.readAll()))
        buffer = QtCore.QBuffer()
        buffer.setData(content)
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise RuntimeError(f"Could not load UI file: {self.errorString()}")
        for sender, signal, receiver, slot in wanted:
            target = getattr(_named(widget, receiver), slot.partition("(")[0])
            _named(widget, sender).connect(signal, target)
        return widget


@cache
def _without_connections(content: bytes) -> tuple[bytes, tuple[tuple[str, ...], ...]]:
    """A .ui file without its connections, and those: sender, signal, receiver, slot."""
    root = ET.fromstring(content)
    wanted = []
    for connections in root.findall("connections"):
        for connection in connections.findall("connection"):
            wanted.append(tuple(connection.findtext(tag) for tag in ("sender", "signal", "receiver", "slot")))
        root.remove(connections)
    return ET.tostring(root), tuple(wanted)


def _named(root, name: str):
    found = root if root.objectName == name else root.findChild(QtCore.QObject, name)
    if found is None:
        raise RuntimeError(f"connection in the .ui file names an object that is not there: {name}")
    return found
