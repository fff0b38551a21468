"""Names that every file system takes, and that stay apart where a file system ignores case or Unicode form.

Rules for Windows: https://learn.microsoft.com/windows/win32/fileio/naming-a-file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

#: Longest stem in bytes of UTF-8: file systems allow names of 255, and the longest ending needs its share.
MAXIMUM_STEM_BYTES = 230
#: Longest folder name, bytes of UTF-8: leaves room below the 255 of file systems and the 260 of Windows' paths.
MAXIMUM_FOLDER_BYTES = 96

_MARK = "~"
_MARK_DIGITS = 8
_MARKED = re.compile(f"{_MARK}[0-9a-f]{{{_MARK_DIGITS}}}$", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?$", re.IGNORECASE)


def safe_name(name: str, maximum_bytes: int = MAXIMUM_STEM_BYTES) -> str:
    """A name that every file system takes: the name itself where that is safe, else marked with a piece of its hash.

    Path separators, control and reserved characters, reserved names, hidden names, names ending in a dot or space, and
    names that are too long are changed; different names still give different ones. What was made here is handed back.

    Parameters
    ----------
    name : str
        Not empty.
    maximum_bytes : int
        Longest result, bytes of UTF-8.

    Raises
    ------
    ValueError
        If the name is empty.
    """
    original = unicodedata.normalize("NFC", name)
    if not original.strip():
        raise ValueError("a case needs a name")
    safe = _FORBIDDEN.sub("_", "".join(c if c.isprintable() else "_" for c in original)).rstrip(". ").lstrip(" ")
    if safe.startswith("."):
        safe = "_" + safe[1:]
    if _RESERVED.match(safe):
        safe = "_" + safe
    if safe == original and len(safe.encode()) <= maximum_bytes:
        return safe
    return marked(safe or "_", original, maximum_bytes)


def folder_name(case: str) -> str:
    """Folder name of a case in the review archive: as :func:`safe_name`, and never one that looks marked already.

    The original name is in the verdict.

    Raises
    ------
    ValueError
        If the name is empty.
    """
    name = unicodedata.normalize("NFC", case)
    safe = safe_name(name, MAXIMUM_FOLDER_BYTES)
    return marked(safe, name) if safe == name and _MARKED.search(safe) else safe


def marked(safe: str, case: str, maximum_bytes: int = MAXIMUM_FOLDER_BYTES) -> str:
    """A safe name that also distinguishes cases whose names a file system would take for one."""
    original = unicodedata.normalize("NFC", case).encode("utf-8", "surrogatepass")
    mark = _MARK + hashlib.sha256(original).hexdigest()[:_MARK_DIGITS]
    return safe.encode("utf-8", "replace")[: maximum_bytes - len(mark)].decode("utf-8", "ignore").rstrip(". ") + mark


def folded(name: str) -> str:
    """A name as a file system that ignores case and Unicode form compares it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def same_on_some_disk(one: str, other: str) -> bool:
    """Whether a file system that ignores case or Unicode form takes two names for one."""
    return folded(one) == folded(other)
