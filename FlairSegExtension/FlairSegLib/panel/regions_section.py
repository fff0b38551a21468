"""Regions of the brain: found once per volume and stored with it, so that edits update the regions immediately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flairseg.worker.tasks import RegionsAnswer, RegionsRequest
from slicer.i18n import tr as _

from .. import kept_answers, segment_voxels, volume_nodes
from ..task_controller import Steps, in_thread
from . import messages
from .task_section import TaskSection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..run_controller import RegionsAhead
    from ..settings import FlairSegSettings
    from ..worker_holder import WorkerHolder


class RegionsSection(TaskSection):
    """The button below the list of lesions, and what runs behind it.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegResult.ui``.
    settings : FlairSegSettings
    on_found : callable
        Called without arguments once the regions are kept with their volume.
    workers : WorkerHolder, optional
        Of the runs, whose worker is warm; by default the section has its own.
    """

    def __init__(
        self, ui, settings: FlairSegSettings, on_found: Callable[[], None], workers: WorkerHolder | None = None
    ) -> None:
        super().__init__(ui, "regions", _("Assign each lesion to a region of the brain"), workers)
        self._settings, self._on_found = settings, on_found
        self._ahead: RegionsAhead | None = None
        self._node = self._volume = None
        # They were under way when a run began, which needs the worker.
        self._waiting = False
        self.update()

    @property
    def known(self) -> bool:
        """Whether the regions of the volume that is shown are kept with it."""
        return kept_answers.kept_regions_of(self._volume) is not None

    def show(self, node, volume_node) -> None:
        """Show a segmentation with its FLAIR (None: nothing); regions of another volume are not waited for."""
        if volume_node is not self._volume:
            self._waiting = False
            self.controller.cancel()
        messages.hide(self._message)
        self._node, self._volume = node, volume_node
        self.update()

    def after_run(self, ahead: RegionsAhead | None = None) -> None:
        """A run has just finished: the regions follow by themselves, unless the user does not want them.

        ``ahead``: they are on their way already.
        """
        wanted = self._settings.regionsAfterRun or self._waiting
        self._resumed()
        if wanted and not self.known and not self._refusal() and not self.running:
            self._ahead = ahead
            self.start()
            self._ahead = None
        elif ahead is not None:
            ahead.job.cancel()

    def step_back(self) -> None:
        """A run begins: its worker leaves the regions, which on a large volume take seconds, until the run is over."""
        if self.running:
            self._waiting = True
            self.controller.cancel()

    def resume(self) -> None:
        """A run has ended without a result: the regions that waited for it are looked for again."""
        if self._waiting:
            self._resumed()
            self.start()

    def _resumed(self) -> None:
        self._waiting = False
        messages.hide(self._stage)

    def update(self) -> None:
        """The button is there where there is something to find."""
        if self._closed:
            return
        self._button.setVisible(self.running or not self.known)
        super().update()

    def onSceneStartClose(self) -> None:
        """The scene is closing."""
        self._waiting = False
        super().onSceneStartClose()
        self._node = self._volume = None

    # The task

    def _refusal(self) -> str:
        if self._node is None:
            return _("Segment a FLAIR first.")
        if self._volume is None:
            return _("Load the FLAIR that belongs to this segmentation.")
        return ""

    def _begin(self) -> None:
        node, volume, ahead = self._node, self._volume, self._ahead
        taken = [] if ahead is None else [ahead.taken]

        def take() -> Steps:
            grid = segment_voxels.grid_of(node, volume)
            snapshot = segment_voxels.snapshot(node, volume, grid)
            taken.append((yield from volume_nodes.take_volume(volume)))
            labels = yield from in_thread(snapshot.labels)
            return RegionsRequest(taken[-1].volume, labels)

        def receive(answer: RegionsAnswer) -> Steps:
            yield from volume_nodes.check_unchanged(taken[-1], volume)
            if answer.text:
                kept_answers.keep_regions(volume, answer.text)
            return answer.warnings

        self.controller.perform(take, receive, [node, volume], None if ahead is None else ahead.job)

    def _cancelled(self) -> None:
        super()._cancelled()
        if self._waiting and not self._closed:
            messages.hide(self._message)
            messages.quiet(self._stage, _("The regions follow once the volume is segmented."))

    def _done(self, result: Sequence[str]) -> None:
        messages.show(self._message, messages.WARNING, "\n".join(result))
        self._on_found()
