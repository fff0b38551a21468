"""Names of cases in Slicer: the node's where it says whose it is, else that of its file or DICOM series."""

from __future__ import annotations

import pytest


class Node:
    """What is asked of a volume node."""

    def __init__(self, name: str, path: str | None = None) -> None:
        self._name, self._path = name, path

    def GetName(self) -> str:
        return self._name

    def GetAttribute(self, name: str) -> None:
        return None

    def GetStorageNode(self):
        return None if self._path is None else self

    def GetFileName(self) -> str | None:
        return self._path


@pytest.mark.parametrize(
    ("name", "path", "case"),
    [
        ("flair", "/data/p1/flair.nii.gz", "p1_flair"),
        ("flair_1", "/data/p1/flair.nii.gz", "p1_flair"),
        ("FLAIR", "/data/sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz", "sub-01_ses-2"),
        ("phantom-1_flair", "/data/p1/flair.nii.gz", "phantom-1_flair"),
        ("flair", None, "flair"),
        ("flair", "", "flair"),
    ],
)
def test_a_common_name_gives_way_to_the_files(name, path, case):
    from FlairSegLib.case_names import case_of

    assert case_of(Node(name, path)) == case
