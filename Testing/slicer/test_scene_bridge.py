"""Volume node -> Volume and Segmentation -> segmentation node, on real MRML."""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace

import flairseg
import numpy as np
import pytest
from flairseg.errors import FlairSegError, InputNotFoundError, InvalidGeometryError, UnsupportedImageError
from flairseg.labels import CLASSES, LESION
from flairseg.segmentation.result import Segmentation

from Testing.slicer.helpers import STORAGE_ORDERS, labels_of, on_grid, rigid, stored_as, world_affine


@pytest.fixture
def volume_node(slicer, head):
    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array, ijkToRAS=volume.ijk_to_ras, name="FLAIR")
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def segmentation(head):
    """What the pipeline returns for the head, with the true labels."""
    return Segmentation(
        volume=head[0],
        labels=head[1].copy(),
        probabilities=np.zeros((4, *head[1].shape), np.float16),
        card=SimpleNamespace(id="some-model-v1.0", sha256="0123abcd" * 8, classes=(1, 2, 3)),
        device_requested="auto",
        device_used="cpu",
        provider="CPUExecutionProvider",
        source="FLAIR",
        warnings=["The image does not look like a FLAIR: a brain of one gray level.", "Zweite Warnung: größer"],
    )


def put_under(slicer, node, matrix):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


TURNED = rigid((25, -10, 40), (12, -30, 7))
ON_ITS_SIDE = rigid((0, 90, 0), (1, 2, 3))


def _all(steps) -> list:
    """What a generator yields, and returns in the end."""
    found = []
    while True:
        try:
            found.append(next(steps))
        except StopIteration as end:
            return [*found, end.value]


def number_of_nodes(slicer):
    return slicer.mrmlScene.GetNumberOfNodes()


class TestVolumeFromNode:
    @pytest.mark.parametrize("codes", STORAGE_ORDERS)
    def test_a_file_read_by_slicer_is_the_same_image_in_the_world(
        self, slicer, bridge, head, save_nifti, tmp_path, codes
    ):
        array, affine = stored_as(head[0].array, head[0].ijk_to_ras, codes)
        node = slicer.util.loadVolume(str(save_nifti(tmp_path / f"{codes}.nii.gz", array, affine)))
        volume = bridge.volume_from_node(node)
        assert volume.name == codes
        assert volume.array.dtype == np.int16
        in_file = on_grid(volume.array, volume.ijk_to_ras, array.shape, affine)
        np.testing.assert_array_equal(in_file, array)

    def test_slicer_reverses_the_slices_of_a_left_handed_file(self, slicer, bridge, head, save_nifti, tmp_path):
        """The trap that makes file indices useless: same world, other K."""
        array, affine = stored_as(head[0].array, head[0].ijk_to_ras, "LAS")
        volume = bridge.volume_from_node(slicer.util.loadVolume(str(save_nifti(tmp_path / "a.nii.gz", array, affine))))
        np.testing.assert_array_equal(volume.array, array[::-1])

    def test_what_its_file_leaves_open_is_told_as_on_the_command_line(self, slicer, bridge, head, save_nifti, tmp_path):
        path = save_nifti(tmp_path / "a.nii", head[0].array, head[0].ijk_to_ras)
        plain = path.read_bytes()

        def told(offset, kind, *values):
            raw = bytearray(plain)
            struct.pack_into(f"<{kind}", raw, offset, *values)
            path.write_bytes(raw)
            node = slicer.util.loadVolume(str(path))
            return node, lambda: [w.code for w in bridge.header_warnings_of(node)]

        assert told(123, "B", 2)[1]() == []
        node, codes = told(80, "f", -struct.unpack("<f", plain[80:84])[0])
        assert codes() == ["negative-voxel-size"]
        taken = _all(bridge.take_volume(node))[-1]
        assert [w.code for w in taken.header_warnings] == ["negative-voxel-size"]
        # Somebody corrected the volume in Slicer: the file is no longer what counts.
        node.SetSpacing(1, 1, 1)
        assert codes() == []
        node, codes = told(88, "f", 3.0)
        with pytest.raises(InvalidGeometryError, match="two voxel sizes"):
            codes()
        with pytest.raises(InvalidGeometryError, match="two voxel sizes"):
            _all(bridge.take_volume(node))
        nameless = slicer.util.addVolumeFromArray(head[0].array, ijkToRAS=head[0].ijk_to_ras)
        assert bridge.header_warnings_of(nameless) == ()

    def test_is_a_copy(self, slicer, bridge, volume_node):
        volume = bridge.volume_from_node(volume_node)
        slicer.util.arrayFromVolume(volume_node)[:] = 0
        assert volume.array.max() > 800

    def test_float_voxels_stay_float(self, slicer, bridge, head):
        array = head[0].array.astype(np.float32) / 7
        volume = bridge.volume_from_node(slicer.util.addVolumeFromArray(array, ijkToRAS=head[0].ijk_to_ras))
        assert volume.array.dtype == np.float32
        np.testing.assert_array_equal(volume.array, array)

    def test_display_threshold_changes_nothing(self, bridge, head, volume_node):
        display = volume_node.GetDisplayNode()
        display.SetThreshold(400, 500)
        display.ApplyThresholdOn()
        np.testing.assert_array_equal(bridge.volume_from_node(volume_node).array, head[0].array)

    def test_linear_parent_transforms_are_part_of_the_affine(self, slicer, bridge, head, volume_node):
        inner = put_under(slicer, volume_node, TURNED)
        put_under(slicer, inner, ON_ITS_SIDE)
        affine = bridge.volume_from_node(volume_node).ijk_to_ras
        np.testing.assert_allclose(affine, ON_ITS_SIDE @ TURNED @ head[0].ijk_to_ras, atol=1e-9)
        np.testing.assert_allclose(affine, world_affine(slicer, volume_node), atol=1e-4)

    def test_hardening_a_rigid_transform_gives_the_same_volume(self, slicer, bridge, volume_node):
        put_under(slicer, volume_node, TURNED)
        soft = bridge.volume_from_node(volume_node)
        volume_node.HardenTransform()
        hard = bridge.volume_from_node(volume_node)
        assert volume_node.GetParentTransformNode() is None
        np.testing.assert_allclose(hard.ijk_to_ras, soft.ijk_to_ras, atol=1e-6)
        np.testing.assert_array_equal(hard.array, soft.array)

    def test_non_linear_transform_is_refused(self, slicer, bridge, volume_node):
        import vtk

        spline = vtk.vtkThinPlateSplineTransform()
        points = vtk.vtkPoints()
        for corner in np.ndindex(2, 2, 2):
            points.InsertNextPoint([100.0 * c for c in corner])
        moved = vtk.vtkPoints()
        moved.DeepCopy(points)
        moved.SetPoint(7, 120, 90, 100)
        spline.SetSourceLandmarks(points)
        spline.SetTargetLandmarks(moved)
        spline.SetBasisToR()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
        transform.SetAndObserveTransformToParent(spline)
        volume_node.SetAndObserveTransformNodeID(transform.GetID())
        with pytest.raises(InvalidGeometryError, match="Harden the transform"):
            bridge.volume_from_node(volume_node)

    def test_several_values_per_voxel_are_refused(self, slicer, bridge):
        array = np.zeros((4, 6, 8, 3), np.uint8)
        node = slicer.util.addVolumeFromArray(array, nodeClassName="vtkMRMLVectorVolumeNode")
        with pytest.raises(UnsupportedImageError, match="several values per voxel"):
            bridge.volume_from_node(node)

    def test_label_map_is_refused(self, slicer, bridge, head):
        node = slicer.util.addVolumeFromArray(head[1], nodeClassName="vtkMRMLLabelMapVolumeNode")
        with pytest.raises(UnsupportedImageError, match="label map"):
            bridge.volume_from_node(node)

    def test_another_kind_of_node_is_refused(self, slicer, bridge):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "surface")
        with pytest.raises(UnsupportedImageError, match="'surface' is not a volume"):
            bridge.volume_from_node(node)

    def test_missing_volume_is_refused(self, slicer, bridge, volume_node):
        slicer.mrmlScene.RemoveNode(volume_node)
        empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        for node in (None, volume_node, empty):
            with pytest.raises(InputNotFoundError) as caught:
                bridge.volume_from_node(node)
            assert caught.value.advice


class TestSegmentationToNode:
    def test_segments_are_the_contracts(self, bridge, segmentation, volume_node):
        node = bridge.segmentation_to_node(segmentation, volume_node)
        contents = node.GetSegmentation()
        assert [contents.GetNthSegmentID(n) for n in range(contents.GetNumberOfSegments())] == [
            "ventricles",
            "normal_wmh",
            "lesion",
        ]
        for label_class in CLASSES:
            segment = contents.GetSegment(label_class.id)
            assert segment.GetName() == label_class.name
            np.testing.assert_allclose(np.array(segment.GetColor()) * 255, label_class.rgb, atol=0.01)
            assert segment.GetTerminology() == label_class.terminology_entry
            assert not segment.GetNameAutoGenerated()
            assert not segment.GetColorAutoGenerated()
        assert contents.GetNumberOfLayers() == 1

    @pytest.mark.parametrize(
        ("known", "drawn", "ids"),
        [((3,), (3,), ["lesion"]), ((3,), (), ["lesion"]), ((3,), (1, 3), ["ventricles", "lesion"])],
    )
    def test_classes_that_the_model_does_not_segment_have_no_segment(
        self, bridge, segmentation, volume_node, known, drawn, ids
    ):
        """An empty segment would say that there is none, in verdicts and in what is saved."""
        from FlairSegLib import segment_voxels

        labels = np.where(np.isin(segmentation.labels, drawn), segmentation.labels, 0).astype(np.uint8)
        card = SimpleNamespace(**vars(segmentation.card) | {"classes": known})
        made = replace(segmentation, labels=labels, card=card)
        node = bridge.segmentation_to_node(made, volume_node)
        assert list(node.GetSegmentation().GetSegmentIDs()) == ids
        grid = segment_voxels.grid_of(node, volume_node)
        np.testing.assert_array_equal(segment_voxels.snapshot(node, volume_node, grid).labels(), labels)

    def test_terminology_is_what_slicer_reads(self, slicer, bridge, segmentation, volume_node):
        node = bridge.segmentation_to_node(segmentation, volume_node)
        entry = slicer.vtkSlicerTerminologyEntry()
        for label_class in CLASSES:
            text = node.GetSegmentation().GetSegment(label_class.id).GetTerminology()
            assert slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(text, entry)
            read = entry.GetTypeObject()
            code = label_class.code
            assert (read.GetCodingSchemeDesignator(), read.GetCodeValue()) == (code.scheme, code.value)
            assert read.GetCodeMeaning() == code.meaning
            assert entry.GetCategoryObject().GetCodeValue() == label_class.category.value

    def test_provenance(self, bridge, segmentation, volume_node):
        node = bridge.segmentation_to_node(segmentation, volume_node)
        for label_class in CLASSES:
            assert tags_of(node, label_class.id) == {
                "FlairSeg.created": segmentation.created,
                "FlairSeg.model": "some-model-v1.0",
                "FlairSeg.model_sha256": "0123abcd" * 8,
                "FlairSeg.version": flairseg.__version__,
                "FlairSeg.algorithm_type": "AUTOMATIC",
                "FlairSeg.verdict": "pending",
            }
        assert node.GetAttribute("FlairSeg.device") == "cpu"
        assert node.GetAttribute("FlairSeg.warnings").split("\n") == segmentation.warnings

    @pytest.mark.parametrize("codes", STORAGE_ORDERS)
    def test_labels_are_bit_equal_in_the_world(self, slicer, bridge, head, segmentation, save_nifti, tmp_path, codes):
        array, affine = stored_as(head[0].array, head[0].ijk_to_ras, codes)
        node = slicer.util.loadVolume(str(save_nifti(tmp_path / "flair.nii.gz", array, affine)))
        volume = bridge.volume_from_node(node)
        in_file, _ = stored_as(head[1], head[0].ijk_to_ras, codes)
        labels = on_grid(in_file, affine, volume.array.shape, volume.ijk_to_ras)
        segmentation = replace(segmentation, labels=labels, probabilities=np.zeros((4, *labels.shape), np.float16))
        result = bridge.segmentation_to_node(segmentation, node)
        shown = labels_of(slicer, result, node)
        np.testing.assert_array_equal(on_grid(shown, world_affine(slicer, node), array.shape, affine), in_file)

    def test_stays_on_a_transformed_volume(self, slicer, bridge, segmentation, volume_node):
        import vtk

        transform = put_under(slicer, volume_node, TURNED)
        node = bridge.segmentation_to_node(segmentation, volume_node)
        assert node.GetTransformNodeID() == transform.GetID()
        np.testing.assert_array_equal(labels_of(slicer, node, volume_node), segmentation.labels)
        # The voxels themselves, moved into the world by Slicer, lie on the image.
        labelmap = slicer.vtkOrientedImageData()
        labelmap.DeepCopy(node.GetBinaryLabelmapInternalRepresentation("lesion"))
        slicer.vtkSlicerSegmentationsModuleLogic.ApplyParentTransformToOrientedImageData(node, labelmap)
        matrix = vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(matrix)
        np.testing.assert_allclose(
            slicer.util.arrayFromVTKMatrix(matrix), bridge.volume_from_node(volume_node).ijk_to_ras, atol=1e-4
        )
        # And it follows, when the transform changes later.
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(ON_ITS_SIDE))
        np.testing.assert_array_equal(labels_of(slicer, node, volume_node), segmentation.labels)

    def test_reference_geometry_is_the_volumes(self, slicer, bridge, segmentation, volume_node):
        node = bridge.segmentation_to_node(segmentation, volume_node)
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        assert node.GetNodeReference(role) is volume_node
        without_volume = slicer.util.arrayFromSegmentBinaryLabelmap(node, "lesion")
        np.testing.assert_array_equal(without_volume > 0, segmentation.labels == LESION)

    def test_class_without_a_voxel_is_an_empty_segment(self, slicer, bridge, segmentation, volume_node):
        segmentation.labels[segmentation.labels == LESION] = 0
        node = bridge.segmentation_to_node(segmentation, volume_node)
        assert node.GetSegmentation().GetSegment("lesion").GetName() == "MS lesion (abnormal WMH)"
        np.testing.assert_array_equal(labels_of(slicer, node, volume_node), segmentation.labels)

    def test_nothing_found_at_all(self, slicer, bridge, segmentation, volume_node):
        segmentation.labels[:] = 0
        node = bridge.segmentation_to_node(segmentation, volume_node)
        assert node.GetSegmentation().GetNumberOfSegments() == len(CLASSES)
        assert not labels_of(slicer, node, volume_node).any()

    def test_labels_of_another_grid_are_refused(self, slicer, bridge, segmentation, volume_node):
        segmentation = replace(segmentation, labels=segmentation.labels.transpose(0, 2, 1))
        nodes = number_of_nodes(slicer)
        with pytest.raises(InvalidGeometryError, match="Segment the volume again"):
            bridge.segmentation_to_node(segmentation, volume_node)
        assert number_of_nodes(slicer) == nodes

    def test_volume_deleted_meanwhile(self, slicer, bridge, segmentation, volume_node):
        slicer.mrmlScene.RemoveNode(volume_node)
        nodes = number_of_nodes(slicer)
        with pytest.raises(InputNotFoundError):
            bridge.segmentation_to_node(segmentation, volume_node)
        assert number_of_nodes(slicer) == nodes

    def test_failure_half_way_leaves_the_scene_as_it_was(self, slicer, bridge, segmentation, volume_node, monkeypatch):
        def fail(*_args):
            raise RuntimeError("Importing of segment failed.")

        monkeypatch.setattr("FlairSegLib.scene_bridge._hidden_volume", fail)
        nodes = number_of_nodes(slicer)
        with pytest.raises(RuntimeError, match="Importing"):
            bridge.segmentation_to_node(segmentation, volume_node)
        assert number_of_nodes(slicer) == nodes

    def test_runs_are_versions(self, slicer, bridge, segmentation, volume_node):
        first = bridge.segmentation_to_node(segmentation, volume_node)
        expected = segmentation.labels.copy()
        segmentation.labels[:] = 0
        second = bridge.segmentation_to_node(segmentation, volume_node)
        assert [first.GetName(), second.GetName()] == ["FLAIR segmentation v1", "FLAIR segmentation v2"]
        np.testing.assert_array_equal(labels_of(slicer, first, volume_node), expected)
        slicer.mrmlScene.RemoveNode(first)
        assert bridge.segmentation_to_node(segmentation, volume_node).GetName() == "FLAIR segmentation v3"

    def test_versions_of_volumes_with_odd_names(self, slicer, bridge, segmentation, volume_node):
        names = []
        for name in ("3: FLAIR (ax) [1]+", "3: FLAIR (ax) [1]+", "", "Größe ✓"):
            volume_node.SetName(name)
            names.append(bridge.segmentation_to_node(segmentation, volume_node).GetName())
        assert names == [
            "3: FLAIR (ax) [1]+ segmentation v1",
            "3: FLAIR (ax) [1]+ segmentation v2",
            " segmentation v1",
            "Größe ✓ segmentation v1",
        ]

    def test_lies_beside_its_volume_in_the_subject_hierarchy(self, slicer, bridge, segmentation, volume_node):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
        hierarchy.CreateItem(study, volume_node)
        # The application makes an item for every new node (plugins); slicer-core has no plugins.
        observer = slicer.mrmlScene.AddObserver(
            slicer.vtkMRMLScene.NodeAddedEvent,
            lambda *_: [
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
                for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
                if not hierarchy.GetItemByDataNode(node)
            ],
        )
        try:
            node = bridge.segmentation_to_node(segmentation, volume_node)
        finally:
            slicer.mrmlScene.RemoveObserver(observer)
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


class TestSaving:
    def check(self, slicer, node, volume_node, expected, tags):
        for label_class in CLASSES:
            segment = node.GetSegmentation().GetSegment(label_class.id)
            assert segment.GetName() == label_class.name
            np.testing.assert_allclose(np.array(segment.GetColor()) * 255, label_class.rgb, atol=0.5)
            assert segment.GetTerminology() == label_class.terminology_entry
            assert tags_of(node, label_class.id) == tags
        np.testing.assert_array_equal(labels_of(slicer, node, volume_node), expected)

    def test_seg_nrrd(self, slicer, bridge, segmentation, volume_node, tmp_path):
        node = bridge.segmentation_to_node(segmentation, volume_node)
        tags = tags_of(node, "lesion")
        path = str(tmp_path / "case.seg.nrrd")
        assert slicer.util.saveNode(node, path)
        slicer.mrmlScene.RemoveNode(node)
        again = slicer.util.loadSegmentation(path)
        self.check(slicer, again, volume_node, segmentation.labels, tags)

    @pytest.mark.parametrize("transformed", [False, True])
    def test_scene_bundle(self, slicer, bridge, segmentation, volume_node, tmp_path, transformed):
        if transformed:
            put_under(slicer, volume_node, TURNED)
        node = bridge.segmentation_to_node(segmentation, volume_node)
        tags, warnings = tags_of(node, "lesion"), node.GetAttribute("FlairSeg.warnings")
        affine = bridge.volume_from_node(volume_node).ijk_to_ras
        path = str(tmp_path / "case.mrb")
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear(False)
        assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        slicer.util.loadScene(path)
        (again,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        volume_again = slicer.util.getNode("FLAIR")
        assert again.GetName() == "FLAIR segmentation v1"
        assert again.GetAttribute("FlairSeg.warnings") == warnings
        np.testing.assert_allclose(bridge.volume_from_node(volume_again).ijk_to_ras, affine, atol=1e-4)
        self.check(slicer, again, volume_again, segmentation.labels, tags)
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        assert again.GetNodeReference(role) is volume_again


def test_every_error_has_advice(slicer, bridge):
    with pytest.raises(FlairSegError) as caught:
        bridge.volume_from_node(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "table"))
    assert caught.value.advice


def tags_of(node, segment_id: str) -> dict[str, str]:
    """FlairSeg's tags of a segment."""
    import vtk

    segment = node.GetSegmentation().GetSegment(segment_id)
    names = ("model", "model_sha256", "version", "created", "algorithm_type", "verdict")
    tags = {}
    for name in names:
        value = vtk.reference("")
        if segment.GetTag(f"FlairSeg.{name}", value):
            tags[f"FlairSeg.{name}"] = value.get()
    return tags
