"""What tells a DICOM file from others, and how much of a file is read for its header."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from flairseg.dicom.gdcm import _has_modality_table
from flairseg.files.dicom_marks import has_dicom_mark, is_dicom_file

PREAMBLE = bytes(128) + b"DICM"
#: A Modality LUT Sequence with an item, explicit, in either byte order; and the tag of PixelData.
TABLES = {
    "little": b"\x28\x00\x00\x30SQ\0\0\x08\0\0\0\xfe\xff\x00\xe0" + bytes(8),
    "big": b"\x00\x28\x30\x00SQ\0\0\0\0\0\x08\xff\xfe\xe0\x00" + bytes(8),
}
PIXELS = {"little": b"\xe0\x7f\x10\x00OW\0\0", "big": b"\x7f\xe0\x00\x10OW\0\0"}
BLOCK = 1 << 16


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PREAMBLE + b"\x02\x00", True),
        (PREAMBLE, True),
        (b"\xff" * 128 + b"DICM\x02", True),
        (bytes(128) + b"DIC", False),
        (bytes(127) + b"DICM!", False),
        (b"DICM" + bytes(200), False),
        (b"", False),
    ],
)
def test_the_four_letters_after_the_preamble_decide(tmp_path, content, expected):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert has_dicom_mark(content) is expected
    assert is_dicom_file(path) is expected


def test_what_is_no_regular_file_is_no_dicom_file(tmp_path):
    assert not is_dicom_file(tmp_path)
    assert not is_dicom_file(tmp_path / "absent")
    assert not is_dicom_file(tmp_path / "\0")
    (tmp_path / "file").write_bytes(PREAMBLE)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert is_dicom_file(tmp_path / "link")


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("before", [0, BLOCK - 146, BLOCK - 133, 3 * BLOCK])
def test_a_table_before_the_pixels_is_found_wherever_a_block_ends(tmp_path, order, before):
    path = tmp_path / "image.dcm"
    path.write_bytes(PREAMBLE + bytes(before) + TABLES[order] + PIXELS[order] + bytes(64))
    assert _has_modality_table(path)
    # Pixels may hold the very bytes of one.
    path.write_bytes(PREAMBLE + bytes(before) + PIXELS[order] + bytes(BLOCK) + TABLES[order])
    assert not _has_modality_table(path)


@pytest.mark.parametrize("table", [False, True])
def test_a_deflated_header_is_inflated(tmp_path, table):
    syntax = b"\x02\x00\x10\x00UI\x16\x00" + b"1.2.840.10008.1.2.1.99"
    meta = b"\x02\x00\x00\x00UL\x04\x00" + len(syntax).to_bytes(4, "little") + syntax
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = (TABLES["little"] if table else b"") + PIXELS["little"] + bytes(3 * BLOCK) + TABLES["little"]
    (tmp_path / "image.dcm").write_bytes(PREAMBLE + meta + deflater.compress(body) + deflater.flush())
    assert _has_modality_table(tmp_path / "image.dcm") is table


def test_pixels_are_not_read_for_the_header(tmp_path):
    path = tmp_path / "image.dcm"
    path.write_bytes(PREAMBLE + PIXELS["little"])
    with path.open("ab") as stream:
        stream.truncate(200 << 20)
    tracemalloc.start()
    try:
        assert not _has_modality_table(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
