"""``make soak``: the kill -9 campaigns at length, on SQLite and PostgreSQL; figures as one JSON line each."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from Testing.faults import postgresql
from Testing.faults.campaign import Nursery, kill_appends, kill_records, kill_saves


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="kills per campaign")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    clean = True
    nursery = Nursery()
    try:
        with tempfile.TemporaryDirectory(prefix="flairseg-soak-") as name:
            clean &= campaigns(nursery, Path(name), "sqlite", None, options)
            reason = postgresql.why_not()
            if reason is not None:
                print(f"PostgreSQL left out: {reason}", file=sys.stderr)
                return int(not clean)
            server = postgresql.Server()
            try:
                server.start()
                clean &= campaigns(nursery, Path(name), "postgresql", server, options)
            finally:
                server.close()
    finally:
        nursery.close()
    return int(not clean)


def campaigns(nursery: Nursery, folder: Path, kind: str, server: postgresql.Server | None, options) -> bool:
    """All three campaigns on one kind of database; whether nothing was lost or doubled."""
    clean = True
    for what, campaign in (("append", kill_appends), ("outbox", kill_records), ("archive", kill_saves)):
        place = folder / kind / what
        address = str(place / "review.sqlite")
        if server is not None:
            server.execute(f"CREATE DATABASE {what}")
            address = server.address.replace("/postgres?", f"/{what}?")
        folders = () if campaign is kill_appends else (place,)
        figures = campaign(nursery, address, *folders, options.rounds, options.seed, f"{kind}, {what}")
        print(figures.line(), flush=True)
        for problem in figures.problems[:20]:
            print("  ", problem)
        clean &= figures.clean()
    return clean


if __name__ == "__main__":
    sys.exit(main())
