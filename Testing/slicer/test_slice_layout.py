"""Three slices in place of an empty 3D view; what a user chose, or sees in 3D, stays."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.slicer.result_driver import segmented


@pytest.fixture
def manager(slicer, main_window):
    main_window()
    return slicer.app.layoutManager()


@pytest.fixture
def layout(slicer):
    from FlairSegLib.slice_layout import SliceLayout

    made = SliceLayout()
    yield made
    made.cleanup()


def visible(manager) -> list[str]:
    return [name for name in manager.sliceViewNames() if manager.sliceWidget(name).isVisible()]


def test_an_empty_3d_view_gives_way_and_comes_back(slicer, manager, layout, head):
    volume, _ = segmented(slicer, head)
    before = manager.layout
    assert layout.turn(volume)
    slicer.app.processEvents()
    assert set(visible(manager)) == {"Red", "Green", "Yellow"}
    assert not manager.threeDWidget(0).isVisible()
    red, green = (manager.sliceWidget(name) for name in ("Red", "Green"))
    assert red.height > 1.5 * green.height, "the plane of acquisition is the large one"
    assert not layout.turn(volume), "it is there already"
    layout.back()
    assert manager.layout == before
    assert manager.threeDWidget(0).isVisible()


def test_a_sagittal_stack_gets_the_large_view(slicer, manager, layout):
    affine = np.array([[0, 0, 5.0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    node = slicer.util.addVolumeFromArray(np.zeros((12, 40, 40), np.int16), affine, "sagittal")
    assert layout.turn(node)
    slicer.app.processEvents()
    assert manager.sliceWidget("Yellow").height > 1.5 * manager.sliceWidget("Red").height


def test_what_is_seen_in_3d_stays(slicer, manager, layout, head):
    from FlairSegLib import views

    volume, node = segmented(slicer, head)
    before = manager.layout
    views.show_surface(node, True)
    assert not layout.turn(volume)
    assert manager.layout == before
    node.GetDisplayNode().SetVisibility(False)
    assert layout.turn(volume), "a hidden surface is not seen"
    layout.back()
    slice_node = manager.sliceWidget("Red").mrmlSliceNode()
    slice_node.SetSliceVisible(True)
    assert not layout.turn(volume)
    slice_node.SetSliceVisible(False)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    model.CreateDefaultDisplayNodes()
    assert not layout.turn(volume)


def test_a_layout_that_the_user_chose_stays(slicer, manager, layout, head):
    volume, _ = segmented(slicer, head)
    alone = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    manager.setLayout(alone)
    assert not layout.turn(volume)
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    layout.turn(volume)
    manager.setLayout(alone)
    layout.back()
    assert manager.layout == alone
    assert not layout.turn(None)


def test_only_the_turn_of_a_run_without_result_is_undone(slicer, manager, layout, head):
    volume, _ = segmented(slicer, head)
    before = manager.layout
    assert layout.turn(volume)
    layout.withdraw()
    assert manager.layout == before
    assert layout.turn(volume)
    slices = manager.layout
    assert not layout.turn(volume), "a second run, whose views are there already"
    layout.withdraw()
    assert manager.layout == slices, "the first run has its result"
    layout.back()
    assert manager.layout == before


def test_a_layout_that_was_asked_for_before_it_was_known_is_shown(slicer, manager):
    """Of a scene that was opened, or of a window that was restored, before the module was loaded."""
    from FlairSegLib import own_layouts

    node = manager.layoutLogic().GetLayoutNode()
    number, description = own_layouts.FIRST_LAYOUT + 900, '<layout type="horizontal"></layout>'
    before = node.GetViewArrangement()
    node.SetViewArrangement(number)
    assert not node.GetCurrentLayoutDescription()
    own_layouts.describe(number, description)
    assert node.GetCurrentLayoutDescription() == description
    node.SetViewArrangement(before)


def test_views_are_drawn_again_whatever_comes_between(slicer, manager, layout, head):
    from Testing.harness.interaction import run_event_loop
    from Testing.harness.render_count import RenderCount

    volume, _ = segmented(slicer, head)
    red = manager.sliceWidget("Red").mrmlSliceNode()
    for leave in (layout.back, layout.cleanup, lambda: run_event_loop(0.2)):
        assert layout.turn(volume)
        leave()
        layout.back()
        layout.cleanup()
        run_event_loop(0.1)
        with RenderCount() as count:
            red.SetSliceOffset(red.GetSliceOffset() + 1)
            run_event_loop(0.1)
        assert count.renders["Red"] == 1


def test_slicer_knows_all_layouts_of_ours_before_a_panel_is_shown(slicer, main_window, load_module):
    """A scene names the number of its layout alone: opened in another session it would show no view."""
    from FlairSegLib import linked_views, slice_layout

    main_window()
    load_module("FlairSeg")
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    ours = {**slice_layout.descriptions(), **linked_views.descriptions()}
    assert len(ours) == 6
    for number, description in ours.items():
        assert node.IsLayoutDescription(number)
        assert node.GetLayoutDescription(number) == description
        node.SetViewArrangement(number)
        assert node.GetCurrentLayoutDescription() == description, "Slicer can read it"
