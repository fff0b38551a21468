"""``flairseg phantom``: a digital head and its ground truth as two files."""

from __future__ import annotations

import os
from pathlib import Path

from rich.text import Text

from ..errors import FlairSegError, OutputError
from .console import INTERRUPTED, REFUSED, WRITTEN, interruptible, messages_console, results_console, show_error

FLAIR_FILE, TRUTH_FILE = "phantom_flair.nii.gz", "phantom_truth.nii.gz"


def write_phantom(output: Path, seed: int, overwrite: bool) -> int:
    """Make and write the phantom of a seed; the exit code of the command."""
    messages, results = messages_console(), results_console()
    try:
        with interruptible():
            _write(output, seed, overwrite)
    except FlairSegError as error:
        show_error(messages, error)
        return REFUSED
    except KeyboardInterrupt:
        messages.print("Interrupted. Nothing was written.")
        return INTERRUPTED
    for name, what in ((FLAIR_FILE, "the FLAIR"), (TRUTH_FILE, "its ground truth")):
        results.print(Text.assemble((str(output / name), "bold"), f"  {what}"), soft_wrap=True)
    return WRITTEN


def _write(output: Path, seed: int, overwrite: bool) -> None:
    import numpy as np

    from ..atomic import all_or_none, check_folder
    from ..nifti import write_nifti
    from ..phantom import make_phantom

    names = (FLAIR_FILE, TRUTH_FILE)
    existing = [name for name in names if os.path.lexists(output / name)]
    if existing and not overwrite:
        raise OutputError(
            f"{output / existing[0]} exists already.",
            "It was kept. Add --overwrite to replace it, or choose another --output.",
        )
    check_folder(output)
    phantom = make_phantom(seed=seed)
    with all_or_none(output, names) as temporary:
        flair = np.clip(np.rint(phantom.volume.array), -32768, 32767)
        write_nifti(temporary / FLAIR_FILE, flair, phantom.volume, np.int16)
        write_nifti(temporary / TRUTH_FILE, phantom.labels, phantom.volume, np.uint8)
