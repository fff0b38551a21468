"""Export of a model to one file for another site: a zip of its card (with its proof), weights and description."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..files.atomic import all_or_none, results_exist
from .card import CARD_NAME, ModelCard

#: Optional files exported with card and weights.
_BESIDE = ("card.md",)
#: The archive contains no time or path: the same model gives the same file.
_DATE = (1980, 1, 1, 0, 0, 0)


def export_model(card: ModelCard, path: Path) -> Path:
    """Write a model to one file; :func:`.install.install_model` takes it, and refuses it if it was altered.

    Parameters
    ----------
    card : ModelCard
    path : Path
        The ``.zip`` to write; nothing is replaced.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If the file exists, or cannot be written.
    InvalidModelError
        If the weights are not those of the card.
    """
    card.verify()
    if path.exists():
        raise results_exist("A file", path)
    folder = card.path.parent
    names = [CARD_NAME, *([] if card.members else [card.path.name]), *(n for n in _BESIDE if (folder / n).is_file())]
    with all_or_none(path.parent, [path.name]) as temporary, zipfile.ZipFile(temporary / path.name, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(f"{card.id}/{name}", _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())
    return path
