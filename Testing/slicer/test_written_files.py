"""The files of ``flairseg segment`` in Slicer: the image and its ``.seg.nrrd``, loaded as a user loads them."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.image.volume import volume_to_sitk
from flairseg.io.reader import read_volume
from flairseg.labels import CLASSES
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.writing import write_segmentation

from Testing.slicer.helpers import STORAGE_ORDERS, labels_of, stored_as


@pytest.mark.parametrize("codes", STORAGE_ORDERS)
def test_slicer_loads_the_segmentation_over_the_image(slicer, head, model, tmp_path, codes):
    import SimpleITK as sitk
    from flairseg.image.volume import Volume

    array, matrix = stored_as(head[0].array, head[0].ijk_to_ras, codes)
    path = tmp_path / f"{codes}.nii.gz"
    sitk.WriteImage(volume_to_sitk(Volume(np.ascontiguousarray(array), matrix)), str(path))
    case = segment(path, model, "cpu")
    written = write_segmentation(case, tmp_path / "out")

    volume_node = slicer.util.loadVolume(str(path))
    node = slicer.util.loadSegmentation(str(written["segmentation"]))
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())] == [
        c.id for c in CLASSES
    ]
    for label_class in CLASSES:
        one = segmentation.GetSegment(label_class.id)
        assert one.GetName() == label_class.name
        assert one.GetLabelValue() == label_class.value
        np.testing.assert_allclose(one.GetColor(), label_class.rgb_unit, atol=1e-5)
        assert one.GetTerminology() == label_class.terminology_entry
        tags = {name: _tag(one, name) for name in _TAGS}
        assert tags["FlairSeg.model"] == case.card.id
        assert tags["FlairSeg.model_sha256"] == case.card.sha256
        assert tags["FlairSeg.created"] == case.created
        assert tags["FlairSeg.algorithm_type"] == "AUTOMATIC"

    # Slicer turns left-handed files round on loading: compare each class where it lies in the world.
    found = labels_of(slicer, node, volume_node)
    loaded = slicer.util.arrayFromVolume(volume_node)
    written_image = read_volume(path)
    for label_class in CLASSES:
        assert (found == label_class.value).sum() == (case.labels == label_class.value).sum() > 0
        np.testing.assert_array_equal(
            np.sort(loaded[found == label_class.value]), np.sort(written_image.array[case.labels == label_class.value])
        )


_TAGS = ("FlairSeg.model", "FlairSeg.model_sha256", "FlairSeg.version", "FlairSeg.created", "FlairSeg.algorithm_type")


def _tag(segment_, name: str) -> str:
    import vtk

    value = vtk.reference("")
    assert segment_.GetTag(name, value), name
    return str(value)
