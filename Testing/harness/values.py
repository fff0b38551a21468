"""What crosses between PySide6 and code that is written for PythonQt: enumerators as ints, lists as tuples, signals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache, partial


class EnumValue(int):
    """An enumerator, or several of them joined, as PythonQt gives it: an int. Knows PySide6's own object."""

    member: Enum

    def __new__(cls, member: Enum) -> EnumValue:
        value = super().__new__(cls, member.value)
        value.member = member
        return value

    def _joined(self, other, operation: str):
        result = getattr(int, operation)(self, int(other))
        kind = type(self.member)
        same = isinstance(other, EnumValue) and isinstance(other.member, kind)
        if same or isinstance(other, int):
            try:
                return of_member(kind(result))
            except ValueError:
                return result
        return result

    def __or__(self, other):
        return self._joined(other, "__or__")

    def __and__(self, other):
        return self._joined(other, "__and__")

    def __xor__(self, other):
        return self._joined(other, "__xor__")

    def __invert__(self):
        return int.__invert__(self)

    __ror__, __rand__ = __or__, __and__

    def __eq__(self, other) -> bool:
        return int(self) == (other.value if isinstance(other, Enum) else other)

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __repr__(self) -> str:
        return f"{getattr(self.member, 'name', '')} ({int(self)})"


# Typed: enumerators of two IntEnums with one value are equal, and are not the same.
@lru_cache(maxsize=None, typed=True)
def of_member(member: Enum) -> EnumValue:
    """The int that stands for one of PySide6's enumerators."""
    return EnumValue(member)


def give(value):
    """A value of PySide6 as PythonQt would give it to Python."""
    if isinstance(value, Enum):
        return of_member(value) if isinstance(value.value, int) else value
    if isinstance(value, list):
        return tuple(give(part) for part in value)
    return value


def take(value):
    """A value of PythonQt's kind as PySide6 takes it."""
    if isinstance(value, EnumValue):
        return value.member
    if isinstance(value, Method):
        return value.wrapped
    if isinstance(value, BoundSignal):
        return value.wrapped
    if type(value) in (list, tuple) and any(isinstance(part, EnumValue | Method) for part in value):
        return type(value)(take(part) for part in value)
    return value


def takes_plain(value) -> bool:
    """Whether :func:`take` would change nothing."""
    return not isinstance(value, EnumValue | Method | BoundSignal | list | tuple)


class Method:
    """A method of a Qt object; converts what goes in and what comes out."""

    __slots__ = ("__name__", "owner", "wrapped")

    def __init__(self, owner: str, name: str, wrapped) -> None:
        self.owner, self.__name__, self.wrapped = owner, name, wrapped

    def __call__(self, *arguments, **keywords):
        if keywords:
            raise TypeError(f"{self.owner}.{self.__name__}() takes no keyword arguments")
        try:
            return give(self.wrapped(*map(take, arguments)))
        except RuntimeError as error:
            if "already deleted" not in str(error):
                raise
            raise ValueError(f"Trying to call '{self.__name__}' on a destroyed {self.owner} object") from error

    def __eq__(self, other) -> bool:
        return isinstance(other, Method) and self.wrapped == other.wrapped

    def __hash__(self) -> int:
        return hash(self.wrapped)

    def __repr__(self) -> str:
        return f"{self.__name__} (instance of {self.owner})"


#: Address of a Qt object -> slots that are connected to its signals; None: PySide6's way.
_kept_slots: dict[int, list] | None = None


@contextmanager
def slots_kept() -> Iterator[None]:
    """Keep a slot that is connected meanwhile until its sender is destroyed or the slot disconnected, as PythonQt does.

    PySide6 lets the object of a bound method go; PythonQt keeps it, by a reference that the garbage collector does not
    see: an object that holds a sender connected to itself is never freed.
    """
    global _kept_slots
    _kept_slots = {}
    try:
        yield
    finally:
        _kept_slots = None


def _keep_slot(sender, slot) -> None:
    if _kept_slots is None:
        return
    kept, address = _kept_slots, _address(sender)
    if address not in kept:
        kept[address] = []
        sender.destroyed.connect(lambda: kept.pop(address, None))
    kept[address].append(slot)


def _drop_slot(sender, slot=None) -> None:
    """Let a slot go that was disconnected; without one all of them."""
    kept = [] if _kept_slots is None else _kept_slots.get(_address(sender), [])
    if slot is None:
        kept.clear()
    elif slot in kept:
        kept.remove(slot)


def _address(sender) -> int:
    from shiboken6 import getCppPointer

    return getCppPointer(sender)[0]


class BoundSignal:
    """A signal of a Qt object: ``connect``, ``disconnect``, and called to emit it."""

    __slots__ = ("_name", "_sender", "wrapped")

    def __init__(self, sender, name: str, wrapped) -> None:
        self._sender, self._name, self.wrapped = sender, name, wrapped

    def connect(self, slot, *more) -> bool:
        self.wrapped.connect(take(slot), *more)
        _keep_slot(self._sender, take(slot))
        return True

    def disconnect(self, slot=None) -> bool:
        if slot is None:
            self.wrapped.disconnect()
        else:
            self.wrapped.disconnect(take(slot))
        _drop_slot(self._sender, None if slot is None else take(slot))
        return True

    def emit(self, *arguments) -> None:
        self.wrapped.emit(*map(take, arguments))

    __call__ = emit

    def __repr__(self) -> str:
        return f"signal {self._name} of {type(self._sender).__name__}"


def as_method(owner: str, name: str, instance, value):
    """What ``instance.name`` is as a method: ``value`` where it can be called, else PySide6's getter."""
    if not callable(value):
        declared = next((base.__dict__[name] for base in type(instance).__mro__ if name in base.__dict__), None)
        getter = getattr(declared, "getter", None)
        if getter is None:
            return lambda: value
        value = partial(getter, instance)
    return Method(owner, name, value)


def is_signal(value) -> bool:
    """Whether this is a signal of an object; told by its name, so that the part without Qt can ask."""
    return type(value).__name__ == "SignalInstance"
