"""Typed errors. Each says what happened and, in ``advice``, what the user can do about it.

The command line prints ``message`` and ``advice`` and exits with 2; Slicer shows the same two sentences.
No error message carries a patient's name or identifier beyond the path the user typed.
"""

from __future__ import annotations


class FlairSegError(Exception):
    """Base of every error that FlairSeg raises on purpose.

    Parameters
    ----------
    message : str
        What happened, one sentence in plain words.
    advice : str
        What the user can do, one sentence in plain words.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class InputNotFoundError(FlairSegError):
    """The input file or folder does not exist, or the folder holds no image."""


class UnreadableImageError(FlairSegError):
    """The file exists but cannot be read as an image (truncated, wrong format, no permission)."""


class UnsupportedImageError(FlairSegError):
    """The image was read but is not one scalar 3-D volume (4-D, RGB, complex, several series)."""


class NoFlairError(UnsupportedImageError):
    """A DICOM folder holds images, but none of its series is a FLAIR, or nothing says which."""


class InvalidGeometryError(FlairSegError):
    """Spacing or direction makes no physical sense (zero, absurd, sheared or singular affine)."""


class UnusableIntensitiesError(FlairSegError):
    """The voxels hold nothing to segment (empty, constant, all NaN)."""


class ModelNotFoundError(FlairSegError):
    """No model with that id or path."""


class InvalidModelError(FlairSegError):
    """The model or its card is altered (sha256), incomplete, or not a model that FlairSeg can run."""


class DeviceError(FlairSegError):
    """The requested device name is unknown, or the runtime could not start on any device."""


class OutputError(FlairSegError):
    """The results cannot be written (read-only or full folder, existing results without overwrite)."""


class RegistrationError(FlairSegError):
    """Two studies cannot be laid over each other (different patients, no brain found, too little of it shared)."""


class MissingDependencyError(FlairSegError):
    """A Python package that is needed for this step is not installed."""


class NotEnoughMemoryError(FlairSegError):
    """Memory ran out during a run, or the system ended the run for it."""


class WorkerError(FlairSegError):
    """The process that runs the model could not be started, crashed or answered nonsense."""


class RunInProgressError(FlairSegError):
    """A second run was asked for while one is under way."""


class InputChangedError(FlairSegError):
    """The volume's voxels or grid changed while it was being segmented."""


class Cancelled(FlairSegError):
    """The user cancelled. Nothing half-written is left."""

    def __init__(
        self, message: str = "Cancelled.", advice: str = "Nothing was written; start again when ready."
    ) -> None:
        super().__init__(message, advice)
