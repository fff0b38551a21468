"""Regions of the brain from the worker of the runs: with a run, by hand, and whatever happens to either meanwhile."""

from __future__ import annotations

import gc
import os
import signal
import weakref

import numpy as np
import pytest
from flairseg.anatomy.packing import unpack_regions

from Testing.harness.interaction import click, run_event_loop, wait_until
from Testing.slicer.panel_driver import settle, shown
from Testing.slicer.result_driver import segmented

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
#: Generous: a worker starts Python and loads SciPy, on a computer that may be busy.
RUN_S = 120


@pytest.fixture
def panel(model, monkeypatch, no_worker, open_panel):
    """The panel with the model that knows the head's gray levels, and regions after each run."""
    monkeypatch.setenv("FLAIRSEG_MODELS", str(model.parent))
    widget = open_panel(height=1400)
    widget.ui.modelComboBox.setCurrentIndex(widget.ui.modelComboBox.findData("intensity-v0.1"))
    widget.ui.deviceComboBox.setCurrentIndex(1)
    widget.result.settings.regionsAfterRun = True
    return widget


@pytest.fixture
def flair(panel, slicer, head):
    node = add(slicer, head, "FLAIR")
    settle(panel)
    return node


@pytest.fixture
def asked(monkeypatch):
    """The requests that went to a worker, in order."""
    from FlairSegLib import job

    requests = []
    for kind in (job.WorkerProcess, job.WorkerThread):
        task = kind.task

        def noted(self, request, task=task):
            requests.append(request)
            return task(self, request)

        monkeypatch.setattr(kind, "task", noted)
    return requests


#: A run, regions by hand, another run.
ASKED_BY_HAND = ["SegmentRequest", "RegionsRequest", "SegmentRequest"]


def add(slicer, head, name: str):
    return slicer.util.addVolumeFromArray(head[0].array, head[0].ijk_to_ras, name)


def kinds(requests) -> list[str]:
    return [type(request).__name__ for request in requests]


def segment(panel) -> None:
    """Click, and wait for the overlay."""
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, RUN_S)
    assert "Segmented in" in shown(panel.ui.statusLabel)


def wait_for_regions(panel) -> None:
    wait_until(lambda: not panel.result.regions.running and not panel.result.busy, RUN_S)


def codes_of(volume) -> np.ndarray:
    from FlairSegLib import kept_answers

    kept = kept_answers.kept_regions_of(volume)
    return unpack_regions(kept.answer().full_labels(), kept.grid.ijk_to_ras).codes


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_a_run_is_followed_by_the_regions_of_its_own_worker(panel, flair, head, model, asked):
    from flairseg.anatomy import find_regions

    segment(panel)
    pid = panel.run.controller.workerPid
    assert panel.result.regions.running
    wait_for_regions(panel)
    assert panel.result.regions.known
    assert panel.run.controller.workerPid == panel.result.regions.controller.workerPid == pid
    # The voxels were sent once.
    assert kinds(asked) == ["SegmentRequest"]
    labels = panel.result.measured.labels
    expected = find_regions(head[0], labels)
    assert expected.found
    np.testing.assert_array_equal(codes_of(flair), expected.codes)
    # They belong to the volume: another run need not find them again.
    segment(panel)
    assert not panel.result.regions.running
    assert [request.regions for request in asked] == [True, False]


def test_once_regions_are_found_nobody_keeps_the_voxels_that_were_sent(panel, flair, asked):
    segment(panel)
    wait_for_regions(panel)
    assert panel.result.regions.known
    sent = weakref.ref(asked.pop().volume)
    gc.collect()
    assert sent() is None


def test_regions_that_nobody_wants_are_not_looked_for(panel, flair, asked):
    panel.result.settings.regionsAfterRun = False
    segment(panel)
    wait_for_regions(panel)
    assert not panel.result.regions.known
    assert [request.regions for request in asked] == [False]


@pytest.mark.parametrize("by", ["itself", "hand"])
def test_a_second_run_comes_before_the_regions_of_the_first(slow_regions, panel, flair, asked, by):
    ui = panel.result.ui
    panel.result.settings.regionsAfterRun = by == "itself"
    segment(panel)
    if by == "hand":
        click(ui.regionsButton)
        wait_until(lambda: len(asked) == 2, RUN_S)
    pid = panel.run.controller.workerPid
    first = panel.result.regions.controller._job
    click(panel.ui.segmentButton)
    assert panel.run.running
    assert not panel.result.regions.running
    assert "follow once the volume is segmented" in shown(ui.regionsStageLabel)
    assert shown(ui.regionsMessageLabel) == ""
    slow_regions.unlink()
    wait_until(lambda: not panel.run.running, RUN_S)
    wait_for_regions(panel)
    assert panel.result.regions.known
    assert shown(ui.regionsStageLabel) == ""
    assert panel.run.controller.workerPid == pid
    assert not any(kind == "answer" for kind, *_ in list(first.events.queue)), "nobody waited for the first ones"
    # With the second run come its own regions, without sending the voxels again.
    expected = ["SegmentRequest", "SegmentRequest"] if by == "itself" else [*ASKED_BY_HAND, "RegionsRequest"]
    assert kinds(asked) == expected


def test_regions_that_stepped_back_go_with_their_volume(slow_regions, panel, flair, slicer, head):
    segment(panel)
    click(panel.ui.segmentButton)
    panel.result.setSegmentation(None)
    click(panel.ui.segmentButton)
    assert not panel.run.running
    assert not panel.result.regions.running, "nothing is shown whose regions are wanted"


def test_cancelled_regions_leave_the_worker_to_the_runs(slow_regions, panel, flair, slicer):
    ui = panel.result.ui
    segment(panel)
    pid = panel.run.controller.workerPid
    assert ui.regionsButton.text == "Cancel"
    click(ui.regionsButton)
    assert not panel.result.regions.running
    assert "Cancelled" in shown(ui.regionsMessageLabel)
    slow_regions.unlink()
    run_event_loop(0.5)
    assert not panel.result.regions.known
    assert alive(pid)
    # By hand.
    click(ui.regionsButton)
    wait_for_regions(panel)
    assert panel.result.regions.known
    assert panel.run.controller.workerPid == pid
    assert not ui.regionsButton.isVisible()


def test_a_cancelled_run_takes_the_worker_along_and_the_regions_ask_the_next_one(
    slow_regions, panel, flair, slicer, asked
):
    segment(panel)
    pid = panel.run.controller.workerPid
    click(panel.ui.segmentButton)
    run_event_loop(0.3)
    click(panel.ui.segmentButton)
    assert not panel.run.running
    wait_until(lambda: not alive(pid), 5)
    assert panel.result.regions.running
    slow_regions.unlink()
    wait_for_regions(panel)
    assert panel.result.regions.known
    assert kinds(asked) == ["SegmentRequest", "SegmentRequest", "RegionsRequest"]
    assert panel.result.regions.controller.workerPid != pid


@posix
@pytest.mark.parametrize("when", ["during", "before"])
def test_a_worker_that_dies_is_told_and_replaced(slow_regions, panel, flair, when):
    ui = panel.result.ui
    if when == "before":
        panel.result.settings.regionsAfterRun = False
    segment(panel)
    pid = panel.run.controller.workerPid
    os.kill(pid, signal.SIGSEGV)
    wait_until(lambda: not alive(pid) or not panel.run.controller.workers.worker.alive, 10)
    if when == "during":
        wait_until(lambda: not panel.result.regions.running, 10)
        assert "stopped working" in shown(ui.regionsMessageLabel)
    assert not panel.result.regions.known
    slow_regions.unlink()
    click(ui.regionsButton)
    wait_for_regions(panel)
    assert panel.result.regions.known
    assert panel.run.controller.workerPid not in (None, pid)
    segment(panel)


def test_the_scene_is_closed_while_regions_are_found(slow_regions, panel, flair, slicer, head):
    segment(panel)
    pid = panel.run.controller.workerPid
    assert panel.result.regions.running
    slicer.mrmlScene.Clear(0)
    assert not panel.result.regions.running
    slow_regions.unlink()
    again = add(slicer, head, "again")
    settle(panel)
    segment(panel)
    wait_for_regions(panel)
    assert panel.result.regions.known
    assert codes_of(again).any()
    assert panel.run.controller.workerPid == pid


def test_the_panel_goes_while_regions_are_found(slow_regions, panel, flair):
    segment(panel)
    pid = panel.run.controller.workerPid
    controller = panel.result.regions.controller
    assert controller.running
    panel.cleanup()
    assert not controller.running
    wait_until(lambda: not alive(pid), 5)
    run_event_loop(0.2)
    assert controller.workers.worker is None


@pytest.mark.parametrize("shown_then", ["none", "another"])
def test_another_volume_or_none_is_shown_while_regions_are_found(slow_regions, panel, flair, slicer, head, shown_then):
    from FlairSegLib import kept_answers, segment_voxels

    segment(panel)
    pid = panel.run.controller.workerPid
    node = panel.result.segmentationNode
    if shown_then == "another":
        node.SetNodeReferenceID(segment_voxels.INPUT_ROLE, add(slicer, head, "other").GetID())
    panel.result.setSegmentation(None if shown_then == "none" else node)
    assert not panel.result.regions.running
    slow_regions.unlink()
    run_event_loop(0.5)
    assert kept_answers.kept_regions_of(flair) is None
    assert alive(pid)


def test_a_volume_changed_while_regions_are_found_has_none(slow_regions, panel, flair, slicer):
    segment(panel)
    slicer.util.arrayFromVolume(flair)[3, 3, 3] += 1
    slicer.util.arrayFromVolumeModified(flair)
    slow_regions.unlink()
    wait_for_regions(panel)
    assert not panel.result.regions.known
    assert "changed" in shown(panel.result.ui.regionsMessageLabel)


def test_regions_by_hand_during_a_run_are_cancelled_without_it(slow_model, panel, flair, slicer, head, asked):
    panel.result.settings.regionsAfterRun = False
    _, node = segmented(slicer, head, volume_node=flair)
    panel.result.setSegmentation(node)
    wait_until(lambda: not panel.result.busy, RUN_S)
    click(panel.ui.segmentButton)
    click(panel.result.ui.regionsButton)
    wait_until(lambda: len(asked) == 2, RUN_S)
    wait_until(lambda: panel.run.controller.workerPid is not None, RUN_S)
    pid = panel.run.controller.workerPid
    click(panel.result.ui.regionsButton)
    assert panel.run.running
    slow_model.unlink()
    wait_until(lambda: not panel.run.running, RUN_S)
    assert "Segmented in" in shown(panel.ui.statusLabel)
    assert panel.run.controller.workerPid == pid
    assert not panel.result.regions.known


def test_without_a_process_a_thread_of_slicer_finds_them(panel, flair, monkeypatch, asked):
    from FlairSegLib import job

    monkeypatch.setattr(job, "find_python", lambda chosen="": "no-such-python")
    panel.run.controller.cleanup()
    segment(panel)
    wait_for_regions(panel)
    assert panel.result.regions.known
    assert not panel.run.controller.workers.worker.isProcess
