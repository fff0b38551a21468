"""Dates as users type them."""

from __future__ import annotations

from datetime import datetime

from ..errors import FlairSegError


def iso_date(text: str) -> str:
    """A date written as ``YYYY-MM-DD``.

    Raises
    ------
    FlairSegError
        If it is none.
    """
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date().isoformat()
    except ValueError as error:
        raise FlairSegError(f"{text!r} is not a date.", "Write dates as YYYY-MM-DD.") from error
