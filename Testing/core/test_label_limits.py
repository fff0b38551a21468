"""Label maps at the limits of what is read: meanings as written, nearly whole values, volumes, grids, lists."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from flairseg.errors import CaseWarning, GridMismatchError, InvalidMappingError, UnsuitableMaskError
from flairseg.image.geometry import VolumeGeometry
from flairseg.io import label_maps
from flairseg.io.label_maps import LabelMap, read_label_map
from flairseg.io.label_meanings import OWN, PRESETS, LabelMapping, parse_meaning, read_names, with_threshold
from flairseg.io.label_reading import FEWEST_DIFFERENT, GREY_SHARE, _is_grey, class_of_segment
from flairseg.io.probability_maps import probabilities
from flairseg.io.raw_labels import RawLabels, Segment
from flairseg.io.segment_names import class_of_code, class_of_id, class_of_name, may_be_lesions

SHAPE = (10, 10, 10)
#: Voxels of 1 ml.
AFFINE = np.diag([10.0, 10.0, 10.0, 1.0])
GRID = VolumeGeometry(SHAPE, AFFINE)


def read(
    monkeypatch: pytest.MonkeyPatch,
    counts: dict[float, int],
    mapping: LabelMapping | None = None,
    name: str = "mask.nii.gz",
    **options: object,
) -> LabelMap:
    """A plain file in which each value has so many voxels, in the order given."""
    kind = np.int32 if all(float(v).is_integer() for v in counts) else np.float64
    flat = np.zeros(np.prod(SHAPE), kind)
    flat[: sum(counts.values())] = np.repeat(list(counts), list(counts.values()))
    return read_layers(monkeypatch, flat.reshape(1, *SHAPE), (), mapping, name=name, kind="plain", **options)


def read_layers(
    monkeypatch: pytest.MonkeyPatch,
    layers: np.ndarray,
    segments: tuple[Segment, ...],
    mapping: LabelMapping | None = None,
    own: VolumeGeometry = GRID,
    geometry: VolumeGeometry | None = GRID,
    name: str = "mask.seg.nrrd",
    kind: str = "slicer",
    **options: object,
) -> LabelMap:
    raw = RawLabels(Path(name), kind, layers, own, segments)
    monkeypatch.setattr(label_maps, "read_raw", lambda path: raw)
    return read_label_map(name, geometry, mapping, **options)


def code_of(call, *args: object, **options: object) -> str | None:
    """Code of the refusal; None if there is none."""
    try:
        call(*args, **options)
    except (UnsuitableMaskError, InvalidMappingError, GridMismatchError) as error:
        return error.code
    return None


def warned(found: LabelMap) -> list[str]:
    assert all(isinstance(w, CaseWarning) for w in found.warnings)
    return [w.code for w in found.warnings]


# --- meanings


@pytest.mark.parametrize(
    ("text", "values", "names", "nonzero"),
    [
        ("1=3, 2=0", {1: 3, 2: 0}, {}, None),
        ("-1=0,10=LESION", {-1: 0, 10: 3}, {}, None),
        ("1=3,1=3", {1: 3}, {}, None),
        ("a=b=1", {}, {"a=b": 1}, None),
        ("MS lesion=3,4=ignore", {4: 0}, {"MS lesion": 3}, None),
        ("nonzero=2", {}, {}, 2),
        (" Binary ", {}, {}, 3),
    ],
)
def test_meanings_are_read_as_written(text, values, names, nonzero):
    found = parse_meaning(text)
    assert (found.values, found.names, found.nonzero) == (values, names, nonzero)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1=3,1=1", "label-with-two-classes"),
        ("1=4", "unknown-class"),
        ("1=", "unknown-class"),
        ("1=-1", "unknown-class"),
        ("=3", "unknown-label-mapping"),
        ("1=3,2", "unknown-label-mapping"),
        ("1=3,", "unknown-label-mapping"),
        ("nonzero=3,1=1", "unknown-label-mapping"),
        ("lesions", "unknown-label-mapping"),
        ("", "unknown-label-mapping"),
    ],
)
def test_meanings_that_are_none_are_refused(text, code):
    assert code_of(parse_meaning, text) == code


def test_a_mapping_says_what_it_does():
    assert str(OWN) == ""
    assert str(PRESETS["bianca"]) == "bianca: values from 0.9 on are lesions"
    assert str(parse_meaning("1=3,4=1,2=0,x=3")) == "1=3,4=1,2=0,x=3: 1, x = lesions; 4 = ventricles; 2 = background"
    assert OWN.targets == frozenset()
    assert PRESETS["lst"].targets == {3}
    assert parse_meaning("1=3,4=1,2=0,x=2").targets == {1, 2, 3}


def test_thresholds_are_above_0_and_at_most_1():
    assert with_threshold(PRESETS["lst"], 1.0, "LST").threshold == 1.0
    assert with_threshold(PRESETS["lst"], 1e-9, "LST").threshold == 1e-9
    for threshold in (0.0, 1.0001, -0.5):
        with pytest.raises(InvalidMappingError, match="not a threshold"):
            with_threshold(PRESETS["lst"], threshold, "LST")
    assert code_of(with_threshold, PRESETS["nnunet"], 0.5, "X") == "threshold-without-probabilities"


# --- values


# Half a step of 8 bits between 0 and 3 is 0.0059.
@pytest.mark.parametrize(
    ("value", "code"), [(3.0009, None), (2.9991, None), (3.0057, None), (3.007, "probabilities-not-labels")]
)
def test_half_a_step_of_8_bits_from_a_whole_number_is_that_number(monkeypatch, value, code):
    assert code_of(read, monkeypatch, {value: 5}) == code
    if code is None:
        assert (read(monkeypatch, {value: 5}).labels == 3).sum() == 5


@pytest.mark.parametrize("largest", [2, 3, 4, 7])
def test_labels_that_another_program_scaled_to_8_bits_are_read_back(tmp_path, largest):
    """As nibabel writes labels in floating point under a header of uint8 (findings/nibabel_label_scaling.sh)."""
    stored = np.rint(np.arange(largest + 1) * 255 / largest).astype(np.uint8)
    image = nib.Nifti1Image(np.repeat(stored, 100).reshape(-1, 10, 10), np.eye(4))
    image.header.set_slope_inter(largest / 255, 0)
    path = tmp_path / "labels.nii"
    path.write_bytes(image.to_bytes())
    values = nib.load(path).get_fdata()
    assert not np.array_equal(values, np.rint(values))
    classes = parse_meaning(",".join(f"{n}={'lesion' if n < 3 else 'background'}" for n in range(1, largest + 1)))
    for meaning, lesion in ((classes, 200), (parse_meaning("binary"), 100 * largest)):
        found = read_label_map(path, mapping=meaning)
        assert [(one.value, one.voxels) for one in found.found] == [(value, 100) for value in range(1, largest + 1)]
        assert np.count_nonzero(found.labels == 3) == lesion


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({1: 899, 3: 1}, None),
        ({1: 901, 3: 1}, "implausible-labels"),
        ({3: 399}, None),
        ({3: 401}, "implausible-labels"),
    ],
)
def test_no_head_has_900_ml_of_ventricles_or_400_ml_of_lesions(monkeypatch, counts, code):
    assert code_of(read, monkeypatch, counts) == code
    assert code_of(read, monkeypatch, counts, OWN) is None


@pytest.mark.parametrize(
    ("counts", "code", "warning"),
    [
        ({1: 5}, None, []),
        ({255: 5}, None, []),
        ({-1: 5}, "neither-mask-nor-probabilities", None),
        ({1: 2, 2: 2}, None, ["several-values-in-mask"]),
        ({1: 2, 12: 2}, None, ["several-values-in-mask"]),
        ({1: 2, 13: 2}, "neither-mask-nor-probabilities", None),
        (dict.fromkeys(range(1, 41), 1), None, ["several-values-in-mask"]),  # lesions by number
        ({-1: 1, 1: 1}, "neither-mask-nor-probabilities", None),
        ({}, None, []),
    ],
)
def test_what_passes_for_a_mask(monkeypatch, counts, code, warning):
    assert code_of(read, monkeypatch, counts, PRESETS["binary"]) == code
    if code is None:
        found = read(monkeypatch, counts, PRESETS["binary"])
        assert warned(found) == warning
        assert (found.labels == 3).sum() == sum(counts.values())
        assert found.classes == {3}
        assert [(x.value, x.voxels, x.class_value) for x in found.found] == [(v, n, 3) for v, n in counts.items()]


@pytest.mark.parametrize(
    ("counts", "mapping", "told"),
    [
        ({1: 300, 2: 100, 3: 200}, "1=1,2=2,3=3", []),
        ({1: 301, 2: 100, 3: 200}, "1=1,2=2,3=3", ["Ventricles: 301 ml"]),
        ({1: 10, 2: 101, 3: 200}, "1=1,2=2,3=3", ["Normal periventricular WMH: 101 ml"]),
        ({1: 10, 3: 201}, None, ["MS lesion (abnormal WMH): 201 ml"]),
        # A brain mask that somebody takes for a mask of lesions.
        ({1: 900}, "binary", ["MS lesion (abnormal WMH): 900 ml"]),
        ({1: 900}, "1=lesion", ["MS lesion (abnormal WMH): 900 ml"]),
        ({7: 900, 3: 20}, "3=lesion,7=0", []),
    ],
)
def test_what_is_stated_to_cover_more_than_is_plausible_is_told(monkeypatch, counts, mapping, told):
    found = read(monkeypatch, counts, None if mapping is None else parse_meaning(mapping))
    doubts = [warning for warning in found.warnings if CaseWarning.of(warning).code == "volume-implausible"]
    assert len(doubts) == len(told)
    for warning, start in zip(doubts, told, strict=True):
        assert warning.startswith(start)


def test_probabilities_count_from_their_threshold_on(monkeypatch):
    counts = {0.25: 3, 0.5: 4, 0.75: 5}
    found = read(monkeypatch, counts, PRESETS["probability"])
    assert (found.labels == 3).sum() == 9
    assert [(x.value, x.voxels, x.class_value) for x in found.found] == [(1, 9, 3)]
    assert found.scores.dtype == np.float32
    assert (read(monkeypatch, counts, with_threshold(PRESETS["lst"], 0.75, "LST")).labels == 3).sum() == 5


@pytest.mark.parametrize(
    ("high", "hint"), [(1.05, None), (1.06, "255"), (20.0, "255"), (20.1, "100"), (105.0, "100"), (106.0, "255")]
)
def test_a_twentieth_beyond_0_and_1_is_overshoot(high, hint):
    array = np.array([0.0, 0.5, high])
    if hint is None:
        assert probabilities(array, "p.nii").tolist() == [0.0, 0.5, 1.0]
        assert probabilities(np.array([-0.05, 0.5]), "p.nii").tolist() == [0.0, 0.5]
        assert code_of(probabilities, np.array([-0.06, 0.5]), "p.nii") == "not-probabilities"
        return
    with pytest.raises(UnsuitableMaskError) as error:
        probabilities(array, "p.nii")
    assert hint in error.value.advice


def test_lists_of_values_end_after_twelve(monkeypatch):
    for number, more in ((12, ""), (13, " and 1 more"), (15, " and 3 more")):
        with pytest.raises(UnsuitableMaskError) as error:
            read(monkeypatch, {10 + n: 1 + n for n in range(number)})
        assert "holds 10 (1 voxel), 11 (2 voxels), " in error.value.message
        assert f"21 (12 voxels){more}, and their meaning is not stated" in error.value.message
        assert len(error.value.fields["values"]) == number
    told = read(monkeypatch, dict.fromkeys(range(1, 14), 1), PRESETS["binary"]).warnings[0]
    assert "values 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ...;" in told
    assert "11, 12;" in read(monkeypatch, dict.fromkeys(range(1, 13), 1), PRESETS["binary"]).warnings[0]


@pytest.mark.parametrize(
    ("counts", "doubtful", "expected"),
    [
        ({1: 3}, "ask", "unnamed-labels"),
        ({1: 3}, "refuse", "unnamed-labels"),
        ({1: 3}, "warn", ["binary-mask-in-doubt"]),
        ({1: 3, 2: 4}, "ask", ["labels-in-doubt"]),
        ({1: 3, 2: 4}, "refuse", "unnamed-labels"),
        ({1: 3, 2: 4}, "warn", ["labels-in-doubt"]),
        ({1: 3, 3: 4}, "refuse", []),
        ({}, "refuse", []),
    ],
)
def test_what_is_doubtful_is_asked_refused_or_told(monkeypatch, counts, doubtful, expected):
    if isinstance(expected, str):
        assert code_of(read, monkeypatch, counts, doubtful=doubtful) == expected
    else:
        assert warned(read(monkeypatch, counts, doubtful=doubtful)) == expected


def test_a_doubt_is_phrased_for_one_value_and_for_two(monkeypatch):
    (one,) = read(monkeypatch, {2: 3}, doubtful="warn", subject="M").warnings
    assert "holds the value 2 alone and is read as FlairSeg's own: 2 as normal wmh." in one.lower().replace(
        "flairseg", "FlairSeg"
    )
    assert one.endswith("If it marks lesions, state M:binary.")
    (two,) = read(monkeypatch, {1: 3, 2: 4}).warnings
    assert "holds the values 1, 2 and no 3 and is read as" in two
    assert two.endswith("If it marks lesions, state 1=lesion.")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("sub-1_seg-lst.nii.gz", "lst-ai"), ("ples_lpa_mFLAIR.nii", "lst"), ("x_lga_1.nii", "lst"),
        ("samseg.nii", "samseg"), ("aseg.nii", "samseg"), ("a_wmhsynthseg.nii", "wmh-synthseg"),
        ("synthseg.nii", "synthseg"), ("bianca.nii", "bianca"), ("complete.nii", "binary"), ("vlpa.nii", "binary"),
    ],
)  # fmt: skip
def test_files_of_other_programs_are_known_by_name(monkeypatch, name, suggestion):
    with pytest.raises(UnsuitableMaskError) as error:
        read(monkeypatch, {1: 3}, name=name)
    assert error.value.fields["suggestion"] == suggestion


def test_freesurfer_needs_four_of_its_numbers(monkeypatch):
    for counts, suggestion in (
        ({4: 1, 43: 1, 2: 1}, "43=3"), ({4: 1, 43: 1, 2: 1, 41: 1}, "synthseg"),
        ({4: 1, 43: 1, 2: 1, 3: 1}, "synthseg"), ({4: 1, 43: 1, 3: 1, 42: 1}, "synthseg"),
    ):  # fmt: skip
        with pytest.raises(UnsuitableMaskError) as error:
            read(monkeypatch, counts)
        assert error.value.fields["suggestion"] == suggestion
    with pytest.raises(UnsuitableMaskError) as error:
        read(monkeypatch, {-5: 1})
    assert error.value.fields["suggestion"] == "-5=0"


# --- segments


def segment(value: int, name: str = "", identifier: str = "", layer: int = 0, **more: object) -> Segment:
    return Segment(layer, value, identifier or f"S{value}", name, **more)


def layered(*boxes: dict[int, tuple[slice, slice, slice]]) -> np.ndarray:
    out = np.zeros((len(boxes), *SHAPE), np.uint8)
    for n, layer in enumerate(boxes):
        for value, box in layer.items():
            out[n][box] = value
    return out


def test_overlapping_segments_are_counted_by_voxel(monkeypatch):
    """Lesions over normal WMH over ventricles, whichever layer comes first."""
    a, b, c = (slice(0, 4),) * 3, (slice(2, 6),) * 3, (slice(3, 5),) * 3
    segments = (segment(1, "lesion", layer=0), segment(1, "ventricles", layer=1), segment(5, "normal WMH", layer=2))
    found = read_layers(monkeypatch, layered({1: a}, {1: b}, {5: c}), segments)
    expected = np.zeros(SHAPE, np.uint8)
    expected[b], expected[c], expected[a] = 1, 2, 3
    assert np.array_equal(found.labels, expected)
    shared = np.zeros(SHAPE, int)
    for box in (a, b, c):
        shared[box] += 1
    assert warned(found) == ["overlapping-segments"]
    assert found.warnings[0].startswith(f"{(shared > 1).sum()} voxels of mask.seg.nrrd")
    # Two segments of one class share voxels without a conflict.
    same = (segment(1, "lesion", layer=0), segment(1, "lesions", layer=1))
    assert warned(read_layers(monkeypatch, layered({1: a}, {1: b}), same)) == []


def test_a_value_that_layers_use_twice_is_named_not_numbered(monkeypatch):
    layers = layered({1: (slice(0, 2),) * 3}, {1: (slice(4, 6),) * 3})
    segments = (segment(1, "spots", layer=0), segment(1, "holes", layer=1))
    assert code_of(read_layers, monkeypatch, layers, segments, parse_meaning("1=3")) == "ambiguous-label-value"
    found = read_layers(monkeypatch, layers, segments, parse_meaning("SPOTS=3,holes=1"))
    assert (found.labels[0, 0, 0], found.labels[4, 4, 4]) == (3, 1)
    assert code_of(read_layers, monkeypatch, layers, segments, parse_meaning("spot=3")) == "labels-not-in-mapping"
    several = np.zeros((2, *SHAPE), np.uint8)
    assert code_of(read_layers, monkeypatch, several, (), kind="plain") == "several-volumes"


def test_a_segment_is_known_by_id_then_name_then_code():
    from flairseg.labels import CLASSES

    ventricles = next(c for c in CLASSES if c.value == 1)
    code = (ventricles.code.scheme, ventricles.code.value, "")
    assert class_of_segment(segment(1, "lesion", "normal_wmh", code=code)) == 2
    assert class_of_segment(segment(1, "lesion", "x", code=code)) == 3
    assert class_of_segment(segment(1, "spot", "x", code=code)) == 1
    assert class_of_segment(segment(1, "spot", "x", code=("", "", "White matter lesion"))) == 3
    assert class_of_segment(segment(1, "spot", "x")) is None
    assert (class_of_id("FlairSeg lesion"), class_of_id("Lesion"), class_of_code("SCT", "0")) == (3, None, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("HyperIntensity", 3), ("hyper intensities", 3), ("hyper", None), ("intensity lesion map", 3),
     ("normal hyperintensity caps", 2), ("normal MS hyperintensity", None), ("ventricle system", 1),
     ("ventricle lesion", None), ("T2 plaque7", 3)],
)  # fmt: skip
def test_more_names(name, expected):
    assert class_of_name(name) == expected


def test_names_that_may_be_lesions():
    assert all(may_be_lesions(name) for name in ("MS", "old lesion (not counted)", "hyperintens", "T1 plaques"))
    assert not any(may_be_lesions(name) for name in ("skull", "mass", "ventricles"))


# --- grids


@pytest.mark.parametrize(
    ("start", "shape", "code"),
    [
        ((2, 3, 4), (4, 4, 4), None),  # a part
        ((-1, -1, -1), (12, 13, 14), None),  # larger all round
        ((-2, 3, 0), (14, 4, 10), None),  # larger along one axis, a part along another
        ((0, 0, 0), (12, 10, 10), None),
        ((-2, 0, 0), (12, 10, 10), None),
        ((6, 0, 0), (4, 10, 10), None),
        ((7, 0, 0), (4, 10, 10), "labels-on-another-grid"),
        ((-1, 0, 0), (10, 10, 10), "labels-on-another-grid"),
        ((1, 0, 0), (10, 10, 10), "labels-on-another-grid"),
    ],
)
def test_one_grid_is_a_part_of_the_other_along_each_axis(monkeypatch, start, shape, code):
    own = GRID.part(start, shape)
    layers = np.zeros((1, *shape), np.uint8)
    index = tuple(max(3, 3 - s) if s < 0 else 2 for s in start)
    layers[(0, *index)] = 3
    assert code_of(read_layers, monkeypatch, layers, (), own=own, kind="plain") == code
    if code is None:
        found = read_layers(monkeypatch, layers, (), own=own, kind="plain")
        assert np.argwhere(found.labels).tolist() == [[i + s for i, s in zip(index, start, strict=True)]]
        assert found.geometry == GRID


def test_what_a_larger_map_marks_outside_is_not_lost(monkeypatch):
    own = GRID.part((-2, 0, 0), (12, 10, 10))
    layers = np.zeros((1, 12, 10, 10), np.uint8)
    layers[0, 1, 5, 5] = 3
    assert code_of(read_layers, monkeypatch, layers, (), own=own, kind="plain") == "labels-outside-image"
    alone = read_layers(monkeypatch, layers, (), own=own, geometry=None, kind="plain")
    assert alone.geometry == own
    assert np.argwhere(alone.labels).tolist() == [[1, 5, 5]]


def test_a_single_voxel_that_marks_nothing_is_an_empty_segmentation_of_slicer(monkeypatch):
    far = VolumeGeometry((1, 1, 1), np.diag([3.0, 3.0, 3.0, 1.0]))
    found = read_layers(monkeypatch, np.zeros((1, 1, 1, 1), np.uint8), (), own=far)
    assert (found.labels.shape, found.labels.any()) == (SHAPE, False)
    assert code_of(read_layers, monkeypatch, np.zeros((1, 1, 1, 1), np.uint8), (), own=far, kind="plain") is not None
    marked = np.full((1, 1, 1, 1), 3, np.uint8)
    assert code_of(read_layers, monkeypatch, marked, (segment(3, "lesion"),), own=far) == "labels-on-another-grid"


def test_values_that_a_file_of_names_leaves_out_are_background_and_told(monkeypatch, tmp_path):
    names = tmp_path / "dataset.json"
    names.write_text('{"labels": {"background": 0, "MS lesion": 1}}', encoding="utf-8")
    found = read(monkeypatch, {1: 3, 7: 4}, read_names(names))
    assert warned(found) == ["unmapped-labels"]
    assert "7" in found.warnings[0]
    assert np.bincount(found.labels.ravel()).tolist() == [found.labels.size - 3, 0, 0, 3]


@pytest.mark.parametrize(("different", "grey"), [(FEWEST_DIFFERENT - 1, False), (FEWEST_DIFFERENT, True)])
def test_grey_levels_need_a_hundred_neighbours_that_differ(different, grey):
    line = np.zeros((1, 1, 600), np.int32)
    line[0, 0, : different + 1] = np.arange(1, different + 2)
    assert _is_grey(line) is grey


def test_half_of_all_neighbours_may_differ():
    line = np.ones((1, 1, 2 * FEWEST_DIFFERENT + 2), np.int32)
    line[0, 0, ::4] = 2  # two in four pairs differ
    pairs = line.size - 1
    different = int(np.count_nonzero(np.diff(line[0, 0])))
    assert _is_grey(line) is (different > GREY_SHARE * pairs)
    line[0, 0, ::2] = 2
    assert _is_grey(line)
