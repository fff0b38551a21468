"""The names in a DICOM input's headers, for the pseudonymiser to look for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FlairSegError
from ..files.dicom_marks import is_dicom_file

if TYPE_CHECKING:
    from ..privacy.pseudonyms import Pseudonymiser


def may_be_dicom(path: Path) -> bool:
    """Whether a path is a folder, or a file with DICOM's preamble."""
    try:
        return path.is_dir() or is_dicom_file(path)
    except (OSError, ValueError):
        return False


def learn_headers(path: Path, pseudonymiser: Pseudonymiser, files: Sequence[Path] = ()) -> None:
    """Register the names in a DICOM input's headers with the pseudonymiser, so that no message or error repeats them.

    Of each series the header of one file is read and its description, in which people write names, is reduced to its
    technical words.

    Parameters
    ----------
    path : Path
    pseudonymiser : Pseudonymiser
    files : sequence of Path
        The only files of the folder that count; empty: all.
    """
    if not may_be_dicom(path) or find_spec("pydicom") is None:
        return
    from ..dicom import list_series
    from ..dicom.scan import read_dataset
    from ..dicom.text import bad_value, quiet

    try:
        found, _ = list_series(files or path)
    except FlairSegError:
        # Reading reports it; the header's names are then unknown, and no message contains them.
        return
    for series in found:
        pseudonymiser.learn_description(series.description)
        for stack in series.stacks[:1]:
            with quiet():
                try:
                    pseudonymiser.learn_dataset(read_dataset(stack.frames[0].path, force=True))
                except bad_value():
                    continue
