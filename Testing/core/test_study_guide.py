"""docs/study.md says what the software does: its example is valid, its table names every key, its commands exist."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from flairseg.study import protocol
from flairseg.study.acceptance import Acceptance
from flairseg.study.protocol_reading import load_protocol
from flairseg.study.records import RESPONSE_TYPES
from flairseg.study.schedule import check_feasible, plan

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs" / "study_protocol.json"
SCHEMA = json.loads(Path(protocol.__file__).with_name("protocol.schema.json").read_text(encoding="utf-8"))


def test_the_example_is_a_valid_protocol_with_an_order():
    example = load_protocol(EXAMPLE)
    check_feasible(example)
    for rater in example.raters:
        showings = plan(example, rater)
        assert sum(s.training for s in showings) == 1
        assert len(showings) == 1 + 3 * 2 * 2
    assert {q.type for q in example.questions} == set(RESPONSE_TYPES)


def test_the_example_shows_every_key():
    raw = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert set(SCHEMA["properties"]) - set(raw) == {"$schema"}
    for part in ("washout", "display"):
        assert set(SCHEMA["properties"][part]["properties"]) == set(raw[part])


def test_the_guide_names_every_key():
    def keys(node):
        if isinstance(node, dict):
            yield from node.get("properties", {})
            for inner in node.values():
                yield from keys(inner)

    missing = {key for key in keys(SCHEMA) if f"`{key}`" not in GUIDE}
    assert not missing


def test_the_guide_s_commands_and_options_exist():
    typer = pytest.importorskip("typer")
    from flairseg.cli.study import study_app

    commands = typer.main.get_command(study_app).commands
    used = re.findall(r"flairseg study (\w+)([^`\n#]*)", GUIDE)
    assert {name for name, _ in used} >= {"new", "check", "lock", "status", "exclude", "close", "analyse", "import"}
    for name, rest in used:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, name


@pytest.mark.parametrize(("cases", "low", "high"), [(20, 70, 97), (50, 79, 96), (100, 83, 94)])
def test_the_guide_s_interval_widths(cases, low, high):
    intervals = pytest.importorskip("flairseg.statistics.intervals")
    pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
    found = intervals.wilson(round(0.9 * cases), cases)
    assert (round(100 * found.low), round(100 * found.high)) == (low, high)
    assert f"{low} to {high} %" in GUIDE


def test_the_guide_s_examples_of_the_rule():
    one_false = Acceptance(10, 1, 0)
    assert not one_false.acceptable
    assert replace(one_false, delineated=11).acceptable


def test_the_guide_names_the_keys_of_the_module():
    module = (ROOT / "FlairSegExtension" / "FlairSegReview.py").read_text(encoding="utf-8")
    keys = re.findall(r"<b>([A-Z0-9]|Enter|Backspace)</b>", module)
    assert {"F", "M", "A", "U", "Enter"} <= set(keys)
    table = GUIDE.split("| key | action |", 1)[1].split("\n\n", 1)[0]
    assert not [key for key in keys if f"`{key}`" not in table]
