"""Names of case folders: safe everywhere, different for different cases, and never a way out of the archive."""

from __future__ import annotations

import os
import unicodedata

import pytest
from flairseg.files.safe_names import MAXIMUM_FOLDER_BYTES as MAXIMUM_BYTES
from flairseg.files.safe_names import folder_name, marked, same_on_some_disk
from hypothesis import given
from hypothesis import strategies as st

WINDOWS_RESERVED = ["CON", "prn", "AUX.txt", "nul", "COM1", "lpt9", "COM¹", "Con .x"]
TRICKS = [
    "../x",
    "..",
    ".",
    "a/b",
    "a\\b",
    "C:",
    "C:\\x",
    "/etc/passwd",
    "\\\\server\\share",
    "a\0b",
    "a\nb",
    "~/x",
    "x/../../y",
]


def is_safe(name: str) -> bool:
    return (
        0 < len(name.encode()) <= MAXIMUM_BYTES
        and not set(name) & set('<>:"/\\|?*')
        and name.isprintable()
        and name == os.path.basename(name)
        and not name.startswith((".", " "))
        and not name.endswith((".", " "))
        and name.split(".")[0].rstrip(" ").lower() not in ("con", "prn", "aux", "nul")
    )


@pytest.mark.parametrize("name", ["sub-01", "P 07 (left)", "بیمار ۷", "Größe_2", "a.b.c", "x" * 96])
def test_ordinary_names_stay_as_they_are(name):
    assert folder_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", [*WINDOWS_RESERVED, *TRICKS, ".hidden", "end.", "end ", " x", "x" * 97, "é" * 60])
def test_unsafe_names_are_changed_and_marked(name):
    safe = folder_name(name)
    assert is_safe(safe), safe
    assert safe != name
    assert safe[-9] == "~"


@given(st.text(st.characters(), min_size=1).filter(str.strip))
def test_every_name_becomes_a_safe_one(name):
    assert is_safe(folder_name(name))


@given(
    st.text("ab/\\.: \u202e\u0301é", min_size=1, max_size=4).filter(str.strip),
    st.text("ab/\\.: \u202e\u0301é", min_size=1, max_size=4).filter(str.strip),
)
def test_different_cases_get_different_folders(one, other):
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (folder_name(one) == folder_name(other)) == same


def test_a_name_cannot_pretend_to_be_marked():
    safe = folder_name("a/b")
    assert folder_name(safe) != safe


def test_names_that_some_disks_take_for_one():
    assert same_on_some_disk("Case", "cASE")
    assert same_on_some_disk("e\u0301", "é")
    assert not same_on_some_disk("a", "b")
    assert marked("Case", "Case") != marked("case", "case")


@pytest.mark.parametrize("name", ["", "   ", "\n"])
def test_a_case_needs_a_name(name):
    with pytest.raises(ValueError, match="name"):
        folder_name(name)
