"""Follow-up: two studies in, every lesion's state out; nothing of the user's moves; both studies at one place."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.harness.interaction import click, run_event_loop, wait_until
from Testing.slicer.panel_driver import settle, shown
from Testing.slicer.test_panel_run import RUN_S
from Testing.slicer.two_studies import NEW, in_scene, make_studies, motion


@pytest.fixture
def panel(model, monkeypatch, open_panel):
    monkeypatch.setenv("FLAIRSEG_MODELS", str(model.parent.parent))
    return open_panel(height=1400)


@pytest.fixture(scope="module")
def studies():
    return make_studies()


@pytest.fixture
def loaded(panel, slicer, studies):
    """Nodes of both studies, and the section opened."""
    nodes = in_scene(slicer, studies)
    settle(panel)
    click(panel.further.follow.ui.followCollapsibleButton)
    return nodes


@pytest.fixture
def section(panel, loaded):
    """The section with both segmentations chosen."""
    follow = panel.further.follow
    follow.ui.previousSelector.setCurrentNode(loaded[0][1])
    follow.ui.presentSelector.setCurrentNode(loaded[1][1])
    return follow


def column(section, number: int) -> list[str]:
    table = section.ui.changeTable
    return [table.item(row, number).text() for row in range(table.rowCount)]


def halfway(section, ras, study: int) -> np.ndarray:
    """A point of a study in the half-way space, by the transform node in the scene."""
    import slicer

    node = section.followed.nodes.transforms[study]
    return (slicer.util.arrayFromTransformMatrix(node) @ [*ras, 1])[:3]


def test_what_is_new_is_found_shown_and_nothing_is_moved(panel, section, loaded, slicer):
    (volume_a, own_a), (volume_b, own_b) = loaded
    click(section.ui.followButton)
    assert section.ui.followButton.text == "Cancel"
    wait_until(lambda: not section.running, RUN_S)
    assert shown(section.ui.followMessageLabel).startswith("Lesions: 1 new, 4 stable.")
    assert column(section, 1) == ["New"] + ["Stable"] * 4
    assert column(section, 2)[0] == "–", "it was not there before"
    new = section.rows[0]
    assert float(column(section, 3)[0]) == pytest.approx(new.volumes_mm3[1] / 1000, abs=5e-4)
    assert "within measurement noise" in shown(section.ui.ventriclesLabel)
    assert not section.ui.noiseLabel.isVisible(), "long texts are behind the button"
    click(section.ui.noiseInfoButton)
    assert "noise" in shown(section.ui.noiseLabel) or "repeated scans" in shown(section.ui.noiseLabel)
    assert "not a medical device" in shown(section.ui.noiseLabel)

    # Nothing of the user's is moved, hardened or copied.
    nodes = section.followed.nodes
    for node in (volume_a, own_a, volume_b, own_b):
        assert node.GetTransformNodeID() is None
    for study, volume in zip(nodes.studies, (volume_a, volume_b), strict=True):
        assert study.GetImageData() is volume.GetImageData()
        assert study.GetParentTransformNode() in nodes.transforms
    settle(panel)
    assert panel.case.volumeNode in (volume_a, volume_b), "what a follow-up made is not proposed as the FLAIR"
    # The transforms say how the head moved.
    found = [slicer.util.arrayFromTransformMatrix(node) for node in nodes.transforms]
    between = np.linalg.inv(found[1]) @ found[0]
    for point in ([0, 0, 0, 1], [40, 40, 40, 1], [*NEW, 1]):
        assert np.linalg.norm((between - motion()) @ point) < 1.5

    # The change lies where the lesion is, and so does the difference.
    place = halfway(section, NEW, 0)
    assert np.linalg.norm(place - new.centre_common_ras_mm) < 6
    segmentation = nodes.change.GetSegmentation()
    assert sorted(segmentation.GetSegmentIDs()) == ["change_new", "change_stable"]
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.change, "change_new", nodes.difference) > 0
    array = slicer.util.arrayFromVolume(nodes.difference)
    assert array[mask].mean() > 3 * array[~mask].std()

    # Linked views on both, and a click that goes there.
    assert section.ui.linkedViewsButton.checked
    manager = slicer.app.layoutManager()
    tags = [tag for tag in manager.sliceViewNames() if tag.endswith("of3")]
    assert [manager.sliceWidget(tag).mrmlSliceNode().GetLayoutLabel() for tag in tags] == [
        "Previous",
        "Present",
        "Difference",
    ]
    section.ui.changeTable.selectRow(0)
    slicer.app.processEvents()
    for tag in tags:
        matrix = slicer.util.arrayFromVTKMatrix(manager.sliceWidget(tag).mrmlSliceNode().GetSliceToRAS())
        assert np.allclose(matrix[:3, 3], new.centre_common_ras_mm, atol=0.01), tag
    assert "No. 1, new: – →" in shown(section.ui.changeDetailLabel)
    assert nodes.change.GetDisplayNode().GetVisibility()
    click(section.ui.linkedViewsButton)
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert not nodes.change.GetDisplayNode().GetVisibility(), "over the user's own volumes it would be misplaced"
    section.ui.changeTable.selectRow(1)
    assert section.ui.linkedViewsButton.checked, "a click on a lesion opens them again"

    # What a follow-up made is no study, and what was deleted is told.
    section.ui.presentSelector.setCurrentNode(nodes.studies[1])
    assert "not the volumes of an earlier follow-up" in section.ui.followButton.toolTip
    click(section.ui.linkedViewsButton)
    slicer.mrmlScene.RemoveNode(nodes.difference)
    click(section.ui.linkedViewsButton)
    assert "were deleted" in shown(section.ui.followMessageLabel)
    slicer.mrmlScene.Clear(False)
    run_event_loop(0.1)
    assert not section.ui.changeBox.isVisible()
    assert section.followed is None


def test_what_is_in_the_way_is_said_on_the_button(panel, loaded, slicer):
    (volume_a, own_a), (_volume_b, own_b) = loaded
    section = panel.further.follow
    button = section.ui.followButton
    assert section.ui.presentSelector.currentNode() is panel.case.volumeNode
    assert "Choose the previous study" in button.toolTip
    section.ui.previousSelector.setCurrentNode(own_a)
    section.ui.presentSelector.setCurrentNode(volume_a)
    assert not button.enabled
    assert "the same study" in button.toolTip
    section.ui.presentSelector.setCurrentNode(own_b)
    assert button.enabled
    alone = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "from elsewhere")
    section.ui.previousSelector.setCurrentNode(alone)
    assert "Load the FLAIR that belongs to 'from elsewhere'" in button.toolTip


def test_cancel_and_a_closing_scene_add_nothing(panel, section, slicer):
    before = sorted(n.GetID() for n in slicer.util.getNodesByClass("vtkMRMLNode"))
    click(section.ui.followButton)
    run_event_loop(0.5)
    click(section.ui.followButton)
    wait_until(lambda: not section.running, 5)
    assert "Cancelled" in shown(section.ui.followMessageLabel)
    assert sorted(n.GetID() for n in slicer.util.getNodesByClass("vtkMRMLNode")) == before
    click(section.ui.followButton)
    run_event_loop(0.2)
    slicer.mrmlScene.Clear(False)
    run_event_loop(0.2)
    assert not section.running
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLNode") if n.GetAttribute("FlairSeg.followup")]


def test_a_study_that_is_deleted_meanwhile_is_told(panel, section, loaded, slicer):
    click(section.ui.followButton)
    run_event_loop(0.2)
    slicer.mrmlScene.RemoveNode(loaded[0][0])
    wait_until(lambda: not section.running, 10)
    assert "was deleted" in shown(section.ui.followMessageLabel)


@pytest.mark.parametrize(("what", "says"), [("voxels", "changed while"), ("place", "was moved")])
def test_a_study_that_changes_meanwhile_is_told_and_nothing_is_added(panel, section, loaded, slicer, what, says):
    """The aligned copy had other voxels, or lay elsewhere, than what was registered."""
    volume = loaded[1][0]
    click(section.ui.followButton)
    wait_until(lambda: section.ui.followStageLabel.text not in ("Starting...", "Reading the volume"), 120)
    if what == "voxels":
        array = slicer.util.arrayFromVolume(volume)
        array[len(array) // 2] = 0
        slicer.util.arrayFromVolumeModified(volume)
    else:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(motion()))
        volume.SetAndObserveTransformNodeID(transform.GetID())
    wait_until(lambda: not section.running, RUN_S)
    assert says in shown(section.ui.followMessageLabel)
    assert "again" in shown(section.ui.followMessageLabel)
    assert section.followed is None
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLNode") if n.GetAttribute("FlairSeg.followup")]


def test_a_segmentation_goes_as_it_is_and_a_volume_alone(slicer, studies):
    from FlairSegLib.panel.follow_section import study_of
    from FlairSegLib.volume_nodes import volume_from_node

    def taken(node, volume):
        steps = study_of(node, volume, volume_from_node(volume))
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value

    ((volume, segmentation),) = in_scene(slicer, studies[:1])
    assert taken(volume, volume).labels is None
    study = taken(segmentation, volume)
    np.testing.assert_array_equal(study.labels, studies[0][1])
    np.testing.assert_array_equal(study.volume.array, studies[0][0].array)
