"""Finished parts of a run, on disk: a killed or cancelled run resumes from them with the same result.

One run at a time has them: two that fill the same folder would mix their weights.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..cohort.lock import RunLock
from ..files.atomic import output_error
from .parts import RunKey

#: Folder for unfinished work, within the output folder; begins like other temporary folders of FlairSeg.
FOLDER = ".flairseg-adapt"
_KEY, _LOCK = "key.json", "run.lock"
#: Weights in the folder of a training, and of the adapted model.
MODEL = "model.onnx"
#: Times of a step: what a training takes with its checks and set-up.
OVERHEAD = 1.35


_Part = TypeVar("_Part", bound="Part")


class Part(Protocol):
    """A finished part and its JSON."""

    def to_json(self) -> Any:
        """As it is kept."""

    @classmethod
    def from_json(cls: type[_Part], kept: Any) -> _Part:
        """Inverse of :meth:`to_json`."""


class Work:
    """Finished parts of one run: JSON files, written whole or not at all.

    Parameters
    ----------
    output : Path
        Output folder of the run.
    key : RunKey

    Attributes
    ----------
    output, folder : Path
        Output folder, and the one in it where the parts are.
    seconds : float
        Taken by the parts that an earlier run completed and this one did not repeat.

    Raises
    ------
    RunInProgressError
        If another run has the folder.
    OutputError
        If the folder cannot be written to.
    """

    def __init__(self, output: Path, key: RunKey) -> None:
        self.output, self.folder, self.seconds = output, output / FOLDER, 0.0
        self._lock = RunLock(self.folder / _LOCK)
        try:
            if self._read(_KEY) != asdict(key):
                self._discard()
                self._write(_KEY, asdict(key))
        except OSError as error:
            self.close()
            raise output_error(output, error) from error

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def once(self, name: str, kind: type[_Part], make: Callable[[], _Part]) -> _Part:
        """The result of ``make``, made once and kept under ``name``."""
        kept = self._read(f"{name}.json")
        if kept is not None:
            self.seconds += kept["seconds"]
            return kind.from_json(kept["made"])
        began = time.monotonic()
        made = make()
        try:
            self._write(f"{name}.json", {"made": made.to_json(), "seconds": time.monotonic() - began})
        except OSError as error:
            raise output_error(self.folder, error) from error
        return made

    def close(self) -> None:
        """Leave the folder to the next run; twice is once."""
        self._lock.release()

    def remove(self) -> None:
        """Discard the finished parts once the results are in place."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _discard(self) -> None:
        """Remove all but the lock."""
        for path in self.folder.iterdir():
            if path.name == _LOCK:
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _write(self, name: str, content: Any) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(content), encoding="utf-8")
        os.replace(part, self.folder / name)
