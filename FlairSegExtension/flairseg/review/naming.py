"""Names of case folders: any name of a case becomes one that every file system takes, and no two become the same.

Rules for Windows: https://learn.microsoft.com/windows/win32/fileio/naming-a-file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

#: Longest folder name, bytes of UTF-8: leaves room below the 255 of file systems and the 260 of Windows' paths.
MAXIMUM_BYTES = 96

_MARK = "~"
_MARK_DIGITS = 8
_MARKED = re.compile(f"{_MARK}[0-9a-f]{{{_MARK_DIGITS}}}$", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?$", re.IGNORECASE)


def folder_name(case: str) -> str:
    """Folder name of a case: its own name where that is safe, else a safe one marked with a piece of its hash.

    Path separators, control and reserved characters, reserved names, hidden names, names ending in a dot or space,
    and names that are too long are changed; different cases still get different folders. The original name stands in
    the verdict.

    Raises
    ------
    ValueError
        If the name is empty.
    """
    name = unicodedata.normalize("NFC", case)
    if not name.strip():
        raise ValueError("a case needs a name")
    safe = _FORBIDDEN.sub("_", "".join(c if c.isprintable() else "_" for c in name)).rstrip(". ").lstrip(" ")
    if safe.startswith("."):
        safe = "_" + safe[1:]
    if _RESERVED.match(safe):
        safe = "_" + safe
    if safe == name and len(safe.encode()) <= MAXIMUM_BYTES and not _MARKED.search(safe):
        return safe
    return marked(safe or "_", name)


def marked(safe: str, case: str) -> str:
    """A safe name that also tells cases apart whose names a file system would take for one."""
    original = unicodedata.normalize("NFC", case).encode("utf-8", "surrogatepass")
    mark = _MARK + hashlib.sha256(original).hexdigest()[:_MARK_DIGITS]
    return safe.encode()[: MAXIMUM_BYTES - len(mark)].decode("utf-8", "ignore").rstrip(". ") + mark


def same_on_some_disk(one: str, other: str) -> bool:
    """Whether a file system that ignores case or Unicode form takes two names for one."""
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()
