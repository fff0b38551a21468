"""What a case costs, counted and not timed: passes of the network, steps of the registration, bytes.

The bounds are those of today's version with a margin: whoever makes a case dearer sees it here, and whoever makes it
cheaper tightens them. The figures on a given machine are `make bench`'s.
"""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.anatomy import case_images
from flairseg.anatomy.lesion_table import lesion_parts
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume, volume_to_sitk
from flairseg.longitudinal.registration import head_mask
from flairseg.models import find_model
from flairseg.models.card import ModelCard
from flairseg.phantom import make_phantom
from flairseg.preprocessing import framing
from flairseg.preprocessing.framing import Frame
from flairseg.preprocessing.resampling import resample
from flairseg.segmentation.inference import Generator
from flairseg.segmentation.pipeline import segment
from flairseg.segmentation.result import Segmentation
from scipy import ndimage

from Testing.core.tiny import make_head

brain_masks = importlib.import_module("flairseg.preprocessing.brain_mask")

SHAPE = (20, 256, 256)
#: The network sees each slice once, of the frame the share that shows brain.
PASSES, SHARE = 1, 0.72
#: Registrations, iterations of their optimisers, iterations of the deformable one, points looked up in images.
REGISTRATIONS, AFFINE_STEPS, BENDING_STEPS, SAMPLES = 2, 28, 10, 1_500_000
#: Voxels of the image that the deformable one bends.
BENT_VOXELS = 14_000
#: Bytes at the peak beyond those before the case, for each voxel of the image, and what does not grow with it.
BYTES_PER_VOXEL, FIXED_BYTES = 8, 50_000_000
#: Bytes of a result for each voxel: image, labels, probabilities, regions; nothing that only led to them.
KEPT_BYTES_PER_VOXEL = 17


class _Counted:
    """Counts what a case does, by putting counters in front of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        network, mask = Generator.run, brain_masks.tissue_threshold
        sample = ndimage.map_coordinates
        register, bend = sitk.ImageRegistrationMethod.Execute, sitk.FastSymmetricForcesDemonsRegistrationFilter.Execute

        def run(generator, batch):
            self.counts["passes"] += len(batch)
            self.counts["pixels"] += batch[:, 0].size
            return network(generator, batch)

        def counted_step(what):
            def step():
                self.counts[what] += 1

            return step

        def execute(method, *images):
            self.counts["registrations"] += 1
            method.AddCommand(sitk.sitkIterationEvent, counted_step("steps"))
            return register(method, *images)

        def execute_bending(method, *images):
            self.counts["bent voxels"] += images[0].GetNumberOfPixels()
            method.AddCommand(sitk.sitkIterationEvent, counted_step("bending steps"))
            return bend(method, *images)

        def sampled(image, coordinates, *arguments, **options):
            self.counts["samples"] += int(np.asarray(coordinates)[0].size)
            return sample(image, coordinates, *arguments, **options)

        def threshold(slices):
            self.counts["brain masks"] += 1
            return mask(slices)

        monkeypatch.setattr(ndimage, "map_coordinates", sampled)
        monkeypatch.setattr(Generator, "run", run)
        monkeypatch.setattr(sitk.ImageRegistrationMethod, "Execute", execute)
        monkeypatch.setattr(sitk.FastSymmetricForcesDemonsRegistrationFilter, "Execute", execute_bending)
        monkeypatch.setattr(brain_masks, "tissue_threshold", threshold)


def _traced(volume: Volume, card: ModelCard) -> tuple[Segmentation, int, int]:
    """A case with regions: its result, the bytes that it keeps and those at the peak, beyond those before it."""
    # It finds its own brain mask, as a first case does.
    brain_masks._recent.clear()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = segment(volume, card, "cpu", regions=True)
        kept, peak = (n - before for n in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    return result, kept, peak


@pytest.mark.slow
def test_a_large_volume_is_not_copied_whole():
    """The same head in four times as many slices: what each voxel adds is less than two copies in float32.

    Probabilities of this size are pages of their own, which take memory where they are not zero
    (:mod:`flairseg.image.pages`); they are not counted here.
    """
    card = find_model()
    volume = make_phantom(0, SHAPE, (0.9, 0.9, 6.8)).volume
    fine = Volume(np.repeat(volume.array, 4, axis=0).astype(np.float32), volume.ijk_to_ras @ np.diag([1, 1, 0.25, 1]))
    segment(volume, card, "cpu", regions=True)
    peaks = [_traced(one, card)[2] for one in (volume, fine)]
    added = fine.array.size - volume.array.size
    assert peaks[1] - peaks[0] <= BYTES_PER_VOXEL * added, f"{(peaks[1] - peaks[0]) / added:.1f} bytes for each voxel"


@pytest.mark.slow
def test_a_case_with_regions_costs_no_more_than_it_did(monkeypatch):
    card = find_model()
    volume = make_phantom(0, SHAPE, (0.9, 0.9, 6.8)).volume
    # What is loaded once for all cases is not the case's.
    segment(make_head()[0], card, "cpu", regions=True)
    counted = _Counted(monkeypatch)
    result, kept, peak = _traced(volume, card)
    counts = counted.counts
    assert result.lesion_count > 5
    slices, (rows, columns) = SHAPE[0], card.pipeline.frame_size
    assert slices / 2 <= counts["passes"] <= PASSES * slices, counts
    assert counts["pixels"] <= SHARE * PASSES * slices * rows * columns, counts
    assert counts["brain masks"] == 1, counts
    # None at all would mean that another library registers now: then its steps are to be counted.
    assert 0 < counts["registrations"] <= REGISTRATIONS, counts
    assert 0 < counts["steps"] <= AFFINE_STEPS, counts
    assert counts["bending steps"] <= BENDING_STEPS, counts
    assert 0 < counts["bent voxels"] <= BENT_VOXELS, counts
    assert counts["samples"] <= SAMPLES, counts
    voxels = int(np.prod(SHAPE))
    assert peak <= FIXED_BYTES + BYTES_PER_VOXEL * voxels, f"{peak / 1e6:.0f} MB at the peak"
    assert kept <= KEPT_BYTES_PER_VOXEL * voxels, f"{kept / 1e6:.0f} MB kept"


def test_parts_of_numpy_that_nothing_uses_are_not_loaded_with_scipy():
    code = (
        "import sys; from flairseg._lazy import postpone_numpy; postpone_numpy(); import numpy as np, scipy.ndimage; "
        "assert 'numpy.f2py.crackfortran' not in sys.modules; np.testing.assert_array_equal([1], [1]); "
        "import numpy.f2py; assert numpy.f2py.get_include() and np.polynomial.Polynomial([1, 2])(1) == 3; print('done')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "done\n"


def test_a_command_builds_its_own_options_alone():
    code = (
        "from flairseg.cli.app import COMMANDS, app; "
        "app(['segment', '--help'], standalone_mode=False); print(*COMMANDS.built)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "segment"


def test_a_command_ends_without_collecting_what_it_loaded():
    code = (
        "class Last:\n    def __del__(self): print('collected', flush=True)\n"
        "last = Last(); last.itself = last; del last\n"
        "import gc; gc.disable()\n"
        "from flairseg.cli import app\n"
        "app({arguments}, standalone_mode=False)\n"
        "print('end', flush=True)"
    )
    for arguments, said in ((["--version"], "end\ncollected\n"), (["models"], "end\n")):
        done = subprocess.run(
            [sys.executable, "-c", code.format(arguments=arguments)], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith(said), done.stdout


#: Packages that a case does not need; each takes 20 to 100 ms to import.
NEEDLESS = (
    "IPython", "jinja2", "jsonschema", "matplotlib", "multiprocessing", "nibabel", "onnx", "pandas", "pydicom",
    "scipy.optimize", "scipy.spatial", "scipy.stats", "skimage", "torch",
)  # fmt: skip


def test_a_segmentation_from_process_start_loads_what_it_needs(tmp_path):
    volume = make_phantom(0, (12, 96, 96), (2.4, 2.4, 11.3)).volume
    sitk.WriteImage(volume_to_sitk(volume), str(tmp_path / "head.nii.gz"))
    code = (
        "import sys; from flairseg.cli import app; "
        f"code = app(['segment', {str(tmp_path / 'head.nii.gz')!r}, '--output', {str(tmp_path / 'out')!r}, '-q'], "
        f"standalone_mode=False); print(code, *[name for name in {NEEDLESS} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "0"
    assert len((tmp_path / "out" / "head_lesions.csv").read_text(encoding="utf-8").splitlines()) > 5


def test_a_study_is_registered_by_the_mask_that_its_segmentation_found(monkeypatch):
    volume = make_head()[0]
    stack = SliceStack.from_volume(volume)
    mask = brain_masks.shared_brain_mask(stack.array, stack.spacing)
    monkeypatch.setattr(brain_masks, "brain_mask", None)
    np.testing.assert_array_equal(head_mask(volume), stack.restore(mask))
    assert mask.any()


def test_only_lesions_with_two_summits_are_flooded(monkeypatch):
    floods: Counter[str] = Counter()
    flood = sitk.ReconstructionByDilation

    def counted(*arguments, **options):
        floods["all"] += 1
        return flood(*arguments, **options)

    monkeypatch.setattr(sitk, "ReconstructionByDilation", counted)
    k, j, i = np.ogrid[-6:7, -9:10, -16:17]
    balls = [k**2 + j**2 + (i - at) ** 2 <= 30 for at in (-8, 8)]
    bridge = (abs(k) < 2) & (abs(j) < 2) & (abs(i) < 9)
    assert lesion_parts(balls[0], np.eye(4)).max() == lesion_parts(bridge, np.eye(4)).max() == 1
    assert not floods
    assert lesion_parts(balls[0] | balls[1] | bridge, np.eye(4)).max() == 2
    assert floods["all"] == 1


def test_of_a_class_only_its_surroundings_are_brought_back_from_a_frame(monkeypatch):
    """What a class takes of a frame, not the frame, decides how many pixels of a fine image are interpolated."""
    pixels: Counter[str] = Counter()

    def counted(*arguments):
        out = resample(*arguments)
        pixels["out"] += out.size
        return out

    frame = Frame(np.full((1, 2), 2.2), np.array([[20.0, 30.0]]), (192, 160), (512, 512))
    framed = np.zeros((192, 160), np.float32)
    framed[80:100, 60:75] = np.random.default_rng(0).random((20, 15), np.float32)
    everywhere = ndimage.affine_transform(
        framed, 1 / frame.scale[0], -frame.offset[0] / frame.scale[0], output_shape=frame.grid, order=1
    )
    monkeypatch.setattr(framing, "resample", counted)
    np.testing.assert_allclose(frame.invert(framed, 0), everywhere, atol=1e-6)
    assert 0 < pixels["out"] <= 1.25 * 2.2**2 * 22 * 17
    assert not frame.invert(np.zeros_like(framed), 0).any()
    assert pixels["out"] <= 1.25 * 2.2**2 * 22 * 17, "of nothing nothing is to be interpolated"


def test_masks_grow_as_bits_within_their_box(monkeypatch):
    looked_at: Counter[str] = Counter()
    grow = case_images.grown_along

    def counted(mask, axis, reach):
        looked_at["bytes"] += mask.nbytes
        return grow(mask, axis, reach)

    monkeypatch.setattr(case_images, "grown_along", counted)
    mask = np.zeros((60, 90, 101), bool)
    mask[20:40, 25:60, 30:70] = np.random.default_rng(0).random((20, 35, 40)) > 0.99
    found = case_images._dilated(mask, (1.0, 1.1, 2.0), 6.0)
    np.testing.assert_array_equal(found[:], ndimage.maximum_filter(mask, (7, 11, 13)))
    assert 0 < looked_at["bytes"] <= 3 * 1.3 * (26 * 45 * 52) / 8
    assert not case_images._dilated(np.zeros_like(mask), (1.0, 1.1, 2.0), 6.0)[:].any()
