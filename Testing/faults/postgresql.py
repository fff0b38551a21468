"""A PostgreSQL server of one's own: in a temporary folder, on a Unix socket, run by an unprivileged user."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pwd

#: Where distributions put the server's programs, beside the search path.
_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
#: Who runs the server if the tests run as root.
_UNPRIVILEGED = ("postgres", "nobody")
_PORT = 5432
#: After a crash a server syncs each of its files; on Linux one call does for all.
_QUICK_RECOVERY = ("-c", "recovery_init_sync_method=syncfs") if sys.platform == "linux" else ()


def binaries() -> Path | None:
    """Folder of ``initdb`` and ``postgres``, the newest version's; None if there is none."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    for pattern in _PLACES:
        found += sorted(map(Path, glob.glob(pattern)), key=lambda path: path.parent.name, reverse=True)
    return next((path for path in found if (path / "initdb").exists() and (path / "postgres").exists()), None)


def why_not() -> str | None:
    """Why no server can be had; None if one can."""
    if os.name != "posix":
        return "PostgreSQL is tested on Linux and macOS"
    if binaries() is None:
        return "no PostgreSQL server is installed: apt-get install postgresql (tools/postgresql_server.sh)"
    if os.getuid() == 0 and _owner() is None:
        return "PostgreSQL does not run as root, and there is no unprivileged user"
    return None


def _owner() -> pwd.struct_passwd | None:
    import pwd  # not on Windows, where tests ask only why there is no server

    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next((names[name] for name in _UNPRIVILEGED if name in names), None)


class Server:
    """One server. ``start`` and ``stop`` as often as wanted; ``close`` removes it.

    Attributes
    ----------
    address : str
        For :class:`flairseg.review.store.ReviewStore`.
    """

    def __init__(self) -> None:
        self._binaries = binaries()
        # Sockets have short names only, and pytest's folders are closed to others.
        self.folder = Path(tempfile.mkdtemp(prefix="fs-pg-", dir="/tmp"))
        self._as: dict = {}
        if os.getuid() == 0:
            owner = _owner()
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen | None = None
        self.address = f"postgresql://flairseg@/postgres?host={self.folder}&port={_PORT}"
        self._run("initdb", "-D", self.data, "-U", "flairseg", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        until = time.monotonic() + 60
        while True:
            self._process = subprocess.Popen(
                [
                    self._binaries / "postgres",
                    "-D",
                    self.data,
                    "-k",
                    self.folder,
                    "-p",
                    str(_PORT),
                    "-c",
                    "listen_addresses=",
                    *_QUICK_RECOVERY,
                ],
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "log").open("ab"),
                cwd="/",
                start_new_session=True,
                **self._as,
            )
            # After kill -9 old processes may hold the shared memory for a moment: it ends at once then.
            while self._process.poll() is None:
                if self._is_ready():
                    return
                time.sleep(0.02)
            if time.monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT: ends all connections; SIGQUIT: as in a crash, recovery follows; SIGKILL: all processes at once."""
        if self._process is None:
            return
        if how == signal.SIGKILL:
            os.killpg(self._process.pid, how)
        else:
            self._process.send_signal(how)
        self._process.wait(60)
        self._process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, *statements: str) -> list[tuple]:
        """Run statements, each on its own; rows of the last one."""
        import psycopg

        url = self.address.replace("postgresql://flairseg@/postgres?", "postgresql:///postgres?user=flairseg&")
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _is_ready(self) -> bool:
        done = subprocess.run(
            [self._binaries / "pg_isready", "-q", "-h", self.folder, "-p", str(_PORT)], capture_output=True, cwd="/"
        )
        return done.returncode == 0

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run([self._binaries / name, *arguments], capture_output=True, text=True, cwd="/", **self._as)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
