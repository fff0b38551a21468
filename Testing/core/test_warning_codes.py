"""Warnings have codes: every code in the sources is in the table, the table is in the docs, and readers take both."""

from __future__ import annotations

import ast
import json
from io import StringIO
from pathlib import Path

import pytest
from flairseg.adapt.terms import CONVENTIONS
from flairseg.cli.console import REFUSED, UNTRUSTED, WRITTEN, strict_code
from flairseg.errors import CaseWarning, warnings_as_dicts, warnings_from
from flairseg.segmentation.warning_codes import INFORMATION, WARNINGS, table, untrusted
from flairseg.worker.codec import decode_value, encode_value
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "FlairSegExtension"


def used_codes() -> dict[str, str]:
    """Each code that some module writes, and the module."""
    found = {}
    for path in EXTENSION.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            if ast.unparse(node.func).rpartition(".")[2] not in ("CaseWarning", "_doubt", "_warn", "note"):
                continue
            constants = [n.value for n in ast.walk(node.args[1]) if isinstance(n, ast.Constant)]
            found |= {c: path.name for c in constants if isinstance(c, str)}
    # A site's conventions: each becomes a warning of its code.
    return found | dict.fromkeys(CONVENTIONS, "conventions.py")


def test_codes_used_are_the_codes_of_the_table():
    used = used_codes()
    known = {*WARNINGS, *INFORMATION} - {"note"}
    assert set(used) - known == set(), {c: used[c] for c in set(used) - known}
    assert known - set(used) == set(), "in the table, but no module gives it"
    assert not set(WARNINGS) & set(INFORMATION)
    assert all(code == code.lower() and " " not in code for code in known)


def bare_texts(source: str) -> list[int]:
    """Lines on which text without a code is added to warnings, or shown as one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called.endswith(("warnings.append", "remarks.append")):
            texts = node.args[:1]
        elif called == "show_warning":
            texts = node.args[1:2]
        else:
            continue
        made = isinstance(texts[0], ast.Call) and ast.unparse(texts[0].func) == "str"
        if made or isinstance(texts[0], (ast.JoinedStr, ast.Constant, ast.BinOp)):
            found.append(node.lineno)
    return found


def test_every_warning_has_a_code():
    """No module adds bare text to warnings. The store's own messages (review/) are about files, not about cases."""
    assert bare_texts('warnings.append(f"{x}")\nshow_warning(m, "x")\nwarnings.append(CaseWarning("x", "y"))') == [1, 2]
    bare = []
    for path in (EXTENSION / "flairseg").rglob("*.py"):
        if "review" not in path.parts:
            bare += [f"{path.name}:{line}" for line in bare_texts(path.read_text(encoding="utf-8"))]
    assert not bare


def test_the_docs_hold_the_table():
    page = (ROOT / "docs/messages.md").read_text(encoding="utf-8")
    shown = page.split("<!-- warnings:start -->\n")[1].split("\n<!-- warnings:end -->")[0]
    assert shown == table(), "run `make readme SECTIONS=warnings`"


@pytest.mark.parametrize(
    "content",
    [
        ["A text.", {"code": "not-mr", "message": "A CT."}],
        [CaseWarning("A text."), CaseWarning("A CT.", "not-mr")],
        ["A text.", {"code": "not-mr", "message": "A CT."}, "", 3, None, {"code": "empty"}],
    ],
    ids=["old and new", "warnings", "with junk"],
)
def test_old_and_new_files_are_read(content):
    found = warnings_from(content)
    assert found == ("A text.", "A CT.")
    assert [w.code for w in found] == ["note", "not-mr"]
    assert warnings_from(json.loads(json.dumps(warnings_as_dicts(found)))) == found


@pytest.mark.parametrize("content", [None, "text", 3, {"message": "x"}])
def test_what_is_no_list_holds_no_warnings(content):
    assert warnings_from(content) == ()


def test_codes_cross_the_worker_s_pipe(segmentation):
    from dataclasses import replace

    told = [CaseWarning("A CT.", "not-mr"), CaseWarning("Gaps.", "wide-slice-gap"), "old"]
    back = decode_value(encode_value(replace(segmentation, warnings=told)), segmentation.volume).warnings
    assert [(w, w.code) for w in back] == [("A CT.", "not-mr"), ("Gaps.", "wide-slice-gap"), ("old", "note")]


def test_figures_of_a_warning_are_kept_wherever_it_goes(segmentation):
    import copy
    import pickle
    from dataclasses import replace

    told = CaseWarning("Half of it: 10 of 20.", "slices-missing", used=10, missing=10, displacement_mm=0.5)
    written = {"code": "slices-missing", "message": "Half of it: 10 of 20.", "used": 10, "missing": 10}
    written["displacement_mm"] = 0.5
    assert warnings_as_dicts([told]) == [written]
    sent = decode_value(encode_value(replace(segmentation, warnings=[told])), segmentation.volume).warnings[0]
    read, pickled = warnings_from([written])[0], pickle.loads(pickle.dumps(told))
    for other in (sent, read, pickled, copy.deepcopy(told), CaseWarning.of(told)):
        assert (other, other.code, other.fields) == (told, told.code, told.fields)
    assert told.reworded("Study 1.").to_dict() == written | {"message": "Study 1."}
    # A name cannot come back in by a field.
    assert CaseWarning.of(written | {"patient": "Doe", "series": ["Doe"]}).fields == told.fields


def test_summary_holds_objects(segmentation):
    from dataclasses import replace

    volume = replace(segmentation.volume, information=(CaseWarning("19 of 20.", "slices-used"),), images=(19, 20))
    summary = replace(segmentation, volume=volume, warnings=[CaseWarning("A CT.", "not-mr")]).summary()
    assert summary["warnings"] == [{"code": "not-mr", "message": "A CT."}]
    assert summary["information"] == [{"code": "slices-used", "message": "19 of 20."}]
    assert summary["images"] == {"used": 19, "found": 20}
    assert "images" not in segmentation.summary()


def test_what_was_read_is_in_every_json_file_without_names(segmentation, tmp_path):
    from dataclasses import replace

    from flairseg.comparison.comparing import Comparison
    from flairseg.privacy.pseudonyms import Pseudonymiser
    from flairseg.segmentation.result import read_entries

    told = (CaseWarning("Series 4 of Doe_Jane was taken.", "series-chosen"),)
    volume = replace(segmentation.volume, name="Doe_Jane", information=told, images=(16, 17))
    expected = {
        "information": [{"code": "series-chosen", "message": "Series 4 of Doe_Jane was taken."}],
        "images": {"used": 16, "found": 17},
    }
    assert read_entries(volume) == expected
    comparison = Comparison(volume, "Doe_Jane.nii.gz", ())
    assert {key: comparison.summary()[key] for key in expected} == expected
    key = tmp_path / "key"
    key.write_text("a long enough secret for a test of names " * 2, encoding="utf-8")
    clean = comparison.pseudonymised(Pseudonymiser.from_key_file(key), "Doe_Jane").summary()
    assert clean["images"] == expected["images"]
    assert clean["information"][0]["code"] == "series-chosen"
    assert "Doe" not in json.dumps(clean)


def test_untrusted_are_those_that_the_table_says():
    told = [CaseWarning("a", "spacing-unknown"), CaseWarning("b", "slabs-merged"), "c", CaseWarning("d", "of-later")]
    assert untrusted(told) == ["a"]
    assert {c for c, kind in WARNINGS.items() if not kind.trusted} >= {
        "spacing-unknown", "positions-missing", "part-of-the-head", "slices-missing", "looks-like-ct", "not-mr",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("strict", "code", "warning", "expected"),
    [
        (True, WRITTEN, "spacing-unknown", UNTRUSTED),
        (False, WRITTEN, "spacing-unknown", WRITTEN),
        (True, WRITTEN, "slabs-merged", WRITTEN),
        (True, REFUSED, "spacing-unknown", REFUSED),
        (True, 130, "spacing-unknown", 130),
    ],
)
def test_strict_makes_an_exit_code_of_a_doubt(strict, code, warning, expected):
    screen = Console(file=StringIO())
    assert strict_code(screen, code, [CaseWarning("x", warning)], strict) == expected
    assert ("spacing-unknown" in screen.file.getvalue()) is (expected == UNTRUSTED == 3)
