"""Stand-ins for Slicer's layout manager and its views: Qt widgets around Slicer's own off-screen rendering."""

from __future__ import annotations

import time
from types import SimpleNamespace
from xml.etree import ElementTree

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from . import render_count
from .ctk_widgets import ctkDoubleSlider
from .mrml_widgets import Observer
from .slice_view import SliceView, borrow_window, give_back_window, picture

#: Name, orientation, colour of the bar, letter: as in Slicer.
_SLICE_VIEWS = {
    "Red": ("Axial", "#f34a33", "R"),
    "Green": ("Coronal", "#6eb04b", "G"),
    "Yellow": ("Sagittal", "#edd54c", "Y"),
}


#: The application draws 60 times a second at most.
_FRAME_S = 1 / 60


class _Picture(QtWidgets.QWidget):
    """Shows what a view rendered; renders again, once per turn of the event loop, when asked to."""

    HARNESS_NAMES = ("view", "schedule", "render_now")

    def __init__(self, view, parent=None) -> None:
        super().__init__(parent)
        self._view = view
        self._name = "3D" if view.node.IsA("vtkMRMLViewNode") else view.node.GetLayoutName()
        self._image = None
        self._pauses, self._waits, self._interrupted = 0, False, False
        self._since = 0.0
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(5)
        self._timer.timeout.connect(self.render)
        self.setMinimumSize(120, 100)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Expanding)

    @property
    def view(self):
        return self._view

    def schedule(self) -> None:
        if not self.isVisible():
            return
        if self._pauses:
            if not (self._waits or self._interrupted):
                self._since = time.perf_counter()
            self._waits = True
            return
        render_count.requested(self._name)
        if not self._timer.isActive():
            self._since = time.perf_counter()
            self._timer.start()

    def pauseRender(self):
        self._pauses += 1
        if self._timer.isActive():
            # Asked for and counted before: it is drawn once, later.
            self._timer.stop()
            self._interrupted = True
        return self._pauses

    def resumeRender(self):
        self._pauses = max(0, self._pauses - 1)
        if self._pauses:
            return self._pauses
        waits, interrupted = self._waits, self._interrupted
        self._waits = self._interrupted = False
        if not waits and not interrupted:
            return self._pauses
        if waits and self.isVisible():
            render_count.requested(self._name)
        # As ctkVTKAbstractView does: what has waited for longer than a frame is drawn in this call.
        if time.perf_counter() - self._since > _FRAME_S:
            if self.isVisible():
                self.render_now()
        else:
            self._timer.start()
        return self._pauses

    def render_now(self) -> None:
        self._timer.stop()
        self.render()

    def render(self) -> None:
        render_count.rendered(self._name)
        pixels = self.view.render()
        height, width = pixels.shape[:2]
        image = QtGui.QImage(pixels.tobytes(), width, height, 3 * width, QtGui.QImage.Format.Format_RGB888)
        self._image = image.copy()
        self.update()

    def resizeEvent(self, event):
        self.view.resize(event.size().width(), event.size().height())
        self.schedule()

    def showEvent(self, event):
        self.schedule()

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        if self._image is None:
            painter.fillRect(QtWidgets.QWidget.rect(self), Qt.GlobalColor.black)
        else:
            painter.drawImage(0, 0, self._image)


class qMRMLSliceControllerWidget(QtWidgets.QFrame):
    """The coloured bar with the offset slider above a slice view."""

    STANDS_FOR_CPP = True

    def __init__(self, name: str, view: SliceView, colour: str, letter: str) -> None:
        super().__init__()
        self._view = view
        self._placing = False
        self.setObjectName(f"qMRMLSliceControllerWidget{name}")
        self.setStyleSheet(f"#{self.objectName} {{ background: {colour}; }}")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(4, 1, 4, 1)
        row.setSpacing(4)
        label = QtWidgets.QLabel(letter)
        label.setStyleSheet("font-weight: bold; color: black;")
        row.addWidget(label)
        self._slider = ctkDoubleSlider(Qt.Orientation.Horizontal)
        row.addWidget(self._slider, 1)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setRange(-1e4, 1e4)
        self._spin.setSuffix("mm")
        self._spin.setKeyboardTracking(False)
        row.addWidget(self._spin)
        self._slider.valueChanged.connect(self._moved)
        self._spin.valueChanged.connect(self._moved)

    def _moved(self, offset):
        if not self._placing:
            self.setSliceOffsetValue(offset)

    def _show_offset(self) -> None:
        """Follow the slice node."""
        bounds = [0.0] * 6
        self._view.logic.GetLowestVolumeSliceBounds(bounds, True)
        self._placing = True
        if bounds[5] > bounds[4]:
            self._slider.set_range(bounds[4], bounds[5])
        offset = self._view.logic.GetSliceOffset()
        self._slider.setValue(offset)
        self._spin.setValue(offset)
        self._placing = False

    def setSliceOffsetValue(self, offset):
        # As in Slicer: what a user moves, linked views follow.
        self._view.logic.StartSliceOffsetInteraction()
        self._view.logic.SetSliceOffset(offset)
        self._view.logic.EndSliceOffsetInteraction()

    def fitSliceToBackground(self):
        self._view.logic.FitSliceToBackground(*self._view.node.GetDimensions()[:2])

    def sliceOffsetSlider(self):
        return self._slider

    def mrmlSliceNode(self):
        return self._view.node

    def mrmlSliceCompositeNode(self):
        return self._view.logic.GetSliceCompositeNode()

    def sliceLogic(self):
        return self._view.logic


_BUTTONS = {
    Qt.MouseButton.LeftButton: "LeftButton",
    Qt.MouseButton.RightButton: "RightButton",
    Qt.MouseButton.MiddleButton: "MiddleButton",
}


class qMRMLSliceView(_Picture):
    """The picture under the bar; the mouse reaches VTK's interactor and the crosshair node, as in Slicer."""

    STANDS_FOR_CPP = True

    def __init__(self, view, parent=None) -> None:
        super().__init__(view, parent)
        self.setMouseTracking(True)

    def interactor(self):
        return self.view.interactor

    def _tell(self, event, vtk_event: str) -> None:
        place = event.position().toPoint()
        x, y = place.x(), self.height - 1 - place.y()
        held = event.modifiers()
        control = int(bool(held & Qt.KeyboardModifier.ControlModifier))
        shift = int(bool(held & Qt.KeyboardModifier.ShiftModifier))
        interactor = self.view.interactor
        interactor.SetEventInformation(x, y, control, shift, "\0", 0, None)
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        crosshair.SetCursorPositionXYZ([float(x), float(y), 0.0], self.view.node)
        crosshair.SetCursorPositionRAS(list(self.view.point(x, y)))
        interactor.InvokeEvent(vtk_event)

    def mouseMoveEvent(self, event):
        self._tell(event, "MouseMoveEvent")

    def mousePressEvent(self, event):
        if event.button() in _BUTTONS:
            self._tell(event, f"{_BUTTONS[event.button()]}PressEvent")

    def mouseReleaseEvent(self, event):
        if event.button() in _BUTTONS:
            self._tell(event, f"{_BUTTONS[event.button()]}ReleaseEvent")

    def leaveEvent(self, event):
        slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionInvalid()

    def mrmlSliceNode(self):
        return self.view.node

    def renderWindow(self):
        return self.view.window

    def displayableManagerByClassName(self, name):
        group = self.view.group
        managers = [group.GetNthDisplayableManager(i) for i in range(group.GetDisplayableManagerCount())]
        return next((manager for manager in managers if manager.IsA(name)), None)

    def scheduleRender(self):
        self.schedule()

    def forceRender(self):
        self.render_now()

    def wheelEvent(self, event):
        steps = 1 if event.angleDelta().y() > 0 else -1
        self.view.logic.StartSliceOffsetInteraction()
        self.view.logic.SetSliceOffset(
            self.view.logic.GetSliceOffset() + steps * self.view.logic.GetLowestVolumeSliceSpacing()[2]
        )
        self.view.logic.EndSliceOffsetInteraction()


class qMRMLSliceWidget(QtWidgets.QWidget):
    """A slice view with its bar; ``sliceLogic()`` is Slicer's own.

    Parameters
    ----------
    name : str
        Red, Green or Yellow, or the tag of a view in a layout of a module's own.
    orientation, colour, letter : str
        As a layout describes its view.
    """

    STANDS_FOR_CPP = True
    HARNESS_NAMES = ("close_view",)

    def __init__(self, name: str, orientation: str, colour: str, letter: str) -> None:
        super().__init__()
        self._slice = SliceView(orientation, 300, 300, name=name)
        self.setObjectName(f"qMRMLSliceWidget{name}")
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._controller = qMRMLSliceControllerWidget(name, self._slice, colour, letter)
        self._picture = qMRMLSliceView(self._slice)
        column.addWidget(self._controller)
        column.addWidget(self._picture, 1)
        self._observer = Observer(self)
        self._observer.observe(self._slice.node, vtk.vtkCommand.ModifiedEvent, self._changed)
        self._observer.observe(self._slice.logic, vtk.vtkCommand.ModifiedEvent, self._changed)
        self._observer.observe(self._slice.group, vtk.vtkCommand.UpdateEvent, self._changed)
        self._observer.observe(slicer.mrmlScene, slicer.vtkMRMLScene.EndBatchProcessEvent, self._changed)

    def _changed(self):
        if slicer.mrmlScene.IsBatchProcessing():  # as in Slicer, which does not follow a scene that is being closed
            return
        self._picture.schedule()
        self._controller._show_offset()

    def sliceLogic(self):
        return self._slice.logic

    def mrmlSliceNode(self):
        return self._slice.node

    def mrmlSliceCompositeNode(self):
        return self._slice.logic.GetSliceCompositeNode()

    def sliceController(self):
        return self._controller

    def sliceView(self):
        return self._picture

    def interactorStyle(self):
        return self._slice.interactor.GetInteractorStyle()

    def fitSliceToBackground(self):
        self._controller.fitSliceToBackground()

    def close_view(self) -> None:
        """Take the view out of the scene."""
        self._observer.release()
        self._slice.close()


class ThreeDView:
    """Slicer's 3D displayable managers for models and segmentations in an off-screen window."""

    _MANAGERS = ("vtkMRMLCameraDisplayableManager", "vtkMRMLViewDisplayableManager",
                 "vtkMRMLSegmentationsDisplayableManager3D")  # fmt: skip

    def __init__(self, width: int = 300, height: int = 300) -> None:
        self.renderer = vtk.vtkRenderer()
        self.window = borrow_window(self.renderer, width, height)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.node = slicer.vtkMRMLViewNode()
        self.node.SetName("View1")
        self.node.SetLayoutName("1")
        self.node.SetLayoutLabel("1")
        self.node.SetSingletonTag("1")
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        self.node = slicer.mrmlScene.AddNode(self.node)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in self._MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.Initialize(factory, self.renderer)
        self.group.SetMRMLDisplayableNode(self.node)

    def resize(self, width: int, height: int) -> None:
        self.window.SetSize(max(width, 8), max(height, 8))

    def render(self):
        return picture(self.window)

    def reset(self) -> None:
        """Look at everything from the front."""
        self.renderer.ResetCamera()

    def close(self) -> None:
        self.group.SetMRMLDisplayableNode(None)
        slicer.mrmlScene.RemoveNode(self.node)
        give_back_window(self.window)


class qMRMLThreeDView(_Picture):
    """The 3D picture."""

    STANDS_FOR_CPP = True

    def mrmlViewNode(self):
        return self.view.node

    def renderWindow(self):
        return self.view.window

    def resetFocalPoint(self):
        self.view.reset()
        self.schedule()

    def rotateToViewAxis(self, axis):
        self.view.reset()
        self.schedule()

    def scheduleRender(self):
        self.schedule()

    def forceRender(self):
        self.render_now()


class qMRMLThreeDWidget(QtWidgets.QWidget):
    """The 3D view with its bar."""

    STANDS_FOR_CPP = True
    HARNESS_NAMES = ("close_view",)

    def __init__(self) -> None:
        super().__init__()
        self._three_d = ThreeDView()
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._bar = QtWidgets.QFrame()
        self._bar.setObjectName("qMRMLThreeDViewControllerWidget1")
        self._bar.setStyleSheet("#qMRMLThreeDViewControllerWidget1 { background: #746fb2; }")
        row = QtWidgets.QHBoxLayout(self._bar)
        row.setContentsMargins(4, 1, 4, 1)
        label = QtWidgets.QLabel("1")
        label.setStyleSheet("font-weight: bold; color: black;")
        row.addWidget(label)
        column.addWidget(self._bar)
        self._picture = qMRMLThreeDView(self._three_d)
        column.addWidget(self._picture, 1)
        self._observer = Observer(self)
        self._observer.observe(self._three_d.group, vtk.vtkCommand.UpdateEvent, self._picture.schedule)

    def threeDView(self):
        return self._picture

    def threeDController(self):
        return self._bar

    def mrmlViewNode(self):
        return self._three_d.node

    def close_view(self) -> None:
        """Take the view out of the scene."""
        self._observer.release()
        self._three_d.close()


class LayoutManager(QtCore.QObject):
    """``slicer.app.layoutManager()``: three slice views and a 3D view, and rows of slice views of a module's own.

    The views are made when first asked for, so that tests without pictures stay fast.
    """

    STANDS_FOR = "qSlicerLayoutManager"
    HARNESS_NAMES = ("close_views",)
    layoutChanged = Signal(int)

    #: Layout that the application announces while it closes a scene.
    _NO_LAYOUT = 14

    def __init__(self) -> None:
        super().__init__()
        self._slices, self._three_d, self._viewport = None, None, None
        self._layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
        self._node = slicer.vtkMRMLLayoutNode()
        self._observer = Observer(self)
        scene, events = slicer.mrmlScene, slicer.vtkMRMLScene
        self._observer.observe(scene, events.EndCloseEvent, self._before_scene_closed, priority=1.0)
        self._observer.observe(scene, events.EndCloseEvent, self._after_scene_closed, priority=-2.0)
        self._observer.observe(scene, events.EndImportEvent, self._scene_imported, priority=-2.0)

    def _before_scene_closed(self):
        self.layoutChanged.emit(self._NO_LAYOUT)

    def _after_scene_closed(self):
        self.layoutChanged.emit(self._layout)
        self.layoutChanged.emit(self._layout)

    def _scene_imported(self):
        self.layoutChanged.emit(self._layout)

    def layoutLogic(self):
        return SimpleNamespace(GetLayoutNode=lambda: self._node)

    def _make(self) -> None:
        if self._slices is not None:
            return
        self._slices = {name: qMRMLSliceWidget(name, *look) for name, look in _SLICE_VIEWS.items()}
        self._three_d = qMRMLThreeDWidget()
        self._viewport = QtWidgets.QWidget()
        self._viewport.setObjectName("CentralWidgetLayoutFrame")
        grid = QtWidgets.QGridLayout(self._viewport)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        self._arrange()

    def _arrange(self) -> None:
        grid = self._viewport.layout()
        layouts = slicer.vtkMRMLLayoutNode
        own = self._own_views()
        alone = {
            layouts.SlicerLayoutOneUpRedSliceView: "Red",
            layouts.SlicerLayoutOneUpYellowSliceView: "Yellow",
            layouts.SlicerLayoutOneUpGreenSliceView: "Green",
        }
        widgets = {**self._slices, "1": self._three_d}
        places = {"Red": (0, 0), "1": (0, 1), "Green": (1, 0), "Yellow": (1, 1)}
        shown = {alone[self._layout]} if self._layout in alone else set(places)
        if own:
            places |= own
            shown = set(own)
        if self._layout == layouts.SlicerLayoutOneUp3DView:
            shown = {"1"}
        for name, widget in widgets.items():
            grid.removeWidget(widget)
            if name in shown:
                grid.addWidget(widget, *places[name])
            widget.setParent(self._viewport)
            widget.setVisible(name in shown)
        used = {places[name] for name in shown}
        for line in range(max(grid.rowCount(), grid.columnCount())):
            grid.setRowStretch(line, int(any(place[0] == line for place in used)))
            grid.setColumnStretch(line, int(any(place[1] == line for place in used)))

    def _own_views(self) -> dict[str, tuple[int, int, int, int]]:
        """Slice views of a described layout (a row, in which views may be stacked), made where they are new.

        Returns
        -------
        dict of str to tuple of int
            Tag -> row, column, rows and columns in the grid.
        """
        if not self._node.IsLayoutDescription(self._layout):
            return {}
        columns = ElementTree.fromstring(self._node.GetLayoutDescription(self._layout)).findall("item")
        rows = max(len(list(column.iter("view"))) for column in columns)
        places = {}
        for column, item in enumerate(columns):
            stacked = list(item.iter("view"))
            for row, view in enumerate(stacked):
                tag = view.get("singletontag")
                places[tag] = (row, column, 1 if len(stacked) > 1 else rows, 1)
                if tag not in self._slices:
                    look = {p.get("name"): p.text for p in view.iter("property")}
                    widget = qMRMLSliceWidget(tag, look["orientation"], look["viewcolor"], look["viewlabel"])
                    widget.mrmlSliceNode().SetViewGroup(int(look.get("viewgroup", 0)))
                    self._slices[tag] = widget
        return places

    def viewport(self):
        self._make()
        return self._viewport

    def setLayout(self, layout):
        if int(layout) == self._layout:
            return
        self._layout = int(layout)
        self._make()
        self._arrange()
        self.layoutChanged.emit(self._layout)

    layout = Property(int, lambda self: self._layout, setLayout)

    def sliceViewNames(self):
        return tuple(self._slices or _SLICE_VIEWS)

    def sliceWidget(self, name):
        self._make()
        return self._slices.get(name)

    threeDViewCount = Property(int, lambda self: 1)
    tableViewCount = Property(int, lambda self: 0)
    plotViewCount = Property(int, lambda self: 0)

    def threeDWidget(self, index):
        self._make()
        return self._three_d if index in (0, "View1", "ViewNode") else None

    def mrmlSliceLogics(self):
        return slicer.app.applicationLogic().GetSliceLogics()

    def activeThreeDRenderer(self):
        self._make()
        return self._three_d.threeDView().view.renderer

    def resetSliceViews(self):
        for name in self.sliceViewNames():
            self.sliceWidget(name).fitSliceToBackground()

    def resetThreeDViews(self):
        self.threeDWidget(0).threeDView().resetFocalPoint()

    def setRenderPaused(self, paused):
        self.pauseRender() if paused else self.resumeRender()

    def pauseRender(self):
        for view in self._views():
            view.pauseRender()

    def resumeRender(self):
        for view in self._views():
            view.resumeRender()

    def _views(self) -> list[_Picture]:
        """All views that there are."""
        if self._slices is None:
            return []
        return [*(widget.sliceView() for widget in self._slices.values()), self._three_d.threeDView()]

    def close_views(self) -> None:
        """Take all views out of the scene; they are made anew when next asked for."""
        if self._slices is None:
            return
        for widget in (*self._slices.values(), self._three_d):
            widget.close_view()
        self._viewport.setParent(None)
        self._viewport.deleteLater()
        self._slices = self._three_d = self._viewport = None
        self._layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
