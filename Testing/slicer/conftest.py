"""Fixtures of the tests on real MRML: Slicer's environment, a small head, and a model whose answer is known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from flairseg.volume import Volume

from Testing.harness.small_case import make_head, write_intensity_model


@pytest.fixture(scope="session")
def application():
    """Slicer's scene and logics. Without slicer-core the tests skip and say why, except in CI, which has it."""
    if not os.environ.get("CI"):
        pytest.importorskip("slicer", reason="slicer-core is not installed: pip install 'flairseg[slicer]'")
    from Testing.harness.application import start

    return start()


@pytest.fixture
def slicer(application):
    """The module ``slicer``, with a scene that is emptied after the test."""
    import slicer

    from Testing.harness.application import close_scene

    yield slicer
    close_scene()


@pytest.fixture
def bridge(slicer):
    from FlairSegLib import scene_bridge

    return scene_bridge


@pytest.fixture
def logic(slicer):
    from FlairSeg import FlairSegLogic

    return FlairSegLogic()


@pytest.fixture(scope="session")
def head() -> tuple[Volume, np.ndarray]:
    """A coarse head and its labels, see :func:`Testing.harness.small_case.make_head`."""
    return make_head()


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Path of a model that finds the head's three classes by their gray levels."""
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'flairseg[test]'")
    return write_intensity_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def save_nifti():
    """``save_nifti(path, array_kji, ijk_to_ras)`` by nibabel, which shares no code with ours or Slicer's readers."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")

    def save(path: Path, array: np.ndarray, ijk_to_ras: np.ndarray) -> Path:
        image = nibabel.Nifti1Image(np.transpose(array), ijk_to_ras)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, path)
        return path

    return save
