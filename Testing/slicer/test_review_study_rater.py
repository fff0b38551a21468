"""A rater in front of the Study tab: clicks, keys, pauses, and what is kept of it."""

from __future__ import annotations

import pytest

from Testing.slicer.review_driver import ELSEWHERE, LESIONS, StudyDriver, lock_study, ras_of

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")

LESION_RAS = tuple(ras_of(centre) for centre, _ in LESIONS)
ELSEWHERE_RAS = ras_of(ELSEWHERE)


@pytest.fixture
def rater(slicer, main_window):
    """The Study tab in a window, driven by a :class:`StudyDriver`."""
    import qt
    from FlairSegLib.review_panel.study_tab import StudyTab
    from FlairSegLib.settings import FlairSegSettings

    holder = qt.QWidget()
    qt.QVBoxLayout(holder)
    window = main_window(holder)
    settings = FlairSegSettings()
    tab = StudyTab(holder, settings)
    tab.enter()
    slicer.app.processEvents()
    yield StudyDriver(slicer, tab, window, settings)
    tab.exit()
    tab.cleanup()


def test_clicks_in_the_view_make_marks(rater, tmp_path):
    rater.open(lock_study(tmp_path, 1) / "rooms" / "R1")
    delineated = rater.counts()[0]
    assert delineated in (2, 3)
    rater.click_at(LESION_RAS[0])
    assert rater.counts() == (delineated, 1, 0)
    rater.click_at(ELSEWHERE_RAS)
    assert rater.counts() == (delineated, 1, 1)
    rater.click_at(LESION_RAS[1], drag=9)
    assert rater.counts() == (delineated, 1, 1)
    rater.click_at(LESION_RAS[0])
    assert rater.counts() == (delineated, 0, 1)
    assert len(rater.session.marks) == 1
    assert rater.session.marks[0].ras == pytest.approx(ELSEWHERE_RAS, abs=1.5)
