"""The lists of shipped files in ``FlairSegExtension/CMakeLists.txt``, from git: ``python tools/cmake_lists.py``.

Each list stands between its ``set(NAME`` and the closing bracket. ``--check`` changes nothing and exits with 1 where a
list is not what git says.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = "FlairSegExtension"
#: Files of the module FLAIR Review; all others are the module FLAIR Segmentation's.
REVIEW = re.compile(r"FlairSegReview\.py|FlairSegLib/review_panel/.*|Resources/.*/FlairSeg(Review|Queue|Study).*")


def shipped(root: Path) -> list[str]:
    """Files of the extension that git tracks or will track, relative to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", EXTENSION]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    names = {name for name in listing.split("\0") if name and (root / name).is_file()}
    return sorted(name.removeprefix(f"{EXTENSION}/") for name in names - {f"{EXTENSION}/CMakeLists.txt"})


def lists(files: list[str]) -> dict[str, list[str]]:
    """The files by the name of their CMake list."""
    out: dict[str, list[str]] = {}
    for module in ("MODULE", "REVIEW"):
        own = [file for file in files if bool(REVIEW.fullmatch(file)) == (module == "REVIEW")]
        out[f"{module}_PYTHON_SCRIPTS"] = [file for file in own if file.endswith(".py")]
        out[f"{module}_PYTHON_RESOURCES"] = [file for file in own if not file.endswith(".py")]
    return out


def with_lists(text: str, files: list[str]) -> str:
    """The text of ``CMakeLists.txt`` with these files in its lists."""
    for name, entries in lists(files).items():
        body = "".join(f"  {entry}\n" for entry in entries)
        text, count = re.subn(rf"(?m)^set\({name}\n(  .*\n)*?  \)", f"set({name}\n{body}  )", text)
        if count != 1:
            raise ValueError(f"CMakeLists.txt has {count} lists called {name}")
    return text


def main() -> int:
    """Write the lists, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where a list is out of date")
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
