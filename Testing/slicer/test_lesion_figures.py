"""The list of lesions in full: diameter, region, load, evidence, an ensemble's disagreement, the table as a file."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from flairseg.anatomy.lesion_table import COLUMNS, lesion_table, load_by_region
from flairseg.anatomy.packing import pack_regions, unpack_regions
from flairseg.anatomy.regions import BRAIN_STEM, CORTEX, WHITE_MATTER, RegionMap
from flairseg.labels import LESION, NORMAL_WMH
from flairseg.models.lesion_confidence import LesionConfidence
from flairseg.segmentation.result import Segmentation

from Testing.core import tiny
from Testing.harness.interaction import click, press, run_event_loop, wait_until
from Testing.slicer.result_driver import LARGE, MIDDLE, SMALL, head_with_lesions, segmented
from Testing.slicer.two_studies import in_scene

NUMBER, VOLUME, DIAMETER, SLICE, CONFIDENCE, REGION = range(6)


def anatomy(volume, labels) -> RegionMap:
    """White matter with a brain stem around the middle lesion and a cortex beside the small one."""
    codes = np.full(labels.shape, WHITE_MATTER, np.uint8)
    codes[: MIDDLE[0] + 4, : MIDDLE[1] + 8, : MIDDLE[2] + 8] = BRAIN_STEM
    codes[SMALL[0] - 1 : SMALL[0] + 2, 24:31, 48:56] = CORTEX
    return RegionMap(codes, np.ones(labels.shape, bool), True, None, np.eye(4), volume.spacing, 0)


@pytest.fixture
def regions(head) -> RegionMap:
    volume, labels, _ = head_with_lesions(head)
    return anatomy(volume, labels)


@pytest.fixture
def case(slicer, result, head, regions):
    """A result whose volume has its regions."""
    from FlairSegLib import kept_answers

    volume, node = segmented(slicer, head)
    kept_answers.keep_regions(volume, pack_regions(regions))
    result.show(node)
    return volume, node


def expected(result, regions):
    """The table as the core makes it of the labels that are in the node."""
    matrix = result.panel._grid.ijk_to_ras
    return lesion_table(result.labels(), matrix, regions=regions, values=(LESION, NORMAL_WMH))


def test_each_row_tells_diameter_and_region(result, case, regions, head):
    rows = [row for row in expected(result, regions) if row.value == LESION]
    assert [row.region for row in rows] == ["deep_white_matter", "infratentorial", "juxtacortical"]
    assert result.column(DIAMETER) == [f"{row.diameter_mm:.1f}" for row in rows]
    assert result.column(REGION) == ["Deep WM", "Infratent.", "Juxtacort."]
    tip = result.panel.ui.lesionTable.item(2, REGION).toolTip()
    assert f"Largest diameter {rows[2].diameter_mm:.1f} mm" in tip
    assert "Probability 55 % on average, 55 % at its highest" in tip
    assert not result.panel.ui.regionsButton.isVisible(), "there is nothing left to find"
    result.panel.lesions.select(1)
    why = result.panel.ui.whyLabel.text
    assert why.startswith("Deep white matter, ")
    assert f"{rows[0].diameter_mm:.1f} mm long: over the limit of 3 mm." in why
    assert "Deep white matter" in result.panel.ui.lesionTable.item(0, REGION).toolTip()


def test_regions_can_be_read_at_the_width_at_which_slicer_opens_its_panel(result, case, regions):
    result.window.panel.parent().setFixedWidth(310)
    run_event_loop(0.2)
    table = result.panel.ui.lesionTable
    assert table.width < 300
    assert table.columnWidth(REGION) >= table.sizeHintForColumn(REGION)
    assert all(table.columnWidth(column) >= table.sizeHintForColumn(column) for column in range(table.columnCount))


def test_load_and_evidence_leave_normal_wmh_out_and_name_what_is_not_assessed(result, case, regions):
    load = load_by_region(expected(result, regions))
    text = result.panel.ui.loadLabel.text
    assert text.startswith("3 lesions")
    for name, region in (("Deep white matter", "deep_white_matter"), ("Juxtacortical", "juxtacortical")):
        assert f"{name} 1 ({load[region]['volume_ml']:.2f} ml)" in text
    assert not result.panel.ui.disseminationLabel.isVisible(), "long texts are behind the button"
    click(result.panel.ui.disseminationInfoButton)
    assert result.panel.ui.disseminationLabel.isVisible()
    evidence = result.panel.ui.disseminationLabel.text
    assert "2 of the 3 regions" in evidence
    assert "Spinal cord and optic nerve: not assessed" in evidence
    assert "not a diagnosis" in evidence
    result.panel.ui.classFilter.setCurrentIndex(2)
    assert result.column(REGION).count("Normal WMH") == 2
    assert result.panel.ui.loadLabel.text == text, "filters change the list, not the load"


def test_an_edit_is_told_by_region_at_once(result, case, regions):
    result.panel.lesions.select(2)
    press("X")
    result.settle()
    assert "Infratentorial" not in result.panel.ui.loadLabel.text
    assert "1 of the 3 regions" in result.panel.ui.disseminationLabel.text
    result.paint((MIDDLE[0] - 4, 70, 40), 5.0)
    rows = {row.number: row for row in expected(result, regions)}
    load = load_by_region(rows.values())
    assert f"({load['deep_white_matter']['volume_ml']:.2f} ml)" in result.panel.ui.loadLabel.text
    press("Ctrl+Z")
    press("Ctrl+Z")
    result.settle()
    assert result.column(REGION) == ["Deep WM", "Infratent.", "Juxtacort."]


def test_headings_sort_by_diameter_and_region(result, case):
    header = result.panel.ui.lesionTable.horizontalHeader()
    header.sectionClicked.emit(DIAMETER)
    found = [float(text) for text in result.column(DIAMETER)]
    assert found == sorted(found, reverse=True)
    header.sectionClicked.emit(REGION)
    assert result.column(REGION) == ["Deep WM", "Infratent.", "Juxtacort."]
    header.sectionClicked.emit(REGION)
    assert result.column(REGION)[0] == "Juxtacort."


def test_the_table_is_saved_whole_whatever_is_filtered(slicer, result, case, regions, tmp_path):
    path = tmp_path / "my table"
    result.panel.ui.confidenceFilter.setCurrentIndex(1)
    slicer.app.messages.files.append(str(path))
    click(result.panel.ui.saveTableButton)
    slicer.app.messages.reset()
    with (tmp_path / "my table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["case"] for row in rows} == {"FLAIR 042"}
    assert [row["region"] for row in rows if row["class"] == "lesion"] == [
        row.region for row in expected(result, regions) if row.value == LESION
    ]
    assert sum(row["class"] == "normal_wmh" for row in rows) == 2
    assert "Saved as" in result.panel.ui.lesionMessageLabel.text
    # The dialog has asked whether "my table" may be replaced, not "my table.csv".
    saved = (tmp_path / "my table.csv").read_bytes()
    (tmp_path / "my table.csv").write_bytes(b"somebody's own")
    slicer.app.messages.files += [str(path), str(tmp_path / "my table.csv"), str(tmp_path / "Study 1.2")]
    click(result.panel.ui.saveTableButton)
    assert "my table.csv already exists" in result.panel.ui.lesionMessageLabel.text
    assert (tmp_path / "my table.csv").read_bytes() == b"somebody's own"
    click(result.panel.ui.saveTableButton)
    assert (tmp_path / "my table.csv").read_bytes() == saved
    click(result.panel.ui.saveTableButton)
    assert (tmp_path / "Study 1.2.csv").read_bytes() == saved
    slicer.app.messages.reset()
    # A folder that cannot be written to is told, not raised.
    slicer.app.messages.files.append(str(tmp_path / "my table.csv" / "below a file.csv"))
    click(result.panel.ui.saveTableButton)
    slicer.app.messages.reset()
    assert "Not saved" in result.panel.ui.lesionMessageLabel.text


def test_regions_survive_a_saved_scene(slicer, result, case, tmp_path):
    before = result.column(REGION)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    result.panel.onSceneStartClose()
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    result.show(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0])
    assert result.column(REGION) == before


def test_an_ensembles_disagreement_is_the_confidence(slicer, result, head):
    from FlairSegLib import scene_bridge

    volume, labels, probabilities = head_with_lesions(head)
    disagreement = np.zeros(labels.shape, np.float16)
    disagreement[labels == LESION] = 0.2
    disagreement[SMALL[0] - 1 : SMALL[0] + 2, 29:33, 50:54] = 0.8
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR")
    card = SimpleNamespace(id="ensemble-v0.1", sha256="ab" * 32, classes=(1, 2, 3), version="0.1", title="Ensemble")
    found = Segmentation(
        volume, labels, probabilities, card, "auto", "cpu", "CPUExecutionProvider", "x", disagreement=disagreement
    )
    segmentation = scene_bridge.segmentation_to_node(found, node)
    result.show(segmentation)
    assert result.column(CONFIDENCE) == ["80", "80", "20"]
    result.panel.ui.confidenceFilter.setCurrentIndex(1)
    result.panel.ui.confidenceSpinBox.setValue(60)
    assert result.numbers() == [3]
    tip = result.panel.ui.lesionTable.item(0, 0).toolTip()
    assert "disagree by 80 %" in tip


def test_a_calibrated_card_makes_confidence_the_share_that_readers_drew(slicer, result, head):
    volume, node = segmented(slicer, head)
    result.show(node)
    ui = result.panel.ui
    assert result.column(CONFIDENCE) == ["90", "90", "55"]
    assert "mean probability of its class" in ui.confidenceFilter.toolTip
    calibration = LesionConfidence(-4.0, 1.1, 0.5)
    _, node = segmented(slicer, head, volume_node=volume, lesion_confidence=calibration)
    result.show(node)

    def expected():
        # Probabilities are kept in steps of 1/255.
        return [100 * calibration.drawn_share(x.mean_probability, x.volume_mm3) for x in result.panel.lesions.rows]

    assert [float(text) for text in result.column(CONFIDENCE)] == pytest.approx(expected(), abs=0.51)
    assert float(result.column(CONFIDENCE)[2]) < 50 < 55
    tip = ui.lesionTable.item(2, 0).toolTip()
    assert f"Readers drew {expected()[2]:.0f} % of such lesions" in tip
    assert "Probability 55 % on average" in tip
    for told in (ui.confidenceFilter.toolTip, ui.lesionTable.horizontalHeaderItem(CONFIDENCE).toolTip()):
        assert "that readers drew" in told
    ui.confidenceFilter.setCurrentIndex(1)
    ui.confidenceSpinBox.setValue(50)
    assert result.numbers() == [3]
    ui.confidenceFilter.setCurrentIndex(0)
    before = result.column(CONFIDENCE)[2]
    k, j, i = SMALL
    result.paint((k, j + 6, i), 9.0)
    assert [float(text) for text in result.column(CONFIDENCE)] == pytest.approx(expected(), abs=0.51)
    assert result.column(CONFIDENCE)[2] != before


def test_confluent_lesions_are_counted_split(slicer, result, head):
    _, node = segmented(slicer, head)
    result.show(node)
    k, j, i = LARGE
    # A second ball beside the large lesion, and a bridge between them.
    for step, radius in ((12, 9.0), (6, 3.0)):
        result.paint((k, j + step, i), radius)
    rows = result.panel._measured.lesion_rows
    assert len(rows) == 3
    assert max(rows, key=lambda row: row.volume_mm3).parts > 1
    assert f"{len(rows)} lesions; {sum(row.parts for row in rows)} when confluent" in result.panel.ui.loadLabel.text


def test_regions_are_found_on_demand_cancelled_and_kept_with_the_volume(slicer, result, head):
    from FlairSegLib import kept_answers

    volume, node = segmented(slicer, head)
    result.show(node)
    ui = result.panel.ui
    assert result.column(REGION) == ["–"] * 3
    click(ui.regionsButton)
    assert ui.regionsButton.text == "Cancel"
    click(ui.regionsButton)
    assert "Cancelled" in ui.regionsMessageLabel.text
    click(ui.regionsButton)
    wait_until(lambda: not result.panel.regions.running, 120)
    result.settle()
    found = result.column(REGION)
    assert not {"–", "Unknown"} & set(found), ui.regionsMessageLabel.text
    assert "not assessed" in ui.disseminationLabel.text
    assert not ui.regionsButton.isVisible()
    kept = kept_answers.kept_regions_of(volume)
    matrix = result.panel._grid.ijk_to_ras
    regions = unpack_regions(kept.answer().full_labels(), matrix)
    rows = lesion_table(result.labels(), matrix, regions=regions)
    assert found == [lesion_words_name(row.region) for row in rows]


def lesion_words_name(region: str) -> str:
    from FlairSegLib.panel.lesion_words import short_region_name

    return short_region_name(region)


def test_where_no_atlas_fits_it_is_told_and_nothing_is_guessed(slicer, result):
    volume, labels = tiny.make_head(shape_kji=(12, 64, 56), spacing_ijk=(3.0, 3.0, 10.0))
    _, node = in_scene(slicer, [(volume, labels)])[0]
    result.show(node)
    ui = result.panel.ui
    click(ui.regionsButton)
    wait_until(lambda: not result.panel.regions.running, 120)
    result.settle()
    assert "Regions of lesions are given as unknown" in ui.regionsMessageLabel.text
    assert set(result.column(REGION)) == {"–"}
    assert ui.disseminationLabel.text == ""
    assert ui.regionsButton.isVisible()


def test_figures_of_lesions_need_no_scikit_image(slicer, result, head, monkeypatch):
    import sys

    for name in ("skimage", "skimage.morphology", "skimage.segmentation"):
        monkeypatch.setitem(sys.modules, name, None)
    _, node = segmented(slicer, head)
    result.show(node)
    assert result.numbers() == [1, 2, 3]
    assert "–" not in result.column(DIAMETER)
    assert result.panel.ui.saveTableButton.enabled
    wait_until(lambda: not result.panel.busy, 5)
