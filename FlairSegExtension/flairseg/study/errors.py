"""Errors of reader studies; each carries advice."""

from __future__ import annotations

from ..errors import FlairSegError


class StudyError(FlairSegError):
    """Base of the errors of reader studies."""


class ProtocolError(StudyError):
    """The protocol is not valid.

    Attributes
    ----------
    place : str
        Where, as in ``cases[3].arms[0].mask``.
    problem : str
        The fault.
    """

    def __init__(self, place: str, problem: str, advice: str = "Correct this place of the protocol.") -> None:
        message = f"The protocol is not valid at {place or 'its top level'}: {problem}."
        super().__init__(message, advice, place=place, problem=problem)

    @property
    def place(self) -> str:
        """Where, as in ``cases[3].arms[0].mask``."""
        return str(self.fields["place"])

    @property
    def problem(self) -> str:
        """Description of the fault."""
        return str(self.fields["problem"])


class ScheduleError(StudyError):
    """No order keeps the washout that the protocol asks for."""


class StudyStateError(StudyError):
    """The study is not in the state that this step needs (not locked, still open, closed already)."""


class TamperedError(StudyError):
    """A locked item was changed: the protocol, an order, an image, the key or a record."""


class BlindedImageError(StudyError):
    """An image or a mask of the protocol cannot be shown (wrong grid, no such class, not readable)."""


class AnswerRefusedError(StudyError):
    """A mark or an answer cannot be taken (not a valid value, time is up, answered already, paused)."""


class RoomBusyError(StudyError):
    """Another program has this rater's room open."""


class ReferenceStepError(StudyError):
    """A step that is not possible now in a reference session (not this reader's turn, no such case or dot)."""
