"""The device of a training. No GPU is needed: which one is chosen, and that nothing of a training is left elsewhere."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[adapt]'")

import numpy as np  # noqa: E402
from flairseg.adapt import device as devices  # noqa: E402
from flairseg.adapt import trainer, tuning  # noqa: E402
from flairseg.adapt.banks import bank_of  # noqa: E402
from flairseg.adapt.device import TrainingDevice, choose_device  # noqa: E402
from flairseg.adapt.tuning import Control, Settings, tune  # noqa: E402
from flairseg.adapt.weights import weights_of  # noqa: E402
from flairseg.errors import DeviceError  # noqa: E402
from flairseg.models.card import PipelineConfig  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from Testing.core.site_cases import SITE_PIPELINE, knows_gray_levels  # noqa: E402

#: PyTorch takes this for a device in every build; what is computed "there" is computed by :class:`PretendedGpu`.
GPU = TrainingDevice(torch.device("meta"), "A GPU that is not there", None)
SHORT = Settings(3, 1, 1, (32, 32), 0.4, 0.01, check_every=2, altered=0.5)


@pytest.fixture
def gpu(monkeypatch):
    """What PyTorch says of a GPU."""

    def make(free=8 * 2**30, bf16=True):
        cuda = torch.cuda
        monkeypatch.setattr(cuda, "is_available", lambda: True)
        monkeypatch.setattr(cuda, "mem_get_info", lambda: (free, 16 * 2**30))
        monkeypatch.setattr(cuda, "current_device", lambda: 0)
        monkeypatch.setattr(cuda, "get_device_name", lambda place: f"GPU {place.index}")
        monkeypatch.setattr(cuda, "is_bf16_supported", lambda including_emulation: bf16)

    return make


def test_a_gpu_is_taken_where_it_is_there_and_has_room(gpu):
    gpu()
    assert choose_device() == TrainingDevice(torch.device("cuda", 0), "GPU 0", torch.bfloat16)
    assert choose_device("cpu").place.type == "cpu"
    gpu(bf16=False)
    assert choose_device("cuda").half is None
    gpu(free=2**30)
    small = choose_device()
    assert (small.place.type, small.name, small.warning) == ("cpu", "CPU", None)
    asked = choose_device("cuda")
    assert asked.place.type == "cpu"
    assert "1.0 GB of GPU memory are free" in asked.warning
    assert asked.warning.code == "device-fallback"
    with pytest.raises(DeviceError):
        choose_device("tpu")


def test_without_a_gpu_the_cpu_trains_and_that_is_said_where_a_gpu_was_requested(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device().warning is None
    assert "without CUDA" in choose_device("cuda").warning


class ElsewhereError(Exception):
    """Tensors of two devices meet."""


class PretendedGpu(TorchDispatchMode):
    """Computes on the CPU, and keeps a record of which tensors would be on the GPU: there, none may meet another's."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[int, weakref.ref] = {}
        self.moved = 0

    def _is_there(self, tensor) -> bool:
        return self._key(tensor) in self.there

    @staticmethod
    def _key(tensor) -> int:
        return tensor.untyped_storage()._cdata

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        target = kwargs.get("device")
        asked = None if target is None else torch.device(target).type
        if asked == "meta":
            kwargs["device"] = torch.device("cpu")
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        there = {self._is_there(one) for one in given if one.dim()}
        moves = function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        if len(there) == 2 and not moves:
            raise ElsewhereError(f"{function} of tensors on CPU and GPU")
        out = function(*args, **kwargs)
        # What is made for a tensor is made beside it, whatever its device is called here.
        on_gpu = asked == "meta" or (not (moves and asked == "cpu") and any(self._is_there(one) for one in given))
        self.moved += asked == "meta"
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor) and on_gpu:
                # The storage stays alive with the record, so that its address is not another's later.
                self.there[self._key(one)] = one.detach()
        return out


def bank(seed: int):
    rng = np.random.default_rng(seed)
    images, labels = rng.normal(0, 1, (8, 48, 48)).astype(np.float32), rng.integers(0, 4, (8, 48, 48))
    return bank_of([(f"p{seed}", images, labels.astype(np.uint8), np.ones((8, 48, 48), bool))])


def test_the_pretended_gpu_notices_what_was_left_behind():
    with PretendedGpu():
        there = torch.ones(2).to(GPU.place)
        with pytest.raises(ElsewhereError):
            there + torch.ones(2)
        (there * 2).sum()


def test_all_of_a_training_is_on_its_device(monkeypatch):
    """Not a run on a GPU: its kernels, memory and speed, and the way back to the CPU, are not tested here."""
    config = PipelineConfig.from_dict(SITE_PIPELINE)
    network = knows_gray_levels(1.6).eval()
    before = weights_of(network)
    kinds = []
    autocast = torch.autocast
    monkeypatch.setattr(tuning.torch, "autocast", lambda kind, *a, **k: kinds.append(kind) or autocast("cpu", *a, **k))
    with PretendedGpu() as pretended:
        made = tune(network, bank(1), bank(2), config, SHORT, Control(device=GPU))
    assert pretended.moved > 20
    assert set(kinds) == {"meta"}
    assert made.steps == 3
    assert len(made.checks) == 3
    cpu = TrainingDevice(torch.device("cpu"), "CPU", None)
    on_cpu = tune(network, bank(1), bank(2), config, SHORT, Control(device=cpu))
    for name, weights in weights_of(made.network).items():
        np.testing.assert_allclose(weights, weights_of(on_cpu.network)[name], atol=1e-5)
    assert all((before[name] == weights).all() for name, weights in weights_of(network).items())


def test_a_gpu_whose_memory_runs_out_leaves_the_training_to_the_cpu(monkeypatch):
    card = SimpleNamespace(pipeline=PipelineConfig.from_dict(SITE_PIPELINE))
    training = trainer.Trainer(card, None, SHORT, None, GPU)
    seen = []

    def full(*known):
        control = known[-1]
        seen.append((control.device.place.type, control.deadline))
        if control.device.is_gpu:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "tuned"

    monkeypatch.setattr(trainer, "tune", full)
    monkeypatch.setattr(trainer, "replay_bank", lambda config: None)
    assert training.tuned(None, SHORT, Control(deadline=5.0)) == "tuned"
    # The time was planned by the GPU's speed: the CPU gets what it needs.
    assert seen == [("meta", 5.0), ("cpu", float("inf"))]
    assert training.device.name == "CPU"
    assert training.tuned(None, SHORT, Control(deadline=5.0)) == "tuned"
    assert seen[-1] == ("cpu", 5.0)


def test_cudnn_is_asked_for_the_same_result_every_time_and_left_as_it_was():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic
    with devices.deterministic():
        assert cudnn.deterministic
    assert cudnn.deterministic is before
