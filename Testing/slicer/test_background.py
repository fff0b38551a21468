"""A function in a thread, its answer in the GUI thread."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest


@pytest.fixture
def background(slicer):
    from FlairSegLib import background

    return background


def wait(condition):
    from Testing.harness.interaction import wait_until

    wait_until(condition, 10)


def test_the_answer_comes_in_the_gui_thread(background):
    said = []
    task = background.run(threading.get_ident, lambda answer: said.append((answer, threading.get_ident())), said.append)
    assert task.running
    wait(lambda: said)
    ((worked_in, answered_in),) = said
    assert worked_in != answered_in == threading.get_ident()
    assert not task.running


def test_an_exception_is_handed_over(background):
    said = []
    background.run(lambda: 1 / 0, said.append, lambda error: said.append(type(error)))
    wait(lambda: said)
    assert said == [ZeroDivisionError]


def test_a_cancelled_task_says_nothing(background, slicer):
    said, go, gone = [], threading.Event(), threading.Event()

    def work():
        go.wait(5)
        gone.set()

    task = background.run(work, said.append, said.append)
    task.cancel()
    task.cancel()
    go.set()
    assert gone.wait(5)
    after = []
    background.run(lambda: 1, after.append, after.append)
    wait(lambda: after)
    assert said == []


def test_many_tasks_and_none_is_kept(background):
    said = []
    for number in range(20):
        background.run(lambda number=number: number, said.append, said.append)
    wait(lambda: len(said) == 20)
    assert sorted(said) == list(range(20))
    assert not background._tasks


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_a_task_held_is_freed_once_it_is_over(background, slicer, cancelled):
    """PythonQt keeps a slot, and all that hangs on it, while its sender lives: a snapshot a stroke, megabytes."""
    from Testing.harness.interaction import run_event_loop
    from Testing.harness.values import slots_kept

    said, go = [], threading.Event()

    def begin() -> list[weakref.ref]:
        voxels, callback = np.zeros(3), said.append
        task = background.run(lambda: go.wait(10) and voxels.sum(), lambda answer: callback(answer), said.append)
        return [weakref.ref(voxels), weakref.ref(task)]

    with slots_kept():
        held = begin()
        if cancelled:
            next(iter(background._tasks)).cancel()
        go.set()
        for _ in range(100):
            run_event_loop(0.05)
            gc.collect()
            if all(reference() is None for reference in held):
                break
    assert all(reference() is None for reference in held)
    assert len(said) == int(not cancelled)
