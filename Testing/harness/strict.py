"""The application's names and no others: what code outside the harness may read from and write to Qt objects.

Whoever reads or writes an attribute is told by the file of its code. Code of the extension, and Slicer's own Python, is
held to the table of :mod:`.names`; tests may in addition use what a stand-in lists as ``HARNESS_NAMES``; the harness
itself and PySide6 are free. Attribute look-ups that PySide6's C code makes while it runs under such code (for virtual
functions, for instance) are told from those that the code makes by the instruction that it is at.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

from . import names
from .values import BoundSignal, Method, as_method, give, is_signal, take

FREE, TESTS, PRODUCT = 0, 1, 2
_HARNESS = Path(__file__).parent
_REPOSITORY = _HARNESS.parents[1]
_ATTRIBUTE_INSTRUCTIONS = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "STORE_ATTR", "DELETE_ATTR")
_LOOKING_UP = ("getattr", "hasattr", "setattr", "attrgetter")


class HarnessLacksError(NotImplementedError):
    """The application has the name and the harness has not. No AttributeError: ``hasattr`` must not say no."""


@cache
def freedom(filename: str) -> int:
    """How free code of a file is: :data:`FREE`, :data:`TESTS` or :data:`PRODUCT`."""
    path = Path(filename)
    if filename.startswith("<frozen"):
        return FREE
    if _HARNESS in path.parents:
        own = path.parent.name in ("slicer_side", "module_side")  # imitate files of Slicer's own
        return PRODUCT if own else FREE
    if (_REPOSITORY / "Testing") in path.parents or (_REPOSITORY / "tools") in path.parents:
        return TESTS
    if "site-packages" in path.parts:
        return PRODUCT if path.parent.name == "slicer" else FREE
    return FREE if path.is_relative_to(sys.base_prefix) else PRODUCT


#: Functions that Qt calls and Python may override: PySide6 asks every object for them, whoever's code runs.
_VIRTUAL = frozenset(
    (
        *("connectNotify", "devType", "disconnectNotify", "event", "eventFilter", "focusNextPrevChild"),
        *("hasHeightForWidth", "heightForWidth", "hitButton", "initPainter", "initStyleOption", "inputMethodQuery"),
        *("metaObject", "metric", "minimumSizeHint", "paintEngine", "redirected", "setVisible", "sharedPainter"),
        "sizeHint",
    )
)


#: By id of a code object: itself, so that the id stays its own, and what :func:`_attributes_by_offset` found in it.
_known_code: dict[int, tuple[CodeType, dict[int, str]]] = {}


def _attributes_by_offset(code: CodeType) -> dict[int, str]:
    """Offset of each instruction of a code object that looks an attribute up, and the attribute's name."""
    known = _known_code.get(id(code))
    if known is None:
        found = {i.offset: i.argval for i in dis.get_instructions(code) if i.opname in _ATTRIBUTE_INSTRUCTIONS}
        known = _known_code[id(code)] = (code, found)
    return known[1]


def looks_up(frame: FrameType, name: str) -> bool:
    """Whether the Python instruction that a frame is at looks this attribute up itself.

    An instruction that reads or writes another attribute runs Qt, too: with the last reference to an object goes the
    object, and PySide6 looks for a ``disconnectNotify`` of it.
    """
    code = frame.f_code
    asked = _attributes_by_offset(code).get(frame.f_lasti)
    if asked is not None:
        return asked == name
    if not any(function in code.co_names for function in _LOOKING_UP):
        return False
    # getattr(thing, "name"), or a function of Qt's that PySide6 runs? A name that is made up on the way is not checked.
    return name in code.co_consts and name not in _VIRTUAL and not name.endswith("Event")


def level(name: str) -> int:
    """How free the code is that asked the caller of this function for an attribute."""
    try:
        frame = sys._getframe(2)
    except ValueError:  # Qt called without any Python below it
        return FREE
    filename = frame.f_code.co_filename
    if filename == "<string>":  # the methods of a dataclass, a test's python -c
        filename = frame.f_globals.get("__file__", __file__)
    found = freedom(filename)
    return found if found == FREE or looks_up(frame, name) else FREE


@dataclass(frozen=True)
class ClassNames:
    """What objects of a class offer.

    Attributes
    ----------
    name : str
        The class of the application.
    kinds : mapping
        Its names, see :func:`.names.kinds`.
    extras : frozenset of str
        Names that tests may use besides.
    """

    name: str
    kinds: Mapping[str, str]
    extras: frozenset[str]


def _application_class(cls: type) -> str | None:
    stands_for = cls.__dict__.get("STANDS_FOR")
    if stands_for:
        return stands_for
    return cls.__name__ if names.kinds(cls.__name__) is not None else None


@cache
def class_names(cls: type) -> ClassNames | None:
    """The names of the application's class that a class stands for; None for one that is ours alone.

    A class written in Python outside the harness may have attributes of its own, as PythonQt allows it.
    """
    if freedom(getattr(sys.modules.get(cls.__module__), "__file__", None) or "<frozen>") != FREE:
        return None
    extras = frozenset(name for base in cls.__mro__ for name in base.__dict__.get("HARNESS_NAMES", ()))
    for base in cls.__mro__:
        name = _application_class(base)
        if name is not None:
            return ClassNames(name, names.kinds(name), extras)
    return None


def read(instance, name: str, freedom_: int, plain: Callable):
    """An attribute of an object, as the application would give it.

    Parameters
    ----------
    instance : object
        Of Qt, ctk, qMRML or qSlicer.
    name : str
        The attribute.
    freedom_ : int
        :data:`TESTS` or :data:`PRODUCT`.
    plain : callable
        Reads the attribute without any rule: ``plain(instance, name)``.

    Raises
    ------
    AttributeError
        In the application's words, where the application has no such name.
    HarnessLacksError
        Where only the harness has none.
    """
    known = class_names(type(instance))
    if known is None or (freedom_ == TESTS and name in known.extras):
        return plain(instance, name)
    kind = known.kinds.get(name)
    if kind is None:
        raise AttributeError(f"{known.name} has no attribute named '{name}'")
    try:
        value = plain(instance, name)
    except AttributeError as error:
        raise HarnessLacksError(f"{known.name}.{name} is in the application and not in the harness") from error
    if is_signal(value):
        return BoundSignal(instance, name, value)
    if kind == names.CALLS:
        return as_method(known.name, name, instance, value)
    if names.is_property(kind):
        return give(value() if callable(value) and not isinstance(value, type) else value)
    if callable(value) and not isinstance(value, type):
        return Method(known.name, name, value)
    return give(value)


def check_write(instance, name: str, freedom_: int) -> None:
    """Raise what the application raises where this attribute cannot be assigned.

    Raises
    ------
    AttributeError
        For a name that is not there, and for a method, a signal or an enumerator.
    """
    known = class_names(type(instance))
    if known is None or (freedom_ == TESTS and name in known.extras):
        return
    kind = known.kinds.get(name)
    if kind is None:
        raise AttributeError(
            f"'{name}' does not exist on {known.name} and creating new attributes on C++ objects is not allowed"
        )
    if kind in (names.CALLS, names.SIGNALS, names.ENUMERATORS):
        words = {names.CALLS: "Slot", names.SIGNALS: "Signal", names.ENUMERATORS: "EnumValue"}[kind]
        raise AttributeError(f"{words} '{name}' can not be overwritten on {known.name} object")


def read_from_class(cls: type, name: str, plain: Callable):
    """An attribute of a class (an enumerator, a static function), as the application would give it."""
    if cls.__name__ == "Qt":
        if name in names.NOT_IN_QT_NAMESPACE:
            raise AttributeError(f"Qt has no attribute named '{name}'")
        return give(plain(cls, name))
    known = class_names(cls)
    if known is None:
        return plain(cls, name)
    if name not in known.kinds:
        raise AttributeError(f"{known.name} has no attribute named '{name}'")
    value = give(plain(cls, name))
    return Method(known.name, name, value) if callable(value) and not isinstance(value, type) else value


class Guarded:
    """Base of the stand-ins that are no Qt objects: their attributes are those of ``STANDS_FOR``, too."""

    def __getattribute__(self, name: str):
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        free = level(name)
        if free == FREE:
            return object.__getattribute__(self, name)
        return read(self, name, free, _plain_or_fallback)

    def __setattr__(self, name: str, value) -> None:
        free = level(name)
        if free != FREE:
            check_write(self, name, free)
        object.__setattr__(self, name, take(value))


def _plain_or_fallback(instance, name: str):
    try:
        return object.__getattribute__(instance, name)
    except AttributeError:
        fallback = getattr(type(instance), "__getattr__", None)
        if fallback is None:
            raise
        return fallback(instance, name)
