"""Handlers of the worker process: a function for each request of :mod:`.tasks`. Failures raise typed errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FlairSegError, MissingDependencyError, OutputError, WorkerError, typed
from ..progress import STAGES
from . import tasks

if TYPE_CHECKING:
    from ..anatomy.regions import RegionMap
    from ..longitudinal import FollowUp
    from ..models.in_use import Model
    from ..progress import CancelToken, ProgressCallback
    from ..segmentation.result import Segmentation

#: Import name -> name by which pip installs it, where they differ.
_DISTRIBUTIONS = {"skimage": "scikit-image", "PIL": "Pillow"}


def run(
    request: tasks.Request,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    deliver: Callable[[Any], None] | None = None,
) -> Any:
    """Answer a request.

    Parameters
    ----------
    request : one of :mod:`.tasks`
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken, optional
    deliver : callable, optional
        Called with the first answer to a request that has two; the second is returned.

    Returns
    -------
    object
        Of what :func:`flairseg.worker.codec.encode_value` can send.

    Raises
    ------
    FlairSegError
        Everything that can go wrong, with advice.
    """
    task = TASKS.get(type(request))
    if task is None:
        raise WorkerError(f"There is no task for {type(request).__name__}.", "Restart Slicer after updating FlairSeg.")
    try:
        if isinstance(request, tasks.SegmentRequest):
            return _segment(request, progress, cancel, deliver)
        return task(request, progress, cancel)
    except (FlairSegError, MemoryError, BrokenPipeError):
        raise
    except ImportError as error:
        package = _DISTRIBUTIONS.get(error.name or "", error.name)
        raise MissingDependencyError(
            f"The Python package {error.name} is not installed.",
            f"In Slicer's Python console: slicer.util.pip_install('{package}'), then try again.",
        ) from error
    except OSError as error:
        told = typed(error)
        if isinstance(told, OutputError):
            raise told from error
        raise OutputError(
            f"A file could not be read or written ({error.strerror or type(error).__name__}).",
            "Check that the folder exists, is writable and has free space, then try again.",
        ) from error


def _segment(
    request: tasks.SegmentRequest,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
    deliver: Callable[[Segmentation], None] | None = None,
) -> Segmentation | tasks.RegionsAnswer:
    from ..segmentation.pipeline import segment

    if not request.regions:
        return segment(request.volume, _model(request), request.device, progress, cancel)
    told = None if progress is None else _each_from_the_start(progress)
    found = segment(request.volume, _model(request), request.device, told, cancel, regions=True, on_segmented=deliver)
    assert found.regions is not None  # noqa: S101 - they were requested
    return _packed(found.regions)


def _each_from_the_start(progress: ProgressCallback) -> ProgressCallback:
    """Progress of two answers: that of the regions begins at 0, too."""
    begin, end = STAGES["postprocess"], STAGES["regions"]

    def told(fraction: float, stage: str) -> None:
        progress((fraction - begin) / (end - begin) if stage == "regions" else fraction, stage)

    return told


def _model(request: tasks.SegmentRequest | tasks.FollowRequest) -> Model:
    """What segments: the model that was chosen, or the one in use."""
    from ..models.in_use import in_use

    return in_use(request.model) if request.in_use else request.model


def _regions(
    request: tasks.RegionsRequest, progress: ProgressCallback | None, cancel: CancelToken | None
) -> tasks.RegionsAnswer:
    from ..anatomy import find_regions

    return _packed(find_regions(request.volume, request.labels, progress=progress, cancel=cancel))


def _packed(regions: RegionMap) -> tasks.RegionsAnswer:
    from ..anatomy.packing import pack_regions

    return tasks.RegionsAnswer(pack_regions(regions), regions.warnings)


def _compare(
    request: tasks.CompareRequest, progress: ProgressCallback | None, cancel: CancelToken | None
) -> tasks.CompareAnswer:
    """Stages are ``<model id>:<stage>``."""
    from ..comparison.comparing import compare

    comparison = compare(request.volume, request.models, request.device, progress, cancel)
    return tasks.CompareAnswer(
        [one.figures for one in comparison.models],
        [one.segmentation for one in comparison.models],
        comparison.rounded_dice(),
    )


def _follow(
    request: tasks.FollowRequest, progress: ProgressCallback | None, cancel: CancelToken | None
) -> tasks.FollowAnswer:
    from ..longitudinal import StudyInput, follow, rigid
    from ..report.case import change_of

    studies = [StudyInput(study.volume, study.labels, date=study.date) for study in request.studies]
    found = follow(studies, _model(request), request.device, progress, cancel)
    change = change_of(found.summary())
    assert change is not None  # noqa: S101 - a follow-up has two studies
    if request.regions is not None:
        change = change.located(_regions_of_last(found, request.regions))
    return tasks.FollowAnswer(
        change,
        found.space.grid.ijk_to_ras,
        found.subtraction,
        found.change_map,
        [rigid.invert(motion) for motion in found.space.common_to_study],
    )


def _regions_of_last(found: FollowUp, packed: np.ndarray) -> dict[int, str]:
    """Region of each lesion of the last study, by its number."""
    from ..anatomy.packing import unpack_regions
    from ..anatomy.regions import lesion_regions
    from ..lesions.components import find_lesions

    study = found.studies[-1]
    lesions = find_lesions(study.labels, study.volume.ijk_to_ras)
    return lesion_regions(lesions, study.labels, unpack_regions(packed, study.volume.ijk_to_ras))


def _export(
    request: tasks.ExportRequest, progress: ProgressCallback | None, cancel: CancelToken | None
) -> tasks.ExportAnswer:
    from .export import write_export

    return write_export(request, progress, cancel)


def _adapt(
    request: tasks.AdaptRequest, progress: ProgressCallback | None, cancel: CancelToken | None
) -> tasks.AdaptAnswer:
    """Stages ``check``, ``base``, ``prove``, ``train``, ``no-harm``, ``write``."""
    from ..adapt.requirements import require_torch

    require_torch()
    from ..adapt.cases import read_cases
    from ..adapt.options import ModelTarget, TrainingOptions
    from ..adapt.running import adapt

    names = {str(one.number): one.name for one in read_cases(request.cases)[0]}
    training = TrainingOptions(float(request.minutes), device=request.device)
    adapt(request.cases, ModelTarget(request.output), training=training, progress=progress, cancel=cancel)
    return tasks.AdaptAnswer(request.output, names)


#: Request -> function.
TASKS: dict[type, Callable[[Any, ProgressCallback | None, CancelToken | None], Any]] = {
    tasks.SegmentRequest: _segment,
    tasks.RegionsRequest: _regions,
    tasks.CompareRequest: _compare,
    tasks.FollowRequest: _follow,
    tasks.ExportRequest: _export,
    tasks.AdaptRequest: _adapt,
}
