"""A label map given in place of the image is refused in every command, and no image is taken for one."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.cli import app
from flairseg.errors import UnsupportedImageError
from flairseg.io.images import is_label_map, read_image
from flairseg.segmentation.writing import write_segmentation
from typer.testing import CliRunner

from Testing.core.tiny import to_nifti


@pytest.fixture(scope="module")
def results(tmp_path_factory, segmentation):
    folder = tmp_path_factory.mktemp("results")
    own = replace(segmentation, seconds=dict(segmentation.seconds))
    return write_segmentation(own, folder, "p1", probabilities=True, lesion_mask=True)


@pytest.mark.parametrize("kind", ["labels", "lesion_mask", "segmentation"])
def test_its_own_results_are_no_images(results, kind):
    assert is_label_map(results[kind])
    with pytest.raises(UnsupportedImageError, match="is a label map, not an image") as refused:
        read_image(results[kind])
    assert (refused.value.code, refused.value.fields["file"]) == ("label-map-as-image", results[kind].name)


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "LABELS", "-o", "OUT", "-m", "MODEL", "--device", "cpu"),
        ("compare", "LABELS", "-o", "OUT", "-m", "MODEL", "--device", "cpu"),
        ("follow", "LABELS", "FLAIR", "-o", "OUT", "-m", "MODEL", "--device", "cpu"),
        ("follow", "FLAIR", "LABELS", "-o", "OUT", "--labels", "LABELS", "--labels", "LABELS"),
        ("lesions", "LABELS", "--flair", "LABELS", "-o", "OUT", "--no-regions"),
        ("report", "LABELS", "--flair", "LABELS", "-o", "OUT", "--no-regions"),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_every_command_refuses_it(results, head_file, model, tmp_path, arguments):
    stands_for = {"LABELS": results["labels"], "FLAIR": head_file, "OUT": tmp_path / "out", "MODEL": model}
    answer = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(stands_for.get(a, a)) for a in arguments])
    assert answer.exit_code == 2, answer.output
    assert "p1_labels.nii.gz is a label map, not an image" in answer.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_images_and_what_cannot_be_read_are_no_label_maps(head, head_file, tmp_path, results):
    assert not is_label_map(head_file)
    assert not is_label_map(tmp_path)
    assert not is_label_map(tmp_path / "absent.nii.gz")
    (tmp_path / "damaged.nii.gz").write_bytes(b"\x1f\x8b\x08\x00garbage")
    assert not is_label_map(tmp_path / "damaged.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(head.array), str(tmp_path / "flair.nrrd"))
    assert not is_label_map(tmp_path / "flair.nrrd")
    # FlairSeg's images have its name in the header, too.
    image = nib.load(to_nifti(head, tmp_path / "registered.nii.gz"))
    image.header["descrip"] = "FlairSeg, research use only"
    nib.save(image, tmp_path / "registered.nii.gz")
    assert np.array_equal(read_image(tmp_path / "registered.nii.gz").array, head.array)
    assert not is_label_map(results["probabilities"])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("intent", "expected"), [("label", True), ("none", False), ("estimate", False)])
def test_the_intent_of_any_program_s_file_tells_a_label_map(tmp_path, order, intent, expected):
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4), nib.Nifti1Header(endianness=order))
    image.header.set_intent(intent)
    for name in ("m.nii.gz", "m.nii"):
        nib.save(image, tmp_path / name)
        assert is_label_map(tmp_path / name) is expected
