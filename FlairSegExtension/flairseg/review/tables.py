"""The tables of the event store, the same on SQLite and PostgreSQL, and the triggers that guard them.

A trigger refuses every change and deletion, and every event that does not follow the last one of its stream, which
stops mistakes of other programs. A user who may drop triggers can bypass it, hence the hash chain.
"""

from __future__ import annotations

from string import Template

import sqlalchemy as sa

from .events import GENESIS

#: Version of the tables. A store of a newer one is refused.
SCHEMA_VERSION = 1

METADATA = sa.MetaData()
SCHEMA = sa.Table(
    "flairseg_schema",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created_at", sa.Text, nullable=False),
)
EVENTS = sa.Table(
    "flairseg_events",
    METADATA,
    # An identity needs no right to a sequence: SELECT and INSERT on the table are all that a reader's account gets.
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("recorded_at", sa.Text, nullable=False),
    sa.Column("stored_at", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.UniqueConstraint("stream", "sequence"),
    sqlite_autoincrement=True,
)
#: Names of the triggers that keep a table append-only.
GUARDS = ("flairseg_events_no_update", "flairseg_events_no_delete", "flairseg_events_in_order")

_REFUSED = "flairseg_events is append-only"
_OUT_OF_ORDER = "flairseg_events takes the next event of a stream only"
# Fixed texts: nothing that a user typed becomes part of a statement.
_FOLLOWS = Template(
    "NEW.sequence = 1 + coalesce((SELECT max(sequence) FROM flairseg_events WHERE stream = NEW.stream), 0) "
    "AND NEW.previous_hash = coalesce((SELECT hash FROM flairseg_events WHERE stream = NEW.stream "
    "ORDER BY sequence DESC LIMIT 1), '$genesis')"
).substitute(genesis=GENESIS)
#: Statements that make the guards. INSERT OR REPLACE would delete without a delete trigger; the order trigger fires
#: before it can.
SQLITE_GUARDS = tuple(
    Template(statement).substitute(refused=_REFUSED, out_of_order=_OUT_OF_ORDER, follows=_FOLLOWS)
    for statement in (
        "CREATE TRIGGER flairseg_events_no_update BEFORE UPDATE ON flairseg_events "
        "BEGIN SELECT RAISE(ABORT, '$refused'); END",
        "CREATE TRIGGER flairseg_events_no_delete BEFORE DELETE ON flairseg_events "
        "BEGIN SELECT RAISE(ABORT, '$refused'); END",
        "CREATE TRIGGER flairseg_events_in_order BEFORE INSERT ON flairseg_events "
        "WHEN NOT ($follows) OR EXISTS (SELECT 1 FROM flairseg_events WHERE event_id = NEW.event_id) "
        "BEGIN SELECT RAISE(ABORT, '$out_of_order'); END",
    )
)
POSTGRESQL_GUARDS = tuple(
    Template(statement).substitute(refused=_REFUSED, out_of_order=_OUT_OF_ORDER, follows=_FOLLOWS)
    for statement in (
        "CREATE OR REPLACE FUNCTION flairseg_events_refuse() RETURNS trigger LANGUAGE plpgsql AS $$$$ BEGIN "
        "RAISE EXCEPTION '$refused' USING ERRCODE = 'integrity_constraint_violation'; END $$$$",
        "CREATE OR REPLACE FUNCTION flairseg_events_order() RETURNS trigger LANGUAGE plpgsql AS $$$$ BEGIN "
        "IF NOT ($follows) THEN RAISE EXCEPTION '$out_of_order' USING ERRCODE = 'integrity_constraint_violation'; "
        "END IF; RETURN NEW; END $$$$",
        "CREATE TRIGGER flairseg_events_no_update BEFORE UPDATE OR TRUNCATE ON flairseg_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION flairseg_events_refuse()",
        "CREATE TRIGGER flairseg_events_no_delete BEFORE DELETE ON flairseg_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION flairseg_events_refuse()",
        "CREATE TRIGGER flairseg_events_in_order BEFORE INSERT ON flairseg_events "
        "FOR EACH ROW EXECUTE FUNCTION flairseg_events_order()",
    )
)
