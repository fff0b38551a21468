"""References that cover a part, classes that a reference does not have, files as other tools and systems name them."""

from __future__ import annotations

import unicodedata

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.evaluation import evaluate, match_folders, parse_mapping, read_manifest
from flairseg.evaluation.coverage import grown
from flairseg.evaluation.errors import InvalidManifestError, NothingToEvaluateError
from flairseg.evaluation.inputs import EvaluationCase
from flairseg.evaluation.masks import read_reference
from flairseg.files.csv_tables import is_ambiguous_number, on_disk, table_text
from flairseg.image.volume import Volume, volume_to_sitk
from flairseg.io.raw_labels import LABELS_DESCRIPTION, LESION_MASK_DESCRIPTION

from Testing.core.evaluation_cases import AFFINE, SHAPE, reference_labels, write_labels

BOX = (slice(1, 5), slice(4, 30), slice(6, 38))


def cropped(labels: np.ndarray, path, code: str = "", box=BOX):
    """The part of a label map in a box, where it is in space; axes in another order if asked for."""
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, :3] @ [box[2].start, box[1].start, box[0].start]
    image = volume_to_sitk(Volume(np.ascontiguousarray(labels[box]), affine, "c"))
    if path.name.endswith(".seg.nrrd"):
        for n, (segment, name) in enumerate((("ventricles", "Ventricles"), ("lesion", "MS lesion")), 0):
            value = (1, 3)[n]
            for key, text in (("ID", segment), ("Name", name), ("LabelValue", str(value)), ("Layer", "0")):
                image.SetMetaData(f"Segment{n}_{key}", text)
        image.SetMetaData("Segmentation_ContainedRepresentationNames", "Binary labelmap|")
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, code) if code else image, str(path))
    return path


def lesions_of(result, method: str = "m") -> dict:
    return {row.class_id: row for row in result.rows if row.method == method}


def in_the_box() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 10:14, 10:14] = 3
    return labels


def with_false_positives() -> np.ndarray:
    labels = in_the_box()
    labels[0, 32:35, 1:4] = 3
    labels[5, 1:3, 30:33] = 3
    return labels


@pytest.mark.parametrize(
    ("name", "code"),
    [("r.nii.gz", ""), ("r.nii.gz", "RAS"), ("r.nrrd", "PIR"), ("r.seg.nrrd", ""), ("r.seg.nrrd", "SLA")],
)
def test_false_positives_beside_a_cropped_reference_count(tmp_path, name, code):
    prediction = write_labels(tmp_path / "p.nii.gz", with_false_positives())
    whole = evaluate([EvaluationCase("c", "m", prediction, write_labels(tmp_path / "whole.nii.gz", in_the_box()))])
    part = evaluate([EvaluationCase("c", "m", prediction, cropped(in_the_box(), tmp_path / name, code))])
    expected, found = (lesions_of(result)["lesion"] for result in (whole, part))
    assert expected.fp == 9 + 6
    assert (found.tp, found.fp, found.fn) == (expected.tp, expected.fp, expected.fn) == (32, 15, 0)
    assert found.dice == pytest.approx(2 * 32 / (2 * 32 + 15))
    lesions = {row.class_id: row for row in part.lesion_rows}["lesion"]
    assert (lesions.predicted_lesions, lesions.right) == (3, 1)
    (warning,) = [w for w in part.cases[0].warnings if w.code == "reference-cropped"]
    assert f"{100 * 15 / 47:.2g} %" in warning
    assert not any(w.code == "reference-cropped" for w in whole.cases[0].warnings)


def test_all_methods_of_a_case_are_compared_on_one_grid(tmp_path):
    near, far = in_the_box(), with_false_positives()
    reference = cropped(in_the_box(), tmp_path / "r.nii.gz")
    paths = [write_labels(tmp_path / f"{n}.nii.gz", labels) for n, labels in enumerate((near, far))]
    result = evaluate([EvaluationCase("c", method, path, reference) for method, path in zip("nf", paths, strict=True)])
    rows = [lesions_of(result, method)["lesion"] for method in "nf"]
    assert len({row.tp + row.fp + row.fn + row.tn for row in rows}) == 1
    assert rows[0].dice == 1.0


def test_a_reference_grows_only_over_what_is_marked(tmp_path):
    path = cropped(in_the_box(), tmp_path / "r.nii.gz")
    reference = read_reference(path)
    inside = write_labels(tmp_path / "in.nii.gz", in_the_box())
    assert grown(reference, path, [(inside, None, "m")]) is reference
    assert grown(reference, path, [(tmp_path / "missing.nii.gz", None, "m")]) is reference
    outside = write_labels(tmp_path / "out.nii.gz", with_false_positives())
    larger = grown(reference, path, [(outside, None, "m")])
    # From slice 0 to 5, rows 1 to 34, columns 1 to 37: what is marked, and the reference.
    assert larger.array.shape == (6, 34, 37)
    assert np.array_equal(larger.array[1:5, 3:29, 5:37], reference.array)
    assert larger.array.sum() == reference.array.sum()
    first = AFFINE @ [1, 1, 0, 1]
    assert larger.ijk_to_ras[:3, 3] == pytest.approx(first[:3])


def test_a_mask_beside_a_whole_image_stays_refused_and_beside_a_segmentation_counts(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[5, 32:35, 1:4] = 3
    prediction = write_labels(tmp_path / "p.nii.gz", labels)
    with pytest.raises(NothingToEvaluateError, match="None of the 1 cases"):
        evaluate([EvaluationCase("c", "m", prediction, cropped(in_the_box(), tmp_path / "r.nii.gz"))])
    result = evaluate([EvaluationCase("c", "m", prediction, cropped(in_the_box(), tmp_path / "r.seg.nrrd"))])
    row = lesions_of(result)["lesion"]
    assert (row.dice, row.fp, row.fn) == (0.0, 9, 32)


def test_overlays_show_what_lies_beside_a_cropped_reference(tmp_path):
    prediction = write_labels(tmp_path / "p.nii.gz", with_false_positives())
    result = evaluate([EvaluationCase("c", "m", prediction, cropped(in_the_box(), tmp_path / "r.nii.gz"))])
    arrays = result.arrays("c", "m")
    assert np.count_nonzero(arrays.prediction) == 47
    assert arrays.prediction.shape == arrays.reference.shape


# --- classes


def test_class_2_that_the_reference_does_not_have_does_not_enter_all_wmh(tmp_path):
    reference = reference_labels()
    reference[reference == 2] = 0
    ours = reference_labels()
    case = EvaluationCase(
        "c", "m", write_labels(tmp_path / "p.nii.gz", ours), write_labels(tmp_path / "r.nii.gz", reference)
    )
    result = evaluate([case])
    found = lesions_of(result)
    assert set(found) == {"ventricles", "lesion"}
    assert found["lesion"].dice == 1.0
    assert any("“all WMH” is left out" in note for note in result.notes)
    # Stated to be lesions, a method's normal WMH counts.
    both = evaluate([case], mappings=dict([parse_mapping("m:1=1,2=3,3=3")]))
    expected = 2 * np.count_nonzero(reference == 3)
    expected /= np.count_nonzero(reference == 3) + np.count_nonzero(ours >= 2)
    assert lesions_of(both)["lesion"].dice == pytest.approx(expected)


def test_masks_and_references_without_a_class_in_common_are_refused(tmp_path):
    labels = in_the_box()
    prediction = write_labels(tmp_path / "p.nii.gz", labels)
    binary = write_labels(tmp_path / "r.nii.gz", (labels == 3).astype(np.uint8))
    case = EvaluationCase("c", "m", prediction, binary)
    with pytest.raises(NothingToEvaluateError, match="references hold Ventricles, the masks Lesions") as refused:
        evaluate([case])
    assert refused.value.code == "binary-references"
    assert "reference:binary" in refused.value.advice
    found = evaluate([case], mappings=dict([parse_mapping("reference:binary")]))
    assert lesions_of(found)["lesion"].dice == 1.0
    with pytest.raises(NothingToEvaluateError) as refused:
        evaluate([case], mappings=dict([parse_mapping("reference:ventricles")]))
    assert refused.value.code == "no-class-in-common"


# --- names


def touch(folder, *names: str):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def matched(predictions, references) -> dict[str, tuple[str, str]]:
    cases, _ = match_folders({"m": predictions}, references)
    return {
        c.case: (c.prediction.relative_to(predictions).as_posix(), c.reference.relative_to(references).as_posix())
        for c in cases
    }


def test_fixed_names_in_folders_of_cases(tmp_path):
    """LST-AI: the same names for everyone; the annotated map and the probabilities beside the mask."""
    files = (
        "space-flair_seg-lst.nii.gz",
        "space-flair_desc-annotated_seg-lst.nii.gz",
        "space-flair_seg-lst_prob.nii.gz",
    )
    lst = touch(tmp_path / "lst", *(f"{case}/{name}" for case in ("c1", "c2") for name in files))
    cases, _ = match_folders({"m": lst}, touch(tmp_path / "ref", "c1.nii.gz", "c2_labels.nii.gz"))
    assert [(c.case, c.prediction.name, c.prediction.parent.name) for c in cases] == [
        ("c1", files[0], "c1"), ("c2", files[0], "c2"),
    ]  # fmt: skip
    assert [c.probabilities.parent.name for c in cases] == ["c1", "c2"]


def test_one_case_in_its_folder_by_a_fixed_name(tmp_path):
    lst = touch(tmp_path / "lst", "c1/space-flair_seg-lst.nii.gz")
    assert list(matched(lst, touch(tmp_path / "ref", "c1.nii.gz"))) == ["c1"]
    seg = touch(tmp_path / "seg", "c1/output/seg.nii.gz")
    assert matched(seg, tmp_path / "ref") == {"c1": ("c1/output/seg.nii.gz", "c1.nii.gz")}


def test_any_name_that_is_the_same_in_several_folders(tmp_path):
    tool = touch(tmp_path / "tool", "c1/ples_result.nii.gz", "c2/ples_result.nii.gz")
    assert list(matched(tool, touch(tmp_path / "ref", "c1.nii.gz", "c2.nii.gz"))) == ["c1", "c2"]


def test_derivatives_of_bids(tmp_path):
    ours = touch(
        tmp_path / "ours",
        "sub-01/ses-1/anat/sub-01_ses-1_space-orig_desc-lesion_mask.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_space-orig_desc-lesion_mask.nii.gz",
    )
    references = touch(tmp_path / "ref", "sub-01_ses-1_FLAIR_labels.nii.gz", "sub-01_ses-2_dseg.nii.gz")
    assert list(matched(ours, references)) == ["sub-01_ses-1", "sub-01_ses-2"]


def signed(path, description):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4))
    image.header["descrip"] = description
    nib.save(image, path)


def test_a_cohort_s_label_maps_go_before_the_lesion_masks_beside_them(tmp_path):
    anat = tmp_path / "ours/sub-01/ses-1/anat"
    signed(anat / "sub-01_ses-1_dseg.nii.gz", LABELS_DESCRIPTION)
    signed(anat / "sub-01_ses-1_desc-lesion_mask.nii.gz", LESION_MASK_DESCRIPTION)
    references = touch(tmp_path / "ref", "sub-01_ses-1_dseg.nii.gz")
    assert [ours for ours, _ in matched(tmp_path / "ours", references).values()] == [
        "sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz"
    ]
    # Of another program both may be anything: tissue classes are called dseg, too.
    signed(anat / "sub-01_ses-1_dseg.nii.gz", "fMRIPrep")
    with pytest.raises(InvalidManifestError, match="several masks of the case sub-01_ses-1") as refused:
        matched(tmp_path / "ours", references)
    assert refused.value.code == "several-masks-of-a-case"


def test_names_composed_and_decomposed_are_one(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    ours = touch(tmp_path / "ours", f"{decomposed}_labels.nii.gz")
    references = touch(tmp_path / "ref", f"{composed}.nii.gz")
    assert list(matched(ours, references)) == [composed]
    manifest = tmp_path / "m.csv"
    row = f"{decomposed},ours/{composed}_labels.nii.gz,ref/{decomposed}.nii.gz"
    manifest.write_text(f"case,prediction,reference\n{row}\n", encoding="utf-8")
    (case,) = read_manifest(manifest)
    assert case.case == composed
    assert case.prediction.is_file()
    assert case.reference.is_file()
    assert on_disk(tmp_path / "no" / "file") == tmp_path / "no" / "file"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", ["", "sep=;\r\n", '"sep=;"\r\n'])
def test_tables_as_excel_saves_them(tmp_path, first, encoding):
    path = tmp_path / "m.csv"
    path.write_bytes(f"{first}case;prediction;reference\r\nZoë, 2;p.nii;r.nii\r\n".encode(encoding))
    (case,) = read_manifest(path)
    assert case.case == "Zoë, 2"
    path.write_bytes(f"{first}case;prediction;reference\r\nc;p.nii\r\n".encode(encoding))
    with pytest.raises(InvalidManifestError, match=f"line {3 if first else 2}, has no reference"):
        read_manifest(path)


def test_separators():
    assert table_text(b"a;b\n1,5;2,5\n").delimiter == ";"
    assert table_text(b"sep=\t\na\tb\n").delimiter == "\t"
    assert table_text(b"sep=|\na|b\n").delimiter == "|"
    assert table_text(b"").delimiter == ","


@pytest.mark.parametrize(
    ("text", "comma", "ambiguous"),
    [("1,234", False, True), ("1.234", False, False), ("1.234", True, True), ("1.234,5", False, True),
     ("1,234.5", False, True), ("12'345", False, True), ("1 234", False, True), ("0,123", False, False),
     ("1,23", False, False), ("1234", False, False), ("1,2345", False, False), ("-1,234", False, True),
     ("1.234.567", False, True)],
)  # fmt: skip
def test_numbers_that_may_be_read_in_two_ways(text, comma, ambiguous):
    assert is_ambiguous_number(text, comma) is ambiguous


@pytest.mark.parametrize("empty", ["masks", "references"])
def test_masks_that_mark_nothing_are_told_as_such_and_compared_once_stated(tmp_path, empty):
    full, none = in_the_box(), np.zeros(SHAPE, np.uint8)
    pair = (none, full) if empty == "masks" else (full, none)
    files = [
        cropped(labels, tmp_path / f"{n}.nii.gz", box=tuple(slice(0, n) for n in SHAPE))
        for n, labels in enumerate(pair)
    ]
    case = EvaluationCase("c", "m", *files)
    with pytest.raises(NothingToEvaluateError, match=f"the {empty} are empty") as caught:
        evaluate([case])
    assert caught.value.code == "nothing-marked"
    assert "values" not in caught.value.advice
    mappings = dict(parse_mapping(f"{name}:binary") for name in ("m", "reference"))
    rows = lesions_of(evaluate([case], mappings=mappings))
    assert rows["lesion"].dice == 0.0
