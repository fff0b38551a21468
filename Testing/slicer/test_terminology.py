"""The shipped list of terms is the table of classes, and Slicer's terminologies read it."""

from __future__ import annotations

import json

import pytest
from flairseg.labels import CLASSES


@pytest.fixture
def terminology(slicer):
    from FlairSegLib import terminology

    return terminology


SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#"


def term_list(context: str) -> dict:
    """The list as it stands in the file, from the table of classes."""
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
        "SegmentationCategoryTypeContextName": context,
        "@schema": SCHEMA,
        "SegmentationCodes": {"Category": list(categories.values())},
    }


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


def test_the_file_is_the_table_of_classes(terminology):
    shipped = json.loads(terminology.FILE.read_text(encoding="utf-8"))
    assert shipped == term_list(terminology.CONTEXT)


def test_every_code_is_in_the_file_with_its_source(terminology):
    shipped = json.loads(terminology.FILE.read_text(encoding="utf-8"))
    terms = {
        (term["CodingSchemeDesignator"], term["CodeValue"]): (category, term)
        for category in shipped["SegmentationCodes"]["Category"]
        for term in category["Type"]
    }
    assert len(terms) == len(CLASSES)
    for c in CLASSES:
        category, term = terms[c.code.scheme, c.code.value]
        assert category["CodeValue"] == c.category.value
        assert term["CodeMeaning"] == c.code.meaning
        assert tuple(term["recommendedDisplayRGBValue"]) == c.rgb
        assert "SNOMED" in term["Source"]
        assert ("own scheme" in term["Source"]) == (c.code.scheme != "SCT")
    own = {c.context for c in CLASSES if c.code.scheme != "SCT"}
    assert own == {shipped["SegmentationCategoryTypeContextName"]}


def test_slicer_reads_the_list(terminology, slicer):
    logic = slicer.modules.terminologies.logic()
    assert terminology.load()
    assert terminology.load()  # a second module or a reload asks again
    assert logic.IsTerminologyContextLoaded(terminology.CONTEXT)
    found = {}
    for n in range(logic.GetNumberOfCategoriesInTerminology(terminology.CONTEXT)):
        category = slicer.vtkSlicerTerminologyCategory()
        assert logic.GetNthCategoryInTerminology(terminology.CONTEXT, n, category)
        for m in range(logic.GetNumberOfTypesInTerminologyCategory(terminology.CONTEXT, category)):
            term = slicer.vtkSlicerTerminologyType()
            assert logic.GetNthTypeInTerminologyCategory(terminology.CONTEXT, category, m, term)
            found[term.GetCodeValue()] = (category.GetCodeValue(), term)
    assert set(found) == {c.code.value for c in CLASSES}
    for c in CLASSES:
        category, term = found[c.code.value]
        assert category == c.category.value
        assert term.GetCodingSchemeDesignator() == c.code.scheme
        assert tuple(term.GetRecommendedDisplayRGBValue()) == c.rgb
        assert term.GetSlicerLabel() == c.id
