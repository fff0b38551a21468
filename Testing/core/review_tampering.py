"""Tampering with the event store, as the tests of its chain need it."""

from __future__ import annotations

import sqlalchemy as sa
from flairseg.review.store import ReviewStore


def tamper(store: ReviewStore, *statements: str) -> None:
    """What someone with the owner's rights can do: take the guards away, change rows, put the guards back."""
    engine = store._database._engine
    sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection, connection.begin():
        guards = []
        if sqlite:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            guards = connection.execute(sa.text(query)).all()
            for name, _ in guards:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("ALTER TABLE flairseg_events DISABLE TRIGGER USER")
        for statement in statements:
            connection.exec_driver_sql(statement)
        for _, sql in guards:
            connection.exec_driver_sql(sql)
        if not sqlite:
            connection.exec_driver_sql("ALTER TABLE flairseg_events ENABLE TRIGGER USER")
