"""Views side by side: same place, own colours, and everything as before once they are closed."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.labels import CLASS_BY_VALUE, LESION

from Testing.slicer.result_driver import segmented


@pytest.fixture
def pair(slicer, head, main_window):
    """A volume with two segmentations, the second without its lesions; a window with views."""
    main_window()
    volume, first = segmented(slicer, head)
    _, second = segmented(slicer, head, volume_node=volume)
    nothing = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    lesion = CLASS_BY_VALUE[LESION].id
    slicer.util.updateSegmentBinaryLabelmapFromArray(nothing, second, lesion, volume)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume, first, second


def red(slicer, tag: str) -> int:
    """Pixels of a view in which the colour of lesions leads."""
    slicer.app.processEvents()
    view = slicer.app.layoutManager().sliceWidget(tag).sliceView()
    view.forceRender()
    pixels = view.view.render().astype(int)
    return int((pixels[..., 0] - pixels[..., 1:].max(axis=-1) > 40).sum())


def test_each_view_shows_its_own_segmentation_at_the_same_place(slicer, pair):
    from FlairSegLib import views
    from FlairSegLib.linked_views import LinkedViews, Shown

    volume, first, second = pair
    manager = slicer.app.layoutManager()
    before = manager.layout
    linked = LinkedViews()
    nodes = linked.show([Shown("A", volume, first), Shown("B", volume, second)])
    assert linked.open
    assert [node.GetLayoutLabel() for node in nodes] == ["A", "B"]
    views.center_on((36.0, 24.0, 20.0))
    tags = [node.GetLayoutName() for node in nodes]
    assert red(slicer, tags[0]) > 100
    assert red(slicer, tags[1]) == 0
    left, right = (manager.sliceWidget(tag) for tag in tags)
    left.sliceController().setSliceOffsetValue(-5)
    assert right.sliceLogic().GetSliceOffset() == pytest.approx(-5)
    right.sliceController().setSliceOffsetValue(20)
    assert left.sliceLogic().GetSliceOffset() == pytest.approx(20)
    linked.close()
    assert manager.layout == before
    assert not linked.open
    assert [display_views(node) for node in (first, second)] == [(True, 0), (True, 0)]


def test_two_of_them_do_not_hide_each_others_segmentations(slicer, pair):
    """A comparison opened over a follow-up and closed after it left the result hidden."""
    from FlairSegLib.linked_views import LinkedViews, Shown

    volume, first, second = pair
    manager = slicer.app.layoutManager()
    before, closed = manager.layout, []
    follow, compare = LinkedViews(lambda: closed.append("follow")), LinkedViews(lambda: closed.append("compare"))
    follow.show([Shown("P", volume), Shown("Q", volume)], visible=[second])
    compare.show([Shown("A", volume, first), Shown("B", volume, second)])
    assert closed == ["follow"]
    follow.close()
    assert compare.open
    compare.close()
    assert manager.layout == before
    assert [display_views(node) for node in (first, second)] == [(True, 0), (True, 0)]


def display_views(node) -> tuple[bool, int]:
    display = node.GetDisplayNode()
    return bool(display.GetVisibility()), display.GetNumberOfViewNodeIDs()


def test_what_was_hidden_is_hidden_again_and_another_pair_takes_the_place(slicer, pair):
    from FlairSegLib.linked_views import LinkedViews, Shown

    volume, first, second = pair
    second.GetDisplayNode().SetVisibility(False)
    linked = LinkedViews()
    linked.show([Shown("A", volume, first), Shown("B", volume, second)])
    assert second.GetDisplayNode().GetVisibility()
    nodes = linked.show([Shown("1", volume), Shown("2", volume), Shown("3", volume)], visible=[second])
    assert len(nodes) == 3
    assert display_views(first)[0] is False
    assert display_views(second) == (True, 0)
    linked.close()
    assert [display_views(node) for node in (first, second)] == [(True, 0), (False, 0)]


@pytest.mark.parametrize(("axis", "plane"), [(0, "Sagittal"), (1, "Coronal"), (2, "Axial")])
def test_the_plane_is_that_of_the_slices(slicer, axis, plane):
    from FlairSegLib.linked_views import plane_of

    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 6.0
    node = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), np.diag([*spacing, 1.0]))
    assert plane_of(node) == plane
    # A parent transform turns what is shown, and the plane with it.
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = np.eye(4)[[1, 2, 0, 3]]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turn))
    node.SetAndObserveTransformNodeID(transform.GetID())
    planes = ("Sagittal", "Coronal", "Axial")
    assert plane_of(node) == planes[int(np.argmax(turn[:3, axis]))]


def test_a_title_cannot_break_the_layout(slicer, pair):
    from FlairSegLib.linked_views import LinkedViews, Shown

    volume, first, _second = pair
    linked = LinkedViews()
    nodes = linked.show([Shown('<"&', volume, first), Shown("B", volume)])
    assert nodes[0].GetLayoutLabel() == '<"&'
    linked.close()


def test_a_scene_that_closes_takes_the_views_along(slicer, pair):
    from FlairSegLib.linked_views import LinkedViews, Shown

    volume, first, second = pair
    manager = slicer.app.layoutManager()
    before = manager.layout
    linked = LinkedViews()
    linked.show([Shown("A", volume, first), Shown("B", volume, second)])
    linked.forget()
    slicer.mrmlScene.Clear(False)
    assert manager.layout == before
    assert not linked.open
