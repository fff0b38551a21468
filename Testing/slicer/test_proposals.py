"""Sliders of the lesion list and ``--threshold`` of a run: the same lesions, by the same clean-up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flairseg.image.packed import CompactAnswer
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from flairseg.models.card import PipelineConfig
from flairseg.preprocessing import preprocess
from flairseg.segmentation.decoding import classify
from flairseg.segmentation.pipeline import Segmentation
from flairseg.segmentation.postprocessing import BRAIN_STEP, clean_labels
from flairseg.segmentation.redrawing import with_brain_margin

from Testing.harness.small_case import make_head
from Testing.slicer.helpers import stored_as

#: Slices of 5 mm, pixels of 2 mm; the rough brain mask ends at row 40.
SHAPE, BRAIN_ROWS = (8, 72, 60), 40


def case(slicer, codes: str, level: float | None = None):
    """A result of a model with a margin around the brain and filled holes, at its threshold or at another one."""
    probabilities = np.zeros((4, *SHAPE), np.float32)
    # In the brain, with a hole; beyond the margin of 10 mm; beyond, connected to the brain by normal WMH.
    for rows, columns, chance in ((slice(10, 20), slice(10, 20), 0.8), (slice(62, 68), slice(40, 48), 0.45),
                                  (slice(48, 56), slice(10, 16), 0.45)):  # fmt: skip
        probabilities[LESION, 3:5, rows, columns] = chance
    probabilities[LESION, 3:5, 13:16, 13:16] = 0.1
    probabilities[NORMAL_WMH, 3:5, 36:48, 10:12] = 0.9
    # A ring that is one at a low threshold only.
    probabilities[LESION, 3:5, 24:34, 40:50] = 0.45
    probabilities[LESION, 3:5, 27:30, 43:46] = 0.0
    probabilities[BACKGROUND] = 1 - probabilities[1:].sum(axis=0)
    spacing = (5.0, 2.0, 2.0)
    stack_affine = np.array([[-2.0, 0, 0, 60], [0, -2, 0, 72], [0, 0, 5, -20], [0, 0, 0, 1.0]])
    brain = np.zeros(SHAPE, bool)
    brain[:, :BRAIN_ROWS] = True
    config = PipelineConfig(brain_margin_mm=10.0, min_lesion_mm3=30.0, fill_holes=True)
    if level is not None:
        config = replace(config, thresholds={LESION: level})
    labels = clean_labels(classify(probabilities, config.thresholds), probabilities, spacing, config, brain)
    array, affine = stored_as(labels, stack_affine, codes)
    volume = Volume(array.astype(np.float32), affine, "case")
    stack = SliceStack.from_volume(volume)
    assert stack.array.shape == SHAPE
    card = type("Card", (), {"pipeline": config, "id": "m", "lesion_confidence": None})()
    return Segmentation(
        volume,
        np.ascontiguousarray(stack.restore(labels)),
        stack.restore(probabilities).astype(np.float16),
        card,
        *["cpu"] * 4,
        brain=brain[:, ::BRAIN_STEP, ::BRAIN_STEP],
    )


def stored(result):
    """The result as the panel has it after a way through the scene's attributes."""
    from flairseg.image.geometry import VolumeGeometry
    from FlairSegLib.kept_answers import KeptAnswer
    from FlairSegLib.measurement import Stored

    answer = result.compact_answer()
    whole = np.zeros((*answer.labels.shape, answer.levels.shape[-1]), np.uint8)
    whole[...] = answer.levels
    geometry = VolumeGeometry(result.labels.shape, result.volume.ijk_to_ras)
    corner = geometry.part(answer.start, answer.labels.shape).ijk_to_ras
    kept = KeptAnswer(
        geometry, answer.labels_text, result.volume.ijk_to_ras, whole, corner, None, result.min_lesion_mm3,
        answer.beyond_text, result.fills_holes,
    )  # fmt: skip
    return Stored.of(kept), geometry


def measured(labels, geometry):
    from FlairSegLib.measurement import Stored, measure
    from FlairSegLib.segment_voxels import Snapshot

    return measure(Snapshot(geometry, [(labels, (0, 0, 0), {1: 1, 2: 2, 3: 3})]), Stored())


def proposed(labels, before, geometry, level):
    """Labels after the sliders were set to one level."""
    from FlairSegLib.panel.proposals import propose

    proposal = propose(measured(labels, geometry), before, level, level)
    out = labels.copy()
    if proposal.box is not None:
        out[proposal.box] = proposal.after
    return out


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PSL"])
@pytest.mark.parametrize("level", [0.2, 0.4, 0.6])
def test_sliders_find_what_the_threshold_finds(slicer, codes, level):
    model = case(slicer, codes)
    before, geometry = stored(model)
    assert before.beyond is not None
    expected = case(slicer, codes, level).labels
    assert (expected == LESION).sum() > 0
    assert np.array_equal(proposed(model.labels, before, geometry, level), expected)


def test_the_margin_and_the_holes_are_what_makes_the_difference(slicer):
    model = case(slicer, "LPS")
    before, geometry = stored(model)
    lesion = proposed(model.labels, before, geometry, 0.4) == LESION
    assert not lesion[:, 60:].any(), "not within 10 mm of the brain"
    assert lesion[3:5, 48:56, 10:16].all(), "connected to what is"
    assert lesion[3:5, 27:30, 43:46].all(), "filled"
    blind = proposed(model.labels, replace(before, beyond=None, fill_holes_in=""), geometry, 0.4) == LESION
    assert blind[:, 60:].any()
    assert not blind[3:5, 27:30, 43:46].any()


def test_what_a_reader_drew_is_neither_dropped_nor_filled(slicer):
    model = case(slicer, "LPS")
    before, geometry = stored(model)
    labels = model.labels.copy()
    labels[3:5, 64:66, 42:44] = LESION
    labels[3:5, 13:16, 13:16] = BACKGROUND
    labels[6, 20:25, 20:25] = VENTRICLES
    labels[6, 22, 22] = BACKGROUND
    after = proposed(labels, before, geometry, 0.4)
    edited = labels != model.labels
    assert edited.sum() > 40
    assert np.array_equal(after[edited], labels[edited])
    assert after[6, 22, 22] == BACKGROUND


def test_the_scene_keeps_them(slicer):
    from FlairSegLib import kept_answers, scene_bridge

    model = case(slicer, "LPS")
    card = model.card
    card.sha256, card.version, card.title, card.classes = "ab" * 32, "1", "m", (1, 2, 3)
    volume = slicer.util.addVolumeFromArray(model.volume.array, model.volume.ijk_to_ras, "FLAIR")
    node = scene_bridge.segmentation_to_node(model, volume)
    kept = kept_answers.kept_answer_of(node)
    assert kept.fill_holes_in == "native"
    np.testing.assert_array_equal(kept.answer().full_beyond(), model.compact_answer().full_beyond())


def test_cases_of_the_queue_are_cleaned_as_their_model_does(slicer, model, monkeypatch):
    from flairseg.models import find_model
    from FlairSegLib.review_panel.case_loader import pipeline_of

    card = find_model(str(model), verify=False)
    monkeypatch.setenv("FLAIRSEG_MODELS", str(model.parent))
    tags = {"FlairSeg.model": card.id, "FlairSeg.model_sha256": card.sha256}
    assert pipeline_of(tags) == card.pipeline
    assert pipeline_of({**tags, "FlairSeg.model_sha256": "0" * 64}) is None, "other weights of the same name"
    assert pipeline_of({**tags, "FlairSeg.model": "no-such-model"}) is None
    assert pipeline_of({}) is None


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIL"])
@pytest.mark.parametrize("shift", [0, -700])
def test_the_margin_of_a_case_read_from_files_is_that_of_the_run(codes, shift):
    """Files hold no brain mask: in the queue, a low level had added lesions in fat and eyes."""
    head, labels = make_head()
    chances = np.zeros((4, *labels.shape), np.float32)
    chances[LESION][head.array > 380] = 0.3
    chances[BACKGROUND] = 1 - chances[LESION]
    array, affine = stored_as(head.array.astype(np.float32), head.ijk_to_ras, codes)
    chances = np.stack([stored_as(one, head.ijk_to_ras, codes)[0] for one in chances])
    labels = stored_as(labels, head.ijk_to_ras, codes)[0]
    config = PipelineConfig(brain_margin_mm=10.0)
    mask = preprocess(SliceStack.from_volume(Volume(array, affine, "head"), config.plane), config).mask
    card = type("Card", (), {"pipeline": config})()
    run = Segmentation(
        Volume(array, affine, "head"), labels, chances.astype(np.float16), card, *["cpu"] * 4,
        brain=mask[:, ::BRAIN_STEP, ::BRAIN_STEP],
    )  # fmt: skip
    expected = run.compact_answer().full_beyond()
    assert 1000 < expected.sum() < (head.array > 380).sum(), "the skull is beyond, the brain is not"
    read = CompactAnswer.pack(labels, run.probabilities)
    assert read.beyond is None
    found = with_brain_margin(read, Volume(array + shift, affine, "head"), config)
    np.testing.assert_array_equal(found.full_beyond(), expected)
    assert with_brain_margin(read, run.volume, replace(config, brain_margin_mm=0.0)) is read
    assert with_brain_margin(replace(read, levels=None), run.volume, config).beyond is None
