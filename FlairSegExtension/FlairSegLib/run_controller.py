"""Runs of the model on a volume of the scene, with a worker that stays warm between them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import qt
from flairseg.errors import CaseWarning, InputNotFoundError, RunInProgressError
from flairseg.worker.tasks import SegmentRequest
from slicer.i18n import tr as _

from . import kept_answers, scene_bridge, settings, threads, volume_nodes
from .task_controller import START_TIMEOUT_S, Steps, TaskController, _call

if TYPE_CHECKING:
    from .job import Job

#: Longer than a frame of Slicer's views: they have drawn the result by then.
DRAWN_MS = 25
#: The threads of a new worker's pipes need some time before it listens and loads its modules.
WARM_UP_MS, WARM_UP_TAIL_S = 20, 1.0


@dataclass(frozen=True)
class RegionsAhead:
    """The regions of a run's volume, which its worker finds after its segmentation.

    Attributes
    ----------
    job : Job
        Whose next answer is a :class:`~flairseg.worker.tasks.RegionsAnswer`.
    taken : TakenVolume
        The volume as it was when the run began.
    """

    job: Job
    taken: volume_nodes.TakenVolume


class RunController(TaskController):
    """Segments one volume at a time; callbacks as for :class:`~.task_controller.TaskController`.

    ``onFinished`` gets the new segmentation node.
    """

    # The panel is open: the worker stays.
    _after_ms, _leaves = DRAWN_MS, False

    def __init__(self, *callbacks, **named) -> None:
        super().__init__(*callbacks, **named)
        #: Device that the last finished run really used, ``cpu`` or ``cuda``; empty before the first.
        self.deviceUsed = ""
        self._regions_ahead: RegionsAhead | None = None
        self._wanted: tuple[str | None, str] = (None, settings.AUTOMATIC)
        self._warm_up_ends = 0.0
        self._warm_up_timer = qt.QTimer()
        self._warm_up_timer.setInterval(WARM_UP_MS)
        self._warm_up_timer.timeout.connect(self._warm_up_tick)

    def start(
        self,
        volumeNode,
        modelId: str | None = None,
        device: str = settings.AUTOMATIC,
        inUse: bool = False,
        regions: bool = False,
    ) -> None:
        """Start segmenting a volume node; returns immediately.

        Parameters
        ----------
        volumeNode : vtkMRMLScalarVolumeNode
        modelId : str, optional
            Default the model in use.
        device : str
        inUse : bool
            The model is the one in use and was not chosen for this volume: it may leave the volume to its parent, see
            :mod:`flairseg.models.in_use`.
        regions : bool
            The worker continues with the regions of the brain, unless the volume has them, see
            :meth:`takeRegionsAhead`.

        Raises
        ------
        RunInProgressError
            A run is in progress; it continues.
        FlairSegError
            The node is no volume that can be segmented, see :func:`FlairSegLib.volume_nodes.volume_from_node`.
        """
        if self.running:
            raise RunInProgressError(
                _("A volume is already being segmented."), _("Wait until it is done, or cancel it first.")
            )
        volume_nodes.check_volume_node(volumeNode)
        model, taken = _model_name(modelId), []
        self._wanted, self._regions_ahead = (model, device), None
        regions = regions and kept_answers.kept_regions_of(volumeNode) is None

        def take() -> Steps:
            taken.append((yield from volume_nodes.take_volume(volumeNode)))
            return SegmentRequest(taken[0].volume, model, device, inUse, regions)

        def receive(segmentation) -> Steps:
            given = self._job
            given.worker.warmed = (model, device)
            segmentation.warnings[:0] = taken[0].header_warnings
            if not given.worker.isProcess:
                segmentation.warnings.append(CaseWarning(self._in_slicer_warning(), "ran-inside-slicer"))
            for _fraction in volume_nodes.check_unchanged(taken[0], volumeNode):
                yield 0.0
            result = yield from scene_bridge.segmentation_steps(segmentation, volumeNode)
            self.deviceUsed = segmentation.device_used
            self._regions_ahead = RegionsAhead(given, taken[0]) if regions else None
            return result

        self.perform(take, receive, [volumeNode])

    def takeRegionsAhead(self) -> RegionsAhead | None:
        """What follows the segmentation of the last finished run, once: it holds the voxels. None if nothing does."""
        ahead, self._regions_ahead = self._regions_ahead, None
        return ahead

    def cancel(self) -> None:
        """End the run now; nothing is added to the scene. A fresh worker warms up for the next."""
        if self._end():
            self.warmUp(*self._wanted)
            _call(self._on_cancelled)

    def warmUp(self, modelId: str | None = None, device: str = settings.AUTOMATIC) -> None:
        """Have the worker ready before the user needs it; costs this process nothing."""
        if self.running:
            return
        self._wanted = (_model_name(modelId), device)
        worker = self.workers.ready()
        if worker.warmed != self._wanted:
            worker.warm(*self._wanted)
            self._warm_up_ends = time.monotonic() + START_TIMEOUT_S
            self._warm_up_timer.start()

    def _deleted(self) -> InputNotFoundError:
        return InputNotFoundError(
            _("The volume was deleted while it was being segmented."), _("Load it again, then segment it.")
        )

    def _warm_up_tick(self) -> None:
        threads.share()
        worker, now = self.workers.worker, time.monotonic()
        if worker is not None and worker.ready:
            self._warm_up_ends = min(self._warm_up_ends, now + WARM_UP_TAIL_S)
        if worker is None or not worker.alive or now > self._warm_up_ends:
            self._warm_up_timer.stop()

    def cleanup(self) -> None:
        """Drop the run silently, end the worker, remove all observers. A later run starts afresh."""
        super().cleanup()
        self._regions_ahead = None
        self._warm_up_timer.stop()

    def _in_slicer_warning(self) -> str:
        no_process = self.workers.noProcess
        reason = no_process.message if no_process is not None else ""
        return _("{reason} The model ran inside Slicer, which may have responded slowly.").format(reason=reason).strip()


def _model_name(model: str | Path | None) -> str | None:
    """A model as the worker understands it: it runs in another folder, so a path is made absolute."""
    if not model:
        return None
    path = Path(model)
    return str(path.resolve()) if isinstance(model, Path) or path.is_file() or path.is_dir() else str(model)
