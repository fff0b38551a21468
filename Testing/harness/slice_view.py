"""One of Slicer's slice views, rendered off screen.

The image comes from Slicer's slice logic (reslicing, window and level), the overlays from its displayable managers, the
same classes that draw in the application. Only the Qt widget around them is missing.
"""

from __future__ import annotations

import itertools

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .application import start

#: What draws over the image in a slice view of the application, as far as segmentations, marks and the crosshair go.
_DISPLAYABLE_MANAGERS = (
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
)
#: For the names of views that get none.
_NUMBERS = itertools.count(1)


#: Windows that nobody draws in: a new one looks for graphics devices, which takes longer than the view around it.
_IDLE: list[vtk.vtkRenderWindow] = []


def borrow_window(renderer: vtk.vtkRenderer, width: int, height: int) -> vtk.vtkRenderWindow:
    """An off-screen window with one renderer; :func:`give_back_window` takes it when the view is closed."""
    if _IDLE:
        window = _IDLE.pop()
    else:
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(True)
        window.SetMultiSamples(0)
    window.SetSize(width, height)
    window.AddRenderer(renderer)
    return window


def give_back_window(window: vtk.vtkRenderWindow) -> None:
    """Keep a window for the next view, without its renderers, interactor, observers and graphics resources."""
    window.Finalize()
    window.RemoveAllObservers()
    for renderer in list(window.GetRenderers()):
        window.RemoveRenderer(renderer)
    window.SetInteractor(None)
    _IDLE.append(window)


def picture(window: vtk.vtkRenderWindow) -> np.ndarray:
    """A window as it stands, drawn once, shape (height, width, 3), uint8 RGB, first row on top."""
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.SetInputBufferTypeToRGB()
    grab.ReadFrontBufferOff()
    # What was drawn a line above is still in the back buffer of an off-screen window.
    grab.ShouldRerenderOff()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1].copy()


class SliceView:
    """A slice view of the scene.

    Parameters
    ----------
    orientation : str
        ``Axial``, ``Sagittal`` or ``Coronal``: Slicer's presets, radiological convention.
    width, height : int
        Pixels.
    name : str, optional
        Layout name of the slice node, such as Red; default: one of its own.
    """

    def __init__(self, orientation: str, width: int = 300, height: int = 300, name: str | None = None) -> None:
        app = start()
        self._renderer = vtk.vtkRenderer()
        self._renderer.SetBackground(0, 0, 0)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self.window = borrow_window(self._renderer, width, height)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        # VTK's own style would turn the camera; the application's moves slices, and not in these tests.
        self.interactor.SetInteractorStyle(None)

        # Before the displayable managers add theirs: 2-D actors are drawn in this order.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        image = vtk.vtkActor2D()
        image.SetMapper(self._mapper)
        image.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(image)

        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(app.applicationLogic())
        for manager in _DISPLAYABLE_MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.group.Initialize(factory, self._renderer)

        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(app.applicationLogic())
        self.logic.SetMRMLScene(slicer.mrmlScene)
        app.applicationLogic().GetSliceLogics().AddItem(self.logic)
        self.node = self.logic.AddSliceNode(name or f"{orientation}{next(_NUMBERS)}")
        self.node.SetOrientation(orientation)
        self.node.SetDimensions(width, height, 1)
        self.group.SetMRMLDisplayableNode(self.node)

    def show(self, volume_node, ras: tuple[float, float, float], zoom: float = 1.0) -> None:
        """Show a volume in the plane through a point (RAS, mm); zoom 1 fits the whole of it into the view."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
        self.logic.FitSliceToBackground(*self.node.GetDimensions()[:2])
        width, height, depth = self.node.GetFieldOfView()
        self.node.SetFieldOfView(width / zoom, height / zoom, depth)
        self.node.JumpSliceByOffsetting(*ras)
        self.logic.UpdatePipeline()

    def resize(self, width: int, height: int) -> None:
        """Make the view another size in pixels, as the application's slice widgets do: same height in mm."""
        width, height = max(width, 8), max(height, 8)
        self.window.SetSize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def render(self) -> np.ndarray:
        """The view as it stands, shape (height, width, 3), uint8 RGB, first row on top."""
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        return picture(self.window)

    def pixel(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """(row, column) in :meth:`render`'s picture at which a point of the shown plane (RAS, mm) is drawn."""
        ras_to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), ras_to_xy)
        x, y, _, _ = ras_to_xy.MultiplyPoint((*ras, 1.0))
        return self.node.GetDimensions()[1] - 1 - round(y), round(x)

    def point(self, x: int, y: int) -> tuple[float, float, float]:
        """RAS, mm, of the pixel (x, y); as in VTK, y runs upwards from the bottom."""
        return tuple(self.node.GetXYToRAS().MultiplyPoint((float(x), float(y), 0.0, 1.0))[:3])

    def close(self) -> None:
        """Take the view out of the scene."""
        self.group.SetMRMLDisplayableNode(None)
        start().applicationLogic().GetSliceLogics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)
        slicer.mrmlScene.RemoveNode(self.node)
        give_back_window(self.window)
