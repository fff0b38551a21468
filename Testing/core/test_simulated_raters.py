"""The demonstration's raters: they find what differs from the reference, whichever way round it is shown."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from flairseg.study import Study, lock, tables
from flairseg.study.images import resolve

from Testing.core.study_data import ARMS, write_protocol

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def raters(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    sys.modules.pop("simulated_raters", None)
    import simulated_raters

    # Sure of everything, so that what is found can be told beforehand.
    for name in ("SEES_FALSE", "SEES_MISSING_SMALL", "SEES_MISSING"):
        monkeypatch.setattr(simulated_raters, name, 1.0)
    for name in ("DOUBTS_TRUE", "OVERRULES"):
        monkeypatch.setattr(simulated_raters, name, 0.0)
    return simulated_raters


def test_they_mark_what_differs_and_answer_everything(raters, tmp_path):
    protocol = write_protocol(tmp_path, mirror_repeats=True, confidence=True)
    study = lock(protocol, tmp_path / "study")
    cases = json.loads(protocol.read_text(encoding="utf-8"))["cases"]
    # The first arm has three lesions and is the reference; the second lacks one of them.
    pairs = {resolve(tmp_path, c["flair"]): resolve(tmp_path, c["arms"][0]["mask"]) for c in cases}
    later = raters.FIRST_SITTING + timedelta(days=1)
    for rater in ("R1", "R2"):
        assert raters.rate_room(study.room_folder(rater), raters.References(pairs), 1, limit=5) == 5
        assert raters.rate_room(study.room_folder(rater), raters.References(pairs), 2, start=later) == 7
    study.close()
    found = [r for r in tables(Study(study.folder)).ratings if r.question == "acceptable"]
    assert len(found) == 3 * 2 * 2 * 2
    assert any(r.mirrored for r in found)
    for rating in found:
        missed = 0 if rating.arm == ARMS[0] else 1
        assert (rating.false_positives, rating.false_negatives) == (0, missed)
        assert rating.value == rating.proposed == ("unacceptable" if missed else "acceptable")
        assert rating.active_seconds > 10
