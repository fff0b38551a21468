"""The lesions of a case are measured once, whatever is written of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flairseg.anatomy.packing import unpack_regions
from flairseg.anatomy.regions import WHITE_MATTER
from flairseg.cli import app
from flairseg.labels import LESION
from flairseg.report import CaseReport
from flairseg.segmentation.writing import write_segmentation
from flairseg.worker.export import HTML, PDF, write_export
from flairseg.worker.tasks import ExportRequest
from typer.testing import CliRunner


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Names of what measured lesions, a call each."""
    from flairseg.anatomy import lesion_table
    from flairseg.lesions import components
    from flairseg.report import gathering

    made: list[str] = []
    for name, modules in {
        "find_lesions": (components, lesion_table, gathering),
        "lesion_table": (lesion_table, gathering),
    }.items():
        real = getattr(modules[0], name)

        def counted(*arguments, name=name, real=real, **named):
            made.append(name)
            return real(*arguments, **named)

        for module in modules:
            monkeypatch.setattr(module, name, counted)
    return made


@pytest.fixture
def fresh(segmentation):
    """A result of which nothing is measured yet."""
    return replace(segmentation, measured=type(segmentation.measured)(), seconds=dict(segmentation.seconds))


def located(result):
    """The result with white matter everywhere: the small head has no brain that an atlas could be registered to."""
    codes = np.full(result.labels.shape, WHITE_MATTER, np.uint8)
    return replace(result, regions=unpack_regions(codes, result.volume.ijk_to_ras))


def test_files_report_and_summary_share_one_measurement(fresh, tmp_path, calls):
    write_segmentation(fresh, tmp_path, "case")
    report = CaseReport.from_segmentation(replace(fresh, warnings=["One."]), regions=False)
    assert report.html()
    assert len(report.case.rows) == fresh.lesion_count == fresh.summary()["lesion_count"] > 0
    assert calls == ["find_lesions", "lesion_table"]


def test_regions_add_a_table_and_no_search(fresh, calls):
    found = located(fresh)
    assert found.lesion_rows()
    report = CaseReport.from_segmentation(found)
    assert report.case.has_regions
    assert found.summary()["regions"]
    assert calls == ["find_lesions", "lesion_table"]
    assert {row.region for row in fresh.lesion_rows()} == {"unknown"}, "regions of a copy are not those of the result"
    assert calls == ["find_lesions", "lesion_table", "lesion_table"]


def test_an_export_measures_once(segmentation, tmp_path, calls):
    regions = np.zeros(segmentation.labels.shape, np.uint8)
    request = ExportRequest(
        segmentation.volume, segmentation.labels, str(tmp_path), "case", [HTML, PDF],
        answer=segmentation.compact_answer(), regions=regions,
    )  # fmt: skip
    assert len(write_export(request).files) == 2
    assert calls == ["find_lesions", "lesion_table"]


def test_the_command_measures_once(head_file, model, tmp_path, calls):
    run = CliRunner().invoke(app, ["segment", str(head_file), "-o", str(tmp_path), "-m", str(model), "--no-regions"])
    assert run.exit_code == 0, run.output
    assert calls == ["find_lesions", "lesion_table"]


def test_a_report_of_files_takes_the_measurements_of_the_summary(segmentation, head_file, tmp_path, calls):
    written = write_segmentation(located(segmentation), tmp_path, "case")
    calls.clear()
    case = CaseReport.from_files(written["summary"], head_file).case
    assert case.has_regions
    # The lesions are numbered anew, which shows whether the labels are still those of the summary.
    assert calls == ["find_lesions"]


@pytest.mark.parametrize("axis", range(3))
def test_labels_moved_in_place_are_measured_anew(fresh, calls, axis):
    """The same lines of labels, a voxel farther along K, J or I."""
    result = replace(fresh, labels=fresh.labels.copy())
    before = result.lesion_rows()
    assert result.lesion_rows() == before
    result.labels[:] = np.roll(result.labels, 1, axis)
    after = result.lesion_rows()
    assert [row.centre_ras_mm for row in after] != [row.centre_ras_mm for row in before]
    assert calls.count("lesion_table") == 2


def test_labels_edited_in_place_are_measured_anew(fresh, calls):
    result = replace(fresh, labels=fresh.labels.copy())
    before = result.lesion_rows()
    largest = result.lesion_map()
    result.labels[largest.box][largest.components == before[0].number] = 0
    after = result.lesion_rows()
    assert [row.volume_mm3 for row in after] == [row.volume_mm3 for row in before[1:]]
    assert result.lesion_count == len(before) - 1
    assert fresh.lesion_count == len(before), "the other copy has its own labels"
    assert int(np.count_nonzero(result.labels == LESION)) > 0
    assert calls.count("lesion_table") == 2


def test_what_was_measured_keeps_no_image_alive(fresh):
    import gc
    import weakref

    result = replace(fresh, probabilities=fresh.probabilities.copy())
    kept, probabilities = result.measured, weakref.ref(result.probabilities)
    result.lesion_rows()
    del result
    gc.collect()
    assert kept is not None
    assert probabilities() is None
