"""What PySide6 forgives and PythonQt does not, looked for in the source of what is shipped to Slicer.

The stand-in for PythonQt makes most differences fail by themselves; these cannot be seen by running on PySide6.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

EXTENSION = Path(__file__).parents[2] / "FlairSegExtension"
SOURCES = sorted([*EXTENSION.glob("*.py"), *(EXTENSION / "FlairSegLib").rglob("*.py")])
QT_MODULES = {"qt", "ctk"}


def dotted(node: ast.AST) -> str:
    """``qt.QTimer.singleShot`` of an attribute expression; empty for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def is_qt(name: str) -> bool:
    return name.partition(".")[0] in QT_MODULES or name.startswith(("slicer.qMRML", "slicer.qSlicer"))


def findings(source: str) -> list[str]:
    """What in a Python source runs on PySide6 and not in Slicer, one line each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if any(name.split(".")[0] in ("PySide6", "PyQt5", "shiboken6") for name in names):
                found.append(f"{line}: Slicer has no PySide6")
        elif isinstance(node, ast.ClassDef):
            found += [
                f"{line}: {node.name} derives from {dotted(base)}, whose virtual functions PythonQt calls differently"
                for base in node.bases
                if is_qt(dotted(base))
            ]
        elif isinstance(node, ast.Attribute):
            name = dotted(node)
            # qt.QSizePolicy.Policy.Fixed: PythonQt's enumerators are attributes of the class
            if is_qt(name) and name.count(".") >= 3 and name.split(".")[2][:1].isupper():
                found.append(f"{line}: scoped enumerator {name}")
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name == "isinstance" and any(is_qt(dotted(part)) for part in ast.walk(node.args[1])):
                found.append(f"{line}: isinstance on a Qt class is False in PythonQt")
            if is_qt(name) and node.keywords and name.rpartition(".")[2].startswith(("Q", "ctk", "qMRML")):
                found.append(f"{line}: keyword arguments to {name}")
            if name.endswith(".exec"):
                found.append(f"{line}: {name}() is exec_() in PythonQt")
    return sorted(set(found), key=lambda text: int(text.split(":")[0]))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_source_runs_on_pythonqt(path):
    assert findings(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "from PySide6 import QtCore",
        "class Panel(qt.QWidget): pass",
        "policy = qt.QSizePolicy.Policy.Fixed",
        "isinstance(widget, qt.QWidget)",
        "isinstance(widget, (str, slicer.qMRMLNodeComboBox))",
        "button = qt.QPushButton('Segment', clicked=slot)",
        "dialog.exec()",
    ],
)
def test_such_source_is_found(line):
    assert len(findings(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "policy = qt.QSizePolicy.Fixed",
        "qt.QTimer.singleShot(0, slot)",
        "label.setAlignment(qt.Qt.AlignLeft | qt.Qt.AlignTop)",
        "isinstance(node, slicer.vtkMRMLVolumeNode)",
        "slicer.util.errorDisplay('x', windowTitle='y')",
        "dialog.exec_()",
    ],
)
def test_source_that_runs_everywhere_is_not(line):
    assert findings(line) == []
