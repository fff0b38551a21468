"""Label maps of FlairSeg and of other programs, each in its own convention, read into the same classes or refused."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.errors import (
    FlairSegError,
    GridMismatchError,
    InvalidMappingError,
    UnreadableImageError,
    UnsuitableMaskError,
)
from flairseg.files.nifti import DESCRIPTION, write_nifti
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.volume import Volume
from flairseg.io.label_maps import read_label_map
from flairseg.io.label_meanings import OWN, PRESETS, parse_meaning
from flairseg.io.raw_labels import (
    CHANGE_MAP_DESCRIPTION,
    LABELS_DESCRIPTION,
    LESION_MASK_DESCRIPTION,
    labels_description,
)
from flairseg.io.segment_names import class_of_name, is_generic

SHAPE = (12, 40, 36)
AFFINE = np.array([[-1.5, 0, 0, 20], [0, 1.5, 0, -31], [0, 0, 4.0, 7], [0, 0, 0, 1]])
GRID = VolumeGeometry(SHAPE, AFFINE)
#: Region of each class; no symmetry, so that nothing turned round passes for right.
BOXES = {
    1: (slice(3, 8), slice(14, 24), slice(10, 18)),
    2: (slice(3, 8), slice(24, 26), slice(10, 16)),
    3: (slice(5, 9), slice(5, 11), slice(22, 29)),
}


def truth(*classes: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    for value in classes or (1, 2, 3):
        labels[BOXES[value]] = value
    return labels


def values(**by_class: int) -> np.ndarray:
    """The regions under other values: ``values(lesion=99, ventricles=4)``."""
    array = np.zeros(SHAPE, np.int32)
    for name, value in by_class.items():
        array[BOXES[{"ventricles": 1, "normal": 2, "lesion": 3}[name]]] = value
    return array


def nifti(path, array: np.ndarray, affine: np.ndarray = AFFINE):
    """As nibabel writes it: nothing of FlairSeg's in the header."""
    nib.save(nib.Nifti1Image(np.transpose(array), affine), path)
    return path


def slicer(path, array: np.ndarray, segments, start=(0, 0, 0), reference=None, **fields):
    """As 3D Slicer writes it; ``array`` (K, J, I) or (layers, K, J, I), ``segments`` (id, name, value, layer)."""
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    layered = array.ndim == 4
    directions = lps[:3, :3].T
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list"] * layered + ["domain"] * 3,
        "space directions": np.vstack([np.full(3, np.nan), directions]) if layered else directions,
        "space origin": lps[:3, 3] + lps[:3, :3] @ start[::-1],
        "encoding": "gzip",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": " ".join(map(str, start[::-1])),
    } | fields
    if reference is not None:
        numbers = [*reference.ijk_to_ras.ravel(), *(n for size in reference.shape[::-1] for n in (0, size - 1))]
        text = ";".join(map(str, numbers)) + ";"
        header["Segmentation_ConversionParameters"] = f"Smoothing factor|0.5|x&Reference image geometry|{text}|y&"
    for n, (identifier, name, value, layer) in enumerate(segments):
        header |= {
            f"Segment{n}_ID": identifier,
            f"Segment{n}_Name": name,
            f"Segment{n}_LabelValue": str(value),
            f"Segment{n}_Layer": str(layer),
            f"Segment{n}_Tags": "TerminologyEntry:list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~list~^^~^^|",
        }
    axes = (0, 3, 2, 1) if layered else (2, 1, 0)
    nrrd.write(str(path), np.ascontiguousarray(np.transpose(array, axes)), header)
    return path


def refused(path, mapping=None, geometry=GRID, error=UnsuitableMaskError, **options) -> FlairSegError:
    with pytest.raises(error) as caught:
        read_label_map(path, geometry, mapping, **options)
    assert caught.value.advice
    return caught.value


def codes(found) -> list[str]:
    return [warning.code for warning in found.warnings]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MS lesion (abnormal WMH)", 3), ("lesions", 3), ("Lesion_12", 3), ("WMH", 3), ("T2 lesions - left", 3),
        ("whiteMatterHyperintensities", 3), ("Periventricular lesions", 3), ("Läsionen", 3), ("plaques", 3),
        ("Normal periventricular WMH", 2), ("normal WMH", 2), ("Ventricles", 1), ("Left-Lateral-Ventricle", 1),
        ("Brain ventricle", 1), ("3rd ventricle", 1), ("ribs", None), ("kidney lesion", None), ("not a lesion", None),
        ("T1 black hole lesion", None), ("normal-appearing white matter", None), ("Normal lesion", None),
        ("Segment_1", None), ("", None), ("ventral DC", None), ("MS", None), ("tissue", None),
    ],
)  # fmt: skip
def test_a_name_is_a_class_only_if_all_of_its_words_are_known(name, expected):
    assert class_of_name(name) == expected


def test_names_that_programs_give_by_themselves_say_nothing():
    assert all(is_generic(name) for name in ("Segment_1", "Label 3", "7", "", "Class_2", "Segment", "label value 4"))
    assert not any(is_generic(name) for name in ("ribs", "MS lesion", "Ventricles", "left lung"))


# --- 3D Slicer --------------------------------------------------------------------------------------------------------


def test_a_segmentation_is_read_by_its_ids_whatever_their_values(tmp_path):
    array = values(ventricles=2, normal=3, lesion=1)
    segments = [("lesion", "MS lesion (abnormal WMH)", 1, 0), ("ventricles", "Ventricles", 2, 0),
                ("normal_wmh", "Normal periventricular WMH", 3, 0)]  # fmt: skip
    found = read_label_map(slicer(tmp_path / "a.seg.nrrd", array.astype(np.uint8), segments), GRID)
    assert np.array_equal(found.labels, truth())
    assert (found.kind, found.classes, found.warnings) == ("slicer", {1, 2, 3}, ())


def test_a_segmentation_of_a_reader_is_read_by_its_names(tmp_path):
    array = values(ventricles=2, lesion=1).astype(np.uint8)
    segments = [("Segment_1", "MS lesion", 1, 0), ("Segment_2", "Ventricles", 2, 0)]
    found = read_label_map(slicer(tmp_path / "a.seg.nrrd", array, segments), GRID)
    assert np.array_equal(found.labels, truth(1, 3))
    assert found.classes == {1, 3}
    assert [(label.value, label.name, label.class_value) for label in found.found] == [
        (1, "MS lesion", 3),
        (2, "Ventricles", 1),
    ]


def test_several_segments_of_lesions_are_one_class(tmp_path):
    array = truth(3)
    array[5:9, 5:11, 22:25][array[5:9, 5:11, 22:25] > 0] = 1
    segments = [("S_a", "Lesion 1", 1, 0), ("S_b", "Lesion 2", 3, 0)]
    assert np.array_equal(read_label_map(slicer(tmp_path / "a.seg.nrrd", array, segments), GRID).labels, truth(3))


def test_segments_of_other_things_are_refused_with_their_names(tmp_path):
    array = values(ventricles=3, lesion=1, normal=2).astype(np.uint8)
    segments = [("S_1", "ribs", 1, 0), ("S_2", "left lung", 2, 0), ("S_3", "vertebral column", 3, 0)]
    error = refused(slicer(tmp_path / "chest.seg.nrrd", array, segments))
    assert error.code == "unnamed-labels"
    assert error.fields["names"] == ["ribs", "left lung", "vertebral column"]
    assert "1 'ribs' (168 voxels)" in error.message


def test_other_segments_beside_lesions_are_left_out_and_told(tmp_path):
    array = values(ventricles=2, lesion=1).astype(np.uint8)
    segments = [("S_1", "MS lesion", 1, 0), ("S_2", "skull", 2, 0)]
    found = read_label_map(slicer(tmp_path / "a.seg.nrrd", array, segments), GRID)
    assert np.array_equal(found.labels, truth(3))
    assert codes(found) == ["other-segments"]
    assert "'skull' (400 voxels)" in found.warnings[0]


@pytest.mark.parametrize("name", ["Segment_2", "Lesion, not counted", "2"])
def test_a_segment_that_may_be_lesions_is_not_left_out(tmp_path, name):
    array = values(ventricles=2, lesion=1).astype(np.uint8)
    path = slicer(tmp_path / "a.seg.nrrd", array, [("S_1", "MS lesion", 1, 0), ("S_2", name, 2, 0)])
    assert refused(path).fields["names"] == [name]


def test_generic_names_are_read_by_value_only_where_the_user_says_so(tmp_path):
    segments = [(f"Segment_{n}", f"Segment_{n}", n, 0) for n in (1, 2, 3)]
    path = slicer(tmp_path / "a.seg.nrrd", truth(), segments)
    assert refused(path).code == "unnamed-labels"
    assert np.array_equal(read_label_map(path, GRID, OWN).labels, truth())


def test_layers_are_read_each_with_its_own_values(tmp_path):
    layers = np.stack([truth(1), truth(3) // 3]).astype(np.uint8)
    path = slicer(tmp_path / "a.seg.nrrd", layers, [("S_1", "Ventricles", 1, 0), ("S_2", "WMH", 1, 1)])
    assert np.array_equal(read_label_map(path, GRID).labels, truth(1, 3))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["lesions last", "lesions first"])
def test_overlapping_classes_go_to_the_lesion_and_are_counted(tmp_path, order):
    ventricles = truth(1)
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[5:7, 16:18, 12:30] = 1
    layers = np.stack([ventricles, lesion])[list(order)]
    segments = [("x", "Ventricles", 1, order.index(0)), ("y", "Lesion", 1, order.index(1))]
    found = read_label_map(slicer(tmp_path / "a.seg.nrrd", layers, segments), GRID)
    assert np.array_equal(found.labels, np.where(lesion > 0, 3, ventricles))
    assert codes(found) == ["overlapping-segments"]
    assert found.warnings[0].startswith(f"{2 * 2 * 6} voxels")


def test_an_id_goes_before_a_name_and_the_difference_is_told(tmp_path):
    found = read_label_map(slicer(tmp_path / "a.seg.nrrd", truth(3), [("lesion", "Ventricles", 3, 0)]), GRID)
    assert np.array_equal(found.labels, truth(3))
    assert codes(found) == ["segment-name-against-id"]


@pytest.mark.parametrize("representation", ["Segmentation_MasterRepresentation", "Segmentation_SourceRepresentation"])
def test_fractional_segmentations_are_refused(tmp_path, representation):
    path = slicer(tmp_path / "a.seg.nrrd", truth(3), [("lesion", "x", 3, 0)], **{representation: "Fractional labelmap"})
    assert refused(path).code == "fractional-segmentation"


def test_a_cropped_segmentation_is_put_in_its_place_and_nothing_is_lost(tmp_path):
    whole, start = truth(), (2, 4, 9)
    part = whole[2:10, 4:28, 9:30]
    segments = [(i, i, v, 0) for i, v in (("ventricles", 1), ("normal_wmh", 2), ("lesion", 3))]
    path = slicer(tmp_path / "a.seg.nrrd", part, segments, start)
    assert np.array_equal(read_label_map(path, GRID).labels, whole)
    alone = read_label_map(path)
    assert alone.labels.shape == part.shape
    known = read_label_map(slicer(tmp_path / "b.seg.nrrd", part, segments, start, reference=GRID))
    assert np.array_equal(known.labels, whole)
    assert known.geometry.matches(GRID)


def test_the_whole_grid_of_a_cropped_segmentation_may_start_at_any_index(tmp_path):
    first = np.array([3, -2, 5])
    shifted = AFFINE.copy()
    shifted[:3, 3] -= AFFINE[:3, :3] @ first
    ends = (n for f, size in zip(first, SHAPE[::-1], strict=True) for n in (f, f + size - 1))
    text = ";".join(map(str, [*shifted.ravel(), *ends])) + ";"
    parameters = f"Reference image geometry|{text}|x&"
    part = truth()[2:10, 4:28, 9:30]
    segments = [(i, i, v, 0) for i, v in (("ventricles", 1), ("normal_wmh", 2), ("lesion", 3))]
    path = slicer(tmp_path / "a.seg.nrrd", part, segments, (2, 4, 9), Segmentation_ConversionParameters=parameters)
    found = read_label_map(path)
    assert np.array_equal(found.labels, truth())
    assert found.geometry.matches(GRID)


def test_a_segmentation_that_slicer_saved_empty_fits_any_image(tmp_path):
    path = slicer(tmp_path / "a.seg.nrrd", np.zeros((1, 1, 1), np.uint8), [("S_1", "MS lesion", 1, 0)])
    found = read_label_map(path, GRID)
    assert found.labels.shape == SHAPE
    assert not found.labels.any()
    assert found.classes == {3}


def test_values_that_no_segment_describes_are_refused(tmp_path):
    array = truth(1, 3)
    error = refused(slicer(tmp_path / "a.seg.nrrd", array, [("lesion", "Lesion", 3, 0)]))
    assert error.fields["values"] == [1]


def test_provenance_comes_with_its_class(tmp_path):
    path = slicer(tmp_path / "a.seg.nrrd", truth(3) // 3 * 4, [("lesion", "Lesion", 4, 0)],
                  Segment0_Tags="FlairSeg.model:m-v1.0|Other:x|FlairSeg.version:2|")  # fmt: skip
    # pynrrd writes fields in order: the ones of the segment come last, so the tags are set on the file again.
    header = nrrd.read_header(str(path))
    header["Segment0_Tags"] = "FlairSeg.model:m-v1.0|Other:x|FlairSeg.version:2|"
    nrrd.write(str(path), nrrd.read(str(path))[0], header)
    assert read_label_map(path, GRID).tags == {3: {"FlairSeg.model": "m-v1.0", "FlairSeg.version": "2"}}


# --- MITK -------------------------------------------------------------------------------------------------------------


def mitk(path, layers: np.ndarray, groups):
    image = sitk.GetImageFromArray(np.moveaxis(layers, 0, -1), isVector=True)
    image = image if len(layers) > 1 else sitk.GetImageFromArray(layers[0])
    spacing, direction, origin = GRID.to_itk()
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    image.SetMetaData("modality", "org.mitk.multilabel.segmentation")
    image.SetMetaData("org.mitk.multilabel.segmentation.version", "1")
    image.SetMetaData("org.mitk.multilabel.segmentation.labelgroups", json.dumps(groups))
    sitk.WriteImage(image, str(path), True)
    return path


def test_mitk_s_labels_are_read_by_name(tmp_path):
    groups = [{"labels": [{"name": "Ventricles", "value": 2}, {"name": "MS lesion", "value": 1}]}]
    array = values(ventricles=2, lesion=1).astype(np.uint16)[None]
    found = read_label_map(mitk(tmp_path / "a.nrrd", array, groups), GRID)
    assert (found.kind, found.classes) == ("mitk", {1, 3})
    assert np.array_equal(found.labels, truth(1, 3))
    groups[0]["labels"][1]["name"] = "New label 1"
    assert refused(mitk(tmp_path / "b.nrrd", array, groups)).code == "unnamed-labels"


def test_mitk_s_groups_may_use_a_value_twice(tmp_path):
    groups = [{"labels": [{"name": "Ventricles", "value": 1}]}, {"labels": [{"name": "Lesion", "value": 1}]}]
    layers = np.stack([truth(1), truth(3) // 3]).astype(np.uint16)
    assert np.array_equal(read_label_map(mitk(tmp_path / "a.nrrd", layers, groups), GRID).labels, truth(1, 3))
    assert refused(tmp_path / "a.nrrd", parse_meaning("1=3")).code == "ambiguous-label-value"
    by_name = read_label_map(tmp_path / "a.nrrd", GRID, parse_meaning("Lesion=3,Ventricles=0"))
    assert np.array_equal(by_name.labels, truth(3))


# --- plain values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "array", "expected"),
    [
        ("lst", values(lesion=1), truth(3)),
        ("lst", values(lesion=1) * np.float32(0.8), truth(3)),
        ("lst-ai", values(lesion=1), truth(3)),
        ("bianca", values(lesion=1) * np.float32(0.95), truth(3)),
        ("samseg", values(ventricles=43, normal=2, lesion=99), truth(1, 3)),
        ("freesurfer", values(ventricles=4, normal=41, lesion=99), truth(1, 3)),
        ("freesurfer", values(ventricles=4, normal=41, lesion=77), truth(1, 3)),
        ("synthseg", values(ventricles=44, normal=2), truth(1)),
        ("wmh-synthseg", values(ventricles=14, normal=3, lesion=77), truth(1, 3)),
        ("nnunet", values(ventricles=1, normal=2, lesion=3), truth()),
        ("wmh-challenge", values(normal=2, lesion=1), truth(3)),
        ("binary", values(lesion=255), truth(3)),
        ("1=lesion,2=0", values(ventricles=2, lesion=1), truth(3)),
        ("10=3,4=1,7=2", values(ventricles=4, normal=7, lesion=10), truth()),
    ],
)
def test_masks_of_other_programs_are_read_as_stated(tmp_path, preset, array, expected):
    found = read_label_map(nifti(tmp_path / "m.nii.gz", array), GRID, parse_meaning(preset))
    assert np.array_equal(found.labels, expected)
    assert found.warnings == ()


def test_the_places_that_lst_ai_annotates_are_all_lesions(tmp_path):
    array = truth(3)
    array[5:7][array[5:7] > 0] = 1
    array[7, :8][array[7, :8] > 0] = 2
    path = nifti(tmp_path / "space-flair_desc-annotated_seg-lst.nii.gz", array)
    assert refused(path).fields["suggestion"] == "lst-ai"
    assert np.array_equal(read_label_map(path, GRID, PRESETS["lst-ai"]).labels, truth(3))


@pytest.mark.parametrize(
    ("array", "suggestion"),
    [
        (values(lesion=1), "binary"),
        (values(lesion=2), "binary"),
        (values(lesion=255), "binary"),
        (values(ventricles=4, lesion=7), "7=3"),
    ],
)
def test_values_that_nobody_named_are_refused_with_what_was_found(tmp_path, array, suggestion):
    error = refused(nifti(tmp_path / "m.nii.gz", array), subject="M")
    assert error.code == "unnamed-labels"
    assert error.fields["suggestion"] == suggestion
    assert f"M:{suggestion}" in error.advice
    present = np.unique(array[array != 0])
    assert error.fields["values"] == present.tolist()
    assert error.fields["voxels"] == [int((array == value).sum()) for value in present]


def test_freesurfer_s_numbers_are_recognised(tmp_path):
    array = values(lesion=99)
    array[0, 0, :6] = 2, 3, 4, 41, 42, 43
    assert refused(nifti(tmp_path / "m.nii.gz", array)).fields["suggestion"] == "samseg"
    array[array == 99] = 77
    assert refused(nifti(tmp_path / "m.nii.gz", array)).fields["suggestion"] == "wmh-synthseg"
    array[array == 77] = 0
    assert refused(nifti(tmp_path / "m.nii.gz", array)).fields["suggestion"] == "synthseg"


def test_flairseg_s_values_are_read_as_such(tmp_path):
    found = read_label_map(nifti(tmp_path / "m.nii.gz", truth()), GRID)
    assert np.array_equal(found.labels, truth())
    assert found.warnings == ()
    assert read_label_map(nifti(tmp_path / "f.nii.gz", truth().astype(np.float64)), GRID).warnings == ()


def test_without_lesions_it_is_told_or_refused_as_the_caller_wants(tmp_path):
    path = nifti(tmp_path / "m.nii.gz", truth(1, 2))
    found = read_label_map(path, GRID)
    assert np.array_equal(found.labels, truth(1, 2))
    assert codes(found) == ["labels-in-doubt"]
    assert refused(path, doubtful="refuse").code == "unnamed-labels"
    assert read_label_map(path, GRID, OWN).warnings == ()
    single = nifti(tmp_path / "s.nii.gz", truth(1))
    assert codes(read_label_map(single, GRID, doubtful="warn")) == ["binary-mask-in-doubt"]
    assert np.array_equal(read_label_map(single, GRID, OWN).labels, truth(1))


def test_tissue_classes_are_not_taken_for_lesions(tmp_path):
    # FSL FAST: 1 CSF, 2 grey, 3 white matter.
    array = np.ones((60, 100, 100), np.uint8)
    array[30:] = 3
    path = nifti(tmp_path / "m.nii.gz", array, np.diag([1.5, 1.5, 1.5, 1]))
    assert refused(path, geometry=None).code == "implausible-labels"
    assert (read_label_map(path, None, OWN).labels == array).all()
    small = nifti(tmp_path / "t1_pveseg.nii.gz", truth())
    assert refused(small).code == "unnamed-labels"


def test_a_patient_called_like_a_program_is_none(tmp_path):
    assert read_label_map(nifti(tmp_path / "bianca_labels.nii.gz", truth()), GRID).warnings == ()
    assert refused(nifti(tmp_path / "bianca_output.nii.gz", truth(1))).fields["suggestion"] == "bianca"


def test_values_beside_a_stated_meaning_are_told(tmp_path):
    path = nifti(tmp_path / "m.nii.gz", values(ventricles=2, lesion=1))
    found = read_label_map(path, GRID, parse_meaning("1=3"))
    assert np.array_equal(found.labels, truth(3))
    assert codes(found) == ["unmapped-labels"]
    assert "2 (400 voxels)" in found.warnings[0]
    error = refused(path, parse_meaning("7=3"))
    assert error.code == "labels-not-in-mapping"


def test_a_preset_that_takes_a_lone_1_for_ventricles_says_so(tmp_path):
    found = read_label_map(nifti(tmp_path / "m.nii.gz", values(lesion=1)), GRID, PRESETS["nnunet"])
    assert codes(found) == ["binary-mask-in-doubt"]


def test_a_binary_meaning_of_a_map_of_classes_is_told(tmp_path):
    found = read_label_map(nifti(tmp_path / "m.nii.gz", truth()), GRID, PRESETS["binary"])
    assert codes(found) == ["several-values-in-mask"]
    assert np.array_equal(found.labels > 0, truth() > 0)


def test_grey_levels_are_neither_a_mask_nor_probabilities(tmp_path):
    grey = np.zeros(SHAPE, np.uint8)
    grey[4:8, 5:15, 5:15] = np.arange(40, 140).reshape(10, 10)
    for preset in ("binary", "probability", "lst"):
        error = refused(nifti(tmp_path / "m.nii.gz", grey), PRESETS[preset])
        assert error.code == "neither-mask-nor-probabilities"


def test_probabilities_are_refused_until_they_are_stated_to_be_some(tmp_path):
    array = truth(3) / np.float32(3.7)
    path = nifti(tmp_path / "m.nii.gz", array)
    assert refused(path).code == "probabilities-not-labels"
    found = read_label_map(path, GRID, PRESETS["probability"])
    assert np.array_equal(found.labels, truth(3))
    assert np.allclose(found.scores, array)
    percent = nifti(tmp_path / "p.nii.gz", array * 100)
    assert refused(percent, PRESETS["probability"]).code == "not-probabilities"
    overshoot = array * np.float32(1.26)
    clipped = read_label_map(nifti(tmp_path / "o.nii.gz", overshoot), GRID, PRESETS["probability"])
    assert clipped.scores.max() == 1


def test_voxels_that_are_no_numbers_are_background_and_told(tmp_path):
    array = truth().astype(np.float32)
    array[0, 0, :3] = np.nan
    found = read_label_map(nifti(tmp_path / "m.nii.gz", array), GRID)
    assert np.array_equal(found.labels, truth())
    assert codes(found) == ["labels-not-finite"]


def test_scaled_integers_are_whole_numbers(tmp_path):
    image = nib.Nifti1Image(np.transpose(truth() * np.uint8(85)), AFFINE)
    image.header.set_slope_inter(3 / 255, 0)
    nib.save(image, tmp_path / "m.nii.gz")
    assert np.array_equal(read_label_map(tmp_path / "m.nii.gz", GRID).labels, truth())


# --- files that name values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", json.dumps({"labels": {"background": 0, "ventricles": 2, "MS lesion": 1}})),
        ("dataset.json", json.dumps({"labels": {"0": "background", "2": "ventricles", "1": "lesion"}})),
        (
            "labels.txt",
            '# ITK-SNAP\n0 0 0 0 0 0 0 "Clear Label"\n1 255 0 0 1 1 1 "Lesion"\n2 0 255 0 1 1 1 "Ventricle"',
        ),
        ("lut.txt", "#No. Label R G B A\n0 Unknown 0 0 0 0\n1 WMH 255 0 0 0\n2 Left-Lateral-Ventricle 1 2 3 0\n"),
        ("dseg.tsv", "index\tname\tcolor\n1\tlesion\t#ff0000\n2\tventricles\t#0000ff\n"),
    ],
)
def test_a_file_of_names_says_what_values_mean(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    path = nifti(tmp_path / "m.nii.gz", values(ventricles=2, lesion=1))
    found = read_label_map(path, GRID, parse_meaning(str(tmp_path / name)))
    assert np.array_equal(found.labels, truth(1, 3))


def test_files_that_name_nothing_are_refused(tmp_path):
    for n, content in enumerate(("hello", '{"labels": {"liver": 1}}', "{", "")):
        (tmp_path / f"{n}.txt").write_text(content)
        with pytest.raises(InvalidMappingError):
            parse_meaning(str(tmp_path / f"{n}.txt"))


# --- whole files, and their place -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.nrrd", "m.mha", "m.seg.nrrd"])
def test_truncated_files_are_refused(tmp_path, name):
    path = tmp_path / name
    if name.endswith("seg.nrrd"):
        slicer(path, np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8), [("lesion", "x", 3, 0)])
    else:
        image = sitk.GetImageFromArray(truth())
        sitk.WriteImage(image, str(path))
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * 9 // 10])
    refused(path, None, None, UnreadableImageError)


def test_voxels_that_the_header_does_not_announce_are_not_left_out(tmp_path):
    path = nifti(tmp_path / "m.nii", truth())
    raw = bytearray(path.read_bytes())
    path.write_bytes(bytes(raw) + bytes(160))
    assert np.array_equal(read_label_map(path, GRID).labels, truth())
    # The header says 6 of the 12 slices.
    raw[46:48] = (6).to_bytes(2, "little")
    path.write_bytes(bytes(raw))
    assert refused(path, None, None, UnreadableImageError).code == "trailing-data"
    zipped = tmp_path / "m.nii.gz"
    zipped.write_bytes(gzip.compress(bytes(raw)))
    assert refused(zipped, None, None, UnreadableImageError).code == "trailing-data"


def test_another_grid_is_refused_with_the_difference(tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 0.7
    error = refused(nifti(tmp_path / "m.nii.gz", truth(), moved), error=GridMismatchError)
    assert error.code == "labels-on-another-grid"
    assert "m.nii.gz" in error.message
    larger = np.pad(truth(), ((2, 2), (0, 0), (0, 0)), constant_values=3)
    away = AFFINE.copy()
    away[:3, 3] -= AFFINE[:3, :3] @ [0, 0, 2]
    error = refused(nifti(tmp_path / "n.nii.gz", larger, away), error=GridMismatchError)
    assert error.code == "labels-outside-image"


@pytest.mark.parametrize("order", ["LPS", "RAS", "SRA", "PIR", "AIL"])
def test_any_order_of_the_axes_is_the_same_map(tmp_path, order):
    from Testing.slicer.helpers import stored_as

    array, affine = stored_as(truth(), AFFINE, order)
    found = read_label_map(nifti(tmp_path / "m.nii.gz", array, affine), GRID)
    assert np.array_equal(found.labels, truth())


def test_a_whole_map_shifted_by_whole_voxels_is_no_part_of_the_image(tmp_path):
    moved = AFFINE.copy()
    moved[:3, 3] += AFFINE[:3, :3] @ [1, 0, 0]
    assert (
        refused(nifti(tmp_path / "m.nii.gz", truth(), moved), error=GridMismatchError).code == "labels-on-another-grid"
    )
    larger = np.pad(truth(), ((1, 2), (0, 3), (2, 2)))
    moved = AFFINE.copy()
    moved[:3, 3] -= AFFINE[:3, :3] @ [2, 0, 1]
    assert np.array_equal(read_label_map(nifti(tmp_path / "n.nii.gz", larger, moved), GRID).labels, truth())


# --- what FlairSeg writes ---------------------------------------------------------------------------------------------


def signed(path, array: np.ndarray, description: str):
    write_nifti(path, array, Volume(array, AFFINE), description=description)
    return path


def test_files_of_flairseg_say_what_they_are(tmp_path):
    ventricles = read_label_map(signed(tmp_path / "a.nii.gz", truth(1), LABELS_DESCRIPTION), GRID)
    assert np.array_equal(ventricles.labels, truth(1))
    assert (ventricles.warnings, ventricles.classes) == ((), {1, 2, 3})
    mask = read_label_map(signed(tmp_path / "b.nii.gz", truth(3) // 3, LESION_MASK_DESCRIPTION), GRID)
    assert np.array_equal(mask.labels, truth(3))
    assert (mask.warnings, mask.classes) == ((), {3})
    change = signed(tmp_path / "c.nii.gz", truth(), CHANGE_MAP_DESCRIPTION)
    assert refused(change).code == "change-map-not-labels"


@pytest.mark.parametrize("array", [truth(), truth(1), 0 * truth()], ids=["all", "ventricles", "nothing"])
def test_a_label_map_notes_its_voxels_and_is_read_without_a_doubt(tmp_path, array):
    found = read_label_map(signed(tmp_path / "a.nii.gz", array, labels_description(array)), GRID)
    assert np.array_equal(found.labels, array)
    assert (found.warnings, found.classes) == ((), {1, 2, 3})


@pytest.mark.parametrize("kind", [np.uint8, np.float32, bool])
def test_a_mask_with_the_header_of_a_label_map_is_not_read_as_ventricles(tmp_path, kind):
    """``nib.Nifti1Image(labels == 3, image.affine, image.header)``: lesions had become ventricles."""
    own = nib.load(signed(tmp_path / "a.nii.gz", truth(), labels_description(truth())))
    lesions = np.asarray(own.dataobj) == 3
    nib.save(nib.Nifti1Image(lesions.astype(kind).view(np.uint8 if kind is bool else kind), own.affine, own.header),
             tmp_path / "mask.nii.gz")  # fmt: skip
    assert refused(tmp_path / "mask.nii.gz").code == "unnamed-labels"
    warned = read_label_map(tmp_path / "mask.nii.gz", GRID, doubtful="warn")
    assert [w.code for w in warned.warnings] == ["binary-mask-in-doubt"]
    read = read_label_map(tmp_path / "mask.nii.gz", GRID, parse_meaning("binary"))
    assert np.array_equal(read.labels, np.where(truth() == 3, 3, 0))
    nib.save(nib.Nifti1Image(own.get_fdata(), own.affine, own.header), tmp_path / "copy.nii.gz")
    assert np.array_equal(read_label_map(tmp_path / "copy.nii.gz", GRID).labels, truth()), "the same voxels"


def test_files_of_earlier_versions_are_known_by_their_names(tmp_path):
    assert read_label_map(signed(tmp_path / "x_labels.nii.gz", truth(1), DESCRIPTION), GRID).warnings == ()
    assert refused(signed(tmp_path / "x_change.nii.gz", truth(), DESCRIPTION)).code == "change-map-not-labels"
    assert refused(signed(tmp_path / "x.nii.gz", truth(1), DESCRIPTION)).code == "unnamed-labels"


# --- grey levels that are whole numbers


def whole_numbers(tmp_path, array: np.ndarray):

    path = tmp_path / "m.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


@pytest.mark.parametrize("top", [10, 100, 255])
@pytest.mark.parametrize("meaning", ["binary", "probability", "lst", "lesion"])
def test_per_cent_and_grey_levels_as_whole_numbers_are_no_mask(tmp_path, meaning, top):
    """Every value from 1 to 100 occurs, as in a map of a hundred numbered lesions; but they change voxel by voxel."""
    grey = np.random.default_rng(0).integers(0, top + 1, (10, 20, 20)).astype(np.int16)
    assert set(np.unique(grey)) == set(range(top + 1))
    with pytest.raises(UnsuitableMaskError) as caught:
        read_label_map(whole_numbers(tmp_path, grey), None, parse_meaning(meaning))
    assert caught.value.code == "neither-mask-nor-probabilities"


def test_numbered_lesions_are_a_mask_even_where_they_touch(tmp_path):
    numbered = np.zeros((10, 20, 20), np.int16)
    for n in range(20):
        numbered[1 + n // 10 * 4 : 4 + n // 10 * 4, 2:18, 2 * (n % 10) : 2 * (n % 10) + 2] = n + 1
    found = read_label_map(whole_numbers(tmp_path, numbered), None, parse_meaning("binary"))
    assert np.array_equal(found.labels == 3, numbered > 0)
    assert [w.code for w in found.warnings if w.code == "several-values-in-mask"]


@pytest.mark.parametrize(("high", "hint"), [(1.2, "Scale"), (15.0, "Scale"), (97.0, "per cent"), (255.0, "255")])
def test_what_helps_with_fractions_above_1_depends_on_how_far(tmp_path, high, hint):
    fractions = np.random.default_rng(0).uniform(0, high, (10, 20, 20)).astype(np.float32)
    with pytest.raises(UnsuitableMaskError) as caught:
        read_label_map(whole_numbers(tmp_path, fractions), None, parse_meaning("probability"))
    assert caught.value.code == "not-probabilities"
    assert hint in caught.value.advice
