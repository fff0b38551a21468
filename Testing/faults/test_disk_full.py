"""A full disk: a typed error with advice, nothing half-written, and everything goes on when there is space again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from flairseg.errors import OutputError
from flairseg.image.volume import Volume
from flairseg.review.cases import ACCEPTED, CaseArchive, Verdict
from flairseg.review.errors import OutboxError, StoreFullError
from flairseg.review.events import Event
from flairseg.review.outbox import Outbox
from flairseg.review.store import ReviewStore

PAYLOAD = {"text": "x" * 4000}


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 1 MB; not in pytest's folders, which are closed to the user who runs the PostgreSQL server."""
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.getuid() != 0:
        pytest.skip("only root can mount a small disk (the limit on file sizes is tested by the next test)")
    folder = Path(tempfile.mkdtemp(prefix="flairseg small disk "))
    folder.chmod(0o755)
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def fill(folder: Path) -> Path:
    """Leave no byte free; the file to delete for space."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while stream.write(b"\0" * size) == size:
                    continue
            except OSError:
                continue
    return ballast


def append_until_refused(store: ReviewStore, payloads: Iterable[dict], kept: list[Event]) -> None:
    for payload in payloads:
        kept.append(store.append("s", "k", payload))


def record_until_refused(outbox: Outbox, kept: list[str]) -> None:
    for _ in range(50):
        kept.append(outbox.record("s", "k", PAYLOAD).event_id)


def test_store_on_a_full_disk(small_disk):
    with ReviewStore(small_disk / "review.sqlite", patience_s=0.5) as store:
        kept = [store.append("s", "k", PAYLOAD) for _ in range(5)]
        ballast = fill(small_disk)
        with pytest.raises(StoreFullError) as caught:
            append_until_refused(store, [PAYLOAD] * 50, kept)
        assert "full" in caught.value.message
        assert "space" in caught.value.advice
        assert store.events("s") == kept
        ballast.unlink()
        kept.append(store.append("s", "k", PAYLOAD))
        assert store.events("s") == kept
        assert store.verify(anchors=[event.anchor for event in kept]) == []


def test_outbox_on_a_full_disk(small_disk, tmp_path):
    store = ReviewStore(tmp_path / "review.sqlite")
    outbox = Outbox(small_disk / "outbox", lambda: store)
    kept = [outbox.record("s", "k", PAYLOAD).event_id]
    ballast = fill(small_disk)
    with pytest.raises(OutboxError) as caught:
        record_until_refused(outbox, kept)
    assert "not saved" in caught.value.message
    ballast.unlink()
    kept.append(outbox.record("s", "k", PAYLOAD).event_id)
    assert outbox.flush() == 0
    assert [event.event_id for event in outbox.recorded()] == kept
    assert [event.event_id for event in ReviewStore(tmp_path / "review.sqlite").events()] == kept
    assert outbox.damaged == []


def test_archive_on_a_full_disk(small_disk):
    archive = CaseArchive(small_disk / "cases")
    rng = np.random.default_rng(0)
    flair = Volume(rng.integers(0, 2000, (6, 40, 40)).astype(np.int16), np.diag([-2.0, -2.0, 5.0, 1.0]))
    labels = np.zeros(flair.array.shape, np.uint8)
    archive.save("a", labels, flair, Verdict(ACCEPTED))
    ballast = fill(small_disk)
    with pytest.raises(OutputError) as caught:
        archive.save("b", labels, flair, Verdict(ACCEPTED))
    assert "full" in caught.value.message
    assert "settings" in caught.value.advice
    assert archive.cases() == ["a"]
    assert [p.name for p in (small_disk / "cases").rglob("*") if p.name.startswith(".flairseg-")] == []
    assert archive.problems("a") == []
    ballast.unlink()
    assert archive.save("b", labels, flair, Verdict(ACCEPTED)).version == 1


@pytest.mark.parametrize("job", ["append", "record", "save"])
def test_limit_on_file_sizes(nursery, tmp_path, job):
    """A quota shows as another error than a full disk does; needs no root."""
    wanted = {
        "do": job,
        "address": str(tmp_path / "review.sqlite"),
        "outbox": str(tmp_path / "outbox"),
        "archive": str(tmp_path / "cases"),
        "case": "a",
        "stream": "s",
        "count": 2000,
        "file_size": 64 * 1024,
        "patience_s": 0.2,
    }
    if job == "save":
        wanted["file_size"] = 4096
    said = nursery.run(wanted)
    errors = [line for line in said if "error" in line]
    assert len(errors) == 1, said[-3:]
    assert errors[0]["advice"]
    acknowledged = [line["ack"] for line in said if "ack" in line]
    if job == "save":
        assert CaseArchive(tmp_path / "cases").cases() == []
        assert not list((tmp_path / "cases").rglob("*.gz"))
        return
    outbox = Outbox(tmp_path / "outbox", lambda: ReviewStore(wanted["address"]))
    outbox.flush()
    with ReviewStore(wanted["address"]) as store:
        assert [event.event_id for event in store.events()] == acknowledged
        assert store.verify() == []


def test_postgresql_on_a_full_disk(server, new_database, small_disk):
    """The table lies on a small disk, the server's log on a large one; then the disk grows."""
    owner = (server.folder / "data").stat()
    os.chown(small_disk, owner.st_uid, owner.st_gid)
    place = small_disk / "tables"
    place.mkdir(mode=0o700)
    os.chown(place, owner.st_uid, owner.st_gid)
    address = new_database()
    with ReviewStore(address, patience_s=0.5) as store:
        kept = [store.append("s", "k", PAYLOAD)]
        server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        name = address.split("?")[0].rsplit("/", 1)[1]
        move = server.address.replace("/postgres?", f"/{name}?")
        _execute(move, "ALTER TABLE flairseg_events SET TABLESPACE small")
        # Random text, which the server cannot compress.
        random_texts = ({"text": np.random.default_rng(n).bytes(3000).hex()} for n in range(2000))
        with pytest.raises(StoreFullError):
            append_until_refused(store, random_texts, kept)
        assert store.events("s") == kept
        subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
        kept.append(store.append("s", "k", PAYLOAD))
        assert store.events("s") == kept
        assert store.verify(anchors=[event.anchor for event in kept]) == []
    server.execute(f"DROP DATABASE {name} WITH (FORCE)", "DROP TABLESPACE small")


def _execute(address: str, statement: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(address.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
