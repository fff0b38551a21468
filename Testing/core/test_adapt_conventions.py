"""What the proof cannot judge: masks that all differ in the same way are stated, and nothing is proposed before."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from flairseg.adapt import conventions, outcomes
from flairseg.adapt.acceptance import NothingToAcceptError, accept, open_conventions
from flairseg.adapt.conventions import (
    Convention,
    differences,
    displaced_alike,
    held_back,
    of_other_tissue,
    shared_by_most,
)
from flairseg.adapt.evidence import weigh
from flairseg.adapt.framed import Case, frame_case
from flairseg.adapt.terms import BETTER, CONVENTIONS, NO_DIFFERENCE, WORSE
from flairseg.cli import app
from flairseg.cli.site import Convention as Choice
from flairseg.errors import OutputError
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.models import choosing, store
from flairseg.models.adaptation import card_digest
from flairseg.models.card import PipelineConfig
from flairseg.models.choosing import ModelInUseError, check_better
from flairseg.models.store import load_card
from scipy import ndimage
from typer.testing import CliRunner

from Testing.core.site_cases import SITE_PIPELINE, site_head
from Testing.core.tiny import make_model

ALL = (VENTRICLES, NORMAL_WMH, LESION)
CONFIG = PipelineConfig.from_dict(SITE_PIPELINE)


def base_result() -> np.ndarray:
    """A result: ventricles, two caps of normal hyperintensity, and four lesions."""
    found = np.zeros((4, 40, 40), np.uint8)
    found[:, 15:25, 15:25] = VENTRICLES
    found[:, 10:15, 15:25] = found[:, 25:30, 15:25] = NORMAL_WMH
    for row in (2, 32):
        found[:, row : row + 5, 2:8] = found[:, row : row + 5, 30:36] = LESION
    return found


def drawn_as(way: str) -> np.ndarray:
    """The same head drawn by readers; each has a little of every difference."""
    drawn = base_result()
    drawn[0, 10, 15:25], drawn[0, 2, 2:8] = LESION, NORMAL_WMH
    if way == "normal-drawn-as-lesions":
        drawn[drawn == NORMAL_WMH] = LESION
    if way == "lesions-drawn-as-normal":
        drawn[:, :, :10][drawn[:, :, :10] == LESION] = NORMAL_WMH
    if way == "lesions-not-drawn":
        drawn[:, :, 30:][drawn[:, :, 30:] == LESION] = 0
    return drawn


@pytest.mark.parametrize("way", ["", *conventions._PAIRS])
def test_what_most_patients_share_is_stated_and_one_patient_is_not_most(way):
    same = differences(base_result(), drawn_as(""), ALL)
    other = differences(base_result(), drawn_as(way), ALL)
    found = shared_by_most([other] * 4, ["a", "b", "c", "d"])
    assert [one.code for one in found] == ([way] if way else [])
    assert shared_by_most([other, same, same, same], ["a", "b", "c", "d"]) == []
    # Scans of one patient are one patient, and two patients are none to speak of.
    assert shared_by_most([other, other, same, same], ["a", "a", "c", "d"]) == []
    assert shared_by_most([other, other], ["a", "b"]) == []


def test_a_share_is_the_volume_of_the_median_patient():
    counts = [{"normal-drawn-as-lesions": [part, 100]} for part in (20, 30, 90)]
    (found,) = shared_by_most(counts, ["a", "b", "c"])
    assert found == Convention("normal-drawn-as-lesions", 0.3, 3)
    assert found.text.startswith("30% of what the base calls normal periventricular hyperintensity was drawn as les")
    assert found.to_warning().code == "normal-drawn-as-lesions"
    assert found.to_warning().fields == {"share": 0.3, "patients": 3}
    # Of two scans of a patient, each voxel counts; of a handful of voxels, none.
    pooled = [{"normal-drawn-as-lesions": [0, 300]}, *counts]
    assert shared_by_most(pooled, ["b", "a", "b", "c"]) == []
    few = [{"normal-drawn-as-lesions": [part, 40]} for part in (40, 40, 40)]
    assert shared_by_most(few, ["a", "b", "c"]) == []


def test_of_classes_that_were_not_reviewed_nothing_is_said():
    drawn = drawn_as("normal-drawn-as-lesions")
    assert differences(base_result(), drawn, (VENTRICLES,)) == {}
    alone = differences(base_result(), drawn, (LESION,))
    assert set(alone) == {"normal-drawn-as-lesions", "lesions-not-drawn"}
    # A class that was not reviewed is not "not drawn" as lesion because its value is there.
    drawn[drawn == LESION] = NORMAL_WMH
    assert differences(base_result(), drawn, (LESION,))["lesions-not-drawn"] == [480, 480]
    assert differences(base_result(), drawn, ALL)["lesions-not-drawn"] == [0, 480]


@pytest.mark.parametrize(
    ("wide", "code"), [((), None), ((LESION,), "lesions-drawn-wide"), ((VENTRICLES,), "ventricles-drawn-wide")]
)
def test_masks_that_reach_into_normal_brain_are_stated_by_the_image_alone(wide, code):
    counts = []
    for number in (1, 2, 3):
        framed = frame_case(Case("head", *site_head(number)), CONFIG)
        drawn = framed.labels.copy()
        # Painted brain is all white matter: that beside ventricles and lesions is made as bright as cortex.
        image = np.where(drawn == 0, framed.prepared.slices + 0.3, framed.prepared.slices)
        for value in wide:
            around = ndimage.binary_dilation(drawn == value, np.ones((1, 3, 3)), 2) & framed.mask
            drawn[around & (drawn == 0)] = value
        counts.append(of_other_tissue(image, drawn, (VENTRICLES, LESION)))
    assert [one.code for one in shared_by_most(counts, ["a", "b", "c"])] == ([code] if code else [])


def test_a_displacement_of_a_pixel_is_stated_where_it_is_that_of_most_masks():
    shifts = []
    for number in (1, 2, 3):
        framed = frame_case(Case("head", *site_head(number)), CONFIG)
        for moved in (0, 1):
            evidence = weigh(framed.prepared.slices, np.roll(framed.labels, moved, 2), framed.mask)
            shifts.append(evidence.shift_px)
    right, moved = shifts[::2], shifts[1::2]
    assert set(right) == {(0, 0, 0)}
    assert set(moved) == {(0, 0, -1)}
    assert displaced_alike(right, ["a", "b", "c"]) == []
    assert displaced_alike(moved, ["a", "b", "c"]) == [Convention("masks-displaced-alike", 1.0, 3)]
    assert displaced_alike(moved[:2] + right[:2], ["a", "b", "c", "d"]) == []
    assert displaced_alike([(0, 0, -1), (0, 1, 0), (0, -1, 0)], ["a", "b", "c"]) == []


def test_a_single_slice_has_no_place_in_another_one():
    framed = frame_case(Case("head", *site_head(1)), CONFIG)
    image, labels, inside = framed.prepared.slices[7:8], framed.labels[7:8], framed.mask[7:8]
    assert weigh(image, labels, inside).shift_px == (0, 0, 0)
    assert weigh(image, np.roll(labels, 3, 2), inside).shift_px == (0, 0, -3)


def test_nothing_is_better_before_every_difference_is_accepted():
    one, two = Convention("normal-drawn-as-lesions", 0.7, 5), Convention("lesions-not-drawn", 0.5, 5, accepted=True)
    assert held_back(BETTER, ["It rose."], []) == (BETTER, ["It rose."])
    word, reasons = held_back(BETTER, ["It rose."], [one, two])
    assert word == NO_DIFFERENCE
    assert reasons[0] == one.text
    assert "It rose." in reasons[-1]
    assert held_back(BETTER, ["It rose."], [two]) == (BETTER, ["It rose."])
    assert held_back(WORSE, ["It fell."], [one]) == (WORSE, ["It fell."])


# --- acceptance -------------------------------------------------------------------------------------------------------


@pytest.fixture
def adapted(tmp_path, monkeypatch):
    """A finished adaptation that is held back for two differences, and where the user's models are."""
    user = tmp_path / "user"
    for module in (store, choosing):
        monkeypatch.setattr(module, "user_cache", lambda: user)
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    make_model(user, "tiny2d-v1.0")
    folder = make_model(tmp_path / "made", "tiny2d-site-v1.0")
    found = [Convention("normal-drawn-as-lesions", 0.74, 5), Convention("lesions-not-drawn", 0.5, 5)]
    word, reasons = held_back(BETTER, ["Lesion Dice rose."], found)
    made = {
        "verdict": word, "reasons": reasons, "by_figures": {"verdict": BETTER, "reasons": ["Lesion Dice rose."]},
        "conventions": [one.to_dict() for one in found], "no_harm": [],
    }  # fmt: skip
    data = {"cases": 5, "patients": 5, "corrected": 5, "accepted_unedited": 0, "with_rejected_version": 0}
    raw = json.loads((folder / "card.json").read_text())
    raw["summary"] = f"tiny2d-v1.0 adapted to 5 patients of one site; on left-out ones: {word}."
    raw["adaptation"] = {
        "parent": {"id": "tiny2d-v1.0", "sha256": "0" * 64}, "seed": 0, "minutes": 7.0, **made,
        "data": data | {"reviewed": {"lesion": 5}, "lesion_ml": 30.0, "left_out": {}},
        "lesion_limit": {"value": 0.0, "parent": 0.0, "lesions": 12, "fitted": False},
    }  # fmt: skip
    raw["adaptation"]["digest"] = card_digest(raw)
    (folder / "card.json").write_text(json.dumps(raw))
    training = {"steps": 60, "best_step": 60, "stopped": "steps", "seconds": 3.0, "device": "CPU"}
    proof = {**made, "comparisons": [], "cases": [], "left_out": [], "trainings": [training]}
    (folder / outcomes.PROOF).write_text(json.dumps(proof))
    (folder / outcomes.PAGE).write_text("<p>held back</p>")
    return folder


def test_a_statement_lifts_the_verdict_without_another_training(adapted):
    card = load_card(adapted)
    assert [one.code for one in open_conventions(card)] == ["normal-drawn-as-lesions", "lesions-not-drawn"]
    with pytest.raises(ModelInUseError, match="our readers count periventricular caps as lesions") as refused:
        check_better(card)
    assert refused.value.code == "convention-not-accepted"
    with pytest.raises(NothingToAcceptError):
        accept(adapted, ["masks-displaced-alike"])
    half = accept(adapted, ["normal-drawn-as-lesions"])
    assert half.raw["adaptation"]["verdict"] == NO_DIFFERENCE
    done = accept(adapted, ["lesions-not-drawn"])
    assert done.sha256 == card.sha256
    assert done.raw["adaptation"]["verdict"] == BETTER
    assert done.raw["adaptation"]["reasons"] == ["Lesion Dice rose."]
    assert done.raw["summary"].endswith("on left-out ones: better.")
    check_better(done)
    # Card, proof and page say the same, and the digest holds.
    assert outcomes.read_outcome(adapted).verdict == BETTER
    page = (adapted / outcomes.PAGE).read_text(encoding="utf-8")
    assert "Our readers count periventricular caps as lesions." in page
    assert "held back" not in page
    assert not open_conventions(done)


def test_the_command_asks_for_the_statement_and_takes_it(adapted):
    def run(*arguments):
        return CliRunner().invoke(app, ["models", *map(str, arguments)])

    refused = run("--use", adapted)
    assert refused.exit_code == 2
    assert "--accept with normal-drawn-as-lesions, lesions-not-drawn" in " ".join(refused.stderr.split())
    assert run("--use", adapted, "--accept", "masks-displaced-alike").exit_code == 2
    # An installed copy, used all the same before, is one model with the accepted one.
    assert run("--use", adapted, "--anyway").exit_code == 0
    accepted = ("--accept", "normal-drawn-as-lesions", "--accept", "lesions-not-drawn")
    assert run("--use", adapted, *accepted).exit_code == 0
    installed = store.find_model("tiny2d-site-v1.0")
    assert installed.path.parent != adapted
    assert installed.raw == load_card(adapted).raw
    assert installed.raw["adaptation"]["verdict"] == BETTER


def test_a_folder_that_cannot_be_written_to_keeps_what_it_says(adapted, monkeypatch):
    before = {path.name: path.read_bytes() for path in adapted.iterdir()}
    monkeypatch.setattr("flairseg.adapt.page.write_page", lambda *a: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OutputError, match="is full"):
        accept(adapted, ["normal-drawn-as-lesions"])
    assert {path.name: path.read_bytes() for path in adapted.iterdir()} == before


def test_an_earlier_adaptation_has_nothing_to_accept(adapted):
    raw = json.loads((adapted / "card.json").read_text())
    for key in ("conventions", "by_figures"):
        del raw["adaptation"][key]
    raw["adaptation"]["digest"] = card_digest(raw)
    (adapted / "card.json").write_text(json.dumps(raw))
    with pytest.raises(ModelInUseError, match="not shown to be better"):
        check_better(load_card(adapted))
    with pytest.raises(NothingToAcceptError):
        accept(adapted, ["lesions-not-drawn"])
    shutil.rmtree(adapted)


def test_the_command_offers_every_code():
    assert {one.value for one in Choice} == set(CONVENTIONS)
