"""The module ``qt`` as Slicer's Python sees it, on PySide6.

Slicer wraps Qt with PythonQt, whose objects differ from PySide6's in what they are to Python:

* a Q_PROPERTY is an attribute: ``label.text`` is a string and ``label.text()`` a TypeError; the setters remain;
* ``objectName`` is also called ``name``; ``className()`` tells a Qt class;
* assigning an attribute that does not exist raises AttributeError;
* signals also connect by signature: ``button.connect("clicked(bool)", slot)``;
* ``QSettings.value`` gives tuples where lists were stored.

PySide6's classes are patched in place, so that also what Qt itself creates (from .ui files, for instance) behaves so.
Not imitated: in PythonQt ``isinstance(button, qt.QWidget)`` is False, and Qt is version 5.15.
"""

from __future__ import annotations

import sys
from functools import cache
from types import MethodType, ModuleType

import shiboken6
from PySide6 import QtCore, QtGui, QtSvg, QtTest, QtWidgets

#: Q_PROPERTIES that share their name with a static function that everybody calls through the class.
_STATIC_FUNCTIONS_WIN = {"QTimer.singleShot"}
#: Q_PROPERTIES that came with Qt 6; in Qt 5.15 these are methods.
_METHODS_IN_QT5 = {"QAction.menu"}
_object_getattribute = QtCore.QObject.__getattribute__
#: QFile tells its static functions (``exists``) from its methods by attribute access of its own.
_file_getattribute = QtCore.QFile.__getattribute__
_object_setattr = shiboken6.Object.__setattr__  # CPython refuses QObject's own once it is replaced
_qobject_property = QtCore.QObject.property
_qobject_set_property = QtCore.QObject.setProperty
_find_child = QtCore.QObject.findChild
_find_children = QtCore.QObject.findChildren


class QProperty:
    """A Q_PROPERTY as an attribute, on top of the PySide6 method of the same name where there is one.

    Parameters
    ----------
    owner : type
        Qt class whose attribute this becomes.
    name : str
        The property.
    method : callable, optional
        PySide6's method of that name, which stays reachable through the class: ``QLabel.text(label)``.
    """

    def __init__(self, owner: type, name: str, method=None, property_name: str | None = None) -> None:
        self.name = name
        self.property_name = property_name or name
        self.method = method
        capital = self.property_name[0].upper() + self.property_name[1:]
        self.setter = getattr(owner, f"set{capital}", None)
        self.getter = method or getattr(owner, f"is{capital}", None) or getattr(owner, self.property_name, None)
        if isinstance(self.getter, QProperty):
            self.getter = self.getter.getter
        if not callable(self.getter):
            self.getter = None

    def __get__(self, instance, owner=None):
        if instance is None:
            return self.method if self.method is not None else self
        if self.getter is not None:
            return self.getter(instance)
        return _qobject_property(instance, self.property_name)

    def __set__(self, instance, value) -> None:
        if self.setter is not None:
            self.setter(instance, value)
        elif not instance.metaObject().property(
            instance.metaObject().indexOfProperty(self.property_name)
        ).isWritable() or not _qobject_set_property(instance, self.property_name, value):
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")


def _signal_of(sender, signature: str):
    """The signal that a signature like ``valueChanged(int)`` names."""
    name, _, arguments = signature.partition("(")
    signal = getattr(sender, name.strip(), None)
    if not hasattr(signal, "connect"):
        raise ValueError(f"QObject::connect: no such signal {type(sender).__name__}::{signature}")
    arguments = arguments.rstrip(")").strip()
    index = sender.metaObject().indexOfSignal(bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode())
    known = [
        bytes(sender.metaObject().method(i).methodSignature()).decode()
        for i in range(sender.metaObject().methodCount())
        if sender.metaObject().method(i).methodType() == QtCore.QMetaMethod.MethodType.Signal
        and bytes(sender.metaObject().method(i).name()).decode() == name
    ]
    if index >= 0 and len(known) > 1 and arguments:
        return signal[arguments]
    if index < 0 and not any("PyObject" in other for other in known):
        raise ValueError(f"QObject::connect: no such signal {type(sender).__name__}::{signature}")
    return signal


def _connect(self, signature: str, receiver, slot: str | None = None) -> bool:
    if isinstance(signature, QtCore.QObject):  # PySide6's own QTimer.singleShot: sender, SIGNAL(...), slot
        self, signature, receiver, slot = signature, receiver[1:], slot, None
    _signal_of(self, signature).connect(receiver if slot is None else getattr(receiver, slot.partition("(")[0]))
    return True


def _disconnect(self, signature: str, receiver=None, slot: str | None = None) -> bool:
    signal = _signal_of(self, signature)
    if receiver is None:
        signal.disconnect()
    else:
        signal.disconnect(receiver if slot is None else getattr(receiver, slot.partition("(")[0]))
    return True


_BY_SIGNATURE = {"connect": _connect, "disconnect": _disconnect}


def _getattribute(self, name: str):
    by_signature = _BY_SIGNATURE.get(name)
    if by_signature is not None:
        return MethodType(by_signature, self)
    return _object_getattribute(self, name)


def _file_attribute(self, name: str):
    by_signature = _BY_SIGNATURE.get(name)
    if by_signature is not None:
        return MethodType(by_signature, self)
    return _file_getattribute(self, name)


@cache
def _in_class(cls: type, name: str):
    return next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)


def _setattr(self, name: str, value) -> None:
    cls = type(self)
    stands_for_cpp = cls.__module__.startswith("PySide6") or getattr(cls, "STANDS_FOR_CPP", False)
    own = not cls.__module__.startswith("PySide6") and name.startswith("_")
    if stands_for_cpp and not own and _in_class(cls, name) is None:
        raise AttributeError(
            f"Attribute '{name}' does not exist and creating new attributes on C++ objects is not allowed"
        )
    declared = _in_class(cls, name)
    if isinstance(declared, QtCore.Property):
        declared.fset(self, value)
    else:
        _object_setattr(self, name, value)


def _class_name(self) -> str:
    return self.metaObject().className()


def _by_class_name(find):
    """``findChildren("QDockWidget", "PanelDockWidget")``: PythonQt takes a class by its name, too."""

    def found(self, kind, *arguments):
        if not isinstance(kind, str):
            return find(self, kind, *arguments)
        children = [child for child in _find_children(self, QtCore.QObject, *arguments) if child.inherits(kind)]
        return children if find is _find_children else next(iter(children), None)

    return found


def _qobject_classes() -> list[type]:
    classes = {
        value
        for module in (QtCore, QtGui, QtWidgets, QtSvg)
        for value in (getattr(module, name) for name in dir(module))  # dir, because PySide6 loads lazily
        if isinstance(value, type) and issubclass(value, QtCore.QObject)
    }
    return sorted(classes, key=lambda cls: (len(cls.__mro__), cls.__name__))


def _patch_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for i in range(meta.propertyCount()):
        name = meta.property(i).name()
        if f"{cls.__name__}.{name}" in _STATIC_FUNCTIONS_WIN | _METHODS_IN_QT5:
            continue
        inherited = i < meta.propertyOffset()
        method = cls.__dict__.get(name)
        if inherited and method is None:
            continue
        setattr(cls, name, QProperty(cls, name, getattr(cls, name, None) if method is not None else None))


@cache
def patch() -> None:
    """Give PySide6's classes PythonQt's manners, once per process."""
    for cls in _qobject_classes():
        _patch_properties(cls)
        cls.__getattribute__ = _getattribute
        cls.__setattr__ = _setattr
    QtCore.QFile.__getattribute__ = _file_attribute
    QtCore.QObject.name = QProperty(QtCore.QObject, "name", property_name="objectName")
    QtCore.QObject.className = _class_name
    QtCore.QObject.delete = shiboken6.delete
    QtCore.QObject.findChild = _by_class_name(_find_child)
    QtCore.QObject.findChildren = _by_class_name(_find_children)
    for cls in (QtWidgets.QDialog, QtWidgets.QMenu):
        cls.exec_ = cls.exec
    settings_value = QtCore.QSettings.value

    def value(self, *arguments):
        stored = settings_value(self, *arguments)
        return tuple(stored) if isinstance(stored, list) else stored

    QtCore.QSettings.value = value


def module(ui_loader: type) -> ModuleType:
    """The module ``qt``: the names of all of Qt's libraries, flat; also entered in ``sys.modules``.

    Parameters
    ----------
    ui_loader : type
        What ``qt.QUiLoader`` is to be.
    """
    qt = ModuleType("qt", "Stand-in for Slicer's PythonQt module.")
    for source in (QtCore, QtGui, QtWidgets, QtSvg, QtTest):
        for name in dir(source):
            if name.startswith("Q"):
                setattr(qt, name, getattr(source, name))
    qt.Signal, qt.Slot = QtCore.Signal, QtCore.Slot
    qt.QUiLoader = ui_loader
    sys.modules["qt"] = qt
    return qt
