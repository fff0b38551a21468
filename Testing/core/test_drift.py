"""Control charts of reviewed cases: limits hold what they promise, changes are found; order for learning."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flairseg.cli import app
from flairseg.errors import InputNotFoundError
from flairseg.models.store import load_card
from flairseg.review.cases import CaseArchive
from flairseg.review.verdict import Verdict
from flairseg.study.learning_order import features_of, greedy, learning_order, standardised, uncertainty
from flairseg.study.queue import QueueItem
from typer.testing import CliRunner

from Testing.core.tiny import make_head, make_model

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[adapt]'")

from flairseg.adapt import charts, drift

SIDES = tuple(side for _, side in drift.CHARTS.values())


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return load_card(make_model(tmp_path_factory.mktemp("models")))


def test_the_average_is_that_of_the_textbook():
    values = np.array([1.0, -2.0, 0.5, math.nan, 1.5])
    average, expected, seen = 0.0, [], 0
    for value in values:
        if value == value:
            average, seen = 0.2 * value + 0.8 * average, seen + 1
        variance = sum((0.2 * 0.8**n) ** 2 for n in range(seen))
        expected.append(average / math.sqrt(variance))
    assert charts.averaged(values) == pytest.approx(expected)


@pytest.mark.parametrize("heavy", [False, True])
def test_false_alarms_are_as_rare_as_promised(heavy):
    limit = charts.limit_for(drift.BASELINE, SIDES)
    # Runs of another seed; the standard error of the rate is 0.0035.
    assert charts.false_alarm_rate(limit, drift.BASELINE, SIDES, seed=7, heavy=heavy) < 0.065
    assert charts.false_alarm_rate(limit * 0.8, drift.BASELINE, SIDES, seed=7, heavy=heavy) > 0.08


@pytest.mark.parametrize(
    ("name", "change", "alarms"),
    [("image_bright", 3.0, True), ("image_bright", -3.0, True), ("edited", 3.0, True), ("edited", -3.0, False),
     ("confidence", -3.0, True), ("confidence", 3.0, False), ("lesion_log_ml", 0.0, False)],
)  # fmt: skip
def test_a_change_is_found_on_the_side_that_matters(name, change, alarms, card):
    rng = np.random.default_rng(3)
    figures = {one: rng.normal(5, 1, 60).tolist() for one in drift.CHARTS}
    figures[name] = [value + change * (n >= 35) for n, value in enumerate(figures[name])]
    found = drift.charted(figures, card)
    assert [one.name for one in found.alarms] == [name] * alarms
    if alarms:
        assert 20 <= found.alarms[0].alarm < 35


def test_the_adaptation_is_the_baseline_where_the_card_has_it(card):
    figures = {one: np.random.default_rng(3).normal(5, 1, 40).tolist() for one in drift.CHARTS}
    reference = {"cases": 20, "figures": {name: {"mean": 2.0, "sd": 1.0} for name in drift.FEATURES}}
    adapted = replace(card, raw={**card.raw, "adaptation": {"reference": reference}})
    assert not drift.charted(figures, card).alarms
    found = drift.charted(figures, adapted)
    assert found.from_card
    assert {one.name for one in found.alarms} == set(drift.FEATURES) - {"confidence"}


def test_verdicts_on_this_model_are_read_in_order_of_time(card, tmp_path):
    volume, labels = make_head((4, 20, 20), (8.0, 8.0, 30.0))
    archive = CaseArchive(tmp_path / "cases")
    model = {"id": card.id, "sha256": card.sha256}

    def save(case, verdict, day, edits=None, of=model):
        reason = "wrong" if verdict == "rejected" else ""
        when = f"2026-01-{day:02d}T10:00:00Z"
        archive.save(case, labels, volume, Verdict(verdict, reason, decided_at=when, edits=edits or {}, model=of))

    save("b", "accepted", 3)
    save("a", "rejected", 5)
    save("a", "accepted_after_edits", 6, {"lesion": {"voxels_added": 9, "voxels_removed": 0}})
    save("c", "accepted_after_edits", 1, {"lesion": {"voxels_added": 10, "voxels_removed": 5}})
    save("d", "accepted", 2, of={"id": "x", "sha256": "0" * 64})
    # Damaged verdicts are counted; one with nothing but what is required is a mask drawn by hand, and no fault.
    for name, text in (("e", "{"), ("f", "[]"), ("g", json.dumps({"case": "g", "version": 1, "verdict": "accepted"}))):
        (tmp_path / "cases" / name / "v001").mkdir(parents=True)
        (tmp_path / "cases" / name / "v001" / "verdict.json").write_text(text)
    found, damaged = drift.reviewed_with(tmp_path / "cases", card)
    assert damaged == 2
    assert [one.path.parent.name for one in found] == ["c", "b", "a"]
    assert [one.accepted for one in found] == [0.0, 1.0, 0.0]
    assert found[0].edited == pytest.approx(math.log1p(15))
    assert math.isnan(found[2].edited)
    with pytest.raises(drift.TooFewForDriftError, match=r"3 cases .* Verdicts that cannot be read: 2\."):
        drift.watch(tmp_path / "cases", card.path.parent)
    with pytest.raises(InputNotFoundError, match="no folder of cases"):
        drift.watch(tmp_path / "elsewhere", card.path.parent)


def test_images_of_rejected_and_later_corrected_cases_are_charted_like_all_others(card, tmp_path):
    """They are the ones that a change shows first: left out, the charts of images would stand still."""
    archive, known = CaseArchive(tmp_path), {"sha256": card.sha256}
    for n in range(drift.BASELINE + 4):
        late = n >= drift.BASELINE
        noise = 20.0 if late else 2.0 + 0.1 * (n % 3)
        volume, labels = make_head((8, 40, 36), (4.8, 4.8, 15.0), noise=noise, name=f"h{n}")
        verdict, reason = ("rejected", "wrong") if late else ("accepted", "")
        when = f"2026-01-{n + 1:02d}T10:00:00Z"
        archive.save(f"case{n}", labels, volume, Verdict(verdict, reason, decided_at=when, model=known))
        if late and n % 2:
            # Drawn by a reader afterwards: the newest version is another, without a model.
            archive.save(f"case{n}", labels, volume, Verdict("accepted", decided_at="2026-02-01T10:00:00Z"))
    # One that cannot be read is told, and not counted as anything.
    (tmp_path / "case3" / "v001" / "flair.nii.gz").write_bytes(b"damaged")
    watched = drift.watch(tmp_path, card.path.parent)
    assert watched.unread == 1
    found = {one.name: one for one in watched.charts}
    texture = found["image_texture"]
    assert len(texture.values) == 4
    assert min(texture.values) > texture.mean + 3 * texture.sd
    for name in drift.FEATURES:
        assert all(map(math.isfinite, found[name].values)), name


def test_the_command_alarms_with_an_exit_code(card, tmp_path):
    volume, labels = make_head((4, 20, 20), (8.0, 8.0, 30.0))
    archive = CaseArchive(tmp_path)
    rng = np.random.default_rng(0)
    for n in range(30):
        voxels = int(rng.integers(5, 15)) * (60 if n >= 18 else 1)
        archive.save(
            f"case{n}", labels, volume,
            Verdict(
                "accepted_after_edits", decided_at=f"2026-01-{n + 1:02d}T10:00:00Z", model={"sha256": card.sha256},
                edits={"lesion": {"voxels_added": voxels, "voxels_removed": 0}},
            ),
        )  # fmt: skip
    (tmp_path / "case3" / "v002").mkdir()
    (tmp_path / "case3" / "v002" / "verdict.json").write_text("damaged")
    done = CliRunner().invoke(app, ["drift", str(tmp_path), "--model", str(card.path.parent), "--no-images"])
    assert "could not be read and are not charted: 1" in done.stdout
    assert done.exit_code == 3, done.output
    assert "ALARM" in done.stdout
    assert "edited" in done.stdout


# --- active choice ----------------------------------------------------------------------------------------------------


def item(case, correction, **figures):
    return QueueItem(case, Path("flair.nii.gz"), expected_correction_ml=correction, lesion_count=figures.get("count"))


def test_alike_cases_do_not_all_come_first(monkeypatch):
    monkeypatch.setattr("flairseg.study.learning_order.summary_of", lambda one: {})
    alike = [item(f"a{n}", 5.0 + n, count=50) for n in range(5)]
    others = [item("b", 2.0, count=2), item("c", 1.5, count=10)]
    order = [one.case for one in learning_order([*alike, *others])]
    assert order[0] == "a4"
    assert set(order[1:3]) == {"b", "c"}
    assert order[3:] == ["a3", "a2", "a1", "a0"]


def test_what_was_judged_counts_as_known(monkeypatch):
    monkeypatch.setattr("flairseg.study.learning_order.summary_of", lambda one: {})
    waiting = [item("a", 5.0, count=50), item("b", 2.0, count=2)]
    judged = replace(item("j", 5.0, count=50), state="accepted")
    order = learning_order([*waiting, judged])
    assert [one.case for one in order] == ["b", "a", "j"]


def test_uncertainty_is_a_rank_and_unknown_is_in_the_middle():
    assert uncertainty([item("a", 9.0), item("b", None), item("c", 0.1)]).tolist() == [1.0, 0.5, 0.5]


def test_every_case_is_taken_once():
    rng = np.random.default_rng(1)
    features = standardised(rng.normal(size=(20, 4)))
    assert sorted(greedy(rng.random(20), features, features[:0])) == list(range(20))
    assert np.allclose(standardised(np.array([[1.0, 5.0], [3, 5], [math.nan, 5]])), [[-1, 0], [1, 0], [0, 0]], atol=0.3)


def test_a_volume_that_is_not_known_is_no_volume_of_0(monkeypatch):
    volumes = {"ventricles": None, "lesion": 0.0}
    monkeypatch.setattr("flairseg.study.learning_order.summary_of", lambda one: {"volumes_ml": volumes})
    found = features_of(item("a", 1.0, count=0))
    assert [math.isnan(value) for value in found[:4]] == [True, True, False, False]
    assert found[2:4] == [0.0, 0.0]
