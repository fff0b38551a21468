"""The module ``qt`` as Slicer's Python sees it, on PySide6.

Slicer wraps Qt with PythonQt, whose objects differ from PySide6's in what they are to Python:

* a Q_PROPERTY is an attribute: ``label.text`` is a string and ``label.text()`` a TypeError; the setters remain;
* ``objectName`` is also called ``name``; ``className()`` tells a Qt class;
* there are the names of :mod:`.names` and no others, on read and on write: see :mod:`.strict`;
* signals also connect by signature: ``button.connect("clicked(bool)", slot)``;
* lists come back as tuples, enumerators are ints: see :mod:`.values`;
* ``isinstance(button, qt.QWidget)`` is False.

PySide6's classes are patched in place, so that also what Qt itself creates (from .ui files, for instance) behaves so.
The harness's own code keeps PySide6's names. Not imitated: Qt is version 5.15 there.
"""

from __future__ import annotations

import sys
from functools import cache
from types import MethodType, ModuleType

import shiboken6
from PySide6 import QtCore, QtGui, QtSvg, QtTest, QtWidgets

from . import names, strict
from .values import take, takes_plain

#: Q_PROPERTIES that share their name with a static function that everybody calls through the class.
_STATIC_FUNCTIONS_WIN = {"QTimer.singleShot"}
#: Q_PROPERTIES that came with Qt 6; in Qt 5.15 these are methods.
_METHODS_IN_QT5 = {"QAction.menu"}
_SOURCES = (QtCore, QtGui, QtWidgets, QtSvg, QtTest)
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
        if self.setter is not None and not (type(value) is int and self._takes_an_enumerator(instance)):
            self.setter(instance, value)
        elif not instance.metaObject().property(
            instance.metaObject().indexOfProperty(self.property_name)
        ).isWritable() or not _qobject_set_property(instance, self.property_name, value):
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")

    def _takes_an_enumerator(self, instance) -> bool:
        meta = instance.metaObject()
        return meta.property(meta.indexOfProperty(self.property_name)).isEnumType()


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


def _plain(self, name: str):
    by_signature = _BY_SIGNATURE.get(name)
    if by_signature is not None:
        return MethodType(by_signature, self)
    return _object_getattribute(self, name)


def _plain_of_file(self, name: str):
    by_signature = _BY_SIGNATURE.get(name)
    if by_signature is not None:
        return MethodType(by_signature, self)
    return _file_getattribute(self, name)


def _reader(plain):
    """A ``__getattribute__`` that holds those who are not free to the application's names."""

    def attribute(self, name: str):
        if name.startswith("__"):
            return plain(self, name)
        free = strict.level(name)
        if free == strict.FREE:
            return plain(self, name)
        return strict.read(self, name, free, plain)

    return attribute


@cache
def _in_class(cls: type, name: str):
    return next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)


def _setattr(self, name: str, value) -> None:
    cls = type(self)
    free = strict.level(name)
    if free != strict.FREE:
        strict.check_write(self, name, free)
    declared = _in_class(cls, name)
    value = take(value)
    if isinstance(declared, QtCore.Property):
        declared.fset(self, value)
    else:
        _object_setattr(self, name, value)


#: What PySide6 itself asks classes for while code of others runs.
_ASKED_BY_PYSIDE = ("staticMetaObject",)
_ClassOfClasses = type(QtCore.QObject)
_class_getattribute = _ClassOfClasses.__getattribute__


def _attribute_of_class(cls, name: str):
    if name.startswith("__") or name in _ASKED_BY_PYSIDE:
        return _class_getattribute(cls, name)
    if strict.level(name) == strict.PRODUCT:
        return strict.read_from_class(cls, name, _class_getattribute)
    return _class_getattribute(cls, name)


def _construct(cls, *arguments, **keywords):
    if all(map(takes_plain, arguments)):
        return type.__call__(cls, *arguments, **keywords)
    return type.__call__(cls, *map(take, arguments), **keywords)


def _is_instance(cls, instance) -> bool:
    frame = sys._getframe(1)
    if strict.freedom(frame.f_code.co_filename) == strict.PRODUCT and "isinstance" in frame.f_code.co_names:
        return type(instance) is cls
    return type.__instancecheck__(cls, instance)


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


def _other_classes() -> list[type]:
    """Classes of the table that are no QObjects: QTableWidgetItem, QColor, ..."""
    found = []
    for name in names.in_module("qt"):
        cls = _pyside(name)
        if cls is not None and not issubclass(cls, QtCore.QObject):
            found.append(cls)
    return sorted(found, key=lambda cls: (len(cls.__mro__), cls.__name__))


def _pyside(name: str):
    return next((getattr(source, name) for source in _SOURCES if hasattr(source, name)), None)


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
    objects = _qobject_classes()
    for cls in objects:
        _patch_properties(cls)
        cls.__getattribute__ = _reader(_plain)
        cls.__setattr__ = _setattr
    QtCore.QFile.__getattribute__ = _reader(_plain_of_file)
    for cls in _other_classes():
        cls.__getattribute__ = _reader(cls.__getattribute__)
    _ClassOfClasses.__getattribute__ = _attribute_of_class
    _ClassOfClasses.__call__ = _construct
    _ClassOfClasses.__instancecheck__ = _is_instance
    QtCore.QObject.name = QProperty(QtCore.QObject, "name", property_name="objectName")
    QtCore.QObject.className = _class_name
    QtCore.QObject.delete = shiboken6.delete
    QtCore.QObject.findChild = _by_class_name(_find_child)
    QtCore.QObject.findChildren = _by_class_name(_find_children)
    for cls in (QtWidgets.QDialog, QtWidgets.QMenu):
        cls.exec_ = cls.exec
    _patch_settings()


def _patch_settings() -> None:
    settings_value = QtCore.QSettings.value

    def value(self, *arguments):
        stored = settings_value(self, *arguments)
        return tuple(stored) if isinstance(stored, list) else stored

    QtCore.QSettings.value = value


def module(ui_loader: type) -> ModuleType:
    """The module ``qt``: the classes of the table and what has no table; also entered in ``sys.modules``.

    Parameters
    ----------
    ui_loader : type
        What ``qt.QUiLoader`` is to be.
    """
    qt = ModuleType("qt", "Stand-in for Slicer's PythonQt module.")
    for name in names.in_module("qt"):
        cls = _pyside(name)
        if cls is not None:
            setattr(qt, name, cls)
    qt.Qt, qt.Signal, qt.Slot = QtCore.Qt, QtCore.Signal, QtCore.Slot
    qt.QUiLoader = ui_loader
    sys.modules["qt"] = qt
    return qt
