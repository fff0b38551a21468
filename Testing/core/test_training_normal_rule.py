"""The calibration of the rule for normal WMH finds the rim and the brightness by which an annotation was made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")

from training.calibrate_normal import Annotated, table
from training.normal_rule import normal_rim


@pytest.fixture
def patient() -> Annotated:
    """Noise in which every brightness occurs, around a ventricle, beside a lesion."""
    rng = np.random.default_rng(2)
    shape = (3, 60, 60)
    ventricles, lesions = np.zeros((2, *shape), bool)
    ventricles[:, 20:40, 25:35] = True
    lesions[:, 30:40, 37:45] = True
    image = rng.uniform(600, 1400, shape).astype(np.float32)
    nothing = np.zeros(shape, bool)
    return Annotated("p1", image, ventricles, lesions, nothing, ~ventricles, 0.9, slice(None))


@pytest.mark.parametrize(("rim_mm", "brightness"), [(3.0, 1.18), (5.5, 1.3)])
def test_the_best_row_is_the_rule_that_the_annotation_follows(patient, rim_mm, brightness):
    masks = (patient.ventricles, patient.lesions, patient.brain)
    drawn = normal_rim(patient.image, *masks, patient.pixel_mm, rim_mm, brightness)
    assert drawn.any()
    one = dataclasses.replace(patient, normal=drawn)
    # Of another one only the middle slice counts, which was annotated by the same rule.
    other = dataclasses.replace(one, normal=drawn & (np.arange(3) == 1)[:, None, None], slices=slice(1, 2))
    best, second = table([one, other])[:2]
    assert best == (rim_mm, brightness, [1.0, 1.0])
    assert np.mean(second[2]) < 1
