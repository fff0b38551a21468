"""``flairseg phantom``: a digital phantom with ground truth, lesion table and picture."""

from __future__ import annotations

import os
from pathlib import Path

from rich.text import Text

from ..errors import FlairSegError, OutputError
from .console import INTERRUPTED, REFUSED, WRITTEN, interruptible, messages_console, results_console, show_error

#: Description of each file, in listing order.
_FILES = {"flair": "the FLAIR", "truth": "its ground truth", "lesions": "its lesions", "picture": "a picture of both"}


def write_phantom(output: Path, seed: int, overwrite: bool) -> int:
    """Make and write the phantom of a seed; the exit code of the command."""
    messages, results = messages_console(), results_console()
    try:
        with interruptible(), messages.status("generating a phantom"):
            written = _write(output, seed, overwrite)
    except FlairSegError as error:
        show_error(messages, error)
        return REFUSED
    except KeyboardInterrupt:
        messages.print("Interrupted. Nothing was written.")
        return INTERRUPTED
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
