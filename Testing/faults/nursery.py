"""Writers that are made to be killed: this process imports the libraries once and forks a child for each job.

Jobs come in as JSON lines; what children do goes out as JSON lines: ``{"try": id}`` before an event, ``{"ack": id}``
after it was acknowledged, ``{"gone": status}`` when the child has ended. Run: ``python -m Testing.faults.nursery``.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import uuid
from contextlib import suppress

import numpy as np
import SimpleITK  # noqa: F401 - imported before the fork, like the databases' drivers
from flairseg.errors import FlairSegError
from flairseg.image.volume import Volume
from flairseg.review import database  # noqa: F401
from flairseg.review.cases import ACCEPTED_AFTER_EDITS, CaseArchive, Verdict
from flairseg.review.outbox import Outbox
from flairseg.review.recorder import VerdictRecorder
from flairseg.review.store import ReviewStore


def say(**what) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())


def append(job: dict) -> None:
    """Events straight into the store: an answer, again and again."""
    with ReviewStore(job["address"], patience_s=job.get("patience_s", 20)) as store:
        ids = iter(job.get("again", []))
        for n in range(job.get("count", 1_000_000)):
            event_id = next(ids, None) or str(uuid.uuid4())
            say(**{"try": event_id})
            store.append(job["stream"], "answer", {"id": event_id, "text": "x" * 200}, event_id)
            say(ack=event_id, n=n)


def record(job: dict) -> None:
    """Events through the outbox."""
    outbox = Outbox(
        job["outbox"], lambda: ReviewStore(job["address"], patience_s=job.get("patience_s", 1)), rest_s=0.05
    )
    for _ in range(job.get("count", 1_000_000)):
        event_id = str(uuid.uuid4())
        say(**{"try": event_id})
        receipt = outbox.record(job["stream"], "answer", {"id": event_id, "text": "x" * 200}, event_id)
        say(ack=event_id, delivered=receipt.delivered)
    outbox.close()


def save(job: dict) -> None:
    """Versions of cases, with their verdicts."""
    outbox = Outbox(job["outbox"], lambda: ReviewStore(job["address"], patience_s=5))
    recorder = VerdictRecorder(CaseArchive(job["archive"]), outbox)
    rng = np.random.default_rng(os.getpid())
    flair = Volume(rng.integers(0, 1000, (6, 40, 40)).astype(np.int16), np.diag([-2.0, -2.0, 5.0, 1.0]))
    for _ in range(job.get("count", 1_000_000)):
        labels = rng.integers(0, 4, flair.array.shape).astype(np.uint8)
        verdict = Verdict(ACCEPTED_AFTER_EDITS, reader="R1", active_seconds=3.5)
        say(**{"try": verdict.event_id})
        done = recorder.record(job["case"], labels, flair, verdict)
        say(ack=verdict.event_id, case=done.saved.case, version=done.saved.version)


def child(job: dict) -> None:
    if "file_size" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    if "uid" in job:
        os.setgroups([])
        os.setgid(job["uid"])
        os.setuid(job["uid"])
    if "start_at" in job:
        time.sleep(max(0.0, job["start_at"] - time.time()))
    try:
        {"append": append, "record": record, "save": save}[job["do"]](job)
    except FlairSegError as error:
        say(error=type(error).__name__, message=error.message, advice=error.advice)


def main() -> None:
    with suppress(ImportError):
        importlib.import_module("psycopg")
        importlib.import_module("sqlalchemy.dialects.postgresql.psycopg")
    say(ready=os.getpid())
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                say(pid=os.getpid())
                child(job)
                status = 0
            finally:
                # No buffer of the parent's is written a second time.
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        say(gone=status)


if __name__ == "__main__":
    main()
