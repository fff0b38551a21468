"""Layouts of our own: their numbers, and that Slicer knows them.

A scene keeps the number of its layout and not its description, and nothing is told before a scene is saved. A Slicer
that does not know the description opens such a scene without a single view: all of ours are described when it starts
(:func:`.slice_layout.register`).
"""

from __future__ import annotations

import slicer

#: Numbers of our layouts: Slicer's own are below 1000.
FIRST_LAYOUT = 17_040


def describe(number: int, description: str) -> None:
    """Make a layout known to Slicer, or describe it anew; before it is shown.

    Parameters
    ----------
    number : int
        From :data:`FIRST_LAYOUT` on.
    description : str
        As Slicer's layouts are written down.
    """
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    if not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, description)
    elif node.GetLayoutDescription(number) != description:
        node.SetLayoutDescription(number, description)
