"""Fixtures of the tests of training: one thread, painted patients, each of them prepared once."""

from __future__ import annotations

import hashlib

import pytest

from Testing.core.small_data import write_anatomy, write_patients


@pytest.fixture
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def painted_patients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_anatomy(folder)
    return write_patients(folder)


@pytest.fixture
def data(painted_patients, monkeypatch):
    monkeypatch.setenv("FLAIRSEG_DATA", str(painted_patients))
    return painted_patients


@pytest.fixture(scope="module")
def prepared_once():
    """Most of a run of a few steps is the preparation of the same patients; a run that goes on does it alike."""
    from training import train, train_pix2pix

    kept = {}

    def once(make, key):
        if key not in kept:
            kept[key] = make()
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in (train, train_pix2pix):

            def load(folder, load_tabriz=module.load_tabriz):
                return list(once(lambda: load_tabriz(folder), ("cases", folder)))

            def frame(case, config, frame_case=module.frame_case):
                content = hashlib.sha256(case.volume.array.tobytes() + case.labels.tobytes()).digest()
                return once(lambda: frame_case(case, config), ("framed", case.name, content, repr(config)))

            patch.setattr(module, "load_tabriz", load)
            patch.setattr(module, "frame_case", frame)
        yield
