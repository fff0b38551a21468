"""Names that PythonQt gives the classes of the Slicer application, from a table read in a running Slicer.

The table is ``data/pythonqt_5.13.json``; its origin is in ``data/README.md``. What is not in it and is
met nevertheless is in ``data/further_classes.json``; of the namespace ``Qt`` exceptions are here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

#: Kinds of names that are not properties.
CALLS, SIGNALS, ENUMERATORS, UNKNOWN = "calls", "signals", "enumerators", "unknown"
_KEYS_OF_A_RECORD = ("module", "inherits", "includes")

#: Enumerators that Qt has and PythonQt's ``Qt`` has not: their enumeration is not known to Qt's meta objects.
NOT_IN_QT_NAMESPACE = frozenset({"ALT", "CTRL", "META", "MODIFIER_MASK", "SHIFT", "UNICODE_ACCEL", "Modifier"})

#: PythonQt maps ``name`` to the property ``objectName``; dir() does not list it, ``slicer.util`` reads it.
_IMPLICIT = {"QObject": {"name": "str"}, "QWidget": {"name": "str"}}


@cache
def table() -> dict[str, dict[str, str]]:
    """The table's records by class name, as stored."""
    folder = Path(__file__).parent / "data"
    found = {}
    for name in ("pythonqt_5.13.json", "further_classes.json"):
        found.update(json.loads((folder / name).read_text(encoding="utf-8"))["classes"])
    return found


@cache
def kinds(class_name: str) -> Mapping[str, str] | None:
    """Every name of a class of the application, inherited ones included, and its kind.

    Parameters
    ----------
    class_name : str
        As in C++: ``QLabel``, ``ctkSliderWidget``, ``qMRMLNodeComboBox``.

    Returns
    -------
    mapping or None
        Name to :data:`CALLS`, :data:`SIGNALS`, :data:`ENUMERATORS`, :data:`UNKNOWN` (property or method) or, for a
        property, the Python type of its value; None for a class that the table does not hold.
    """
    record = table().get(class_name)
    if record is None:
        return None
    found: dict[str, str] = dict(_IMPLICIT.get(class_name, {}))
    base = record.get("includes") or record.get("inherits")
    if base is not None:
        found.update(kinds(base))
    for kind, listed in record.items():
        if kind not in _KEYS_OF_A_RECORD:
            found.update(dict.fromkeys(listed.split(), kind))
    return MappingProxyType(found)


def is_property(kind: str) -> bool:
    """Whether a name of this kind is certainly read as a value."""
    return kind not in (CALLS, SIGNALS, ENUMERATORS, UNKNOWN)


def in_module(module: str) -> set[str]:
    """Class names of ``qt``, ``ctk`` or ``slicer`` in the table."""
    return {name for name, record in table().items() if record["module"] == module}
