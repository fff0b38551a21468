""":class:`flairseg.segmentation.result.Segmentation` to a segmentation node on its volume node.

MRML and FlairSeg use the same frame: arrays K, J, I as ``slicer.util`` gives them, affines I, J, K -> RAS in mm. So the
voxels are those of the node, never those of the file (Slicer re-orders the slices of left-handed NIfTI files when it
loads them), and nothing is flipped or resampled in either direction. :mod:`.volume_nodes` is the way from a volume
node, :mod:`.kept_answers` what the scene keeps of an answer.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import asdict

import numpy as np
import slicer
import vtk
from flairseg.errors import (
    CaseWarning,
    InvalidGeometryError,
)
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.packed import CompactAnswer
from flairseg.segmentation.result import Segmentation
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from . import drawing, following, provenance
from .kept_answers import (
    BEYOND_ATTRIBUTE,
    CONFIDENCE_ATTRIBUTE,
    FILL_ATTRIBUTE,
    GRID_ATTRIBUTE,
    LABELS_ATTRIBUTE,
    MINIMUM_ATTRIBUTE,
    PROBABILITIES_ROLE,
    matrix_text,
)
from .segment_voxels import INPUT_ROLE, new_segment
from .volume_nodes import (
    check_volume_node,
    local_matrix,
    pieces,
    shape_of,
)

#: Attribute of the hidden volume.
KIND_ATTRIBUTE, PROBABILITIES_KIND = "FlairSeg.kind", "probabilities"


def segmentation_to_node(segmentation: Segmentation, volume_node):
    """A new segmentation node on the grid of a volume node, with one segment per assessed class.

    Ids, names, colours and terminology are those of :data:`flairseg.labels.CLASSES`. A class that the model segments
    but did not find becomes an empty segment; one that it does not segment has none. The volume's grid is the node's
    reference geometry, and the node gets the volume's parent transform, so that it stays on the image wherever that
    goes. Nothing is overwritten: every call makes a new node, named ``<volume> segmentation v<N>`` with the next
    free N. The segments share one layer, cut to where there is something.

    Parameters
    ----------
    segmentation : flairseg.segmentation.result.Segmentation
        Its ``labels``: uint8, (K, J, I), on the volume node's grid. Where they come from, the device that was used and
        the warnings are noted on the node.
    volume_node : vtkMRMLScalarVolumeNode
        The node that was segmented.

    Returns
    -------
    vtkMRMLSegmentationNode
        Segments carry the tags ``FlairSeg.model``, ``.model_sha256``, ``.version``, ``.created`` (UTC, ISO 8601),
        ``.algorithm_type`` and ``.verdict``; the node carries the attributes ``FlairSeg.device``,
        ``FlairSeg.warnings`` and ``FlairSeg.warning_codes`` (one per line) and ``FlairSeg.version_number``, and
        references the volume (:data:`INPUT_ROLE`) and a hidden volume of probabilities
        (:data:`PROBABILITIES_ROLE`), see :func:`probabilities_of` and :func:`original_labels_of`.

    Raises
    ------
    InputNotFoundError, UnsupportedImageError, InvalidGeometryError
        As :func:`volume_from_node`, for a volume that was changed or deleted while it was being segmented.
    InvalidGeometryError
        The labels are not on the volume node's grid.
    """
    steps = segmentation_steps(segmentation, volume_node)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def segmentation_steps(
    segmentation: Segmentation, volume_node, name: str = "", shown: bool = True
) -> Generator[float, None, object]:
    """:func:`segmentation_to_node` in short steps, for the GUI thread; yields the fraction done, returns the node.

    The scene is changed in the last step only: what stops between two steps leaves nothing behind. With a name the
    node is none of the volume's numbered versions; a name that is taken already gets a number. What is not ``shown``
    never appears in the views.
    """
    _check_on_grid(segmentation, volume_node)
    answer = segmentation.compact_answer()
    local = local_matrix(volume_node)
    layer = slicer.vtkOrientedImageData()
    _set_extent(layer, answer)
    layer.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(local))
    voxels = answer.labels.size + (0 if answer.levels is None else answer.levels.size)
    done = 0
    for count in _fill_image(layer, answer.labels.reshape(-1, 1)):
        done += count
        yield 0.9 * done / voxels
    levels = None
    if answer.levels is not None:
        levels = vtk.vtkImageData()
        levels.SetDimensions(*answer.labels.shape[::-1])
        for count in _fill_image(levels, answer.levels.reshape(-1, answer.levels.shape[-1])):
            done += count
            yield 0.9 * done / voxels
    _ = answer.labels_text, answer.beyond_text
    yield 0.95
    _check_on_grid(segmentation, volume_node)
    with drawing.once():
        return _add_nodes(segmentation, volume_node, layer, levels, answer, name, shown)


def remove(node) -> None:
    """Take a node out of its scene, with its display, its storage and the hidden volume of a segmentation."""
    scene = node.GetScene()
    if scene is None:
        return
    parts = [node.GetNodeReference(PROBABILITIES_ROLE)]
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        parts.append(node.GetStorageNode())
    for part in (*parts, node):
        if part is not None:
            scene.RemoveNode(part)


def _check_on_grid(segmentation: Segmentation, volume_node) -> None:
    check_volume_node(volume_node)
    grid = shape_of(volume_node)
    if segmentation.labels.shape != grid:
        # Slicer would accept any shape, and show it in the wrong place.
        raise InvalidGeometryError(
            _("The labels have {labels} voxels (K, J, I), the volume has {grid}.").format(
                labels=segmentation.labels.shape, grid=grid
            ),
            _("Segment the volume again: its grid has changed since."),
        )


def _add_nodes(segmentation: Segmentation, volume_node, layer, levels, answer: CompactAnswer, name: str, shown: bool):
    """The scene's part, in one go: either all of it is there afterwards, or nothing."""
    scene = volume_node.GetScene()
    _remove_orphans(scene)
    number = ""
    if name:
        name = provenance.free_name(scene, name)
    else:
        name, number = provenance.next_version(scene, volume_node.GetName())
    local = local_matrix(volume_node)
    node = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
    node.UnRegister(None)
    node.SetName(name)
    confidence, minimum = segmentation.lesion_confidence, segmentation.min_lesion_mm3
    attributes = {
        "FlairSeg.device": segmentation.device_used,
        "FlairSeg.warnings": "\n".join(segmentation.warnings),
        "FlairSeg.warning_codes": "\n".join(CaseWarning.of(w).code for w in segmentation.warnings),
        provenance.VERSION_NUMBER: str(number) or None,
        LABELS_ATTRIBUTE: answer.labels_text,
        GRID_ATTRIBUTE: matrix_text(local),
        CONFIDENCE_ATTRIBUTE: json.dumps(asdict(confidence)) if confidence is not None else None,
        MINIMUM_ATTRIBUTE: None if minimum is None else f"{minimum:g}",
        BEYOND_ATTRIBUTE: answer.beyond_text or None,
        FILL_ATTRIBUTE: segmentation.fills_holes or None,
    }
    # Before the scene hears of it, and the rest as one change: each change takes Slicer some milliseconds.
    for key, value in attributes.items():
        node.SetAttribute(key, value)
    scene.AddNode(node)
    hidden = None
    try:
        with slicer.util.NodeModify(node):
            # First of all: Slicer moves the grid and the voxels that follow from the volume's frame into the
            # segmentation's. A grid set earlier would be another one, to which Slicer resamples when it saves.
            node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
            node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
            tags = provenance.first_tags(segmentation)
            contents = node.GetSegmentation()
            for label_class in segmentation.assessed_classes():
                # One layer for all: the classes exclude each other, and it is what Slicer's editor would keep.
                contents.AddSegment(new_segment(label_class, layer, tags), label_class.id)
            node.SetNodeReferenceID(INPUT_ROLE, volume_node.GetID())
            if levels is not None:
                hidden = _hidden_volume(scene, f"{name} probabilities", levels)
                hidden.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_corner(local, answer)))
                hidden.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
                node.SetNodeReferenceID(PROBABILITIES_ROLE, hidden.GetID())
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetVisibility(shown)
    except BaseException:
        for added in (hidden, node.GetDisplayNode(), node):
            if added is not None:
                scene.RemoveNode(added)
        raise
    _file_beside(node, volume_node)
    following.follow(node)
    return node


def _hidden_volume(scene, name: str, image):
    """A volume node in no list of the user's, saved with the scene, never displayed."""
    node = scene.CreateNodeByClass("vtkMRMLVectorVolumeNode")
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(True)
    node.SetAttribute(KIND_ATTRIBUTE, PROBABILITIES_KIND)
    node.SetAndObserveImageData(image)
    return scene.AddNode(node)


def _remove_orphans(scene) -> None:
    """Probabilities whose segmentation was deleted."""
    used = {
        node.GetNodeReferenceID(PROBABILITIES_ROLE)
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
    }
    for node in slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode", scene):
        if node.GetAttribute(KIND_ATTRIBUTE) == PROBABILITIES_KIND and node.GetID() not in used:
            scene.RemoveNode(node)


def _set_extent(image, answer: CompactAnswer) -> None:
    image.SetExtent(*(n for axis in reversed(answer.box) for n in (axis.start, axis.stop - 1)))


def _fill_image(image, values: np.ndarray) -> Iterator[int]:
    """Copy values, shape (voxels, components), uint8, into an image piece by piece; yields how many each time."""
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, values.shape[1])
    target = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(-1)
    source = values.reshape(-1)
    for part in pieces(source):
        target[part] = source[part]
        yield part.stop - part.start


def _corner(local: np.ndarray, answer: CompactAnswer) -> np.ndarray:
    """The affine of the box of an answer's voxels."""
    return VolumeGeometry(answer.shape, local).part(answer.start, answer.labels.shape).ijk_to_ras.copy()


def _file_beside(node, volume_node) -> None:
    """Put the node beside its volume in the subject hierarchy (patient, study), where DICOM export looks for it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    if hierarchy is None:
        return
    item, sibling = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volume_node)
    if item and sibling:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(sibling))
