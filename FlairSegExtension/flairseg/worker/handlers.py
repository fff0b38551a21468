"""What Slicer has a process do besides segmenting: named functions of plain values and arrays, see :mod:`.protocol`.

Each takes its arguments as one dict, a progress callback and a cancel token, and returns a dict. Whatever goes wrong
becomes a typed error. A volume is ``{"array": (K, J, I), "ijk_to_ras": 4 x 4 in mm, RAS, "name": str}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FlairSegError, MissingDependencyError, OutputError, WorkerError, warnings_as_dicts
from ..image.volume import Volume

if TYPE_CHECKING:
    from ..progress import CancelToken, ProgressCallback

    Task = Callable[[dict[str, Any], ProgressCallback | None, CancelToken | None], dict[str, Any]]


def run(
    name: str,
    arguments: dict[str, Any],
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Do one of :data:`TASKS`.

    Parameters
    ----------
    name : str
    arguments : dict
        As the task's function describes them.
    progress : callable, optional
        ``progress(fraction, stage)``.
    cancel : CancelToken, optional

    Returns
    -------
    dict
        Of what :func:`flairseg.worker.protocol.encode_value` can send.

    Raises
    ------
    FlairSegError
        Everything that can go wrong, with advice.
    """
    task = TASKS.get(name)
    if task is None:
        raise WorkerError(f"There is no task called {name}.", "Restart Slicer after updating FlairSeg.")
    try:
        return task(arguments, progress, cancel)
    except (FlairSegError, MemoryError, BrokenPipeError):
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"The Python package {error.name} is not installed.",
            f"In Slicer's Python console: slicer.util.pip_install('{error.name}'), then try again.",
        ) from error
    except OSError as error:
        raise OutputError(
            f"A file could not be read or written ({error.strerror or type(error).__name__}).",
            "Check that the folder exists, may be written to and has room, then try again.",
        ) from error


def volume_fields(volume: Volume) -> dict[str, Any]:
    """A volume as an argument of a task."""
    return {"array": volume.array, "ijk_to_ras": volume.ijk_to_ras.ravel().tolist(), "name": volume.name}


def volume_of(fields: dict[str, Any]) -> Volume:
    """The volume that :func:`volume_fields` described."""
    affine = np.array(fields["ijk_to_ras"], float).reshape(4, 4)
    return Volume(fields["array"], affine, str(fields["name"]))


def regions(
    arguments: dict[str, Any], progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Find the regions of the brain on a volume.

    Parameters
    ----------
    arguments : dict
        ``volume``; ``labels`` (uint8, K, J, I).
    progress, cancel
        As for :func:`run`.

    Returns
    -------
    dict
        ``text``: see :func:`flairseg.anatomy.packing.pack_regions`; empty where no regions were found, ``warnings`` say
        why.
    """
    from ..anatomy import find_regions
    from ..anatomy.packing import pack_regions

    found = find_regions(volume_of(arguments["volume"]), arguments["labels"], progress=progress, cancel=cancel)
    return {"text": pack_regions(found), "warnings": warnings_as_dicts(found.warnings)}


def compare(
    arguments: dict[str, Any], progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Segment a volume with several models.

    Parameters
    ----------
    arguments : dict
        ``volume``; ``models`` (ids or paths); ``device``.
    progress, cancel
        As for :func:`run`; stages are ``<model id>:<stage>``.

    Returns
    -------
    dict
        ``rows``: :meth:`flairseg.comparison.comparing.Compared.row` of each model; ``results``: in the same order
        ``fields`` and
        ``blocks`` of :func:`flairseg.worker.protocol.encode_result`, None for a model that failed; ``dice``: class
        id to a matrix
        models x models, None where it is not known.
    """
    from ..comparison.comparing import compare as compare_models
    from .protocol import encode_result

    comparison = compare_models(
        volume_of(arguments["volume"]), arguments["models"], str(arguments["device"]), progress, cancel
    )
    results = []
    for one in comparison.models:
        fields, blocks = (None, None) if one.segmentation is None else encode_result(one.segmentation)
        results.append(None if fields is None else {"fields": fields, "blocks": blocks})
    summary = comparison.summary()
    return {"rows": summary["models"], "results": results, "dice": summary["dice"]}


def follow(
    arguments: dict[str, Any], progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Find what changed between studies of one patient.

    Parameters
    ----------
    arguments : dict
        ``studies``: for each, the earliest first, ``volume``, ``date`` (ISO 8601 or None) and, where it is segmented
        already, ``labels`` (uint8, K, J, I); ``model`` and ``device`` for the others; ``regions`` of the last study
        (see :mod:`.packed_regions`; uint8, K, J, I), or None.
    progress, cancel
        As for :func:`run`.

    Returns
    -------
    dict
        ``record``: as ``followup.json``; ``ijk_to_ras`` of the half-way grid, on which ``difference`` (float32) and
        ``change`` (uint8, :data:`flairseg.longitudinal.states.CODES`) lie, K, J, I; ``to_halfway``: a rigid motion (16
        numbers, RAS mm) from each study to the half-way space.
    """
    from ..longitudinal import follow as follow_studies
    from ..longitudinal import rigid

    studies = arguments["studies"]
    found = follow_studies(
        [volume_of(study["volume"]) for study in studies],
        arguments["model"],
        str(arguments["device"]),
        progress,
        cancel,
        labels=[study.get("labels") for study in studies],
        dates=[study.get("date") for study in studies],
    )
    record = found.summary()
    if arguments.get("regions") is not None:
        _locate(record, found.studies[-1], arguments["regions"])
    return {
        "record": record,
        "ijk_to_ras": found.space.grid.ijk_to_ras.ravel().tolist(),
        "difference": found.subtraction,
        "change": found.change_map,
        "to_halfway": [rigid.invert(motion).ravel().tolist() for motion in found.space.common_to_study],
    }


def _locate(record: dict[str, Any], study: Any, packed: np.ndarray) -> None:
    """Write the region of each lesion that the last study shows into the record of a follow-up."""
    from ..anatomy.packing import unpack_regions
    from ..anatomy.regions import lesion_regions
    from ..lesions.components import find_lesions

    lesions = find_lesions(study.labels, study.volume.ijk_to_ras)
    where = lesion_regions(lesions, study.labels, unpack_regions(packed, study.volume.ijk_to_ras))
    for lesion in record["lesions"]:
        numbers = lesion["lesion_numbers"][-1]
        if lesion["region"] == "unknown" and numbers:
            lesion["region"] = where.get(numbers[0], "unknown")


def export(
    arguments: dict[str, Any], progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Write the report of a case, and its results as DICOM objects. What exists is kept: a new name is found.

    Parameters
    ----------
    arguments : dict
        As :func:`flairseg.worker.export.write_export` takes them; ``volume`` as fields.
    progress, cancel
        As for :func:`run`; stages ``regions``, ``report``, ``dicom``, ``write``.

    Returns
    -------
    dict
        ``files`` (paths) and ``warnings``.
    """
    from .export import write_export

    return write_export(volume_of(arguments.pop("volume")), progress=progress, cancel=cancel, **arguments)


def adapt(
    arguments: dict[str, Any], progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Adapt the model in use to the reviewed cases of a site, and prove whether it became better.

    What is finished is kept in ``output``: where the process is ended, the next call goes on.

    Parameters
    ----------
    arguments : dict
        ``cases`` and ``output`` (folders); ``minutes`` that it may take; ``settings``: fields of
        :class:`flairseg.adapt.tuning.Settings` that are not as usual, may be missing.
    progress, cancel
        As for :func:`run`; stages ``check``, ``base``, ``prove``, ``train``, ``no-harm``, ``write``.

    Returns
    -------
    dict
        ``folder``, to be read with :func:`flairseg.adapt.outcomes.read_outcome`; ``names``: numbers of the proof, as
        text, to names of cases, which are written nowhere.
    """
    from ..adapt.requirements import require_torch

    require_torch()
    from ..adapt.cases import read_cases
    from ..adapt.running import adapt as adapt_model
    from ..adapt.tuning import Settings

    stated = arguments.get("settings")
    names = {str(one.number): one.name for one in read_cases(arguments["cases"])[0]}
    adapt_model(
        arguments["cases"],
        arguments["output"],
        minutes=float(arguments["minutes"]),
        progress=progress,
        cancel=cancel,
        settings=None if stated is None else Settings(**stated),
    )
    return {"folder": str(arguments["output"]), "names": names}


#: Name -> function.
TASKS: dict[str, Task] = {"adapt": adapt, "compare": compare, "export": export, "follow": follow, "regions": regions}
