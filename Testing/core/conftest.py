"""Fixtures of the core's tests: no trained weights, no patient data, no network."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from flairseg.image.volume import Volume

from Testing.core.tiny import make_head, make_model, to_nifti


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> Iterator[None]:
    """A shell that starts the tests in the background makes them ignore Ctrl-C, which some of them are about."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def head() -> Volume:
    """A small whole head, axial, 2.5 x 2.5 x 8 mm."""
    return make_head()[0]


@pytest.fixture(scope="session")
def head_labels():
    """Ventricles and lesions of ``head``."""
    return make_head()[1]


@pytest.fixture(scope="session")
def head_file(tmp_path_factory, head) -> Path:
    """``head`` as NIfTI."""
    return to_nifti(head, tmp_path_factory.mktemp("head") / "head-a.nii.gz")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A folder of models with the tiny one in it."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder)
    return folder


@pytest.fixture(scope="session")
def model(model_folder) -> Path:
    """The tiny model's folder."""
    return model_folder / "tiny-v1.0"


@pytest.fixture(scope="session")
def segmentation(head, model):
    """``head`` segmented by the tiny model; treat as read-only."""
    from flairseg.segmentation.pipeline import segment

    return segment(head, model, "cpu")
