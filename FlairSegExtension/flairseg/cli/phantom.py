"""``flairseg phantom``: a digital phantom with ground truth, lesion table and picture."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ..errors import OutputError
from .console import WRITTEN, command

#: Description of each file, in listing order.
_FILES = {"flair": "the FLAIR", "truth": "its ground truth", "lesions": "its lesions", "picture": "a picture of both"}


@command()
def write_phantom(messages: Console, results: Console, output: Path, seed: int, overwrite: bool) -> int:
    """Make and write the phantom of a seed; the exit code of the command."""
    with messages.status("generating a phantom"):
        written = _write(output, seed, overwrite)
    for key, what in _FILES.items():
        results.print(Text.assemble((str(written[key]), "bold"), f"  {what}"), soft_wrap=True)
    return WRITTEN


def _write(output: Path, seed: int, overwrite: bool) -> dict[str, Path]:
    from .. import phantom
    from ..files.atomic import check_folder
    from ..phantom.io import ENDINGS

    existing = [name for e in ENDINGS.values() if os.path.lexists(output / (name := f"phantom-{seed}{e}"))]
    if existing and not overwrite:
        raise OutputError(
            f"{output / existing[0]} exists already.",
            "It was kept. Add --overwrite to replace it, or choose another --output.",
        )
    check_folder(output)
    return phantom.write_phantom(phantom.make_phantom(seed=seed), output)
