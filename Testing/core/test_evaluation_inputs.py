"""Which files are compared, what foreign label values mean, and how masks come onto the reference's grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.cli.advice import advice as phrased
from flairseg.errors import FlairSegError, InputNotFoundError, UnreadableImageError
from flairseg.evaluation import EvaluationCase, match_folders, parse_mapping, read_manifest, read_training_log
from flairseg.evaluation.errors import InvalidManifestError, InvalidMappingError, UnsuitableMaskError
from flairseg.evaluation.foreign import OWN, PRESETS, with_threshold
from flairseg.evaluation.inputs import DEFAULT_METHOD
from flairseg.evaluation.masks import place, read_prediction, read_probabilities, read_reference
from flairseg.image.volume import volume_to_sitk
from flairseg.io.label_maps import read_label_map

from Testing.core.evaluation_cases import (
    AFFINE,
    SHAPE,
    grid,
    reference_labels,
    write_labels,
    write_probabilities,
    write_study,
)

# --- the table --------------------------------------------------------------------------------------------------------


def write(path, text: str, encoding: str = "utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def test_a_table_names_cases_methods_groups_and_files_beside_it(tmp_path):
    table = write(
        tmp_path / "cases.csv",
        "Case,prediction,reference,method,probabilities,site,disease,remark\n"
        "anna,a/p.nii.gz,a/r.nii.gz,ours,a/prob.nii.gz,Tabriz,MS,x\n"
        "\n"
        "anna,/abs/q.nii.gz,a/r.nii.gz,LST,,Tabriz,MS\n"
        "bela,b/p.nii.gz,b/r.nii.gz,ours,,,\n",
        "utf-8-sig",
    )
    cases = read_manifest(table)
    assert cases[0] == EvaluationCase(
        "anna",
        "ours",
        tmp_path / "a/p.nii.gz",
        tmp_path / "a/r.nii.gz",
        tmp_path / "a/prob.nii.gz",
        None,
        "Tabriz",
        "MS",
    )
    assert str(cases[1].prediction) == "/abs/q.nii.gz"
    assert (cases[2].site, cases[2].probabilities) == ("", None)
    semicolons = write(tmp_path / "german.csv", "case;prediction;reference\nanna;a;b\n")
    assert read_manifest(semicolons)[0].method == DEFAULT_METHOD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("case,prediction\na,b\n", "no column reference"),
        ("case,case,prediction,reference\na,a,b,c\n", "case twice"),
        ("case,prediction,reference\n", "lists no case"),
        ("", "no column case, prediction, reference"),
        ("case,prediction,reference\na,,c\n", "line 2, has no prediction"),
        ("case,prediction,reference\na,b,c\na,d,c\n", "the case a of prediction twice"),
        ("case,prediction,reference,method\na,b,c,x\na,d,e,y\n", "two different entries of reference"),
        ("case,prediction,reference,method\na,b,c,reference\n", "denotes the references"),
        ("case,prediction,reference,method,site\na,b,c,x,1\na,d,c,y,2\n", "two different entries of site"),
        ('case,prediction,reference\n"a,b,c\n', "has no prediction"),
    ],
)
def test_tables_that_cannot_be_understood_are_refused_with_advice(tmp_path, text, told):
    with pytest.raises(InvalidManifestError, match=told) as caught:
        read_manifest(write(tmp_path / "cases.csv", text))
    assert caught.value.advice


def test_tables_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InvalidManifestError, match="cannot be read"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("case,prediction,reference\nJosé,a,b\n".encode("latin-1"))
    with pytest.raises(InvalidManifestError, match="UTF-8"):
        read_manifest(tmp_path / "latin.csv")


# --- folders ----------------------------------------------------------------------------------------------------------


def touch(folder, *names: str):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_files_are_matched_by_case_whatever_they_are_called(tmp_path):
    truth = touch(tmp_path / "truth", "anna_truth.nii.gz", "bela/labels.nii.gz", "bela/flair.nii.gz", "cleo.nrrd",
                  "dora/flair_labels.nii.gz", "eva_flair.nii.gz", "eva_truth.nii.gz")  # fmt: skip
    ours = touch(tmp_path / "ours", "anna_flair_labels.nii.gz", "anna_flair.seg.nrrd", "anna_flair_summary.json",
                 "anna_flair_probabilities.nii.gz", "bela_flair_labels.nii.gz", "cleo_labels.nii.gz", "dora.seg.nrrd",
                 "eva_seg.mha", "fritz_labels.nii.gz")  # fmt: skip
    cases, told = match_folders({"FlairSeg": ours}, truth)
    found = {c.case: c for c in cases}
    assert list(found) == ["anna", "bela", "cleo", "dora", "eva"]
    assert found["anna"].prediction.name == "anna_flair_labels.nii.gz"
    assert found["anna"].probabilities.name == "anna_flair_probabilities.nii.gz"
    assert found["bela"].reference.parent.name == "bela"
    assert found["bela"].image.name == "flair.nii.gz"
    assert found["dora"].prediction.name == "dora.seg.nrrd"
    assert found["eva"].image.name == "eva_flair.nii.gz"
    assert told == ["FlairSeg has 1 masks without a reference, left out: fritz."]


def test_several_methods_and_what_they_lack(tmp_path):
    truth = touch(tmp_path / "truth", "a.nii.gz", "b.nii.gz")
    first, second = touch(tmp_path / "1", "a.nii.gz", "b.nii.gz"), touch(tmp_path / "2", "b_mask.nii")
    pictures = touch(tmp_path / "pictures", "a.nii.gz", "b_flair.nii.gz")
    cases, told = match_folders({"two": second, "one": first}, truth, pictures)
    assert [(c.case, c.method) for c in cases] == [("a", "one"), ("b", "two"), ("b", "one")]
    assert all(c.image is not None for c in cases)
    assert told == ["two has no mask of 1 references: a."]


def test_folders_that_do_not_match_say_what_was_found(tmp_path):
    truth, ours = touch(tmp_path / "truth", "a.nii.gz"), touch(tmp_path / "ours", "x_labels.nii.gz")
    with pytest.raises(InvalidManifestError, match="x; references: a"):
        match_folders({"m": ours}, truth)
    with pytest.raises(InvalidManifestError, match="the references cannot be read"):
        match_folders({"m": ours}, tmp_path / "none")
    double = touch(tmp_path / "double", "a_mask.nii.gz", "a_seg.nii.gz")
    with pytest.raises(InvalidManifestError, match="several masks of the case a"):
        match_folders({"m": double}, truth)


# --- label values -----------------------------------------------------------------------------------------------------


def test_mappings_are_read_and_said():
    method, mapping = parse_mapping("LST:1.2:3=lesion, 5=2,6=2")
    assert method == "LST:1.2"
    assert mapping.values == {3: 3, 5: 2, 6: 2}
    assert mapping.targets == {2, 3}
    assert str(mapping).endswith("3 = lesions; 5, 6 = normal wmh")
    assert parse_mapping("x:nonzero=1")[1].nonzero == 1
    assert parse_mapping("x:SynthSeg")[1].values == dict.fromkeys((4, 43, 5, 44, 14, 15), 1)
    assert parse_mapping("x:wmh-synthseg")[1].targets == {1, 3}
    assert "values from 0.9 on are lesions" in str(PRESETS["bianca"])
    assert (OWN.targets, str(OWN)) == (frozenset(), "")
    assert parse_mapping("m:MS lesion=3,2=2")[1].names == {"MS lesion": 3}
    assert parse_mapping("binary") == ("", PRESETS["binary"])


@pytest.mark.parametrize(
    "text", ["", "m", "m:", ":1=3", "m:1", "m:1=7", "m:1=", "m:=3", "m:1=3,1=2", "m:nonzero=3,1=2", "m:1=3,,2=2"]
)
def test_mappings_that_cannot_be_understood_are_refused_with_advice(text):
    with pytest.raises(InvalidMappingError) as caught:
        parse_mapping(text)
    assert caught.value.advice


def read(path, array, mapping, subject="m"):
    return read_label_map(
        write_labels(path / "f.nii.gz", np.reshape(array, (1, 1, -1))), None, mapping, subject=subject
    )


def test_mappings_turn_values_into_classes(tmp_path):
    def classes(array, mapping) -> list[int]:
        return read(tmp_path, array, mapping).labels.ravel().tolist()

    assert classes(np.array([0, 1, 4, 43, 77, 99, -3], np.int16), PRESETS["wmh-synthseg"]) == [0, 0, 1, 1, 3, 0, 0]
    assert classes(np.array([0, 255], np.uint8), PRESETS["binary"]) == [0, 3]
    assert classes(np.array([0.0, 0.49, 0.5, 1.0], np.float32), PRESETS["lst"]) == [0, 0, 3, 3]
    strict = with_threshold(PRESETS["lst"], 0.8, "m")
    assert classes(np.array([0.79, 0.81], np.float32), strict) == [0, 3]
    assert classes(np.array([0.0, 1.0, 3.0], np.float32), OWN) == [0, 1, 3]
    for threshold in (0.0, 1.2):
        with pytest.raises(InvalidMappingError):
            with_threshold(PRESETS["lst"], threshold, "m")
    with pytest.raises(InvalidMappingError, match="label values"):
        with_threshold(OWN, 0.5, "m")


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.array([0, 255], np.uint8), "LST:binary"),
        (np.array([0, 2, 4, 5, 14, 15, 43, 44], np.uint8), "LST:synthseg"),
        (np.array([0, 2, 4, 43, 44, 77], np.uint8), "LST:wmh-synthseg"),
        (np.array([0, 7, 9], np.uint8), "LST:9=3"),
        (np.array([0.0, 0.3], np.float32), "LST:probability"),
        (np.array([-1, 0], np.int16), "LST:-1=0"),
    ],
)
def test_foreign_values_are_refused_with_the_mapping_to_give(tmp_path, array, advice):
    with pytest.raises(UnsuitableMaskError) as caught:
        read(tmp_path, array, None, "LST")
    assert advice in caught.value.advice
    assert f"--labels {advice}" in phrased(caught.value)


# --- grids ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = write_labels(tmp_path_factory.mktemp("reference") / "r.nii.gz", reference_labels())
    return read_reference(path, OWN)


def oriented(labels: np.ndarray, code: str, path):
    """The same mask with its axes stored in another order."""
    sitk.WriteImage(sitk.DICOMOrient(volume_to_sitk(grid(labels)), code), str(path))
    return path


@pytest.mark.parametrize("code", ["LPS", "RAS", "PIR", "SLA", "AIL"])
def test_axes_in_another_order_are_the_same_mask(reference, tmp_path, code):
    placed = read_prediction(oriented(reference.array, code, tmp_path / "p.nii.gz"), OWN, "m", reference)
    assert np.array_equal(placed.array, reference.array)
    assert placed.warnings == ()


def test_a_mask_on_a_finer_grid_is_brought_onto_the_references_with_a_warning(reference, tmp_path):
    fine = reference.array.repeat(2, 1).repeat(3, 2)
    affine = AFFINE @ np.diag([1 / 3, 1 / 2, 1, 1])
    # The centres of the first small voxels lie a third and a quarter of a voxel before those of the large ones.
    affine[:3, 3] += AFFINE[:3, :3] @ [-1 / 3, -1 / 4, 0]
    path = write_labels(tmp_path / "fine.nii.gz", fine, affine)
    placed = read_prediction(path, OWN, "m", reference)
    assert np.array_equal(placed.array, reference.array)
    assert len(placed.warnings) == 1
    assert "another grid" in placed.warnings[0]


def test_a_cropped_mask_is_put_where_it_is(reference, tmp_path):
    crop = reference.array[1:5, 4:30, 6:38]
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, :3] @ [6, 4, 1]
    placed = read_prediction(write_labels(tmp_path / "crop.nii.gz", crop, affine), OWN, "m", reference)
    expected = np.zeros_like(reference.array)
    expected[1:5, 4:30, 6:38] = crop
    assert np.array_equal(placed.array, expected)
    assert placed.warnings == ()


def test_a_header_that_says_another_place_is_believed_and_told(reference, tmp_path):
    affine = AFFINE.copy()
    affine[1, 3] += 2.7
    placed = read_prediction(write_labels(tmp_path / "p.nii.gz", reference.array, affine), OWN, "m", reference)
    expected = np.zeros_like(reference.array)
    expected[:, 3:] = reference.array[:, :-3]
    assert np.array_equal(placed.array, expected)
    affine[1, 3] += 0.3
    placed = read_prediction(write_labels(tmp_path / "q.nii.gz", reference.array, affine), OWN, "m", reference)
    assert any("the header was used" in text for text in placed.warnings)


def test_what_lies_outside_of_the_reference_is_told_and_all_of_it_refused(reference, tmp_path):
    affine = AFFINE.copy()
    affine[2, 3] += 3 * 6.5
    placed = read_prediction(write_labels(tmp_path / "p.nii.gz", reference.array, affine), OWN, "m", reference)
    share = np.count_nonzero(reference.array[3:]) / np.count_nonzero(reference.array)
    assert any(f"has {100 * share:.2g} % of its marked voxels outside" in text for text in placed.warnings)
    assert np.array_equal(placed.array[3:], reference.array[:3])
    affine[2, 3] += 300
    path = write_labels(tmp_path / "q.nii.gz", reference.array, affine)
    with pytest.raises(UnsuitableMaskError, match="do not overlap in space"):
        read_prediction(path, OWN, "m", reference)
    empty = write_labels(tmp_path / "e.nii.gz", np.zeros(SHAPE, np.uint8), affine)
    assert not read_prediction(empty, OWN, "m", reference).array.any()


def test_rounding_of_a_header_is_no_other_grid(reference):
    moved = AFFINE + 1e-4
    moved[3] = AFFINE[3]
    placed = place(grid(reference.array, moved), reference, linear=False)
    assert placed.array is reference.array


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_mask_of_ones_may_be_a_lesion_mask_and_is_told_so(reference, tmp_path):
    path = write_labels(tmp_path / "p.nii.gz", (reference.array == 3).astype(np.uint8))
    assert "LST:binary" in read_prediction(path, None, "LST", reference).warnings[0]
    assert read_prediction(path, OWN, "LST", reference).warnings == ()
    assert "reference:binary" in read_reference(path).warnings[0]
    assert read_prediction(path, PRESETS["binary"], "LST", reference).warnings == ()


def test_a_probability_mask_is_its_own_score(reference, tmp_path):
    scores = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    placed = read_prediction(write_labels(tmp_path / "p.nii.gz", scores), PRESETS["lst"], "LST", reference)
    assert np.array_equal(placed.array, 3 * (scores >= 0.5))
    assert np.array_equal(placed.scores, scores)
    binary = read_prediction(write_labels(tmp_path / "b.nii.gz", reference.array), PRESETS["binary"], "b", reference)
    assert binary.scores is None


def test_nan_counts_as_nothing_and_is_told(reference, tmp_path):
    scores = (reference.array == 3).astype(np.float32)
    scores[0, 0, :5] = np.nan
    placed = read_prediction(write_labels(tmp_path / "p.nii.gz", scores), PRESETS["lst"], "LST", reference)
    assert np.array_equal(placed.array, 3 * (reference.array == 3))
    assert "holds 5 voxels that are NaN" in placed.warnings[0]


def test_probabilities_come_as_one_two_or_four_volumes(reference, tmp_path):
    four = np.random.default_rng(1).random((4, *SHAPE)).astype(np.float32)
    path = write_probabilities(tmp_path / "four.nii.gz", four)
    found, warnings = read_probabilities(path, OWN, reference)
    assert sorted(found) == [1, 2, 3]
    assert np.array_equal(found[3], four[3])
    assert warnings == []
    found, _ = read_probabilities(write_probabilities(tmp_path / "two.nii.gz", four[:2]), OWN, reference)
    assert list(found) == [3]
    assert np.array_equal(found[3], four[1])
    found, _ = read_probabilities(write_labels(tmp_path / "one.nii.gz", four[0]), PRESETS["ventricles"], reference)
    assert list(found) == [1]
    vector = sitk.GetImageFromArray(np.moveaxis(four, 0, -1), isVector=True)
    vector.CopyInformation(volume_to_sitk(reference))
    sitk.WriteImage(vector, str(tmp_path / "vector.nrrd"))
    found, _ = read_probabilities(tmp_path / "vector.nrrd", OWN, reference)
    assert np.array_equal(found[2], four[2])
    for array, told in ((four[:3], "3 volumes"), (100 * four, "not probabilities")):
        with pytest.raises(UnsuitableMaskError, match=told):
            read_probabilities(write_probabilities(tmp_path / "wrong.nii.gz", array), OWN, reference)
    with pytest.raises(UnsuitableMaskError, match="4 volumes"):
        read_prediction(path, OWN, "m", reference)


def test_files_that_are_no_images_are_refused_in_words(reference, tmp_path):
    with pytest.raises(InputNotFoundError):
        read_prediction(tmp_path / "none.nii.gz", OWN, "m", reference)
    for name, content in (("text.nii.gz", b"hello"), ("empty.nrrd", b""), ("mask.txt", b"1 2 3")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError):
            read_prediction(tmp_path / name, OWN, "m", reference)
    whole = write_labels(tmp_path / "whole.nii.gz", reference.array).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match="truncated"):
        read_prediction(tmp_path / "cut.nii.gz", OWN, "m", reference)
    with pytest.raises(FlairSegError, match="no DICOM segmentation"):
        read_prediction(tmp_path, OWN, "m", reference)


def test_a_study_on_disk_is_what_the_tests_take_it_for(tmp_path):
    made = write_study(tmp_path, ("anna",))
    read = read_reference(tmp_path / "references" / "anna.nii.gz", OWN)
    assert np.array_equal(read.array, made["anna"][0])
    assert set(np.unique(made["anna"][0])) == {0, 1, 2, 3}


# --- training logs ----------------------------------------------------------------------------------------------------


def test_training_logs_keep_their_numbers(tmp_path):
    folder = tmp_path / "s3-fold0"
    folder.mkdir()
    log = read_training_log(write(folder / "log.csv", "step,loss,dice_lesion,note\n100,0.5,,x\n200,0.25,0.6,y\n"))
    assert log.name == "s3-fold0"
    assert sorted(log.columns) == ["dice_lesion", "loss", "step"]
    assert np.array_equal(log.columns["dice_lesion"], [np.nan, 0.6], equal_nan=True)
    for text in ("", "step,loss\n", "words,only\na,b\n"):
        with pytest.raises(InvalidManifestError, match="no training log"):
            read_training_log(write(folder / "bad.csv", text))
    with pytest.raises(InvalidManifestError, match="cannot be read"):
        read_training_log(folder / "none.csv")
