"""The generator: against a plain onnxruntime session, on broken networks, and on devices that are not there."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from flairseg import errors
from flairseg.models import find_model, load_card
from flairseg.segmentation import inference
from flairseg.segmentation.inference import CPU_PROVIDER, CUDA_PROVIDER, Generator
from flairseg.segmentation.memory import release_memory

from Testing.core.tiny import FRAME, make_model


@pytest.fixture(autouse=True)
def _fresh_sessions():
    inference.clear_sessions()
    yield
    inference.clear_sessions()


@pytest.fixture
def batch():
    return np.random.default_rng(0).normal(size=(5, 3, *FRAME)).astype(np.float32)


def test_run_is_onnxruntimes(model, batch):
    generator = Generator(load_card(model), "cpu")
    reference = onnxruntime.InferenceSession(str(model / "model.onnx"), providers=[CPU_PROVIDER])
    np.testing.assert_allclose(generator.run(batch), reference.run(None, {"slices": batch})[0], atol=1e-4)
    assert (generator.used, generator.provider, generator.warnings) == ("cpu", CPU_PROVIDER, [])


def test_the_size_of_a_batch_does_not_matter(model, batch):
    generator = Generator(load_card(model), "cpu")
    one_by_one = np.concatenate([generator.run(batch[n : n + 1]) for n in range(len(batch))])
    np.testing.assert_allclose(generator.run(batch), one_by_one, atol=1e-5)


def test_sessions_are_kept_and_the_oldest_goes(tmp_path, model, monkeypatch):
    created = []
    create = inference._create
    monkeypatch.setattr(inference, "_create", lambda *a: created.append(a[1].id) or create(*a))
    cards = [load_card(model)]
    for n in range(inference.KEPT_SESSIONS):
        card = load_card(make_model(tmp_path, f"other{n}-v1.0"))
        cards.append(replace(card, sha256=card.sha256))
    # Equal networks share a session: what counts is the sha256.
    for card in cards:
        Generator(card, "cpu")
    assert created == ["tiny-v1.0"]
    wide = load_card(make_model(tmp_path, "wide-v1.0", width=2))
    wider = load_card(make_model(tmp_path, "wider-v1.0", width=3))
    for card in (wide, wider, cards[0]):
        Generator(card, "cpu")
    assert created == ["tiny-v1.0", "wide-v1.0", "wider-v1.0", "tiny-v1.0"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_pages_are_kept_between_batches_and_handed_back_in_the_end():
    """Fresh pages at every batch would cost a sixth of the time; what is kept beyond the case, memory."""
    import resource

    batch = np.zeros((4, 1, 224, 192), np.float32)
    generator = Generator(find_model(), "cpu")
    release_memory()  # heap that other tests have left would hold these pages already
    before = _resident_mb()
    generator.run(batch)
    generator.run(batch)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    generator.run(batch)
    # The output alone: 4 x 4 x 224 x 192 numbers are 672 pages.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults < 2_000
    taken = _resident_mb() - before
    assert taken > 20, "nothing was kept: this test sees nothing"
    generator.release()
    release_memory()  # as the pipeline does after it
    assert _resident_mb() - before < taken / 2
    np.testing.assert_array_equal(generator.run(batch).shape, (4, 4, 224, 192))


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def test_a_fixed_batch_of_one_is_respected(tmp_path, batch):
    generator = Generator(load_card(make_model(tmp_path, batch=1)), "cpu")
    assert generator.batch_size == 1
    assert generator.run(batch[:1]).shape == (1, 4, *FRAME)


def test_networks_that_do_not_fit_their_card(tmp_path):
    folder = make_model(tmp_path, "a-v1.0", outputs=3)
    with pytest.raises(errors.InvalidModelError, match="puts out"):
        Generator(load_card(folder), "cpu")
    folder = make_model(tmp_path, "b-v1.0", pipeline={"frame_size": [64, 64]})
    with pytest.raises(errors.InvalidModelError, match="96 x 80"):
        Generator(load_card(folder), "cpu")
    folder = make_model(tmp_path, "c-v1.0", pipeline={"input_slices": 1})
    card = json.loads((folder / "card.json").read_text())
    card["pipeline"]["input_slices"] = 3
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(errors.InvalidModelError, match="1 channels"):
        Generator(load_card(folder), "cpu")


def test_networks_that_take_something_else(tmp_path, model):
    import onnx
    from onnx import TensorProto, helper

    shape = [1, 3, 4]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "flat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    card = load_card(model)
    path = tmp_path / "flat.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    flat = replace(card, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(errors.InvalidModelError, match="float32 batch"):
        Generator(flat, "cpu")


def test_a_file_that_is_no_network(tmp_path, model):
    path = tmp_path / "text.onnx"
    path.write_bytes(b"these are no weights" * 10)
    card = replace(load_card(model), path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(errors.InvalidModelError, match="cannot be run") as caught:
        Generator(card, "cpu")
    assert "ONNX" in caught.value.advice


def test_altered_weights_never_run(tmp_path, model):
    card = replace(load_card(model), sha256="0" * 64)
    with pytest.raises(errors.InvalidModelError, match="sha256"):
        Generator(card, "cpu")


def test_wrong_batches_are_typed_errors(model, batch, monkeypatch):
    generator = Generator(load_card(model), "cpu")
    with pytest.raises(errors.InvalidModelError, match="failed"):
        generator.run(batch[:, :2])
    lying = types.SimpleNamespace(run=lambda *_: [np.zeros((5, 2, *FRAME), np.float32)])
    monkeypatch.setattr(generator, "_session", replace(generator._session, runtime=lying))
    with pytest.raises(errors.InvalidModelError, match="returned"):
        generator.run(batch)


def test_unknown_devices(model):
    with pytest.raises(errors.DeviceError, match="tpu"):
        Generator(load_card(model), "tpu")


def test_cuda_falls_back_with_a_warning_where_there_is_none(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU_PROVIDER])
    generator = Generator(load_card(model), "cuda")
    assert generator.used == "cpu"
    assert "onnxruntime-gpu" in generator.warnings[0]
    # "auto" asked for nothing, so there is nothing to warn about.
    assert Generator(load_card(model), "auto").warnings == []


class _Session:
    """A session as a GPU machine would give it."""

    def __init__(self, real, providers):
        self._real, self._providers = real, providers

    def get_providers(self):
        return self._providers

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest.mark.parametrize(("granted", "used"), [(CUDA_PROVIDER, "cuda"), (CPU_PROVIDER, "cpu"), (None, "cpu")])
def test_what_really_runs_is_told(model, monkeypatch, granted, used):
    real = onnxruntime.InferenceSession
    asked = []

    def session(path, sess_options, providers):
        asked.append(providers)
        if granted is None and len(providers) > 1:
            raise RuntimeError("no GPU\nlong trace")
        got = granted if granted and len(providers) > 1 else CPU_PROVIDER
        return _Session(real(path, sess_options=sess_options, providers=[CPU_PROVIDER]), [got])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, CPU_PROVIDER])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: asked.append("libraries"), raising=False)
    generator = Generator(load_card(model), "cuda")
    assert generator.used == used
    assert asked[0] == "libraries"
    assert asked[1][0][0] == CUDA_PROVIDER
    assert bool(generator.warnings) == (used == "cpu")
    assert generator.batch_size == inference.BATCH_SIZE[used]


def test_onnxruntime_is_only_needed_for_the_network(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(errors.MissingDependencyError) as caught:
        Generator(load_card(model), "cpu")
    assert "pip install onnxruntime" in caught.value.advice
    assert inference.onnxruntime_version() == ""


def test_cores(monkeypatch):
    assert inference.available_cores() >= 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert inference.available_cores() >= 1
