"""Python threads in an event loop that keeps the interpreter's lock, as PythonQt's does and PySide6's does not."""

from __future__ import annotations

import ctypes
import threading
import time
from pathlib import Path

import pytest


@pytest.fixture
def locked_events(slicer):
    """``processEvents`` of Qt's own library, called without giving the interpreter's lock away."""
    import PySide6

    libraries = sorted(Path(PySide6.__file__).parent.rglob("libQt6Core.so.6"))
    if not libraries:
        pytest.skip("Qt's library has another name on this system")
    process = ctypes.PyDLL(str(libraries[0]))[
        "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
    ]

    def until(condition, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            process(0)
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
