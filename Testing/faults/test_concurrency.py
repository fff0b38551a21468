"""Eight raters at once, in eight processes: each gets every answer stored once, and all chains hold."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from flairseg.review.cases import CaseArchive
from flairseg.review.store import ReviewStore

from Testing.faults.campaign import Nursery

RATERS, ANSWERS = 8, 15

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: Linux or macOS")


@pytest.fixture(scope="module")
def nurseries() -> Iterator[list[Nursery]]:
    """A process for each rater, which forks one for each job: libraries are imported once for all tests."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Nursery())) for _ in range(RATERS)]


def run_together(nurseries: list[Nursery], jobs: list[dict]) -> list[list[dict]]:
    """Each job in a process of its own, all beginning at one moment; what each said."""
    start_at = time.time() + 0.5
    for nursery, job in zip(nurseries, jobs, strict=True):
        nursery.begin({**job, "start_at": start_at})
    said = [nursery.end() for nursery in nurseries]
    assert [lines[-1]["gone"] for lines in said] == [0] * RATERS
    return said


def acknowledged(said: list[list[dict]]) -> list[str]:
    assert not [line for lines in said for line in lines if "error" in line]
    return [line["ack"] for lines in said for line in lines if "ack" in line]


@pytest.mark.slow
@pytest.mark.parametrize("streams", [1, RATERS], ids=["one stream", "a stream each"])
def test_eight_raters_at_once(nurseries, address, streams):
    """They also create the store at the same moment."""
    jobs = [
        {
            "do": "append",
            "address": address,
            "stream": f"study/s/rater/{n % streams}",
            "count": ANSWERS,
            "patience_s": 60,
        }
        for n in range(RATERS)
    ]
    acks = acknowledged(run_together(nurseries, jobs))
    assert len(acks) == RATERS * ANSWERS
    with ReviewStore(address) as store:
        assert store.verify() == []
        assert Counter(event.event_id for event in store.events()) == Counter(acks)
        for stream in store.streams():
            numbers = [event.sequence for event in store.events(stream)]
            assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
def test_eight_readers_save_the_same_case(nurseries, address, tmp_path):
    """Every save gets a number of its own; names that some disks hold for one get folders of their own."""
    jobs = [
        {
            "do": "save",
            "address": address,
            "archive": str(tmp_path / "cases"),
            "outbox": str(tmp_path / "outbox"),
            "case": "sub-01",
            "count": 3,
        }
        for _ in range(RATERS)
    ]
    said = run_together(nurseries, jobs)
    versions = [line["version"] for lines in said for line in lines if "ack" in line]
    assert sorted(versions) == list(range(1, 3 * RATERS + 1))
    archive = CaseArchive(tmp_path / "cases")
    assert archive.versions("sub-01") == sorted(versions)
    assert not [problem for version in versions for problem in archive.problems("sub-01", version)]
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["sub-01"]
    with ReviewStore(address) as store:
        assert Counter(e.event_id for e in store.events()) == Counter(acknowledged(said))
        assert store.verify() == []
