"""Case: the volume to segment. Proposes the FLAIR with a reason; warns if the selected volume looks wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.errors import FlairSegError
from flairseg.image import flair_selection as proposal
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from .. import background, candidates, phrasing, volume_nodes
from . import messages

if TYPE_CHECKING:
    from collections.abc import Callable

#: Volumes get their name and voxels a moment after they were added to the scene.
SETTLING_MS = 250


class CaseSection(VTKObservationMixin):
    """The volume selector with its proposal and its warning.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSeg.ui``.
    onChanged : callable
        Called without arguments when another volume is chosen, or when what is thought of it has changed.
    """

    def __init__(self, ui, onChanged: Callable[[], None]) -> None:
        super().__init__()
        self.ui = ui
        self._on_changed = onChanged
        self._parameters = None
        #: Current proposal, and the one that was selected.
        self._best = self._proposed = ""
        self._proposing = False
        #: A scene is being read or closed: what the selector does is nobody's choice. It follows after the last event
        #: of the scene, and by way of no volume at all.
        self._loading = False
        self._saved_choice = ""
        self._reason = ""
        self._verdicts: dict[str, proposal.Verdict] = {}
        self._looks: dict[str, list[str]] = {}
        self._task = None
        #: Volume whose transforms are watched.
        self._watched = None
        self._settling = qt.QTimer()
        self._settling.setSingleShot(True)
        self._settling.setInterval(SETTLING_MS)
        self._settling.timeout.connect(self._settled)
        ui.inputSelector.currentNodeChanged.connect(self._node_changed)
        ui.proposeButton.clicked.connect(self._propose_again)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.NodeAddedEvent, self._scene_changed)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.NodeRemovedEvent, self._scene_changed)
        for event in (
            slicer.vtkMRMLScene.StartCloseEvent,
            slicer.vtkMRMLScene.StartImportEvent,
            slicer.vtkMRMLScene.EndImportEvent,
            slicer.vtkMRMLScene.EndBatchProcessEvent,
        ):
            self.addObserver(slicer.mrmlScene, event, self._scene_loads)

    @property
    def volumeNode(self):
        """The chosen volume; None if there is none."""
        return self.ui.inputSelector.currentNode()

    @property
    def refusal(self) -> str:
        """Why the chosen volume cannot be segmented; empty if it can."""
        node = self.volumeNode
        if node is None:
            return _("Load a brain FLAIR and choose it.")
        verdict = self._verdicts.get(node.GetID())
        if verdict is not None and not verdict.usable:
            return str(verdict.doubts[0])
        return ""

    @property
    def slices(self) -> int:
        """Slices of the chosen volume, as a model counts them."""
        try:
            return candidates.slices(self.volumeNode)
        except (FlairSegError, ValueError):
            return 0

    def setParameterNode(self, parameters) -> None:
        """Follow another scene's parameters; what its user chose stays chosen."""
        self._parameters = parameters
        self._proposed = self._saved_choice = ""
        if parameters is not None and parameters.inputChosen and parameters.inputVolume is not None:
            self._saved_choice = parameters.inputVolume.GetID()
        self.propose()

    def propose(self) -> None:
        """Look through the loaded volumes; preselect the FLAIR unless the user has chosen a volume."""
        self._settling.stop()
        if self._parameters is None:
            return
        loaded = candidates.loaded()
        answer = proposal.propose(loaded)
        self._verdicts = dict(answer.verdicts)
        chosen = self._parameters.inputChosen and self.volumeNode is not None
        if not chosen:
            self._parameters.inputChosen = False
            self._proposed, self._reason = answer.key or "", answer.reason
            self._select(slicer.mrmlScene.GetNodeByID(answer.key) if answer.key else None)
        self._best = answer.key or ""
        self._show()
        self._on_changed()

    def choose(self, node) -> None:
        """Choose a volume that the user requested in another module."""
        if self._parameters is None:
            return
        self._parameters.inputVolume = node
        self._parameters.inputChosen = True
        self._select(node)
        self.propose()

    def forget(self) -> None:
        """The scene is closing: nothing is chosen, nothing runs."""
        self._settling.stop()
        self._watch(None)
        self._parameters = None
        self._verdicts, self._looks = {}, {}
        self._best = self._proposed = self._reason = ""
        self._cancel_look()
        messages.hide(self.ui.caseWarningLabel)
        messages.hide(self.ui.caseReasonLabel)

    def cleanup(self) -> None:
        """Release the scene. The widgets may be gone already."""
        self.removeObservers()
        self._settling.stop()
        self._cancel_look()
        self._parameters = None

    def _scene_changed(self, caller=None, event=None) -> None:
        self._settling.start()

    def _watch(self, node) -> None:
        """Check the volume again when it is put under a transform, or removed from one."""
        event = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        if self._watched is not None:
            self.removeObserver(self._watched, event, self._scene_changed)
        self._watched = node
        if node is not None:
            self.addObserver(node, event, self._scene_changed)

    def _scene_loads(self, caller=None, event=None) -> None:
        self._loading = True
        self._settling.start()

    def _settled(self) -> None:
        """The scene and the selector have come to rest: what was saved as chosen is chosen, or a volume proposed."""
        if self._loading and self._parameters is not None and self._saved_choice:
            saved = slicer.mrmlScene.GetNodeByID(self._saved_choice)
            if saved is not None:
                self._select(saved)
                self._parameters.inputChosen = True
        self._loading, self._saved_choice = False, ""
        self.propose()

    def _select(self, node) -> None:
        self._proposing = True
        try:
            self.ui.inputSelector.setCurrentNode(node)
        finally:
            self._proposing = False

    def _propose_again(self, checked: bool = False) -> None:
        if self._parameters is not None:
            self._parameters.inputChosen = False
            self.propose()

    def _node_changed(self, node=None) -> None:
        if self._parameters is None:
            return
        node = self.volumeNode
        self._watch(node)
        # What the parameters brought (a loaded scene, another panel) was chosen before, or proposed.
        from_user = not self._proposing and not self._loading and not _same(node, self._parameters.inputVolume)
        if from_user:
            # The volume first: each parameter that is set synchronises the selector with the parameters.
            self._parameters.inputVolume = node
            self._parameters.inputChosen = node is not None and node.GetID() != self._proposed
        if node is not None and node.GetID() not in self._verdicts:
            self._settling.start()
        self._show()
        self._on_changed()

    def _show(self) -> None:
        node = self.volumeNode
        self._cancel_look()
        self.ui.proposeButton.setVisible(bool(self._best) and (node is None or node.GetID() != self._best))
        if node is None:
            messages.quiet(self.ui.caseReasonLabel, self._reason or _("No volume is loaded yet."))
            messages.hide(self.ui.caseWarningLabel)
            return
        if node.GetID() == self._proposed and not self._parameters.inputChosen:
            reason = self._reason
        elif not self._parameters.inputChosen:
            reason = ""
        else:
            verdict = self._verdicts.get(node.GetID())
            reason = _("Your choice.")
            if verdict is not None and verdict.reasons and not verdict.doubts:
                reason = _("Your choice; {reason}.").format(reason=verdict.reasons[0])
        messages.quiet(self.ui.caseReasonLabel, reason)
        self._warn(node)

    def _warn(self, node) -> None:
        verdict = self._verdicts.get(node.GetID())
        if verdict is not None and verdict.doubts:
            kind = messages.WARNING if verdict.usable else messages.ERROR
            messages.show(self.ui.caseWarningLabel, kind, str(verdict.doubts[0]))
            return
        messages.hide(self.ui.caseWarningLabel)
        seen = self._looks.get(_state(node))
        if seen is None:
            self._look(node)
        elif seen:
            messages.show(self.ui.caseWarningLabel, messages.WARNING, seen[0])

    def _look(self, node) -> None:
        """Check the voxels in a separate thread; nothing waits for it."""
        state = _state(node)
        try:
            volume = volume_nodes.volume_from_node(node)
        except FlairSegError as error:
            self._looks[state] = [phrasing.text(error)]
            messages.show(self.ui.caseWarningLabel, messages.WARNING, phrasing.text(error))
            return

        def done(doubts) -> None:
            self._task = None
            self._looks[state] = doubts
            current = self.volumeNode
            if current is not None and _state(current) == state:
                self._warn(current)

        def failed(error) -> None:
            self._task = None
            # Before the packages are installed there is no closer look; the run itself repeats it.
            self._looks[state] = [phrasing.text(error)] if isinstance(error, FlairSegError) else []
            if not isinstance(error, (FlairSegError, ImportError)):
                logging.warning("FlairSeg: the volume could not be checked: %s", type(error).__name__)
            current = self.volumeNode
            if current is not None and _state(current) == state and self._looks[state]:
                self._warn(current)

        def look() -> list[str]:
            # Not before it is wanted: it loads SciPy.
            from flairseg.preprocessing import image_quality

            return image_quality.look(volume)

        self._task = background.run(look, done, failed)

    def _cancel_look(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None


def _same(one, other) -> bool:
    return (one.GetID() if one is not None else None) == (other.GetID() if other is not None else None)


def _state(node) -> str:
    """A volume, its voxels and whether transforms bend it: changes when one of them does."""
    image, transform = node.GetImageData(), node.GetParentTransformNode()
    bent = transform is not None and not transform.IsTransformToWorldLinear()
    return f"{node.GetID()} {image.GetMTime() if image is not None else 0} {bent}"
