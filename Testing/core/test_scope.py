"""What a model was adapted to: its range in the card, and which model reads a scan inside and outside of it."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from flairseg import cohort
from flairseg.cli import app
from flairseg.cohort.events import Planned
from flairseg.cohort.options import CaseOptions
from flairseg.errors import CaseWarning, InvalidModelError, ModelNotFoundError
from flairseg.image.volume import Volume
from flairseg.longitudinal import StudyInput, follow
from flairseg.longitudinal.followup import _load
from flairseg.models import choosing, store
from flairseg.models.export import export_model
from flairseg.models.in_use import InUse, in_use
from flairseg.models.install import install_model
from flairseg.models.scope import FIGURES, KEY, Scope, learnt_scope, scope_of
from flairseg.models.store import find_model
from flairseg.progress import Reporter
from flairseg.segmentation.pipeline import segment
from typer.testing import CliRunner

from Testing.core.scoped_models import PARENT, SITE, as_adapted, figures_of, foreign_scan, make_scoped, site_scan
from Testing.core.tiny import make_model, to_nifti

UNLIKE = "unlike-adaptation"
TYPICAL = {
    "in_plane_mm": 0.9, "slice_mm": 6.6, "extent_mm": 132.0, "image_spread": 1.4, "image_dark": -3.2,
    "image_bright": 1.6, "image_texture": 0.5,
}  # fmt: skip


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The user's models: a parent, and one adapted from it to heads of thick slices, which is in use."""
    folder = tmp_path / "user"
    monkeypatch.setattr(store, "user_cache", lambda: folder)
    monkeypatch.setattr(choosing, "user_cache", lambda: folder)
    monkeypatch.setattr(store, "DEFAULT_MODEL", PARENT)
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    make_scoped(folder)
    choosing.use(find_model(SITE))
    return folder


def warned(result):
    return [one for one in map(CaseWarning.of, result.warnings) if one.code == UNLIKE]


# --- ranges -----------------------------------------------------------------------------------------------------------


def cases(rng, count):
    return [
        {
            name: TYPICAL[name] * math.exp(rng.normal(0, one.deviation))
            if one.relative
            else TYPICAL[name] + rng.normal(0, one.deviation)
            for name, one in FIGURES.items()
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [3, 7, 20, 60, 200])
def test_scans_of_the_same_scanner_are_inside_however_many_cases_there_were(count):
    rng = np.random.default_rng(count)
    inside = []
    for _ in range(40):
        scope = learnt_scope(["axial"], cases(rng, count))
        inside += [not scope.outside("axial", one) for one in cases(rng, 25)]
    assert np.mean(inside) > 0.93


def test_a_range_is_the_narrower_the_more_cases_there_were():
    rng = np.random.default_rng(1)
    spans = []
    for count in (3, 12, 100):
        scopes = [learnt_scope(["axial"], cases(rng, count)) for _ in range(20)]
        margins = [s.seen["slice_mm"][0] / s.ranges["slice_mm"][0][0] for s in scopes]
        spans.append(np.median(margins))
    assert spans[0] > spans[1] > spans[2]


def test_a_figure_far_away_is_outside_and_named():
    scope = learnt_scope(["axial"], [TYPICAL] * 3)
    assert not scope.outside("axial", TYPICAL)
    for name in FIGURES:
        for value in (TYPICAL[name] * 2.5, float("nan")):
            found = scope.outside("axial", {**TYPICAL, name: value})
            assert [one.name for one in found] == [name]
            assert FIGURES[name].title in found[0].text
    assert scope.outside("axial", {**TYPICAL, "slice_mm": 3.0})[0].text == (
        "slice distance 3.00 mm; 6.60 mm at adaptation"
    )
    assert [one.name for one in scope.outside("sagittal", TYPICAL)] == ["plane"]


def test_between_two_scanners_is_outside_of_both():
    thin = {**TYPICAL, "slice_mm": 1.0}
    scope = learnt_scope(["axial"], [TYPICAL] * 4 + [thin] * 4)
    assert len(scope.ranges["slice_mm"]) == 2
    for value, inside in ((1.05, True), (6.5, True), (3.0, False), (20.0, False)):
        assert bool(scope.outside("axial", {**TYPICAL, "slice_mm": value})) != inside


def test_one_odd_case_of_a_hundred_does_not_widen_a_range():
    odd = {**TYPICAL, "slice_mm": 1.0}
    wide, narrow = (learnt_scope(["axial"], [TYPICAL] * count + [odd]) for count in (9, 99))
    assert not wide.outside("axial", odd)
    assert [one.name for one in narrow.outside("axial", odd)] == ["slice_mm"]


def test_the_scope_in_a_card_is_the_scope_and_its_digest_covers_it(models):
    scope = scope_of(find_model(SITE))
    assert isinstance(scope, Scope)
    assert set(scope.ranges) == set(FIGURES)
    assert Scope.to_dict(scope) == find_model(SITE).raw["adaptation"][KEY]
    path = models / SITE / "card.json"
    raw = json.loads(path.read_text())
    raw["adaptation"][KEY]["figures"]["slice_mm"]["like"] = [[0.0, 1000.0]]
    path.write_text(json.dumps(raw))
    with pytest.raises(InvalidModelError, match="altered"):
        find_model(SITE)


def test_the_card_keeps_to_the_schema(models):
    jsonschema = pytest.importorskip("jsonschema")
    from flairseg.models.schema import schema_path

    schema = json.loads(schema_path().read_text())
    raw = json.loads((models / SITE / "card.json").read_text())
    jsonschema.validate(raw, schema)
    raw["adaptation"][KEY]["planes"] = ["oblique"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, schema)


# --- which model reads a scan -----------------------------------------------------------------------------------------


def test_the_model_in_use_reads_scans_like_its_own_and_its_parent_the_others(models):
    site, parent = find_model(SITE), find_model(PARENT)
    inside, outside = segment(site_scan()), segment(foreign_scan())
    assert inside.card.sha256 == site.sha256
    assert not warned(inside)
    assert inside.summary()["model"]["adaptation"]["like"] is True
    assert outside.card.sha256 == parent.sha256
    assert outside.labels.tobytes() == segment(foreign_scan(), parent).labels.tobytes()
    (warning,) = warned(outside)
    assert "slice distance 4.00 mm; 8.00 mm at adaptation" in warning
    assert SITE in warning
    assert warning.startswith(f"Segmented with {PARENT}, the model that {SITE} was adapted from: the scan is unlike")
    assert warning.fields["slice_mm"] == pytest.approx(4.0)
    summary = outside.summary()
    assert summary["model"]["id"] == PARENT
    assert summary["model"]["sha256"] == parent.sha256
    assert summary["model"]["adaptation"] == {
        "model": SITE, "sha256": site.sha256, "digest": site.raw["adaptation"]["digest"], "like": False,
        "outside": ["slice_mm", "extent_mm"][: len(summary["model"]["adaptation"]["outside"])],
    }  # fmt: skip
    assert UNLIKE in [one["code"] for one in summary["warnings"]]


@pytest.mark.parametrize("by", ["id", "path", "card"])
def test_a_model_that_was_chosen_reads_any_scan_and_warns(models, by):
    chosen = {"id": SITE, "path": models / SITE, "card": find_model(SITE)}[by]
    found = segment(foreign_scan(), chosen)
    assert found.card.id == SITE
    (warning,) = warned(found)
    assert warning.startswith(f"Segmented with {SITE}, as chosen, although the scan is unlike those")
    assert not warned(segment(site_scan(), chosen))
    assert not warned(segment(foreign_scan(), PARENT))


def test_a_card_of_an_earlier_version_reads_every_scan_as_before(models):
    as_adapted(models / SITE, "0" * 64)
    found = segment(foreign_scan())
    assert found.card.id == SITE
    assert not warned(found)
    assert "adaptation" not in found.summary()["model"]


def test_without_its_parent_only_scans_like_its_own_are_read(models):
    (models / PARENT).rename(models.parent / "away")
    assert segment(site_scan()).card.id == SITE
    with pytest.raises(ModelNotFoundError, match="not installed") as caught:
        segment(foreign_scan())
    assert caught.value.code == "parent-missing"
    assert caught.value.fields["parent"] == PARENT
    make_model(models, PARENT, lesion_bias=1.0)
    with pytest.raises(InvalidModelError, match="sha256 differs") as caught:
        segment(foreign_scan())
    assert caught.value.code == "parent-changed"
    assert segment(foreign_scan(), SITE).card.id == SITE


def test_the_parent_has_the_threshold_that_was_chosen(models):
    found = segment(foreign_scan(), in_use(threshold=0.9))
    assert found.card.id == PARENT
    assert found.card.pipeline.thresholds[3] == 0.9


def test_a_parent_with_another_pipeline_prepares_the_scan_anew(models):
    site = find_model(SITE)
    parent = find_model(make_model(models, "other-v1.0", pipeline={"input_slices": 1}))
    found = segment(foreign_scan(), InUse(site, known_parent=parent))
    assert found.card.id == "other-v1.0"
    assert found.labels.tobytes() == segment(foreign_scan(), parent).labels.tobytes()


def test_a_parent_cannot_be_taken_away_and_is_needed_to_choose(models, tmp_path):
    with pytest.raises(choosing.ModelInUseError, match="adapted from"):
        choosing.remove(PARENT)
    archive = export_model(find_model(SITE), tmp_path / "site.zip")
    assert choosing.rollback() is None
    choosing.remove(SITE)
    installed = install_model(archive, models)
    assert scope_of(installed) is not None
    (models / PARENT).rename(models.parent / "away")
    with pytest.raises(ModelNotFoundError) as caught:
        choosing.use(find_model(SITE))
    assert caught.value.code == "parent-missing"


# --- one model for scans that are compared ----------------------------------------------------------------------------


def loaded(volumes, model=None, labels=None):
    labels = labels or [None] * len(volumes)
    given = [StudyInput(volume, own) for volume, own in zip(volumes, labels, strict=True)]
    return _load(given, model, "cpu", Reporter(), None)


def test_a_pair_is_read_by_one_model(models):
    alike = loaded([site_scan("first"), site_scan("second")])
    assert [study.card.id for study in alike] == [SITE, SITE]
    assert not any(study.warnings for study in alike)
    mixed = loaded([site_scan("first"), foreign_scan("second")])
    assert [study.card.id for study in mixed] == [PARENT, PARENT]
    codes = [[CaseWarning.of(one).code for one in study.warnings] for study in mixed]
    assert [UNLIKE in one for one in codes] == [False, True]
    assert any(one.startswith(f"All studies were segmented with {PARENT}") for one in mixed[1].warnings)
    chosen = loaded([site_scan("first"), foreign_scan("second")], SITE)
    assert [study.card.id for study in chosen] == [SITE, SITE]
    # A study that a reader segmented is no reason for the other one's model.
    given = np.zeros(foreign_scan().array.shape, np.uint8)
    reviewed = loaded([site_scan("first"), foreign_scan("second")], None, [None, given])
    assert [study.card.id if study.card else "" for study in reviewed] == [SITE, ""]


def test_a_follow_up_names_the_model_of_each_study(models, tmp_path):
    paths = [to_nifti(foreign_scan(name), tmp_path / f"{name}.nii.gz") for name in ("first", "second")]
    found = follow(paths, device="cpu").summary()
    parent = find_model(PARENT)
    assert found["model"]["id"] == PARENT
    assert [study["model"] for study in found["studies"]] == [{"id": PARENT, "sha256": parent.sha256}] * 2
    assert UNLIKE in [one["code"] for one in found["warnings"]]


# --- command line -----------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_says_which_model_read_a_scan_and_is_not_done_twice(models, tmp_path):
    images = [to_nifti(volume, tmp_path / f"{volume.name}.nii.gz") for volume in (site_scan(), foreign_scan())]
    command = ("segment", *images, "--output", tmp_path / "out", "--no-regions")
    done = run(*command, "--json")
    assert done.exit_code == 0, done.output
    assert f"Segmented with {PARENT}" in " ".join(done.stderr.split())
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = {line["case"]: line for line in lines if line["event"] == "case"}
    assert {case: line["model"]["id"] for case, line in told.items()} == {"like": SITE, "foreign": PARENT}
    assert [w["code"] for w in told["foreign"]["warnings"]].count(UNLIKE) == 1
    again = run(*command)
    assert "2 already done" in again.stderr
    # The model that is named for a call is not the one that read the foreign scan.
    named = run(*command, "--model", SITE)
    assert named.exit_code == 2
    assert "1 already done" in named.stderr
    assert "1 of 2 inputs could not be segmented" in named.stderr
    # Nor is a result of the parent, once its model is no more the one of the card.
    shutil.rmtree(models / PARENT)
    make_model(models, PARENT, lesion_bias=1.0)
    assert "1 already done" in run(*command).stderr


def test_a_missing_parent_fails_the_case_that_needs_it_and_says_what_helps(models, tmp_path):
    images = [to_nifti(volume, tmp_path / f"{volume.name}.nii.gz") for volume in (site_scan(), foreign_scan())]
    (models / PARENT).rename(models.parent / "away")
    done = run("segment", *images, "--output", tmp_path / "out", "--no-regions")
    assert done.exit_code == 2
    assert "1 of 2 inputs could not be segmented" in done.stderr
    assert f"--model {SITE}" in " ".join(done.stderr.split())
    assert run("models").exit_code == 2


def test_a_cohort_is_made_anew_where_the_parent_changes(models):
    with_parent = CaseOptions.of(in_use())
    assert with_parent.parent_sha256 == find_model(PARENT).sha256
    alone = CaseOptions.of(find_model(SITE))
    assert alone.parent == alone.adaptation == ""
    assert alone.sha256 != with_parent.sha256
    make_model(models, "next-v1.0", lesion_bias=2.0)
    other = CaseOptions.of(InUse(find_model(SITE), known_parent=find_model("next-v1.0")))
    assert other.sha256 not in (alone.sha256, with_parent.sha256)
    (models / PARENT).rename(models.parent / "away")
    with pytest.raises(ModelNotFoundError):
        CaseOptions.of(in_use())


def test_a_cohort_decides_for_each_session_and_compares_by_one_model(models, tmp_path):
    root = tmp_path / "bids"
    for session, volume in (("1", site_scan()), ("2", foreign_scan())):
        folder = root / "sub-01" / f"ses-{session}" / "anat"
        folder.mkdir(parents=True)
        to_nifti(volume, folder / f"sub-01_ses-{session}_FLAIR.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "t", "BIDSVersion": "1.10.0", "DatasetType": "raw"}')
    options = {"jobs": 1, "device": "cpu", "regions": False, "overview": False, "page": False}
    table = cohort.run(root, tmp_path / "out", **options)
    rows = {row.session.session: row for row in table}
    assert {session: row.model["id"] for session, row in rows.items()} == {"1": SITE, "2": PARENT}
    assert [UNLIKE in [w.code for w in rows[session].warnings] for session in ("1", "2")] == [False, True]
    (change,) = table.changes()
    written = json.loads((tmp_path / "out" / change.files["summary"]).read_text())
    assert [study["model"]["id"] for study in written["studies"]] == [PARENT, PARENT]
    assert UNLIKE in [w.code for w in change.warnings]
    said = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {one["id"]: one["sessions"] for one in said["models"]} == {SITE: 1, PARENT: 1}
    methods = (tmp_path / "out" / "methods.md").read_text()
    assert f"The parent of this model ({PARENT}, version 1.0" in methods
    assert "segmented 1 of these sessions, unlike those of the adaptation" in methods
    # Nothing is made again while neither model changes.
    events = []
    cohort.run(root, tmp_path / "out", listener=events.append, **options)
    assert not next(one for one in events if isinstance(one, Planned)).plan.todo


def test_figures_are_the_same_in_any_storage_order():
    volume, config = site_scan(), find_model("flairseg2d-v1.0").pipeline
    turned = Volume(np.transpose(volume.array, (2, 0, 1)), volume.ijk_to_ras[:, [1, 2, 0, 3]], "turned")
    found = [figures_of(one, config) for one in (volume, turned)]
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert found[0]["slice_mm"] == pytest.approx(8.0)
    assert found[0]["extent_mm"] == pytest.approx(128.0)
    assert found[0]["in_plane_mm"] == pytest.approx(2.5)
