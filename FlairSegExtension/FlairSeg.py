"""Module "FLAIR Segmentation" of 3D Slicer: what Slicer is told about it, and a logic of a few calls.

The method is in the package ``flairseg``, what joins it to the scene in ``FlairSegLib``. Importing this file loads
neither onnxruntime nor scikit-image; they are imported when a volume is segmented for the first time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from FlairSegLib import dependencies, scene_bridge
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleLogic

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.progress import CancelToken, ProgressCallback


class FlairSeg(ScriptedLoadableModule):
    """Title, category, help and credits of the module."""

    def __init__(self, parent):
        super().__init__(parent)
        self.parent.title = _("FLAIR Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Volumes"]
        self.parent.contributors = ["The FlairSeg authors"]
        self.parent.helpText = _(
            "<p>Segments the ventricles (blue), normal periventricular white matter hyperintensity (green) and MS"
            " lesions (red) on one brain FLAIR, on the volume's own grid.</p>"
            "<p>From the Python console: <code>FlairSegLogic().process(getNode('FLAIR'))</code>.</p>"
            "<p>Method: the stages and the normal / abnormal distinction follow M. Bashiri Bawil, M. Shamsi,"
            " A. Shakeri Bavil and A. F. Jafargholkhanloo, <i>wmh-normal-abnormal-segmentation</i>. What a model was"
            " trained on, and how well it measured, stands in its card.</p>"
            "<p><b>Research use only - not a medical device.</b></p>"
        )
        self.parent.acknowledgementText = _(
            "<p>Data: MRI_MS_Insights (M. Bashiri Bawil et al.); open_ms_data (&Zcaron;. Lesjak et al.,"
            " Neuroinformatics 2016, doi:10.1007/s12021-016-9301-1, and 2017, doi:10.1007/s12021-017-9348-7); the"
            " SynthSeg label maps (B. Billot et al., Medical Image Analysis 2023,"
            " doi:10.1016/j.media.2023.102789).</p>"
        )
        # A logic without a panel so far: for the Python console and scripts, not yet for the menu.
        self.parent.hidden = True


class FlairSegLogic(ScriptedLoadableModuleLogic):
    """Runs FlairSeg on nodes of the scene; usable from the Python console and from ``--python-script``."""

    def process(
        self,
        volumeNode,
        modelId: str | None = None,
        device: str = "auto",
        progress: ProgressCallback | None = None,
        cancel: CancelToken | Callable[[], bool] | None = None,
    ):
        """Segment a FLAIR volume into a new segmentation node.

        Parameters
        ----------
        volumeNode : vtkMRMLScalarVolumeNode
            Brain FLAIR, any orientation; linear parent transforms are honoured.
        modelId : str, optional
            Id of a model, or path to one; default: the embedded model.
        device : str
            ``auto``, ``cpu`` or ``cuda``.
        progress : callable, optional
            ``progress(fraction, stage)``, fraction in [0, 1].
        cancel : CancelToken or callable, optional
            A token, or a function that returns True once the user has cancelled.

        Returns
        -------
        vtkMRMLSegmentationNode
            Always a new node, see :func:`FlairSegLib.scene_bridge.segmentation_to_node`.

        Raises
        ------
        flairseg.errors.FlairSegError
            With advice, if the volume cannot be segmented, and ``Cancelled`` if the user cancelled; the scene is then
            as it was.
        """
        segment = dependencies.load_segment()
        volume = scene_bridge.volume_from_node(volumeNode)
        segmentation = segment(volume, model=modelId, device=device, progress=progress, cancel=cancel)
        return scene_bridge.segmentation_to_node(segmentation, volumeNode)
