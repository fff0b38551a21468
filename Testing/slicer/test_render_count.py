"""How often each view is drawn for what a reader does: a number with a bound, not a time.

In the application one result drew each view 16 to 18 times, half a second each; see Testing.harness.render_count.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from flairseg.segmentation.result import Segmentation

from Testing.harness.interaction import press, run_event_loop, wait_until
from Testing.harness.render_count import RenderCount
from Testing.slicer.queue_driver import write_result
from Testing.slicer.result_driver import head_with_lesions

#: The result is there, the panel shows it, the views go to the first lesion.
MOST_RENDERS = 3
CARD = SimpleNamespace(id="intensity-v0.1", sha256="ab" * 32, classes=(1, 2, 3), version="0.1", title="Intensity bands")


@pytest.fixture
def panel(no_worker, open_panel):
    """The whole panel in a window with views, without a worker."""
    return open_panel()


def settle(panel) -> None:
    # A volume is proposed only when the scene has come to rest.
    wait_until(lambda: not panel.result.busy and panel.case._task is None and not panel.case._settling.active, 60)
    run_event_loop(0.2)
    wait_until(lambda: not panel.result.busy, 60)


def deliver(slicer, panel, head, volume_node) -> None:
    """The last part of a run: the worker's answer is there."""
    from FlairSegLib import scene_bridge
    from FlairSegLib.run_controller import DRAWN_MS

    volume, labels, probabilities = head_with_lesions(head)
    answer = Segmentation(volume, labels, probabilities, CARD, "auto", "cpu", "CPUExecutionProvider", "FLAIR 042")
    controller = panel.run.controller

    def end_of_a_run():
        steps = scene_bridge.segmentation_steps(answer, volume_node)
        node = yield from controller._paced(steps, 0.95, 1.0, "fill")
        yield DRAWN_MS
        controller._reset()
        panel._finished(node)

    controller._run, controller._nodes, controller._on_progress = 1, (volume_node,), None
    controller._steps = end_of_a_run()
    controller._timer.start(1)
    wait_until(lambda: not controller.running, 60)
    settle(panel)


def test_views_are_drawn_three_times_at_most_for_what_a_reader_does(slicer, panel, head):
    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR 042")
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    settle(panel)
    drawn = {}
    for name in ("first result", "second result"):
        with RenderCount() as count:
            deliver(slicer, panel, head, node)
        drawn[name] = count.most
        added = {what for what in count.events if what.startswith("added")}
        assert "added vtkMRMLLabelMapVolumeNode" not in added
        assert not any(what.startswith("removed") for what in count.events)
        assert count.events["added vtkMRMLSegmentationDisplayNode"] == 1
    for name, key in (("next", "N"), ("flip", "X"), ("undo", "Ctrl+Z"), ("overlay", "O"), ("brush", "1")):
        with RenderCount() as count:
            press(key)
            settle(panel)
        drawn[name] = count.most
    with RenderCount() as count:
        panel.result.setSegmentation(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0])
        settle(panel)
    drawn["other version"] = count.most
    assert max(drawn.values()) <= MOST_RENDERS, drawn
    assert drawn["first result"] >= 2
    assert drawn["next"] == drawn["overlay"] == drawn["other version"] == 1
    assert drawn["brush"] == 0
    with RenderCount() as count:
        panel.result._clock_timer.timeout.emit()
        run_event_loop(0.1)
    assert count.most == 0, "the time of work is no reason to draw the views"


def test_the_first_result_of_a_session_is_drawn_three_times_at_most_with_the_turn_to_slices(slicer, panel, head):
    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR 042")
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    settle(panel)
    manager = slicer.app.layoutManager()
    height = manager.sliceWidget("Red").sliceView().height
    with RenderCount() as count:
        panel.run.onStarted()
        run_event_loop(0.3)
        assert panel.sliceLayout.turned
        assert manager.sliceWidget("Red").sliceView().height > height, "the views were resized"
        assert max(count.requests.values()) == 1, count.requests
        deliver(slicer, panel, head, node)
    assert count.most <= MOST_RENDERS, count.requests


def test_one_view_is_drawn_in_each_turn_of_the_event_loop(slicer, panel, head, monkeypatch):
    """Three views at a time block the event loop for three times as long."""
    import qt

    from Testing.harness import render_count

    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR 042")
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    settle(panel)
    deliver(slicer, panel, head, node)
    turns, drawn = [0], []

    def turn() -> None:
        turns[0] += 1

    beat = qt.QTimer()
    beat.timeout.connect(turn)
    beat.start(0)
    monkeypatch.setattr(render_count, "rendered", lambda view: drawn.append((turns[0], view)))
    for key in ("N", "X", "Ctrl+Z", "O"):
        drawn.clear()
        press(key)
        settle(panel)
        assert {view for _, view in drawn} >= {"Red", "Green", "Yellow"}
        assert drawn[0][1] == "Red", "the largest first"
        assert len({when for when, _ in drawn}) == len(drawn), f"{key}: {drawn}"
    beat.stop()


def test_a_view_that_waits_for_its_turn_may_be_gone(slicer, panel, head):
    from FlairSegLib import drawing

    class Gone:
        def resumeRender(self):
            raise ValueError("Trying to call 'resumeRender' on a destroyed qMRMLSliceView object")

    volume, _ = head
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR 042")
    settle(panel)
    with RenderCount() as count:
        with drawing.once():
            slicer.util.setSliceViewerLayers(background=node, fit=True)
        drawing._views._held.insert(1, Gone())
        wait_until(lambda: not drawing._views._held and not drawing._views._timer.isActive(), 30)
        run_event_loop(0.1)
    assert min(count.renders[view] for view in ("Red", "Green", "Yellow")) >= 1, count.renders


def test_a_case_of_the_queue_draws_the_views_three_times_at_most(slicer, queue, head, tmp_path):
    for case, doubt in (("a", 0.3), ("b", 0.1)):
        write_result(tmp_path / "results", case, head, doubt)
    queue.list(tmp_path / "results")
    for case in ("a", "b"):
        with RenderCount() as count:
            queue.open(case)
            run_event_loop(0.3)
            queue.settle()
        assert 1 <= count.most <= MOST_RENDERS


def test_a_showing_of_a_study_draws_the_views_three_times_at_most(rater, tmp_path):
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
    from Testing.slicer.review_driver import lock_study

    rater.choose(lock_study(tmp_path, 2) / "rooms" / "R1")
    rater.keys("Return")
    run_event_loop(0.3)
    rater.keys("P")
    # Again, as the layout is the protocol's now: what a view draws because its size changes is not counted.
    with RenderCount() as count:
        rater.keys("Return")
        run_event_loop(0.3)
    assert rater.tab.view.shown
    assert "added vtkMRMLLabelMapVolumeNode" not in count.events
    assert 1 <= count.most <= MOST_RENDERS


def test_what_is_paused_is_drawn_once_when_it_goes_on(slicer, main_window):
    main_window()
    run_event_loop(0.1)
    (node,) = [n for n in slicer.util.getNodesByClass("vtkMRMLSliceNode") if n.GetLayoutName() == "Red"]

    def fail_half_way() -> None:
        with slicer.util.RenderBlocker():
            for offset in np.linspace(-5, 5, 7):
                node.SetSliceOffset(offset)
            run_event_loop(0.1)
            assert not count.renders
            raise RuntimeError

    with RenderCount() as count:
        with pytest.raises(RuntimeError):
            fail_half_way()
        run_event_loop(0.1)
    assert (count.requests["Red"], count.renders["Red"]) == (1, 1)


def test_results_of_a_comparison_and_of_a_follow_up_are_drawn_three_times_at_most(slicer, main_window, head):
    from FlairSegLib import change_nodes, scene_bridge

    main_window()
    volume, labels, probabilities = head_with_lesions(head)
    nodes = [slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, name) for name in ("before", "now")]
    slicer.util.setSliceViewerLayers(background=nodes[0], fit=True)
    run_event_loop(0.1)
    answer = Segmentation(volume, labels, probabilities, CARD, "auto", "cpu", "CPUExecutionProvider", "now")
    with RenderCount() as compared:
        for _step in scene_bridge.segmentation_steps(answer, nodes[1], "now – a model", shown=False):
            run_event_loop(0.02)
        run_event_loop(0.1)
    (made,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert not made.GetDisplayNode().GetVisibility()
    assert compared.most == 1
    difference = (volume.array - volume.array.mean()).astype(np.float32)
    with RenderCount() as followed:
        steps = change_nodes.add_nodes(nodes, [np.eye(4)] * 2, volume.ijk_to_ras, difference, labels, "Follow-up")
        for _step in steps:
            run_event_loop(0.02)
        run_event_loop(0.1)
    assert followed.events["added vtkMRMLSegmentationNode"] == 1
    assert followed.most <= MOST_RENDERS


def test_without_a_window_no_view_is_made(slicer, head):
    from FlairSegLib import drawing

    from Testing.slicer.result_driver import segmented

    before = len(slicer.util.getNodesByClass("vtkMRMLSliceNode"))
    with drawing.once():
        segmented(slicer, head)
    assert len(slicer.util.getNodesByClass("vtkMRMLSliceNode")) == before
    assert not drawing._views._held
    assert drawing._views.depth == 0
