"""A scan against another scan of the same, unchanged head, by the default model: nothing is new there.

``python -m training.measure_follow`` is the long version: twenty trials, real scans among them.
"""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.longitudinal import follow
from flairseg.longitudinal.grading import repositioned
from flairseg.phantom import Scan, make_phantom
from flairseg.segmentation.pipeline import segment

MODEL = "flairseg2d-v1.0"
SHAPE, SPACING = (18, 176, 160), (1.3, 1.3, 7.0)


@pytest.fixture(scope="module")
def phantom():
    """One head, its scan and the labels of the default model."""
    made = make_phantom(5, shape=SHAPE, spacing_mm=SPACING)
    return segment(made.volume, MODEL)


def test_a_head_scanned_again_with_other_slices_has_nothing_new(phantom):
    again = make_phantom(5, (19, 170, 156), (1.35, 1.35, 6.4), scan=Scan(noise=0.03, tilt_deg=-5.0)).volume

    result = follow([phantom, segment(again, MODEL)])

    assert result.counts["new"] == result.counts["resolved"] == 0
    assert result.counts["stable"] > 5
    # Both label maps differ, so that there was something to be deceived by.
    first, last = (np.zeros(result.change_map.shape, bool) for _ in (0, 1))
    for lesion in result.lesions:
        for mask, inside in zip((first, last), (lesion.track.inside[0], lesion.track.inside[-1]), strict=True):
            mask[tuple(lesion.track.voxels[inside].T)] = True
    assert 2 * (first & last).sum() / (first.sum() + last.sum()) < 0.95


def test_a_turned_and_noisier_copy_has_nothing_new(phantom):
    copy, motion = repositioned(phantom.volume, 7)

    result = follow([phantom, copy], model=MODEL)

    assert result.counts["new"] == result.counts["resolved"] == 0
    found = result.registrations[0].a_to_b
    corners = np.array([[x, y, z, 1.0] for x in (-60, 60) for y in (-80, 80) for z in (-50, 60)])
    assert np.linalg.norm((corners @ found.T - corners @ motion.T)[:, :3], axis=1).max() < 1.0
