"""A function in a thread, its answer in the GUI thread."""

from __future__ import annotations

import threading

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
