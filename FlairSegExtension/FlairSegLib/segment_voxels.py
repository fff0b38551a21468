"""Read labels from a segmentation node and write them back, whatever its origin: FlairSeg, command line, or editor.

Reading copies voxels as stored and sorts them out later, in a thread; writing goes through Slicer's own segment
logic, changed boxes only, so that shared layers, undo history and displays stay right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support
from flairseg.errors import InvalidGeometryError, UnsupportedImageError
from flairseg.image.geometry import Placement, VolumeGeometry
from flairseg.io.segment_names import class_of_name
from flairseg.labels import BACKGROUND, CLASS_BY_ID, CLASSES, NUMBER_OF_CLASSES, LabelClass
from flairseg.lesions.boxes import Box
from slicer.i18n import tr as _

#: Node reference of a segmentation to the volume that it was made of.
INPUT_ROLE = "FlairSeg.input"


@dataclass(frozen=True)
class Snapshot:
    """Copies of the layers of a segmentation, cheap to take; :meth:`labels` puts them together, in any thread.

    Attributes
    ----------
    grid : VolumeGeometry
    layers : list of (ndarray, tuple of int, dict)
        Voxels, place of the first one on the grid (K, J, I), and class of each layer value.
    """

    grid: VolumeGeometry
    layers: list[tuple[np.ndarray, tuple[int, int, int], dict[int, int]]]

    def labels(self) -> np.ndarray:
        """Labels 0..3, uint8, K, J, I. Where segments overlap, the last class of the table wins."""
        out = np.zeros(self.grid.shape, np.uint8)
        for voxels, place, classes in sorted(self.layers, key=lambda layer: max(layer[2].values())):
            here = [slice(max(p, 0), min(p + n, m)) for p, n, m in zip(place, voxels.shape, out.shape, strict=True)]
            if any(s.start >= s.stop for s in here):
                continue
            there = tuple(slice(s.start - p, s.stop - p) for s, p in zip(here, place, strict=True))
            target, source = out[tuple(here)], voxels[there]
            # Slice by slice: a thread that holds Python for long would make the window stutter.
            for k, part in enumerate(source):
                if not part.any():
                    continue
                for value, label in classes.items():
                    target[k][part == value] = label
        return out


def segments_by_class(node) -> dict[int, str]:
    """Class value -> segment id, for the classes that a segmentation node has.

    FlairSeg's own ids decide; segments of others are known by terminology code, then by name, as in files
    (:mod:`flairseg.io.segment_names`). Of several of one class the first counts, see :func:`further_segments`.
    """
    return {value: ids[0] for value, ids in _all_by_class(node).items()}


def further_segments(node) -> list[str]:
    """Names of segments that by code or name are of a class already represented by another segment: not counted."""
    contents = node.GetSegmentation()
    further = [segment_id for ids in _all_by_class(node).values() for segment_id in ids[1:]]
    return [contents.GetSegment(segment_id).GetName() or "" for segment_id in further]


def _all_by_class(node) -> dict[int, list[str]]:
    """Class value -> ids of all its segments, the most certain match first."""
    contents = node.GetSegmentation()
    ids = list(contents.GetSegmentIDs())
    known: dict[str, int] = {i: CLASS_BY_ID[i].value for i in ids if i in CLASS_BY_ID}
    for class_of in (_class_by_code, _class_by_name):
        for segment_id in ids:
            if segment_id not in known and (value := class_of(contents.GetSegment(segment_id))) is not None:
                known[segment_id] = value
    return {c.value: found for c in CLASSES if (found := [i for i, value in known.items() if value == c.value])}


def voxel_state(node) -> tuple:
    """Key that changes with the voxels only: not with tags, colours or review status."""
    contents = node.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    state = []
    for segment_id in contents.GetSegmentIDs():
        segment = contents.GetSegment(segment_id)
        image = segment.GetRepresentation(name)
        address = address_of(image) if image is not None else ""
        state.append((segment_id, segment.GetLabelValue(), address, image.GetMTime() if image is not None else 0))
    return tuple(state)


def address_of(thing) -> str:
    """The VTK object behind a Python object; unique among those that exist at one time."""
    return thing.GetAddressAsString("vtkObject")


def grid_of(node, volume_node=None) -> VolumeGeometry | None:
    """The grid on which a segmentation is read and edited: its volume's, else its own; None if it has neither.

    In the frame of the segmentation node: transforms above both of them are not part of it. What was drawn on a moved
    volume is where the volume was seen. A result of FlairSeg belongs to the voxels of its volume, also where that was
    moved and the result was not.
    """
    if volume_node is None or volume_node.GetImageData() is None:
        return _own_grid(node)
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    local = slicer.util.arrayFromVTKMatrix(matrix)
    shape = tuple(reversed(volume_node.GetImageData().GetDimensions()))
    if volume_node.GetParentTransformNode() is node.GetParentTransformNode():
        return _grid(shape, local)
    seen = _grid(shape, _between(volume_node, node) @ local)
    if node.GetNodeReferenceID(INPUT_ROLE) != volume_node.GetID():
        return seen
    own = _own_grid(node)
    return seen if own is not None and seen is not None and own.matches(seen) else _grid(shape, local)


def _own_grid(node) -> VolumeGeometry | None:
    """The reference geometry of a segmentation node; None if it has none."""
    geometry = node.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    image = slicer.vtkOrientedImageData()
    if not geometry or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, False):
        return None
    found = _grid_of_image(image)
    return found if found is not None and min(found.shape) > 0 else None


def _between(source, target) -> np.ndarray:
    """From the frame of one node into that of another, 4 x 4, mm; the identity where that is not linear."""
    above, other = source.GetParentTransformNode(), target.GetParentTransformNode()
    matrix = vtk.vtkMatrix4x4()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(above, other, matrix):
        matrix.Identity()
    return slicer.util.arrayFromVTKMatrix(matrix)


def _grid(shape: tuple[int, ...], ijk_to_ras: np.ndarray) -> VolumeGeometry | None:
    try:
        return VolumeGeometry(shape, ijk_to_ras)
    except InvalidGeometryError:
        return None


def _grid_of_image(image) -> VolumeGeometry | None:
    """The grid of the extent of a ``vtkOrientedImageData``."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    extent = image.GetExtent()
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    whole = _grid(shape, slicer.util.arrayFromVTKMatrix(matrix))
    return whole.part(extent[4::-2], shape) if whole is not None else None


def snapshot(node, volume_node, grid: VolumeGeometry) -> Snapshot:
    """Copy what is needed to know the label of each voxel.

    Layers on the grid are copied as stored; others are resampled onto the volume by Slicer.

    Raises
    ------
    UnsupportedImageError
        Surfaces, contours or fractions are the source of the segments: there are no voxels, or none that edits keep.
    """
    contents = node.GetSegmentation()
    _check_source(node)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    layers: dict[str, tuple] = {}
    other = []
    for value, segment_id in segments_by_class(node).items():
        segment = contents.GetSegment(segment_id)
        image = segment.GetRepresentation(name)
        if image is None or image.GetPointData().GetScalars() is None or image.IsEmpty():
            continue
        placement = _place(image, grid)
        if placement is None:
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume_node)
            if mask is not None and mask.shape == grid.shape:
                other.append((mask.copy(), (0, 0, 0), {1: value}))
            continue
        # Not id(): the Python object that wraps a VTK object is deleted with its last reference, and the next one may
        # get the same number. Two layers would then be confused.
        key = address_of(image)
        if key not in layers:
            layers[key] = (placement.arrange(_voxels(image)).copy(), placement.start, {})
        layers[key][2][int(segment.GetLabelValue())] = value
    return Snapshot(grid, [*layers.values(), *other])


def _check_source(node) -> None:
    """Refuse a segmentation whose voxels are missing or derived; an empty one is fine."""
    contents = node.GetSegmentation()
    source = contents.GetSourceRepresentationName()
    wanted = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if source != wanted and contents.GetNumberOfSegments():
        raise UnsupportedImageError(
            _("'{name}' is stored as {kind}, not as voxels: nothing can be counted.").format(
                name=node.GetName(), kind=source.lower()
            ),
            _("In the module Segmentations, section Representations, make Binary labelmap the source."),
        )


def new_segment(label_class: LabelClass, layer, tags: Mapping[str, str] | None = None):
    """A segment of a class, as FlairSeg's segmentations have it.

    Parameters
    ----------
    label_class : LabelClass
    layer : vtkOrientedImageData
        Its layer; voxels have the value of the class; segments may share it.
    tags : mapping of str to str, optional
    """
    segment = slicer.vtkSegment()
    segment.SetName(label_class.name)
    segment.SetColor(*label_class.rgb_unit)
    segment.SetTerminology(label_class.terminology_entry)
    # Ours: Slicer shall not replace them by those of the terminology.
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    for key, value in (tags or {}).items():
        segment.SetTag(key, value)
    segment.SetLabelValue(label_class.value)
    segment.AddRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(), layer)
    return segment


def add_segments(node, labels: np.ndarray, volume_node) -> None:
    """Add a segment for each class that occurs, all on one layer; no other node is added or removed meanwhile.

    Parameters
    ----------
    node : vtkMRMLSegmentationNode
    labels : ndarray of uint8, shape (K, J, I)
        Labels 0..3.
    volume_node : vtkMRMLScalarVolumeNode
        On whose grid they are.

    Raises
    ------
    ValueError
        The labels have another shape than the volume.
    """
    grid = grid_of(node, volume_node)
    if labels.shape != grid.shape:
        raise ValueError(f"labels of {labels.shape} voxels on a volume of {grid.shape}")
    layer = _image(labels, tuple(slice(0, size) for size in grid.shape), grid)
    present = set(np.unique(labels).tolist())
    for label_class in CLASSES:
        if label_class.value in present:
            node.GetSegmentation().AddSegment(new_segment(label_class, layer), label_class.id)


def write(node, grid: VolumeGeometry, box: Box, before: np.ndarray, after: np.ndarray) -> None:
    """Change part of a segmentation node from some labels to others; voxels that are equal in both are not touched.

    Parameters
    ----------
    node : vtkMRMLSegmentationNode
    grid : VolumeGeometry
    box : Box
        Part of the grid, K, J, I.
    before, after : ndarray of uint8
        Labels within the box.
    """
    changed = before != after
    contents = node.GetSegmentation()
    segments = segments_by_class(node)
    for value in range(1, NUMBER_OF_CLASSES):
        if value not in segments and (changed & (after == value)).any():
            segments[value] = _add_segment(node, value)
    layers = {value: contents.GetLayerIndex(segment_id) for value, segment_id in segments.items()}
    surfaces = contents.ContainsRepresentation(
        slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    )
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for value, segment_id in segments.items():
        # What another class of the same layer gains is lost by that alone; voxels of another layer would stay.
        elsewhere = [other for other in layers if other != value and layers[other] != layers[value]]
        lost = changed & np.isin(after, [BACKGROUND, *elsewhere])
        if not elsewhere:
            lost &= before == value
        if lost.any() and layers[value] >= 0:
            _erase(node, segment_id, grid, box, lost)
    for value, segment_id in segments.items():
        gained = changed & (after == value)
        if gained.any():
            others = [other for other in segments.values() if other != segment_id]
            logic.SetBinaryLabelmapToSegment(
                _image(gained, box, grid), node, segment_id, logic.MODE_MERGE_MASK, _extent(box), False, others
            )
    if surfaces:
        # Voxels changed in place leave a segment without its surface.
        node.CreateClosedSurfaceRepresentation()


def _erase(node, segment_id: str, grid: VolumeGeometry, box: Box, lost: np.ndarray) -> None:
    """Take voxels (bool, within the box) out of a segment.

    In place where the layer is on the grid: Slicer's logic would move the segment to a separate layer, and classes
    of different layers can overlap.
    """
    segment = node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())
    placement = _place(image, grid)
    if placement is None:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.SetBinaryLabelmapToSegment(_image(~lost, box, grid), node, segment_id, logic.MODE_MERGE_MIN, _extent(box))
        return
    # A view, whatever the order of the layer's axes: what is written here is written there.
    voxels, place = placement.arrange(_voxels(image)), placement.start
    common = [slice(max(b.start, p), min(b.stop, p + n)) for b, p, n in zip(box, place, voxels.shape, strict=True)]
    if any(s.start >= s.stop for s in common):
        return
    part = voxels[tuple(slice(s.start - p, s.stop - p) for s, p in zip(common, place, strict=True))]
    gone = lost[tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(common, box, strict=True))]
    gone = gone & (part == segment.GetLabelValue())
    if gone.any():
        part[gone] = 0
        image.GetPointData().GetScalars().Modified()
        image.Modified()


def _class_by_code(segment) -> int | None:
    terminology = vtk.mutable("")
    segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology)
    return next((c.value for c in CLASSES if f"{c.code.scheme}^{c.code.value}^" in str(terminology)), None)


def _class_by_name(segment) -> int | None:
    return class_of_name(segment.GetName() or "")


def _add_segment(node, value: int) -> str:
    label_class = next(c for c in CLASSES if c.value == value)
    contents = node.GetSegmentation()
    contents.AddEmptySegment(label_class.id, label_class.name, label_class.rgb_unit)
    segment = contents.GetSegment(label_class.id)
    segment.SetTerminology(label_class.terminology_entry)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    return label_class.id


def _place(image, grid: VolumeGeometry) -> Placement | None:
    """Position of a layer on the grid; None if it has other voxels."""
    layer = _grid_of_image(image)
    return grid.locate(layer) if layer is not None else None


def _voxels(image) -> np.ndarray:
    extent = image.GetExtent()
    shape = [extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0)]
    return vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)


def _extent(box: Box) -> tuple[int, ...]:
    return tuple(n for axis in reversed(box) for n in (axis.start, axis.stop - 1))


def _image(mask: np.ndarray, box: Box, grid: VolumeGeometry):
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*_extent(box))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())[:] = mask.astype(np.uint8).ravel()
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
    return image
