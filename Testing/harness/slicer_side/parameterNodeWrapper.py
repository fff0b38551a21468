"""Stand-in for ``slicer.parameterNodeWrapper``: typed parameters in a ``vtkMRMLScriptedModuleNode``, tied to widgets.

Stored as Slicer stores them (strings in the node's parameters; nodes as node references of the parameter's name), so
that scenes are exchangeable. Types: int, float, str, bool, pathlib.Path, enum.Enum, MRML nodes and ``X | None`` of
those. Validators: Choice, WithinRange, Minimum, Maximum. Parameter packs, lists and the other types are not imitated.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
import weakref
from dataclasses import dataclass
from typing import Annotated

import slicer
import vtk

__all__ = [
    "Annotated",
    "Choice",
    "Decimals",
    "Default",
    "Maximum",
    "Minimum",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"


@dataclass
class Default:
    """Value of a parameter that was never set."""

    value: object


@dataclass
class Decimals:
    """Decimals shown by the widget."""

    value: int


@dataclass
class SingleStep:
    """Step of the widget."""

    value: float


class Choice:
    """The value is one of these."""

    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value '{value}' is not one of {self.choices}")


class WithinRange:
    """Minimum <= value <= maximum."""

    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value {value} is not within [{self.minimum}, {self.maximum}]")


class Minimum:
    """Value >= minimum."""

    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value {value} is below {self.minimum}")


class Maximum:
    """Value <= maximum."""

    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value {value} is above {self.maximum}")


class _Parameter:
    """One parameter: how it is checked, written and read.

    Parameters
    ----------
    name : str
        Its name.
    annotated : type
        As written in the class.
    default : Default, optional
        As given by ``= value``.
    """

    def __init__(self, name, annotated, default=None):
        self.name, self.annotated = name, annotated
        annotations = ()
        if typing.get_origin(annotated) is Annotated:
            annotated, *annotations = typing.get_args(annotated)
        self.optional = False
        if typing.get_origin(annotated) in (typing.Union, types.UnionType):
            members = [member for member in typing.get_args(annotated) if member is not type(None)]
            if len(members) != 1:
                raise TypeError(f"the stand-in knows unions with None only: {name}")
            annotated, self.optional = members[0], True
        self.type = annotated
        self.annotations = tuple(annotations)
        self.validators = [a for a in annotations if hasattr(a, "validate")]
        self.is_node = isinstance(annotated, type) and issubclass(annotated, slicer.vtkMRMLNode)
        if not (self.is_node or annotated in (int, float, str, bool) or self._is(enum.Enum) or self._is_path()):
            raise TypeError(f"the stand-in cannot keep a {annotated} ({name})")
        default = default or self.annotation(Default)
        self.default = default if default is not None else Default(self._default_value())

    def _is(self, base) -> bool:
        return isinstance(self.type, type) and issubclass(self.type, base)

    def _is_path(self) -> bool:
        return self._is(pathlib.PurePath)

    def _default_value(self):
        if self.is_node or self.optional:
            return None
        if self._is(enum.Enum):
            return next(iter(self.type))
        return self.type()

    def annotation(self, kind):
        return next((a for a in self.annotations if isinstance(a, kind)), None)

    def check(self, value) -> None:
        if value is None:
            if not (self.is_node or self.optional):
                raise ValueError(f"Value must not be None: {self.name}")
            return
        accepted = (int, float) if self.type is float else self.type
        if not isinstance(value, accepted):
            raise ValueError(f"Value of {self.name} must be of type {self.type}, is {type(value)}")
        for validator in self.validators:
            validator.validate(value)

    def is_in(self, node) -> bool:
        return bool(node.HasParameter(self.name))

    def write(self, node, value) -> None:
        self.check(value)
        if self.is_node:
            node.SetParameter(self.name, "")  # so that None is told from never set
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        elif value is None:
            node.SetParameter(self.name, "")
            node.SetParameter(f"{self.name}_type", "NoneType")
        else:
            if self.optional:
                node.SetParameter(f"{self.name}_type", self.type.__name__)
            node.SetParameter(self.name, value.name if self._is(enum.Enum) else str(value))

    def read(self, node):
        if not self.is_in(node):
            self.write(node, self.default.value)
        if self.is_node:
            return node.GetNodeReference(self.name)
        if self.optional and node.GetParameter(f"{self.name}_type") == "NoneType":
            return None
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if self._is(enum.Enum) else self.type(text)


def _attribute(parameter):
    return property(
        lambda self: parameter.read(self.parameterNode),
        lambda self, value: self.setValue(parameter.name, value),
    )


class _Connector:
    """A widget that shows and sets one parameter.

    Parameters
    ----------
    widget : QWidget
        One of the kinds below.
    parameter : _Parameter
        Its type and annotations.
    """

    def __init__(self, widget, parameter):
        self.widget = widget
        self.signal, self.read, self.write = self._access(widget, parameter)
        self.slot = None

    def connect(self, slot) -> None:
        self.slot = slot
        self.signal.connect(slot)

    def disconnect(self) -> None:
        if self.slot is not None:
            self.signal.disconnect(self.slot)
            self.slot = None

    @staticmethod
    def _access(widget, parameter):
        """(signal, read, write) of the pairs of widget and type that Slicer knows."""
        kind, of = widget.className(), parameter.type
        if of is bool and kind in ("QCheckBox", "QPushButton", "ctkCollapsibleButton"):
            signal = widget.contentsCollapsed if kind.startswith("ctk") else widget.toggled
            if kind == "QPushButton":
                widget.setCheckable(True)
            name = "collapsed" if kind.startswith("ctk") else "checked"
            return signal, lambda: getattr(widget, name), lambda value: setattr(widget, name, value)
        if (of is int and kind in ("QSpinBox", "QSlider")) or (
            of is float and kind in ("QDoubleSpinBox", "ctkSliderWidget", "ctkDoubleSpinBox")
        ):
            _set_range(widget, parameter)
            return widget.valueChanged, lambda: of(widget.value), lambda value: widget.setValue(value)
        if kind == "QComboBox" and parameter._is(enum.Enum):
            members = list(of)
            labels = [of.label(member) if hasattr(of, "label") else member.name for member in members]
            return _combo_access(widget, members, labels)
        if kind == "QComboBox" and of in (int, float, str, bool):
            choice = parameter.annotation(Choice)
            if choice is None:
                raise RuntimeError("a combo box needs the Choice annotation")
            return _combo_access(widget, list(choice.choices), [str(one) for one in choice.choices])
        if of is str and kind == "QLineEdit":
            return widget.textChanged, lambda: widget.text, lambda value: _put_text(widget, value)
        if of is str and kind in ("QTextEdit", "QPlainTextEdit"):
            return widget.textChanged, lambda: widget.toPlainText(), lambda value: _put_plain_text(widget, value)
        if (of is str or parameter._is_path()) and kind == "ctkPathLineEdit":
            return (
                widget.currentPathChanged,
                lambda: of(widget.currentPath),
                lambda value: widget.setCurrentPath(str(value)),
            )
        if parameter._is_path() and kind == "ctkDirectoryButton":
            return (
                widget.directoryChanged,
                lambda: of(widget.directory),
                lambda value: setattr(widget, "directory", str(value)),
            )
        if parameter.is_node and kind == "qMRMLNodeComboBox":
            return widget.currentNodeChanged, lambda: widget.currentNode(), lambda node: widget.setCurrentNode(node)
        raise RuntimeError(f"Unable to create GUI connector from datatype '{of}' to widget type '{kind}'")


def _combo_access(widget, values, labels):
    widget.clear()
    for label in labels:
        widget.addItem(label)
    return (
        widget.currentIndexChanged,
        lambda: values[widget.currentIndex],
        lambda value: widget.setCurrentIndex(values.index(value)),
    )


def _put_text(widget, text) -> None:
    if widget.text != text:  # keeps the cursor where it is while the user types
        widget.setText(text)


def _put_plain_text(widget, text) -> None:
    if widget.toPlainText() != text:
        widget.setPlainText(text)


def _set_range(widget, parameter) -> None:
    decimals, step = parameter.annotation(Decimals), parameter.annotation(SingleStep)
    if decimals is not None:
        widget.decimals = decimals.value
    if step is not None:
        widget.singleStep = step.value
    within = parameter.annotation(WithinRange)
    low = within or parameter.annotation(Minimum)
    high = within or parameter.annotation(Maximum)
    if (low is None or high is None) and widget.className() in ("ctkSliderWidget", "QSlider"):
        raise RuntimeError("Cannot have a connection to a slider where the type is unbounded.")
    largest = 2**31 - 1 if parameter.type is int else 1e300
    widget.minimum = low.minimum if low else -largest
    widget.maximum = high.maximum if high else largest


def _init(self, parameterNode, prefix=None):
    if prefix:
        raise NotImplementedError("the stand-in knows no prefixes")
    self.parameterNode = parameterNode
    self._guis = {}
    self._next_gui = 0
    self._updating = False
    for parameter in self.allParameters.values():
        if not parameter.is_in(parameterNode):
            parameter.write(parameterNode, parameter.default.value)
    weak = weakref.ref(self)

    def modified(caller, event):
        wrapper = weak()
        if wrapper is not None:
            wrapper._update_guis()

    self._observation = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, modified)


def _del(self):
    # The garbage collector sees VTK's observers through the node's Python object and may empty the callback of a node
    # that lives on in the scene; its next event would then crash. Finalizers come first.
    observation = getattr(self, "_observation", None)
    if observation is not None:
        self.parameterNode.RemoveObserver(observation)


class _Methods:
    """Methods that the decorator gives to the class."""

    def getValue(self, name):
        return self.allParameters[name].read(self.parameterNode)

    def setValue(self, name, value):
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        with slicer.util.NodeModify(self.parameterNode):
            self.allParameters[name].write(self.parameterNode, value)

    def default(self, name):
        return self.allParameters[name].default

    def isCached(self, name):
        return False

    def connectGui(self, gui):
        import qt

        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if is_widget else list(vars(gui).values())
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        for name in mapping:
            if name not in self.allParameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
        connectors = {name: _Connector(widget, self.allParameters[name]) for name, widget in mapping.items()}
        tag = self._next_gui
        self._next_gui += 1
        self._guis[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(self._from_gui(name, connector))
        return tag

    def disconnectGui(self, guiTag):
        for connector in self._guis.pop(guiTag, {}).values():
            connector.disconnect()

    def _from_gui(self, name, connector):
        def changed(*_):
            if not self._updating:
                self.setValue(name, connector.read())

        return changed

    def _update_guis(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()


def parameterNodeWrapper(classtype=None):
    """Class decorator; see the Slicer documentation's "Parameter Node Wrapper"."""

    def wrap(cls):
        parameters = {}
        for name, annotated in typing.get_type_hints(cls, include_extras=True).items():
            default = Default(getattr(cls, name)) if hasattr(cls, name) else None
            parameters[name] = _Parameter(name, annotated, default)
            setattr(cls, name, _attribute(parameters[name]))
        cls.allParameters = parameters
        cls._is_parameter_node_wrapper = True
        cls.__init__ = _init
        cls.__del__ = _del
        cls.dataType = staticmethod(lambda name: parameters[name].annotated)
        for name, method in vars(_Methods).items():
            if not name.startswith("__"):
                if hasattr(cls, name):
                    raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
                setattr(cls, name, method)
        return cls

    return wrap if classtype is None else wrap(classtype)


def isParameterNodeWrapper(classOrObj) -> bool:
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)
