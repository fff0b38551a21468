"""Keyboard shortcuts of the panel: the single list for their binding and for the manual."""

from __future__ import annotations

from slicer.i18n import tr as _

SEGMENT, CANCEL = "Ctrl+Return", "Ctrl+."
NEXT, PREVIOUS = "N", "P"
FLIP, DELETE = "X", "Del"
UNDO, REDO = "Ctrl+Z", "Ctrl+Y"
OVERLAY = "O"
PAINT, ERASE, LOOK = "1", "2", "Esc"
#: With Shift, so that no verdict is given by an accidental key press.
ACCEPT, REJECT = "Shift+A", "Shift+R"


def descriptions() -> dict[str, str]:
    """Key -> action, in the order of use."""
    return {
        SEGMENT: _("segment the chosen volume"),
        CANCEL: _("cancel the run"),
        NEXT: _("next lesion of the list, in all views"),
        PREVIOUS: _("previous lesion"),
        FLIP: _("toggle the selected lesion between lesion and normal WMH"),
        DELETE: _("remove the selected lesion"),
        PAINT: _("brush"),
        ERASE: _("eraser"),
        LOOK: _("deselect brush or eraser"),
        UNDO: _("undo the last stroke or command"),
        REDO: _("redo"),
        OVERLAY: _("hide or show the colours"),
        ACCEPT: _("accept the result, unchanged or as corrected"),
        REJECT: _("choose the reason for rejection; again: reject"),
    }
