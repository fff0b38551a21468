"""Typed errors and warnings, each with a code and fields that a front end can phrase in its own terms.

``message`` states what happened and ``advice`` what to do, both without naming options of the command line or
widgets of Slicer. A front end with more specific advice looks it up by ``code`` and fills in
``fields``: :mod:`flairseg.cli.advice` names options, Slicer's panel names its buttons.
No message carries a patient's name or identifier beyond the path the user typed.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any


def _code_of(class_name: str) -> str:
    """``InputNotFoundError`` becomes ``input-not-found``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", class_name.removesuffix("Error")).lower()


class FlairSegError(Exception):
    """Base class of all errors raised by FlairSeg.

    Parameters
    ----------
    message : str
        What happened, one sentence.
    advice : str
        What the user can do, one sentence, valid in every front end.
    code : str, optional
        Stable identifier in kebab case; default: derived from the class.
    **fields : str, int, float, bool, None or list of these
        Values in the message (paths, values, names), for front ends and machine-readable output.
    """

    def __init__(self, message: str, advice: str = "", *, code: str | None = None, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code or _code_of(type(self).__name__)
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()

    def advice_of(self, phrases: Mapping[str, str]) -> str:
        """Advice as phrased by a front end; :attr:`advice` where it has none for this code.

        Parameters
        ----------
        phrases : mapping of str to str
            Code -> text with the names of fields in braces.
        """
        try:
            return phrases[self.code].format_map(self.fields)
        except KeyError:
            return self.advice

    def reworded(self, change: Callable[[str], str]) -> FlairSegError:
        """The same error with changed texts (message, advice and text fields), for instance without names."""
        fields = {key: _changed(value, change) for key, value in self.fields.items()}
        return rebuilt(type(self), change(self.message), change(self.advice), self.code, fields)

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.message, self.advice, self.code, self.fields)


def _changed(value: object, change: Callable[[str], str]) -> object:
    """Apply the change to text and paths, also within lists; leave anything else as it is."""
    if isinstance(value, (str, PurePath)):
        return change(str(value))
    if isinstance(value, (list, tuple)):
        return [_changed(one, change) for one in value]
    return value


def rebuilt(
    kind: type[FlairSegError], message: str, advice: str, code: str, fields: dict[str, object]
) -> FlairSegError:
    """Rebuild an error of this class without calling the constructor of a subclass."""
    error = kind.__new__(kind)
    FlairSegError.__init__(error, message, advice, code=code, **fields)
    return error


class CaseWarning(str):
    """A warning about a case: text with a stable ``code`` in kebab case.

    It is a ``str``, so that it can be printed, compared and joined; ``summary.json`` and the worker's pipe write it as
    ``{"code": ..., "message": ..., <field>: <number>, ...}``.

    Parameters
    ----------
    message : str
        The observation, one sentence.
    code : str
        Stable identifier in kebab case.
    **fields : int or float
        The figures of the message, for programs: slices used and missing, distances in mm. Numbers only, so that no
        field can hold a name.
    """

    __slots__ = ("code", "fields")
    code: str
    fields: dict[str, float]

    def __new__(cls, message: str, code: str = "note", /, **fields: float) -> CaseWarning:
        """Set text, code and figures; ``str`` is immutable."""
        warning = super().__new__(cls, message)
        warning.code = code
        warning.fields = fields
        return warning

    def __reduce__(self) -> tuple[object, ...]:
        return CaseWarning.of, (self.to_dict(),)

    def reworded(self, message: str) -> CaseWarning:
        """The same warning with another text: under a pseudonym, or with the study it concerns."""
        return CaseWarning(message, self.code, **self.fields)

    def to_dict(self) -> dict[str, Any]:
        """``{"code", "message", **fields}`` for JSON."""
        return {"code": self.code, "message": str(self), **self.fields}

    @classmethod
    def of(cls, value: str | Mapping[str, Any]) -> CaseWarning:
        """From text, a warning, or what :meth:`to_dict` made."""
        if isinstance(value, Mapping):
            told = {k: v for k, v in value.items() if k not in ("code", "message") and isinstance(v, (int, float))}
            return cls(str(value.get("message", "")), str(value.get("code", "note")), **told)
        return cls(str(value), getattr(value, "code", "note"), **getattr(value, "fields", {}))


def warnings_from(content: object) -> tuple[CaseWarning, ...]:
    """Read warnings from a file: objects of code and message, or plain text in files of earlier versions.

    Parameters
    ----------
    content : object
        Value of ``warnings``; anything that is not a warning is left out.
    """
    entries = content if isinstance(content, (list, tuple)) else ()
    found = (CaseWarning.of(entry) for entry in entries if isinstance(entry, (str, Mapping)))
    return tuple(warning for warning in found if warning.strip())


def warnings_as_dicts(warnings: Iterable[str]) -> list[dict[str, Any]]:
    """Warnings as they are written to files and sent to another process: ``[{"code", "message", ...}, ...]``."""
    return [CaseWarning.of(warning).to_dict() for warning in warnings]


class InputNotFoundError(FlairSegError):
    """The input file or folder does not exist, or the folder holds no image."""


class UnreadableImageError(FlairSegError):
    """The file exists but cannot be read as an image (truncated, wrong format, no permission)."""


class UnsupportedImageError(FlairSegError):
    """The image was read but is not one scalar 3-D volume (4-D, RGB, complex, several series)."""


class NoFlairError(UnsupportedImageError):
    """A DICOM folder contains images, but no series is a FLAIR, or it is unclear which."""


class InvalidGeometryError(FlairSegError):
    """Spacing or direction makes no physical sense (zero, absurd, sheared or singular affine)."""


class GridMismatchError(FlairSegError):
    """Two images that must share a voxel grid do not, or a part is outside the whole."""


class UnsuitableMaskError(FlairSegError):
    """A mask or probability file contains something else, or its values have no known meaning."""


class InvalidMappingError(FlairSegError):
    """A meaning of label values cannot be parsed."""


class UnusableIntensitiesError(FlairSegError):
    """The image has no usable intensities (empty, constant, all NaN)."""


class ModelNotFoundError(FlairSegError):
    """No model with that id or path."""


class InvalidModelError(FlairSegError):
    """The model or its card is altered (sha256), incomplete, or not a model that FlairSeg can run."""


class DeviceError(FlairSegError):
    """The requested device name is unknown, or the runtime could not start on any device."""


class OutputError(FlairSegError):
    """The results cannot be written (read-only or full folder, existing results without overwrite)."""


class RegistrationError(FlairSegError):
    """Two studies cannot be registered (different patients, no brain found, too little overlap)."""


class MissingDependencyError(FlairSegError):
    """A Python package that is needed for this step is not installed."""


class NotEnoughMemoryError(FlairSegError):
    """Memory ran out during a run, or the system ended the run for lack of memory."""


class WorkerError(FlairSegError):
    """The worker process could not be started, crashed or sent an invalid answer."""


class RunInProgressError(FlairSegError):
    """A second run was requested while one is in progress."""


class InputChangedError(FlairSegError):
    """The volume's voxels or grid changed while it was being segmented."""


class Cancelled(FlairSegError):
    """The user cancelled. No partial files are left."""

    def __init__(
        self,
        message: str = "Cancelled.",
        advice: str = "Nothing was written; start again when ready.",
        *,
        code: str | None = None,
        **fields: object,
    ) -> None:
        super().__init__(message, advice, code=code, **fields)


#: What the operating system may refuse through no fault of the program: what happened, and what to do.
_REFUSALS = {
    (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)): (
        "disk-full",
        "A disk is full",
        "Free some space on the disk of the results and on that of temporary files, then repeat the command.",
    ),
    (errno.EFBIG,): (
        "file-too-large",
        "A file would be larger than this system allows",
        "Raise the limit of file sizes (ulimit -f), or choose a folder on another disk.",
    ),
    (errno.EACCES, errno.EPERM, errno.EROFS): (
        "no-permission",
        "Access was refused",
        "Check the permissions of the file and of its folder.",
    ),
    (errno.EMFILE, errno.ENFILE): ("too-many-files", "Too many files are open", "Close other programs and try again."),
    (errno.EIO, getattr(errno, "ESTALE", errno.EIO), errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT): (
        "disk-failed",
        "A disk or network drive failed",
        "Check that the drive is connected, then repeat the command.",
    ),
}


def typed(
    error: BaseException,
    lack: str = "There is not enough memory.",
    advice: str = "Close other programs and try again.",
) -> FlairSegError:
    """The error as a user should read it.

    Parameters
    ----------
    error : BaseException
    lack, advice : str
        What to say of a lack of memory.

    Returns
    -------
    FlairSegError
        FlairSeg's own as it is; lack of memory, and what the operating system refuses (full disk, no permission, a
        drive that went away), in words; anything else as a defect, code ``unexpected-error``.
    """
    if isinstance(error, FlairSegError):
        return error
    if isinstance(error, MemoryError):
        return NotEnoughMemoryError(lack, advice)
    if isinstance(error, OSError):
        for numbers, (code, what, remedy) in _REFUSALS.items():
            if error.errno in numbers:
                where = f": {error.filename}" if isinstance(error.filename, (str, PurePath)) else ""
                return OutputError(f"{what} ({error.strerror}{where}).", remedy, code=code)
    return FlairSegError(
        f"An unexpected error occurred ({type(error).__name__}: {error}).",
        "This is a defect of FlairSeg: please report it with this message.",
        code="unexpected-error",
    )
