"""The model in use was adapted to a site: scans unlike the site's are read by its parent, and the panel says so."""

from __future__ import annotations

import pytest
from flairseg.models import choosing, store
from flairseg.worker import handlers
from flairseg.worker.tasks import FollowRequest, FollowStudy, SegmentRequest

from Testing.core.scoped_models import PARENT, SITE, foreign_scan, make_scoped, site_scan
from Testing.harness.interaction import click, wait_until
from Testing.slicer.panel_driver import settle, shown
from Testing.slicer.test_panel_run import RUN_S


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Both models; the adapted one is in use. The worker process finds them where the environment says."""
    folder = tmp_path / "models"
    for module in (store, choosing):
        monkeypatch.setattr(module, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(store, "DEFAULT_MODEL", PARENT)
    monkeypatch.setenv(store.ENVIRONMENT, str(folder))
    make_scoped(folder)
    choosing.use(store.find_model(SITE))
    return folder


@pytest.fixture
def panel(models, open_panel):
    widget = open_panel(height=1400)
    widget.ui.deviceComboBox.setCurrentIndex(1)
    return widget


def load(panel, slicer, volume):
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR")
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    return node


def test_what_is_asked_for_is_the_model_in_use_unless_another_was_chosen(panel, slicer, monkeypatch):
    asked = []

    def start(node, modelId, device, inUse, regions):
        asked.append((modelId, inUse))

    monkeypatch.setattr(panel.run.controller, "start", start)
    load(panel, slicer, site_scan())
    ui = panel.ui
    assert panel.model.modelId == SITE
    assert ui.anyScanCheckBox.isVisible()
    panel.run.start()
    click(ui.anyScanCheckBox)
    panel.run.start()
    click(ui.anyScanCheckBox)
    ui.modelComboBox.setCurrentIndex(ui.modelComboBox.findData(PARENT))
    assert not ui.anyScanCheckBox.isVisible()
    panel.run.start()
    assert asked == [(SITE, True), (SITE, False), (PARENT, False)]
    # Ticked for one model in use, it says nothing of the next.
    ui.modelComboBox.setCurrentIndex(ui.modelComboBox.findData(SITE))
    click(ui.anyScanCheckBox)
    choosing.rollback()
    panel.model.refresh()
    assert not ui.anyScanCheckBox.checked
    assert not ui.anyScanCheckBox.isVisible()


def test_a_scan_unlike_the_site_is_read_by_the_parent_and_the_panel_says_so(panel, slicer):
    from FlairSegLib import kept_answers, segment_tags

    load(panel, slicer, foreign_scan())
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, RUN_S)
    node = panel.result.segmentationNode
    assert segment_tags.first_tag(node, segment_tags.MODEL) == PARENT
    assert segment_tags.first_tag(node, segment_tags.MODEL_SHA256) == store.find_model(PARENT).sha256
    message = shown(panel.ui.statusLabel)
    assert f"Segmented with {PARENT}, the model that {SITE} was adapted from" in message
    assert "slice distance 4.00 mm; 8.00 mm at adaptation" in message
    assert "unlike-adaptation" in [one.code for one in kept_answers.warnings_of(node)]
    assert panel.ui.modelCollapsibleButton.text.startswith("Grey levels – CPU – ")


def test_the_worker_reads_with_the_model_that_was_asked_for(models):
    def used(volume, in_use):
        return handlers.run(SegmentRequest(volume, SITE, "cpu", in_use)).card.id

    assert used(site_scan(), True) == SITE
    assert used(foreign_scan(), True) == PARENT
    assert used(foreign_scan(), False) == SITE
    pair = [FollowStudy(foreign_scan("first")), FollowStudy(foreign_scan("second"))]
    changes = handlers.run(FollowRequest(pair, SITE, "cpu", in_use=True)).changes
    assert [study.model_id for study in changes.studies] == [PARENT, PARENT]
