"""Reference sessions: S5's two steps, S4's agreement, and their history."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from flairseg.study.consensus import DOT_DISTANCE_MM, combined, dice_of, dots_of
from flairseg.study.errors import ReferenceStepError, StudyStateError, TamperedError
from flairseg.study.events import Agreed, Compared, Delineated, DotJudged, DotsMade, Returned
from flairseg.study.images import read_neutral_labels
from flairseg.study.reference import ReferenceSession, start
from flairseg.study.reference_setup import (
    DELINEATE,
    DELINEATE_ACCEPTED,
    DELINEATE_AGAIN,
    INTERSECTION,
    JUDGE_DOTS,
    MAJORITY,
    TWO_STEPS,
    UNION,
    UNTIL_AGREEMENT,
    WAIT,
    ReferenceSetup,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.study_data import SHAPE_KJI, FakeClock, affine, ras_of, write_nifti

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")


def mask(*places) -> np.ndarray:
    """Lesions of 1 x 3 x 3 voxels around places (k, j, i)."""
    labels = np.zeros(SHAPE_KJI, np.uint8)
    for k, j, i in places:
        labels[k, j - 1 : j + 2, i - 1 : i + 2] = 3
    return labels


A, B, C = (2, 6, 5), (3, 14, 12), (4, 18, 6)


@pytest.fixture
def images(tmp_path):
    image = np.random.default_rng(0).integers(100, 900, SHAPE_KJI).astype(np.int16)
    write_nifti(image, tmp_path / "flair.nii.gz")
    write_nifti(mask(C), tmp_path / "tool.nii.gz")
    return tmp_path


def begin(images, method, **more) -> ReferenceSession:
    setup = ReferenceSetup("ref-1", {"p1": str(images / "flair.nii.gz")}, ("H1", "H2"), method, **more)
    return start(images / "reference", setup)


def task(session, reader="H1"):
    tasks = session.tasks(reader)
    return tasks[0].what if tasks else None


def kinds(session) -> list[str]:
    return [event.kind for event in session.reference("p1").history]


def test_s5_in_two_steps(images):
    clock = FakeClock()
    begin(images, TWO_STEPS, tools={"p1": [str(images / "tool.nii.gz")]}, wait_days=180).close()
    with ReferenceSession(images / "reference", clock) as session:
        assert task(session) == DELINEATE
        session.save_mask("p1", "H1", mask(A), 60)
        assert task(session) == WAIT
        assert session.dots("p1") == ()
        session.save_mask("p1", "H2", mask(A, B), 90)
        # Dots at the centre of mass of every lesion that anyone, human or tool, had drawn.
        dots = session.dots("p1")
        assert np.allclose(sorted(d.ras for d in dots), sorted(ras_of(place) for place in (A, B, C)), atol=1e-3)
        assert not any(hasattr(dot, "drawn_by") for dot in dots)
        (waiting,) = session.tasks("H1")
        assert (waiting.what, waiting.until - clock.now()) == (WAIT, timedelta(days=180))
        with pytest.raises(ReferenceStepError):
            session.judge("p1", "H1", dots[0].id, True)
        clock.go(181 * 86400)
        at = {tuple(round(x) for x in d.ras): d.id for d in dots}
        a, b, c = (at[tuple(round(x) for x in ras_of(place))] for place in (A, B, C))
        for reader, accepted in (("H1", (True, True, False)), ("H2", (True, False, False))):
            assert task(session, reader) == JUDGE_DOTS
            for dot, yes in zip((a, b, c), accepted, strict=True):
                session.judge("p1", reader, dot, yes)
            assert task(session, reader) == DELINEATE_ACCEPTED
            assert session.judged("p1", reader) == dict(zip((a, b, c), accepted, strict=True))
        session.judge("p1", "H2", b, True)
        assert (session.own_mask("p1", "H1") == mask(A)).all()
        session.save_mask("p1", "H1", mask(A, B), 30)
        assert session.reference("p1") is None
        session.save_mask("p1", "H2", mask(A, B), 30)
        agreed = session.reference("p1")
        assert task(session) is None
        assert (agreed.labels == mask(A, B)).all()
        assert agreed.agreement == {"H1|H2": 1.0}
        assert agreed.rounds == 2
        assert kinds(session).count(Delineated.kind) == 4
        assert kinds(session).count(DotJudged.kind) == 7
        assert kinds(session).count(DotsMade.kind) == kinds(session).count(Agreed.kind) == 1
        made = next(e for e in agreed.history if isinstance(e, DotsMade))
        by = {tuple(np.round(d.ras).astype(int)): list(d.drawn_by) for d in made.dots}
        assert by[tuple(np.round(ras_of(A)).astype(int))] == ["reader H1", "reader H2"]
        assert by[tuple(np.round(ras_of(C)).astype(int))] == ["tool 1"]
        assert session.problems() == []


def test_s4_goes_back_until_they_agree(images):
    with begin(images, UNTIL_AGREEMENT) as session:
        session.save_mask("p1", "H1", mask(A))
        session.save_mask("p1", "H2", mask(A, B))  # Dice 2/3
        assert session.reference("p1") is None
        assert task(session, "H1") == task(session, "H2") == DELINEATE_AGAIN
        session.save_mask("p1", "H1", mask(A, B, C))
        with pytest.raises(ReferenceStepError):
            session.save_mask("p1", "H1", mask(A))
        session.save_mask("p1", "H2", mask(A, B))  # Dice 36/45 = 0.8
        assert session.reference("p1") is None
    with ReferenceSession(images / "reference") as session:
        nearly = mask(A, B)
        nearly[3, 14, 14] = 3
        session.save_mask("p1", "H2", nearly)
        session.save_mask("p1", "H1", mask(A, B))  # Dice 36/37
        agreed = session.reference("p1")
        assert agreed.rounds == 3
        assert agreed.agreement["H1|H2"] == pytest.approx(36 / 37)
        assert (agreed.labels == nearly).all()  # the union
        assert (read_neutral_labels(agreed.path)[0] == agreed.labels).all()
        assert kinds(session).count(Compared.kind) == 3
        assert kinds(session).count(Returned.kind) == 2
        assert [e.version for e in agreed.history if isinstance(e, Delineated)] == [1, 1, 2, 2, 3, 3]
        assert len(list((images / "reference" / "masks" / "p1").iterdir())) == 6


def test_exactly_085_is_enough(images):
    """S4 sends back what is *below* 0.85: 17 of 20 voxels each, alike."""
    one, other = np.zeros(SHAPE_KJI, np.uint8), np.zeros(SHAPE_KJI, np.uint8)
    one[2, 3, :20], other[2, 3, :17], other[2, 5, :3] = 3, 3, 3
    assert dice_of(one == 3, other == 3) == 0.85
    with begin(images, UNTIL_AGREEMENT, combine=INTERSECTION) as session:
        session.save_mask("p1", "H1", one)
        session.save_mask("p1", "H2", other)
        assert np.count_nonzero(session.reference("p1").labels) == 17


def test_two_empty_masks_agree(images):
    with begin(images, UNTIL_AGREEMENT) as session:
        for reader in ("H1", "H2"):
            session.save_mask("p1", reader, mask())
        assert not session.reference("p1").labels.any()


def test_a_program_that_died_after_the_last_mask_goes_on(images, monkeypatch):
    session = begin(images, UNTIL_AGREEMENT)
    session.save_mask("p1", "H1", mask(A))

    def killed(self, case):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReferenceSession, "_advance", killed)
        with pytest.raises(KeyboardInterrupt):
            session.save_mask("p1", "H2", mask(A))
    session.close()
    with ReferenceSession(images / "reference") as again:
        assert again.reference("p1").agreement == {"H1|H2": 1.0}


def test_changed_masks_and_set_up_are_noticed(images):
    with begin(images, UNTIL_AGREEMENT) as session:
        session.save_mask("p1", "H1", mask(A))
        path = images / "reference" / "masks" / "p1" / "H1_v001.nii.gz"
        write_nifti(mask(B), path)
        assert len(session.problems()) == 1
        with pytest.raises(TamperedError, match="H1_v001"):
            session.own_mask("p1", "H1")
    setup = images / "reference" / "reference.json"
    content = json.loads(setup.read_text())
    content["dice"] = 0.5
    setup.write_text(json.dumps(content))
    with pytest.raises(TamperedError, match=r"reference\.json"):
        ReferenceSession(images / "reference")


def test_steps_out_of_turn_are_refused(images):
    with begin(images, TWO_STEPS) as session:
        for call in (
            lambda: session.tasks("H9"),
            lambda: session.save_mask("p9", "H1", mask(A)),
            lambda: session.judge("p1", "H1", "x", True),
            lambda: session.save_mask("p1", "H1", np.zeros((2, 2, 2), np.uint8)),
        ):
            with pytest.raises(ReferenceStepError):
                call()
        with pytest.raises(StudyStateError):
            begin(images, TWO_STEPS)
    with pytest.raises(StudyStateError):
        ReferenceSession(images / "none")


@pytest.mark.parametrize(
    "wrong",
    [
        {"flairs": {}},
        {"readers": ("H1",)},
        {"readers": ("H1", "H1")},
        {"method": "vote"},
        {"combine": "best"},
        {"dice": 0},
        {"wait_days": -1},
        {"tools": {"p2": []}},
        {"readers": ("../H1", "H2")},
    ],
)
def test_a_set_up_that_makes_no_sense(wrong):
    good = {"id": "r", "flairs": {"p1": "f"}, "readers": ("H1", "H2"), "method": TWO_STEPS}
    with pytest.raises(ValueError, match=r"."):
        ReferenceSetup(**{**good, **wrong})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_combinations_are_nested(seed, readers):
    masks = np.random.default_rng(seed).random((readers, 4, 5, 6)) < 0.5
    every, most, any_ = (combined(list(masks), how) for how in (INTERSECTION, MAJORITY, UNION))
    assert (every == masks.all(axis=0)).all()
    assert (any_ == masks.any(axis=0)).all()
    assert (most == (2 * masks.sum(axis=0) > readers)).all()
    assert 0 <= dice_of(masks[0], masks[1]) <= 1
    assert dice_of(masks[0], masks[0]) == 1


def test_near_dots_are_one():
    one, other = mask(A), mask()
    other[2, 6, 5:7] = 3
    assert len(dots_of({"x": one, "y": other}, affine())) == 1
    far = mask((2, 6, 9))
    assert len(dots_of({"x": one, "y": far}, affine(), DOT_DISTANCE_MM)) == 2
