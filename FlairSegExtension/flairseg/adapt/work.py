"""Finished parts of a run, on disk: a killed or cancelled run resumes from them with the same result."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files.atomic import output_error

#: Folder for unfinished work, within the output folder; begins like other temporary folders of FlairSeg.
FOLDER = ".flairseg-adapt"
_KEY = "key.json"


class Work:
    """Finished parts of one run: JSON files, written whole or not at all.

    Parameters
    ----------
    output : Path
        Output folder of the run.
    key : dict
        Inputs of the run; work begun for other inputs is discarded.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """

    def __init__(self, output: Path, key: dict[str, Any]) -> None:
        self.folder = output / FOLDER
        try:
            if self._read(_KEY) != key:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir(parents=True)
                self._write(_KEY, key)
        except OSError as error:
            raise output_error(output, error) from error

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of ``make`` (JSON values), made once and kept under ``name``."""
        kept = self._read(f"{name}.json")
        if kept is None:
            kept = make()
            try:
                self._write(f"{name}.json", kept)
            except OSError as error:
                raise output_error(self.folder, error) from error
        return kept

    def remove(self) -> None:
        """Discard the finished parts once the results are in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _write(self, name: str, content: Any) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(content), encoding="utf-8")
        os.replace(part, self.folder / name)
