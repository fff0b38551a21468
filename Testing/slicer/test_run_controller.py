"""A run from the panel's point of view: worker process, worker thread, and everything that may happen meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import flairseg
import numpy as np
import pytest
from flairseg.errors import (
    FlairSegError,
    InputChangedError,
    InputNotFoundError,
    ModelNotFoundError,
    NotEnoughMemoryError,
    RunInProgressError,
    UnusableIntensitiesError,
    WorkerError,
)
from flairseg.labels import LESION, VENTRICLES

from Testing.slicer.helpers import STORAGE_ORDERS, labels_of, on_grid, rigid, stored_as, world_affine

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


class Recorded:
    """A controller and what it said."""

    def __init__(self, slicer) -> None:
        from FlairSegLib.run_controller import RunController

        self.slicer = slicer
        self.progress: list[tuple[float, str]] = []
        self.said: list[tuple[str, object]] = []
        self.controller = RunController(
            lambda fraction, stage: self.progress.append((fraction, stage)),
            lambda node: self.said.append(("finished", node)),
            lambda error: self.said.append(("failed", error)),
            lambda: self.said.append(("cancelled", None)),
        )

    def wait(self, condition, timeout_s=60.0):
        from Testing.harness.interaction import wait_until

        wait_until(condition, timeout_s)

    def finish(self):
        """The result of the run under way, which must succeed."""
        self.wait(lambda: not self.controller.running)
        kind, what = self.said.pop()
        assert kind == "finished", what
        assert not self.said
        return what

    def failure(self) -> FlairSegError:
        self.wait(lambda: not self.controller.running)
        kind, what = self.said.pop()
        assert kind == "failed"
        assert not self.said
        assert what.advice
        assert "exit status" not in str(what)
        return what

    def until_stage(self, stage: str) -> None:
        self.wait(lambda: any(name == stage for _, name in self.progress))


@pytest.fixture
def runs(slicer):
    recorded = Recorded(slicer)
    yield recorded
    recorded.controller.cleanup()


@pytest.fixture
def in_thread(monkeypatch):
    """A computer on which no process can be started."""
    from FlairSegLib import job

    monkeypatch.setattr(job, "find_python", lambda chosen="": "no-such-python")


@pytest.fixture
def volume_node(slicer, head):
    return slicer.util.addVolumeFromArray(head[0].array, ijkToRAS=head[0].ijk_to_ras, name="FLAIR")


def contents(slicer) -> list[str]:
    return [slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())]


@pytest.mark.parametrize("codes", STORAGE_ORDERS)
def test_segments_equal_the_cores_labels(slicer, runs, head, model, save_nifti, tmp_path, codes):
    array, affine = stored_as(head[0].array, head[0].ijk_to_ras, codes)
    path = save_nifti(tmp_path / "flair.nii.gz", array, affine)
    volume_node = slicer.util.loadVolume(str(path))
    runs.controller.start(volume_node, str(model), "cpu")
    shown = labels_of(slicer, runs.finish(), volume_node)
    core = flairseg.segment(path, model=model, device="cpu")
    in_file = on_grid(shown, world_affine(slicer, volume_node), core.labels.shape, core.volume.ijk_to_ras)
    np.testing.assert_array_equal(in_file, core.labels)
    assert (core.labels == LESION).any()


def test_process_thread_and_logic_give_the_same(slicer, runs, logic, model, volume_node, monkeypatch):
    from FlairSegLib import job

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid((10, -75, 15), (20, -10, 5))))
    volume_node.SetAndObserveTransformNodeID(transform.GetID())
    runs.controller.start(volume_node, str(model), "cpu")
    by_process = runs.finish()
    assert runs.controller.workerPid not in (None, os.getpid())
    assert runs.controller.deviceUsed == "cpu"
    assert not by_process.GetAttribute("FlairSeg.warnings")
    runs.controller.cleanup()
    monkeypatch.setattr(job, "find_python", lambda chosen="": "no-such-python")
    runs.controller.start(volume_node, str(model), "cpu")
    by_thread = runs.finish()
    assert "inside Slicer" in by_thread.GetAttribute("FlairSeg.warnings")
    by_logic = logic.process(volume_node, modelId=str(model), device="cpu")
    expected = labels_of(slicer, by_logic, volume_node)
    assert expected.any()
    from FlairSegLib import kept_answers

    for node in (by_process, by_thread):
        np.testing.assert_array_equal(labels_of(slicer, node, volume_node), expected)
        np.testing.assert_array_equal(kept_answers.probabilities_of(node), kept_answers.probabilities_of(by_logic))
        assert node.GetParentTransformNode() is transform


def test_progress_rises_through_the_stages(runs, model, volume_node):
    runs.controller.start(volume_node, str(model), "cpu")
    runs.finish()
    fractions = [fraction for fraction, _ in runs.progress]
    assert fractions == sorted(fractions)
    assert {"start", "send", "preprocess", "inference", "fill"} <= {stage for _, stage in runs.progress}
    assert len(fractions) < 100


def test_the_worker_stays_warm_between_runs(runs, model, volume_node):
    runs.controller.warmUp(str(model), "cpu")
    runs.controller.start(volume_node, str(model), "cpu")
    runs.finish()
    first = runs.controller.workerPid
    runs.controller.start(volume_node, str(model), "cpu")
    runs.finish()
    assert runs.controller.workerPid == first


def without_ventricles(model: Path, folder: Path) -> Path:
    """The same model with a level of the ventricles that no voxel has, in a folder; its id is ``other-v0.1``."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'flairseg[test]'")
    network = onnx.load(model)
    (levels,) = [tensor for tensor in network.graph.initializer if tensor.name == "minus_levels"]
    changed = onnx.numpy_helper.to_array(levels).copy()
    changed[2] = -50
    levels.CopyFrom(onnx.numpy_helper.from_array(changed, levels.name))
    card = json.loads(model.with_name("card.json").read_text())
    folder.mkdir(exist_ok=True)
    onnx.save(network, folder / "model.onnx")
    card["id"] = "other-v0.1"
    card["weights"]["sha256"] = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    return folder / "model.onnx"


def test_a_worker_that_is_warm_for_one_model_answers_with_the_chosen_one(slicer, runs, model, volume_node, tmp_path):
    from FlairSegLib import segment_tags

    other = without_ventricles(model, tmp_path / "other-v0.1")
    runs.controller.warmUp(str(model), "cpu")
    runs.wait(lambda: runs.controller.workerPid is not None)
    pid = runs.controller.workerPid
    shown = []
    # Warm for the one, asked for the other; then for the first again, while the worker is warm for both.
    for path, name, ventricles in ((other, "other-v0.1", False), (model, "intensity-v0.1", True)):
        runs.controller.start(volume_node, str(path), "cpu")
        node = runs.finish()
        assert runs.controller.workers.worker.warmed == (str(path.resolve()), "cpu")
        assert segment_tags.first_tag(node, segment_tags.MODEL) == name
        shown.append(labels_of(slicer, node, volume_node))
        assert (shown[-1] == VENTRICLES).any() == ventricles
        assert (shown[-1] == LESION).any()
    assert runs.controller.workerPid == pid
    # Other weights at the place of those for which it is warm: a model that was installed anew.
    mine = tmp_path / "mine"
    shutil.copytree(model.parent, mine)
    runs.controller.warmUp(str(mine / "model.onnx"), "cpu")
    without_ventricles(model, mine)
    runs.controller.start(volume_node, str(mine / "model.onnx"), "cpu")
    node = runs.finish()
    assert segment_tags.first_tag(node, segment_tags.MODEL) == "other-v0.1"
    np.testing.assert_array_equal(labels_of(slicer, node, volume_node), shown[0])


def test_nothing_heavy_is_imported_here_and_the_event_loop_goes_on(slicer, runs, model, volume_node):
    from Testing.harness.interaction import EventLoopProbe

    heavy = ("skimage", "onnxruntime", "flairseg.segmentation.pipeline", "flairseg.preprocessing")
    before = {name for name in sys.modules if name.startswith(heavy)}
    with EventLoopProbe() as probe:
        runs.controller.start(volume_node, str(model), "cpu")
        runs.wait(lambda: not runs.controller.running)
    runs.finish()
    assert {name for name in sys.modules if name.startswith(heavy)} == before
    # Processor time of this thread: other processes are not in it. Under coverage all is slower.
    assert probe.longest_busy_ms < 200


def test_cancel_takes_effect_at_once_and_the_next_run_works(slicer, runs, slow_model, model, volume_node):
    before = contents(slicer)
    runs.controller.start(volume_node, str(model), "cpu")
    runs.until_stage("read")
    pid = runs.controller.workerPid
    runs.controller.cancel()
    assert runs.said == [("cancelled", None)]
    assert not runs.controller.running
    # The gate is there still: a worker that were not killed would wait at it.
    runs.wait(lambda: not alive(pid))
    assert contents(slicer) == before
    runs.said.clear()
    slow_model.unlink()
    runs.controller.start(volume_node, str(model), "cpu")
    assert labels_of(slicer, runs.finish(), volume_node).any()
    assert runs.controller.workerPid != pid


@pytest.mark.parametrize("stage", ["start", "send", "read", "inference", "postprocess", "fill"])
@pytest.mark.parametrize("how", ["cancel", "cleanup"])
def test_ended_from_a_callback_at_any_stage_nothing_is_left(slicer, runs, model, volume_node, stage, how):
    before = contents(slicer)

    def stop(_fraction, name):
        runs.progress.append((_fraction, name))
        if name == stage and runs.controller.running:
            getattr(runs.controller, how)()

    runs.controller._on_progress = stop
    runs.controller.start(volume_node, str(model), "cpu")
    runs.wait(lambda: not runs.controller.running)
    assert runs.said == ([("cancelled", None)] if how == "cancel" else [])
    for _ in range(30):
        slicer.app.processEvents()
        time.sleep(0.002)
    assert contents(slicer) == before
    assert len(runs.said) < 2


def test_a_second_start_is_refused_and_the_first_goes_on(slicer, runs, model, volume_node):
    runs.controller.start(volume_node, str(model), "cpu")
    with pytest.raises(RunInProgressError) as caught:
        runs.controller.start(volume_node, str(model), "cpu")
    assert caught.value.advice
    assert labels_of(slicer, runs.finish(), volume_node).any()


def test_what_is_no_volume_is_refused_at_once(slicer, runs):
    for node in (None, slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")):
        with pytest.raises(InputNotFoundError):
            runs.controller.start(node)
    assert not runs.controller.running
    assert not runs.said


def test_errors_of_the_core_come_typed(slicer, runs, model, volume_node):
    constant = slicer.util.addVolumeFromArray(np.full((6, 32, 32), 7, np.int16), name="constant")
    before = contents(slicer)
    runs.controller.start(volume_node, "no-such-model-v9.9")
    assert type(runs.failure()) is ModelNotFoundError
    runs.controller.start(constant, str(model))
    assert type(runs.failure()) is UnusableIntensitiesError
    assert contents(slicer) == before
    runs.controller.start(volume_node, str(model))
    runs.finish()


def test_scene_closed_while_running(slicer, runs, slow_model, model, volume_node):
    runs.controller.start(volume_node, str(model), "cpu")
    runs.until_stage("read")
    slicer.mrmlScene.Clear(False)
    assert runs.said == [("cancelled", None)]
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_volume_deleted_while_running(slicer, runs, slow_model, model, volume_node):
    runs.controller.start(volume_node, str(model), "cpu")
    runs.until_stage("read")
    slicer.mrmlScene.RemoveNode(volume_node)
    assert type(runs.failure()) is InputNotFoundError
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


@pytest.mark.parametrize("change", ["voxels", "grid", "shape"])
def test_volume_changed_while_running(slicer, runs, slow_model, model, volume_node, change):
    runs.controller.start(volume_node, str(model), "cpu")
    runs.until_stage("read")
    if change == "voxels":
        slicer.util.arrayFromVolume(volume_node)[3, 4, 5] += 1
        slicer.util.arrayFromVolumeModified(volume_node)
    elif change == "grid":
        volume_node.SetSpacing(1, 1, 1)
    else:
        slicer.util.updateVolumeFromArray(volume_node, slicer.util.arrayFromVolume(volume_node)[1:].copy())
    before = contents(slicer)
    slow_model.unlink()
    assert type(runs.failure()) is InputChangedError
    assert contents(slicer) == before


def test_only_touched_moved_or_renamed_is_fine(slicer, runs, slow_model, model, volume_node):
    runs.controller.start(volume_node, str(model), "cpu")
    runs.until_stage("read")
    slicer.util.arrayFromVolumeModified(volume_node)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid((25, -10, 40), (12, -30, 7))))
    volume_node.SetAndObserveTransformNodeID(transform.GetID())
    volume_node.SetName("renamed")
    slow_model.unlink()
    node = runs.finish()
    assert node.GetName() == "renamed segmentation v1"
    assert node.GetParentTransformNode() is transform
    assert labels_of(slicer, node, volume_node).any()


@posix
@pytest.mark.parametrize(("number", "error"), [("SIGSEGV", WorkerError), ("SIGKILL", NotEnoughMemoryError)])
def test_a_crash_is_told_in_plain_words_and_the_next_run_works(
    slicer, runs, slow_model, model, volume_node, number, error
):
    runs.controller.start(volume_node, str(model), "cpu")
    runs.until_stage("read")
    os.kill(runs.controller.workerPid, getattr(signal, number))
    assert type(runs.failure()) is error
    slow_model.unlink()
    runs.controller.start(volume_node, str(model), "cpu")
    runs.finish()


def test_a_python_that_is_none_falls_back_to_a_thread(slicer, runs, model, volume_node, monkeypatch, tmp_path):
    from FlairSegLib import job

    silly = tmp_path / "python"
    silly.write_text("#!/bin/sh\necho no python here\nexit 1\n")
    silly.chmod(0o755)
    monkeypatch.setattr(job, "find_python", lambda chosen="": str(silly))
    runs.controller.start(volume_node, str(model), "cpu")
    node = runs.finish()
    assert "inside Slicer" in node.GetAttribute("FlairSeg.warnings")


def test_cancel_in_the_thread(slicer, runs, in_thread, model, volume_node, monkeypatch):
    before = contents(slicer)
    runs.controller.start(volume_node, str(model), "cpu")
    runs.wait(lambda: runs.controller.workers.worker is not None and not runs.controller.workers.worker.isProcess)
    assert runs.controller.running
    waited: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", lambda thread, timeout=None: waited.append(thread.name))
        worked = time.thread_time()
        runs.controller.cancel()
        assert time.thread_time() - worked < 0.1
    assert not waited
    assert runs.said == [("cancelled", None)]
    runs.said.clear()
    assert contents(slicer) == before
    runs.controller.start(volume_node, str(model), "cpu")
    runs.finish()


def test_runs_make_versions_and_cleanup_can_be_followed_by_a_run(slicer, runs, model, volume_node):
    names = []
    for _ in range(2):
        runs.controller.start(volume_node, str(model), "cpu")
        names.append(runs.finish().GetName())
        pid = runs.controller.workerPid
        runs.controller.cleanup()
        runs.wait(lambda pid=pid: not alive(pid), 5)
    assert names == ["FLAIR segmentation v1", "FLAIR segmentation v2"]


def test_slicers_own_python_is_preferred(slicer, monkeypatch, tmp_path):
    from FlairSegLib import job

    monkeypatch.setattr(slicer.app, "slicerHome", str(tmp_path / "Slicer 5.12 Größe"), raising=False)
    assert job.find_python() == sys.executable
    name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
    launcher = tmp_path / "Slicer 5.12 Größe" / "bin" / name
    launcher.parent.mkdir(parents=True)
    launcher.touch()
    assert job.find_python() == str(launcher)
    assert job.find_python("/mine/python") == "/mine/python"
    folder = Path(job.environment()["PYTHONPATH"].split(os.pathsep)[0])
    assert folder == job.PACKAGE_FOLDER
    assert (folder / "flairseg" / "worker" / "__main__.py").is_file()


def test_another_python_does_not_get_slicers_environment(slicer, monkeypatch, tmp_path):
    """With the ``PYTHONHOME`` of Slicer it would end before it imports anything."""
    from FlairSegLib import job
    from PySide6.QtCore import QProcessEnvironment

    start = QProcessEnvironment()
    start.insert("PATH", "/usr/bin")
    start.insert("PYTHONPATH", "/mine/modules")
    monkeypatch.setattr(slicer.app, "startupEnvironment", lambda: start, raising=False)
    monkeypatch.setattr(slicer.app, "slicerHome", str(tmp_path), raising=False)
    monkeypatch.setenv("PYTHONHOME", str(tmp_path / "lib" / "Python"))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
    for python in ("", sys.executable, str(tmp_path / "bin" / "PythonSlicer")):
        assert job.environment(python)["PYTHONHOME"] == str(tmp_path / "lib" / "Python")
    given = job.environment("/mine/bin/python3")
    assert not {"PYTHONHOME", "LD_LIBRARY_PATH"} & set(given)
    assert given["PATH"] == "/usr/bin"
    assert given["PYTHONPATH"] == os.pathsep.join([str(job.PACKAGE_FOLDER), "/mine/modules"])
    assert given["PYTHONUTF8"] == "1"


def alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_the_worker_of_runs_stays_and_that_of_other_tasks_leaves_after_a_while(slicer):
    from FlairSegLib.run_controller import RunController
    from FlairSegLib.task_controller import TaskController

    killed = []
    for kind, leaves in ((RunController, False), (TaskController, True)):
        controller = kind()
        controller.workers.worker = SimpleNamespace(kill=lambda kind=kind: killed.append(kind))
        controller._reset()
        assert controller.workers.leaving == leaves
        controller.cleanup()
        assert not controller.workers.leaving
    assert killed == [RunController, TaskController]


def test_a_worker_that_is_lent_is_left_to_its_owner(slicer):
    from FlairSegLib.run_controller import RunController
    from FlairSegLib.task_controller import TaskController

    killed = []
    owner = RunController()
    borrower = TaskController(lent=owner.workers)
    owner.workers.worker = SimpleNamespace(kill=lambda: killed.append(True))
    borrower.perform(lambda: iter(()), lambda answer: iter(()))
    borrower.cancel()
    borrower.cleanup()
    assert not killed
    owner.cleanup()
    assert killed


def test_a_worker_that_took_the_place_of_a_dead_one_is_not_ended_with_it(slicer):
    from FlairSegLib.worker_holder import WorkerHolder

    killed = []
    dead, new = (SimpleNamespace(kill=lambda name=name: killed.append(name)) for name in ("dead", "new"))
    holder = WorkerHolder()
    holder.worker = new
    holder.ended(dead)
    holder.fall_back(dead, WorkerError("Gone.", ""))
    assert holder.worker is new
    assert holder.noProcess is None
    assert not killed
    holder.ended(new)
    assert holder.worker is None
    assert killed == ["new"]


def test_of_waiting_events_none_after_an_answer_is_taken(slicer):
    import queue

    from FlairSegLib.task_controller import _waiting

    events = queue.Queue()
    said = [("progress", n, "regions") for n in range(5)]
    for event in (*said[:3], ("answer", "first"), *said[3:], ("answer", "second")):
        events.put(event)
    assert _waiting(events) == [said[2], ("answer", "first")]
    assert _waiting(events) == [said[4], ("answer", "second")]
    assert _waiting(events) == []
    events.put(said[0])
    assert _waiting(events) == [said[0]]
