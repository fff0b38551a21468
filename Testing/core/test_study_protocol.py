"""The protocol: what is valid, and that an error names its place."""

from __future__ import annotations

import copy
import json
import sys

import jsonschema
import pytest
from flairseg.labels import LESION, VENTRICLES
from flairseg.study import protocol_reading as module
from flairseg.study.errors import ProtocolError
from flairseg.study.protocol import Question
from flairseg.study.protocol_reading import load_protocol, parse_protocol
from flairseg.study.records import ACCEPTABILITY, LIKERT_5, NUMERIC, TEXT, YES_NO

from Testing.core.study_data import protocol_json

SCHEMA = json.loads((__import__("pathlib").Path(module.__file__).with_name(module.SCHEMA_NAME)).read_text())


def whole() -> dict:
    """Every key that there is."""
    arms = [
        {"id": "tool", "mask": "a/labels.nii.gz", "model": "m-v1.0", "model_sha256": "ab", "classes": {"1": "lesion"}},
        {"id": "human", "mask": "/b/labels.nrrd", "reader": "H1", "classes": {"3": "lesion", "1": "ventricles"}},
    ]
    return protocol_json(
        [{"id": f"case-{n}", "flair": f"{n}.nii.gz", "arms": copy.deepcopy(arms)} for n in range(3)],
        instructions="Look.",
        training_cases=[{"id": "train", "flair": "t", "arms": [{"id": "tool", "mask": "m"}], "feedback": "Well."}],
        raters=[{"id": "R1", "seed": 1, "experience_years": 12}, {"id": "R2", "seed": 2}],
        mirror_repeats=True,
        washout={"cases": 2, "arms": 1, "days": 14},
        blinding="source",
        time_limit_s=120,
        idle_after_s=20,
        minimum_lesion_mm3=10.7,
        confidence=True,
        comment=False,
        correction=True,
        questions=[
            {"id": "acceptable", "text": "Acceptable?", "type": ACCEPTABILITY, "threshold": 0.9, "required": True},
            {"id": "quality", "text": "How good?", "type": LIKERT_5, "labels": ["1", "2", "3", "4", "5"]},
            {"id": "motion", "text": "Motion?", "type": YES_NO},
            {"id": "count", "text": "How many?", "type": NUMERIC, "minimum": 0, "maximum": 99},
            {"id": "remark", "text": "Remarks", "type": TEXT},
        ],
        display={"layout": "four-up", "window": 900, "level": 450, "overlay": "fill", "overlay_opacity": 0.5},
    )


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_everything_is_read():
    found = parse_protocol(whole())
    assert found.cases[0].arms[0].classes == {1: LESION}
    assert found.cases[1].arms[1].classes == {3: LESION, 1: VENTRICLES}
    assert (found.repeats, found.mirror_repeats, found.washout.days) == (2, True, 14)
    assert (found.display.window, found.display.overlay) == (900, "fill")
    assert (found.time_limit_s, found.minimum_lesion_mm3, found.correction, found.comment) == (120, 10.7, True, False)
    assert found.rater("R1").experience_years == 12
    assert found.acceptability.id == "acceptable"
    assert not found.question("remark").required


def test_schema_and_dataclasses_know_the_same_keys():
    reader_keys = set(whole()) | {"$schema"}
    assert set(SCHEMA["properties"]) == reader_keys


def test_defaults():
    found = parse_protocol(protocol_json([{"id": "c", "flair": "f", "arms": [{"id": "a", "mask": "m"}]}], repeats=None))
    assert (found.repeats, found.blinding, found.idle_after_s, found.time_limit_s) == (1, "full", 30.0, None)
    assert found.cases[0].arms[0].classes == {LESION: LESION}


def change(content: dict, path: str, value) -> dict:
    """The content with one place changed; ``DELETE`` takes it away."""
    target, *rest = content, *path.split("/")
    for key in rest[:-1]:
        target = target[int(key) if key.isdigit() and isinstance(target, list) else key]
    last = rest[-1]
    if value is DELETE:
        del target[last]
    else:
        target[int(last) if isinstance(target, list) else last] = value
    return content


DELETE = object()
WRONG = [
    ("flairseg_study", 2, "flairseg_study"),
    ("flairseg_study", True, "flairseg_study"),
    ("id", "a/b", "id"),
    ("id", "", "id"),
    ("title", DELETE, "title"),
    ("title", "  ", "title"),
    ("repeat", 2, "repeat"),
    ("repeats", 0, "repeats"),
    ("repeats", 1.5, "repeats"),
    ("repeats", True, "repeats"),
    ("cases", [], "cases"),
    ("cases", {}, "cases"),
    ("cases/1/id", "CASE-0", "cases"),
    ("cases/1/flair", "", "cases[1].flair"),
    ("cases/1/flair", 3, "cases[1].flair"),
    ("cases/2/arms", [], "cases[2].arms"),
    ("cases/2/arms/1/id", "tool", "cases[2].arms"),
    ("cases/2/arms/0/mask", DELETE, "cases[2].arms[0].mask"),
    ("cases/2/arms/0/classes", {"1": "tumour"}, "cases[2].arms[0].classes.1"),
    ("cases/2/arms/0/classes", {"0": "lesion"}, "cases[2].arms[0].classes.0"),
    ("cases/2/arms/0/classes", {}, "cases[2].arms[0].classes"),
    ("cases/2/arms/0/kind", "x", "cases[2].arms[0].kind"),
    ("training_cases/0/id", "case-1", "cases"),
    ("raters", [], "raters"),
    ("raters/0/seed", DELETE, "raters[0].seed"),
    ("raters/0/seed", -1, "raters[0].seed"),
    ("raters/0/id", "Dr. Who", "raters[0].id"),
    ("raters/1/id", "r1", "raters"),
    ("questions/0/type", "Grade", "questions[0].type"),
    ("questions/1/labels", ["a"], "questions[1].labels"),
    ("questions/2/labels", ["a"] * 5, "questions[2].labels"),
    ("questions/2/threshold", 0.5, "questions[2].threshold"),
    ("questions/3/minimum", 100, "questions[3].minimum"),
    ("questions/4/id", "count", "questions"),
    ("questions/4/id", "confidence", "questions[4].id"),
    ("questions/4/type", ACCEPTABILITY, "questions"),
    ("washout/cases", -1, "washout.cases"),
    ("washout/weeks", 2, "washout.weeks"),
    ("blinding", "double", "blinding"),
    ("time_limit_s", 0, "time_limit_s"),
    ("time_limit_s", "10", "time_limit_s"),
    ("idle_after_s", 0.1, "idle_after_s"),
    ("display/level", DELETE, "display.window"),
    ("display/layout", "5x5", "display.layout"),
    ("display", 3, "display"),
    ("confidence", "yes", "confidence"),
]


@pytest.mark.parametrize(("path", "value", "place"), WRONG)
def test_an_error_names_its_place(path, value, place):
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(change(whole(), path, value))
    assert caught.value.place == place
    assert place in caught.value.message
    assert caught.value.advice


#: Ids that differ only in case, comparisons of two places, keys that belong to one type of question.
BEYOND_A_SCHEMA = {
    "cases/1/id",
    "cases/2/arms/1/id",
    "training_cases/0/id",
    "raters/1/id",
    "questions/4/id",
    "questions/4/type",
    "questions/2/labels",
    "questions/2/threshold",
    "questions/3/minimum",
    "display/level",
}


@pytest.mark.parametrize(("path", "value"), [w[:2] for w in WRONG if w[0] not in BEYOND_A_SCHEMA])
def test_the_schema_alone_refuses_what_it_can_know(path, value):
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(change(whole(), path, value))


def test_without_jsonschema_the_dataclasses_hold(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    parse_protocol(whole())
    with pytest.raises(ProtocolError):
        parse_protocol(change(whole(), "blinding", "double"))


def test_sha256_is_of_the_content_and_not_of_its_spelling(tmp_path):
    content = whole()
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps(content, indent=4), encoding="utf-8")
    other.write_text(json.dumps(dict(reversed(content.items()))), encoding="utf-8")
    assert load_protocol(one).sha256 == load_protocol(other).sha256
    assert parse_protocol(change(whole(), "raters/0/seed", 3)).sha256 != load_protocol(one).sha256


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "a", "id": "b"}', "\x00"])
def test_files_that_are_no_protocol(tmp_path, text):
    path = tmp_path / "p.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError):
        load_protocol(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ProtocolError, match="cannot be read"):
        load_protocol(tmp_path / "none.json")


def test_an_unknown_rater():
    with pytest.raises(ProtocolError, match="R9"):
        parse_protocol(whole()).rater("R9")


@pytest.mark.parametrize(
    ("question", "good", "bad"),
    [
        (Question("q", "?", ACCEPTABILITY), ["acceptable", "unacceptable"], ["yes", 1, None, True]),
        (Question("q", "?", YES_NO), ["yes", "no"], ["Yes", True]),
        (Question("q", "?", LIKERT_5), [1, 5], [0, 6, 2.5, "3", True]),
        (Question("q", "?", NUMERIC, minimum=0, maximum=9), [0, 9.0, 3.5], [-1, 9.1, "4", float("nan"), True]),
        (Question("q", "?", NUMERIC), [-1e9], [float("inf")]),
        (Question("q", "?", TEXT), ["", "words"], [3, None]),
    ],
)
def test_answers(question, good, bad):
    for value in good:
        assert question.check(value) == value
    for value in bad:
        with pytest.raises(ValueError, match="the answer is"):
            question.check(value)
