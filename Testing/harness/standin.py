"""What the stand-ins for ctk and qMRML widgets share."""

from __future__ import annotations

from PySide6 import QtCore


def kept(kind, name: str, default=None, then: str | None = None):
    """A Q_PROPERTY that keeps its value, for the body of a class: ``title = kept(str, "title", "")``.

    It is real to Qt, so that .ui files set it, and an attribute to Python.

    Parameters
    ----------
    kind : type or str
        The property's type, as PySide6's ``Property`` takes it.
    name : str
        Its name.
    default : object
        Value before it is set.
    then : str, optional
        Method that is called with the value once it has changed.
    """
    return kept_with_setter(kind, name, default, then)[0]


def kept_with_setter(kind, name: str, default=None, then: str | None = None):
    """:func:`kept` and its setter, where that is a slot: ``(property, setter)``."""
    field = f"_{name}"

    def get(self):
        return getattr(self, field, default)

    def put(self, value) -> None:
        if get(self) == value:
            return
        setattr(self, field, value)
        if then is not None:
            getattr(self, then)(value)

    return QtCore.Property(kind, get, put), put
