"""DICOM series with odd headers: what pydicom says of each slice, a warning, or a refusal.

Header fields are drawn at random within what readers accept. The reference knows nothing of stacks: it asks pydicom
where each slice lies and what its pixels mean, and looks for each slice of the volume among the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from flairseg.dicom.stack import MISALIGNED_MM
from flairseg.errors import FlairSegError
from flairseg.image.volume import Volume
from flairseg.io.reader import read_volume
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from Testing.core.dicom_series import write_series
from Testing.core.test_odd_files import draw_affine

#: Warnings after which the geometry may be another than each slice's own header says.
PLACED_OTHERWISE = {"positions-missing", "spacing-unknown", "slice-distance-varies", "slices-turned"}
#: Warnings, and lines of information, that say that images of the series are not used.
LEFT_OUT = {"images-left-out", "part-of-the-head", "captures-left-out", "copies-left-out"}
#: Series by reader (SimpleITK's GDCM stands for an installation without pydicom), and enhanced files.
SERIES = {"pydicom": 80, "GDCM": 30}
ENHANCED = 30


def draw_volume(rng: np.random.Generator) -> Volume:
    shape = (int(rng.integers(3, 9)), *(int(n) for n in rng.integers(16, 21, 2)))
    array = rng.integers(0, 2000, shape).astype(np.float32)
    return Volume(array, draw_affine(rng), "odd")


# --- what is odd about a series: each changes the data sets of its slices


def stored(data: Dataset) -> np.ndarray:
    """Pixels as they lie in the file, rows x columns, for data sets that are not compressed."""
    kind = ("<i" if data.PixelRepresentation else "<u") + str(data.BitsAllocated // 8)
    count = int(data.Rows) * int(data.Columns)
    return np.frombuffer(data.PixelData, kind, count).reshape(data.Rows, data.Columns).copy()


def store(data: Dataset, array: np.ndarray) -> None:
    raw = np.ascontiguousarray(array).tobytes()
    data.PixelData = raw + bytes(len(raw) % 2)


def rescaled(rng: np.random.Generator, slices: list[Dataset]) -> None:
    by_slice = rng.random() < 0.4
    slope, intercept = rng.choice([0.25, 1.0, 3.7, 1e-3, -1.0]), rng.choice([0.0, -1024.0, 12.5])
    for data in slices:
        slope = rng.uniform(0.5, 2.0) if by_slice else slope
        data.RescaleSlope, data.RescaleIntercept = f"{slope:.6g}", f"{intercept:.6g}"


def rescaled_by_zero(rng: np.random.Generator, slices: list[Dataset]) -> None:
    for data in slices:
        data.RescaleSlope, data.RescaleIntercept = "0", "0"


def intercept_alone(rng: np.random.Generator, slices: list[Dataset]) -> None:
    for data in slices:
        data.RescaleIntercept = "-200"


def signed(rng: np.random.Generator, slices: list[Dataset]) -> None:
    for data in slices:
        array = stored(data).astype(np.int16) - 1000
        data.PixelRepresentation = 1
        store(data, array)


def twelve_bits(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """12 bits stored, signed or not; what stands above them (an overlay of old scanners) is no image."""
    negative, overlay = rng.random() < 0.5, rng.random() < 0.6
    for data in slices:
        array = stored(data).astype(np.int32) - (1000 if negative else 0)
        bits = (array & 0x0FFF) | (rng.integers(0, 16, array.shape) << 12 if overlay else 0)
        data.PixelRepresentation = int(negative)
        data.BitsStored, data.HighBit = 12, 11
        store(data, bits.astype(np.uint16))


def upper_bits(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """12 bits stored in the upper bits of the word, an overlay or nothing below: retired, but in old archives."""
    negative, overlay = rng.random() < 0.5, rng.random() < 0.6
    for data in slices:
        array = stored(data).astype(np.int32) - (1000 if negative else 0)
        bits = (array & 0x0FFF) << 4 | (rng.integers(0, 16, array.shape) if overlay else 0)
        data.PixelRepresentation = int(negative)
        data.BitsStored, data.HighBit = 12, 15
        store(data, bits.astype(np.uint16))


def eight_bits(rng: np.random.Generator, slices: list[Dataset]) -> None:
    for data in slices:
        array = (stored(data) // 8).astype(np.uint8)
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        store(data, array)


def padded(rng: np.random.Generator, slices: list[Dataset]) -> None:
    value, last = int(rng.choice([0, 1999, 63536])), None
    if rng.random() < 0.3:
        last = value - 3 if value > 3 else value + 3
    for data in slices:
        if data.BitsAllocated != 16 or data.PixelRepresentation:
            return
        array = stored(data)
        array[:3] = value
        store(data, array)
        data.add_new("PixelPaddingValue", "US", value)
        if last is not None:
            data.add_new("PixelPaddingRangeLimit", "US", last)


def inverted(rng: np.random.Generator, slices: list[Dataset]) -> None:
    for data in slices:
        data.PhotometricInterpretation = "MONOCHROME1"


def modality_table(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """A Modality LUT in place of slope and intercept."""
    for data in slices:
        if data.BitsAllocated != 16 or data.PixelRepresentation:
            return
        table = Dataset()
        table.add_new("LUTDescriptor", "US", [2048, 0, 16])
        table.add_new("LUTData", "US", [int(n * n / 1000) for n in range(2048)])
        table.ModalityLUTType = "US"
        data.ModalityLUTSequence = [table]
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            if keyword in data:
                delattr(data, keyword)


def padded_uids(rng: np.random.Generator, slices: list[Dataset]) -> None:
    for data in slices[::2]:
        raw = data.SeriesInstanceUID
        data.add_new("SeriesInstanceUID", "UI", str(raw) + str(rng.choice([" ", "\0", "  "])))


def numbered(rng: np.random.Generator, slices: list[Dataset]) -> None:
    order = rng.permutation(len(slices)) if rng.random() < 0.5 else np.arange(len(slices))[::-1]
    kind = rng.integers(0, 4)
    for n, data in zip(order, slices, strict=True):
        data.InstanceNumber = (int(n), -int(n), 7, int(n) * 10)[kind]
        if kind == 3 and rng.random() < 0.2:
            del data.InstanceNumber


def doubled(rng: np.random.Generator, slices: list[Dataset]) -> None:
    import copy

    for data in [slices[n] for n in rng.choice(len(slices), min(2, len(slices)), replace=False)]:
        twin = copy.deepcopy(data)
        if rng.random() < 0.5:
            twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        slices.append(twin)


def repeated(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """A second image of some places or of all, which nothing but the pixels tells from the first."""
    import copy

    for data in slices[: int(rng.integers(1, len(slices) + 1))]:
        twin = copy.deepcopy(data)
        twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        store(twin, stored(twin)[::-1])
        if rng.random() < 0.5:
            twin.EchoTime = "20"
        slices.append(twin)


def one_missing(rng: np.random.Generator, slices: list[Dataset]) -> None:
    if len(slices) > 3:
        del slices[int(rng.integers(1, len(slices) - 1))]


def every_other_missing(rng: np.random.Generator, slices: list[Dataset]) -> None:
    if len(slices) > 3:
        del slices[1::2]


def shaken(rng: np.random.Generator, slices: list[Dataset]) -> None:
    size = float(rng.choice([0.005, 0.03, 0.2, 0.45])) * float(slices[0].SpacingBetweenSlices)
    axis = np.cross(*np.reshape(np.array(slices[0].ImageOrientationPatient, float), (2, 3)))
    for data in slices:
        place = np.array(data.ImagePositionPatient, float) + rng.uniform(-size, size) * axis
        data.ImagePositionPatient = [f"{x:.5f}" for x in place]


def tilted(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """Slices shifted sideways, a little more each."""
    by = float(rng.choice([0.001, 0.02, 0.3])) * float(slices[0].SpacingBetweenSlices)
    along = np.array(slices[0].ImageOrientationPatient, float)[3:]
    for n, data in enumerate(slices):
        data.ImagePositionPatient = [f"{x:.5f}" for x in np.array(data.ImagePositionPatient, float) + n * by * along]


def turned(rng: np.random.Generator, slices: list[Dataset]) -> None:
    from scipy.spatial.transform import Rotation

    chosen = slices[int(rng.integers(len(slices)))]
    turn = Rotation.from_rotvec(rng.normal(size=3) * rng.choice([0.001, 0.01, 0.1]))
    own = np.array(chosen.ImageOrientationPatient, float).reshape(2, 3)
    chosen.ImageOrientationPatient = [f"{x:.6f}" for x in turn.apply(own).ravel()]


def stretched(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """Direction cosines that are no unit vectors."""
    by = float(rng.choice([0.995, 1.01, 2.0]))
    for data in slices:
        data.ImageOrientationPatient = [f"{by * float(x):.6f}" for x in data.ImageOrientationPatient]


def without(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """Attributes that are missing, in all slices or in one."""
    keywords = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
                "SpacingBetweenSlices")  # fmt: skip
    keyword = str(rng.choice(keywords))
    for data in slices if rng.random() < 0.7 else slices[:1]:
        if keyword in data:
            delattr(data, keyword)


def other_distance(rng: np.random.Generator, slices: list[Dataset]) -> None:
    by = float(rng.choice([-1.0, 0.5, 1.2, 0.0]))
    for data in slices:
        data.SpacingBetweenSlices = f"{by * float(data.SpacingBetweenSlices):.5g}"


def other_pixels(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """One slice, or half of them, with other pixels than the rest."""
    by = float(rng.choice([1.0004, 1.03, 1.5]))
    for data in slices[:1] if rng.random() < 0.5 else slices[: len(slices) // 2]:
        data.PixelSpacing = [f"{by * float(x):.6f}" for x in data.PixelSpacing]


def other_size(rng: np.random.Generator, slices: list[Dataset]) -> None:
    data = slices[0]
    array = stored(data)
    data.Rows = int(data.Rows) + 2
    store(data, np.concatenate([array, array[:2]]))


def captured(rng: np.random.Generator, slices: list[Dataset]) -> None:
    import copy

    data = copy.deepcopy(slices[0])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.ImageType = ["DERIVED", "SECONDARY"]
    if rng.random() < 0.5:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            delattr(data, keyword)
    store(data, stored(data)[:, ::-1])
    slices.append(data)


def odd_numbers(rng: np.random.Generator, slices: list[Dataset]) -> None:
    """Decimal strings as they are allowed and as they are not."""
    kind = rng.integers(0, 3)
    for data in slices:
        for keyword in ("ImagePositionPatient", "PixelSpacing"):
            texts = [f"{float(x):.6E}" if kind else f" {float(x):+.5f}" for x in data[keyword].value]
            if kind == 2:
                texts = [text.replace(".", ",") for text in texts]
            raw = "\\".join(texts).encode()
            tag = data[keyword].tag
            data[tag] = pydicom.dataelem.RawDataElement(
                tag, "DS", len(raw) + len(raw) % 2, raw + b" " * (len(raw) % 2), 0, False, True
            )


TRICKS: tuple[Callable[[np.random.Generator, list[Dataset]], None], ...] = (
    rescaled, rescaled_by_zero, intercept_alone, signed, twelve_bits, upper_bits, eight_bits, padded, inverted,
    modality_table, padded_uids, numbered, doubled, repeated, one_missing, every_other_missing, shaken, tilted, turned,
    stretched, without, other_distance, other_pixels, other_size, captured, odd_numbers,
)  # fmt: skip
#: Those that read pixels or places as the others leave them, and so come first.
_FIRST = (signed, twelve_bits, upper_bits, eight_bits, other_size)
_LAST = (captured, without, odd_numbers)
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
            RLELossless)  # fmt: skip


def write_odd_series(rng: np.random.Generator, folder: Path) -> list[str]:
    """A classic series with up to three oddities; their names."""
    write_series(draw_volume(rng), folder / "plain", "toshiba")
    slices = [pydicom.dcmread(path) for path in sorted((folder / "plain").iterdir())]
    for path in (folder / "plain").iterdir():
        path.unlink()
    (folder / "plain").rmdir()
    if rng.random() < 0.5:
        slices.reverse()
    chosen = [TRICKS[n] for n in rng.choice(len(TRICKS), int(rng.integers(0, 4)), replace=False)]
    chosen.sort(key=lambda trick: (trick not in _FIRST, 1 + _LAST.index(trick) if trick in _LAST else 0))
    if sum(trick in _FIRST[:4] for trick in chosen) > 1:
        chosen = [trick for trick in chosen if trick not in _FIRST[1:4]]
    for trick in chosen:
        trick(rng, slices)
    syntax = SYNTAXES[int(rng.choice(len(SYNTAXES), p=[0.4, 0.25, 0.1, 0.1, 0.15]))]
    for n, data in enumerate(slices):
        _save(data, syntax, folder / f"IM{n:03d}")
    return [trick.__name__ for trick in chosen] + [syntax.name]


def _save(data: Dataset, syntax: pydicom.uid.UID, path: Path) -> None:
    if syntax == ExplicitVRBigEndian and data.BitsAllocated == 16:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    if syntax == RLELossless and data.BitsStored < data.BitsAllocated:
        syntax = ExplicitVRLittleEndian
    if syntax == RLELossless:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data["PixelData"].VR = "OW"
        data.compress(RLELossless, stored(data), generate_instance_uid=False)
    data.file_meta.TransferSyntaxUID = syntax
    # A data set that was not read from a file has no encoding of its own that saving would have to keep.
    fresh = Dataset()
    fresh.update(data)
    fresh.file_meta = data.file_meta
    fresh.save_as(path, enforce_file_format=True)


# --- enhanced files


def write_enhanced(rng: np.random.Generator, folder: Path) -> list[str]:
    """One enhanced multi-frame file with its functional groups shared or by frame, and what goes wrong with them."""
    told: list[str] = []

    def change(data: Dataset, _k: int) -> None:
        shared, frames = data.SharedFunctionalGroupsSequence[0], list(data.PerFrameFunctionalGroupsSequence)
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence"):
            if rng.random() < 0.4:
                for frame in frames:
                    setattr(frame, name, pydicom.Sequence([pydicom.Dataset(shared[name].value[0])]))
                delattr(shared, name)
                told.append(f"{name} by frame")
        for trick in rng.choice(9, int(rng.integers(0, 3)), replace=False):
            told.append(str(trick))
            if trick == 0:
                for frame in frames:
                    item = Dataset()
                    item.RescaleSlope, item.RescaleIntercept = f"{rng.uniform(0.5, 2):.5f}", "-3"
                    item.RescaleType = "US"
                    frame.PixelValueTransformationSequence = [item]
                if "PixelValueTransformationSequence" in shared:
                    del shared.PixelValueTransformationSequence
            elif trick == 1:
                order = rng.permutation(len(frames))
                pixels = np.frombuffer(data.PixelData, "<u2").reshape(len(frames), data.Rows, data.Columns)
                data.PixelData = pixels[order].tobytes()
                frames = [frames[n] for n in order]
            elif trick == 2:
                frames[0].pop("PlanePositionSequence", None)
            elif trick == 3:
                for frame in frames:
                    frame.pop("PlanePositionSequence", None)
            elif trick == 4:
                target = frames[0] if "PixelMeasuresSequence" in frames[0] else shared
                del target.PixelMeasuresSequence
            elif trick == 5:
                data.NumberOfFrames = len(frames) - 1
            elif trick == 6:
                axis = np.array(frames[0].PlanePositionSequence[0].ImagePositionPatient, float) if (
                    "PlanePositionSequence" in frames[0]) else None  # fmt: skip
                if axis is not None:
                    frames[-1].PlanePositionSequence[0].ImagePositionPatient = [f"{x:.4f}" for x in axis]
            elif trick == 7:
                for frame in frames[::2]:
                    frame.FrameContentSequence[0].StackID = "2"
            else:
                mapping = Dataset()
                mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 5.0, 3.0
                mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, 4000
                shared.RealWorldValueMappingSequence = [mapping]
        data.PerFrameFunctionalGroupsSequence = frames

    write_series(draw_volume(rng), folder, str(rng.choice(["siemens", "philips"])), enhanced=True, change=change)
    return told


# --- what pydicom says of them


@dataclass
class Slice:
    """A slice as its own header has it: values (J, I), corners (4, 3; RAS mm) or None, where it is no padding."""

    values: np.ndarray
    corners: np.ndarray | None
    image: np.ndarray
    capture: bool


def slices_of(folder: Path) -> Iterator[Slice]:
    for path in sorted(folder.iterdir()):
        data = pydicom.dcmread(path)
        pixels = _own_bits(data)
        count = int(data.get("NumberOfFrames", 1))
        if "PerFrameFunctionalGroupsSequence" not in data:
            yield _slice(data, pixels, data, data, data, apply_modality_lut(pixels, data))
            continue
        shared = data.SharedFunctionalGroupsSequence[0]
        for frame, array in zip(data.PerFrameFunctionalGroupsSequence[:count], pixels, strict=False):
            place, plane, measures, rescale = (
                next((g[name].value[0] for g in (frame, shared) if name in g), Dataset())
                for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence",
                             "PixelValueTransformationSequence")
            )  # fmt: skip
            yield _slice(data, array, place, plane, measures, apply_modality_lut(array, rescale))


def _own_bits(data: Dataset) -> np.ndarray:
    """Pixel values of the bits that hold the image (PS3.5, 8.1.1), the sign extended."""
    shift, bits = int(data.HighBit) + 1 - int(data.BitsStored), int(data.BitsStored)
    # pydicom masks by BitsStored, wherever they are.
    data.BitsStored = int(data.HighBit) + 1
    array = data.pixel_array
    data.BitsStored = bits
    own = (array.astype(np.int64) >> shift) & ((1 << bits) - 1)
    return np.where(own >> (bits - 1), own - (1 << bits), own) if data.PixelRepresentation else own


def _slice(
    data: Dataset, array: np.ndarray, place: Dataset, plane: Dataset, measures: Dataset, values: np.ndarray
) -> Slice:
    corners = None
    try:
        start, own = (np.array([float(x) for x in d[k].value]) for d, k in
                      ((place, "ImagePositionPatient"), (plane, "ImageOrientationPatient")))  # fmt: skip
        down, along = (float(x) for x in measures["PixelSpacing"].value)
        row, column = (v / np.linalg.norm(v) for v in own.reshape(2, 3))
        ends = [(0, 0), (0, array.shape[1] - 1), (array.shape[0] - 1, 0), (array.shape[0] - 1, array.shape[1] - 1)]
        corners = np.array([start + j * down * column + i * along * row for j, i in ends]) * [-1, -1, 1]
    except (KeyError, ValueError, TypeError):
        pass
    image = np.ones(array.shape, bool)
    if "PixelPaddingValue" in data:
        first = int(data.PixelPaddingValue)
        low, high = sorted((first, int(data.get("PixelPaddingRangeLimit", first))))
        image = (array < low) | (array > high)
    values = np.asarray(values, float)
    if data.get("RescaleSlope") == 0:
        # A scale of 0 makes no sense; readers that apply it get an empty image.
        values = array.astype(float)
    return Slice(values, corners, image, data.SOPClassUID == SecondaryCaptureImageStorage)


# --- comparison


def compared(volume: Volume, slices: Sequence[Slice]) -> str:
    """``same``, or which codes tell of a difference; fails where one is silent."""
    told = {warning.code for warning in (*volume.warnings, *volume.information)}
    geometry = volume.geometry
    used: set[int] = set()
    moved = 0.0
    for k, array in enumerate(volume.array):
        inverse = "stored-inverted" in told
        fits = []
        for n, one in enumerate(slices):
            if one.values.shape != array.shape:
                continue
            difference = (array + one.values if inverse else array - one.values)[one.image]
            if np.ptp(difference) <= 0.01 + 2e-6 * np.abs(one.values).max() and (inverse or abs(difference[0]) < 0.01):
                fits.append(n)
        assert fits, f"slice {k} of the volume is in none of the files"
        n = next((n for n in fits if n not in used), fits[0])
        used.add(n)
        rows, columns = array.shape
        own = geometry.part((k, 0, 0), (1, rows, columns)).ijk_to_ras
        ends = [(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)]
        here = np.array([(own @ [i, j, 0, 1])[:3] for i, j in ends])
        off = np.inf if slices[n].corners is None else float(np.linalg.norm(here - slices[n].corners, axis=1).max())
        moved = max(moved, off)
    unused = [one for n, one in enumerate(slices) if n not in used]
    if unused:
        assert told & LEFT_OUT, f"{len(unused)} of {len(slices)} images are not used, without a word"
    if moved > MISALIGNED_MM[0]:
        assert told & PLACED_OTHERWISE, f"slices lie {moved:.3g} mm from where their headers put them, without a word"
    codes = told & (PLACED_OTHERWISE | LEFT_OUT | {"slices-missing", "wide-slice-gap", "slabs-merged"})
    return "told: " + ", ".join(sorted(codes)) if codes else "same"


def outcome(folder: Path, slices: Sequence[Slice]) -> tuple[str, Volume | None]:
    try:
        volume = read_volume(folder)
    except FlairSegError as error:
        return f"refused: {error.code}" if error.advice else "refused without advice", None
    return compared(volume, slices), volume


@pytest.mark.parametrize("reader", SERIES)
def test_odd_series_are_read_as_each_slice_says_or_not_at_all(tmp_path, monkeypatch, reader):
    if reader == "GDCM":
        monkeypatch.setattr("flairseg.dicom.gdcm.find_spec", lambda _name: None)
    found = Counter()
    for seed in range(SERIES[reader]):
        folder = tmp_path / f"s{seed}"
        names = write_odd_series(np.random.default_rng([seed, 7]), folder)
        try:
            found[outcome(folder, list(slices_of(folder)))[0]] += 1
        except AssertionError as error:
            raise AssertionError(f"series {seed} ({', '.join(names)}): {error}") from error
    print(reader, dict(found))
    assert "refused without advice" not in found
    assert found["same"] >= SERIES[reader] // 4
    assert len(found) >= 6


def test_odd_enhanced_files_are_read_as_each_frame_says_or_not_at_all(tmp_path):
    found = Counter()
    for seed in range(ENHANCED):
        folder = tmp_path / f"e{seed}"
        names = write_enhanced(np.random.default_rng([seed, 8]), folder)
        try:
            found[outcome(folder, list(slices_of(folder)))[0]] += 1
        except AssertionError as error:
            raise AssertionError(f"file {seed} ({', '.join(names)}): {error}") from error
    print(dict(found))
    assert "refused without advice" not in found
    assert found["same"] >= ENHANCED // 4
    assert len(found) >= 3


@pytest.mark.parametrize("lacking", ["LUTData", "LUTDescriptor"])
def test_a_damaged_modality_lut_is_told_as_such(tmp_path, lacking):
    rng = np.random.default_rng(5)
    write_series(draw_volume(rng), tmp_path, "toshiba")
    for path in tmp_path.iterdir():
        data = pydicom.dcmread(path)
        table = Dataset()
        table.add_new("LUTDescriptor", "US", [4, 0, 16])
        table.add_new("LUTData", "US", [0, 1, 2, 3])
        table.ModalityLUTType = "US"
        delattr(table, lacking)
        data.ModalityLUTSequence = [table]
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            if keyword in data:
                delattr(data, keyword)
        data.save_as(path)
    with pytest.raises(FlairSegError, match="Modality LUT is damaged"):
        read_volume(tmp_path)
