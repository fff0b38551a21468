"""Views: strength of the colours, hiding them, the surface on demand, zooming to a lesion."""

from __future__ import annotations

import pytest
from flairseg.labels import CLASS_BY_VALUE, LESION

from Testing.harness.interaction import click, press
from Testing.slicer.result_driver import segmented


@pytest.fixture
def node(slicer, result, head):
    _, node = segmented(slicer, head)
    result.show(node)
    return node


def test_sliders_set_fill_and_outline(result, node):
    display = node.GetDisplayNode()
    result.panel.ui.opacitySlider.setValue(30)
    result.panel.ui.outlineSlider.setValue(70)
    assert display.GetOpacity2DFill() == pytest.approx(0.3)
    assert display.GetOpacity2DOutline() == pytest.approx(0.7)
    result.panel.setSegmentation(node)
    assert result.panel.ui.opacitySlider.value == pytest.approx(30)


def test_the_overlay_goes_and_comes_by_key_and_by_check_box(result, node):
    display = node.GetDisplayNode()
    press("O")
    assert not display.GetVisibility()
    assert not result.panel.ui.overlayCheckBox.checked
    press("O")
    assert display.GetVisibility()
    click(result.panel.ui.overlayCheckBox)
    assert not display.GetVisibility()


def test_a_segment_is_hidden_by_its_check_mark(slicer, result, node):
    import qt

    item = result.panel.ui.segmentTable.item(2, 0)
    item.setCheckState(qt.Qt.Unchecked)
    assert not node.GetDisplayNode().GetSegmentVisibility(CLASS_BY_VALUE[LESION].id)
    item.setCheckState(qt.Qt.Checked)
    assert node.GetDisplayNode().GetSegmentVisibility(CLASS_BY_VALUE[LESION].id)


def test_the_surface_is_made_on_demand_and_taken_away(result, node):
    from FlairSegLib import views

    assert not views.has_surface(node)
    click(result.panel.ui.surfaceCheckBox)
    assert views.has_surface(node)
    assert not result.panel._measured.edited
    click(result.panel.ui.surfaceCheckBox)
    assert not views.has_surface(node)
    result.settle()
    assert not result.panel._measured.edited


def test_zoom_enlarges_around_the_lesion_and_fits_again(slicer, result, node):
    def widths():
        return [min(n.GetFieldOfView()[:2]) for n in slicer.util.getNodesByClass("vtkMRMLSliceNode")]

    before = widths()
    click(result.panel.ui.zoomCheckBox)
    press("N")
    assert all(now < then for now, then in zip(widths(), before, strict=True))
    click(result.panel.ui.zoomCheckBox)
    assert all(now > 100 for now in widths())


def test_the_flair_is_put_behind_the_colours(slicer, result, node):
    volume = result.panel._volume
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert volume.GetID() in [c.GetBackgroundVolumeID() for c in composites]
