"""Progress, cancel and stop-watch."""

from __future__ import annotations

import threading
import time

import pytest
from flairseg.errors import Cancelled, FlairSegError
from flairseg.progress import CancelToken, Reporter
from hypothesis import given
from hypothesis import strategies as st


def test_stages_map_their_fraction_to_the_whole_case():
    seen = []
    reporter = Reporter(lambda fraction, stage: seen.append((round(fraction, 6), stage)))
    with reporter.stage("read", 0.0, 0.2) as inner:
        inner.update(0.5)
    with reporter.stage("inference", 0.2, 1.0) as inner:
        inner.update(0.25)
        inner.update(7.0)
        inner.update(-1.0)
    assert seen == [
        (0.0, "read"), (0.1, "read"), (0.2, "read"),
        (0.2, "inference"), (0.4, "inference"), (1.0, "inference"), (0.2, "inference"), (1.0, "inference"),
    ]  # fmt: skip


@given(st.lists(st.floats(allow_nan=False), max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_fractions_never_leave_their_stage(fractions, a, b):
    start, stop = sorted((a, b))
    seen = []
    with Reporter(lambda fraction, stage: seen.append(fraction)).stage("x", start, stop) as inner:
        for fraction in fractions:
            inner.update(fraction)
    assert all(start - 1e-9 <= fraction <= stop + 1e-9 for fraction in seen)


def test_seconds_add_up_per_stage_even_when_a_stage_fails():
    reporter = Reporter()
    with reporter.stage("read", 0, 0.5):
        time.sleep(0.02)
    with pytest.raises(RuntimeError), reporter.stage("inference", 0.5, 1):
        _fail_slowly()
    with reporter.stage("read", 0, 0.5):
        time.sleep(0.02)
    assert list(reporter.seconds) == ["read", "inference"]
    assert reporter.seconds["read"] >= 0.038
    assert reporter.seconds["inference"] >= 0.019


def _fail_slowly():
    time.sleep(0.02)
    raise RuntimeError


def test_token_stops_the_run_from_another_thread():
    token = CancelToken()
    assert not token.cancelled
    token.check()
    threading.Thread(target=token.cancel).start()
    reporter = Reporter(cancel=token)

    def run():
        with reporter.stage("inference", 0, 1):
            for _ in range(2000):
                reporter.update(0.5)
                time.sleep(0.005)

    with pytest.raises(Cancelled):
        run()
    assert token.cancelled
    with pytest.raises(Cancelled):
        token.check()


def test_a_function_can_cancel_and_nothing_is_reported_afterwards():
    answers = iter([False, False, True])
    seen = []
    reporter = Reporter(lambda fraction, stage: seen.append(stage), cancel=lambda: next(answers))
    with pytest.raises(Cancelled), reporter.stage("read", 0, 1):
        reporter.update(0.5)
    assert seen == ["read"]


def test_cancelled_is_a_typed_error_with_advice():
    error = Cancelled()
    assert isinstance(error, FlairSegError)
    assert error.message
    assert error.advice
    assert str(error) == f"{error.message} {error.advice}"
