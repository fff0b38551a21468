"""The version to compare with: sources and models of a commit, out of git into a folder of their own."""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What a case needs of the repository.
_PARTS = ("FlairSegExtension/flairseg", "models")


@dataclass(frozen=True)
class Version:
    """A version whose package is not the installed one.

    Attributes
    ----------
    commit : str
        Short hash and first line of its message.
    package : Path
        Folder of the package.
    environment : dict of str to str
        Makes Python find it.
    """

    commit: str
    package: Path
    environment: dict[str, str]


def last_tag() -> str:
    """The newest tag before the present commit; empty where there is none, or no git."""
    done = _git("describe", "--tags", "--abbrev=0", "HEAD")
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def unpack(revision: str, folder: Path) -> Version:
    """The sources of a revision below ``folder``.

    Raises
    ------
    SystemExit
        If git does not know it.
    """
    told = _git("log", "-1", "--format=%h %s", revision)
    made = _git("archive", "--format=tar", revision, *_PARTS)
    if told.returncode or made.returncode:
        raise SystemExit(f"git has no version {revision!r}: {(told.stderr or made.stderr).decode().strip()}")
    folder.mkdir(parents=True)
    archive = folder / "sources.tar"
    archive.write_bytes(made.stdout)
    with tarfile.open(archive) as sources:
        sources.extractall(folder, filter="data")
    archive.unlink()
    home = folder / "FlairSegExtension"
    environment = {"PYTHONPATH": str(home), "FLAIRSEG_MODELS": str(folder / "models")}
    return Version(told.stdout.decode().strip(), home / "flairseg", environment)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
