"""FlairSeg's layouts: numbers and registration in Slicer.

A scene stores the number of its layout but not the description. Without the description, Slicer opens such a scene
without any view; therefore all layouts are registered when Slicer starts (:func:`.slice_layout.register`).
"""

from __future__ import annotations

import slicer

#: First number of FlairSeg's layouts; those of Slicer are below 1000.
FIRST_LAYOUT = 17_040


def describe(number: int, description: str) -> None:
    """Register a layout, or change its description; must be called before it is shown.

    Parameters
    ----------
    number : int
        From :data:`FIRST_LAYOUT` on.
    description : str
        XML description of a Slicer layout.
    """
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    if not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, description)
        if node.GetViewArrangement() == number:
            # A scene or Slicer's settings asked for it before it was known: it is shown as empty, and set again it is
            # looked up again.
            node.SetViewArrangement(number)
    elif node.GetLayoutDescription(number) != description:
        node.SetLayoutDescription(number, description)
