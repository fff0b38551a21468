"""Python threads in an event loop that keeps the interpreter's lock, as PythonQt's does and PySide6's does not."""

from __future__ import annotations

import threading
import time

import pytest


@pytest.fixture
def locked_events(slicer):
    """Let events run without giving the interpreter's lock away, until something holds or the time is over."""
    from Testing.harness import event_lock

    process = event_lock.process_events()
    if process is None:
        pytest.skip("Qt's library has another name on this system")

    def until(condition, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            process(event_lock.ALL_EVENTS)
            if condition():
                return True
        return False

    return until


def test_without_a_share_a_thread_stands_still(locked_events):
    """Else the tests below would prove nothing."""
    import sys

    interval = sys.getswitchinterval()
    sys.setswitchinterval(30)
    try:
        done = threading.Event()
        threading.Thread(target=lambda: [time.sleep(0.001) for _ in range(20)] and done.set(), daemon=True).start()
        assert not locked_events(done.is_set, 0.5)
    finally:
        sys.setswitchinterval(interval)


def test_the_harness_waits_with_and_without_the_lock(slicer, stubborn):
    from Testing.harness.event_lock import python_lock_held
    from Testing.harness.interaction import run_event_loop, wait_until

    ran = []

    def work():
        for _ in range(200):
            time.sleep(0.001)
            ran.append(1)

    with python_lock_held() as held:
        if not held:
            pytest.skip("Qt's library has another name on this system")
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        run_event_loop(0.3)
        slicer.app.processEvents()
        during = len(ran)
    wait_until(lambda: len(ran) == 200, 30)
    # Not none: Python's own code between two turns of the loop may let go of the lock, more often on a busy machine.
    assert during < 20
    thread.join(1)


@pytest.fixture
def stubborn():
    """An interpreter whose threads change only when one of them waits."""
    import sys

    interval = sys.getswitchinterval()
    sys.setswitchinterval(30)
    yield
    sys.setswitchinterval(interval)


def test_background_tasks_end(locked_events, stubborn):
    from FlairSegLib import background

    said = []
    background.run(lambda: [time.sleep(0.001) for _ in range(20)], said.append, said.append)
    assert locked_events(lambda: said, 10)


def test_a_run_in_the_worker_process_ends(slicer, locked_events, stubborn, head, model):
    from FlairSegLib.run_controller import RunController

    volume = slicer.util.addVolumeFromArray(head[0].array, ijkToRAS=head[0].ijk_to_ras, name="FLAIR")
    said = []
    controller = RunController(onFinished=said.append, onFailed=said.append)
    try:
        controller.warmUp(str(model), "cpu")
        assert locked_events(lambda: controller.workerPid, 30)
        controller.start(volume, str(model), "cpu")
        assert locked_events(lambda: said, 60)
        assert said[0].IsA("vtkMRMLSegmentationNode")
    finally:
        controller.cleanup()
