"""Tags and version numbers that a result begins with."""

from __future__ import annotations

from flairseg.labels import CLASSES


def test_every_segment_begins_automatic_and_pending(slicer, logic, head, model):
    from FlairSegLib import provenance, segment_tags

    volume_node = slicer.util.addVolumeFromArray(head[0].array, ijkToRAS=head[0].ijk_to_ras, name="FLAIR")
    node = logic.process(volume_node, modelId=str(model), device="cpu")
    for label_class in CLASSES:
        segment = node.GetSegmentation().GetSegment(label_class.id)
        assert segment_tags.tag(segment, segment_tags.ALGORITHM_TYPE) == segment_tags.AUTOMATIC
        assert segment_tags.tag(segment, segment_tags.VERDICT) == provenance.PENDING
        assert segment_tags.tag(segment, segment_tags.MODEL) == "intensity-v0.1"
        assert len(segment_tags.tag(segment, segment_tags.MODEL_SHA256)) == 64


def test_the_version_number_stays_with_a_renamed_node(slicer, logic, head, model):
    from FlairSegLib import provenance

    volume_node = slicer.util.addVolumeFromArray(head[0].array, ijkToRAS=head[0].ijk_to_ras, name="FLAIR")
    nodes = [logic.process(volume_node, modelId=str(model), device="cpu") for _ in range(2)]
    nodes[1].SetName("corrected by me")
    assert [provenance.version_number(node) for node in nodes] == [1, 2]
    foreign = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "FLAIR segmentation v7")
    assert provenance.version_number(foreign) is None
    assert provenance.next_version(slicer.mrmlScene, "FLAIR") == ("FLAIR segmentation v8", 8)
