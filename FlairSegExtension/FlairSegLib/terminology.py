"""FlairSeg's own list of terms, and how Slicer learns of it.

Slicer's lists have no MS lesion and no normal white matter hyperintensity.
``Resources/Terminologies/FlairSeg.term.json`` adds them in the format of DICOM's segment context lists (dcmqi,
``segment-context-schema.json``). Its codes are those of :mod:`flairseg.labels`; a test compares the two.
"""

from __future__ import annotations

import logging
from pathlib import Path

import slicer

FILE = Path(__file__).resolve().parents[1] / "Resources" / "Terminologies" / "FlairSeg.term.json"
#: Name of the list; :mod:`flairseg.labels` names it as the context of its own codes.
CONTEXT = "FlairSeg"


def load() -> bool:
    """Make the list known to Slicer's terminologies; it stays for the session. Does nothing if it is known already.

    Returns
    -------
    bool
        Whether Slicer knows the list now. Without it segments keep names, colours and codes all the same; only the
        selector of terms does not offer them.
    """
    logic = slicer.modules.terminologies.logic()
    if logic.IsTerminologyContextLoaded(CONTEXT):
        return True
    loaded = bool(logic.LoadTerminologyFromFile(str(FILE)))
    if not loaded:
        logging.warning("FlairSeg: Slicer could not read %s", FILE.name)
    return loaded
