"""Several reading rooms at once on one PostgreSQL server, which goes away in the middle."""

from __future__ import annotations

import signal
import threading

import pytest
from flairseg.study import StudySession, check_study, lock, tables

from Testing.core.study_data import ARMS, answer_all, write_protocol
from Testing.faults import postgresql

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")
pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
pytestmark = pytest.mark.skipif(postgresql.why_not() is not None, reason=str(postgresql.why_not()))


@pytest.fixture
def server():
    running = postgresql.Server()
    try:
        running.start()
        yield running
    finally:
        running.close()


def test_three_rooms_and_a_server_that_goes_away(server, tmp_path):
    raters = [{"id": f"R{n}", "seed": n} for n in (1, 2, 3)]
    path = write_protocol(tmp_path / "src", 3, arms=ARMS, raters=raters)
    study = lock(path, tmp_path / "study", server.address)
    half, back = threading.Barrier(4, timeout=60), threading.Barrier(4, timeout=120)
    failed: list[BaseException] = []

    def rate(rater: str) -> None:
        try:
            with StudySession.open(study.room_folder(rater)) as session:
                answer_all(session, limit=6)
                half.wait()
                answer_all(session, limit=3)  # nobody waits for the dead server
                back.wait()
                answer_all(session)
                assert session.finished
        except BaseException as error:  # noqa: BLE001 - told by the test itself
            failed.append(error)
            half.abort()
            back.abort()

    threads = [threading.Thread(target=rate, args=(rater,)) for rater in study.raters]
    for thread in threads:
        thread.start()
    half.wait()
    server.stop(signal.SIGKILL)
    back.wait()
    server.start()
    for thread in threads:
        thread.join()
    assert not failed
    status = study.status()
    assert [(r.answered, r.pending) for r in status.raters] == [(12, 0)] * 3
    assert check_study(study) == []
    study.close()
    assert len(tables(study).ratings) == 36
