"""A small cohort for tests: painted heads of some sessions, and sessions broken in many ways."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from flairseg.image.volume import Volume

from Testing.core.tiny import make_head, to_nifti

#: Voxels of the smallest head that goes through all stages in a third of a second.
SHAPE, SPACING = (10, 72, 64), (3.0, 3.0, 12.0)


def head(seed: int = 0, contrast: str = "flair") -> Volume:
    """A head with noise and brightness of its own, so that no two sessions hash alike."""
    volume, _ = make_head(SHAPE, SPACING, contrast=contrast)
    rng = np.random.default_rng(seed)
    return replace(volume, array=(volume.array * rng.uniform(0.9, 1.1) + rng.normal(0, 1, SHAPE)).astype(np.int16))


def bids_image(root: Path, subject: str, session: str = "", name: str = "FLAIR", seed: int = 0) -> Path:
    """A FLAIR in a BIDS data set."""
    parts = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    path = root.joinpath(*parts, "anat", f"{'_'.join(parts)}_{name}.nii.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    return to_nifti(head(seed), path)


def bids_dataset(root: Path, people: dict[str, int]) -> Path:
    """A data set of subjects with so many sessions each; 0: one without a label."""
    root.mkdir(parents=True, exist_ok=True)
    description = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    for n, (subject, sessions) in enumerate(people.items()):
        for session in [""] if not sessions else map(str, range(1, sessions + 1)):
            bids_image(root, subject, session, seed=10 * n + int(session or 0))
    return root


def _nifti(change: Callable[[Volume], Volume]) -> Callable[[Path, Volume], None]:
    return lambda path, volume: to_nifti(change(volume), path) and None


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path, Volume], None]:
    def write(path: Path, volume: Volume) -> None:
        to_nifti(volume, path)
        path.write_bytes(change(path.read_bytes()))

    return write


def _header(at: int, value: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        raw = bytearray(gzip.decompress(data))
        raw[at : at + len(value)] = value
        return gzip.compress(bytes(raw), 1)

    return change


def _gone(path: Path, volume: Volume) -> None:
    path.symlink_to(path.parent / "nowhere.nii.gz")


def _folder(path: Path, volume: Volume) -> None:
    path.mkdir()


#: Twenty ways in which a session is broken: what is written in place of its image.
BREAKAGES: dict[str, Callable[[Path, Volume], None]] = {
    "empty": _bytes(lambda data: b""),
    "truncated": _bytes(lambda data: data[: len(data) // 2]),
    "not gzip": _bytes(lambda data: b"this is text" * 40),
    "gzip of text": _bytes(lambda data: gzip.compress(b"this is text" * 100)),
    "constant": _nifti(lambda v: replace(v, array=np.full_like(v.array, 7))),
    "zero": _nifti(lambda v: replace(v, array=np.zeros_like(v.array))),
    "not a number": _nifti(lambda v: replace(v, array=np.full(v.array.shape, np.nan, np.float32))),
    "4-D": _bytes(_header(40, np.array([4, 64, 72, 5, 2, 1, 1, 1], "<i2").tobytes())),
    "no voxels": _bytes(_header(40, np.array([3, 0, 0, 0, 1, 1, 1, 1], "<i2").tobytes())),
    "header of nonsense": _bytes(_header(0, b"\xff" * 348)),
    "unknown type": _bytes(_header(70, np.array([9999, 16], "<i2").tobytes())),
    "giant voxels": _nifti(lambda v: replace(v, ijk_to_ras=np.diag([900.0, 900.0, 900.0, 1.0]))),
    "voxels of no size": _nifti(lambda v: replace(v, ijk_to_ras=np.diag([1e-7, 1e-7, 1e-7, 1.0]))),
    "sheared": _nifti(lambda v: replace(v, ijk_to_ras=v.ijk_to_ras + np.diag([3.0, 0, 0], 1))),
    "tiny": _nifti(lambda v: replace(v, array=v.array[:2, :4, :4])),
    "cut header": _bytes(lambda data: gzip.compress(gzip.decompress(data)[:200])),
    "trailing data": _bytes(lambda data: gzip.compress(gzip.decompress(data)[:-5000])),
    "link to nothing": _gone,
    "folder": _folder,
    "complex": _bytes(_header(70, np.array([32, 64], "<i2").tobytes())),
}
