"""What measures local adaptation: sites by look, persons kept together, runs that were made already, spoilt masks."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[adapt]'")

from flairseg.adapt import proof  # noqa: E402
from flairseg.adapt.cases import load, read_cases  # noqa: E402
from flairseg.adapt.framed import Case  # noqa: E402
from flairseg.models.scope import learnt_scope  # noqa: E402

from Testing.core.site_cases import site_head  # noqa: E402
from training import adaptation_intervals, measure_adaptation, measure_useless  # noqa: E402
from training.measure_scope import FIGURES, Measured, spreads  # noqa: E402

LOOKS = {
    "in_plane_mm": 0.45, "slice_mm": 5.0, "extent_mm": 100.0, "image_spread": 1.0, "image_dark": -2.0,
    "image_bright": 1.0, "image_texture": 0.3,
}  # fmt: skip


def scan(person, plane="axial", in_plane=0.45):
    return SimpleNamespace(person=person, plane=plane, looks={**LOOKS, "in_plane_mm": in_plane})


def test_a_site_is_the_persons_of_one_look_alone():
    """A person who was scanned in two planes is of no single look, and of the site not even in part."""
    scans = [
        scan("a"),
        scan("a"),
        scan("b"),
        scan("c", "coronal"),
        scan("d"),
        scan("d", "coronal"),
        scan("e", in_plane=0.9),
    ]
    site, others = measure_adaptation.by_look(scans)
    assert {one.person for one in site} == {"a", "b"}
    assert {one.person for one in others} == {"c", "d", "e"}
    assert len(site) + len(others) == len(scans)


def test_persons_weigh_the_same_and_undefined_scans_nothing():
    scans = [scan("a"), scan("a"), scan("b"), scan("c")]
    rows = [{"lesion_dice": value} for value in (0.2, 0.4, 0.9, float("nan"))]
    assert measure_adaptation.by_person(rows, scans, "lesion_dice") == pytest.approx({"a": 0.3, "b": 0.9})
    assert measure_adaptation.over_persons(rows, scans, "lesion_dice") == pytest.approx(0.6)
    assert np.isnan(measure_adaptation.over_persons(rows[3:], scans[3:], "lesion_dice"))


def test_nobody_who_was_learnt_from_is_tested(monkeypatch):
    worth = {"base": 0.5, "adapted": 0.7}
    keys = ("lesion_dice", "lesion_f1", "ventricles_dice", "at 0.0")
    monkeypatch.setattr(measure_adaptation, "figures", lambda network, *_: dict.fromkeys(keys, worth[network]))
    scans = [scan("a"), scan("b"), scan("b", in_plane=0.9), scan("c")]
    base = [dict.fromkeys(keys, worth["base"])] * len(scans)
    found = measure_adaptation.Experiment(
        None, "base", "here", {"here": scans, "there": scans[3:]}, {"here": base, "there": base[3:]}, None
    )
    scope = learnt_scope(["axial"], [LOOKS])
    row = measure_adaptation.tested(found, "here", "adapted", scope, ["a", "c"])
    assert (row["scans"], row["like"]) == (2, 1)
    # In use, the scan unlike those of the adaptation is the base's.
    assert row["lesion_dice"] == pytest.approx([0.5, 0.7, 0.6])
    assert row["persons"] == {"b": [0.5, 0.7]}
    assert row["limits"] == {"at 0.0": {"b": [0.5, 0.7]}}
    # One person has a gain, and no interval.
    assert row["gains"]["lesion_f1"] == {
        "gain": 0.2, "low": None, "high": None, "p": 0.5, "persons": 1, "improved": 1,
    }  # fmt: skip
    assert measure_adaptation.tested(found, "there", "adapted", scope, ["c"])["scans"] == 1, (
        "another set has other persons"
    )
    assert measure_adaptation.tested(found, "here", "adapted", scope, ["a", "b", "c"]) == {}


def test_gains_are_paired_over_persons_with_the_intervals_of_the_proof(tmp_path, capsys, monkeypatch):
    before = {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.4, "only before": 0.1}
    after = {"a": 0.6, "b": 0.65, "c": 0.69, "d": 0.48}
    found = adaptation_intervals.paired_gain(before, after, "lesion_dice")
    undefined = dict.fromkeys(proof.FIGURES, float("nan"))
    own = ([undefined | {"lesion_dice": side[one]} for one in after] for side in (before, after))
    (proved,) = proof.compare(*own, list(after), 0)
    assert (found.gain, found.persons, found.improved) == (0.055, 4, 3)
    assert (found.low, found.high, found.p) == pytest.approx((proved.low, proved.high, proved.p), abs=1e-4)
    assert adaptation_intervals.paired_gain({"a": 0.5}, {}, "lesion_dice") is None
    # From a file of results: each set of test scans is a row; sets without persons are left out.
    pairs = {one: [before[one], after[one]] for one in after}
    row = {
        "run": {"site": "here", "patients": 5, "seed": 1, "settings": {"steps": 4800}}, "steps": 4800,
        "here": {"lesion_dice": [0.55, 0.605, 0.605], "persons": pairs}, "there": {"lesion_dice": [0.5, 0.5, 0.5]},
    }  # fmt: skip
    (tmp_path / "results.jsonl").write_text(json.dumps(row))
    monkeypatch.setattr("sys.argv", ["adaptation_intervals", str(tmp_path / "results.jsonl")])
    adaptation_intervals.main()
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("| here, 5 persons, split 1 | here | 4800 | 0.550 to 0.605 | +0.055 (")
    assert last.endswith("| 3 of 4 | 0.605 |")


def test_runs_that_were_made_are_known(tmp_path):
    assert measure_adaptation.finished(tmp_path / "none.jsonl") == []
    runs = [{"site": "tabriz", "seed": seed, "settings": {"crop": [128, 128]}} for seed in (0, 1)]
    (tmp_path / "some.jsonl").write_text("".join(json.dumps({"run": one, "steps": 9}) + "\n" for one in runs))
    assert measure_adaptation.finished(tmp_path / "some.jsonl") == runs


def test_the_spread_within_persons_is_not_that_of_the_set():
    values = {"a": (1.0, 1.2), "b": (3.0, 3.2), "c": (7.0,)}
    scans = [
        Measured("set", person, "axial", {**dict.fromkeys(FIGURES, 1.0), "image_dark": value})
        for person, own in values.items()
        for value in own
    ]
    found = spreads(scans, "set")
    assert found["person"]["image_dark"] == pytest.approx(np.sqrt(2 * 0.02 / 2), abs=1e-4)
    assert found["set"]["image_dark"] == pytest.approx(np.std([1.0, 1.2, 3.0, 3.2, 7.0], ddof=1), abs=1e-4)
    assert "person" not in spreads([scans[0], scans[-1]], "set"), "no person has two scans"


def test_every_other_lesion_is_left_out_and_nothing_else():
    labels = np.zeros((3, 12, 12), np.uint8)
    labels[0, 1:3, 1:3] = labels[1, 6:8, 6:8] = labels[2, 10, 1:4] = 3
    labels[1, 1:3, 1:3] = 1
    spoilt = measure_useless.WAYS["every other lesion left out"](labels)
    assert (spoilt == 3).sum() == 4
    assert np.array_equal(spoilt == 1, labels == 1)


def test_spoilt_cases_are_an_archive_with_a_patient_each(tmp_path):
    """One image five times included: the checks, not the patients, are to find it."""
    cases = [Case(f"{n}", *site_head(n)) for n in (1, 2)]
    measure_useless.write_cases(tmp_path / "a", cases, "lesions and ventricles exchanged")
    found, left_out = read_cases(tmp_path / "a")
    assert [(one.patient, one.stated) for one in found] == [("P1", True), ("P2", True)]
    assert left_out == []
    drawn = load(found[1]).labels
    assert np.array_equal(drawn == 1, cases[1].labels == 3)
    measure_useless.write_cases(tmp_path / "b", cases, "one case five times")
    one, other = read_cases(tmp_path / "b")[0]
    assert np.array_equal(load(one).volume.array, load(other).volume.array)
