"""Written files: the input's exact grid, what Slicer needs, stems, and nothing at all when anything fails."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg import errors
from flairseg.files import atomic
from flairseg.files.atomic import all_or_none, check_folder
from flairseg.files.names import case_name
from flairseg.files.nifti import read_header, write_nifti
from flairseg.files.same_input import fingerprint
from flairseg.files.shielding import shielded
from flairseg.image.nifti_geometry import NiftiGeometry
from flairseg.image.volume import Volume, volume_from_sitk
from flairseg.io.reader import read_volume
from flairseg.labels import CLASSES
from flairseg.segmentation import writing
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.writing import check_destination, write_segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from Testing.core.test_reading import ORIENTATIONS, rotation
from Testing.core.tiny import make_head, to_dicom, to_nifti, to_sitk

REPOSITORY = Path(__file__).resolve().parents[2]
FIVE = ("case_labels.nii.gz", "case.seg.nrrd", "case_overview.png", "case_lesions.csv", "case_summary.json")


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} if folder.exists() else set()


# --- NIfTI


@given(
    axes=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 9.0)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
)
@settings(max_examples=60, deadline=None)
def test_any_affine_is_written_as_sform_and_qform(tmp_path_factory, axes, signs, angles, spacing, origin):
    matrix = np.eye(4)
    matrix[:3, :3] = (
        Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(signs)[:, axes] @ np.diag(spacing)
    )
    matrix[:3, 3] = origin
    array = np.random.default_rng(0).integers(0, 4, (3, 5, 4)).astype(np.uint8)
    path = tmp_path_factory.getbasetemp() / "affine.nii.gz"
    write_nifti(path, array, Volume(array, matrix))
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, array)
    np.testing.assert_allclose(image.get_sform(), matrix, atol=1e-4)
    # A quaternion in float32 is exact to a few 1e-4 radians near half turns.
    np.testing.assert_allclose(image.get_qform()[:3, :3] / spacing, matrix[:3, :3] / spacing, atol=2e-3)
    geometry = NiftiGeometry.from_affine(matrix)
    np.testing.assert_allclose(geometry.sform_affine(), matrix, atol=1e-9)
    np.testing.assert_allclose(geometry.qform_affine(), matrix, atol=1e-6)
    again = volume_from_sitk(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(again.ijk_to_ras, matrix, atol=2e-3)
    np.testing.assert_array_equal(again.array, array)


def test_four_dimensions_put_classes_last(tmp_path, head):
    array = np.random.default_rng(0).random((4, *head.array.shape)).astype(np.float16)
    write_nifti(tmp_path / "p.nii.gz", array, head, np.float32)
    image = nib.load(tmp_path / "p.nii.gz")
    assert image.shape == (*head.array.shape[::-1], 4)
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj), np.transpose(array.astype(np.float32), (3, 2, 1, 0)))


def test_arrays_that_do_not_fit_are_refused(tmp_path, head):
    with pytest.raises(ValueError, match="grid"):
        write_nifti(tmp_path / "a.nii.gz", head.array[1:], head)
    with pytest.raises(ValueError, match="float64"):
        write_nifti(tmp_path / "a.nii.gz", head.array, head, np.float64)


def test_the_same_volume_gives_the_same_bytes(tmp_path, head):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, (head.array > 0).astype(np.uint8), head)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


# --- a case's files


@pytest.fixture
def written(segmentation, tmp_path):
    return write_segmentation(segmentation, tmp_path / "out", "case", probabilities=True)


def test_the_contracts_files(written, tmp_path):
    assert files(tmp_path / "out") == {*FIVE, "case_probabilities.nii.gz"}
    assert {k: p.name for k, p in written.items()} == {
        "labels": "case_labels.nii.gz",
        "segmentation": "case.seg.nrrd",
        "overview": "case_overview.png",
        "probabilities": "case_probabilities.nii.gz",
        "lesions": "case_lesions.csv",
        "summary": "case_summary.json",
    }


def test_label_file(written, segmentation):
    image = nib.load(written["labels"])
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, segmentation.labels)
    assert set(np.unique(segmentation.labels)) == {0, 1, 2, 3}


def test_probability_file(written, segmentation):
    image = nib.load(written["probabilities"])
    probabilities = np.asarray(image.dataobj)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=4e-3)
    np.testing.assert_array_equal(np.moveaxis(probabilities, -1, 0).transpose(0, 3, 2, 1), segmentation.probabilities)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 0), (0, 1), (1, 2)])
def test_labels_repeat_the_placement_of_a_nifti_input_bit_for_bit(tmp_path, model, orientation, codes):
    volume, _ = make_head((12, 44, 40), (4.5, 4.5, 10.0), orientation=rotation((9, -5, 14)) @ ORIENTATIONS[orientation])
    path = to_nifti(volume, tmp_path / "in.nii.gz", *codes)
    out = write_segmentation(segment(path, model, "cpu"), tmp_path / "out")
    source, result = nib.load(path), nib.load(out["labels"])
    np.testing.assert_array_equal(result.affine, source.affine)
    for form in ("sform", "qform"):
        np.testing.assert_array_equal(getattr(result, f"get_{form}")(), getattr(source, f"get_{form}")())
        assert result.header[f"{form}_code"] == source.header[f"{form}_code"]
    assert result.shape == source.shape
    labels = sitk.ReadImage(str(out["labels"]))
    image = sitk.ReadImage(str(path))
    assert labels.GetSize() == image.GetSize()
    assert (labels.GetSpacing(), labels.GetOrigin(), labels.GetDirection()) == (
        image.GetSpacing(), image.GetOrigin(), image.GetDirection(),
    )  # fmt: skip
    # Slicer's file lies where Slicer (ITK) lays the image.
    segments = sitk.ReadImage(str(out["segmentation"]))
    np.testing.assert_allclose(segments.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(segments.GetDirection(), image.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(segments.GetSpacing(), image.GetSpacing(), atol=1e-5)


def test_other_formats_keep_their_grid_too(tmp_path, model, head):
    for path in (to_sitk(head, tmp_path / "a.nrrd"), to_sitk(head, tmp_path / "b.mha"), to_dicom(head, tmp_path / "c")):
        volume = read_volume(path)
        out = write_segmentation(segment(path, model, "cpu"), tmp_path / "out")
        np.testing.assert_allclose(nib.load(out["labels"]).affine, volume.ijk_to_ras, atol=1e-4)
        assert nib.load(out["labels"]).shape == volume.array.shape[::-1]


def test_slicer_file(written, segmentation):
    """What Slicer's vtkMRMLSegmentationStorageNode reads: one shared layer, full extents, names, colours, tags."""
    labels, header = nrrd.read(str(written["segmentation"]))
    np.testing.assert_array_equal(labels.T, segmentation.labels)
    assert header["type"] in ("unsigned char", "uint8", "uchar")
    assert header["space"] == "left-posterior-superior"
    assert header["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert header["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert (
        header["Segmentation_SourceRepresentation"] == header["Segmentation_MasterRepresentation"] == "Binary labelmap"
    )
    for n, label_class in enumerate(CLASSES):
        assert header[f"Segment{n}_ID"] == label_class.id
        assert header[f"Segment{n}_Name"] == label_class.name
        assert header[f"Segment{n}_LabelValue"] == str(label_class.value)
        assert header[f"Segment{n}_Layer"] == "0"
        assert header[f"Segment{n}_Extent"] == "0 75 0 87 0 15"
        np.testing.assert_allclose(
            [float(c) for c in header[f"Segment{n}_Color"].split()], label_class.rgb_unit, atol=1e-5
        )
        tags = dict(tag.split(":", 1) for tag in header[f"Segment{n}_Tags"].split("|") if tag)
        assert tags["TerminologyEntry"] == label_class.terminology_entry
        assert f"{label_class.code.scheme}^{label_class.code.value}^" in tags["TerminologyEntry"]
        assert tags["FlairSeg.model"] == "tiny-v1.0"
        assert tags["FlairSeg.model_sha256"] == segmentation.card.sha256
        assert tags["FlairSeg.version"]
        assert tags["FlairSeg.created"] == segmentation.created
        assert tags["FlairSeg.algorithm_type"] == "AUTOMATIC"
    assert f"Segment{len(CLASSES)}_ID" not in header


@pytest.mark.parametrize(
    ("known", "drawn", "listed"),
    [((3,), (3,), ["lesion"]), ((3,), (1, 3), ["ventricles", "lesion"]), ((1, 2, 3), (3,), [c.id for c in CLASSES])],
)
def test_slicer_file_lists_the_classes_that_were_assessed(segmentation, tmp_path, known, drawn, listed):
    """An empty segment of a class that the model does not know would say that nothing was found."""
    from flairseg.io.label_maps import read_label_map

    labels = np.where(np.isin(segmentation.labels, drawn), segmentation.labels, 0).astype(np.uint8)
    pipeline = replace(segmentation.card.pipeline, output_classes=(0, *known))
    result = replace(segmentation, labels=labels, card=replace(segmentation.card, pipeline=pipeline))
    path = write_segmentation(result, tmp_path)["segmentation"]
    header = nrrd.read_header(str(path))
    assert [header[f"Segment{n}_ID"] for n in range(len(listed))] == listed
    assert f"Segment{len(listed)}_ID" not in header
    again = read_label_map(path)
    np.testing.assert_array_equal(again.labels, labels)
    assert again.classes == {c.value for c in CLASSES if c.id in listed}


def test_summary(written, segmentation):
    summary = json.loads(written["summary"].read_text(encoding="utf-8"))
    about = {"case", "input", "input_sha256", "model", "software", "device", "grid"}
    told = {"warnings", "information", "seconds"}
    assert set(summary) == about | told | {"volumes_ml", "lesion_count", "lesions", "lesion_parts"}
    assert summary["case"] == segmentation.volume.name
    assert set(summary["model"]) == {"id", "version", "sha256", "pipeline_sha256"}
    assert set(summary["software"]) == {"flairseg", "onnxruntime", "python"}
    assert summary["device"] == {"requested": "cpu", "used": "cpu"}
    assert set(summary["grid"]) == {"shape_kji", "spacing_mm", "ijk_to_ras"}
    assert set(summary["volumes_ml"]) == {"ventricles", "normal_wmh", "lesion"}
    assert set(summary["seconds"]) == {"read", "preprocess", "inference", "postprocess", "regions", "write", "total"}
    assert summary["seconds"]["total"] >= summary["seconds"]["write"] > 0
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.ReadImage(str(written["labels"])))
    for label_class in CLASSES:
        expected = shapes.GetPhysicalSize(label_class.value) / 1000
        assert summary["volumes_ml"][label_class.id] == pytest.approx(expected, abs=1e-3)
    components = sitk.ConnectedComponent(sitk.ReadImage(str(written["labels"])) == 3, True)
    shapes.Execute(components)
    assert summary["lesion_count"] == shapes.GetNumberOfLabels() == len(summary["lesions"])
    sizes = sorted((shapes.GetPhysicalSize(n) / 1000 for n in shapes.GetLabels()), reverse=True)
    np.testing.assert_allclose([row["volume_ml"] for row in summary["lesions"]], sizes, atol=1e-3)
    centres = {tuple(np.round(np.array(shapes.GetCentroid(n)) * (-1, -1, 1), 0)) for n in shapes.GetLabels()}
    assert {tuple(np.round(row["centre_ras_mm"], 0)) for row in summary["lesions"]} == centres


def test_results_are_kept_unless_overwritten(segmentation, tmp_path):
    written = write_segmentation(segmentation, tmp_path, "case", probabilities=True)
    before = {k: p.read_bytes() for k, p in written.items()}
    with pytest.raises(errors.OutputError, match="exist already") as caught:
        write_segmentation(segmentation, tmp_path, "case")
    assert caught.value.code == "results-exist"
    assert {k: p.read_bytes() for k, p in written.items()} == before
    emptied = replace(segmentation, labels=np.zeros_like(segmentation.labels), seconds={})
    write_segmentation(emptied, tmp_path, "case", overwrite=True)
    assert files(tmp_path) == set(FIVE), "probabilities of the earlier run must not stay behind"
    assert json.loads(written["summary"].read_text())["lesion_count"] == 0


def test_one_file_left_over_is_a_result_too(segmentation, tmp_path):
    (tmp_path / "case_summary.json").write_text("precious")
    with pytest.raises(errors.OutputError, match="exist already"):
        write_segmentation(segmentation, tmp_path, "case")
    assert (tmp_path / "case_summary.json").read_text() == "precious"


# --- all or none


@pytest.mark.parametrize("failing", ["labels", "segmentation", "overview", "probabilities", "summary"])
@pytest.mark.parametrize(
    ("error", "expected", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), errors.OutputError, "full"),
        (PermissionError(errno.EACCES, "Permission denied"), errors.OutputError, "may not be written"),
        (OSError(errno.EIO, "Input/output error"), errors.OutputError, "Input/output"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (errors.Cancelled(), errors.Cancelled, None),
    ],
)
def test_any_failure_leaves_nothing(segmentation, tmp_path, monkeypatch, failing, error, expected, word):
    def fail(_segmentation, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setitem(writing._WRITERS, failing, fail)
    with pytest.raises(expected, match=word):
        write_segmentation(segmentation, tmp_path / "new" / "folder", "case", probabilities=True)
    assert files(tmp_path) == set()
    # With older results in place, those stay as they are.
    (tmp_path / "case_labels.nii.gz").write_text("old")
    summary = json.dumps({"case": "case", "input_sha256": fingerprint(segmentation.volume)})
    (tmp_path / "case_summary.json").write_text(summary)
    with pytest.raises(expected):
        write_segmentation(segmentation, tmp_path, "case", probabilities=True, overwrite=True)
    assert files(tmp_path) == {"case_labels.nii.gz", "case_summary.json"}
    assert (tmp_path / "case_summary.json").read_text() == summary
    assert (tmp_path / "case_labels.nii.gz").read_text() == "old"


@pytest.mark.parametrize("linking", [True, False])
@pytest.mark.parametrize("at", range(5))
def test_a_failure_while_renaming_brings_everything_back(tmp_path, monkeypatch, at, linking):
    for name in ("a", "b", "stale"):
        (tmp_path / name).write_text(f"old {name}")
    calls = []
    real = os.replace

    def replace_(source, target):
        calls.append(target)
        if len(calls) == at + 1 and at < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(os, "replace", replace_)
    if at == 3:
        unlink = Path.unlink
        monkeypatch.setattr(Path, "unlink", lambda p, **m: _denied() if p.name == "stale" else unlink(p, **m))
    if at == 4:
        monkeypatch.setattr(atomic, "_keep_copy", _denied)
    if not linking:
        monkeypatch.setattr(os, "link", _denied)

    def write():
        with all_or_none(tmp_path, ["a", "b", "c"], ["stale"]) as temporary:
            for name in ("a", "b", "c"):
                (temporary / name).write_text(f"new {name}")

    with pytest.raises(errors.OutputError):
        write()
    monkeypatch.undo()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {n: f"old {n}" for n in ("a", "b", "stale")}


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("newer", [False, True])
def test_what_another_process_wrote_meanwhile_is_kept(tmp_path, existing, newer):
    """Two calls at once, each with a P1.nii.gz of its own: the later one must not replace the results of the first."""
    if existing:
        (tmp_path / "a").write_text("before")

    def write():
        with all_or_none(tmp_path, ["a", "b"], ["a", "c"], newer=newer) as temporary:
            for name in ("a", "b"):
                (temporary / name).write_text("ours")
            # As all_or_none does it: renamed, hence another file of that name.
            (tmp_path / "theirs").write_text("theirs")
            os.replace(tmp_path / "theirs", tmp_path / "a")

    if newer:
        write()
        assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "ours", "b": "ours"}
        return
    with pytest.raises(errors.OutputError, match="Another process") as caught:
        write()
    assert caught.value.code == "results-exist"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "theirs"}


@pytest.mark.parametrize(("free", "code"), [(500, "disk-full"), (1 << 30, "output")])
def test_a_library_that_does_not_say_why_it_could_not_write(tmp_path, monkeypatch, free, code):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    error = atomic.output_error(tmp_path / "new", OSError(errno.EIO, "SimpleITK could not write the segmentation"))
    assert error.code == code


def _denied(*_args, **_more):
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_cancel_between_files_leaves_nothing(segmentation, tmp_path, monkeypatch):
    def cancelled(*_):
        raise errors.Cancelled()

    monkeypatch.setitem(writing._WRITERS, "lesions", cancelled)
    with pytest.raises(errors.Cancelled):
        write_segmentation(segmentation, tmp_path / "out", "case")
    assert files(tmp_path) == set()


def test_what_does_not_read_back_is_not_a_result(segmentation, tmp_path, monkeypatch):
    monkeypatch.setattr(sitk, "GetArrayViewFromImage", lambda image: np.zeros(1))
    with pytest.raises(errors.OutputError, match="read back"):
        write_segmentation(segmentation, tmp_path / "out", "case")
    monkeypatch.undo()

    def fail(*_):
        raise RuntimeError("ITK ERROR: something")

    monkeypatch.setattr(sitk, "ReadImage", fail)
    with pytest.raises(errors.OutputError, match="SimpleITK"):
        write_segmentation(segmentation, tmp_path / "out", "case")
    assert files(tmp_path) == set()


def test_folders_that_cannot_be_written_to(segmentation, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(errors.OutputError, match="not a folder") as caught:
            write_segmentation(segmentation, folder, "case")
        assert caught.value.advice
    with pytest.raises(errors.OutputError, match="too long"):
        write_segmentation(segmentation, tmp_path / ("x" * 300), "case")
    with pytest.raises(errors.OutputError, match="not a folder"):
        check_destination(tmp_path / "file", "case")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(errors.OutputError, match="may not be written"):
        check_folder(tmp_path)
    assert files(tmp_path) == {"file"}


def test_syncing_goes_on_where_it_cannot_be_done(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", _denied)
        atomic.sync(tmp_path)

    def fsync(number):
        def fail(_handle):
            raise OSError(number, "fsync")

        return fail

    monkeypatch.setattr(os, "fsync", fsync(errno.EINVAL))
    atomic.sync(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync(errno.EIO))
    with pytest.raises(OSError, match="fsync"):
        atomic.sync(tmp_path)


def test_operating_system_errors_get_advice(tmp_path, monkeypatch):
    for number, word in ((errno.ENOTDIR, "not a folder"), (errno.EROFS, "may not be written"), (errno.EDQUOT, "full")):
        error = atomic.output_error(tmp_path, OSError(number, "text"))
        assert word in error.message
        assert error.advice
    monkeypatch.setattr(Path, "is_dir", _denied)
    with pytest.raises(errors.OutputError, match="may not be written"):
        check_folder(tmp_path)


def test_a_folder_that_is_no_text(segmentation):
    with pytest.raises(errors.OutputError, match="UTF-8"):
        write_segmentation(segmentation, "bad\udcff", "case")


def test_a_folder_that_turns_read_only_under_way(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", _denied)
    with pytest.raises(errors.OutputError, match="may not be written"), all_or_none(tmp_path / "new", ["a"]):
        raise AssertionError("the block must not run")
    assert files(tmp_path) == set()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from flairseg import errors
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.writing import write_segmentation
case = segment(sys.argv[1], sys.argv[2], "cpu")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
try:
    write_segmentation(case, sys.argv[3], "case", probabilities=True)
except errors.OutputError as error:
    print("refused:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
@pytest.mark.parametrize("limit", [100, 20000])
def test_a_disk_that_really_takes_no_more(tmp_path, head_file, model, limit):
    """The operating system refuses to write beyond a size, in the middle of a file and in C++ code too."""
    done = run_python(LIMITED, head_file, model, tmp_path / "out", limit)
    assert done.stdout.startswith("refused:"), done.stdout + done.stderr
    assert files(tmp_path) == set()


def run_python(code: str, *arguments, **more) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "FlairSegExtension"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False, **more)


KILLED = """
import os, signal, sys
from flairseg import writing
from flairseg.segmentation.pipeline import segment
case = segment(sys.argv[1], sys.argv[2], "cpu")
writing._WRITERS[sys.argv[4]] = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
writing.write_segmentation(case, sys.argv[3], "case")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_no_file_under_a_final_name(tmp_path, head_file, model):
    done = run_python(KILLED, head_file, model, tmp_path / "out", "summary")
    assert done.returncode == -signal.SIGKILL
    assert all(name.startswith(".flairseg-") for name in files(tmp_path / "out"))
    again = write_segmentation(segment(head_file, model, "cpu"), tmp_path / "out", "case")
    assert all(path.exists() for path in again.values())


# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_shielded_holds_signals_back_until_the_end(number):
    done = []

    def handler(*_):
        raise KeyboardInterrupt

    def work():
        with shielded():
            os.kill(os.getpid(), number)
            done.append("whole")

    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == ["whole"]
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_shielded_respects_signals_that_are_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with shielded():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


DEFAULT_SIGNAL = """
import os, signal
from flairseg.files.shielding import shielded
with shielded():
    os.kill(os.getpid(), signal.SIGTERM)
    print("whole", flush=True)
print("never")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX exit statuses")
def test_shielded_passes_a_default_signal_on():
    done = run_python(DEFAULT_SIGNAL)
    assert done.stdout == "whole\n"
    assert done.returncode == -signal.SIGTERM


def test_writing_works_outside_the_main_thread(segmentation, tmp_path):
    """Slicer's worker threads."""
    failed = []

    def work():
        try:
            write_segmentation(segmentation, tmp_path, "case")
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
    assert files(tmp_path) == set(FIVE)


def test_an_interrupt_while_renaming_waits_until_all_are_there(segmentation, tmp_path, monkeypatch):
    real = os.replace

    def interrupting(source, target):
        real(source, target)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(os, "replace", interrupting)
    with pytest.raises(KeyboardInterrupt):
        write_segmentation(segmentation, tmp_path, "case")
    assert files(tmp_path) == set(FIVE)


def test_long_stems_leave_room_for_the_endings(segmentation, tmp_path):
    stems = [case_name(f"/a/{'ä' * 120}{n}.nii") for n in range(2)]
    assert len(set(stems)) == 2
    for stem in stems:
        written = write_segmentation(segmentation, tmp_path, stem, probabilities=True)
        assert all(path.exists() for path in written.values())


def test_read_header_of_our_own_files(written):
    assert read_header(written["labels"]).shape == (76, 88, 16)
