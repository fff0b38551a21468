"""Who says what helps: the core names no option, the command line and Slicer phrase it by the error's code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import flairseg
import pytest
from flairseg import errors
from flairseg.cli.advice import PHRASES, advice
from flairseg.cli.console import show_error
from flairseg.files.atomic import output_error, results_exist
from rich.console import Console

PACKAGE = Path(flairseg.__file__).parent
#: An option of the command line, or one of its commands, within a text that a user reads.
OPTION = re.compile(r"(?<![\w-])--[a-z]|`flairseg [a-z]")


def texts_of(path: Path) -> list[tuple[int, str]]:
    """Strings of a module that are no docstrings, with their lines; those of an f-string joined."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def raised_texts(path: Path) -> list[tuple[int, str]]:
    """Texts of a module that can reach a user; arguments for other programs (``--import-mode``) are no sentences."""
    return [(line, text) for line, text in texts_of(path) if " " in text.strip() and OPTION.search(text)]


#: No front end may name these options: the core's modules outside the command line.
CORE = sorted(p for p in PACKAGE.rglob("*.py") if "cli" not in p.relative_to(PACKAGE).parts)
#: Writes the reference of warning codes, in which a column says what ``--strict`` does.
REFERENCE = {"warning_codes.py"}


@pytest.mark.parametrize(
    "path", [p for p in CORE if p.name not in REFERENCE], ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_the_core_names_no_option_of_the_command_line(path):
    assert raised_texts(path) == []


def test_the_check_sees_an_option(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text('"""Says --output."""\nraise ValueError(f"Choose another --output for {1}.")\n', encoding="utf-8")
    assert len(raised_texts(wrong)) == 1


def test_the_command_line_names_its_options(tmp_path):
    error = results_exist("Results of sub-01", tmp_path / "sub-01.seg.nrrd")
    console = Console(record=True, width=200)
    show_error(console, error)
    shown = console.export_text()
    assert "--overwrite" in shown
    assert "--overwrite" not in str(error)
    assert str(tmp_path) in error.message


def test_fields_are_filled_in_and_a_missing_one_falls_back():
    error = errors.ModelNotFoundError("None.", "Install it.", code="model-member-missing", model="x-v1.0")
    assert advice(error).startswith("Install x-v1.0 first")
    assert advice(errors.ModelNotFoundError("None.", "Install it.", code="model-member-missing")) == "Install it."
    assert advice(errors.OutputError("m", "plain", code="no-such-code")) == "plain"


def test_every_phrase_belongs_to_a_code_that_the_core_uses():
    # A code that was derived from a class is shared by errors with different advice: only explicit ones have phrases.
    source = "\n".join(path.read_text(encoding="utf-8") for path in CORE)
    codes = set(re.findall(r'code="([a-z0-9-]+)"', source))
    panels = (PACKAGE.parent / "FlairSegLib" / "phrasing.py").read_text(encoding="utf-8")
    in_slicer = set(re.findall(r'^        "([a-z-]+)": _\(', panels, re.MULTILINE))
    assert len(in_slicer) > 5
    assert set(PHRASES) | in_slicer <= codes


def test_the_panels_phrase_what_the_core_says_of_unnamed_label_values():
    # The core's advice gives values as the option --labels takes them (``1=1,3=3``): no panel has that field.
    source = (PACKAGE / "io" / "label_reading.py").read_text(encoding="utf-8")
    advised = set(re.findall(r'code="([a-z-]+)",\n\s+file=self.name,\n\s+prefix=self.prefix', source))
    advised |= set(re.findall(r'_refused\(.*code="([a-z-]+)"\)', source))
    panels = (PACKAGE.parent / "FlairSegLib" / "phrasing.py").read_text(encoding="utf-8")
    # Without the command line there is no mapping that could lack a value.
    wanted = advised - {"labels-not-in-mapping"}
    assert wanted >= {"implausible-labels", "probabilities-not-labels", "unnamed-labels"}
    assert [code for code in sorted(wanted) if f'"{code}": _(' not in panels] == []


def test_operating_system_errors_have_codes(tmp_path):
    import errno

    expected = {
        errno.ENOSPC: "disk-full",
        errno.EACCES: "output-read-only",
        errno.EROFS: "output-read-only",
        errno.ENOTDIR: "output-no-folder",
        errno.ENAMETOOLONG: "output-path-too-long",
        errno.EIO: "output",
    }
    for number, code in expected.items():
        assert output_error(tmp_path, OSError(number, "x")).code == code


def test_a_reworded_error_keeps_class_code_and_loses_names():
    error = errors.OutputError("Smith is there.", "Rename Smith.", code="results-exist", path=Path("a/Smith"), n=3)
    clean = error.reworded(lambda text: text.replace("Smith", "case"))
    assert type(clean) is errors.OutputError
    assert clean.code == "results-exist"
    assert clean.fields == {"path": str(Path("a/case")), "n": 3}
    assert "Smith" not in str(clean)
