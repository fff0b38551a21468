"""Large volumes are worked on by slices and blocks: packed masks, medians by counting, maps on coarse voxels, pages."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from flairseg.anatomy import RegionMap
from flairseg.anatomy.regions import CoarseRegionMap
from flairseg.image import medians, pages
from flairseg.image.packed_mask import PackedMask
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.labels import LESION, VENTRICLES
from flairseg.lesions.boxes import count_numbers, looked_up
from flairseg.preprocessing.framing import Frame
from flairseg.segmentation.postprocessing import clean_labels

from Testing.core.tiny import make_head


def test_a_packed_mask_reads_as_the_mask_that_it_was_made_of():
    mask = np.random.default_rng(0).random((6, 7, 9)) > 0.6
    packed = PackedMask(mask[:, ::-1])
    mask = mask[:, ::-1]
    assert packed.shape == mask.shape
    assert len(packed) == 6
    for index in (slice(1, 4), slice(1, None, 2), (np.array([4, 0]), slice(None, None, 3), slice(2, 8))):
        np.testing.assert_array_equal(packed[index], mask[index])
    assert packed[2:2].shape == (0, 7, 9)
    np.testing.assert_array_equal(np.asarray(packed), mask)
    np.testing.assert_array_equal(np.stack(list(packed)), mask)
    assert packed.any()
    assert not PackedMask(np.zeros_like(mask)).any()


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 5001])
@pytest.mark.parametrize("kind", ["normal", "whole", "same"])
def test_the_median_of_parts_is_that_of_all(count, kind, monkeypatch):
    rng = np.random.default_rng(count)
    values = {
        "normal": rng.normal(0, 3, count), "whole": rng.integers(-20, 900, count), "same": np.full(count, 7.5),
    }[kind].astype(np.float32)  # fmt: skip
    expected = float(np.median(values))
    for few in (medians.FEW_VALUES, 100):
        monkeypatch.setattr(medians, "FEW_VALUES", few)
        assert medians.median_of(lambda: np.array_split(values, 7)) == expected
    assert medians.median_of(lambda: [values[:0]]) is None


def test_many_values_have_a_median_without_a_copy_of_them(monkeypatch):
    monkeypatch.setattr(medians, "FEW_VALUES", 10_000)
    values = np.random.default_rng(1).integers(0, 3000, 2_000_000).astype(np.float32)
    parts = np.array_split(values, 100)
    tracemalloc.start()
    try:
        found = medians.median_of(lambda: parts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == float(np.median(values))
    assert peak < values.nbytes / 2


def test_numbers_are_counted_and_looked_up_by_slices():
    numbers = np.random.default_rng(2).integers(0, 5, (4, 6, 7)).astype(np.int32)
    table = np.array([0, 7, 5, 3, 9], np.int16)
    np.testing.assert_array_equal(count_numbers(numbers, 6), np.bincount(numbers.ravel(), minlength=7))
    np.testing.assert_array_equal(looked_up(table, numbers), table[numbers])
    expected = table[numbers]
    assert looked_up(table.astype(np.int32), numbers, out=numbers) is numbers
    np.testing.assert_array_equal(numbers, expected)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_coarse_map_is_enlarged_only_where_it_is_asked_for(axes):
    """Stored in any order, with flips, and with voxels at the end that fill no coarse one."""
    rng = np.random.default_rng(3)
    shrink, shape = (1, 2, 3), (5, 21, 23)
    affine = np.diag([-1.0, 1.0, -4.0, 1.0])
    affine[:3, :3] = affine[:3, :3][:, list(axes)]
    array = np.zeros([16, 17, 18], np.float32)
    stack = SliceStack.from_volume(Volume(array, affine), "axial")
    shape = stack.array.shape
    coarse = rng.integers(0, 8, [n // s for n, s in zip(shape, shrink, strict=True)]).astype(np.uint8)
    numbers = [np.minimum(np.arange(n) // s, m - 1) for n, s, m in zip(shape, shrink, coarse.shape, strict=True)]
    expected = stack.restore(coarse[np.ix_(*numbers)])
    parts = (np.transpose(part, stack.volume_axes) for part in (coarse, coarse > 3))
    given = RegionMap(*parts, True, None, affine, (1.0, 1.0, 4.0), 0)
    found = CoarseRegionMap(given, stack.along_volume(numbers))
    assert found.shape == array.shape
    np.testing.assert_array_equal(found.codes, expected)
    np.testing.assert_array_equal(found.lateral, expected > 3)
    box = (slice(2, 9), slice(0, 5), slice(11, 18))
    codes, lateral = found.within(box)
    np.testing.assert_array_equal(codes, expected[box])
    np.testing.assert_array_equal(lateral, expected[box] > 3)
    assert (found.found, found.fit, found.spacing, found.normal) == (True, None, (1.0, 1.0, 4.0), 0)


@pytest.mark.parametrize("offset", [(20.0, 30.0), (-15.25, 40.5), (470.0, -200.0), (600.0, 0.0)])
@pytest.mark.parametrize("scale", [1.0, 2.2])
def test_a_crop_of_a_frame_comes_back_within_its_footprint(offset, scale):
    frame = Frame(np.full((1, 2), scale), np.array([offset]), (192, 160), (512, 480))
    box = (slice(64, 128), slice(32, 144))
    framed = np.zeros(frame.size, np.float32)
    framed[box] = np.random.default_rng(0).random((64, 112), np.float32) + 0.1
    whole, region = frame.invert(framed, 0), frame.footprint(box, 0)
    np.testing.assert_array_equal(frame.invert(framed, 0, region), whole[region])
    whole[region] = 0
    assert not whole.any()


def test_pages_in_a_file_leave_the_memory_and_keep_what_they_hold(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "_PAGED_BYTES", 1000)
    monkeypatch.setattr(pages, "FILED_BYTES", 1_000_000)
    monkeypatch.setattr(pages, "_file_system", lambda folder: "ext4")
    monkeypatch.setattr(pages.tempfile, "tempdir", str(tmp_path))
    array = pages.untouched_zeros((4, 300, 1000), np.float16)
    array[2] = 3
    for one in (array, array[1:, ::-1].T, np.ones(3), np.ones(3)[1:]):
        pages.let_go(one)
    assert (array[2] == 3).all()
    assert not array[3].any()
    mask = np.random.default_rng(0).random((300, 1, 1000)) > 0.5
    np.testing.assert_array_equal(pages.values_where(array[2][:, None], mask), array[2][:, None][mask])
    assert not list(tmp_path.iterdir()), "nothing is left behind, whatever ends the process"


@pytest.mark.skipif(pages.sys.platform != "linux", reason="pages are filed on Linux")
def test_let_go_gives_memory_back(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "FILED_BYTES", 40_000_000)
    monkeypatch.setattr(pages.tempfile, "tempdir", str(tmp_path))
    if pages._file_system(tmp_path) not in pages.DISK_SYSTEMS:
        pytest.skip("the folder for temporary files is not on a disk")
    array = pages.untouched_zeros((40_000_000,), np.uint8)
    before = _resident()
    array[:] = 1
    assert _resident() - before > 35_000_000
    pages.let_go(array)
    assert _resident() - before < 5_000_000
    assert array[::4096].all()


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * pages.mmap.PAGESIZE


@pytest.mark.parametrize("trouble", ["memory", "full", "refused"])
def test_without_room_on_a_disk_pages_are_in_memory(trouble, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "FILED_BYTES", 1_000_000)
    monkeypatch.setattr(pages.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(pages, "_file_system", lambda folder: "tmpfs" if trouble == "memory" else "ext4")
    if trouble == "full":
        monkeypatch.setattr(pages, "ROOM", 1 << 60)
    if trouble == "refused":
        monkeypatch.setattr(pages.tempfile, "TemporaryFile", _refuse)
    array = pages.untouched_zeros((33_000_000,), np.uint8)
    array[5] = 1
    pages.let_go(array)
    assert array[5] == 1


def _refuse(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.skipif(pages.sys.platform != "linux", reason="as Linux lists them")
def test_the_file_system_of_a_folder_is_found_by_its_device(tmp_path):
    device = tmp_path.stat().st_dev
    mine = f"36 35 {pages.os.major(device)}:{pages.os.minor(device)} / /tmp rw shared:1 - ext4 /dev/vda rw\n"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:9999 / /proc rw - proc proc rw\n{mine}", encoding="utf-8")
    assert pages._file_system(tmp_path, mounts) == "ext4"
    mounts.write_text("22 1 0:9999 / /proc rw - proc proc rw\n", encoding="utf-8")
    assert pages._file_system(tmp_path, mounts) == ""


def test_labels_are_cleaned_in_place_as_in_a_copy():
    from flairseg.models import find_model

    volume, truth = make_head()
    config = find_model().pipeline
    stack = SliceStack.from_volume(volume)
    labels = np.ascontiguousarray(stack.arrange(truth))
    labels[0, :4, :4], labels[-1, -2:, -2:] = LESION, VENTRICLES
    brain = stack.arrange(truth) > 0
    given = labels.copy()
    expected = clean_labels(labels, None, stack.spacing, config, brain)
    np.testing.assert_array_equal(labels, given)
    assert (expected != labels).any()
    found = clean_labels(labels, None, stack.spacing, config, PackedMask(brain), in_place=True)
    assert found is labels
    np.testing.assert_array_equal(found, expected)
