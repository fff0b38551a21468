"""Evaluation on the phantom: lesions that are found in heads without any."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from flairseg.labels import LESION

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")

from training import evaluate_phantom


def test_false_lesions_are_counted_in_phantoms_that_have_none(monkeypatch, tmp_path):
    made = []
    smaller = partial(evaluate_phantom.make_phantom, shape=(6, 64, 64), spacing_mm=(3.6, 3.6, 20.0))

    def make(seed, n_lesions=None):
        made.append(smaller(seed, n_lesions=n_lesions))
        return made[-1]

    def found(volume, model):
        assert model == tmp_path / "model.onnx"
        labels = np.zeros(volume.array.shape, np.uint8)
        labels[1, 5:7, 5] = labels[2, 7, 6] = LESION  # touching at a corner across slices
        labels[4, 20, 20 : 20 + len(made)] = LESION
        if len(made) == 2:
            labels[5, 40, 40] = LESION
        return SimpleNamespace(labels=labels)

    monkeypatch.setattr(evaluate_phantom, "make_phantom", make)
    monkeypatch.setattr(evaluate_phantom, "segment", found)
    assert evaluate_phantom.false_lesions(tmp_path, 2) == [2, 3]
    assert not any((phantom.labels == LESION).any() for phantom in made)
