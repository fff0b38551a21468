"""Module "FLAIR Segmentation" of 3D Slicer: registration, wiring of the panel, a logic of a few calls.

The method is in the package ``flairseg``, what joins it to the scene and the panel in ``FlairSegLib``. Importing this
file loads neither onnxruntime nor Qt; they are imported when they are first needed.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import slicer
from FlairSegLib import dependencies, scene_bridge, volume_nodes
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.progress import CancelToken, ProgressCallback
    from FlairSegLib.parameters import FlairSegParameters


class FlairSeg(ScriptedLoadableModule):
    """Title, category, help and credits of the module."""

    def __init__(self, parent):
        super().__init__(parent)
        self.parent.title = _("FLAIR Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "Volumes", "Terminologies"]
        self.parent.contributors = ["The FlairSeg authors"]
        self.parent.helpText = _(
            "<p>Segments the ventricles (blue), normal periventricular white matter hyperintensity (green) and MS"
            " lesions (red) on one brain FLAIR, on the volume's own grid.</p>"
            "<p>Load a FLAIR, check the proposed volume, press <b>Segment</b>. Correct errors, then accept or"
            " reject. Sample data: module <i>Sample Data</i>, group <i>FLAIR Segmentation</i>.</p>"
            "<p>From the Python console: <code>FlairSegLogic().process(getNode('FLAIR'))</code>.</p>"
            "<p>Method: the stages and the normal / abnormal distinction follow M. Bashiri Bawil, M. Shamsi,"
            " A. Shakeri Bavil and A. F. Jafargholkhanloo, <i>wmh-normal-abnormal-segmentation</i>. A model's card"
            " states its training data and measured performance.</p>"
            "<p><b>Research use only - not a medical device.</b></p>"
        )
        self.parent.acknowledgementText = _(
            "<p>Data: MRI_MS_Insights (M. Bashiri Bawil et al.); open_ms_data (&Zcaron;. Lesjak et al.,"
            " Neuroinformatics 2016, doi:10.1007/s12021-016-9301-1, and 2017, doi:10.1007/s12021-017-9348-7); the"
            " SynthSeg label maps (B. Billot et al., Medical Image Analysis 2023,"
            " doi:10.1016/j.media.2023.102789).</p>"
            "<p>Built on 3D Slicer (A. Fedorov et al., Magnetic Resonance Imaging 2012,"
            " doi:10.1016/j.mri.2012.05.001).</p>"
        )
        window = slicer.util.mainWindow()
        if window is not None and window.visible:
            # Loaded by hand into a running Slicer: the start-up event has passed.
            registerWithSlicer()
        else:
            slicer.app.connect("startupCompleted()", registerWithSlicer)


def registerWithSlicer() -> None:
    """Register with Slicer: sample data, terminology, layouts of saved scenes, results that follow their volumes.

    What is there already stays.
    """
    from FlairSegLib import following, sample_data, slice_layout, terminology

    following.start()
    sample_data.register()
    terminology.load()
    slice_layout.register()


class FlairSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Joins the sections of the panel, the scene and the logic; what each does is in :mod:`FlairSegLib.panel`."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._sections = []
        self.sliceLayout = None
        self._entered, self._picking = False, None
        #: ID of the volume for which a segmentation was looked for last.
        self._chosen = ""
        #: Whether the panel is whole, and what kept it from being so.
        self.built, self.buildError = False, None

    def setup(self) -> None:
        """Build the panel, once."""
        ScriptedLoadableModuleWidget.setup(self)
        try:
            self._build()
        except Exception as error:
            # Slicer prints the exception and continues with an incomplete panel; the self-test reports it.
            self.buildError = error
            raise
        self.built = True

    def _build(self) -> None:
        import qt
        from FlairSegLib.panel.case_section import CaseSection
        from FlairSegLib.panel.further_panel import FurtherPanel
        from FlairSegLib.panel.model_section import ModelSection
        from FlairSegLib.panel.result_panel import ResultPanel
        from FlairSegLib.panel.run_section import RunSection
        from FlairSegLib.panel.settings_section import SettingsSection
        from FlairSegLib.settings import FlairSegSettings
        from FlairSegLib.slice_layout import SliceLayout

        registerWithSlicer()
        widget = slicer.util.loadUI(self.resourcePath("UI/FlairSeg.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = FlairSegLogic()
        preferences = FlairSegSettings()
        self.case = CaseSection(self.ui, self._selectionChanged)
        self.model = ModelSection(self.ui, preferences, self._selectionChanged)
        self.run = RunSection(self.ui, self.case, self.model, preferences, self._finished)
        self.result = ResultPanel(
            self.ui.resultPlaceholder,
            preferences,
            barPlaceholder=self.ui.verdictPlaceholder,
            workers=self.run.controller.workers,
        )
        self.further = FurtherPanel(self.ui.furtherPlaceholder, preferences, self.case, self.model, self.result)
        self.settings = SettingsSection(self.ui, preferences)
        self.sliceLayout = SliceLayout()
        self.run.onStarted = self._started
        self.run.onNoResult = self._noResult
        self.result.result.onSurface = lambda shown: self.sliceLayout.back() if shown else None
        self.result.verdict.onFolder = self.settings.refresh
        self._sections = [self.case, self.run, self.result, self.further]
        # Once the selector and the parameters agree: each parameter that is set sets the selector.
        self._picking = qt.QTimer()
        self._picking.setSingleShot(True)
        self._picking.setInterval(0)
        self._picking.timeout.connect(self._pickUp)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._sceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._sceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self._sceneEndClose)
        self._initializeParameterNode()

    def cleanup(self) -> None:
        """Clean up with the panel: the run ends, all observers of the scene are removed."""
        self._setParameterNode(None)
        self.removeObservers()
        if self._picking is not None:
            self._picking.stop()
        for section in self._sections:
            section.cleanup()
        self._sections = []
        if self.sliceLayout is not None:
            self.sliceLayout.cleanup()

    def enter(self) -> None:
        """The panel is shown."""
        if not self.built:
            return
        self._entered = True
        self._initializeParameterNode()
        self.model.enter()
        self.run.enter()
        self.result.enter()
        self.further.enter()
        self._picking.start()

    def exit(self) -> None:
        """Another module is shown."""
        self._entered = False
        if not self.built:
            return
        self.run.exit()
        self.result.exit()
        self.further.exit()

    def onReload(self) -> None:
        """Reload the packages with the module, so that a developer sees every change."""
        ours = [name for name in sys.modules if name.split(".")[0] in ("FlairSegLib", "flairseg")]
        for name in ours:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)
        # Slicer enters a panel when it is chosen, and the new one is shown already.
        if slicer.util.mainWindow() is not None and slicer.util.selectedModule() == self.moduleName:
            getattr(slicer.modules, f"{self.moduleName}Widget").enter()

    def _initializeParameterNode(self) -> None:
        if self._parameterNode is None:
            self._setParameterNode(self.logic.getParameterNode())

    def _setParameterNode(self, parameters: FlairSegParameters | None) -> None:
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
        self._parameterNode = parameters
        if parameters is None:
            return
        self._guiTag = parameters.connectGui(self.ui)
        self.model.setParameterNode(parameters)
        self.case.setParameterNode(parameters)
        self.result.setSegmentation(parameters.segmentation)

    def _sceneStartClose(self, caller=None, event=None) -> None:
        self._setParameterNode(None)
        self.run.sceneClosing()
        self.case.forget()
        self.result.onSceneStartClose()
        self.further.onSceneStartClose()

    def _sceneEndClose(self, caller=None, event=None) -> None:
        self._setParameterNode(None)
        self._initializeParameterNode()

    def _selectionChanged(self) -> None:
        # Sections call while they are being built, before the others are there.
        if self._sections:
            self.model.setSlices(self.case.slices)
            self.run.update()
            self.further.update()
            self._picking.start()

    def _pickUp(self) -> None:
        """Show a segmentation of the chosen FLAIR: one that was loaded, or of another FLAIR chosen again.

        What is shown stays while nothing else is chosen, and while what is chosen has no segmentation.
        """
        from FlairSegLib.panel.versions import newest_of

        if not self._entered or self._parameterNode is None or self.run.running:
            return
        volume = self.case.volumeNode
        chosen = volume.GetID() if volume is not None else ""
        changed, self._chosen = chosen != self._chosen, chosen
        if self.result.segmentationNode is not None and (not changed or self.result.volumeNode is volume):
            return
        node = newest_of(volume)
        if node is not None:
            self._parameterNode.segmentation = node
            self.result.setSegmentation(node, volume)

    def _started(self) -> None:
        # While the worker is busy: when its result comes, the views have their size.
        self.sliceLayout.turn(self.case.volumeNode)
        self.result.regions.step_back()

    def _noResult(self) -> None:
        self.sliceLayout.withdraw()
        self.result.regions.resume()

    def _finished(self, segmentationNode) -> None:
        # Another volume may have been chosen during the run: its result is shown when it is chosen again.
        self._chosen = self.case.volumeNode.GetID() if self.case.volumeNode is not None else ""
        if self._parameterNode is not None:
            self._parameterNode.segmentation = segmentationNode
        self.result.setSegmentation(segmentationNode)
        self.result.begin(self.run.controller.takeRegionsAhead())


class FlairSegLogic(ScriptedLoadableModuleLogic):
    """Runs FlairSeg on nodes of the scene; usable from the Python console and from ``--python-script``."""

    def getParameterNode(self) -> FlairSegParameters:
        """The module's parameters in the scene."""
        from FlairSegLib.parameters import FlairSegParameters

        return FlairSegParameters(super().getParameterNode())

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
        volume = volume_nodes.volume_from_node(volumeNode)
        volume = replace(volume, warnings=volume_nodes.header_warnings_of(volumeNode))
        segmentation = segment(volume, model=modelId, device=device, progress=progress, cancel=cancel)
        return scene_bridge.segmentation_to_node(segmentation, volumeNode)


class FlairSegTest(ScriptedLoadableModuleTest):
    """Self-test inside Slicer; its steps are in :mod:`FlairSegLib.self_test`."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """All tests, as *Reload and Test* runs them."""
        self.setUp()
        self.test_steps()

    def test_steps(self) -> None:
        """From loading a FLAIR to the report."""
        from FlairSegLib import self_test

        self.delayDisplay("FlairSeg: self-test")
        if not self_test.run(self_test.Options(modules=(self_test.SEGMENTATION,))):
            raise AssertionError("steps failed: see the lines above")
        self.delayDisplay("FlairSeg: the self-test passed")
