"""Working time on a segmentation, and detection of voxel edits.

Working time is the sum of the pauses between two signs of activity - a stroke, a command of the panel, the mouse moving
over a slice - as far as a pause is no longer than :data:`IDLE_S`. While another module is shown nothing is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import slicer
from slicer.util import VTKObservationMixin

from . import segment_voxels

#: A pause longer than this is no work.
IDLE_S = 20.0


class EditTracker(VTKObservationMixin):
    """Watches one segmentation node.

    Parameters
    ----------
    on_edited : callable
        Called without arguments after each change of voxels, segments or the transforms above them, whoever made it,
        undo included.
    on_restyled : callable
        Called without arguments after another change of a segment: name, colour, tag, review status.
    clock : callable
        Seconds from any zero; for tests.
    """

    def __init__(
        self,
        on_edited: Callable[[], None],
        on_restyled: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._on_edited, self._on_restyled = on_edited, on_restyled
        self._state: tuple = ()
        self._clock = clock
        self._node = None
        self._active = False
        self._last: float | None = None
        self._seconds = 0.0

    @property
    def node(self):
        """The node that is watched; None if there is none."""
        return self._node

    @property
    def seconds(self) -> float:
        """Seconds of active work, those of earlier sessions included."""
        return self._seconds

    def watch(self, node, seconds: float = 0.0) -> None:
        """Watch a node from now on, or none.

        Parameters
        ----------
        node : vtkMRMLSegmentationNode or None
        seconds : float
            Work that was done on it before.
        """
        self.removeObservers()
        self._node = node
        self._seconds = max(0.0, seconds)
        self._last = None
        if node is None:
            return
        segmentation = node.GetSegmentation()
        events = slicer.vtkSegmentation
        self._state = segment_voxels.voxel_state(node)
        # Undo is heard of as a modified segment only, and so is a changed colour.
        for event in (
            events.SourceRepresentationModified,
            events.SegmentAdded,
            events.SegmentRemoved,
            events.SegmentModified,
        ):
            self.addObserver(segmentation, event, self._changed)
        # A transform that is hardened moves the voxels and leaves them as they are.
        self.addObserver(node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._placed)
        crosshair = slicer.util.getNodesByClass("vtkMRMLCrosshairNode")
        if crosshair:
            self.addObserver(crosshair[0], crosshair[0].CursorPositionModifiedEvent, self._moved)

    def enter(self) -> None:
        """The module is shown: work counts."""
        self._active = True
        self._last = None

    def exit(self) -> None:
        """Another module is shown: nothing counts."""
        self.touch()
        self._active = False
        self._last = None

    def touch(self) -> None:
        """The reader did something."""
        if not self._active or self._node is None:
            return
        now = self._clock()
        if self._last is not None and 0.0 <= now - self._last <= IDLE_S:
            self._seconds += now - self._last
        self._last = now

    def _moved(self, caller=None, event=None) -> None:
        self.touch()

    def _placed(self, caller=None, event=None) -> None:
        self._on_edited()

    def _changed(self, caller=None, event=None) -> None:
        state = segment_voxels.voxel_state(self._node)
        if state == self._state:
            self._on_restyled()
            return
        self._state = state
        self.touch()
        self._on_edited()
