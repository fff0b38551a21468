"""A reader's desk at a reference session: tasks, masks in the scene's order, dots, and nothing of other readers."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.labels import LESION
from flairseg.study import reference_desk as desk
from flairseg.study.errors import ReferenceStepError
from flairseg.study.images import read_neutral_labels
from flairseg.study.reference import start
from flairseg.study.reference_setup import (
    DELINEATE,
    DELINEATE_ACCEPTED,
    DELINEATE_AGAIN,
    JUDGE_DOTS,
    TWO_STEPS,
    UNTIL_AGREEMENT,
    WAIT,
    ReferenceSetup,
)

from Testing.core.study_data import SHAPE_KJI, FakeClock
from Testing.core.test_study_case_files import LEFT_HANDED
from Testing.core.test_study_queue import Volume, write_nifti

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[study]'")

A, B = (2, 6, 5), (3, 14, 12)


def mask(*places) -> np.ndarray:
    labels = np.zeros(SHAPE_KJI, np.uint8)
    for k, j, i in places:
        labels[k, j - 1 : j + 2, i - 1 : i + 2] = LESION
    return labels


@pytest.fixture
def begin(tmp_path):
    def begin(method, **more):
        image = np.random.default_rng(0).integers(100, 900, SHAPE_KJI).astype(np.int16)
        write_nifti(tmp_path / "flair.nii.gz", image, Volume(image, LEFT_HANDED), np.int16)
        setup = ReferenceSetup("ref", {"p1": str(tmp_path / "flair.nii.gz")}, ("H1", "H2"), method, **more)
        start(tmp_path / "reference", setup).close()
        return tmp_path / "reference"

    return begin


def what(folder, reader, clock=None):
    (row,) = desk.overview(folder, reader, clock).rows
    return row.task.what if row.task else None


def test_until_they_agree(begin):
    folder = begin(UNTIL_AGREEMENT)
    assert desk.overview(folder).setup.readers == ("H1", "H2")
    assert desk.overview(folder).rows == ()
    assert what(folder, "H1") == what(folder, "H2") == DELINEATE
    work = desk.begin(folder, "p1", "H1")
    assert work.mask is None
    assert np.linalg.det(work.grid.volume.ijk_to_ras[:3, :3]) > 0
    row = desk.save_mask(folder, work, "H1", work.grid.turn(mask(A)), 12.5)
    assert row.task.what == WAIT
    assert row.dice is None
    work = desk.begin(folder, "p1", "H2")
    assert work.mask is None  # H1's stays hidden
    row = desk.save_mask(folder, work, "H2", work.grid.turn(mask(A, B)))
    assert (row.task.what, row.task.round) == (DELINEATE_AGAIN, 2)
    assert row.dice == pytest.approx(2 / 3)
    work = desk.begin(folder, "p1", "H1")
    assert np.array_equal(work.mask, work.grid.turn(mask(A)))
    desk.save_mask(folder, work, "H1", work.grid.turn(mask(A, B)))
    row = desk.save_mask(folder, work, "H2", work.grid.turn(mask(A, B)))
    assert (row.task, row.dice) == (None, 1.0)
    # On the grid of the image's file, not of the scene.
    labels, affine = read_neutral_labels(row.reference)
    assert np.array_equal(labels, mask(A, B))
    assert affine == pytest.approx(LEFT_HANDED)
    with pytest.raises(ReferenceStepError):
        desk.begin(folder, "p1", "H1")


def test_two_steps(begin):
    folder, clock = begin(TWO_STEPS, wait_days=30), FakeClock()
    for reader, places in (("H1", (A,)), ("H2", (A, B))):
        work = desk.begin(folder, "p1", reader, clock)
        desk.save_mask(folder, work, reader, work.grid.turn(mask(*places)), clock=clock)
    (row,) = desk.overview(folder, "H1", clock).rows
    assert (row.task.what, row.dots, row.judged) == (WAIT, 2, 0)
    assert row.task.until is not None
    clock.go(31 * 86400)
    work = desk.begin(folder, "p1", "H1", clock)
    assert work.task.what == JUDGE_DOTS
    # Dots are points in the world: those of the scene's grid are those of the file.
    voxels = {tuple(int(n) for n in np.rint(np.linalg.solve(LEFT_HANDED, [*d.ras, 1]))[2::-1]): d.id for d in work.dots}
    assert set(voxels) == {A, B}
    assert desk.judge(folder, "p1", "H1", voxels[A], True, clock) == {voxels[A]: True}
    desk.judge(folder, "p1", "H1", voxels[B], False, clock)
    assert what(folder, "H1", clock) == DELINEATE_ACCEPTED
    assert desk.begin(folder, "p1", "H1", clock).judged == {voxels[A]: True, voxels[B]: False}
