"""Snapshots of a segmentation are what Slicer itself reads, whatever its layers, after each edit, undo and redo."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from flairseg.labels import CLASSES, LESION, NORMAL_WMH

from Testing.harness.interaction import press, run_event_loop
from Testing.slicer.helpers import labels_of, rigid
from Testing.slicer.result_driver import MIDDLE, SMALL, head_with_lesions, segmented

SHAPE = (8, 30, 40)


@pytest.fixture
def layered(slicer):
    """``layered("aab")``: a volume, and a segmentation whose classes lie on layers of these names."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    name = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()

    def build(layers: str):
        volume = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), np.eye(4), "FLAIR")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        images = {}
        for value, (label_class, layer) in enumerate(zip(CLASSES, layers, strict=True), 1):
            if layer not in images:
                images[layer] = slicer.vtkOrientedImageData()
                images[layer].SetDimensions(*SHAPE[::-1])
                images[layer].AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
                vtk_to_numpy(images[layer].GetPointData().GetScalars())[:] = 0
            voxels = vtk_to_numpy(images[layer].GetPointData().GetScalars()).reshape(SHAPE)
            voxels[2 * value, 3 : 5 + value, 6:9] = value
            segment = slicer.vtkSegment()
            segment.SetName(label_class.name)
            segment.SetColor(*label_class.rgb_unit)
            segment.SetLabelValue(value)
            segment.AddRepresentation(name, images[layer])
            node.GetSegmentation().AddSegment(segment, label_class.id)
        return volume, node

    return build


@pytest.mark.parametrize("layers", ["aaa", "aab", "abb", "aba", "abc"])
def test_layers_are_told_apart_whatever_the_memory_is_like(slicer, layered, layers):
    import vtk
    from FlairSegLib import segment_voxels

    volume, node = layered(layers)
    grid = segment_voxels.grid_of(node, volume)
    truth = labels_of(slicer, node, volume)
    assert np.bincount(truth.ravel()).tolist()[1:] == [9, 12, 15]
    gc.collect()
    for count in range(40):
        # Holes of the size of a VTK object's Python side: whichever comes next takes the same place, and its id().
        holes = [vtk.vtkUnsignedCharArray() for _ in range(count)]
        del holes[::2]
        taken = segment_voxels.snapshot(node, volume, grid)
        assert len(taken.layers) == len(set(layers))
        assert np.array_equal(taken.labels(), truth)


def _check(slicer, result) -> np.ndarray:
    """What Slicer reads, after it was compared with the snapshot and with what the panel has measured."""
    from FlairSegLib import segment_voxels

    panel = result.panel
    seen = labels_of(slicer, panel.segmentationNode, panel.volumeNode)
    taken = segment_voxels.snapshot(panel.segmentationNode, panel.volumeNode, panel._grid)
    assert np.array_equal(taken.labels(), seen)
    assert np.array_equal(panel._measured.labels, seen)
    assert panel._measured.voxels.tolist() == np.bincount(seen.ravel(), minlength=4).tolist()
    return seen


@pytest.mark.parametrize("separated", [(), ("lesion",)])
def test_after_each_edit_undo_and_redo_the_panel_counts_what_is_in_the_scene(slicer, result, head, separated):
    _, node = segmented(slicer, head)
    for segment_id in separated:
        node.GetSegmentation().SeparateSegmentLabelmap(segment_id)
    result.show(node)
    states = [_check(slicer, result)]

    def edited(edit) -> None:
        edit()
        result.settle()
        states.append(_check(slicer, result))
        assert not np.array_equal(states[-1], states[-2])

    def flip() -> None:
        press("N")
        press("X")

    edited(flip)
    edited(lambda: result.paint((8, 60, 60), 5.0))
    edited(lambda: result.paint(MIDDLE, 2.0, effect="Erase"))
    press("N")
    edited(lambda: press("Del"))
    edited(lambda: result.paint(SMALL, 7.0))
    for state in states[-2::-1]:
        press("Ctrl+Z")
        result.settle()
        assert np.array_equal(_check(slicer, result), state)
    for state in states[1:]:
        press("Ctrl+Y")
        result.settle()
        assert np.array_equal(_check(slicer, result), state)


@pytest.mark.parametrize("surface", [False, True])
@pytest.mark.parametrize("layers", ["aaa", "aab", "abc"])
def test_what_is_written_is_what_slicer_reads_whatever_the_layers(slicer, layered, layers, surface):
    """A voxel that one class gains is lost by the class of another layer, too; it stayed there.

    And no class moves to a layer of its own, as it did when a deletion came close to another class.
    """
    from FlairSegLib import segment_voxels

    volume, node = layered(layers)
    if surface:
        node.CreateClosedSurfaceRepresentation()
    grid = segment_voxels.grid_of(node, volume)
    whole = tuple(slice(0, size) for size in SHAPE)
    before = labels_of(slicer, node, volume)
    after = before.copy()
    after[before == 3] = 2
    after[(before == 2) & (np.indices(SHAPE)[1] > 4)] = 0
    after[(before == 1) & (np.indices(SHAPE)[1] > 4)] = 3
    after[7, 20:22, 20:22] = 1
    segment_voxels.write(node, grid, whole, before, after)
    assert np.array_equal(labels_of(slicer, node, volume), after)
    assert np.array_equal(segment_voxels.snapshot(node, volume, grid).labels(), after)
    assert node.GetSegmentation().GetNumberOfLayers() == len(set(layers))
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    shown = [node.GetSegmentation().GetSegment(c.id).GetRepresentation(name) for c in CLASSES]
    assert [s is not None and s.GetNumberOfPoints() > 0 for s in shown] == [surface] * 3


def test_undo_works_after_a_redo_that_came_before_the_counting(slicer, result, head):
    """Tags are noted when an edit has been counted; the undo history is not to take that for an edit."""
    _, node = segmented(slicer, head)
    result.show(node)
    before = _check(slicer, result)
    for key in ("N", "X", "Ctrl+Z", "Ctrl+Y"):
        press(key)
    result.settle()
    after = _check(slicer, result)
    assert not np.array_equal(before, after)
    for _ in range(2):
        press("Ctrl+Z")
        result.settle()
        assert np.array_equal(_check(slicer, result), before)
        press("Ctrl+Y")
        result.settle()
        assert np.array_equal(_check(slicer, result), after)


def test_what_is_noted_on_a_segment_is_told_to_nobody_and_edits_still_are(slicer, layered):
    from FlairSegLib import segment_tags

    _, node = layered("aaa")
    contents = node.GetSegmentation()
    told = []
    contents.AddObserver(slicer.vtkSegmentation.SegmentModified, lambda *event: told.append(event))
    segment = contents.GetSegment(CLASSES[0].id)
    segment_tags.set_tag(segment, segment_tags.READER, "R01")
    assert segment_tags.tag(segment, segment_tags.READER) == "R01"
    assert not told
    with pytest.raises(RuntimeError), segment_tags.unannounced(segment):
        raise RuntimeError
    segment.SetName("renamed")
    assert told


@pytest.mark.parametrize(
    ("degrees", "shift_mm"),
    [((0, 0, 0), (0.0, 0.0, 15.0)), ((0, 0, 180), (0.0, -2.0, 5.0)), ((6, -3, 4), (3.0, -7.0, 11.0))],
    ids=["by whole slices", "turned by 180 degrees", "by any registration"],
)
def test_what_was_drawn_on_a_moved_volume_is_counted_and_changed_where_it_was_drawn(
    slicer, result, head, degrees, shift_mm
):
    """Slicer's editor draws in the world. Counted in the volume's own frame, labels were slices away from the image."""
    from flairseg.image.geometry import VolumeGeometry
    from FlairSegLib import segment_voxels

    image, labels, _ = head_with_lesions(head)
    volume = slicer.util.addVolumeFromArray(image.array, image.ijk_to_ras, "FLAIR")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(degrees, shift_mm)))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    world = VolumeGeometry(labels.shape, rigid(degrees, shift_mm) @ image.ijk_to_ras)
    layer = segment_voxels._image(labels, tuple(slice(0, n) for n in labels.shape), world)
    for label_class in CLASSES:
        node.GetSegmentation().AddSegment(segment_voxels.new_segment(label_class, layer), label_class.id)
    np.testing.assert_array_equal(labels_of(slicer, node, volume), labels)
    result.show(node, volume)
    np.testing.assert_array_equal(result.panel.measured.labels, labels)
    press("N")
    anchor = result.panel.lesions.selected.anchor_ras
    i, j, k, _one = np.rint(np.linalg.inv(world.ijk_to_ras) @ [*anchor, 1]).astype(int)
    assert labels[k, j, i] == LESION, "the views go where the lesion is seen"
    press("X")
    result.settle()
    changed = result.panel.measured.labels
    assert np.unique(changed[changed != labels]).tolist() == [NORMAL_WMH]
    np.testing.assert_array_equal(labels_of(slicer, node, volume), changed)
    press("Ctrl+Z")
    result.settle()
    np.testing.assert_array_equal(labels_of(slicer, node, volume), labels)


@pytest.mark.parametrize("how", ["moved", "hardened"])
def test_a_result_stays_on_the_voxels_of_its_volume_whatever_happens_to_that_alone(
    slicer, result, head, how, monkeypatch
):
    """Under a transform that the result is not under, or with one hardened that the result is still under.

    As in a scene of which the panel was not told: what it knows of follows its volume.
    """
    from FlairSegLib import following

    monkeypatch.setattr(following, "follow", lambda node: None)
    _image, labels, _ = head_with_lesions(head)
    volume, node = segmented(slicer, head)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid((6, -3, 4), (3.0, -7.0, 15.0))))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    if how == "hardened":
        node.SetAndObserveTransformNodeID(transform.GetID())
        volume.HardenTransform()
        assert volume.GetParentTransformNode() is None
    result.show(node)
    np.testing.assert_array_equal(result.panel.measured.labels, labels)
    assert result.panel.measured.edits == {1: (0, 0), 2: (0, 0), 3: (0, 0)}
    assert all(lesion.mean_probability is not None for lesion in result.panel.lesions.rows)


@pytest.mark.parametrize(
    ("names", "classes", "further"),
    [
        (("Lesions", "Lateral ventricles", "Normal WMH"), ("Lateral ventricles", "Normal WMH", "Lesions"), []),
        (("Segment_1", "MS lesion"), (None, None, "MS lesion"), []),
        (("lesion left", "lesion right", "Kidney"), (None, None, "lesion left"), ["lesion right"]),
        (("Kidney lesion", "Plaque"), (None, None, "Plaque"), []),
    ],
)
def test_segments_are_known_by_the_names_that_files_are_read_by(slicer, names, classes, further):
    """The advice of messages ("Name the segments by structure") holds for what is in the scene, too."""
    from FlairSegLib import segment_voxels

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    contents = node.GetSegmentation()
    for name in names:
        contents.AddEmptySegment("", name)
    found = segment_voxels.segments_by_class(node)
    assert (
        tuple(contents.GetSegment(found[c.value]).GetName() if c.value in found else None for c in CLASSES) == classes
    )
    assert segment_voxels.further_segments(node) == further


def test_a_second_segment_of_a_class_is_told_not_counted_in_silence(slicer, result, head):
    """As the effect Islands leaves it: one segment for each lesion."""
    _, node = segmented(slicer, head)
    result.show(node)
    assert result.panel.ui.resultMessageLabel.text == ""
    node.GetSegmentation().AddEmptySegment("", "MS lesion_1")
    run_event_loop(0.3)
    result.settle()
    assert result.panel.ui.resultMessageLabel.text.startswith("Not counted: MS lesion_1.")
    assert result.panel.ui.resultMessageLabel.isVisible()


def test_segments_without_voxels_are_refused_not_counted_as_none(slicer, result, head):
    """From an STL file or contours: the panel had said "0 lesions, 0.00 ml", and could accept an empty mask."""
    _, node = segmented(slicer, head)
    result.show(node)
    contents = node.GetSegmentation()
    names = slicer.vtkSegmentationConverter
    surface = names.GetSegmentationClosedSurfaceRepresentationName()
    voxels = names.GetSegmentationBinaryLabelmapRepresentationName()
    node.CreateClosedSurfaceRepresentation()
    contents.SetSourceRepresentationName(surface)
    contents.RemoveRepresentation(voxels)
    result.show(node)
    ui = result.panel.ui
    assert "is stored as closed surface, not as voxels" in ui.resultMessageLabel.text
    assert "make Binary labelmap the source" in ui.resultMessageLabel.text
    assert ui.summaryLabel.text == "Not counted."
    assert not ui.acceptButton.enabled
    assert result.numbers() == []
    node.CreateBinaryLabelmapRepresentation()
    contents.SetSourceRepresentationName(voxels)
    result.show(node)
    assert result.numbers() == [1, 2, 3]
    assert ui.resultMessageLabel.text == ""
