"""What Slicer has a process do besides segmenting: named functions of plain values and arrays, see :mod:`.wire`.

Each takes its arguments as one dict, a progress callback and a cancel token, and returns a dict. Whatever goes wrong
becomes a typed error. A volume is ``{"array": (K, J, I), "ijk_to_ras": 4 x 4 in mm, RAS, "name": str}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import FlairSegError, MissingDependencyError, OutputError, WorkerError
from .volume import Volume

if TYPE_CHECKING:
    from .progress import CancelToken, ProgressCallback

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
        Of what :func:`flairseg.wire.encode_value` can send.

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


#: Name -> function.
TASKS: dict[str, Task] = {}
