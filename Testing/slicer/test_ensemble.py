"""An ensemble in Slicer is a model like any other; where its members disagree stays with the segmentation."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.labels import LESION

from Testing.core.tiny import LESION_ONLY, make_ensemble, make_head, make_model

WEIGHTS = {"tiny-v1.0": {"ventricles": 1.0, "normal_wmh": 1.0, "lesion": 1.0}, "eager-v1.0": {"lesion": 1.0}}


@pytest.fixture
def ensemble(tmp_path):
    make_model(tmp_path / "models")
    make_model(tmp_path / "models", "eager-v1.0", {**LESION_ONLY, "input_slices": 1}, classes=(3,), lesion_bias=1.5)
    return make_ensemble(tmp_path / "models", WEIGHTS)


def test_disagreement_survives_a_saved_scene(slicer, logic, bridge, ensemble, tmp_path):
    head, _ = make_head()
    volume = slicer.util.addVolumeFromArray(head.array, head.ijk_to_ras, "FLAIR")
    node = logic.process(volume, modelId=str(ensemble), device="cpu")
    before = bridge.answer_of(node)
    disagreement = before.full_disagreement()
    lesions = before.full_labels() == LESION
    assert lesions.any()
    assert 0.02 < disagreement[lesions].astype(float).mean() < 1
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    (again,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    after = bridge.answer_of(again)
    np.testing.assert_array_equal(after.full_disagreement(), disagreement)
    np.testing.assert_array_equal(after.full_probabilities(), before.full_probabilities())
    np.testing.assert_array_equal(after.full_labels(), before.full_labels())
    from FlairSegLib import segment_tags

    assert segment_tags.first_tag(again, segment_tags.MODEL) == "vote-v1.0"
