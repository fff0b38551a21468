"""Neutral copies of the images: in a rater's room when the study is locked, and in a cache while one is shown.

Everything that could reveal a file's source is replaced: name, folder, header (description, intent, history), gzip
header's name and time, data type, modification time. Voxels and geometry are kept.
A mirrored copy is the array flipped along its left-right axis.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..files.hashing import file_sha256
from ..image.volume import Volume
from .images import Mirror, read_arm, read_source, resolve, source_sha256, write_neutral
from .key import KeyEntry, code_of
from .protocol import BLIND_NONE, BLIND_SOURCE, Protocol
from .room import IMAGES, Room, RoomShowing
from .schedule import PlannedShowing

#: Modification time of every neutral file: 2000-01-01 UTC. The order of writing must not show which belong together.
_NEUTRAL_TIME = 946684800
_CACHE_PREFIX = "reading-"


def make_images(
    protocol: Protocol,
    base: Path,
    rooms: Path,
    plans: Mapping[str, Sequence[PlannedShowing]],
    secret: str,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[dict[str, tuple[RoomShowing, ...]], dict[str, tuple[KeyEntry, ...]]]:
    """Write the neutral images of all rooms.

    Parameters
    ----------
    protocol : Protocol
    base : Path
        Folder that the protocol's relative paths start from.
    rooms : Path
        Folder in which each rater's folder is made.
    plans : mapping of str to sequence of PlannedShowing
        Rater -> order.
    secret : str
        Of the key.
    progress : callable, optional
        Called with (fraction, sentence) before each case; may raise to cancel.

    Returns
    -------
    showings, entries : dict
        Rater -> showings of the room, and rater -> entries of the key, in order.

    Raises
    ------
    BlindedImageError
        If an image or mask cannot be shown.
    OSError
        If a file cannot be written.
    """
    showings: dict[str, dict[int, RoomShowing]] = {rater: {} for rater in plans}
    entries: dict[str, dict[int, KeyEntry]] = {rater: {} for rater in plans}
    codes = {
        rater: [code_of(secret, protocol.id, rater, showing.position) for showing in plan]
        for rater, plan in plans.items()
    }
    for rater in plans:
        (rooms / rater / IMAGES).mkdir(parents=True)
    cases = (*protocol.training_cases, *protocol.cases)
    with tempfile.TemporaryDirectory(dir=rooms, prefix=".drafts-") as drafts:
        for n, case in enumerate(cases):
            if progress is not None:
                progress(n / len(cases), f"Preparing case {n + 1} of {len(cases)}")
            image_path = resolve(base, case.flair)
            image = read_source(image_path)
            image_sha256 = source_sha256(image_path)
            mirror = Mirror.of(image)
            for arm in case.arms:
                labels = read_arm(arm, base, image, protocol.minimum_lesion_mm3)
                mask_sha256 = source_sha256(resolve(base, arm.mask))
                for rater, planned in ((r, p) for r in plans for p in plans[r] if (p.case, p.arm) == (case.id, arm.id)):
                    code = codes[rater][planned.position]
                    used = mirror if planned.mirrored else None
                    showing = RoomShowing(
                        code=code,
                        position=planned.position,
                        caption=_caption(protocol, planned, code),
                        training=planned.training,
                        feedback=case.feedback if planned.training else "",
                        flair_sha256="",
                        labels_sha256="",
                    )
                    hashes = _write_pair(Path(drafts), rooms / rater / IMAGES, showing, image, labels, used, arm.id)
                    showings[rater][planned.position] = replace(
                        showing, flair_sha256=hashes[0], labels_sha256=hashes[1]
                    )
                    entries[rater][planned.position] = KeyEntry(
                        code=code,
                        position=planned.position,
                        case=case.id,
                        arm=arm.id,
                        repeat=planned.repeat,
                        training=planned.training,
                        mirror=used,
                        flair_sha256=image_sha256,
                        mask_sha256=mask_sha256,
                    )
            for draft in Path(drafts).iterdir():
                draft.unlink()
    return (
        {rater: tuple(found[p] for p in sorted(found)) for rater, found in showings.items()},
        {rater: tuple(found[p] for p in sorted(found)) for rater, found in entries.items()},
    )


class ImageCache:
    """The files of the showing on screen, in a temporary folder.

    A viewer shows names and paths of what it has loaded; these are the same for every case of every study:
    ``<temporary>/reading-<random>/flair.nii.gz`` and ``labels.nii.gz``. Files of a killed program are removed when the
    next one starts.

    Parameters
    ----------
    room : Room
        The showings come from here, checked against their sha256.
    """

    FLAIR = "flair.nii.gz"
    LABELS = "labels.nii.gz"
    _NOTE = "cache"

    def __init__(self, room: Room) -> None:
        self._room = room
        self._note = room.folder / self._NOTE
        self._folder: Path | None = None
        self._remove_left_over()

    def put(self, showing: RoomShowing) -> tuple[Path, Path]:
        """Replace the cache's content by a showing; (image, mask).

        Raises
        ------
        TamperedError
            If a file of the room is not the one that was locked.
        OSError
            If it cannot be written.
        """
        image, labels = self._room.image(showing), self._room.labels(showing)
        self.clear()
        folder = Path(tempfile.gettempdir()) / f"{_CACHE_PREFIX}{secrets.token_hex(8)}"
        self._note.write_text(str(folder), encoding="utf-8")
        folder.mkdir(mode=0o700)
        self._folder = folder
        for source, name in ((image, self.FLAIR), (labels, self.LABELS)):
            shutil.copyfile(source, folder / name)
        return folder / self.FLAIR, folder / self.LABELS

    def clear(self) -> None:
        """Remove what is there."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._note.unlink(missing_ok=True)

    def _remove_left_over(self) -> None:
        try:
            folder = Path(self._note.read_text(encoding="utf-8"))
        except OSError:
            return
        # The note is untrusted: only FlairSeg's own cache is ever removed.
        if folder.name.startswith(_CACHE_PREFIX) and folder.parent == Path(tempfile.gettempdir()):
            shutil.rmtree(folder, ignore_errors=True)
        self._note.unlink(missing_ok=True)


def _write_pair(
    drafts: Path,
    images: Path,
    showing: RoomShowing,
    image: Volume,
    labels: np.ndarray,
    mirror: Mirror | None,
    arm: str,
) -> tuple[str, str]:
    """The two files of a showing; (sha256 of the image, of the mask). Equal content is written once and linked."""
    side = "plain" if mirror is None else "mirrored"
    hashes = []
    for kind, array, name in (
        ("flair", image.array, showing.flair_name),
        (f"labels-{arm}", labels, showing.labels_name),
    ):
        draft = drafts / f"{kind}-{side}"
        if not draft.exists():
            write_neutral(draft, array if mirror is None else mirror.flip(array), image)
            os.utime(draft, (_NEUTRAL_TIME, _NEUTRAL_TIME))
        _link(draft, images / name)
        hashes.append(file_sha256(draft))
    return hashes[0], hashes[1]


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _caption(protocol: Protocol, showing: PlannedShowing, code: str) -> str:
    if protocol.blinding == BLIND_NONE:
        return f"{showing.case} \N{MIDDLE DOT} {showing.arm}"
    return showing.case if protocol.blinding == BLIND_SOURCE else code
