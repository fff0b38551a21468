"""What a source holds: BIDS, folders, tables, DICOM trees; which image is taken and why; labels."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flairseg.cohort.bids_labels import date_in, distinct, label_of, subject_and_session
from flairseg.cohort.discovery import find_sessions
from flairseg.cohort.model import BIDS, DICOM, FOLDERS, ORTHANC, TABLE, Session
from flairseg.errors import FlairSegError
from flairseg.files.visits import patient_of, split_visit

from Testing.core.cohort_data import bids_dataset, bids_image, head
from Testing.core.dicom_series import Study, write_series
from Testing.core.tiny import to_nifti


def by_case(source) -> dict[str, Session]:
    return {s.case: s for s in source.sessions}


@pytest.mark.parametrize(
    ("text", "label"),
    [("sub-01", "01"), ("patient_07", "patient07"), ("P-1.2", "P12"), ("subject-9", "9"), ("", "")],
)
def test_labels_are_letters_and_digits(text, label):
    assert label_of(text) == label


def test_labels_of_names_in_other_scripts_stay_apart():
    one, other = label_of("Müller"), label_of("Möller")
    assert one != other
    assert one.isascii()
    assert one.isalnum()
    assert label_of("Müller") == one
    assert len(label_of("x" * 300)) <= 60


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["p1", "flair"], ("p1", "")),
        (["p1", "2024-05-31", "flair"], ("p1", "2024-05-31")),
        (["p1", "baseline", "anat", "flair"], ("p1", "baseline")),
        (["P14_T1", "flair"], ("P14", "T1")),
        (["site1", "p7", "ses-2"], ("site1/p7", "ses-2")),
        (["patient01", "study1"], ("patient01", "study1")),
        (["siteA", "p7"], ("siteA/p7", "")),
    ],
)
def test_subject_and_visit_by_folders(parts, expected):
    assert subject_and_session(parts) == expected


def test_two_folders_that_are_no_visits_are_two_subjects():
    """Images of two patients must never be compared as two sessions of one."""
    assert subject_and_session(["site", "alpha"])[0] != subject_and_session(["site", "beta"])[0]


def test_names_end_in_visits():
    assert split_visit("P14_T1") == ("P14", "T1")
    assert split_visit("smith_2024-05-31") == ("smith", "2024-05-31")
    assert split_visit("left_hand") == ("left_hand", "")
    assert split_visit("P14.v2") == ("P14", "v2")
    assert split_visit("P14_ses-pre") == ("P14", "ses-pre")


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("sub-01_ses-2", "sub-01"), ("P14_T1", "P14"), ("12345_20240131", "12345"), ("12345_2024-01-31_v2", "12345"),
        ("anna-baseline", "anna"), ("T1", "T1"), ("case7", "case7"), ("x_followup2", "x"),
        # Marks of the image, alone and beside visits.
        ("P14_T1_flair", "P14"), ("P14_T1_20240131_T2_FLAIR_3D", "P14"), ("101228_flair", "101228"), ("P14.v2", "P14"),
        ("P14_ses-pre", "P14"), ("P14_month12", "P14"), ("P14_scan1", "P14"), ("P14_bl", "P14"),
        # Nothing would be left that names a patient: exam 2 of each patient is not one patient.
        ("exam_v2", "exam_v2"), ("flair_20240131", "flair_20240131"), ("brain_T2", "brain_T2"),
        ("T2_FLAIR", "T2_FLAIR"),
    ],
)  # fmt: skip
def test_the_patient_of_a_case_by_its_name(case, patient):
    assert patient_of(case) == patient


@pytest.mark.parametrize(
    ("text", "found"),
    [("20240229", "2024-02-29"), ("2024-05-31T10:00:00", "2024-05-31"), ("20230231", ""), ("2023-02-29", "")],
)
def test_only_days_that_there_are_are_dates(text, found):
    assert date_in(text) == found


def test_sessions_get_labels_of_their_own():
    plain = Session("1", "", "/a", BIDS, "")
    made = distinct([plain, replace(plain, path="/b"), replace(plain, path="/c", session="1")])
    assert {s.path: s.session for s in made} == {"/a": "2", "/b": "3", "/c": "1"}
    twice = distinct([replace(plan, session="m6") for plan in (plain, replace(plain, path="/b"))])
    assert [s.session for s in twice] == ["m6", "m6b"]
    other = distinct([Session("A1", "", "/a", BIDS, ""), Session("a1", "", "/b", BIDS, "")])
    assert len({s.case.lower() for s in other}) == 2


@pytest.mark.parametrize(
    "names",
    [("1-12", "11-2"), ("site_a1", "sitea_1"), ("center1/12", "center11/2"), ("a/b_c", "a_b/c"), ("1-12", "112"),
     ("A1", "a1"), ("Müller", "M-üller")],
)  # fmt: skip
def test_no_two_subjects_share_a_label(names):
    """Images of two patients must never be compared as two visits of one, whatever separators their names lose."""
    sessions = [Session(name, "", f"/{n}", BIDS, "") for n, name in enumerate(names)]
    made = distinct(sessions)
    assert len({s.subject.lower() for s in made}) == 2
    assert all(s.subject.isalnum() and s.subject.isascii() and s.session == "" for s in made)
    assert {s.path: s.subject for s in distinct(sessions[::-1])} == {s.path: s.subject for s in made}
    # A name that is a label already is kept, and so is one that no other collides with.
    assert [s.subject for s in made if s.subject == "112"] == ["112"] * ("112" in names)
    assert [s.subject for s in distinct(sessions[:1])] == [label_of(names[0])]


def test_folders_of_two_centres_are_two_subjects(tmp_path):
    for name in ("center1/12/flair.nii.gz", "center11/2/flair.nii.gz", "center1/13/flair.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True)
        to_nifti(head(), tmp_path / name)
    table = tmp_path / "people.csv"
    table.write_text("subject,site\ncenter11_2,B\ncenter1_12,A\ncenter113,C\n")
    found = find_sessions(tmp_path, covariates=table)
    assert (found.subjects, found.followed) == (3, 0)
    sites = {"/".join(s.path.split("/")[-3:-1]): (s.site, s.subject.isalnum()) for s in found.sessions}
    assert sites == {"center1/12": ("A", True), "center11/2": ("B", True), "center1/13": ("C", True)}


def test_covariates_of_one_subject_are_not_those_of_another(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        to_nifti(head(), tmp_path / name)
    listed, people = tmp_path / "sessions.csv", tmp_path / "people.csv"
    listed.write_text("subject,path\n1-12,a.nii.gz\n3,b.nii.gz\n")
    people.write_text("subject,age\n11-2,20\n1-12,60\n")
    (one, other) = find_sessions(listed, covariates=people).sessions
    assert (one.subject, one.age, other.age) == ("112", 60.0, None)


def test_bids(tmp_path):
    root = bids_dataset(tmp_path / "bids", {"01": 2, "02": 0, "03": 1})
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\tgroup\tsite\nsub-01\t31\tF\tRRMS\tA\nsub-02\tn/a\tM\tHC\tB\n"
    )
    (root / "sub-01" / "ses-2" / "sub-01_ses-2_scans.tsv").write_text(
        "filename\tacq_time\nanat/sub-01_ses-2_FLAIR.nii.gz\t2024-05-31T10:00:00\n"
    )
    (root / "sub-03" / "ses-1" / "anat" / "sub-03_ses-1_FLAIR.nii.gz").rename(
        root / "sub-03" / "ses-1" / "anat" / "sub-03_ses-1_T1w.nii.gz"
    )
    bids_image(root / "derivatives" / "other", "01", "2", "desc-x_FLAIR")
    found = find_sessions(root)
    assert found.kind == BIDS
    sessions = by_case(found)
    assert list(sessions) == ["sub-01_ses-1", "sub-01_ses-2", "sub-02", "sub-03_ses-1"]
    assert sessions["sub-01_ses-2"].date == "2024-05-31"
    assert (sessions["sub-01_ses-1"].age, sessions["sub-01_ses-1"].group) == (31.0, "RRMS")
    assert (sessions["sub-02"].age, sessions["sub-02"].site) == (None, "B")
    assert not sessions["sub-03_ses-1"].has_flair
    assert "T1w" in sessions["sub-03_ses-1"].reason
    assert found.followed == 1


def test_a_session_named_by_its_date_has_it(tmp_path):
    bids_image(tmp_path / "bids", "01", "20230102")
    assert [s.date for s in find_sessions(tmp_path / "bids").sessions] == ["2023-01-02"]
    to_nifti(head(), tmp_path / "a.nii.gz")
    table = tmp_path / "sessions.csv"
    table.write_text("subject,session,path\nX1,2023-02-01,a.nii.gz\nX2,1,a.nii.gz\n")
    assert [s.date for s in find_sessions(table).sessions] == ["2023-02-01", ""]


def test_bids_without_a_description(tmp_path):
    bids_image(tmp_path, "01", "1")
    assert find_sessions(tmp_path).kind == BIDS


def test_bids_of_several_flairs(tmp_path):
    root = bids_dataset(tmp_path, {"01": 0})
    bids_image(root, "01", name="ce-gadolinium_FLAIR")
    bids_image(root, "01", name="run-1_FLAIR")
    bids_image(root, "01", name="run-2_FLAIR")
    (session,) = find_sessions(root).sessions
    assert session.path.endswith("run-2_FLAIR.nii.gz")
    assert "last run" in session.reason
    for path in (root / "sub-01" / "anat").glob("*run*"):
        path.unlink()
    (session,) = find_sessions(root).sessions
    assert session.path.endswith("sub-01_FLAIR.nii.gz")
    assert "without contrast agent" in session.reason


def test_folders(tmp_path):
    for name in ("p1/2023-01-02/flair.nii.gz", "p1/2024-01-02/flair.nii.gz", "p2/t1.nii.gz", "p3/study1_flair.nii.gz",
                 "p3/study2_flair.nii.gz", "p4/t1.nii.gz", "p4/flair.nii.gz", "p4/flair_mask.nii.gz",
                 "lone_flair.nii.gz"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        to_nifti(head(), path)
    found = find_sessions(tmp_path, exclude=tmp_path / "results")
    assert found.kind == FOLDERS
    sessions = by_case(found)
    assert set(sessions) == {
        "sub-p1_ses-20230102", "sub-p1_ses-20240102", "sub-p2", "sub-p3_ses-study1", "sub-p3_ses-study2", "sub-p4",
        "sub-lone",
    }  # fmt: skip
    assert sessions["sub-p1_ses-20240102"].date == "2024-01-02"
    assert not sessions["sub-p2"].has_flair
    assert sessions["sub-p4"].path.endswith("p4/flair.nii.gz")


def test_the_output_folder_is_no_source(tmp_path):
    to_nifti(head(), tmp_path / "p1_flair.nii.gz")
    made = tmp_path / "out" / "sub-p1" / "anat"
    made.mkdir(parents=True)
    to_nifti(head(), made / "sub-p1_FLAIR.nii.gz")
    assert len(find_sessions(tmp_path).sessions) == 2
    assert len(find_sessions(tmp_path, exclude=tmp_path / "out").sessions) == 1


def test_a_table(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        to_nifti(head(), tmp_path / name)
    table = tmp_path / "sessions.csv"
    table.write_text(
        "Subject;Session;Path;Site;Age;Group\nX1;1;a.nii.gz;A;40,5;MS\nX1;2;b.nii.gz;A;41;MS\nX2;;;B;;HC\n"
    )
    found = find_sessions(table)
    assert found.kind == TABLE
    sessions = by_case(found)
    assert list(sessions) == ["sub-X1_ses-1", "sub-X1_ses-2", "sub-X2"]
    assert sessions["sub-X1_ses-1"].path == str(tmp_path / "a.nii.gz")
    assert sessions["sub-X1_ses-1"].age == 40.5
    assert not sessions["sub-X2"].has_flair
    assert sessions["sub-X2"].group == "HC"
    listed = tmp_path / "files.txt"
    listed.write_text("a.nii.gz\nb.nii.gz\n")
    assert len(find_sessions(listed).with_flair) == 2


def test_covariates_join_by_subject_and_session(tmp_path):
    root = bids_dataset(tmp_path / "bids", {"01": 2})
    table = tmp_path / "people.csv"
    table.write_text("subject,session,site,age\nsub-01,,A,30\nsub-01,2,B,31\n")
    sessions = by_case(find_sessions(root, covariates=table))
    assert (sessions["sub-01_ses-1"].site, sessions["sub-01_ses-1"].age) == ("A", 30)
    assert (sessions["sub-01_ses-2"].site, sessions["sub-01_ses-2"].age) == ("B", 31)


@pytest.mark.parametrize(
    ("dates", "found"),
    [
        (("03.02.2022", "14.1.2022"), ["2022-01-14", "2022-02-03"]),
        (("2/13/2022", "13/1/2022"), ["2022-01-13", "2022-02-13"]),
        (("20220203", "2022-01-14T10:00"), ["2022-01-14", "2022-02-03"]),
        (("1877-06-15T12:05:09", "1877-06-14"), ["1877-06-14", "1877-06-15"]),
        (("n/a", "2022-01-14"), ["", "2022-01-14"]),
    ],
)
def test_dates_as_people_write_them_order_the_sessions(tmp_path, dates, found):
    """By their files' names the later one had come first, and a new lesion had been a resolved one."""
    table = _text(tmp_path / "x.csv", "".join(f"{line}\n" for line in (
        "subject,path,date", f"A,a.nii.gz,{dates[0]}", f"A,b.nii.gz,{dates[1]}")))  # fmt: skip
    assert [s.date for s in find_sessions(table).sessions] == found


@pytest.mark.parametrize("text", ["3/2/2022", "2022", "Feb 2022", "31.2.2022", "03.02.22"])
def test_a_date_that_cannot_be_read_is_told(tmp_path, text):
    table = _text(tmp_path / "x.csv", f"subject,path,date\nA,a.nii.gz,2022-01-01\nA,b.nii.gz,{text}\n")
    with pytest.raises(FlairSegError, match=rf"{text}.*row 3") as caught:
        find_sessions(table)
    assert caught.value.code == "unreadable-table"
    root = bids_dataset(tmp_path / "bids", {"01": 2})
    people = _text(tmp_path / "people.csv", f"subject,date\nsub-01,{text}\n")
    with pytest.raises(FlairSegError, match="row 2"):
        find_sessions(root, covariates=people)
    _text(root / "participants.tsv", f"participant_id\tage\tdate\nsub-01\t45\t{text}\n")
    assert {s.age for s in find_sessions(root).sessions} == {45}, "beside the images it is left out"


@pytest.mark.parametrize("head", ["subject;id;path;age", "id;subject;path;age"])
def test_of_two_columns_for_one_content_the_name_decides_and_not_the_place(tmp_path, head):
    cells = {"subject": "A", "path": "a.nii.gz", "age": "045Y"}
    rows = [";".join({**cells, "id": n}[name] for name in head.split(";")) for n in "12"]
    sessions = find_sessions(_text(tmp_path / "x.csv", "\n".join([head, *rows]))).sessions
    assert {s.subject for s in sessions} == {"A"}
    assert {s.age for s in sessions} == {45}
    lacking = _text(tmp_path / "y.csv", "subject;id;path\n;7;a.nii.gz\n")
    assert find_sessions(lacking).sessions[0].subject == "7"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda p: p / "nothing", "input-not-found"),
        (lambda p: p, "empty-source"),
        (lambda p: _text(p / "x.csv", "one,two\n1,2\n"), "unreadable-table"),
        (lambda p: _text(p / "x.csv", ""), "unreadable-table"),
        (lambda p: _text(p / "x.csv", "subject,age\n1,2\n"), "unreadable-table"),
        (lambda p: _text(p / "x.zip", "PK"), "source-not-readable"),
    ],
)
def test_what_is_no_source(tmp_path, make, code):
    with pytest.raises(FlairSegError) as caught:
        find_sessions(make(tmp_path))
    assert caught.value.code == code
    assert caught.value.advice


def _text(path, text):
    path.write_text(text)
    return path


def _study(folder, patient, day, contrast="flair", number=5, study=None):
    def change(data, k):
        data.StudyDate, data.PatientAge, data.PatientSex = day, "044Y", "F"

    write_series(head(), folder, "toshiba", contrast, study or Study(patient_id=patient), number, change=change)


def test_a_tree_of_dicom_studies(tmp_path):
    """Studies by their headers, whatever the folders are called; several series of a study in one folder or more."""
    first = Study(patient_id="P7")
    _study(tmp_path / "x" / "a", "P7", "20240131", "t1", 3, first)
    _study(tmp_path / "x" / "b", "P7", "20240131", "flair", 5, first)
    _study(tmp_path / "x" / "c", "P7", "20240630")
    _study(tmp_path / "y", "P8", "20240201", "t2")
    found = find_sessions(tmp_path)
    assert found.kind == DICOM
    sessions = by_case(found)
    assert list(sessions) == ["sub-P7_ses-20240131", "sub-P7_ses-20240630", "sub-P8_ses-20240201"]
    one = sessions["sub-P7_ses-20240131"]
    assert one.path == str(tmp_path / "x" / "b")
    assert "FLAIR" in one.reason
    assert (one.age, one.sex, one.date) == (44.0, "F", "2024-01-31")
    assert found.followed == 1


def test_studies_in_one_heap_are_parted_by_their_files(tmp_path):
    for n, patient in enumerate(("P1", "P2")):
        heap = tmp_path / f"made{n}"
        _study(heap, patient, "20240131")
        for file in heap.iterdir():
            (tmp_path / "heap").mkdir(exist_ok=True)
            file.rename(tmp_path / "heap" / f"{patient}-{file.name}")
    sessions = by_case(find_sessions(tmp_path / "heap"))
    assert len(sessions) == 2
    for session in sessions.values():
        assert len(session.files) == 10
        assert all(name.startswith(session.subject) for name in session.files)


def test_an_export_of_orthanc(tmp_path):
    _study(tmp_path / "P1 DOE JANE" / "Brain MR" / "MR FSE FLAIR AX", "P1", "20240131")
    found = find_sessions(tmp_path)
    assert found.kind == ORTHANC
    assert [s.case for s in found.with_flair] == ["sub-P1_ses-20240131"]
