"""Which Qt class an expression of the extension has, and whether the application's class has the attribute asked of it.

A static check of Python source against the table of :mod:`Testing.harness.names`. Types come from the .ui files
(``ui.name``), from constructors (``qt.QLabel()``), from what known methods return, from annotations, and from
functions and attributes of the extension that hold any of these. Where no type is found, the name must be one of some
class of the table or of Python.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from Testing.harness import names

_MODULES = ("qt", "ctk", "slicer")
#: The type of a signal of an object, and what it has.
_SIGNAL, _OF_A_SIGNAL = "signal", ("connect", "disconnect")
#: What methods and properties of Qt objects give, as far as the extension asks for attributes of it.
_GIVES = {
    "activeEffect": "qSlicerSegmentEditorAbstractEffect",
    "cellWidget": "QWidget",
    "clipboard": "QClipboard",
    "coreIOManager": "qSlicerCoreIOManager",
    "currentItem": "QListWidgetItem",
    "effectByName": "qSlicerSegmentEditorAbstractEffect",
    "horizontalHeader": "QHeaderView",
    "ioManager": "qSlicerIOManager",
    "loadUI": "qMRMLWidget",
    "layoutManager": "qSlicerLayoutManager",
    "mainWindow": "qSlicerMainWindow",
    "moduleManager": "qSlicerModuleManager",
    "moduleSelector": "qSlicerModuleSelectorToolBar",
    "selectionModel": "QItemSelectionModel",
    "sliceController": "qMRMLSliceControllerWidget",
    "sliceView": "qMRMLSliceView",
    "sliceWidget": "qMRMLSliceWidget",
    "threeDView": "qMRMLThreeDView",
    "threeDWidget": "qMRMLThreeDWidget",
    "userSettings": "QSettings",
    "settings": "QSettings",
    "verticalHeader": "QHeaderView",
    "viewport": "QWidget",
    "window": "QWidget",
}
#: The same, where it depends on the object.
_GIVES_OF = {
    ("QTableWidget", "item"): "QTableWidgetItem",
    ("QTableWidget", "currentItem"): "QTableWidgetItem",
    ("QTableWidget", "takeItem"): "QTableWidgetItem",
    ("QTableWidget", "selectedItems"): "QTableWidgetItem[]",
    ("QTableWidget", "horizontalHeaderItem"): "QTableWidgetItem",
    ("QTableWidget", "takeHorizontalHeaderItem"): "QTableWidgetItem",
    ("QListWidget", "item"): "QListWidgetItem",
    ("QListWidget", "selectedItems"): "QListWidgetItem[]",
    ("QTabWidget", "tabBar"): "QTabBar",
    ("QTabWidget", "widget"): "QWidget",
    ("QColor", "fromRgbF"): "QColor",
    ("QUrl", "fromLocalFile"): "QUrl",
}
#: Python's own, whose attributes an object of unknown type may have.
_PYTHON = (
    *("builtins.str", "builtins.bytes", "builtins.int", "builtins.float", "builtins.list", "builtins.dict"),
    *("builtins.set", "builtins.tuple", "builtins.BaseException", "builtins.OSError", "builtins.type"),
    *("builtins.range", "builtins.property", "builtins.memoryview", "pathlib.Path", "re.Match", "re.Pattern"),
    *("datetime.datetime", "datetime.timedelta", "datetime.timezone", "enum.Enum", "subprocess.Popen"),
    *("subprocess.CompletedProcess", "subprocess.CalledProcessError", "threading.Thread", "threading.Event"),
    *("queue.Queue", "logging.Logger", "io.TextIOWrapper", "io.BytesIO", "types.FunctionType"),
    *("types.ModuleType", "hashlib._Hash", "collections.Counter", "collections.deque", "numpy.ndarray"),
    *("numpy.dtype", "uuid.UUID", "zipfile.ZipFile", "ctypes.PyDLL", "http.client.HTTPResponse"),
    *("importlib.metadata.Distribution", "contextlib.ExitStack", "ctypes.c_void_p", "unittest.TestCase"),
    *("concurrent.futures.Future", "multiprocessing.connection.Connection", "traceback.TracebackException"),
    *(
        "functools.partial",
        "traceback.FrameSummary",
    ),
)
#: Of ``slicer.util.VTKObservationMixin`` and of ``slicer.dicomDatabase``, whose class the table does not hold.
_OF_SLICER = ("addObserver", "removeObserver", "removeObservers", "hasObserver", "fileForInstance", "instanceValue")
_THAT_MATTER = (
    *(ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.For, ast.comprehension, ast.Call, ast.Attribute, ast.Return),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda),
)


@dataclass(frozen=True)
class Finding:
    """An attribute that the application does not have.

    Attributes
    ----------
    place : str
        ``file:line``.
    owner : str
        The class, or ``?``.
    name : str
        The attribute.
    """

    place: str
    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.place}: {self.owner} has no {self.name}"


def widgets_of_ui_files(folder: Path) -> dict[str, set[str]]:
    """Class names by object name, over all .ui files of a folder."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.ui")):
        for tag in ("widget", "layout", "action"):
            for element in ElementTree.parse(path).iter(tag):
                kind = element.get("class") or "QAction"
                found.setdefault(element.get("name"), set()).add(kind)
    return found


def python_names() -> set[str]:
    """Attributes of Python's own objects."""
    found = set(dir(builtins))
    for dotted in _PYTHON:
        module, _, name = dotted.rpartition(".")
        thing = getattr(importlib.import_module(module), name, None)
        found |= set(dir(thing)) if thing is not None else set()
    return found | set(_OF_SLICER) | {"returncode", "stdin", "stdout", "stderr", "cmd", "pid"}


def named_in(text: str) -> set[str]:
    """What a source may define, read without parsing it: functions, classes, fields, attributes."""
    found = re.findall(r"\b(?:def|class) (\w+)|^ +(\w+):|\bself\.(\w+)\b", text, flags=re.MULTILINE)
    return {name for names_ in found for name in names_ if name}


def defined_names(trees: Iterable[ast.AST]) -> set[str]:
    """Names that classes and functions of a source define: functions, classes, attributes, fields, arguments."""
    found = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                    found.add(node.attr)
            elif isinstance(node, ast.ClassDef | ast.AnnAssign) and isinstance(getattr(node, "target", None), ast.Name):
                found.add(node.target.id)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


@dataclass
class Extension:
    """All there is to know of a set of source files before any of them is checked.

    Attributes
    ----------
    ui : dict of str to set of str
        Classes by object name of the .ui files.
    names : set of str
        What objects of Python may be asked for.
    attributes, functions, parameters : dict
        Qt classes that ``self.<name>`` holds in a file, that a function of this name returns, that its callers pass.
    defined : dict of str to list
        Functions by name.
    """

    ui: dict[str, set[str]]
    names: set[str]
    attributes: dict[tuple[Path | None, str], set[str]] = field(default_factory=dict)
    functions: dict[str, set[str]] = field(default_factory=dict)
    parameters: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    defined: dict[str, list[ast.FunctionDef]] = field(default_factory=dict)

    def hold(self, path: Path, attribute: str, kinds: set[str]) -> None:
        """Note what ``self.<attribute>`` holds in a file."""
        for key in ((path, attribute), (None, attribute)):
            self.attributes.setdefault(key, set()).update(kinds)

    def held(self, path: Path, attribute: str, own: bool) -> set[str]:
        """What an attribute holds: in this file where the object is ``self``, else in any."""
        here = self.attributes.get((path, attribute)) if own else None
        return here if here is not None else self.attributes.get((None, attribute), set())


class Types:
    """Qt classes of the expressions of one function (or of a module's top level).

    Parameters
    ----------
    extension : Extension
        What is known of all files.
    body : ast.AST
        The function or module.
    outer : Types, optional
        Of the function around it.
    """

    def __init__(self, extension: Extension, path: Path, body: ast.AST, outer: Types | None = None) -> None:
        self._extension, self._path = extension, path
        self._variables: dict[str, set[str]] = dict(outer._variables) if outer else {}
        for argument in _arguments(body):
            passed = extension.parameters.get((getattr(body, "name", ""), argument.arg), set())
            self._variables[argument.arg] = self._of_annotation(argument.annotation) or set(passed)
        for _ in range(2):  # an assignment may use a variable that a later line of a loop sets
            for node in own_nodes(body):
                self._bind(node)

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            self._assign(node.target, node.value)
        elif isinstance(node, ast.For | ast.comprehension):
            self._each(node.target, node.iter)
        elif isinstance(node, ast.Call):
            self._pass_on(node)

    def _pass_on(self, call: ast.Call) -> None:
        """Note what a function of the extension is called with, if its name is the only one of its kind."""
        name = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
        defined = self._extension.defined.get(name, ())
        if len(defined) != 1:
            return
        parameters = [argument.arg for argument in _arguments(defined[0])]
        if parameters[:1] in (["self"], ["cls"]):
            parameters = parameters[1:]
        given = [*zip(parameters, call.args, strict=False), *((k.arg, k.value) for k in call.keywords if k.arg)]
        for parameter, value in given:
            self._extension.parameters.setdefault((name, parameter), set()).update(self.of(value))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                for part, its_value in zip(target.elts, value.elts, strict=True):
                    self._assign(part, its_value)
            return
        self._store(target, self.of(value))

    def _store(self, target: ast.expr, found: set[str]) -> None:
        if isinstance(target, ast.Name):
            self._variables.setdefault(target.id, set()).update(found)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            self._extension.hold(self._path, target.attr, found)

    def _each(self, target: ast.expr, source: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            if isinstance(source, ast.Tuple | ast.List):
                for row in source.elts:
                    self._assign(target, row)
            return
        self._store(target, {kind[:-2] for kind in self.of(source) if kind.endswith("[]")})

    def _of_annotation(self, annotation: ast.expr | None) -> set[str]:
        if annotation is None:
            return set()
        text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
        parts = {part.strip() for part in str(text).split("|")}
        return {part.partition(".")[2] for part in parts if part.partition(".")[0] in _MODULES} & set(names.table())

    def of(self, node: ast.expr) -> set[str]:
        """Classes that an expression may have; ``QLabel[]`` for several of them; empty where none is known."""
        if isinstance(node, ast.Name):
            return self._variables.get(node.id, set())
        if isinstance(node, ast.Attribute):
            return self._of_attribute(node)
        if isinstance(node, ast.Call):
            return self._of_call(node)
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return {f"{kind}[]" for part in node.elts for kind in self.of(part)}
        if isinstance(node, ast.Dict):
            return {f"{kind}[]" for part in node.values for kind in self.of(part)}
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            return {f"{kind}[]" for kind in self.of(node.elt)}
        if isinstance(node, ast.DictComp):
            return {f"{kind}[]" for kind in self.of(node.value)}
        if isinstance(node, ast.IfExp):
            return self.of(node.body) | self.of(node.orelse)
        if isinstance(node, ast.BoolOp):
            return set().union(*map(self.of, node.values))
        if isinstance(node, ast.NamedExpr):
            return self.of(node.value)
        if isinstance(node, ast.Subscript):
            return {kind[:-2] for kind in self.of(node.value) if kind.endswith("[]")}
        return set()

    def _of_attribute(self, node: ast.Attribute) -> set[str]:
        if ast.unparse(node) == "slicer.app":
            return {"qSlicerApplication"}
        if is_ui(node.value):
            return self._extension.ui.get(node.attr, set())
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            return self._extension.held(self._path, node.attr, own=True)
        owners = self.of(node.value)
        if not owners:
            return self._extension.held(self._path, node.attr, own=False)
        kinds = [(names.kinds(owner) or {}).get(node.attr) for owner in owners]
        if names.SIGNALS in kinds:
            return {_SIGNAL}
        return {kind for kind in kinds if kind in names.table()}

    def _of_call(self, node: ast.Call) -> set[str]:
        called = node.func
        if isinstance(called, ast.Name):
            if called.id == "getattr" and len(node.args) >= 2 and is_ui(node.args[0]):
                return self._named_like(node.args[1])
            if called.id in ("list", "tuple", "sorted", "reversed", "set") and node.args:
                return self.of(node.args[0])
            return self._extension.functions.get(called.id, set())
        if not isinstance(called, ast.Attribute):
            return set()
        if isinstance(called.value, ast.Name) and called.value.id in _MODULES:
            return {called.attr} if names.kinds(called.attr) is not None else set()
        owners = self.of(called.value)
        if called.attr in ("values", "copy"):
            return owners
        given = {_GIVES_OF[owner, called.attr] for owner in owners if (owner, called.attr) in _GIVES_OF}
        if given or owners:
            return given or ({_GIVES[called.attr]} if called.attr in _GIVES else set())
        if called.attr in _GIVES:
            return {_GIVES[called.attr]}
        static = class_of(called.value)
        if static is not None and (static, called.attr) in _GIVES_OF:
            return {_GIVES_OF[static, called.attr]}
        return self._extension.functions.get(called.attr, set())

    def _named_like(self, name: ast.expr) -> set[str]:
        """Of ``getattr(ui, f"{prefix}Button")``: what all .ui names that end so are."""
        if isinstance(name, ast.Constant):
            return self._extension.ui.get(name.value, set())
        if isinstance(name, ast.JoinedStr) and isinstance(name.values[-1], ast.Constant):
            ending = name.values[-1].value
            return set().union(*(kinds for key, kinds in self._extension.ui.items() if key.endswith(ending)))
        return set()


def _arguments(node: ast.AST) -> list[ast.arg]:
    if not isinstance(node, ast.FunctionDef | ast.Lambda):
        return []
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


@cache
def own_nodes(body: ast.AST) -> tuple[ast.AST, ...]:
    """Nodes of a function or module that matter here, without those of functions within it."""
    found = []
    waiting = list(ast.iter_child_nodes(body))[::-1]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _THAT_MATTER):
            found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(list(ast.iter_child_nodes(node))[::-1])
    return tuple(found)


def is_ui(node: ast.expr) -> bool:
    """Whether this is the namespace of a .ui file's widgets."""
    return (isinstance(node, ast.Name) and node.id == "ui") or (isinstance(node, ast.Attribute) and node.attr == "ui")


def class_of(node: ast.expr) -> str | None:
    """``QHeaderView`` of the expression ``qt.QHeaderView``."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in _MODULES:
        return node.attr if node.attr.startswith(("Q", "ctk", "qMRML", "qSlicer")) else None
    return None


def functions_of(
    path: Path, body: ast.AST, extension: Extension, outer: Types | None = None
) -> Iterator[tuple[ast.AST, Types]]:
    """A module and all functions within it, each with the types of its expressions."""
    types = Types(extension, path, body, outer)
    yield body, types
    for node in own_nodes(body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from functions_of(path, node, extension, types)


def learn(trees: dict[Path, ast.AST], extension: Extension) -> None:
    """Find out which attributes and functions of the extension hold and return Qt objects."""
    for path, tree in trees.items():
        for body, types in functions_of(path, tree, extension):
            if not isinstance(body, ast.FunctionDef):
                continue
            for node in own_nodes(body):
                if isinstance(node, ast.Return) and node.value is not None:
                    extension.functions.setdefault(body.name, set()).update(types.of(node.value))


@dataclass
class Report:
    """What a check found: attributes that are not there, and how many it could and could not assign to a class."""

    findings: list[Finding] = field(default_factory=list)
    resolved: int = 0
    unresolved: list[str] = field(default_factory=list)


def check(path: Path, tree: ast.AST, extension: Extension, report: Report) -> None:
    """Check one source file; findings go into the report."""
    imported = _imported(tree)
    every_qt_name = _every_qt_name()
    for body, types in functions_of(path, tree, extension):
        for node in own_nodes(body):
            if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
                continue
            place = f"{path.name}:{node.lineno}"
            known, owner = _verdict(node, types, extension)
            if known is not None:
                report.resolved += 1
                if not known:
                    report.findings.append(Finding(place, owner, node.attr))
            elif _could_be_qt(node, imported):
                if node.attr not in every_qt_name and node.attr not in extension.names:
                    report.findings.append(Finding(place, "?", node.attr))
                elif node.attr not in extension.names:
                    report.unresolved.append(f"{place}: {ast.unparse(node)}")


def _verdict(node: ast.Attribute, types: Types, extension: Extension) -> tuple[bool | None, str]:
    """Whether the class has the attribute, None where the class is not known; and the class."""
    if isinstance(node.value, ast.Name) and node.value.id in ("qt", "ctk"):
        further = {"Qt", "QUiLoader"}
        return node.attr in names.in_module(node.value.id) | further, node.value.id
    if is_ui(node.value):
        return node.attr in extension.ui, "the .ui files"
    static = class_of(node.value)
    if static == "Qt":
        return node.attr not in names.NOT_IN_QT_NAMESPACE, static
    if types.of(node.value) == {_SIGNAL}:
        return node.attr in _OF_A_SIGNAL, "a signal"
    classes = {static} if static is not None else {kind for kind in types.of(node.value) if not kind.endswith("[]")}
    kinds = [names.kinds(kind) for kind in classes]
    if not classes or any(kind is None for kind in kinds):
        return None, "?"
    return any(node.attr in kind for kind in kinds), "/".join(sorted(classes))


@cache
def _every_qt_name() -> set[str]:
    return set().union(*(names.kinds(name) for name in names.table()))


def _imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return found


def _could_be_qt(node: ast.Attribute, imported: set[str]) -> bool:
    root = node.value
    while isinstance(root, ast.Attribute | ast.Subscript | ast.Call):
        root = root.func if isinstance(root, ast.Call) else root.value
    from_a_library = isinstance(root, ast.Name) and root.id in imported
    return not from_a_library and not node.attr[0].isupper() and not node.attr.startswith("_")


def check_sources(sources: dict[Path, str], ui_folder: Path, used: Iterable[str] = ()) -> Report:
    """Check a set of Python sources that belong together.

    Parameters
    ----------
    sources : dict of Path to str
        Text by file.
    ui_folder : Path
        Where their .ui files are.
    used : iterable of str
        Texts of Python sources whose objects they use.
    """
    trees = {path: ast.parse(text) for path, text in sources.items()}
    known = python_names().union(defined_names(trees.values()), *map(named_in, used))
    extension = Extension(widgets_of_ui_files(ui_folder), known)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                extension.defined.setdefault(node.name, []).append(node)
    for _ in range(3):  # what one file's functions return, another's attributes hold
        learn(trees, extension)
    report = Report()
    for path, tree in trees.items():
        check(path, tree, extension, report)
    return report
