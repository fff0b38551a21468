"""The shape of the package: few files in its root, imports one way, old paths that still work, generated lists."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from flairseg import _lazy

from tools import cmake_lists

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "FlairSegExtension" / "flairseg"


def test_the_root_of_the_package_holds_at_most_eight_files():
    names = sorted(path.name for path in CORE.glob("*.py"))
    assert len(names) <= 8, names


#: Product, training and tools; what a file, a body (lines after the docstring) and a signature may hold.
MEASURED = ("FlairSegExtension", "training", "tools")
MOST_LINES, LONGEST_BODY, MOST_PARAMETERS = 500, 60, 7


def beyond_the_limits(source: str, where: str) -> list[str]:
    """Files, bodies and signatures of a module that are too long; functions of commands have an option each."""
    found = [f"{where}: {lines} lines"] if (lines := len(source.splitlines())) > MOST_LINES else []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        asked = node.args
        names = [one.arg for one in (*asked.posonlyargs, *asked.args, *asked.kwonlyargs)]
        count = len(names) - (names[:1] in (["self"], ["cls"])) + bool(asked.vararg) + bool(asked.kwarg)
        if count > MOST_PARAMETERS and "/cli/" not in where:
            found.append(f"{where}:{node.lineno}: {node.name} has {count} parameters")
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if body and (lines := node.end_lineno - body[0].lineno + 1) > LONGEST_BODY:
            found.append(f"{where}:{node.lineno}: {node.name} has a body of {lines} lines")
    return found


def test_files_bodies_and_signatures_are_short():
    files = [path for folder in MEASURED for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 500
    found = (beyond_the_limits(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) for path in files)
    assert not [line for lines in found for line in lines]


def test_what_is_too_long_is_seen():
    seven, eight = (", ".join(f"p{n}" for n in range(count)) for count in (7, 8))
    body = "\n".join('    "text"' for _ in range(61))  # the first is the docstring
    assert not beyond_the_limits(f"def f({seven}):\n{body}\n", "a.py")
    assert not beyond_the_limits(f"class A:\n  def f(self, {seven}): ...\n", "a.py")
    assert not beyond_the_limits(f"def f({eight}): ...\n", "flairseg/cli/a.py")
    assert len(beyond_the_limits(f"def f({eight}):\n{body}\n    pass\n" + "\n" * 500, "a.py")) == 3
    assert beyond_the_limits(f"async def f({seven}, *more): ...\n", "a.py")


#: Functions that convert one object to or from its JSON or table row.
CONVERTERS = {
    "to_json", "from_json", "to_dict", "from_dict", "as_dict", "to_payload", "from_payload", "to_row", "flat",
    "summary",
}  # fmt: skip
#: Modules at the boundary of a file, a pipe or a template that leave reading and writing it to another one; modules
#: that import json, csv or ``csv_tables`` are at one by that.
BOUNDARIES = {
    "FlairSegLib/review_panel/protocol_editor", "flairseg/cli/segment_case", "flairseg/cohort/events",
    "flairseg/cohort/model", "flairseg/errors", "flairseg/longitudinal/result", "flairseg/models/lesion_confidence",
    "flairseg/report/case", "flairseg/report/json_values", "flairseg/reporting/page", "flairseg/review/cases",
    "flairseg/segmentation/result", "flairseg/study/events", "flairseg/study/log", "flairseg/study/protocol",
    "flairseg/worker/server",
}  # fmt: skip


def dictionaries(source: str) -> list[str]:
    """Functions with a parameter or result, and fields of classes, that are ``dict`` or ``Mapping`` of str to Any."""

    def untyped(annotation: ast.expr | None) -> bool:
        return annotation is not None and any(
            isinstance(part, ast.Subscript)
            and ast.unparse(part.value) in ("dict", "Mapping", "MutableMapping")
            and ast.unparse(part.slice) in ("str, Any", "(str, Any)")
            for part in ast.walk(annotation)
        )

    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name not in CONVERTERS:
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            if untyped(node.returns) or any(untyped(argument.annotation) for argument in arguments):
                found.append(node.name)
        elif isinstance(node, ast.ClassDef):
            fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and untyped(part.annotation)]
            found += [f"{node.name}.{ast.unparse(field.target)}" for field in fields]
    return found


def test_no_dictionary_travels_between_functions_of_one_process():
    """Content of files becomes a dataclass where it is read, and JSON where it is written."""
    at_a_file = re.compile(r"^ *(import (json|csv)$|from .*csv_tables import|from .* import csv_tables)", re.M)
    found, needed = {}, set()
    for path in (ROOT / "FlairSegExtension").rglob("*.py"):
        module = path.relative_to(ROOT / "FlairSegExtension").with_suffix("").as_posix()
        source = path.read_text(encoding="utf-8")
        names = dictionaries(source)
        if not names or at_a_file.search(source):
            continue
        if module in BOUNDARIES:
            needed.add(module)
        else:
            found[module] = names
    assert found == {}
    assert needed == BOUNDARIES, "these exemptions are needed no more"


def test_a_dictionary_is_seen():
    assert dictionaries("def f(a: dict[str, Any]): ...") == ["f"]
    assert dictionaries("def f() -> list[Mapping[str, Any]] | None: ...") == ["f"]
    assert dictionaries("class A:\n    b: dict[str, Any] | None = None\n    c: dict[str, int]") == ["A.b"]
    assert dictionaries("def to_json(self) -> dict[str, Any]: ...\ndef g(a: dict[str, int]): ...") == []


def test_packages_import_those_below_them_alone():
    """The contracts of pyproject.toml: layers, and no circle among the modules of any package."""
    pytest.importorskip("importlinter", reason="import-linter is not installed: pip install 'flairseg[test]'")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(CORE.parent), "PATH": "", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def modules(*folders: Path) -> dict[str, Path]:
    """Every module below some folders by its dotted name, as it is imported."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        root = CORE.parent if path.is_relative_to(CORE.parent) else ROOT
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


@cache
def import_statements(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """All of a file: at its top, in functions, for annotations."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)))


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules that a module imports anywhere."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in import_statements(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in known else module for a in node.names}
    return found & set(known) - {name}


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions and for annotations count: such a circle is one of the design."""
    known = modules(CORE.parent, *(ROOT / folder for folder in ("Testing", "tools", "training")))
    graph = {name: imports(name, path, known) for name, path in known.items()}
    assert sum(map(len, graph.values())) > 2000
    while leaves := [name for name, targets in graph.items() if not targets & set(graph)]:
        for name in leaves:
            del graph[name]
    assert not graph, f"in a circle, or above one: {sorted(graph)}"


@pytest.mark.parametrize("old", [*_lazy.MOVED, "flairseg.change.followup"])
def test_old_paths_import_the_same_module_with_a_warning(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to ".replace(".", r"\.")):
        found = importlib.import_module(old)
    assert found is importlib.import_module(_lazy.new_path(old))
    assert found.__name__ == found.__spec__.name == _lazy.new_path(old)


def test_names_of_modules_that_became_packages_are_still_there():
    for statement in (
        "from flairseg.segmentation import Segmentation",
        "from flairseg.comparison import compare, write_comparison",
        "from flairseg.lesions import find_lesions",
        "from flairseg.privacy import Pseudonymiser",
        "from flairseg.change import follow",
    ):
        exec(statement, {})


def test_paths_that_never_were_are_not_found():
    assert _lazy.new_path("flairseg.volumes") is None
    with pytest.raises(ModuleNotFoundError, match=r"flairseg\.volumes"):
        importlib.import_module("flairseg.volumes")


def test_nothing_in_the_repository_uses_an_old_path():
    folders = ("FlairSegExtension", "Testing", "tools", "training", "docs")
    known = {old for old in _lazy.MOVED if old not in modules(CORE)}
    offenders = []
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in import_statements(path):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            offenders += [f"{path}:{node.lineno}: {name}" for name in names if name in known]
    assert not offenders


def test_the_lists_of_cmake_are_those_of_git():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git working tree")
    text = (ROOT / "FlairSegExtension" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert cmake_lists.with_lists(text, cmake_lists.shipped(ROOT)) == text, "run python tools/cmake_lists.py"


def test_a_file_goes_into_the_list_of_its_module():
    made = cmake_lists.lists(["FlairSeg.py", "FlairSegReview.py", "FlairSegLib/review_panel/a.py", "flairseg/x.json"])
    assert made["MODULE_PYTHON_SCRIPTS"] == ["FlairSeg.py"]
    assert made["MODULE_PYTHON_RESOURCES"] == ["flairseg/x.json"]
    assert made["REVIEW_PYTHON_SCRIPTS"] == ["FlairSegReview.py", "FlairSegLib/review_panel/a.py"]
    assert made["REVIEW_PYTHON_RESOURCES"] == []
