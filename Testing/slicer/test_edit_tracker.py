"""Working time: pauses do not count, another module does not count; edits are told from changed colours."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.labels import CLASS_BY_VALUE, LESION

from Testing.slicer.result_driver import segmented, tag


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched(slicer, head):
    from FlairSegLib.edit_tracker import EditTracker

    clock, heard = Clock(), []
    _, node = segmented(slicer, head)
    tracker = EditTracker(lambda: heard.append("edited"), lambda: heard.append("restyled"), clock)
    tracker.watch(node)
    tracker.enter()
    yield tracker, clock, node, heard
    tracker.watch(None)


def test_pauses_up_to_twenty_seconds_count(watched):
    tracker, clock, _, _ = watched
    for pause in (0, 5, 19.5, 21, 3, 600, 0.5):
        clock.now += pause
        tracker.touch()
    assert tracker.seconds == pytest.approx(5 + 19.5 + 3 + 0.5)


def test_another_module_does_not_count(watched):
    tracker, clock, _, _ = watched
    tracker.touch()
    clock.now += 4
    tracker.exit()
    clock.now += 5
    tracker.touch()
    clock.now += 5
    tracker.enter()
    tracker.touch()
    clock.now += 2
    tracker.touch()
    assert tracker.seconds == pytest.approx(6)


def test_the_mouse_over_a_slice_is_activity(slicer, watched):
    tracker, clock, _, heard = watched
    crosshair = slicer.util.getNodesByClass("vtkMRMLCrosshairNode")[0]
    crosshair.SetCursorPositionRAS([1, 2, 3])
    clock.now += 7
    crosshair.SetCursorPositionRAS([2, 2, 3])
    assert tracker.seconds == pytest.approx(7)
    assert heard == []


def test_earlier_sessions_count_and_a_clock_set_back_does_not(slicer, watched):
    tracker, clock, node, _ = watched
    tracker.watch(node, 42.0)
    tracker.touch()
    clock.now -= 50
    tracker.touch()
    assert tracker.seconds == pytest.approx(42)


def test_voxels_are_edits_and_colours_are_not(slicer, watched):
    _, _, node, heard = watched
    segment = node.GetSegmentation().GetSegment(CLASS_BY_VALUE[LESION].id)
    segment.SetColor(1.0, 0.0, 1.0)
    segment.SetTag("anything", "else")
    node.CreateClosedSurfaceRepresentation()
    node.RemoveClosedSurfaceRepresentation()
    assert set(heard) == {"restyled"}
    heard.clear()
    volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, CLASS_BY_VALUE[LESION].id, volume)
    mask[:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ascontiguousarray(mask), node, CLASS_BY_VALUE[LESION].id, volume
    )
    assert "edited" in heard


def test_nothing_is_heard_of_a_node_that_is_no_longer_watched(slicer, watched):
    tracker, _, node, heard = watched
    tracker.watch(None)
    node.GetSegmentation().RemoveSegment(CLASS_BY_VALUE[LESION].id)
    assert heard == []
    assert tracker.node is None


def test_time_and_edits_are_noted_on_the_node(slicer, result, head):
    _, node = segmented(slicer, head)
    clock = Clock()
    result.panel.tracker._clock = clock
    result.show(node)
    result.panel.tracker.touch()
    clock.now += 12.0
    result.panel.lesions.select(1)
    result.panel.lesions.delete()
    result.settle()
    assert float(tag(node, LESION, "FlairSeg.active_seconds")) == pytest.approx(12.0)
    removed = int(tag(node, LESION, "FlairSeg.voxels_removed"))
    assert removed == result.panel._measured.edits[LESION][1] > 0
    result.panel.undo()
    result.settle()
    assert not result.panel._measured.edited
    assert tag(node, LESION, "FlairSeg.algorithm_type") == "AUTOMATIC", "all of it was taken back"
    assert float(node.GetAttribute("FlairSeg.active_seconds")) == pytest.approx(12.0), "but the time was spent"
    result.panel.exit()
    assert float(tag(node, LESION, "FlairSeg.active_seconds")) == pytest.approx(12.0)
