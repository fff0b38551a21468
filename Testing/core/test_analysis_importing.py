"""Ratings from elsewhere: the contract's two CSV forms, what spreadsheets make of them, and what is wrong in them."""

from __future__ import annotations

import csv
import io

import pytest
from flairseg.errors import InputNotFoundError
from flairseg.study.analysis.importing import read_ratings
from flairseg.study.analysis.inputs import AnalysisInputs
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
    assert "'ok' (Acceptability)" in imported.study.remarks[0]
    assert "ratings.csv" in imported.study.source


def test_types_that_are_told(tmp_path):
    path = write(tmp_path, "case,question,rater,value\nc1,quality,A,4\nc1,quality,B,5\n")
    assert {r.response_type for r in read_ratings([path]).ratings} == {NUMERIC}
    told = read_ratings([path], {"quality": "likert 5"})
    assert {(r.response_type, type(r.value)) for r in told.ratings} == {("Likert_5", int)}
    assert not told.study.remarks
    with pytest.raises(InvalidRatingsError, match=r"The response type 'Stars' that was stated is unknown") as refused:
        read_ratings([path], {"quality": "Stars"})
    assert refused.value.code == "unknown-response-type"


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
        (LONG_HEADER + "c1,ok,A,0,Likert_5,6\n", r"line 2, column 'value': '6' is not a point of Likert_5"),
        (LONG_HEADER + "c1,ok,A,0,Likert_5,2.5\n", "not a point of Likert_5"),
        (LONG_HEADER + "c1,ok,A,0,Likert_5,4 of 5\n", "'4 of 5' is not a number"),
        (LONG_HEADER + 'c1,ok,A,0,Numeric,"1.234,5"\n', "is ambiguous as a number"),
        (LONG_HEADER + "c1,ok,A,0,Numeric,inf\n", "not a finite number"),
        (LONG_HEADER + 'c1,ok,A,0,Numeric,"1,234"\n', "'1,234' is ambiguous as a number"),
        (LONG_HEADER + "c1,ok,A,0,Numeric,1'234\n", "may stand for thousands"),
        (
            LONG_HEADER + 'c1,ok,A,0,Numeric,"1,5"\nc2,ok,A,0,Numeric,1.234\n',
            r"line 3.*'1\.234' is ambiguous as a number",
        ),
        (LONG_HEADER + "c1,ok,A,first,Numeric,3\n", r"column 'repeat': 'first' is not a number"),
        (LONG_HEADER + "c1,ok,A,-1,Numeric,3\n", r"column 'repeat': '-1' is not a count"),
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
    assert "ratings.csv" in refused.value.message
    assert refused.value.advice


def answers(folder, kind, given, types=None):
    """Type, values and remarks of one question with these answers of raters A, B, C, ..."""
    stream = io.StringIO()
    rows = [("c1", "q", chr(65 + n), "0", kind, text) for n, text in enumerate(given)]
    csv.writer(stream).writerows([LONG_HEADER.strip().split(","), *rows])
    imported = read_ratings([write(folder, stream.getvalue())], types)
    assert len({r.response_type for r in imported.ratings}) == 1
    return imported.ratings[0].response_type, [r.value for r in imported.ratings], " ".join(imported.study.remarks)


@pytest.mark.parametrize(
    ("kind", "given", "expected_kind", "expected", "told"),
    [
        ("Y/N", ["y", "N", "", "Yes"], YES_NO, [YES, NO, None, YES], ""),
        ("Binary", ["1", "0", "1"], YES_NO, [YES, NO, YES], ""),
        ("Boolean", ["TRUE", "false"], YES_NO, [YES, NO], ""),
        ("Check mark", ["✓", "", "x"], YES_NO, [YES, NO, YES], "an empty cell means not checked"),
        ("Checkbox", ["☑", "☐", ""], YES_NO, [YES, NO, None], ""),
        ("Binary (check mark)", ["✓", "✗", ""], YES_NO, [YES, NO, None], ""),
        ("Likert-7", ["7", "1"], "Likert_7", [7, 1], ""),
        ("5-point Likert scale", ["5", "2"], "Likert_5", [5, 2], ""),
        ("Likert (1-5)", ["5", "2"], "Likert_5", [5, 2], ""),
        ("Scale 1-10", ["10", "2"], "Likert_10", [10, 2], ""),
        ("Likert_0-4", ["0", "4", ""], "Likert_5", [1, 5, None], "0 to 4 became 1 to 5"),
        ("Likert_5", ["4 - good", "5: excellent", "3/5", "2 (poor)"], "Likert_5", [4, 5, 3, 2], ""),
        ("Likert_5", ["Agree", "strongly disagree", "Neutral"], "Likert_5", [4, 1, 3], ""),
        ("VAS 0-100", ["72.5", "0"], NUMERIC, [72.5, 0.0], "0 to 100 was read as numbers"),
        ("Agreement scale", ["Strongly agree", "Disagree", "neutral"], "Likert_5", [5, 2, 3], "1 strongly disagree"),
        ("Agreement", ["Somewhat agree", "Strongly disagree"], "Likert_7", [5, 1], "words were converted to points"),
        ("Severity", ["none", "mild", "severe"], "Likert_4", [1, 2, 4], "1 none, 2 mild"),
        ("Quality", ["poor", "good", "excellent"], "Likert_4", [1, 3, 4], "words were converted to points"),
        ("Likert", ["4", "5"], NUMERIC, [4.0, 5.0], "number of points"),
        ("Ordinal: small < medium < large", ["medium", "large", "small"], "Likert_3", [2, 3, 1], "1 small"),
        ("Rank", ["1st", "#2", "3", "2."], "Likert_3", [1, 2, 3, 2], "1 being first"),
        ("Ranking", ["12", "1"], NUMERIC, [12.0, 1.0], "ranks were read as numbers"),
        ("Range", ["0-25 %", "> 75%", "26–50%", "0-25%"], "Likert_3", [1, 3, 2, 1], "3 >75%"),
        ("Percentage range", ["<10%", "10-50%", ">50%"], "Likert_3", [1, 2, 3], ""),
        ("Percentage range", ["0-50", "25-75"], TEXT, ["0-50", "25-75"], "overlap"),
        ("Percentage", ["45 %", "7.5%", "100"], NUMERIC, [45.0, 7.5, 100.0], ""),
        ("Percent", ["0.45", "1", "0"], NUMERIC, [45.0, 100.0, 0.0], "shares from 0 to 1 became per cent"),
        ("Category", ["MRI", "CT", "ct", ""], "Category: CT | MRI", ["MRI", "CT", "CT", None], ""),
        ("Multiple choice (A; B; C)", ["b", "A"], "Category: A | B | C", ["B", "A"], ""),
        ("Date", ["2024-05-31", "31.5.2024"], TEXT, ["2024-05-31", "31.5.2024"], "listed, not analysed"),
        ("Free number", ["3.5 ml", "2 ml"], NUMERIC, [3.5, 2.0], "its unit ml was removed"),
        ("Integer", ["3", "-2"], NUMERIC, [3.0, -2.0], ""),
        ("Count", ["1.234", "12"], NUMERIC, [1.234, 12.0], ""),
        ("Free text", ["none", "?"], TEXT, ["none", "?"], ""),
    ],
)  # fmt: skip
def test_response_types_of_other_questionnaires(tmp_path, kind, given, expected_kind, expected, told):
    found_kind, found, remarks = answers(tmp_path, kind, given)
    assert (found_kind, found) == (expected_kind, expected)
    assert told in remarks


@pytest.mark.parametrize(
    ("kind", "answer", "message"),
    [
        ("Percentage", "130 %", "is not a percentage"),
        ("Rank", "first", "is not a rank"),
        ("Rank", "0", "is not a rank"),
        ("Category: a | b", "c", "is none of the categories"),
        ("Ordinal: a < b", "3", "is none of its options"),
        ("VAS 0-100", "101", "is not from 0 to 100"),
        ("Check mark", "perhaps", "is neither yes nor no"),
        ("Likert_0-4", "5", "is not a point of Likert_5"),
        ("Numeric", "3 apples", "is not a number"),
    ],
)
def test_answers_that_do_not_suit_their_type(tmp_path, kind, answer, message):
    with pytest.raises(InvalidRatingsError, match=message):
        answers(tmp_path, kind, [answer])


def test_unknown_types_are_listed_at_once_and_do_not_stop_the_rest(tmp_path):
    rows = ("c1,a,A,0,Stars,4", "c1,b,A,0,Likert_50,3", "c1,c,A,0,Stars,5", "c1,d,A,0,Mood,fine", "c1,e,A,0,Y/N,y")
    path = write(tmp_path, LONG_HEADER + "\n".join(rows) + "\n")
    imported = read_ratings([path])
    assert {r.question: r.response_type for r in imported.ratings} == {
        "a": NUMERIC, "b": NUMERIC, "c": NUMERIC, "d": TEXT, "e": YES_NO,
    }  # fmt: skip
    (remark,) = imported.study.remarks
    assert "'Stars' of 'a' (Numeric), 'c' (Numeric); 'Likert_50' of 'b' (Numeric); 'Mood' of 'd' (Text)" in remark
    # Each is stated once, by its name or by a question.
    told = read_ratings([path], {"Stars": "Likert_5", "b": "Numeric", "Mood": "Text"})
    assert {r.question: r.response_type for r in told.ratings}["c"] == "Likert_5"
    assert not told.study.remarks
    assert "'Colour' is unused" in read_ratings([path], {"Colour": "Text"}).study.remarks[-1]
    with pytest.raises(InvalidRatingsError, match="types 'Hearts', 'Hearts 2' that were stated are unknown"):
        read_ratings([path], {"Stars": "Hearts", "b": "Hearts 2"})


def test_all_wrong_answers_are_told_at_once(tmp_path):
    rows = "".join(f"c{n},q,A,0,Likert_5,{n + 4}\n" for n in range(4))
    with pytest.raises(InvalidRatingsError, match="2 answers cannot be read") as refused:
        read_ratings([write(tmp_path, LONG_HEADER + rows)])
    assert [f"line {n}" in refused.value.message for n in (2, 3, 4, 5)] == [False, False, True, True]
    assert len(refused.value.fields["answers"]) == 2


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_first_line_of_excel_names_the_separator(tmp_path, first):
    text = f"{first}\r\ncase;question;rater;value\r\nc1;q;A;1,5\r\nc1;q;B;wrong\r\n"
    with pytest.raises(InvalidRatingsError, match=r"line 4.*'wrong' is not a number"):
        read_ratings([write(tmp_path, text)], {"q": "Numeric"})
    assert [r.value for r in read_ratings([write(tmp_path, text.replace("wrong", "2"))]).ratings] == [1.5, 2.0]


def test_agreement_on_categories(tmp_path):
    pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")
    from flairseg.study.analysis.results import compute

    rows = [("A", "a"), ("B", "b"), ("C", "c"), ("A", "a"), ("B", "c"), ("C", "c")]
    lines = [
        f"c{n},q,{rater},Category,{text}" for n, pair in enumerate(rows) for rater, text in zip("XY", pair, strict=True)
    ]
    imported = read_ratings([write(tmp_path, "case,question,rater,response_type,value\n" + "\n".join(lines) + "\n")])
    result = compute(imported)
    found = {row.coefficient: row.estimate.value for row in result.agreement}
    # Five of six agree; by chance (2 * 2 + 2 * 1 + 2 * 3) / 36 = 1 / 3 would.
    assert found["Percent agreement"] == pytest.approx(5 / 6)
    assert found["Cohen kappa"] == pytest.approx((5 / 6 - 1 / 3) / (2 / 3))
    assert "Weighted kappa (quadratic)" not in found


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
    first = analyse(AnalysisInputs(ratings), tmp_path / "first", seed=5)
    again = read_ratings([first["ratings.csv"]])
    assert len(again.ratings) == len(ratings)
    second = analyse(again, tmp_path / "second", seed=5)
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
