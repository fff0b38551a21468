"""Module "FLAIR Review" of 3D Slicer: registration, and the wiring of its two tabs.

Queue: cases one after the other, corrected, accepted or rejected. Study: blinded rating sessions. What they do is in
:mod:`FlairSegLib.review_panel`, the engine in :mod:`flairseg.study`. Neither onnxruntime nor scikit-image is needed.
"""

from __future__ import annotations

import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

#: Indices of the tabs.
QUEUE, STUDY = 0, 1


class FlairSegReview(ScriptedLoadableModule):
    """Title, category, help and credits of the module."""

    def __init__(self, parent):
        super().__init__(parent)
        self.parent.title = _("FLAIR Review")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "Volumes", "Markups", "SubjectHierarchy"]
        self.parent.contributors = ["The FlairSeg authors"]
        self.parent.helpText = _(
            "<p><b>Queue</b>: a folder of cases with their masks, the most uncertain first; correct, accept or reject,"
            " continue.</p>"
            "<p><b>Study</b>: blinded rating sessions. Masks are shown in a random order that can be reproduced,"
            " repeats among them, and nothing reveals the source of a mask. Click on false positives and"
            " missed lesions, answer, continue. Every click is saved immediately; a session can be paused at any"
            " time.</p>"
            "<p>Keys: <b>F</b> false positive and <b>M</b> missed lesion at the cursor, <b>Backspace</b> removes the"
            " last mark, <b>A</b> / <b>U</b> acceptable / unacceptable, <b>1</b>&ndash;<b>5</b> scales, <b>N</b> /"
            " <b>B</b> next and previous lesion, arrows through the slices, <b>O</b> overlay, <b>P</b> pause,"
            " <b>Enter</b> submit and continue.</p>"
            "<p>Method: the rule of acceptability, the repeats and the reference in two steps follow M. Bashiri Bawil,"
            " M. Shamsi, A. Shakeri Bavil and A. F. Jafargholkhanloo,"
            " <i>wmh-normal-abnormal-segmentation</i>.</p>"
            "<p><b>Research use only - not a medical device.</b></p>"
        )
        self.parent.acknowledgementText = _(
            "<p>Built on 3D Slicer (A. Fedorov et al., Magnetic Resonance Imaging 2012,"
            " doi:10.1016/j.mri.2012.05.001).</p>"
        )


class FlairSegReviewWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Joins the two tabs and the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._tabs = []
        self._entered = None
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
        from FlairSegLib.review_panel.queue_tab import QueueTab
        from FlairSegLib.review_panel.study_tab import StudyTab
        from FlairSegLib.settings import FlairSegSettings

        widget = slicer.util.loadUI(self.resourcePath("UI/FlairSegReview.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = FlairSegReviewLogic()
        settings = FlairSegSettings()
        self.queue = QueueTab(self.ui.queueTab, settings)
        self.study = StudyTab(self.ui.studyTab, settings, self._session_changed)
        self._tabs = [self.queue, self.study]
        self.ui.reviewTabs.currentChanged.connect(lambda index=0: self._tabChanged())
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._sceneStartClose)

    def cleanup(self) -> None:
        """Clean up with the panel: sessions are closed, all observers of the scene are removed."""
        self.removeObservers()
        self.exit()
        for tab in self._tabs:
            tab.cleanup()
        self._tabs = []

    def enter(self) -> None:
        """The panel is shown."""
        if not self.built:
            return
        self._entered = self._tabs[self.ui.reviewTabs.currentIndex]
        self._entered.enter()

    def exit(self) -> None:
        """Another module is shown: keys are given back, a running session pauses."""
        if self._entered is not None:
            self._entered.exit()
            self._entered = None

    def onReload(self) -> None:
        """Reload the packages with the module, so that a developer sees every change."""
        ours = [name for name in sys.modules if name.split(".")[0] in ("FlairSegLib", "flairseg")]
        for name in ours:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)
        # Slicer enters a panel when it is chosen, and the new one is shown already.
        if slicer.util.mainWindow() is not None and slicer.util.selectedModule() == self.moduleName:
            getattr(slicer.modules, f"{self.moduleName}Widget").enter()

    def _session_changed(self, running: bool) -> None:
        # A blinded rater must not see a list of cases by name.
        self.ui.reviewTabs.setTabEnabled(QUEUE, not running)

    def _tabChanged(self) -> None:
        # Not before the panel is shown: Qt also emits the signal while the tabs are built.
        if self._entered is not None:
            self.exit()
            self.enter()

    def _sceneStartClose(self, caller=None, event=None) -> None:
        for tab in self._tabs:
            tab.sceneClosing()


class FlairSegReviewLogic(ScriptedLoadableModuleLogic):
    """No logic here: sessions and studies are :mod:`flairseg.study`'s, usable from the Python console."""


class FlairSegReviewTest(ScriptedLoadableModuleTest):
    """Self-test inside Slicer; its steps are in :mod:`FlairSegLib.self_test`."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """All tests, as *Reload and Test* runs them."""
        self.setUp()
        self.test_steps()

    def test_steps(self) -> None:
        """A case of the queue, and a small study from the protocol to its closing."""
        from FlairSegLib import self_test

        self.delayDisplay("FLAIR Review: self-test")
        if not self_test.run(self_test.Options(modules=(self_test.REVIEW,))):
            raise AssertionError("steps failed: see the lines above")
        self.delayDisplay("FLAIR Review: the self-test passed")
