"""Regions of lesions at the limits of their definitions, on painted anatomy with slices along any axis."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.anatomy.dissemination import dissemination
from flairseg.anatomy.regions import (
    BRAIN_STEM,
    CEREBELLUM,
    CORTEX,
    DEEP_GRAY,
    FLUID,
    OUTSIDE,
    WHITE_MATTER,
    Fit,
    RegionMap,
    lesion_regions,
)
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.lesions.components import find_lesions

#: Slices, rows, columns: 5 mm, 1 mm, 1 mm.
SHAPE, STEPS = (9, 40, 40), (5.0, 1.0, 1.0)


class Head:
    """Anatomy and labels as slices, rows and columns; stored with the slices along any array axis."""

    def __init__(self, rows_mm: float = 1.0) -> None:
        self.codes = np.full(SHAPE, WHITE_MATTER, np.uint8)
        self.labels = np.zeros(SHAPE, np.uint8)
        self.lateral = np.ones(SHAPE, bool)
        self.steps = (STEPS[0], rows_mm, STEPS[2])

    def region(self, normal: int = 0) -> str:
        """Region of the one lesion."""
        moved = [np.moveaxis(array, 0, normal) for array in (self.codes, self.labels, self.lateral)]
        steps = list(self.steps[1:])
        steps.insert(normal, self.steps[0])
        spacing = tuple(steps[::-1])
        fit = Fit(0.95, 1.0, 0.95, (1.0, 1.0))
        regions = RegionMap(moved[0], moved[2], True, fit, np.eye(4), spacing, normal)
        lesions = find_lesions(moved[1], np.diag([*spacing, 1.0]))
        return lesion_regions(lesions, moved[1], regions)[1]


@pytest.mark.parametrize(("code", "share", "region"), [
    (BRAIN_STEM, 5, "infratentorial"), (CEREBELLUM, 5, "infratentorial"), (BRAIN_STEM, 4, "deep_white_matter"),
    (OUTSIDE, 5, "unknown"), (FLUID, 5, "unknown"), (OUTSIDE, 4, "deep_white_matter"), (FLUID, 4, "deep_white_matter"),
    (DEEP_GRAY, 10, "deep_white_matter"),
])  # fmt: skip
def test_half_of_the_voxels_decide(code, share, region):
    """Of ten voxels."""
    head = Head()
    head.labels[4, 20, 10:20] = LESION
    head.codes[4, 20, 10 : 10 + share] = code
    assert head.region() == region


def test_brain_stem_and_cerebellum_count_together_and_so_do_fluid_and_outside():
    for codes, region in (((BRAIN_STEM, CEREBELLUM), "infratentorial"), ((OUTSIDE, FLUID), "unknown")):
        head = Head()
        head.labels[4, 20, 10:20] = LESION
        head.codes[4, 20, 10:13], head.codes[4, 20, 13:15] = codes
        assert head.region() == region


@pytest.mark.parametrize("normal", [0, 1, 2])
@pytest.mark.parametrize(
    ("offset", "region"),
    [
        # From the nearest ventricle voxel: slices, rows, columns.
        ((0, 1, 0), "periventricular"),
        ((0, 1, 1), "periventricular"),
        ((1, 0, 0), "periventricular"),  # a face from slice to slice
        ((-1, 0, 0), "periventricular"),
        ((1, 1, 0), "deep_white_matter"),  # an edge from slice to slice
        ((2, 0, 0), "deep_white_matter"),
        ((0, 2, 0), "periventricular"),  # 2 mm in the slice
        ((0, 0, -2), "periventricular"),
        ((0, 2, 1), "deep_white_matter"),  # 2.24 mm
        ((0, 3, 0), "deep_white_matter"),
    ],
)
def test_contact_with_the_lateral_ventricles(normal, offset, region):
    head = Head()
    head.labels[4, 20, 20] = VENTRICLES
    head.labels[tuple(n + by for n, by in zip((4, 20, 20), offset, strict=True))] = LESION
    assert head.region(normal) == region
    head.lateral[:] = False
    assert head.region(normal) == "deep_white_matter", "a third ventricle"


@pytest.mark.parametrize("normal", [0, 1, 2])
@pytest.mark.parametrize(("rim", "region"), [(1, "periventricular"), (4, "periventricular"), (5, "deep_white_matter")])
def test_a_normal_rim_is_followed_as_far_as_rims_are_thick(normal, rim, region):
    head = Head()
    head.labels[4, 10:20, 15:25] = VENTRICLES
    head.labels[4, 20 : 20 + rim, 15:25] = NORMAL_WMH
    head.labels[4, 20 + rim, 18:22] = LESION
    assert head.region(normal) == region
    # In the slice alone: the same rim in the next slice leads nowhere.
    head.labels[5, 15:26, 15:25] = head.labels[4, 15:26, 15:25]
    head.labels[4][head.labels[4] == NORMAL_WMH] = 0
    head.labels[5][head.labels[5] == LESION] = 0
    head.labels[4, 10:26, 15:25][head.labels[4, 10:26, 15:25] == VENTRICLES] = 0
    assert head.region(normal) == "deep_white_matter"


def test_a_rim_elsewhere_is_no_way_to_the_ventricle():
    head = Head()
    head.labels[4, 10:20, 15:25] = VENTRICLES
    head.labels[4, 23, 20] = LESION
    head.labels[4, 24:27, 18:22] = NORMAL_WMH
    assert head.region() == "deep_white_matter"


@pytest.mark.parametrize(
    ("rows_mm", "rows", "region"),
    [
        (0.5, 8, "periventricular"),
        (0.5, 9, "deep_white_matter"),
        (1.5, 2, "periventricular"),
        (1.5, 3, "deep_white_matter"),
    ],
)
def test_rims_are_measured_in_mm(rows_mm, rows, region):
    """Up to 4 mm: 8 rows of 0.5 mm and 2 of 1.5 mm."""
    head = Head(rows_mm)
    head.labels[4, 5:15, 15:25] = VENTRICLES
    head.labels[4, 15 : 15 + rows, 15:25] = NORMAL_WMH
    head.labels[4, 15 + rows, 18:22] = LESION
    assert head.region() == region


@pytest.mark.parametrize(
    ("voxels", "touching", "region"),
    [
        (1, 1, "juxtacortical"),
        (2, 2, "juxtacortical"),
        (2, 1, "deep_white_matter"),  # two of them, if it has two
        (40, 2, "juxtacortical"),
        (41, 2, "deep_white_matter"),  # 4.9 %
        (60, 3, "juxtacortical"),
        (64, 3, "deep_white_matter"),  # 4.7 %
    ],
)
def test_a_twentieth_of_a_lesion_and_two_voxels_touch_the_cortex(voxels, touching, region):
    head = Head()
    rows = 32
    for n in range(voxels):
        head.labels[4, 4 + n % rows, 10 + n // rows] = LESION
    head.codes[4, 4 : 4 + touching, 9] = CORTEX
    assert head.region() == region


@pytest.mark.parametrize("edge", [0, 39])
def test_cortex_at_the_edge_of_the_image(edge):
    head = Head()
    inner = 1 if edge == 0 else 38
    head.codes[4, edge, 10:20] = CORTEX
    head.labels[4, inner, 10:20] = LESION
    assert head.region() == "juxtacortical"
    head.codes[4, edge, 10:20] = WHITE_MATTER
    head.codes[4, 39 - edge, 10:20] = CORTEX
    assert head.region() == "deep_white_matter", "the other edge is far away"


def test_a_map_without_anatomy_says_why_and_has_the_axes_of_its_case():
    found = RegionMap.nothing((4, 5, 6), np.diag([1.0, 1.0, 5.0, 1.0]), "No brain was found.")
    assert (found.found, found.fit, found.normal, found.spacing) == (False, None, 0, (1.0, 1.0, 5.0))
    assert found.codes.shape == found.lateral.shape == (4, 5, 6)
    assert [(str(w), w.code) for w in found.warnings] == [("No brain was found.", "regions-unknown")]


def test_the_sentences_count_right():
    text = dissemination(["unknown", "unknown", "periventricular"], [5.0, 5.0, 5.0]).text
    assert "in 1 of the 3 regions visible on brain FLAIR: periventricular." in text
    assert "The region of 2 lesions could not be determined." in text
    assert "Not counted" not in text
    three = ["periventricular", "infratentorial", "juxtacortical"]
    text = dissemination(three, [5.0] * 3).text
    assert "in 3 of the 3 regions visible on brain FLAIR: " in text
    assert "periventricular, juxtacortical or cortical and infratentorial." in text
    assert "could not" not in text
    small = dissemination(three + three[:1], [1.0, 1.0, 1.0, 2.0])
    assert "periventricular (2), juxtacortical or cortical (1) and infratentorial (1)." in small.text
