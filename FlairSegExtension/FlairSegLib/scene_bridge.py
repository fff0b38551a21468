"""Volume node -> :class:`flairseg.image.volume.Volume`, and :class:`flairseg.segmentation.result.Segmentation` ->
segmentation node.

MRML and FlairSeg speak the same frame: arrays K, J, I as ``slicer.util`` gives them, affines I, J, K -> RAS in mm. So
the voxels are handed over as they lie in the node, never as they lie in a file (Slicer re-orders the slices of
left-handed NIfTI files when it loads them), and nothing is flipped or resampled in either direction.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from flairseg.errors import (
    CaseWarning,
    InputChangedError,
    InputNotFoundError,
    InvalidGeometryError,
    UnsupportedImageError,
)
from flairseg.files.headers import header_warnings
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.packed import CompactAnswer
from flairseg.image.volume import Volume
from flairseg.labels import CLASSES
from flairseg.segmentation.result import Segmentation
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from . import drawing, provenance
from .segment_voxels import grid_of, new_segment

#: Node references of a segmentation node.
INPUT_ROLE, PROBABILITIES_ROLE = "FlairSeg.input", "FlairSeg.probabilities"
#: The model's own labels, as :attr:`flairseg.image.packed.CompactAnswer.labels_text`, and the affine of their grid (16
#: numbers, row by row, IJK -> RAS before parent transforms).
LABELS_ATTRIBUTE, GRID_ATTRIBUTE = "FlairSeg.labels", "FlairSeg.grid"
#: The regions of the brain on a volume node, kept as the labels are.
REGIONS_ATTRIBUTE, REGIONS_GRID_ATTRIBUTE = "FlairSeg.regions", "FlairSeg.regions_grid"
#: Attribute of the hidden volume.
KIND_ATTRIBUTE, PROBABILITIES_KIND = "FlairSeg.kind", "probabilities"
#: Bytes copied in one step of the GUI thread: a few milliseconds.
PIECE_BYTES = 1 << 22


def volume_from_node(volume_node) -> Volume:
    """The voxels of a scalar volume node and its place in the world.

    Parameters
    ----------
    volume_node : vtkMRMLScalarVolumeNode
        A node of the scene. Linear parent transforms, hardened or not, are part of ``ijk_to_ras``: the axis that runs
        through the slices and the side of the head are those that Slicer's views show.

    Returns
    -------
    Volume
        ``array`` (K, J, I) is a copy: what happens to the node during a run does not touch the run.
        ``ijk_to_ras`` in mm, RAS, world. ``name`` is the node's.

    Raises
    ------
    InputNotFoundError
        No node, a node that is no longer in a scene, or a node without voxels.
    UnsupportedImageError
        Not a scalar volume: label map, vector (RGB), diffusion or tensor volume.
    InvalidGeometryError
        The volume is under a non-linear transform.
    """
    affine = _affine_of(volume_node)
    return Volume(slicer.util.arrayFromVolume(volume_node).copy(), affine, volume_node.GetName())


@dataclass(frozen=True)
class TakenVolume:
    """A volume as it was when a run began; says later whether it still is.

    ``header_warnings``: what the file that it came from leaves open about its geometry.
    """

    volume: Volume
    local: np.ndarray
    mtime: int
    header_warnings: tuple[CaseWarning, ...] = ()


def take_volume(volume_node) -> Generator[float, None, TakenVolume]:
    """:func:`volume_from_node` in short steps, for the GUI thread; yields the fraction done.

    Raises
    ------
    FlairSegError
        As :func:`volume_from_node`, at the first step; :class:`InputChangedError` if the voxels change between steps.
    """
    affine = _affine_of(volume_node)
    told = header_warnings_of(volume_node)
    local, mtime = _local_matrix(volume_node), _voxels_mtime(volume_node)
    source = _flat_voxels(volume_node)
    copy = np.empty(source.shape, source.dtype)
    for part in pieces(source):
        # Asked for again at each step: between two of them Slicer may have moved or freed the voxels.
        check_volume_node(volume_node)
        source = _flat_voxels(volume_node)
        if _voxels_mtime(volume_node) != mtime or source.shape != copy.shape or source.dtype != copy.dtype:
            raise _changed(volume_node)
        copy[part] = source[part]
        yield part.stop / max(copy.size, 1)
    volume = Volume(copy.reshape(_shape(volume_node)), affine, volume_node.GetName())
    return TakenVolume(volume, local, mtime, told)


def check_unchanged(taken: TakenVolume, volume_node) -> Generator[float, None, None]:
    """Refuse a volume whose voxels or grid changed since it was taken; in short steps, yields the fraction done.

    A parent transform may have changed: labels lie on the voxels, wherever these go. Voxels that were only touched, and
    are what they were, are fine.

    Raises
    ------
    InputChangedError
        Something changed.
    InputNotFoundError, UnsupportedImageError
        As :func:`volume_from_node`.
    """
    check_volume_node(volume_node)
    if not np.allclose(_local_matrix(volume_node), taken.local, rtol=0, atol=1e-6):
        raise _changed(volume_node)
    if _voxels_mtime(volume_node) == taken.mtime:
        return
    then = taken.volume.array.reshape(-1)
    for part in pieces(then):
        check_volume_node(volume_node)
        now = _flat_voxels(volume_node)
        # As bytes: what is no number equals itself.
        if now.shape != then.shape or now.dtype != then.dtype or now[part].tobytes() != then[part].tobytes():
            raise _changed(volume_node)
        yield part.stop / max(then.size, 1)


def segmentation_to_node(segmentation: Segmentation, volume_node):
    """A new segmentation node that lies on a volume node, with one segment per class.

    Ids, names, colours and terminology are those of :data:`flairseg.labels.CLASSES`; a class without a voxel becomes an
    empty segment. The volume's grid is the node's reference geometry, and the node gets the volume's parent transform,
    so that it stays on the image wherever that goes. Nothing is overwritten: every call makes a node of its own, named
    ``<volume> segmentation v<N>`` with the next free N. The segments share one layer, cut to where there is something.

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
    local = _local_matrix(volume_node)
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
    _ = answer.labels_text
    yield 0.95
    _check_on_grid(segmentation, volume_node)
    with drawing.once():
        return _add_nodes(segmentation, volume_node, layer, levels, answer, name, shown)


def input_of(segmentation_node):
    """The volume node that a segmentation was made from; None if it is not in the scene."""
    return segmentation_node.GetNodeReference(INPUT_ROLE)


@dataclass(frozen=True)
class KeptAnswer:
    """What a scene keeps of the model's own answer, as it lies there; :meth:`answer` unpacks it, in any thread.

    Attributes
    ----------
    grid : VolumeGeometry
        That the input volume has now (Slicer may have re-ordered its slices when it loaded it again), else the
        segmentation's own.
    text : str
        Labels, see :data:`LABELS_ATTRIBUTE`.
    then : ndarray, shape (4, 4)
        Affine of the labels' grid, IJK -> RAS.
    levels : ndarray of uint8, shape (k, j, i, 3) or (k, j, i, 4), or None
        Voxels of the hidden volume, see :class:`~flairseg.image.packed.CompactAnswer`. Not a copy: numpy keeps Slicer's
        memory alive, and nobody edits that volume.
    levels_affine : ndarray, shape (4, 4), or None
        Where they lie.
    """

    grid: VolumeGeometry
    text: str
    then: np.ndarray
    levels: np.ndarray | None = None
    levels_affine: np.ndarray | None = None

    def answer(self) -> CompactAnswer | None:
        """The answer on :attr:`grid`; None if it cannot be read, or lies on no voxels of it.

        Takes a quarter of a second for a large volume. ``levels`` is None where the probabilities were not saved.
        """
        try:
            kept = CompactAnswer.from_labels_text(self.text)
        except ValueError:
            logging.warning("FlairSeg: the labels kept with a segmentation cannot be read.")
            return None
        then, grid = self.then, self.grid
        voxels, levels = kept.labels[..., None], None
        if self.levels is not None:
            # Files may give the hidden volume back in another order, too.
            placed = _placed(self.levels, self.levels_affine, VolumeGeometry(kept.shape, then))
            if placed is not None and placed[1] == kept.start and placed[0].shape[:3] == kept.labels.shape:
                levels = placed[0]
        if kept.shape == grid.shape and _hardened(VolumeGeometry(kept.shape, then), grid):
            # The volume's transform was hardened: its voxels are those of then, in the same order.
            then = grid.ijk_to_ras
        corner = VolumeGeometry(kept.shape, then).part(kept.start, kept.labels.shape).ijk_to_ras
        placed = _placed(voxels, corner, grid)
        if placed is None:
            return None
        voxels, start = placed
        if levels is not None:
            levels = np.ascontiguousarray(_placed(levels, corner, grid)[0])
        try:
            return CompactAnswer(grid.shape, start, np.ascontiguousarray(voxels[..., 0]), levels)
        except ValueError:
            # The volume was cropped, or another one took its place.
            return None


def warnings_of(segmentation_node) -> list[CaseWarning]:
    """The warnings noted on a segmentation node, with their codes where the node has them."""
    texts, codes = (
        (segmentation_node.GetAttribute(name) or "").splitlines()
        for name in ("FlairSeg.warnings", "FlairSeg.warning_codes")
    )
    codes = codes if len(codes) == len(texts) else ["note"] * len(texts)
    return [CaseWarning(text, code) for text, code in zip(texts, codes, strict=True) if text]


def kept_answer_of(segmentation_node) -> KeptAnswer | None:
    """What is kept of the model's own answer that a segmentation began with; None if nothing is.

    Reads addresses only: for the GUI thread, whatever the size of the volume.
    """
    grid = grid_of(segmentation_node, input_of(segmentation_node))
    text, then = segmentation_node.GetAttribute(LABELS_ATTRIBUTE), _matrix_of(segmentation_node, GRID_ATTRIBUTE)
    if grid is None or not text or then is None:
        return None
    hidden = segmentation_node.GetNodeReference(PROBABILITIES_ROLE)
    if hidden is None or hidden.GetImageData() is None:
        return KeptAnswer(grid, text, then)
    return KeptAnswer(grid, text, then, slicer.util.arrayFromVolume(hidden), _local_matrix(hidden))


def keep_regions(volume_node, text: str) -> None:
    """Keep the regions of the brain with their volume, for all segmentations of it and for the saved scene.

    Parameters
    ----------
    volume_node : vtkMRMLScalarVolumeNode
    text : str
        Region codes on the volume's grid as :attr:`flairseg.image.packed.CompactAnswer.labels_text`.
    """
    volume_node.SetAttribute(REGIONS_GRID_ATTRIBUTE, _sheet(_local_matrix(volume_node)))
    volume_node.SetAttribute(REGIONS_ATTRIBUTE, text)


def kept_regions_of(volume_node) -> KeptAnswer | None:
    """What :func:`keep_regions` kept, on the grid that the volume has now; None if nothing is kept.

    Its ``answer()`` holds region codes in place of labels.
    """
    if volume_node is None or volume_node.GetImageData() is None:
        return None
    text, then = volume_node.GetAttribute(REGIONS_ATTRIBUTE), _matrix_of(volume_node, REGIONS_GRID_ATTRIBUTE)
    if not text or then is None:
        return None
    return KeptAnswer(VolumeGeometry(_shape(volume_node), _local_matrix(volume_node)), text, then)


def answer_of(segmentation_node) -> CompactAnswer | None:
    """The model's own answer that a segmentation began with, copied out of the scene; None if it is not known.

    For scripts; a panel takes :func:`kept_answer_of` and unpacks that in a thread.
    """
    kept = kept_answer_of(segmentation_node)
    return None if kept is None else kept.answer()


def probabilities_of(segmentation_node) -> np.ndarray | None:
    """The model's probabilities, float16, (4, K, J, I) on the input volume's grid; None if they are not known.

    To within 1/510. For a large volume see :func:`answer_of`.
    """
    answer = answer_of(segmentation_node)
    return None if answer is None else answer.full_probabilities()


def original_labels_of(segmentation_node) -> np.ndarray | None:
    """The model's own labels, uint8, (K, J, I) on the input volume's grid, whatever was edited; None if unknown."""
    answer = answer_of(segmentation_node)
    return None if answer is None else answer.full_labels()


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


def check_volume_node(node) -> None:
    """Refuse what is no volume with one value per voxel; raises as :func:`volume_from_node`, transforms aside."""
    if node is None or node.GetScene() is None:
        raise InputNotFoundError("There is no volume to segment.", "Load a FLAIR and choose it in the volume selector.")
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise UnsupportedImageError(f"'{node.GetName()}' is not a volume.", "Choose a FLAIR volume.")
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise InputNotFoundError(f"The volume '{node.GetName()}' has no voxels.", "Load the FLAIR again.")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise UnsupportedImageError(
            f"'{node.GetName()}' is a label map.",
            "Choose the FLAIR itself, or load it again without the option LabelMap.",
        )
    if node.GetClassName() != "vtkMRMLScalarVolumeNode" or image.GetNumberOfScalarComponents() != 1:
        raise UnsupportedImageError(
            f"'{node.GetName()}' has several values per voxel (colour, vector or diffusion).",
            "Choose a volume with one value per voxel.",
        )


def header_warnings_of(node) -> tuple[CaseWarning, ...]:
    """What the file of a volume leaves open or contradicts about voxel size and orientation: the core's rule.

    Slicer reads such files without a word. Of a volume that was changed since it was read, its spacing corrected for
    instance, nothing is said.

    Raises
    ------
    InvalidGeometryError
        The file gives two voxel sizes, or none that is possible.
    """
    storage = node.GetStorageNode()
    if storage is None or not storage.GetFileName() or node.GetModifiedSinceRead():
        return ()
    return header_warnings(storage.GetFileName())


def _world_matrix(node) -> np.ndarray:
    """Parent transforms of a node as one 4 x 4 matrix, local RAS -> world RAS."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InvalidGeometryError(
            f"'{node.GetName()}' is under a transform that bends it (non-linear).",
            "Harden the transform in the module Transforms, then segment the hardened volume.",
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _sheet(matrix: np.ndarray) -> str:
    """A 4 x 4 matrix as the text of an attribute."""
    return " ".join(f"{number:.17g}" for number in matrix.ravel())


def _matrix_of(node, attribute: str) -> np.ndarray | None:
    """The matrix in an attribute; None if there is none."""
    try:
        return np.array([float(number) for number in (node.GetAttribute(attribute) or "").split()]).reshape(4, 4)
    except ValueError:
        if node.GetAttribute(attribute):
            logging.warning("FlairSeg: a matrix kept with a node cannot be read.")
        return None


def _check_on_grid(segmentation: Segmentation, volume_node) -> None:
    check_volume_node(volume_node)
    grid = _shape(volume_node)
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
    local = _local_matrix(volume_node)
    node = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
    node.UnRegister(None)
    node.SetName(name)
    attributes = {
        "FlairSeg.device": segmentation.device_used,
        "FlairSeg.warnings": "\n".join(segmentation.warnings),
        "FlairSeg.warning_codes": "\n".join(CaseWarning.of(w).code for w in segmentation.warnings),
        provenance.VERSION_NUMBER: str(number) or None,
        LABELS_ATTRIBUTE: answer.labels_text,
        GRID_ATTRIBUTE: _sheet(local),
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
            for label_class in CLASSES:
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


def pieces(flat: np.ndarray) -> Iterator[slice]:
    """A flat array in parts that are copied within a few milliseconds."""
    step = max(1, PIECE_BYTES // flat.itemsize)
    for first in range(0, flat.size, step):
        yield slice(first, min(first + step, flat.size))


def _placed(
    voxels: np.ndarray, ijk_to_ras: np.ndarray, grid: VolumeGeometry
) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """Voxels (k, j, i, ...) in the axis order of a grid, and where the first one lies; None if on no voxels of it."""
    found = grid.locate(VolumeGeometry(voxels.shape[:3], ijk_to_ras))
    if found is None:
        return None
    return np.moveaxis(found.arrange(np.moveaxis(voxels, -1, 0)), 0, -1), found.start


def _hardened(then: VolumeGeometry, now: VolumeGeometry) -> bool:
    """Whether a grid was turned or stretched since, and not merely stored with its axes in another order."""
    moved = then.ijk_to_ras.copy()
    moved[:3, 3] = now.ijk_to_ras[:3, 3]
    re_ordered = now.locate(VolumeGeometry(then.shape, moved)) is not None
    return then.is_right_handed == now.is_right_handed and not re_ordered


def _corner(local: np.ndarray, answer: CompactAnswer) -> np.ndarray:
    """The affine of the box of an answer's voxels."""
    return VolumeGeometry(answer.shape, local).part(answer.start, answer.labels.shape).ijk_to_ras.copy()


def _changed(node) -> InputChangedError:
    return InputChangedError(
        _("The volume '{name}' changed while it was being segmented.").format(name=node.GetName()),
        _("Segment it again as it is now."),
    )


def _shape(node) -> tuple[int, int, int]:
    return tuple(reversed(node.GetImageData().GetDimensions()))


def _flat_voxels(node) -> np.ndarray:
    return vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(-1)


def _voxels_mtime(node) -> int:
    return node.GetImageData().GetMTime()


def _local_matrix(node) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _affine_of(node) -> np.ndarray:
    """Voxel indices to world RAS, once the node is known to be a volume that can be segmented."""
    check_volume_node(node)
    return _world_matrix(node) @ _local_matrix(node)


def _file_beside(node, volume_node) -> None:
    """Put the node beside its volume in the subject hierarchy (patient, study), where DICOM export looks for it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    if hierarchy is None:
        return
    item, sibling = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volume_node)
    if item and sibling:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(sibling))
