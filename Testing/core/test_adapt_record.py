"""The record of a proof: through its file and back, from earlier versions, and never with another verdict."""

from __future__ import annotations

import json
import math

import pytest
from flairseg.adapt.conventions import Convention
from flairseg.adapt.record import (
    Comparison,
    Harm,
    Judgement,
    LeftOut,
    Limit,
    ProofRecord,
    ProvenCase,
    Training,
)
from flairseg.adapt.terms import BETTER, NO_DIFFERENCE

RECORD = ProofRecord(
    Judgement(BETTER, ("Lesion Dice rose by 0.100.",)),
    (Convention("normal-drawn-as-lesions", 0.7, 5), Convention("lesions-not-drawn", 0.5, 5, accepted=True)),
    (Comparison("lesion_dice", 0.5, 0.6, 0.1, math.nan, math.nan, 0.031, 5, 4),),
    (Harm("Lesions, Dice on phantoms", 0.80, 0.75),),
    (ProvenCase(1, 2, {"lesion_dice": 0.5, "lesion_f1": math.nan}, {"lesion_dice": 0.6, "lesion_f1": 0.4}),),
    (LeftOut(7, "duplicate", "The same image under another name."),),
    (Training(60, 40, "steps", 3.0, "CPU", ((0, 0.5, 0.6), (20, 0.55, 0.6))),),
    Limit(0.72, 0.8, 60, True),
)


def test_the_file_has_null_for_what_is_undefined_and_gives_the_same_record(tmp_path):
    path = tmp_path / "proof.json"
    RECORD.write(path)
    assert "NaN" not in path.read_text()
    kept = json.loads(path.read_text())
    assert kept["comparisons"][0]["low"] is None
    assert kept["cases"][0]["base"] == {"lesion_dice": 0.5, "lesion_f1": None}
    assert kept["no_harm"][0]["harmed"] is True
    assert kept["trainings"][0]["checks"] == [[0, 0.5, 0.6], [20, 0.55, 0.6]]
    # NaN is not equal to itself, and everything else is.
    assert repr(ProofRecord.read(path)) == repr(RECORD)


def test_the_verdict_is_held_back_until_the_convention_is_accepted():
    assert RECORD.judgement.verdict == RECORD.to_json()["verdict"] == NO_DIFFERENCE
    done = RECORD.accepting({"normal-drawn-as-lesions"})
    assert done.judgement == RECORD.by_figures
    assert [one.accepted for one in done.conventions] == [True, True]
    assert RECORD.judgement.verdict == NO_DIFFERENCE


def test_a_file_whose_verdict_does_not_follow_is_refused():
    kept = RECORD.to_json()
    with pytest.raises(ValueError, match="verdict does not follow"):
        ProofRecord.from_json({**kept, "verdict": BETTER})


def test_files_of_earlier_versions_are_read():
    """They had neither conventions and the verdict by figures, nor the limit, nor devices."""
    kept = RECORD.to_json()
    for key in ("by_figures", "conventions", "lesion_limit"):
        del kept[key]
    del kept["trainings"][0]["device"]
    found = ProofRecord.from_json({**kept, "verdict": BETTER})
    assert found.judgement.verdict == BETTER
    assert (found.conventions, found.limit, found.trainings[0].device) == ((), None, "")
    assert "lesion_limit" not in found.to_json()


def test_the_card_has_trainings_without_the_checks_on_the_way():
    assert RECORD.trainings[0].to_json(checks=False) == {
        "steps": 60, "best_step": 40, "stopped": "steps", "seconds": 3.0, "device": "CPU",
    }  # fmt: skip
