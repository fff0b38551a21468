"""Update the lists of shipped files in ``FlairSegExtension/CMakeLists.txt``: ``python tools/cmake_lists.py``.

The lists ``set(NAME ...)`` are generated from the files known to git. ``--check`` changes nothing and exits with status
1 if a list is out of date.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = "FlairSegExtension"
#: Files of the module FLAIR Review; all others belong to FLAIR Segmentation.
REVIEW = re.compile(r"FlairSegReview\.py|FlairSegLib/review_panel/.*|Resources/.*/FlairSeg(Review|Queue|Study).*")


def shipped(root: Path) -> list[str]:
    """Tracked and untracked (not ignored) files of the extension, relative to its folder."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", EXTENSION]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    names = {name for name in listing.split("\0") if name and (root / name).is_file()}
    return sorted(name.removeprefix(f"{EXTENSION}/") for name in names - {f"{EXTENSION}/CMakeLists.txt"})


def lists(files: list[str]) -> dict[str, list[str]]:
    """Name of the CMake list -> its files."""
    out: dict[str, list[str]] = {}
    for module in ("MODULE", "REVIEW"):
        own = [file for file in files if bool(REVIEW.fullmatch(file)) == (module == "REVIEW")]
        out[f"{module}_PYTHON_SCRIPTS"] = [file for file in own if file.endswith(".py")]
        out[f"{module}_PYTHON_RESOURCES"] = [file for file in own if not file.endswith(".py")]
    return out


def with_lists(text: str, files: list[str]) -> str:
    """Text of ``CMakeLists.txt`` with these files in its lists.

    Raises
    ------
    ValueError
        If a list does not occur exactly once.
    """
    for name, entries in lists(files).items():
        body = "".join(f"  {entry}\n" for entry in entries)
        text, count = re.subn(rf"(?m)^set\({name}\n(  .*\n)*?  \)", f"set({name}\n{body}  )", text)
        if count != 1:
            raise ValueError(f"CMakeLists.txt has {count} lists called {name}")
    return text


def main() -> int:
    """Write or check the lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a list is out of date")
    arguments = parser.parse_args()
    path = ROOT / EXTENSION / "CMakeLists.txt"
    before = path.read_text(encoding="utf-8")
    after = with_lists(before, shipped(ROOT))
    if arguments.check:
        return int(before != after)
    path.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
