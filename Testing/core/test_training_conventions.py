"""What measures the shares of masks that a proof cannot judge."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[adapt]'")

from flairseg.adapt.framed import Case
from flairseg.models.card import PipelineConfig

from Testing.core.site_cases import SITE_PIPELINE, site_head
from training import measure_conventions as measured


def reference() -> np.ndarray:
    drawn = np.zeros((3, 40, 40), np.uint8)
    drawn[:, 15:25, 15:25] = 1
    drawn[:, 10:15, 15:25] = 2
    drawn[0, 26:31, 15:25] = 2
    drawn[:, 2:8, 2:8] = drawn[0, 30:36, 30:36] = 3
    return drawn


@pytest.mark.parametrize(
    ("way", "stated"),
    [
        ("as annotated", set()),
        ("normal as lesions", {"normal-drawn-as-lesions"}),
        ("half of normal as lesions", {"normal-drawn-as-lesions"}),
        ("every other lesion left out", {"lesions-not-drawn"}),
        ("lesions eroded by 1", {"lesions-not-drawn"}),
        ("lesions dilated by 2", set()),
    ],
)
def test_shares_are_those_of_persons_and_scans_of_one_person_are_one(way, stated, tmp_path):
    for name in ("101228", "104670", "106639", "107130", "112776"):
        np.savez(tmp_path / f"{name}.npz", labels=reference(), reference=reference())
    assert measured.person_of("112776") == measured.person_of("107130") == "107130"
    lines = measured.against_results(tmp_path, measured.WAYS[way])
    assert {line.split()[0] for line in lines if line.endswith("STATED")} == stated
    assert all("(" in line for line in lines)


def test_displaced_masks_are_found_by_the_images_alone():
    cases = [Case(f"p{n}", *site_head(n)) for n in (1, 2, 3)]
    config = PipelineConfig.from_dict(SITE_PIPELINE)
    assert not any(line.endswith("STATED") for line in measured.by_images(cases, config, lambda labels: labels))
    moved = measured.by_images(cases, config, measured.WAYS["moved by 1"])
    assert "masks-displaced-alike 1.00 STATED" in moved
