"""Completeness of a MetaImage file's compressed voxels; ITK fills missing ones with whatever is in memory.

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from ..errors import UnreadableImageError

#: Bytes of a value. MET_LONG depends on the computer that wrote it, and is not checked.
_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
_HEADER_BYTES = 1 << 16
_CHUNK = 1 << 20
_DATA_FILE = re.compile(rb"^ElementDataFile *[=:] *([^\r\n]*?) *\r?\n", re.MULTILINE)


def check_whole(path: Path) -> None:
    """Refuse a file whose compressed voxels are damaged or fewer than its header announces.

    Parameters
    ----------
    path : Path
        ``.mha`` or ``.mhd``. What is not compressed, or is in several files, is left to ITK, which checks it.

    Raises
    ------
    UnreadableImageError
        Code ``damaged-voxels``.
    """
    with path.open("rb") as stream:
        found = _DATA_FILE.search(head := stream.read(_HEADER_BYTES))
    fields = metaimage_fields(head[: found.start()].decode("latin-1") if found else "")
    if found is None or fields.get("CompressedData", "").lower() not in ("true", "1"):
        return
    name, size = found[1].decode("utf-8", "replace"), _number(fields.get("CompressedDataSize", ""))
    if name.startswith("LIST") or "%" in name:
        return
    local = name.upper() == "LOCAL"
    # Beside the header, below it, or anywhere by an absolute path.
    data = path if local else path.parent / name
    # ITK does not check the size of a separate file, but not that of voxels behind the header.
    whole = (size > 0 or not local) and _decompressed(data, found.end() if local else 0, size)
    if whole is False or (isinstance(whole, int) and whole < _announced(fields)):
        raise UnreadableImageError(
            f"{path.name} cannot be read: its compressed voxels are damaged or incomplete.",
            "Copy or export the file again.",
            code="damaged-voxels",
            file=path.name,
        )


def metaimage_fields(text: str) -> dict[str, str]:
    """The fields of a header. Names count by their case, as in ITK, which ignores ``elementspacing``."""
    lines = (re.split(r" *[=:] *", line, maxsplit=1) for line in text.splitlines())
    return {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}


def _announced(fields: dict[str, str]) -> int:
    """Bytes of all voxels; 0 where the header does not state it."""
    count = _BYTES.get(fields.get("ElementType", ""), 0) * _number(fields.get("ElementNumberOfChannels", "1"))
    for size in fields.get("DimSize", "0").split():
        count *= _number(size)
    return count


def _number(text: str) -> int:
    """The whole number that a field begins with, as ITK reads it; 0 where there is none."""
    found = re.match(r" *(\d+)", text)
    return int(found[1]) if found else 0


def _decompressed(path: Path, start: int, size: int) -> int | bool:
    """Decompressed size of a zlib or gzip stream; False if it is damaged or ends too early."""
    count, left, unpacker = 0, size or None, zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            while not unpacker.eof:
                raw = stream.read(_CHUNK if left is None else min(_CHUNK, left))
                if not raw:
                    return False
                left = None if left is None else left - len(raw)
                count += len(unpacker.decompress(raw))
    except (OSError, zlib.error):
        return False
    return count
