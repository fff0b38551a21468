"""Injected lesions have the size and contrast that they are said to have; the grade counts what was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flairseg.errors import FlairSegError
from flairseg.image.volume import Volume
from flairseg.longitudinal import followup
from flairseg.longitudinal.grading import SIZES_MM3, grade, repositioned
from flairseg.longitudinal.injecting import CONTRAST, inject, own_contrast
from flairseg.longitudinal.result import SelfGrade, SizeGrade
from flairseg.longitudinal.studies import Study
from flairseg.report.case import change_of
from flairseg.report.lesion_tables import grade_lines
from flairseg.report.texts import load_texts

from Testing.core.change_heads import scan
from Testing.core.report_data import followup as followup_content

SPACING = (1.0, 1.0, 3.0)


def ball(shape: tuple[int, int, int] = (30, 90, 90)) -> tuple[Volume, np.ndarray]:
    """Tissue of grey level 200, a ball of 40 mm, and its mask."""
    k, j, i = np.indices(shape) - np.reshape([(n - 1) / 2 for n in shape], (3, 1, 1, 1))
    mask = (3 * k) ** 2 + j**2 + i**2 < 40**2
    return Volume(np.where(mask, 200.0, 0.0).astype(np.float32), np.diag([*SPACING, 1.0]), "ball"), mask


@pytest.mark.parametrize("mm3", [14.0, 65.0, 524.0])
def test_an_injected_lesion_has_its_volume_and_contrast(mm3):
    volume, mask = ball()
    after, lesions = inject(volume, mask, np.zeros(mask.shape, bool), [mm3] * 4, [0.4] * 4, np.random.default_rng(2))
    assert len(lesions) == 4
    added = after.array - volume.array
    # What is added in all is volume times contrast times the median.
    assert added.sum() * volume.voxel_mm3 == pytest.approx(4 * mm3 * 0.4 * 200, rel=0.12)
    assert added.min() == 0
    assert added.max() <= 0.4 * 200 + 1e-3
    for one in lesions:
        # Slices of 3 mm that are filled by less than half are not counted.
        assert len(one.voxels) * volume.voxel_mm3 == pytest.approx(mm3, abs=max(0.5 * mm3, 13))
        middle = volume.ijk_to_ras[:3, :3] @ one.voxels.mean(axis=0)[::-1] + volume.ijk_to_ras[:3, 3]
        assert np.linalg.norm(middle - one.centre_ras) < 2
        assert mask[tuple(one.voxels.T)].all()


def test_injected_lesions_keep_apart_from_each_other_and_from_what_is_there():
    volume, mask = ball()
    avoid = np.zeros(mask.shape, bool)
    avoid[15, 45, 45] = True
    _, lesions = inject(volume, mask, avoid, [113.0] * 12, [0.3] * 12, np.random.default_rng(5))
    places = [volume.ijk_to_ras[:3, :3] @ [45, 45, 15], *(one.centre_ras for one in lesions)]
    apart = [np.linalg.norm(np.subtract(a, b)) for n, a in enumerate(places) for b in places[:n]]
    assert min(apart) > 6 + 2
    full, none = inject(volume, mask, np.ones(mask.shape, bool), [14.0], [0.3], np.random.default_rng(0))
    assert none == []
    assert np.array_equal(full.array, volume.array)


def test_the_contrast_is_that_of_the_scans_own_lesions():
    volume, mask = ball()
    labels = np.zeros(mask.shape, np.uint8)
    labels[12:15, 40:46, 40:46] = 3
    bright = volume.with_array(np.where(labels == 3, 290, volume.array).astype(np.float32))
    assert own_contrast(bright, labels, mask) == pytest.approx(0.45, abs=0.01)
    assert own_contrast(volume, np.zeros_like(labels), mask) == CONTRAST


def segmenter(threshold: float):
    """Stands in for the model: what is brighter than a share of the median is lesion, with probability 0.9."""

    def segment(volume, model=None, device="auto", progress=None, cancel=None):
        inside = volume.array > 0.5 * np.median(volume.array[volume.array > 60])
        lesion = volume.array > threshold * np.median(volume.array[inside])
        chance = np.where(lesion, 0.9, 0.0)
        from types import SimpleNamespace

        labels = np.where(lesion, 3, 0).astype(np.uint8)
        return SimpleNamespace(
            volume=volume, labels=labels, probabilities=np.stack([1 - chance, 0 * chance, 0 * chance, chance])
        )

    return segment


def test_a_follow_up_that_sees_lesions_finds_the_large_injected_ones(monkeypatch):
    studies = []
    for seed in (0, 1):
        volume, labels = scan(seed=seed, name=f"study{seed}")
        chance = (labels == 3).astype(np.float32)
        probabilities = np.stack([1 - chance, 0 * chance, 0 * chance, chance])
        studies.append(Study(volume, labels, probabilities, None, False, volume.name))
    queue = iter(studies)
    monkeypatch.setattr("flairseg.longitudinal.followup.load_study", lambda *_: next(queue))
    result = followup.follow([s.volume for s in studies])
    monkeypatch.setattr("flairseg.segmentation.pipeline.segment", segmenter(1.25))

    found = grade(result)

    assert [s.volume_mm3 for s in found.sizes] == list(SIZES_MM3)
    assert all(0 <= s.found <= s.injected == 3 for s in found.sizes)
    assert found.compared > 0
    assert len(found.false_changes) <= found.compared
    large = found.sizes[-1]
    assert large.found >= 2
    written = replace(result, self_grade=found).summary()["self_grade"]
    assert [(s["volume_mm3"], s["count"], s["found"]) for s in written["injected"]] == [
        (s.volume_mm3, s.injected, s.found) for s in found.sizes
    ]
    assert "self_grade" not in result.summary()
    given = replace(result, studies=(result.studies[0], replace(result.studies[1], given=True)))
    with pytest.raises(FlairSegError) as error:
        grade(given)
    assert error.value.code == "self-grade-needs-model"


def test_a_copy_is_the_scan_moved():
    volume, _ = scan()
    copy, motion = repositioned(volume, 3)
    assert copy.array.shape == volume.array.shape
    assert not np.allclose(motion, np.eye(4))
    assert np.allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3))
    again, same = repositioned(volume, 3)
    assert np.array_equal(copy.array, again.array)
    assert np.array_equal(motion, same)


def test_a_report_shows_the_grade_and_nothing_that_it_cannot_understand():
    kept = SelfGrade((SizeGrade(14.0, 3, 1), SizeGrade(65.0, 3, 2)), 0.4, (("shrinking", 189.4),), 21, 0).as_dict()
    content = followup_content("case") | {"self_grade": kept}
    change = change_of(content)
    told = " ".join(grade_lines(change.grade, load_texts("en")))
    assert "1 of 3 of 14 mm³; 2 of 3 of 65 mm³" in told
    assert "called 1 of 21 lesions changed. shrinking 189 mm³." in told
    assert change_of(followup_content("case")).grade is None
    for key, value in (("injected", []), ("injected", [{"volume_mm3": 5, "count": 2, "found": 3}]), ("compared", None),
                       ("false_changes", [{"state": "grown", "volume_mm3": 3}])):  # fmt: skip
        assert change_of(content | {"self_grade": {**kept, key: value}}).grade is None
