"""Volume nodes -> :class:`flairseg.image.flair_selection.Candidate`: what Slicer knows of a loaded volume, without
copying it.
"""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import slicer
import vtk
from flairseg.image import flair_selection as proposal
from flairseg.image.volume import Volume

from . import segment_tags

#: DICOM tags that distinguish sequences; none identifies the patient.
TAGS = {
    "Modality": "0008,0060",
    "ImageType": "0008,0008",
    "SeriesDescription": "0008,103E",
    "ProtocolName": "0018,1030",
    "SequenceName": "0018,0024",
    "InversionTime": "0018,0082",
    "EchoTime": "0018,0081",
}
#: Approximate number of voxels sampled from a volume.
SAMPLE_VOXELS = 8000
_KINDS = (
    ("vtkMRMLLabelMapVolumeNode", proposal.LABEL_MAP),
    ("vtkMRMLDiffusionWeightedVolumeNode", proposal.DIFFUSION),
    ("vtkMRMLDiffusionImageVolumeNode", proposal.DIFFUSION),
    # Before its parent class.
    ("vtkMRMLVectorVolumeNode", proposal.COLOUR),
    ("vtkMRMLTensorVolumeNode", proposal.DIFFUSION),
)


def loaded() -> list[proposal.Candidate]:
    """All volumes of the scene that a user sees, in the order in which they were loaded.

    Volumes made by a follow-up are left out.
    """
    nodes = slicer.util.getNodesByClass("vtkMRMLVolumeNode")
    made = segment_tags.FOLLOWUP
    return [candidate(node) for node in nodes if not node.GetHideFromEditors() and not node.GetAttribute(made)]


def candidate(node) -> proposal.Candidate:
    """Known properties of one volume node.

    Parameters
    ----------
    node : vtkMRMLVolumeNode

    Returns
    -------
    Candidate
        ``key`` is the node's ID.
    """
    image = node.GetImageData()
    shape = tuple(reversed(image.GetDimensions())) if image is not None and image.GetNumberOfPoints() else (0, 0, 0)
    kind = _kind(node, image)
    scalar = kind in (proposal.SCALAR, proposal.LABEL_MAP)
    return proposal.Candidate(
        node.GetID(),
        node.GetName() or "",
        _file_name(node),
        _header(node),
        kind,
        shape,
        tuple(reversed(node.GetSpacing())),
        _sample(node) if scalar and all(shape) and image.GetPointData().GetScalars() is not None else None,
    )


def slices(node, plane: str = "native") -> int:
    """Number of slices that a model sees when it slices a volume in a plane; 0 for a volume without voxels."""
    from flairseg.image.slice_stack import SliceStack

    if node is None or not all(candidate_shape(node)):
        return 0
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    empty = np.broadcast_to(np.uint8(0), candidate_shape(node))
    return len(SliceStack.from_volume(Volume(empty, slicer.util.arrayFromVTKMatrix(matrix), ""), plane).array)


def candidate_shape(node) -> tuple[int, int, int]:
    """Voxels of a node along K, J, I; zeros without an image."""
    image = node.GetImageData()
    if image is None or not image.GetNumberOfPoints():
        return (0, 0, 0)
    return tuple(reversed(image.GetDimensions()))


def _kind(node, image) -> str:
    for class_name, kind in _KINDS:
        if node.IsA(class_name):
            return kind
    if image is not None and image.GetNumberOfScalarComponents() > 1:
        return proposal.SERIES
    return proposal.SERIES if _is_sequence_proxy(node) else proposal.SCALAR


def _is_sequence_proxy(node) -> bool:
    """Whether a volume is the current frame of a sequence (a 4-D series as Slicer loads it)."""
    browsers = slicer.mrmlScene.GetNodesByClass("vtkMRMLSequenceBrowserNode")
    browsers.UnRegister(None)
    for n in range(browsers.GetNumberOfItems()):
        browser = browsers.GetItemAsObject(n)
        if browser.GetSequenceNode(node) is not None and browser.GetNumberOfItems() > 1:
            return True
    return False


def _file_name(node) -> str:
    storage = node.GetStorageNode()
    return PurePath(storage.GetFileName()).name if storage is not None and storage.GetFileName() else ""


def _header(node) -> dict[str, str]:
    """DICOM attributes of the volume's first file, from Slicer's DICOM database."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return {}
    values = {keyword: database.instanceValue(uids[0], tag) for keyword, tag in TAGS.items()}
    return {keyword: str(value) for keyword, value in values.items() if value}


def _sample(node) -> np.ndarray:
    array = slicer.util.arrayFromVolume(node)
    step = max(1, round((array.size / SAMPLE_VOXELS) ** (1 / 3)))
    # Thin stacks keep all their slices: a step counts in voxels of the longest axes.
    steps = [min(step, max(1, n // 8)) for n in array.shape]
    return array[:: steps[0], :: steps[1], :: steps[2]].copy()
