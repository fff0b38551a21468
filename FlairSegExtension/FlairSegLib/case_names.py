"""Name of the case that a volume of the scene belongs to, by the rule that the command line has."""

from __future__ import annotations

from flairseg.files.names import case_name, is_common

from . import dicom_source


def case_of(volume_node) -> str:
    """Return the node's name if it identifies the case; else that of its file or DICOM series.

    A volume that was loaded from ``p1/flair.nii.gz`` is called ``flair``, as everyone's is; its case is ``p1_flair``.

    Parameters
    ----------
    volume_node : vtkMRMLVolumeNode

    Returns
    -------
    str
        The node's name if there is nothing more specific.
    """
    name = volume_node.GetName() or ""
    if name and not is_common(name):
        return name
    file = _file_of(volume_node) or next(iter(dicom_source.files(volume_node)), "")
    return case_name(file) if file else name


def _file_of(node) -> str:
    storage = node.GetStorageNode()
    return (storage.GetFileName() or "") if storage is not None else ""
