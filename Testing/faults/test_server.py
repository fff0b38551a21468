"""PostgreSQL goes away and comes back while answers are given; clocks go back meanwhile."""

from __future__ import annotations

import signal
import threading
import time
import uuid

import pytest
from flairseg.review.errors import StoreAddressError, StoreReadOnlyError, StoreUnavailableError
from flairseg.review.outbox import Outbox
from flairseg.review.store import ReviewStore


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL], ids=["restart", "crash", "kill -9"])
def test_server_restarts_while_answers_are_given(server, new_database, how):
    """The writer waits and goes on; an answer whose acknowledgement was lost on the way is stored once."""
    address = new_database()
    acknowledged, sent, stopping = [], [], threading.Event()

    def answer() -> None:
        with ReviewStore(address, patience_s=60) as store:
            while not stopping.is_set():
                sent.append(str(uuid.uuid4()))
                acknowledged.append(store.append("s", "answer", {"n": len(sent)}, sent[-1]).event_id)

    writer = threading.Thread(target=answer)
    writer.start()
    for _ in range(2):
        before = len(acknowledged)
        _until(lambda before=before: len(acknowledged) >= before + 20)
        server.stop(how)
        time.sleep(0.2)
        server.start()
    before = len(acknowledged)
    _until(lambda: len(acknowledged) >= before + 20)
    stopping.set()
    writer.join(60)
    with ReviewStore(address) as store:
        assert [event.event_id for event in store.events("s")] == acknowledged == sent
        assert store.verify() == []


@pytest.mark.slow
def test_outbox_bridges_a_lost_connection(server, new_database, tmp_path):
    address = new_database()
    outbox = Outbox(tmp_path / "outbox", lambda: ReviewStore(address, patience_s=0.5), rest_s=0.2)
    assert outbox.record("s", "answer", {"n": 0}).delivered
    server.stop()
    try:
        receipts = [outbox.record("s", "answer", {"n": n}) for n in range(1, 6)]
        assert not any(receipt.delivered for receipt in receipts)
        assert isinstance(receipts[0].problem, StoreUnavailableError)
        assert "pending entries are delivered" in receipts[0].problem.advice
        assert len(outbox.pending) == 5
    finally:
        server.start()
    assert outbox.flush() == 0
    assert outbox.problem is None
    with ReviewStore(address) as store:
        assert [event.payload["n"] for event in store.events("s")] == list(range(6))
        assert store.verify(anchors=outbox.anchors()) == []


def test_no_server_is_a_typed_error_without_the_password():
    with pytest.raises(StoreUnavailableError) as caught:
        ReviewStore("postgresql://rater:secret-word@127.0.0.1:1/none", patience_s=0.1)
    assert "secret-word" not in str(caught.value)
    assert caught.value.advice


def test_a_database_that_is_not_there(server):
    began = time.monotonic()
    with pytest.raises(StoreAddressError, match="no database"):
        ReviewStore(server.address.replace("/postgres?", "/nowhere?"), patience_s=60)
    with pytest.raises(StoreAddressError, match="user or password"):
        ReviewStore(server.address.replace("flairseg@", "nobody-here@"), patience_s=60)
    assert time.monotonic() - began < 60, "what cannot succeed was tried again"


def test_a_rater_needs_no_more_than_select_and_insert(server, new_database):
    """And may do no more: guards can be dropped by the owner alone."""
    address = new_database()
    with ReviewStore(address) as store:
        store.append("s", "k", {})
    name = address.split("?")[0].rsplit("/", 1)[1]
    in_it = server.address.replace("/postgres?", f"/{name}?")
    _run(
        in_it,
        "CREATE ROLE rater LOGIN",
        "GRANT SELECT, INSERT ON flairseg_events TO rater",
        "GRANT SELECT ON flairseg_schema TO rater",
    )
    with ReviewStore(address.replace("flairseg@", "rater@")) as store:
        assert store.append("s", "k", {}).sequence == 2
        assert store.verify() == []
    _run(in_it, "REVOKE INSERT ON flairseg_events FROM rater")
    with ReviewStore(address.replace("flairseg@", "rater@")) as store:
        with pytest.raises(StoreReadOnlyError, match="may not be written"):
            store.append("s", "k", {})
        assert len(store.events()) == 2
    _run(in_it, "DROP OWNED BY rater", "DROP ROLE rater")


def test_no_setting_of_the_server_takes_back_that_what_is_acknowledged_is_on_the_disk(server, new_database):
    address = new_database()
    name = address.split("?")[0].rsplit("/", 1)[1]
    server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with ReviewStore(address) as store:
        seen = store._database.write(
            lambda connection: connection.exec_driver_sql("SHOW synchronous_commit").scalar(), ["s"]
        )
        assert seen == "on"
        assert store.warnings == ()


def _run(address: str, *statements: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(address.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def _until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happens any more"
        time.sleep(0.01)
