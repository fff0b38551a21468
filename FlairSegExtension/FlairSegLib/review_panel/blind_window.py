"""Hide what Slicer's window reveals about an image while a rater reads, and restore it afterwards."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

_DATA_PROBE = "DataProbeCollapsibleWidget"


class BlindWindow:
    """Title, data probe, slice annotations, layout and crosshair of the application; :meth:`close` and :meth:`open`."""

    def __init__(self) -> None:
        self._undo = []

    @property
    def closed(self) -> bool:
        """Whether the window is blind now."""
        return bool(self._undo)

    def close(self) -> None:
        """Hide what could reveal the source. No effect the second time."""
        if self._undo:
            return
        window = slicer.util.mainWindow()
        if window is not None:
            self._set_title(window)
            for probe in slicer.util.findChildren(window, name=_DATA_PROBE):
                self._hide(probe)
        self._quiet_annotations()
        self._keep_layout()
        self._forget_scene_address()

    def open(self) -> None:
        """Put everything back. No effect the second time."""
        undo, self._undo = self._undo, []
        for step in reversed(undo):
            step()

    def _set_title(self, window) -> None:
        title = window.windowTitle
        window.setWindowTitle(_("3D Slicer - reading session"))
        self._undo.append(lambda: window.setWindowTitle(title))

    def _hide(self, widget) -> None:
        shown = not widget.isHidden()
        widget.setVisible(False)
        self._undo.append(lambda: widget.setVisible(shown))

    def _quiet_annotations(self) -> None:
        """The corner annotations name volumes, and patients where DICOM is loaded."""
        probe = getattr(slicer.modules, "DataProbeInstance", None)
        annotations = getattr(getattr(probe, "infoWidget", None), "sliceAnnotations", None)
        if annotations is None:
            return
        before = annotations.sliceViewAnnotationsEnabled
        annotations.sliceViewAnnotationsEnabled = 0
        annotations.updateSliceViewFromGUI()

        def put_back() -> None:
            annotations.sliceViewAnnotationsEnabled = before
            annotations.updateSliceViewFromGUI()

        self._undo.append(put_back)

    def _keep_layout(self) -> None:
        manager = slicer.app.layoutManager()
        if manager is not None:
            layout = manager.layout
            self._undo.append(lambda: manager.setLayout(layout))
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            mode, thickness = crosshair.GetCrosshairMode(), crosshair.GetCrosshairThickness()
            self._undo.append(lambda: crosshair.SetCrosshairMode(mode))
            self._undo.append(lambda: crosshair.SetCrosshairThickness(thickness))

    @staticmethod
    def _forget_scene_address() -> None:
        """Slicer names the file of the last scene in its title and as the place to save to; the scene is empty now."""
        slicer.mrmlScene.SetURL("")
