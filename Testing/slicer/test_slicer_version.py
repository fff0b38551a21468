"""The oldest Slicer that is supported is the same everywhere, and nothing is used that only one version has."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "FlairSegExtension"
SOURCES = sorted([*EXTENSION.glob("*.py"), *(EXTENSION / "FlairSegLib").rglob("*.py")])
RECORD = json.loads((ROOT / "Testing" / "harness" / "data" / "event_traces_5.13.json").read_text(encoding="utf-8"))


@pytest.fixture
def oldest(slicer) -> str:
    from FlairSegLib import slicer_version

    return slicer_version.oldest()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("README.md", r"Slicer (\d+\.\d+) or newer"),
        ("docs/slicer.md", r"Slicer (\d+\.\d+) or newer"),
        ("CMakeLists.txt", r"FlairSeg_OLDEST_SLICER (\d+\.\d+)"),
    ],
)
def test_every_document_names_it(oldest, document, said):
    assert set(re.findall(said, (ROOT / document).read_text(encoding="utf-8"))) == {oldest}


def test_no_source_names_a_version_of_its_own(oldest):
    named = {
        f"{path.name}: {found}"
        for path in SOURCES
        for found in re.findall(r"Slicer \d+\.\d+", path.read_text(encoding="utf-8"))
    }
    assert named == set()


@pytest.mark.parametrize(
    ("version", "supported"), [((5, 12), True), ((5, 13), True), ((6, 0), True), ((5, 11), False), ((4, 13), False)]
)
def test_an_older_slicer_is_told_apart(slicer, monkeypatch, version, supported):
    from FlairSegLib import diagnostics, slicer_version

    monkeypatch.setattr(slicer.app, "majorVersion", version[0])
    monkeypatch.setattr(slicer.app, "minorVersion", version[1])
    assert slicer_version.isSupported() is supported
    assert ("oldest supported" in diagnostics.report()) is not supported


def used_of(module: str) -> dict[str, set[str]]:
    """Functions of ``slicer.<module>`` that the extension calls, and the keywords that it calls them with."""
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if ast.unparse(node.func) == f"slicer.{module}.{node.func.attr}":
                found.setdefault(node.func.attr, set()).update(keyword.arg or "**" for keyword in node.keywords)
    return found


def recorded(name: str) -> str | None:
    """The signature of a function in Slicer 5.13, None where it was not recorded."""
    value = RECORD["values"].get(name)
    return value[1] if value is not None and value[0] == "function" else None


def test_the_keywords_that_are_used_are_in_both_versions(slicer):
    used = used_of("util")
    compared = 0
    for name, keywords in used.items():
        newer = recorded(f"slicer.util.{name}")
        older = inspect.signature(getattr(slicer.util, name))
        takes_any = any(p.kind is p.VAR_KEYWORD for p in older.parameters.values())
        assert takes_any or keywords <= set(older.parameters), f"slicer.util.{name} in 5.12"
        if newer is not None:
            compared += 1
            assert "**" in newer or keywords <= set(re.findall(r"(\w+)(?:=|[,)])", newer)), (
                f"slicer.util.{name} in 5.13"
            )
    assert compared > 8


def test_shared_functions_of_slicer_util_have_the_same_arguments_in_both_versions(slicer):
    """For the ones that the harness does not replace by its own."""
    different = {}
    for name in sorted(used_of("util")):
        newer, function = recorded(f"slicer.util.{name}"), getattr(slicer.util, name)
        if newer is None or not inspect.isfunction(function):
            continue
        if not function.__code__.co_filename.endswith("slicer/util.py"):
            continue
        names = re.findall(r"[(,] ?\*{0,2}(\w+)", re.sub(r"\{.*?\}|<.*?>", "", newer))
        if names != list(inspect.signature(function).parameters):
            different[name] = (newer, str(inspect.signature(function)))
    assert different == {}
