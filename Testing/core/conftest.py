"""Fixtures of the core's tests: no trained weights, no patient data, no network."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from flairseg.image.volume import Volume

from Testing.conftest import SHARED
from Testing.core.tiny import make_head, make_model, to_nifti
from Testing.core.training_fixtures import data, one_thread, painted_patients, prepared_once  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> Iterator[None]:
    """A shell that starts the tests in the background makes them ignore Ctrl-C, which some of them are about."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _heads_of_phantoms_are_drawn_once() -> Iterator[None]:
    """Several files scan the heads of seeds 0 and 1; a head takes seconds to draw, and the same each time.

    What draws it is tested with heads that are drawn anew (``test_phantom.py``).
    """
    phantom = importlib.import_module("flairseg.phantom.phantom")
    drawn = phantom.build_head

    def shared(seed, n_lesions=None, report=None):
        if seed not in (0, 1) or n_lesions is not None:
            return drawn(seed, n_lesions, report)
        kept = Path(os.environ[SHARED]) / f"head-{seed}.pickle"
        if not kept.is_file():
            # Two workers may both draw it: the files are alike, and each appears whole.
            draft = kept.with_suffix(f".{os.getpid()}")
            draft.write_bytes(pickle.dumps(drawn(seed, None, report)))
            draft.replace(kept)
        return pickle.loads(kept.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "build_head", shared)
        yield


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
