"""Typed errors and warnings, each with a code and fields that a front end can phrase in its own terms.

An error's ``message`` says what happened and ``advice`` what helps, both without naming options of the command line or
widgets of Slicer. A front end that knows a better way to say the advice looks it up by ``code`` and fills in
``fields``: :mod:`flairseg.cli.advice` names options, Slicer's panel names its buttons.
No message carries a patient's name or identifier beyond the path the user typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any


def _code_of(class_name: str) -> str:
    """``InputNotFoundError`` becomes ``input-not-found``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", class_name.removesuffix("Error")).lower()


class FlairSegError(Exception):
    """Base of every error that FlairSeg raises on purpose.

    Parameters
    ----------
    message : str
        What happened, one sentence.
    advice : str
        What the user can do, one sentence, valid in every front end.
    code : str, optional
        Stable identifier in kebab case; derived from the class where it is not given.
    **fields : str, int, float, bool, None or list of these
        What the message is made of (paths, values, names), for front ends and for machine-readable output.
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
        """What helps in a front end's own words; :attr:`advice` where it has none for this code.

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
        """The same error with its texts changed, for instance without names: message, advice and text fields."""
        fields = {key: _changed(value, change) for key, value in self.fields.items()}
        return rebuilt(type(self), change(self.message), change(self.advice), self.code, fields)

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.message, self.advice, self.code, self.fields)


def _changed(value: object, change: Callable[[str], str]) -> object:
    """Text and paths changed, also within lists; anything else as it is."""
    if isinstance(value, (str, PurePath)):
        return change(str(value))
    if isinstance(value, (list, tuple)):
        return [_changed(one, change) for one in value]
    return value


def rebuilt(
    kind: type[FlairSegError], message: str, advice: str, code: str, fields: dict[str, object]
) -> FlairSegError:
    """An error of this class as it was, without going through the constructor of a subclass."""
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
        What was noticed, one sentence.
    code : str
        Stable identifier in kebab case.
    **fields : int or float
        The figures of the message, for programs: slices used and missing, distances in mm. Numbers alone, so that no
        field can hold a name.
    """

    __slots__ = ("code", "fields")
    code: str
    fields: dict[str, float]

    def __new__(cls, message: str, code: str = "note", /, **fields: float) -> CaseWarning:
        """Text, code and figures; ``str`` is immutable, so all are set here."""
        warning = super().__new__(cls, message)
        warning.code = code
        warning.fields = fields
        return warning

    def __reduce__(self) -> tuple[object, ...]:
        return CaseWarning.of, (self.to_dict(),)

    def reworded(self, message: str) -> CaseWarning:
        """The same warning in other words: under a pseudonym, or with the study that it is about."""
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
    """Warnings out of a file: objects of code and message, or the bare text of files before they had codes.

    Parameters
    ----------
    content : object
        What stands under ``warnings``; anything that is no warning is left out.
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
    """A DICOM folder holds images, but none of its series is a FLAIR, or nothing says which."""


class InvalidGeometryError(FlairSegError):
    """Spacing or direction makes no physical sense (zero, absurd, sheared or singular affine)."""


class GridMismatchError(FlairSegError):
    """Two images that must share a voxel grid do not, or a part is outside of the whole."""


class UnsuitableMaskError(FlairSegError):
    """A mask or probability file holds something else, or nothing says what its values mean."""


class InvalidMappingError(FlairSegError):
    """What label values mean was not said in a way that can be understood."""


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
    """Two studies cannot be aligned (different patients, no brain found, too little of it shared)."""


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
        self,
        message: str = "Cancelled.",
        advice: str = "Nothing was written; start again when ready.",
        *,
        code: str | None = None,
        **fields: object,
    ) -> None:
        super().__init__(message, advice, code=code, **fields)
