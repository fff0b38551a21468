"""One case of the work list at a time in the scene: read in a thread, filled in short steps, taken away afterwards.

Only nodes that the loader made are ever removed. Whether a reader's work would go with them is asked of
:meth:`CaseLoader.unsaved` first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import qt
import slicer
import vtk
from flairseg.errors import FlairSegError
from flairseg.labels import CLASS_BY_ID, CLASS_BY_VALUE
from flairseg.models import find_model
from flairseg.models.lesion_confidence import LesionConfidence
from flairseg.review.cases import CaseArchive
from flairseg.segmentation.result import Segmentation
from flairseg.study.case_files import read_case
from flairseg.study.queue import with_states
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from .. import background, drawing, kept_answers, provenance, scene_bridge, segment_tags, segment_voxels, views
from ..panel.versions import versions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from flairseg.image.volume import Volume
    from flairseg.models.card import PipelineConfig
    from flairseg.study.case_files import CaseFiles
    from flairseg.study.queue import QueueItem

#: For how long the GUI thread fills nodes before the event loop has its turn, s.
STEP_S = 0.012


@dataclass(frozen=True)
class KnownModel:
    """Known properties of the model behind a segmentation read from files."""

    id: str
    sha256: str
    version: str = ""
    lesion_confidence: LesionConfidence | None = None
    pipeline: PipelineConfig | None = None
    classes: frozenset[int] = frozenset(CLASS_BY_VALUE)


@dataclass
class LoadedCase:
    """A case in the scene.

    Attributes
    ----------
    item : QueueItem
    volume : vtkMRMLScalarVolumeNode
    segmentation : vtkMRMLSegmentationNode or None
        None if the case has no segmentation.
    going_on_from : str
        Source of the labels, if they are not the model's own.
    judged_state : tuple
        The voxels as they were when they were last safe in a file.
    """

    item: QueueItem
    volume: object
    segmentation: object | None
    going_on_from: str
    judged_state: tuple = ()


class CaseLoader:
    """Loads cases, one after the other.

    Parameters
    ----------
    on_loaded : callable
        Called with the :class:`LoadedCase`.
    on_failed : callable
        Called with the item and the FlairSegError; the scene is unchanged.
    """

    def __init__(
        self,
        on_loaded: Callable[[LoadedCase], None],
        on_failed: Callable[[QueueItem, FlairSegError], None],
    ) -> None:
        self._on_loaded, self._on_failed = on_loaded, on_failed
        self._task = None
        self._item = self._volume = None
        self._steps: Generator | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._tick)
        #: The case in the scene; None if there is none.
        self.current: LoadedCase | None = None

    @property
    def busy(self) -> bool:
        """Whether a case is being loaded."""
        return self._task is not None or self._steps is not None

    def load(self, item: QueueItem, cases_folder: str = "") -> None:
        """Load a case; the one before it should have been removed or released.

        Parameters
        ----------
        item : QueueItem
        cases_folder : str
            The archive of verdicts; empty if there is none yet.
        """
        self.cancel()
        self._item = item
        archive = CaseArchive(cases_folder) if cases_folder else None

        def read() -> tuple[CaseFiles, tuple | None]:
            # Another reader may have judged it since it was listed.
            now = with_states([item], archive)[0] if archive is not None else item
            files = with_margin(read_case(now, archive))
            return files, files.correction()

        self._task = background.run(read, self._read, self._failed)

    def cancel(self) -> None:
        """Stop loading; nothing half-loaded stays."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._timer.stop()
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        if self._volume is not None:
            remove_node(self._volume)
            self._volume = None

    def unsaved(self) -> str:
        """Describe the loss if the current case were removed; empty if there is none."""
        current = self.current
        if current is None:
            return ""
        node = current.segmentation
        if node is not None and node.GetScene() is not None:
            if segment_voxels.voxel_state(node) != current.judged_state:
                return _("{case} was edited and has no verdict yet.").format(case=current.item.case)
            if any(i not in CLASS_BY_ID for i in node.GetSegmentation().GetSegmentIDs()):
                return _("{case} has segments of your own.").format(case=current.item.case)
        if current.volume.GetScene() is not None and any(n is not node for n in versions_of(None, current.volume)):
            return _("There is another segmentation of {case} in the scene.").format(case=current.item.case)
        return ""

    def note_saved(self) -> None:
        """The current case is in the archive as it is now."""
        if self.current is not None and self.current.segmentation is not None:
            self.current.judged_state = segment_voxels.voxel_state(self.current.segmentation)

    def adopt(self, node) -> None:
        """A segmentation that was made of the current case elsewhere: the user's, so it is never removed unasked."""
        if self.current is not None and self.current.segmentation is None:
            self.current.segmentation = node

    def remove(self) -> None:
        """Take the current case out of the scene."""
        current, self.current = self.current, None
        if current is None:
            return
        hidden = None
        if current.segmentation is not None and current.segmentation.GetScene() is not None:
            hidden = current.segmentation.GetNodeReference(kept_answers.PROBABILITIES_ROLE)
        for node in (current.segmentation, hidden, current.volume):
            remove_node(node)

    def release(self) -> None:
        """Leave the current case in the scene, hidden from the views: it is the user's now."""
        current, self.current = self.current, None
        if current is None or current.volume.GetScene() is None:
            return
        for node in versions_of(None, current.volume):
            views.display_of(node).SetVisibility(False)

    def forget(self) -> None:
        """The scene is closing: nothing of it is touched any more."""
        self._volume = None
        self.cancel()
        self.current = None

    # Loading

    def _read(self, answer: tuple[CaseFiles, tuple | None]) -> None:
        files, difference = answer
        self._task = None
        with drawing.once():
            self._volume = add_volume(files.volume, files.shown, files.item.case)
        self._steps = self._fill(files, difference)
        self._timer.start()

    def _failed(self, error: Exception) -> None:
        item, self._task = self._item, None
        self.cancel()
        if not isinstance(error, FlairSegError):
            error = FlairSegError(_("{case} cannot be loaded: {error}.").format(case=item.case, error=error))
        self._on_failed(item, error)

    def _tick(self) -> None:
        # The last step fills the scene and the panel.
        with drawing.once():
            self._step()

    def _step(self) -> None:
        began = time.perf_counter()
        try:
            while time.perf_counter() - began < STEP_S:
                next(self._steps)
        except StopIteration as done:
            self._timer.stop()
            self._steps = self._volume = None
            self.current = done.value
            self._on_loaded(self.current)
        except Exception as error:  # noqa: BLE001 - a slot of a timer that would call it again at once
            self._failed(error)

    def _fill(self, files: CaseFiles, difference: tuple | None) -> Generator[float, None, LoadedCase]:
        volume = self._volume
        if files.original is None:
            return LoadedCase(files.item, volume, None, "")
        answer = files.original
        tags = next(iter(files.tags.values()), {})
        segmentation = Segmentation(
            files.volume,
            answer.full_labels(),
            None,
            KnownModel(
                tags.get(segment_tags.MODEL, ""),
                tags.get(segment_tags.MODEL_SHA256, ""),
                lesion_confidence=files.confidence,
                pipeline=pipeline_of(tags),
                classes=files.classes,
            ),
            "",
            "",
            "",
            files.item.case,
            warnings=list(files.warnings),
            compact=answer,
        )
        node = yield from scene_bridge.segmentation_steps(segmentation, volume)
        _set_provenance(node, files.tags)
        if difference is not None:
            segment_voxels.write(node, segment_voxels.grid_of(node, volume), *difference)
        state = segment_voxels.voxel_state(node)
        return LoadedCase(files.item, volume, node, files.going_on_from, state)


def with_margin(files: CaseFiles) -> CaseFiles:
    """A case with what its model drops beyond the brain, for lesions redrawn at a lower level; takes a second."""
    # In the thread that reads the case, not when the panel opens: it loads SciPy.
    from flairseg.segmentation.redrawing import with_brain_margin

    config = pipeline_of(next(iter(files.tags.values()), {}))
    if files.original is None or config is None:
        return files
    return replace(files, original=with_brain_margin(files.original, files.volume, config))


def pipeline_of(tags: Mapping[str, str]) -> PipelineConfig | None:
    """The clean-up of the model that segments' tags name, if that model is on this computer."""
    try:
        card = find_model(tags.get(segment_tags.MODEL) or None, verify=False)
    except FlairSegError:
        return None
    return card.pipeline if card.sha256 == tags.get(segment_tags.MODEL_SHA256) else None


def _set_provenance(node, tags_by_class) -> None:
    """Set each segment's tags from the files, in place of those of a new run; missing provenance gives no tag."""
    contents = node.GetSegmentation()
    own = (segment_tags.MODEL, segment_tags.MODEL_SHA256, segment_tags.CREATED, segment_tags.ALGORITHM_TYPE)
    for segment_id in contents.GetSegmentIDs():
        segment = contents.GetSegment(segment_id)
        tags = tags_by_class.get(CLASS_BY_ID[segment_id].value, {})
        for key in (*own, f"{segment_tags.PREFIX}version"):
            if key not in tags:
                segment.RemoveTag(key)
        for key, value in tags.items():
            # Edits are counted again.
            if key not in (segment_tags.VOXELS_ADDED, segment_tags.VOXELS_REMOVED):
                segment_tags.set_tag(segment, key, value)
        segment_tags.set_tag(segment, segment_tags.VERDICT, provenance.PENDING)


def add_volume(volume: Volume, shown: tuple[float, float], name: str):
    """A volume node with the voxels of an array that is not copied, in milliseconds however large it is.

    Parameters
    ----------
    volume : Volume
        Its array belongs to the node from now on.
    shown : tuple of float
        Gray values that are shown black and white: Slicer would look for them in all voxels.
    name : str

    Returns
    -------
    vtkMRMLScalarVolumeNode
    """
    array = np.ascontiguousarray(volume.array)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array.shape))
    image.GetPointData().SetScalars(numpy_to_vtk(array.reshape(-1)))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.ijk_to_ras))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*shown)
    node.SetAndObserveImageData(image)
    return node


def remove_node(node) -> None:
    """Take a node out of the scene with what only it uses."""
    if node is None or node.GetScene() is None:
        return
    scene = node.GetScene()
    own = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    own.append(node.GetStorageNode())
    scene.RemoveNode(node)
    for other in own:
        if other is not None and other.GetScene() is not None:
            scene.RemoveNode(other)
