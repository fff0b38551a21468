"""The module FLAIR Review as Slicer loads it: shell, tabs, reload, and a panel that fits."""

from __future__ import annotations

import pytest

from Testing.slicer.review_driver import StudyDriver, lock_study

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")


@pytest.fixture
def module(main_window, load_module):
    load_module("FlairSegReview")
    main_window("FlairSegReview")
    import slicer

    return slicer.modules.FlairSegReviewWidget


def test_it_introduces_itself(module, slicer):
    told = slicer.modules.flairsegreview
    assert told.title == "FLAIR Review"
    assert told.categories == ("Segmentation",)
    assert "not a medical device" in told.helpText
    assert "Bashiri Bawil" in told.helpText


def test_another_tab_or_module_is_a_pause_and_gives_the_keys_back(module, slicer, tmp_path):
    tabs = module.ui.reviewTabs
    tabs.setCurrentIndex(1)
    driver = StudyDriver(slicer, module.study, slicer.util.mainWindow(), None)
    driver.open(lock_study(tmp_path, 2) / "rooms" / "R1")
    assert module.study._keys.bound
    slicer.util.selectModule("")
    assert module.study.page == "paused"
    assert not module.study._keys.bound
    slicer.util.selectModule("FlairSegReview")
    assert module.study._keys.bound
    driver.keys("Return")
    assert module.study.page == "rating"


def test_it_is_reloaded_with_its_packages(module, slicer):
    slicer.modules.flairsegreview.widgetRepresentation().reload()
    assert slicer.modules.FlairSegReviewWidget is not module
    module.cleanup()


def test_a_developer_reloads_it_while_it_is_shown(module, slicer):
    module.onReload()
    again = slicer.modules.FlairSegReviewWidget
    assert again is not module
    assert again._entered is again.queue, "the panel is entered without being chosen again"
    assert module._tabs == []


@pytest.mark.parametrize("page", ["start", "ready", "rating", "answered", "paused", "done"])
def test_no_page_is_wider_than_a_narrow_panel(rater, tmp_path, page):
    questions = [
        {"id": "acceptable", "text": "Is this mask clinically acceptable, as it is?", "type": "Acceptability"},
        {"id": "quality", "text": "Borders?", "type": "Likert_5", "labels": ["useless", "", "", "", "excellent"]},
    ]
    rater.choose(lock_study(tmp_path, 2, questions=questions, confidence=True, time_limit_s=600) / "rooms" / "R1")
    rater.keys("Return")
    rater.tab._show_page(page)
    rater.slicer.app.processEvents()
    assert rater.tab._pages[page].minimumSizeHint.width() <= 380


def test_the_coordinator_fits_into_a_narrow_panel(rater):
    rater.ui.coordinatorSection.collapsed = False
    rater.slicer.util.findChild(rater.ui.coordinatorSection, "newProtocolButton").setChecked(True)
    rater.slicer.app.processEvents()
    for section in (rater.tab.coordinator.ui.FlairSegStudyCoordinator, rater.tab.coordinator.ui.protocolEditor):
        assert section.minimumSizeHint.width() <= 360
