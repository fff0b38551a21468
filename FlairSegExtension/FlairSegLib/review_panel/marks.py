"""Marks of a presentation as points in the views: red cross for a false positive, yellow dot for a missed lesion.

The points follow the list of the session and cannot be moved.
"""

from __future__ import annotations

from collections.abc import Iterable

import slicer
from flairseg.study.records import FALSE_NEGATIVE, FALSE_POSITIVE, Mark
from slicer.i18n import tr as _

#: Glyph, colour and size in % of the view, by kind of mark.
_STYLES = {
    FALSE_POSITIVE: ("ThickCross2D", (0.94, 0.16, 0.12), 4.0),
    FALSE_NEGATIVE: ("Circle2D", (1.0, 0.86, 0.1), 4.0),
}


class MarkPoints:
    """Two nodes of points that follow a list of marks."""

    def __init__(self) -> None:
        self._nodes = {}

    def show(self, marks: Iterable[Mark]) -> None:
        """Show exactly these marks."""
        marks = list(marks)
        for kind in _STYLES:
            wanted = [mark.ras for mark in marks if mark.kind == kind]
            node = self._nodes.get(kind)
            if node is None and not wanted:
                continue
            if node is None or node.GetScene() is None:
                node = self._nodes[kind] = self._make(kind)
            node.RemoveAllControlPoints()
            for ras in wanted:
                index = node.AddControlPoint(list(ras), "")
                node.SetNthControlPointLocked(index, True)

    def clear(self) -> None:
        """Remove all points and their nodes."""
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            # A view that is not rendered again immediately would still show points of a removed node.
            node.RemoveAllControlPoints()
            if node.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(node)

    @staticmethod
    def _make(kind: str):
        names = {FALSE_POSITIVE: _("False"), FALSE_NEGATIVE: _("Missed")}
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", names[kind])
        node.CreateDefaultDisplayNodes()
        node.SetLocked(True)
        glyph, colour, size = _STYLES[kind]
        display = node.GetDisplayNode()
        display.SetGlyphTypeFromString(glyph)
        display.SetUseGlyphScale(True)
        display.SetGlyphScale(size)
        display.SetSelectedColor(*colour)
        display.SetColor(*colour)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        return node
