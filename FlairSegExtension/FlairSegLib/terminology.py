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
SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#"


def term_list() -> dict:
    """The list as it stands in the file, from the table of classes.

    Returns
    -------
    dict
        Ready for JSON. ``Source`` of a term says who defined its code.
    """
    from flairseg.labels import CLASSES

    categories: dict[str, dict] = {}
    for label_class in CLASSES:
        category = categories.setdefault(label_class.category.value, {**_coded(label_class.category), "Type": []})
        category["Type"].append(
            {
                **_coded(label_class.code),
                "3dSlicerLabel": label_class.id,
                "recommendedDisplayRGBValue": list(label_class.rgb),
                "Source": _source(label_class.code.scheme),
            }
        )
    return {
        "SegmentationCategoryTypeContextName": CONTEXT,
        "@schema": SCHEMA,
        "SegmentationCodes": {"Category": list(categories.values())},
    }


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


def _coded(concept) -> dict[str, str]:
    return {
        "CodingSchemeDesignator": concept.scheme,
        "CodeValue": concept.value,
        "CodeMeaning": concept.meaning,
    }


def _source(scheme: str) -> str:
    if scheme == "SCT":
        return "SNOMED CT, as in 3D Slicer's General Anatomy list"
    return "FlairSeg's own scheme: no verified SNOMED CT code is known for this finding"
