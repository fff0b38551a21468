"""kill -9 at random moments: nothing that was acknowledged is lost, nothing is stored twice, the chain holds.

``make soak`` runs the same with hundreds of kills.
"""

from __future__ import annotations

import os

import pytest

from Testing.faults.campaign import Figures, Nursery, kill_appends, kill_records, kill_saves

ROUNDS = int(os.environ.get("FLAIRSEG_KILLS", "20"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: Linux or macOS"),
]


def show(figures: Figures, record_property) -> None:
    record_property("figures", figures.line())
    assert figures.problems == []
    assert figures.lost == figures.duplicated == 0
    assert figures.killed == figures.rounds == ROUNDS
    assert figures.acknowledged > 0


def test_killed_while_appending(nursery: Nursery, address, record_property):
    figures = kill_appends(nursery, address, ROUNDS, seed=1)
    show(figures, record_property)
    assert figures.stored >= figures.acknowledged


def test_killed_while_recording_through_an_outbox(nursery: Nursery, address, tmp_path, record_property):
    show(kill_records(nursery, address, tmp_path / "outbox", ROUNDS, seed=2), record_property)


def test_killed_while_saving_cases(nursery: Nursery, address, tmp_path, record_property):
    show(kill_saves(nursery, address, tmp_path, ROUNDS, seed=3), record_property)
