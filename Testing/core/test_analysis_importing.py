"""Ratings from elsewhere: the contract's two CSV forms, what spreadsheets make of them, and what is wrong in them."""

from __future__ import annotations

import csv
import io

import pytest
from flairseg.errors import InputNotFoundError
from flairseg.study.analysis.importing import read_ratings
from flairseg.study.analysis.tidy import InvalidRatingsError
from flairseg.study.records import ACCEPTABILITY, ACCEPTABLE, NO, NUMERIC, TEXT, UNACCEPTABLE, YES, YES_NO
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from Testing.core.simulated_study import simulate

WIDE = """Case_ID,Question_ID,Question_Text,Response_Type,\
Response_Value_Expert_1,Notes_Expert_1,Response_Value_Expert_2,Notes_Expert_2
P01,q1,"Ventricles accurate, on the whole?",Likert_5,4,,5,"clear, sharp"
P01,q2,Usable?,Yes_No,Yes,,no,
P01,q3,Lesions,Numeric,12,,13.5,
P01,q4,Remark,Text,looks fine,,,
P02,q1,"Ventricles accurate, on the whole?",Likert_5,,,3,
P02,q2,Usable?,Yes_No,Y,,TRUE,
P02,q3,Lesions,Numeric,0,,N/A,
P02,q4,Remark,Text,,,,
"""
LONG = """case,question,rater,repeat,value
c1,ok,A,1,acceptable
c1,ok,A,2,unacceptable
c1,ok,B,1,acceptable
c2,ok,A,1,
"""


def write(folder, text, name="ratings.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def values(ratings, question, rater):
    return [r.value for r in ratings if (r.question, r.rater) == (question, rater)]


def check_wide(ratings):
    assert len(ratings) == 16
    assert values(ratings, "q1", "Expert 1") == [4, None]
    assert values(ratings, "q1", "Expert 2") == [5, 3]
    assert values(ratings, "q2", "Expert 1") == [YES, YES]
    assert values(ratings, "q2", "Expert 2") == [NO, YES]
    assert values(ratings, "q3", "Expert 2") == [13.5, None]
    assert values(ratings, "q4", "Expert 1") == ["looks fine", None]
    first = next(r for r in ratings if r.rater == "Expert 2")
    assert first.question_text == "Ventricles accurate, on the whole?"
    assert first.comment == "clear, sharp"
    assert {r.response_type for r in ratings} == {"Likert_5", YES_NO, NUMERIC, TEXT}
    assert {(r.arm, r.repeat) for r in ratings} == {("", 0)}


def test_wide_form(tmp_path):
    check_wide(read_ratings([write(tmp_path, WIDE)]).ratings)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_encodings_and_line_ends(tmp_path, encoding, line_end):
    text = WIDE.replace("looks fine", "Ödem, gelöst").replace("Remark,Text,Ödem, gelöst", 'Remark,Text,"Ödem, gelöst"')
    imported = read_ratings([write(tmp_path, text.replace("\n", line_end), encoding=encoding)])
    assert values(imported.ratings, "q4", "Expert 1")[0] == "Ödem, gelöst"
    assert bool(imported.study.remarks) == (encoding == "cp1252")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_other_spreadsheets_write(tmp_path, delimiter):
    """Semicolons and decimal commas, blank lines, missing cells at the end of a row."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\r\n").writerows(csv.reader(io.StringIO(WIDE)))
    text = stream.getvalue().replace("13.5", "13,5") + delimiter * 3 + "\r\n\r\n"
    check_wide(read_ratings([write(tmp_path, text)]).ratings)


def test_one_file_for_each_case(tmp_path):
    header, *rows = WIDE.splitlines(keepends=True)
    write(tmp_path, header + "".join(rows[:4]), "p01.csv")
    write(tmp_path, header + "".join(rows[4:]), "p02.CSV")
    write(tmp_path, "no ratings", "notes.txt")
    check_wide(read_ratings([tmp_path]).ratings)


def test_long_form(tmp_path):
    imported = read_ratings([write(tmp_path, LONG)], title="Elsewhere")
    assert values(imported.ratings, "ok", "A") == [ACCEPTABLE, UNACCEPTABLE, None]
    assert [r.repeat for r in imported.ratings] == [0, 1, 0, 0]
    assert {r.response_type for r in imported.ratings} == {ACCEPTABILITY}
    assert imported.study.title == "Elsewhere"
    assert "look like Acceptability" in imported.study.remarks[0]
    assert "ratings.csv" in imported.study.source


def test_types_that_are_told(tmp_path):
    path = write(tmp_path, "case,question,rater,value\nc1,quality,A,4\nc1,quality,B,5\n")
    assert {r.response_type for r in read_ratings([path]).ratings} == {NUMERIC}
    told = read_ratings([path], {"quality": "likert 5"})
    assert {(r.response_type, type(r.value)) for r in told.ratings} == {("Likert_5", int)}
    assert not told.study.remarks
    with pytest.raises(InvalidRatingsError, match=r"--type.*'quality'.*'Stars' is unknown"):
        read_ratings([path], {"quality": "Stars"})


LONG_HEADER = "case,question,rater,repeat,response_type,value\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"ratings\.csv is empty"),
        ("case,question,rater,value\n", "has no rating"),
        ("a,b,c\n1,2,3\n", r"line 1: the header is neither the wide form.*\(no case, question, rater, value\)"),
        ("case,question,rater,value,value\n", r"line 1: the column 'value' is there twice"),
        ("Case_ID,Question_ID,Expert\nP,q,4\n", "no column Response_Value_Expert_1"),
        (
            LONG_HEADER + "c1,ok,A,0,Yes_No,yes\nc1,ok,B,0,Yes_No,perhaps\n",
            r"line 3, column 'value': 'perhaps' is neither",
        ),
        (LONG_HEADER + "c1,ok,A,0,Likert_5,6\n", r"line 2, column 'value': '6' is no point of Likert_5"),
        (LONG_HEADER + "c1,ok,A,0,Likert_5,2.5\n", "no point of Likert_5"),
        (LONG_HEADER + "c1,ok,A,0,Likert_5,4 of 5\n", "'4 of 5' is no number"),
        (LONG_HEADER + 'c1,ok,A,0,Numeric,"1.234,5"\n', "is no number"),
        (LONG_HEADER + "c1,ok,A,0,Numeric,inf\n", "no finite number"),
        (LONG_HEADER + "c1,ok,A,0,Stars,3\n", r"line 2, column 'response_type': the response type 'Stars' is unknown"),
        (LONG_HEADER + "c1,ok,A,0,Likert_50,3\n", "'Likert_50' is unknown"),
        (LONG_HEADER + "c1,ok,A,first,Numeric,3\n", r"column 'repeat': 'first' is no number"),
        (LONG_HEADER + "c1,ok,A,-1,Numeric,3\n", r"column 'repeat': '-1' is no count"),
        (LONG_HEADER + ",ok,A,0,Numeric,3\n", r"line 2, column 'case': the cell is empty"),
        (LONG_HEADER + "c1,ok,A,0,Numeric,3\n\nc1,ok,A,0,Numeric,4\n", r"line 4, .*already in ratings.csv, line 2"),
        (LONG_HEADER + "c1,ok,A,0,Numeric,3\nc1,ok,B,0,Yes_No,no\n", r"line 3, .*Yes_No here and Numeric above"),
        (LONG_HEADER + "c1,ok,A,0,Numeric,3,more\n", "line 2: there are 7 cells below 6 columns"),
        (LONG_HEADER + 'c1,ok,A,0,Text,"never closed\n', "the row cannot be read"),
        ("\0\1\2", "not a text file"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InvalidRatingsError, match=message) as refused:
        read_ratings([path])
    assert "ratings.csv" in refused.value.message or "--type" in refused.value.message
    assert refused.value.advice


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(InputNotFoundError, match="does not exist"):
        read_ratings([tmp_path / "none.csv"])
    with pytest.raises(InputNotFoundError, match="no CSV file"):
        read_ratings([tmp_path])
    with pytest.raises(InputNotFoundError, match="No file was named"):
        read_ratings([])


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200) | st.text(alphabet="case,question;rater\tvalue\n\r\"'0159.é", max_size=200).map(str.encode)
)
def test_no_file_can_do_more_than_be_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "any.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidRatingsError):
        read_ratings([path])


cells = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).map(
    str.strip
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5, unique=True))
def test_any_text_comes_through(tmp_path_factory, rows):
    rows = [row for row in rows if all(row) and not {c.lower() for c in row} & {"", "na", "n/a", "nan", "none", "null"}]
    rows = [row for row in rows if not {*row} & {"-", "--", ".", "?"} and not any(c.startswith("'") for c in row)]
    path = tmp_path_factory.mktemp("text") / "text.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("case", "question", "rater", "response_type", "value")])
        csv.writer(stream).writerows([(case, "remark", rater, TEXT, text) for case, rater, text in rows])
    pairs = [(case, rater) for case, rater, _ in rows]
    if not rows or len(set(pairs)) < len(pairs):
        return
    assert [(r.case, r.rater, r.value) for r in read_ratings([path]).ratings] == rows


def test_the_analysis_is_the_same_from_its_own_table(tmp_path):
    """ratings.csv of a study, analysed again, gives the very same tables; repeats, times and counts come along."""
    pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'flairseg[study]'")
    from flairseg.study.analysis import analyse

    ratings, _ = simulate(cases=8)
    ratings = [r for r in ratings if r.case != "case-002" or r.rater == "R1"]
    first = analyse(ratings, tmp_path / "first", seed=5)
    again = read_ratings([first["ratings.csv"]])
    assert len(again.ratings) == len(ratings)
    second = analyse(again.ratings, tmp_path / "second", study=again.study, seed=5)
    for name in ("ratings.csv", "acceptance.csv", "agreement.csv", "comparison.csv", "timing.csv"):
        assert first[name].read_bytes() == second[name].read_bytes(), name


def test_command_line(tmp_path):
    pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'flairseg[study]'")
    from flairseg.cli import app

    path = write(tmp_path, WIDE)
    run = CliRunner().invoke(app, ["study", "import", str(path), "--output", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "report.html" in run.output
    assert "Research use only" in run.output
    again = CliRunner().invoke(app, ["study", "import", str(path), "-o", str(tmp_path / "out")])
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    tidy = tmp_path / "out" / "ratings.csv"
    run = CliRunner().invoke(app, ["study", "analyse", str(tidy), "-o", str(tmp_path / "two"), "--seed", "4"])
    assert run.exit_code == 0, run.output
    bad = write(tmp_path, WIDE.replace("Likert_5,4", "Likert_5,9"), "bad.csv")
    refused = CliRunner().invoke(app, ["study", "import", str(bad), "-o", str(tmp_path / "three")])
    assert refused.exit_code == 2
    assert "bad.csv, line 2, column 'Response_Value_Expert_1'" in refused.output
    assert not (tmp_path / "three").exists()
    odd = CliRunner().invoke(app, ["study", "import", str(path), "-o", str(tmp_path / "four"), "--type", "Likert_5"])
    assert odd.exit_code == 2
    assert "QUESTION=Likert_5" in odd.output
