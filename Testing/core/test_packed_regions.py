"""A region map comes back from its text as it was, on any grid."""

from __future__ import annotations

import numpy as np
from flairseg.anatomy.packing import pack_regions, unpack_regions
from flairseg.anatomy.regions import CODE_NAMES, RegionMap
from flairseg.image.packed import CompactAnswer

AFFINE = np.array([[-1.0, 0, 0, 30], [0, 2, 0, -40], [0, 0, 6, -10], [0, 0, 0, 1]])


def test_codes_and_lateral_come_back():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, max(CODE_NAMES) + 1, (5, 12, 9)).astype(np.uint8)
    lateral = rng.random(codes.shape) < 0.3
    given = RegionMap(codes, lateral, True, None, np.eye(4), (1.0, 2.0, 6.0), 0)
    answer = CompactAnswer.from_labels_text(pack_regions(given))
    back = unpack_regions(answer.full_labels(), AFFINE)
    np.testing.assert_array_equal(back.codes, codes)
    np.testing.assert_array_equal(back.lateral, lateral)
    assert (back.found, back.spacing, back.normal) == (True, (1.0, 2.0, 6.0), 0)


def test_of_a_case_without_atlas_nothing_is_kept():
    assert pack_regions(RegionMap.nothing((3, 4, 5), AFFINE, "No brain was found.")) == ""
