"""Stand-ins for the ctk widgets that our panels use: what they do to a program, and roughly what they look like.

Names, properties, signals and slots are those of CTK (https://commontk.org/docs/html).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from .standin import kept, kept_with_setter


class ctkPushButton(QtWidgets.QPushButton):
    STANDS_FOR_CPP = True
    elideMode = kept(int, "elideMode", 0)


class ctkMenuButton(QtWidgets.QPushButton):
    STANDS_FOR_CPP = True


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A title bar that shows or hides what is laid out in the button itself."""

    STANDS_FOR_CPP = True
    contentsCollapsed = Signal(bool)
    _TITLE_HEIGHT = 22
    contentsFrameShape = kept(int, "contentsFrameShape", 0)
    flat = kept(bool, "flat", False)

    def __init__(self, *arguments):
        text = next((a for a in arguments if isinstance(a, str)), None)
        parent = next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self._collapsed = False
        self._hidden_by_collapse = []
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._TITLE_HEIGHT, 0, 0)
        self.setText(text or "")
        self.toggled.connect(self._checked)  # before anybody else's: contentsCollapsed comes before toggled

    def _get_collapsed(self):
        return self._collapsed

    def _set_collapsed(self, collapsed):
        self.setChecked(not collapsed)

    def _checked(self, checked):
        self._collapsed = collapsed = not checked
        children = [c for c in self.children() if isinstance(c, QtWidgets.QWidget)]
        if collapsed:
            self._hidden_by_collapse = [c for c in children if not c.isHidden()]
            for child in self._hidden_by_collapse:
                child.hide()
        else:
            for child in self._hidden_by_collapse:
                child.show()
            self._hidden_by_collapse = []
        self.setMaximumHeight(self._TITLE_HEIGHT if collapsed else 16777215)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def _title_option(self):
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), self._TITLE_HEIGHT)
        return option

    def sizeHint(self):
        layout = self.layout()
        if self._collapsed or layout is None:
            width = self.fontMetrics().horizontalAdvance(self.text) + 40
            return QtCore.QSize(width, self._TITLE_HEIGHT)
        return layout.totalSizeHint().expandedTo(QtCore.QSize(80, self._TITLE_HEIGHT))

    def minimumSizeHint(self):
        layout = self.layout()
        if self._collapsed or layout is None:
            return QtCore.QSize(40, self._TITLE_HEIGHT)
        return layout.totalMinimumSize().expandedTo(QtCore.QSize(40, self._TITLE_HEIGHT))

    def hitButton(self, position):
        return position.y() <= self._TITLE_HEIGHT

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        rect = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), self._TITLE_HEIGHT)
        palette = QtWidgets.QWidget.palette(self)
        if not self.flat:
            painter.fillRect(rect, palette.color(QtGui.QPalette.ColorRole.Button).darker(108))
            painter.setPen(palette.color(QtGui.QPalette.ColorRole.Mid))
            painter.drawRect(QtWidgets.QWidget.rect(self).adjusted(0, 0, -1, -1))
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(4, 6, 10, 10)
        element = QtWidgets.QStyle.PrimitiveElement
        self.style().drawPrimitive(
            element.PE_IndicatorArrowRight if self._collapsed else element.PE_IndicatorArrowDown, arrow, painter, self
        )
        painter.setPen(palette.color(QtGui.QPalette.ColorRole.ButtonText))
        painter.drawText(rect.adjusted(20, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter, self.text.replace("&&", "&"))


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box whose check mark shows or hides its contents."""

    STANDS_FOR_CPP = True
    collapsedHeight = kept(int, "collapsedHeight", 14)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._hidden_by_collapse = []
        self._collapsed = False
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._checked)

    def _get_collapsed(self):
        return self._collapsed

    def _set_collapsed(self, collapsed):
        self.setChecked(not collapsed)

    def _checked(self, checked):
        self._collapsed = collapsed = not checked
        children = [c for c in self.children() if isinstance(c, QtWidgets.QWidget)]
        if collapsed:
            self._hidden_by_collapse = [c for c in children if not c.isHidden()]
            for child in self._hidden_by_collapse:
                child.hide()
        else:
            for child in self._hidden_by_collapse:
                child.show()
            self._hidden_by_collapse = []
        self.setFlat(bool(collapsed))
        self.setMaximumHeight(self.collapsedHeight + 6 if collapsed else 16777215)
        self.updateGeometry()

    collapsed = Property(bool, _get_collapsed, _set_collapsed)


class ctkExpandableWidget(QtWidgets.QFrame):
    STANDS_FOR_CPP = True


class ctkComboBox(QtWidgets.QComboBox):
    STANDS_FOR_CPP = True
    defaultText = kept(str, "defaultText", "")
    forceDefault = kept(bool, "forceDefault", False)


class ctkCheckableComboBox(QtWidgets.QComboBox):
    """A combo box whose items have check marks."""

    STANDS_FOR_CPP = True
    checkedIndexesChanged = Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self.model().dataChanged.connect(lambda *_: self.checkedIndexesChanged.emit())

    def setCheckState(self, index, state):
        self.model().setData(index, state, Qt.ItemDataRole.CheckStateRole)

    def checkState(self, index):
        return Qt.CheckState(self.model().data(index, Qt.ItemDataRole.CheckStateRole) or 0)

    def checkedIndexes(self):
        model = self.model()
        indexes = [model.index(i, 0) for i in range(model.rowCount())]
        return [index for index in indexes if self.checkState(index) == Qt.CheckState.Checked]

    def checkableModel(self):
        return self.model()


class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    STANDS_FOR_CPP = True


class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider of doubles; ``value`` is in the user's unit."""

    STANDS_FOR_CPP = True
    valueChanged = Signal(float)
    sliderMoved = Signal(float)
    sliderPressed = Signal()
    sliderReleased = Signal()
    _STEPS = 10_000

    def __init__(self, *arguments):
        orientation = next((a for a in arguments if isinstance(a, Qt.Orientation)), Qt.Orientation.Horizontal)
        super().__init__(next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None))
        self._low, self._high, self._value = 0.0, 99.0, 0.0
        self._slider = QtWidgets.QSlider(orientation)
        self._slider.setRange(0, self._STEPS)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        self._slider.valueChanged.connect(self._moved)
        self._slider.sliderPressed.connect(self.sliderPressed)
        self._slider.sliderReleased.connect(self.sliderReleased)

    def _moved(self, position):
        self._keep(self._low + (self._high - self._low) * position / self._STEPS)

    def _keep(self, value):
        if value == self._value:
            return
        self._value = value
        self.valueChanged.emit(value)

    def _get_value(self):
        return self._value

    def setValue(self, value):
        value = min(max(float(value), self._low), self._high)
        span = self._high - self._low
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(round((value - self._low) / span * self._STEPS) if span else 0)
        self._slider.blockSignals(blocked)
        self._keep(value)

    def _get_minimum(self):
        return self._low

    def _set_minimum(self, value):
        self.set_range(value, max(value, self._high))

    def _get_maximum(self):
        return self._high

    def _set_maximum(self, value):
        self.set_range(min(value, self._low), value)

    def set_range(self, low, high):
        self._low, self._high = float(low), float(high)
        self.setValue(self._value)

    def setOrientation(self, orientation):
        self._slider.setOrientation(orientation)

    value = Property(float, _get_value, setValue)
    minimum = Property(float, _get_minimum, _set_minimum)
    maximum = Property(float, _get_maximum, _set_maximum)
    orientation = Property(Qt.Orientation, lambda self: self._slider.orientation, setOrientation)
    singleStep = kept(float, "singleStep", 1.0)
    pageStep = kept(float, "pageStep", 10.0)
    tracking = kept(bool, "tracking", True)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show the same number."""

    STANDS_FOR_CPP = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = ctkDoubleSlider(Qt.Orientation.Horizontal)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setRange(0, 99)
        self._spin.setKeyboardTracking(False)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spin)
        self._slider.valueChanged.connect(self.setValue)
        self._spin.valueChanged.connect(self.setValue)
        self._value = 0.0

    def _get_value(self):
        return self._value

    def setValue(self, value):
        value = min(max(round(float(value), self._spin.decimals), self.minimum), self.maximum)
        changed = value != self._value
        self._value = value
        for widget in (self._slider, self._spin):
            blocked = widget.blockSignals(True)
            widget.setValue(value)
            widget.blockSignals(blocked)
        if changed:
            self.valueIsChanging.emit(value)
            self.valueChanged.emit(value)

    def set_range(self, low, high):
        self._spin.setRange(low, high)
        self._slider.set_range(low, high)
        self.setValue(self._value)

    def _set_minimum(self, value):
        self.set_range(value, max(value, self.maximum))

    def _set_maximum(self, value):
        self.set_range(min(value, self.minimum), value)

    def setDecimals(self, value):
        self._spin.setDecimals(value)

    def _set_single_step(self, value):
        self._spin.setSingleStep(value)
        self._slider.singleStep = value

    def _set_suffix(self, value):
        self._spin.setSuffix(value)

    def _set_prefix(self, value):
        self._spin.setPrefix(value)

    def setSpinBoxVisible(self, visible):
        self._spin.setVisible(visible)

    value = Property(float, _get_value, setValue)
    minimum = Property(float, lambda self: self._spin.minimum, _set_minimum)
    maximum = Property(float, lambda self: self._spin.maximum, _set_maximum)
    decimals = Property(int, lambda self: self._spin.decimals, setDecimals)
    singleStep = Property(float, lambda self: self._spin.singleStep, _set_single_step)
    suffix = Property(str, lambda self: self._spin.suffix, _set_suffix)
    prefix = Property(str, lambda self: self._spin.prefix, _set_prefix)
    spinBoxVisible = Property(bool, lambda self: not self._spin.isHidden(), setSpinBoxVisible)
    pageStep = kept(float, "pageStep", 10.0)
    tracking = kept(bool, "tracking", True)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with its browse button; the dialog itself is never opened in tests."""

    STANDS_FOR_CPP = True
    Files, Writable, Readable, Dirs, Drives, NoSymLinks, Executable, Hidden = (
        0x002, 0x020, 0x010, 0x001, 0x004, 0x008, 0x040, 0x100,
    )  # fmt: skip
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    label = kept(str, "label", "")
    filters = kept(int, "filters", 0x001 | 0x002)
    nameFilters = kept("QStringList", "nameFilters", [])
    settingKey = kept(str, "settingKey", "")
    showHistoryButton = kept(bool, "showHistoryButton", True)
    showBrowseButton = kept(bool, "showBrowseButton", True)

    def __init__(self, *arguments):
        parent = next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self._edit = QtWidgets.QComboBox()
        self._edit.setEditable(True)
        self._edit.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self._browse = QtWidgets.QToolButton()
        self._browse.setText("...")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(1)
        row.addWidget(self._edit, 1)
        row.addWidget(self._browse)
        self._valid = False
        self._edit.editTextChanged.connect(self._edited)

    def _edited(self, text):
        # As in CTK: an empty path is no valid input, and only valid input is announced as a path.
        valid = bool(text)
        if valid:
            self.currentPathChanged.emit(text)
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)

    def _get_path(self):
        return self._edit.currentText

    def setCurrentPath(self, path):
        self._edit.setEditText(str(path))

    currentPath = Property(str, _get_path, setCurrentPath)

    def addCurrentPathToHistory(self):
        path = self.currentPath
        if path and self._edit.findText(path) < 0:
            self._edit.insertItem(0, path)

    def comboBox(self):
        return self._edit


class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that names a folder and would open a dialog to choose another."""

    STANDS_FOR_CPP = True
    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    caption = kept(str, "caption", "")

    def __init__(self, *arguments):
        parent = next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self._button = QtWidgets.QPushButton()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)
        self._directory = ""
        self._set_directory(next((a for a in arguments if isinstance(a, str)), str(Path.cwd())))

    def _get_directory(self):
        return self._directory

    def _set_directory(self, directory):
        directory = str(directory)
        if directory == self._directory:
            return
        self._directory = directory
        self._button.setText(directory)
        self.directoryChanged.emit(directory)

    directory = Property(str, _get_directory, _set_directory)


class ctkColorPickerButton(QtWidgets.QPushButton):
    STANDS_FOR_CPP = True
    colorChanged = Signal(QtGui.QColor)
    displayColorName, setDisplayColorName = kept_with_setter(bool, "displayColorName", True)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._color = QtGui.QColor(0, 0, 0)

    def _get_color(self):
        return self._color

    def setColor(self, color):
        if color != self._color:
            self._color = QtGui.QColor(color)
            pixmap = QtGui.QPixmap(12, 12)
            pixmap.fill(self._color)
            self.setIcon(QtGui.QIcon(pixmap))
            self.colorChanged.emit(self._color)

    color = Property(QtGui.QColor, _get_color, setColor)


class ctkSearchBox(QtWidgets.QLineEdit):
    STANDS_FOR_CPP = True
    showSearchIcon = kept(bool, "showSearchIcon", False)


class ctkDynamicSpacer(QtWidgets.QWidget):
    STANDS_FOR_CPP = True


class ctkMessageBox(QtWidgets.QMessageBox):
    STANDS_FOR_CPP = True
    dontShowAgainSettingsKey = kept(str, "dontShowAgainSettingsKey", "")
    dontShowAgainVisible = kept(bool, "dontShowAgainVisible", False)


def module() -> ModuleType:
    """The module ``ctk``, also entered in ``sys.modules``."""
    ctk = ModuleType("ctk", "Stand-in for Slicer's PythonQt module of CTK.")
    for name, value in globals().items():
        if name.startswith("ctk"):
            setattr(ctk, name, value)
    sys.modules["ctk"] = ctk
    return ctk
