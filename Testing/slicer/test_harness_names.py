"""The harness offers what the application offers, and the extension asks for nothing else.

The table of names is that of a running Slicer, see ``Testing/harness/data/README.md``.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from Testing.harness import names
from Testing.slicer.widget_names import check_sources

EXTENSION = Path(__file__).parents[2] / "FlairSegExtension"
UI_FILES = EXTENSION / "Resources" / "UI"
SOURCES = sorted([*EXTENSION.glob("*.py"), *(EXTENSION / "FlairSegLib").rglob("*.py")])
USED = [*(EXTENSION / "flairseg").rglob("*.py"), *(Path(__file__).parents[1] / "harness" / "slicer_side").glob("*.py")]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# What the extension asks for, without running it


def test_the_extension_uses_no_name_that_the_application_lacks():
    report = check_sources({path: text(path) for path in SOURCES}, UI_FILES, map(text, USED))
    assert [str(finding) for finding in report.findings] == []
    assert report.resolved > 1500
    assert len(report.unresolved) < 0.05 * report.resolved, report.unresolved


@pytest.mark.parametrize(
    ("line", "owner", "name"),
    [
        ("self.ui.modelCollapsibleButton.setCollapsed(True)", "ctkCollapsibleButton", "setCollapsed"),
        ("editor = self.ui.segmentEditor; editor.setUnorderedEffectsVisible(False)", "qMRMLSegmentEditorWidget", None),
        ("self.ui.noSuchButton.setText('x')", "the .ui files", "noSuchButton"),
        ("timer = qt.QTimer(); timer.setIntervall(5)", "QTimer", "setIntervall"),
        ("for edit in (self.ui.sourceEdit, self.ui.exportFolderEdit): edit.setFilters(1)", "ctkPathLineEdit", None),
        ("self.ui.segmentTable.horizontalHeader().setSectionResizeModes(1)", "QHeaderView", None),
        ("mode = qt.QHeaderView.StretchAll", "QHeaderView", "StretchAll"),
        ("key = qt.Qt.CTRL", "Qt", "CTRL"),
        ("qt.QColour(1, 2, 3)", "qt", "QColour"),
        ("self.ui.acceptButton.clicked.attach(self.m)", "a signal", "attach"),
        ("slicer.app.layoutManager().sliceWidget('Red').sliceView().renderNow()", "qMRMLSliceView", "renderNow"),
        ("self.helper(qt.QLabel())", "QLabel", "setRichText"),
        ("thing.setNoSuchThing(1)", "?", "setNoSuchThing"),
    ],
)
def test_such_a_line_is_found(line, owner, name):
    helper = "label.setRichText('x')" if "helper" in line else "pass"
    source = f"""
import qt, slicer

class A:
    ui = None

    def helper(self, label):
        {helper}

    def m(self, thing):
        {line}
"""
    report = check_sources({Path("a.py"): source}, UI_FILES)
    assert [finding.owner for finding in report.findings] == [owner]
    assert name in (None, report.findings[0].name)


# What the harness offers


def stand_ins() -> list[type]:
    from Testing.harness import (
        application,
        ctk_widgets,
        io_manager,
        layout,
        main_window,
        module_host,
        mrml_widgets,
        qt_application,
        segment_editor,
        strict,
    )

    modules = (application, ctk_widgets, io_manager, layout, main_window, module_host, mrml_widgets, qt_application)
    found = []
    for module in (*modules, segment_editor):
        for value in vars(module).values():
            public = isinstance(value, type) and not value.__name__.startswith("_")
            if public and value.__module__ == module.__name__ and strict.class_names(value):
                found.append(value)
    return found


def test_no_stand_in_defines_a_public_name_that_the_application_lacks(slicer):
    from Testing.harness.strict import class_names

    surplus = []
    for cls in stand_ins():
        known = class_names(cls)
        own = {name for base in cls.__mro__ if base.__module__.startswith("Testing") for name in vars(base)}
        public = {name for name in own if not name.startswith("_") and not name.isupper()} - {"staticMetaObject"}
        surplus += [f"{cls.__name__}.{name}" for name in sorted(public - set(known.kinds) - known.extras - _PLUMBING)]
        assert not known.extras & set(known.kinds), f"{cls.__name__}: HARNESS_NAMES that the application has"
    assert surplus == []
    assert len(stand_ins()) > 25


#: Names that only the harness's own files may use; code outside gets an AttributeError for them as for any other.
_PLUMBING = {"close_view", "moduleUnloaded", "mrmlScene", "set_range", "self", "io_manager", "logic"}


def as_the_extension(expression: str, **variables):
    """The value of an expression in a file that is none of the harness's or the tests'."""
    return eval(compile(expression, str(EXTENSION / "FlairSegLib" / "panel" / "anything.py"), "eval"), variables)


def as_code_of_the_extension(statement: str, **variables) -> None:
    """Run a statement, likewise."""
    exec(compile(statement, str(EXTENSION / "FlairSegLib" / "panel" / "anything.py"), "exec"), variables)


def instances() -> dict[str, object]:
    """An object of every class of the table that the harness has and that can be made without arguments."""
    import ctk
    import qt
    import slicer

    found = {}
    for name, record in sorted(names.table().items()):
        cls = getattr({"qt": qt, "ctk": ctk, "slicer": slicer}[record["module"]], name, None)
        if cls is None or name in ("QApplication", "QThread"):
            continue
        try:
            found[name] = cls()
        except (TypeError, NotImplementedError):  # an abstract class, or one that wants arguments
            continue
    assert len(found) > 90
    return found


def test_objects_offer_no_attribute_that_the_application_lacks(slicer):
    offered = []
    for name, thing in instances().items():
        known = names.kinds(name)
        for attribute in {*dir(thing), "setNoSuchThing"} - set(known):
            if attribute.startswith("__") or keyword.iskeyword(attribute):
                continue
            try:
                as_the_extension(f"thing.{attribute}", thing=thing)
            except AttributeError:
                continue
            offered.append(f"{name}.{attribute}")
    assert offered == []


def test_properties_are_values_of_the_listed_type_and_methods_are_methods(slicer):
    from Testing.harness.strict import HarnessLacksError
    from Testing.harness.values import Method

    types = {"int": int, "bool": bool, "str": str, "float": (float, int), "tuple": tuple}
    wrong = []
    for name, thing in instances().items():
        for attribute, kind in names.kinds(name).items():
            if kind in (names.UNKNOWN, names.ENUMERATORS) or keyword.iskeyword(attribute):
                continue
            try:
                value = as_the_extension(f"thing.{attribute}", thing=thing)
            except HarnessLacksError:
                continue
            if kind == names.CALLS:
                agrees = callable(value)
            elif kind == names.SIGNALS:
                agrees = hasattr(value, "connect")
            else:
                agrees = not isinstance(value, Method) and isinstance(value, types.get(kind, object))
            if not agrees:
                wrong.append(f"{name}.{attribute}: {type(value).__name__}, not {kind}")
    assert wrong == []


def test_the_applications_words(slicer):
    import ctk
    import qt

    button = ctk.ctkCollapsibleButton()
    with pytest.raises(AttributeError, match=r"^ctkCollapsibleButton has no attribute named 'setCollapsed'$"):
        button.setCollapsed(True)
    with pytest.raises(AttributeError, match=r"^'myAttribute' does not exist on QLabel and creating new attributes on"):
        qt.QLabel().myAttribute = 1
    assert as_the_extension("hasattr(button, 'collapsed'), hasattr(button, 'setCollapsed')", button=button) == (
        True,
        False,
    )
    with pytest.raises(TypeError, match="not callable"):
        qt.QLabel().sizeHint()
    with pytest.raises(AttributeError, match=r"^Qt has no attribute named 'CTRL'$"):
        as_the_extension("qt.Qt.CTRL", qt=qt)
    with pytest.raises(AttributeError, match=r"^QColor has no attribute named 'getRgb'$"):
        qt.QColor(1, 2, 3).getRgb()
    assert qt.QColor(1, 2, 3).name() == "#010203"
    assert as_the_extension("isinstance(qt.QPushButton(), qt.QWidget)", qt=qt) is False


def test_enumerators_of_equal_value_stay_those_of_their_own_enumeration(slicer):
    import qt

    values = as_the_extension("[qt.Qt.NoFocus, qt.Qt.Unchecked, qt.Qt.AscendingOrder, qt.Qt.PlainText]", qt=qt)
    assert values == [0, 0, 0, 0]
    assert len({type(value.member) for value in values}) == 4
    as_the_extension("qt.QWidget().setFocusPolicy(qt.Qt.NoFocus)", qt=qt)


def test_what_pyside_itself_asks_an_object_for_is_none_of_the_codes_business(slicer):
    """In code that also uses ``getattr``, which cannot be told from a call that runs Qt's functions."""
    import ctk
    import qt

    button = ctk.ctkCollapsibleButton("A title that is long enough to ask for some width")
    source = "(getattr(button, 'text'), layout.addWidget(button), layout.activate(), timer.timeout.disconnect(slot))"
    holder, timer, slot = qt.QWidget(), qt.QTimer(), lambda: None
    timer.timeout.connect(slot)
    layout = qt.QVBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    as_the_extension(source, getattr=getattr, button=button, layout=layout, timer=timer, slot=slot)
    assert holder.sizeHint == button.sizeHint  # the stand-in's own sizeHint was asked
    assert holder.sizeHint.width() > 100


@pytest.mark.parametrize("line", ["holder.task = None", "del holder.task", "holder.task.timer.objectName"])
def test_functions_that_qt_calls_itself_are_none_of_the_codes_business(slicer, monkeypatch, line):
    """An instruction that looks up another attribute lets an object go: PySide6 asks that for ``disconnectNotify``."""
    import qt

    escaped = []
    monkeypatch.setattr(sys, "unraisablehook", escaped.append)
    monkeypatch.setattr(sys, "excepthook", lambda *what: escaped.append(what))

    class Task:
        def __init__(self):
            self.timer = qt.QTimer()
            self.timer.timeout.connect(self.poll)

        def poll(self):
            pass

    as_code_of_the_extension(line, holder=SimpleNamespace(task=Task()))
    assert not escaped, escaped
    with pytest.raises(AttributeError, match="QTimer has no attribute named 'disconnectNotify'"):
        as_the_extension("timer.disconnectNotify", timer=qt.QTimer())
    with pytest.raises(AttributeError, match="QTimer has no attribute named 'connectNotify'"):
        as_the_extension("timer.connectNotify(None)", timer=qt.QTimer())


# What changes when a call in a panel does not fit the application


def ui_of(name: str):
    import slicer

    return slicer.util.childWidgetVariables(slicer.util.loadUI(str(UI_FILES / name)))


def build_settings(module, ui, settings):
    return module.SettingsSection(ui("FlairSeg.ui"), settings)


def build_model(module, ui, settings):
    return module.ModelSection(ui("FlairSeg.ui"), settings, lambda: None)


def build_result(module, ui, settings):
    return module.ResultSection(ui("FlairSegResult.ui"), lambda *_: None, lambda *_: None)


def build_lesions(module, ui, settings):
    return module.LesionsSection(ui("FlairSegResult.ui"), lambda *_: True, lambda: None)


def build_editor(module, ui, settings):
    widgets = ui("FlairSegResult.ui")  # kept, or the widget goes with its parents
    return widgets, module.GuardedEditor(widgets.segmentEditor, ("Paint",))


def build_cases(module, ui, settings):
    return module.CaseList(ui("FlairSegQueue.ui"), settings, lambda *_: None, lambda: None)


MUTATIONS = [
    (build_model, "panel/model_section", r"\.collapsed = True", ".setCollapsed(True)", "setCollapsed"),
    (build_settings, "panel/settings_section", r"\.filters = (.*)", r".setFilters(\1)", "setFilters"),
    (
        build_editor,
        "editor_guard",
        r"\.unorderedEffectsVisible = (\w+)",
        r".setUnorderedEffectsVisible(\1)",
        "set",
    ),
    (build_model, "panel/model_section", r"(modelCollapsibleButton\.text)\b", r"\1()", "not callable"),
    (build_cases, "review_panel/case_list", r"qt\.QHeaderView\.Stretch\b", "qt.QHeaderView.StretchAll", "StretchAll"),
    (build_result, "panel/result_section", r"qt\.QHeaderView\.ResizeToContents\b", "qt.Qt.CTRL", "CTRL"),
    (
        build_lesions,
        "panel/lesions_section",
        r"\.setSingleShot\(True\)",
        ".singleShot = True",
        "can not be overwritten",
    ),
    (build_lesions, "panel/lesions_section", r"nextButton\.clicked\.", "nextButton.clickd.", "clickd"),
    (
        build_cases,
        "review_panel/case_list",
        r"(\w+)\.setHighlightSections\(False\)",
        r"\1.highlight = False",
        "creating new",
    ),
    (build_settings, "panel/settings_section", r"\.setCurrentPath\((.*)\)", r".path = \1", "creating new"),
    (build_cases, "review_panel/case_list", r"\.setInterval\(", ".interval(", "not callable"),
]


def panel_module(name: str, source: str, folder: Path):
    """A copy of a module of the extension, with other text."""
    path = folder / f"{Path(name).name}.py"
    path.write_text(source, encoding="utf-8")
    package = ".".join(("FlairSegLib", *Path(name).parent.parts))
    spec = importlib.util.spec_from_file_location(f"{package}.{Path(name).name}_copy", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


@pytest.mark.parametrize(("build", "name", "pattern", "by", "words"), MUTATIONS, ids=[row[3] for row in MUTATIONS])
def test_a_call_that_the_application_refuses_is_refused_here(slicer, tmp_path, build, name, pattern, by, words):
    from FlairSegLib.settings import FlairSegSettings

    source = text(EXTENSION / "FlairSegLib" / f"{name}.py")
    mutated, count = re.subn(pattern, by, source, count=1)
    assert count == 1, f"{name}.py has no {pattern}"
    build(panel_module(name, source, tmp_path), ui_of, FlairSegSettings())
    with pytest.raises((AttributeError, TypeError), match=words):
        build(panel_module(name, mutated, tmp_path), ui_of, FlairSegSettings())
