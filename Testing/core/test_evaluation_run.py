"""A whole evaluation: three methods of different tools on disk, their figures, files, and the command."""

from __future__ import annotations

import csv
import io
import json
import math

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.cli import app
from flairseg.evaluation import evaluate, match_folders, parse_mapping
from flairseg.evaluation.conventions import choose_conventions
from flairseg.evaluation.errors import NothingToEvaluateError
from flairseg.evaluation.inputs import EvaluationCase
from flairseg.evaluation.results import CaseInfo
from flairseg.evaluation.tables import case_table, everything, summary_table
from flairseg.evaluation.terms import EVALUATED, FIGURES
from flairseg.image.volume import volume_to_sitk
from flairseg.progress import CancelToken, Reporter
from flairseg.segmentation.postprocessing import remove_small_components
from typer.testing import CliRunner

from Testing.core.evaluation_cases import (
    AFFINE,
    SHAPE,
    grid,
    probabilities_of,
    reference_labels,
    write_labels,
    write_study,
)

NAMES = ("anna", "bela", "cleo", "dora")
VOXEL_ML = 0.9 * 0.9 * 6.5 / 1000
#: The reference of one case has no lesion, and neither has our prediction of it.
EMPTY = "dora"
MAPPINGS = dict(parse_mapping(text) for text in ("synth:wmh-synthseg", "lesions:lst"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder with references and three methods: ours, SynthSeg's numbers in other axes, lesion probabilities."""
    folder = tmp_path_factory.mktemp("study")
    made = write_study(folder, NAMES)
    reference, prediction = (np.where(labels == 3, 0, labels).astype(np.uint8) for labels in made[EMPTY])
    write_labels(folder / "references" / f"{EMPTY}.nii.gz", reference)
    write_labels(folder / "ours" / f"{EMPTY}_flair_labels.nii.gz", prediction)
    made[EMPTY] = reference, prediction
    for name, (_, prediction) in made.items():
        numbers = np.select([prediction == 1, prediction == 3], [43, 77], 2).astype(np.int16)
        (folder / "synth").mkdir(exist_ok=True)
        image = sitk.DICOMOrient(volume_to_sitk(grid(numbers)), "SPR")
        sitk.WriteImage(image, str(folder / "synth" / f"{name}_seg.nii.gz"))
        scores = probabilities_of(reference_labels(NAMES.index(name)), 100, 0.4)[3].astype(np.float32)
        write_labels(folder / "lesions" / f"{name}.nii.gz", scores)
    return folder, made


@pytest.fixture(scope="module")
def cases(study):
    methods = {name: study[0] / name for name in ("ours", "synth", "lesions")}
    found, told = match_folders(methods, study[0] / "references")
    assert told == []
    sites = {"anna": ("north", "MS"), "bela": ("north", "NMOSD"), "cleo": ("south", "MS"), "dora": ("south", "MS")}
    return [
        EvaluationCase(c.case, c.method, c.prediction, c.reference, c.probabilities, None, *sites[c.case])
        for c in found
    ]


@pytest.fixture(scope="module")
def result(cases):
    return evaluate(cases, mappings=MAPPINGS)


def rows_of(result, method: str, class_id: str):
    return {row.case: row for row in result.rows if (row.method, row.class_id) == (method, class_id)}


# --- figures ----------------------------------------------------------------------------------------------------------


def test_every_method_has_figures_of_what_it_knows_and_no_others(result):
    classes = {method.name: method.classes for method in result.methods}
    assert classes == {
        "ours": ("ventricles", "normal_wmh", "lesion", "all_wmh"),
        "synth": ("ventricles", "lesion", "all_wmh"),
        "lesions": ("lesion", "all_wmh"),
    }
    for method, known in classes.items():
        assert {row.class_id for row in result.rows if row.method == method} == set(known)
        assert {row.class_id for row in result.summary if row.method == method} == set(known)
        assert sum(row.method == method for row in result.rows) == len(NAMES) * len(known)
    assert {info.name: info.probabilities for info in result.methods} == {"ours": 4, "synth": 0, "lesions": 4}
    assert any(note == "synth knows no Normal WMH: it has no results for that." for note in result.notes)


def test_figures_are_simpleitks_and_of_all_its_voxels(result, study):
    for class_id, values in EVALUATED.items():
        for case, row in rows_of(result, "ours", class_id).items():
            reference, prediction = (np.isin(labels, values) for labels in study[1][case])
            assert row.tp + row.fp + row.fn + row.tn == math.prod(SHAPE)
            assert row.reference_ml == pytest.approx(reference.sum() * VOXEL_ML)
            if not reference.any():
                continue
            measures = sitk.LabelOverlapMeasuresImageFilter()
            measures.Execute(*(sitk.GetImageFromArray(m.astype(np.uint8)) for m in (prediction, reference)))
            assert row.dice == pytest.approx(measures.GetDiceCoefficient())
            assert row.jaccard == pytest.approx(measures.GetJaccardCoefficient())
            assert row.volume_error_ml == pytest.approx((prediction.sum() - reference.sum()) * VOXEL_ML)
            assert row.volume_error_percent == pytest.approx(100 * (prediction.sum() / reference.sum() - 1))


def test_a_method_stored_in_another_orientation_has_the_same_figures(result):
    """synth is our prediction in other numbers and axes."""
    for class_id in ("ventricles", "lesion"):
        ours, theirs = (rows_of(result, method, class_id) for method in ("ours", "synth"))
        for case in NAMES:
            for figure in ("tp", "fp", "fn", "dice", "hd95_mm", "nsd", "predicted_ml"):
                expected = getattr(ours[case], figure)
                assert getattr(theirs[case], figure) == pytest.approx(expected, nan_ok=True), figure
    assert all(info.warnings == () for info in result.cases)


def test_areas_and_curves_are_scikit_learns(result, study):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    truths, scores = [], []
    for n, case in enumerate(NAMES):
        probabilities = probabilities_of(reference_labels(n), n).astype(np.float32)
        truth = study[1][case][0] == 3
        row = rows_of(result, "ours", "lesion")[case]
        if truth.any():
            assert row.average_precision == pytest.approx(
                metrics.average_precision_score(truth.ravel(), probabilities[3].ravel()), abs=1e-9
            )
            assert row.roc_auc == pytest.approx(
                metrics.roc_auc_score(truth.ravel(), probabilities[3].ravel()), abs=1e-9
            )
        truths.append(np.isin(study[1][case][0], (2, 3)).ravel())
        scores.append((probabilities[2] + probabilities[3]).ravel())
    curves = {c.kind: c for c in result.curves if (c.method, c.class_id) == ("ours", "all_wmh")}
    truth, score = np.concatenate(truths), np.concatenate(scores)
    assert curves["pr"].area.value == pytest.approx(metrics.average_precision_score(truth, score), abs=1e-9)
    assert curves["roc"].area.value == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-9)
    assert curves["pr"].area.low < curves["pr"].area.value < curves["pr"].area.high
    assert len(curves["pr"].x) <= 500
    assert {c.method for c in result.curves} == {"ours", "lesions"}
    assert math.isnan(rows_of(result, "synth", "lesion")["anna"].average_precision)
    pooled = {r.figure: r.estimate for r in result.pooled if (r.group, r.method, r.class_id) == ("", "ours", "all_wmh")}
    assert pooled["average_precision"] == curves["pr"].area
    assert curves["pr"].operating_point == pytest.approx((pooled["recall"].value, pooled["precision"].value))


def test_summaries_are_means_over_defined_patients(result):
    for row in result.summary:
        if row.grouping != "all":
            continue
        source = result.rows if hasattr(result.rows[0], row.figure) else result.lesion_rows
        values = np.array(
            [getattr(r, row.figure) for r in source if (r.method, r.class_id) == (row.method, row.class_id)]
        )
        defined = values[np.isfinite(values)]
        assert (row.mean.n or 0, row.undefined) == (defined.size, values.size - defined.size)
        if defined.size:
            assert row.mean.value == pytest.approx(defined.mean())
            assert row.median == pytest.approx(np.median(defined))
            assert row.minimum <= row.lower_quartile <= row.median <= row.upper_quartile <= row.maximum


def test_sites_and_diseases_have_summaries_of_their_own(result):
    north = {r.class_id: r for r in result.summary if (r.group, r.method, r.figure) == ("north", "ours", "dice")}
    ours = rows_of(result, "ours", "lesion")
    assert north["lesion"].mean.value == pytest.approx((ours["anna"].dice + ours["bela"].dice) / 2)
    assert {(r.grouping, r.group) for r in result.summary} == {
        ("all", ""), ("site", "north"), ("site", "south"), ("disease", "MS"), ("disease", "NMOSD")
    }  # fmt: skip
    pooled = next(
        r for r in result.pooled if (r.group, r.method, r.class_id, r.figure) == ("north", "ours", "lesion", "dice")
    )
    both = [ours["anna"], ours["bela"]]
    tp, wrong = sum(r.tp for r in both), sum(r.fp + r.fn for r in both)
    assert pooled.estimate.value == pytest.approx(2 * tp / (2 * tp + wrong))


def test_empty_masks_are_undefined_counted_and_told(result):
    row = rows_of(result, "ours", "lesion")[EMPTY]
    assert np.isnan([row.dice, row.jaccard, row.precision, row.recall, row.hd95_mm, row.nsd, row.roc_auc]).all()
    assert (row.reference_ml, row.volume_error_ml) == (0, 0)
    assert row.note == "Reference and prediction are empty."
    missed = rows_of(result, "lesions", "lesion")[EMPTY]
    assert missed.dice == missed.precision == missed.nsd == 0
    assert np.isnan([missed.recall, missed.hd95_mm, missed.volume_error_percent]).all()
    dice = next(
        r for r in result.summary if (r.method, r.class_id, r.figure, r.group) == ("ours", "lesion", "dice", "")
    )
    assert (dice.mean.n, dice.undefined) == (3, 1)
    empty = {(e.method, e.class_id): e for e in result.empty}
    assert empty["ours", "lesion"].both == (EMPTY,)
    assert empty["lesions", "lesion"].reference_only == (EMPTY,)
    assert any("in 1 case both masks are empty" in note for note in result.notes)


def test_confusion_matrices_count_every_voxel(result, study):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    reference, prediction = (np.concatenate([study[1][c][n].ravel() for c in NAMES]) for n in (0, 1))
    found = {(m.method, m.level): m for m in result.confusions}
    assert np.array_equal(found["ours", "voxel"].counts, metrics.confusion_matrix(reference, prediction))
    lesions = sum(r.reference_lesions for r in result.lesion_rows if (r.method, r.class_id) == ("ours", "lesion"))
    assert found["ours", "lesion"].counts[2].sum() == lesions
    assert found["ours", "lesion"].counts[0, 0] == 0


def test_normal_against_abnormal_is_counted_over_both_populations(result, study):
    reference, prediction = (np.concatenate([study[1][c][n].ravel() for c in NAMES]) for n in (0, 1))
    rows = [row for row in result.normal_abnormal if row.level == "voxel"]
    assert {row.method for row in result.normal_abnormal} == {"ours"}
    populations = (np.isin(reference, (2, 3)) & np.isin(prediction, (2, 3)), np.isin(reference, (2, 3)))
    for row, population in zip(rows, populations, strict=True):
        truth, said = reference[population] == 3, prediction[population] == 3
        cells = ((truth & said).sum(), (~truth & said).sum(), (truth & ~said).sum(), (~truth & ~said).sum())
        assert (row.tp, row.fp, row.fn, row.tn) == cells
        assert row.sensitivity.value == pytest.approx(row.tp / (row.tp + row.fn))
        assert row.specificity.value == pytest.approx(row.tn / (row.tn + row.fp))
        precision, recall = row.precision.value, row.sensitivity.value
        assert row.dice.value == pytest.approx(2 * precision * recall / (precision + recall))
    assert [row.population.split()[1] for row in rows] == ["reference", "the"]


def test_slices_groups_loads_and_pairs_are_there(result, study):
    level = next(s for s in result.slice_levels if (s.method, s.class_id, s.negatives) == ("ours", "lesion", "all"))
    positive = sum(int((study[1][c][0] == 3).any(axis=(1, 2)).sum()) for c in NAMES)
    assert level.tp + level.fn == positive
    assert level.tn + level.fp == len(NAMES) * SHAPE[0] - positive
    assert {(g.method, g.name) for g in result.volume_groups} >= {(m, "G1") for m in ("ours", "synth", "lesions")}
    assert sum(g.slices for g in result.volume_groups if g.method == "ours") == positive
    load = next(row for row in result.loads if (row.method, row.class_id) == ("ours", "all_wmh"))
    ours = rows_of(result, "ours", "all_wmh")
    assert load.predicted_ml.tolist() == [ours[c].predicted_ml for c in load.cases]
    pairs = {(p.first, p.second) for p in result.paired if (p.figure, p.class_id) == ("dice", "lesion")}
    assert pairs == {("ours", "synth"), ("ours", "lesions"), ("synth", "lesions")}
    assert {p.class_id for p in result.paired if "lesions" in (p.first, p.second)} == {"lesion", "all_wmh"}
    same = next(p for p in result.paired if (p.figure, p.class_id, p.second) == ("dice", "lesion", "synth"))
    assert (same.p, same.difference.value) == (1.0, 0.0)


def test_arrays_are_read_again_for_overlays(result, study):
    arrays = result.arrays("bela", "synth")
    assert np.array_equal(arrays.reference, study[1]["bela"][0])
    assert np.array_equal(arrays.prediction == 3, study[1]["bela"][1] == 3)
    assert np.allclose(arrays.ijk_to_ras, AFFINE)
    assert arrays.image is None
    with pytest.raises(KeyError):
        result.arrays("bela", "nobody")


def test_small_lesions_are_left_out_on_both_sides(cases, study):
    minimum = 3.5 * VOXEL_ML * 1000
    ours = [c for c in cases if c.method == "ours"]
    found = evaluate(ours, choose_conventions(minimum_lesion_mm3=minimum))
    for case in NAMES:
        reference, prediction = (
            remove_small_components(labels, 3, minimum, 1000 * VOXEL_ML) == 3 for labels in study[1][case]
        )
        row = rows_of(found, "ours", "lesion")[case]
        assert (row.tp, row.fp, row.fn) == (
            (reference & prediction).sum(), (prediction & ~reference).sum(), (reference & ~prediction).sum()
        )  # fmt: skip
    lesions = next(r for r in found.lesion_rows if (r.case, r.class_id) == ("anna", "lesion"))
    before = sitk.ConnectedComponent(sitk.GetImageFromArray((study[1]["anna"][1] == 3).astype(np.uint8)), True)
    sizes = np.bincount(sitk.GetArrayFromImage(before).ravel())[1:]
    assert 0 < lesions.predicted_lesions == np.count_nonzero(sizes >= 4) < len(sizes)
    arrays = found.arrays("anna", "ours")
    assert np.count_nonzero(arrays.prediction == 3) == sizes[sizes >= 4].sum()


# --- bad cases --------------------------------------------------------------------------------------------------------


def test_a_bad_case_is_refused_and_the_others_go_on(cases, study, tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes((study[0] / "references" / "anna.nii.gz").read_bytes()[:200])
    few = [c for c in cases if c.method != "lesions" and c.case != "dora"]
    few[0] = EvaluationCase("anna", "ours", broken, few[0].reference)
    few = [EvaluationCase(c.case, c.method, c.prediction, broken) if c.case == "cleo" else c for c in few]
    told = []
    found = evaluate(few, mappings=MAPPINGS, refused=told.append)
    assert [(r.case, r.method) for r in told] == [("anna", "ours"), ("cleo", "ours"), ("cleo", "synth")]
    assert tuple(told) == found.refusals
    assert all(r.message and r.advice for r in told)
    assert {(row.case, row.method) for row in found.rows} == {("anna", "synth"), ("bela", "ours"), ("bela", "synth")}
    assert [info.case for info in found.cases] == ["anna", "bela"]
    assert "3 cases could not be evaluated." in found.notes
    with pytest.raises(NothingToEvaluateError):
        evaluate([EvaluationCase("a", "m", broken, broken)])


def test_an_evaluation_can_be_cancelled(cases):
    from flairseg.errors import Cancelled

    token = CancelToken()

    def stop(fraction: float, stage: str) -> None:
        if fraction > 0:
            token.cancel()

    with pytest.raises(Cancelled):
        evaluate(cases, mappings=MAPPINGS, progress=stop, cancel=token)


def test_references_that_do_not_tell_normal_from_abnormal(study, tmp_path):
    for name in NAMES[:2]:
        reference = study[1][name][0]
        write_labels(tmp_path / "wmh" / f"{name}.nii.gz", (reference >= 2).astype(np.uint8))
    found_cases, _ = match_folders({"ours": study[0] / "ours"}, tmp_path / "wmh")
    found = evaluate(found_cases, mappings=dict([parse_mapping("reference:wmh-challenge")]))
    assert found.methods[0].classes == ("lesion", "all_wmh")
    row = rows_of(found, "ours", "all_wmh")["anna"]
    reference, prediction = study[1]["anna"]
    assert row.tp == ((reference >= 2) & (prediction >= 2)).sum()
    assert found.normal_abnormal == ()
    assert any("do not distinguish normal from abnormal" in note for note in found.notes)


# --- files ------------------------------------------------------------------------------------------------------------


def test_tables_hold_every_row_and_json_no_nan(result):
    rows = list(csv.DictReader(io.StringIO(case_table(result))))
    assert len(rows) == len(result.rows)
    assert set(FIGURES) <= set(rows[0])
    first = next(r for r in rows if (r["case"], r["method"], r["class"]) == ("anna", "ours", "lesion"))
    assert float(first["dice"]) == rows_of(result, "ours", "lesion")["anna"].dice
    assert first["lesion_f1"]
    empty = next(r for r in rows if (r["case"], r["method"], r["class"]) == (EMPTY, "ours", "lesion"))
    assert (empty["dice"], empty["site"]) == ("", "south")
    summary = list(csv.DictReader(io.StringIO(summary_table(result))))
    assert len(summary) == len(result.summary) + len(result.pooled)
    content = json.loads(everything(result), parse_constant=lambda text: pytest.fail(text))
    assert content["research_use_only"] is True
    assert len(content["rows"]) == len(result.rows)
    assert content["conventions"]["overlap_rule"] == "voxels"
    assert "arrays" not in content


def test_names_are_not_run_by_a_spreadsheet(result):
    from dataclasses import replace

    evil = replace(result, rows=tuple(replace(row, case="=cmd|' /C calc'!A0") for row in result.rows[:1]))
    assert "'=cmd" in case_table(evil).splitlines()[1]


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments):
    runner = CliRunner(env={"COLUMNS": "160", "TERM": "xterm", "NO_COLOR": "1"})
    return runner.invoke(app, ["evaluate", *(str(a) for a in arguments)])


def test_the_command_writes_a_report_its_tables_and_says_what_is_doubtful(study, tmp_path):
    folder, output = study[0], tmp_path / "out"
    log = tmp_path / "s3-fold0" / "log.csv"
    log.parent.mkdir()
    log.write_text("step,loss,dice_lesion\n1,0.9,0.1\n2,0.5,0.4\n")
    arguments = (
        "--predictions", f"[b]ours[/b]={folder / 'ours'}", "--predictions", f"synth={folder / 'synth'}", "--labels",
        "synth:wmh-synthseg", "--references", folder / "references", "--training-log", log, "--output", output,
    )  # fmt: skip
    answer = run(*arguments)
    assert answer.exit_code == 0, answer.output
    assert sorted(p.name for p in output.iterdir()) == [
        "cases.csv",
        "evaluation.html",
        "evaluation.json",
        "summary.csv",
    ]
    html = (output / "evaluation.html").read_text(encoding="utf-8")
    assert "[b]ours[/b]" in html
    assert "not a medical device" in answer.output
    assert "[b]ours[/b]" in answer.output
    assert "synth knows no Normal WMH" in answer.output
    before = {p.name: p.read_bytes() for p in output.iterdir()}
    again = run(*arguments)
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert {p.name: p.read_bytes() for p in output.iterdir()} == before


@pytest.mark.parametrize(("labels", "code"), [((), 3), (("--labels", "M:ventricles"), 0)], ids=["in doubt", "stated"])
def test_strict_makes_an_exit_code_of_a_mask_in_doubt(study, tmp_path, monkeypatch, labels, code):
    """A mask of one value may mark lesions or ventricles: its figures are written, and not to be trusted."""
    from flairseg.evaluation import writing

    monkeypatch.setattr(writing, "render", lambda *args, **options: "<html>")
    name = NAMES[0]
    image = nib.load(study[0] / "ours" / f"{name}_flair_labels.nii.gz")
    (tmp_path / "m").mkdir()
    ones = nib.Nifti1Image((np.asarray(image.dataobj) == 1).astype(np.uint8), image.affine)
    nib.save(ones, tmp_path / "m" / f"{name}.nii.gz")
    given = ("--predictions", f"M={tmp_path / 'm'}", "--references", study[0] / "references", *labels)
    strict = run(*given, "--output", tmp_path / "strict", "--strict")
    assert strict.exit_code == code, strict.output
    assert (tmp_path / "strict" / "cases.csv").is_file()
    assert run(*given, "--output", tmp_path / "plain").exit_code == 0


def test_the_command_refuses_one_mask_and_evaluates_the_rest(study, tmp_path, monkeypatch):
    from flairseg.evaluation import writing

    monkeypatch.setattr(writing, "render", lambda *args, **options: "<html>")
    table = tmp_path / "cases.csv"
    folder = study[0]
    rows = [f"{n},{folder}/ours/{n}_flair_labels.nii.gz,{folder}/references/{n}.nii.gz" for n in NAMES[:2]]
    table.write_text(
        "\n".join(["case,prediction,reference", *rows, f"none,missing.nii.gz,{folder}/references/cleo.nii.gz"])
    )
    answer = run("--manifest", table, "--output", tmp_path / "out")
    assert answer.exit_code == 2
    assert "Error (none, prediction): There is no file" in answer.output
    assert "1 of 3 masks could not be evaluated" in answer.output
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "No cases were given"),
        (("--manifest", "x.csv", "--references", "r"), "either a table of cases or folders"),
        (("--references", "r"), "predictions and of references are needed"),
        (("--predictions", "a=", "--references", "r"), "cannot be understood"),
        (("--predictions", "a=x", "--predictions", "a=y", "--references", "r"), "Two folders"),
        (("--manifest", "{table}", "--labels", "nobody:binary"), "no method nobody"),
        (("--manifest", "{table}", "--threshold", "prediction=high"), "cannot be understood"),
        (("--manifest", "{table}", "--lesion-overlap", "iou:much"), "cannot be understood"),
        (("--manifest", "{table}", "--lesion-overlap", "iou:2"), "overlap rule cannot be used"),
        (("--manifest", "{table}", "--training-log", "none.csv"), "cannot be read"),
    ],
)
def test_the_command_says_what_to_do_instead(study, tmp_path, arguments, told):
    folder, table = study[0], tmp_path / "cases.csv"
    table.write_text(
        f"case,prediction,reference\nanna,{folder}/ours/anna_flair_labels.nii.gz,{folder}/references/anna.nii.gz\n"
    )
    given = [a.format(table=table) for a in arguments]
    answer = run(*given, "--output", tmp_path / "out")
    assert answer.exit_code == 2
    assert told in answer.output
    assert "What to do: " in answer.output
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing_behind(study, tmp_path, monkeypatch):
    from flairseg.evaluation import running

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "read_prediction", interrupted)
    folder = study[0]
    answer = run(
        "--predictions", f"ours={folder / 'ours'}", "--references", folder / "references", "--output", tmp_path / "o"
    )
    assert answer.exit_code == 130
    assert not (tmp_path / "o").exists()


def test_pseudonyms_stand_in_every_file_and_message(study, tmp_path, monkeypatch):
    from flairseg.evaluation import writing

    shown = []
    monkeypatch.setattr(writing, "render", lambda result, **options: shown.append(result) or "<html>")
    for name in ("anna", "bela"):
        write_labels(tmp_path / "ours" / f"{name}_labels.nii.gz", study[1][name][1])
    for name in ("anna", "bela", "cleo"):
        write_labels(
            tmp_path / "truth" / f"{name}.nii.gz", study[1][name][0][:, ::2, ::2], AFFINE @ np.diag([2, 2, 1, 1])
        )
    (tmp_path / "truth" / "bela.nii.gz").write_bytes(b"")
    answer = run("--predictions", f"m={tmp_path / 'ours'}", "--references", tmp_path / "truth", "--pseudonymise",
                 "--output", tmp_path / "out")  # fmt: skip
    assert answer.exit_code == 2
    texts = [p.read_text(encoding="utf-8") for p in (tmp_path / "out").iterdir()]
    for name in ("anna", "bela", "cleo"):
        assert name not in answer.output
        assert not any(name in text for text in texts)
    assert any("another grid" in text for text in shown[0].cases[0].warnings)
    assert "m has no mask of 1 references." in shown[0].notes


@pytest.mark.parametrize(
    ("names", "told"),
    [(("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "P3"), "2 cases are sessions of 1 patient:"),
     (("P0_20240102", "P0_20250102", "P14_T1", "P14_T2", "P14_T3", "P15_T1"), "5 cases are sessions of 2 patients:"),
     (("sub-01", "sub-02", "sub-011", "P1_flair", "P2_flair", "case_1", "case_2", "scan1", "scan2"), "")],
)  # fmt: skip
def test_sessions_of_one_patient_are_told(names, told):
    """Their intervals are over cases, which are called patients."""
    from flairseg.evaluation.running import _Run

    run = _Run(choose_conventions(), {}, Reporter(None, None), None)
    run.infos = {name: CaseInfo(name) for name in names}
    found = [note for note in run._notes([]) if note.code == "patients-repeated"]
    assert [bool(note.startswith(told)) for note in found] == [True] * bool(told)
