"""The module's parameters: what a scene remembers of the panel when it is saved."""

# No ``from __future__ import annotations`` here: the decorator reads the types of the fields.

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class FlairSegParameters:
    """State of the panel.

    Attributes
    ----------
    inputVolume : vtkMRMLScalarVolumeNode
        The FLAIR.
    inputChosen : bool
        Whether the user chose it: what was chosen is never replaced by a proposal.
    modelId : str
        Empty: the default model.
    segmentation : vtkMRMLSegmentationNode
        The result that is shown.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputChosen: bool = False
    modelId: str = ""
    segmentation: vtkMRMLSegmentationNode
