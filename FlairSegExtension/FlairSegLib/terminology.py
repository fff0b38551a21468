"""Registration of FlairSeg's terminology in Slicer.

Slicer's terminologies contain neither MS lesions nor normal white matter hyperintensity.
``Resources/Terminologies/FlairSeg.term.json`` adds them in the format of DICOM's segment context lists (dcmqi,
``segment-context-schema.json``). Its codes are those of :mod:`flairseg.labels`; a test compares the two.
"""

from __future__ import annotations

import logging
from pathlib import Path

import slicer

FILE = Path(__file__).resolve().parents[1] / "Resources" / "Terminologies" / "FlairSeg.term.json"
#: Name of the terminology, given as context of the codes in :mod:`flairseg.labels`.
CONTEXT = "FlairSeg"


def load() -> bool:
    """Load the terminology for this session, unless it is loaded already.

    Returns
    -------
    bool
        Whether it is loaded. Without it, segments still have names, colours and codes, but the terminology selector
        does not offer them.
    """
    logic = slicer.modules.terminologies.logic()
    if logic.IsTerminologyContextLoaded(CONTEXT):
        return True
    loaded = bool(logic.LoadTerminologyFromFile(str(FILE)))
    if not loaded:
        logging.warning("FlairSeg: Slicer could not read %s", FILE.name)
    return loaded
