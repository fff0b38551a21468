"""The sealed key: code -> case, arm and repeat.

Scheme: when a study is locked, a key is written into the coordinator's folder, and the sha256 over its canonical JSON,
the *commitment*, into the rooms and into every record. The key holds 256 random bits, so the commitment reveals nothing
about it; and it cannot be exchanged later, since another key has another sha256. A reading room does not contain the
key and no program of the reading room opens it. It is opened once the study is closed, and only if it is the key that
was committed to.

Codes are drawn from the secret: ``HMAC-SHA256(secret, study, rater, position)`` in eight letters and digits of
Crockford's base 32 (no I, L, O, U), so that neither case, arm nor repeat can be worked out from them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..image.geometry import triple
from .canonical import content_sha256
from .errors import StudyStateError, TamperedError
from .images import Mirror

KEY_NAME = "key.sealed.json"
KEY_FORMAT = 1
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LETTERS = 8


@dataclass(frozen=True)
class KeyEntry:
    """Meaning of one code.

    Attributes
    ----------
    code : str
    position : int
        In the rater's order, from 0.
    case, arm : str
    repeat : int
    training : bool
    mirror : Mirror or None
        None: shown as it is.
    flair_sha256, mask_sha256 : str
        Of the source files.
    """

    code: str
    position: int
    case: str
    arm: str
    repeat: int
    training: bool
    mirror: Mirror | None
    flair_sha256: str
    mask_sha256: str

    def to_source(self, ras: tuple[float, float, float]) -> tuple[float, float, float]:
        """A point of the shown frame in the frame of the source image, RAS mm."""
        return self.mirror.point(ras) if self.mirror is not None else triple(float(x) for x in ras)


@dataclass(frozen=True)
class SealedKey:
    """The whole key of a study.

    Attributes
    ----------
    study_id, protocol_sha256 : str
    secret : str
        256 random bits, hexadecimal.
    entries : mapping of str to tuple of KeyEntry
        Rater -> codes, in order.
    """

    study_id: str
    protocol_sha256: str
    secret: str
    entries: Mapping[str, tuple[KeyEntry, ...]]

    @property
    def commitment(self) -> str:
        """sha256, hexadecimal, over the canonical JSON of the key."""
        return content_sha256(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The content of the key file."""
        return {
            "flairseg_study_key": KEY_FORMAT,
            "study_id": self.study_id,
            "protocol_sha256": self.protocol_sha256,
            "secret": self.secret,
            "raters": {
                rater: [{**asdict(e), "mirror": None if e.mirror is None else _plain(e.mirror)} for e in entries]
                for rater, entries in self.entries.items()
            },
        }


def new_secret() -> str:
    """256 bits from the system's generator, hexadecimal."""
    return secrets.token_hex(32)


def code_of(secret: str, study_id: str, rater: str, position: int) -> str:
    """The code of a rater's showing, as in ``K7QM-2XPF``."""
    message = "\n".join(("flairseg-code-1", study_id, rater, str(position))).encode("utf-8")
    number = int.from_bytes(hmac.new(bytes.fromhex(secret), message, hashlib.sha256).digest()[:8], "big")
    letters = "".join(_ALPHABET[(number >> (5 * n)) & 31] for n in range(_CODE_LETTERS))
    return f"{letters[:4]}-{letters[4:]}"


def write_key(key: SealedKey, path: Path) -> None:
    """Write the key, readable by its owner only where the file system knows owners; ``OSError`` if it cannot be."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(key.to_json(), indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def open_key(path: Path, commitment: str) -> SealedKey:
    """Read the key and compare it with the commitment that the records carry.

    Raises
    ------
    StudyStateError
        If there is no key there.
    TamperedError
        If it is not the key that was committed to.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyStateError(
            f"The sealed key {path} cannot be read: {error.strerror or error}.",
            "Only the coordinator's folder contains it; restore it from there.",
        ) from error
    except ValueError as error:
        raise _altered(path) from error
    try:
        key = _key_from(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _altered(path) from error
    if not hmac.compare_digest(content_sha256(raw), commitment) or key.commitment != commitment:
        raise _altered(path)
    return key


def _key_from(raw: Any) -> SealedKey:
    if raw["flairseg_study_key"] != KEY_FORMAT:
        raise ValueError("another format")
    entries = {}
    for rater, items in raw["raters"].items():
        entries[rater] = tuple(
            KeyEntry(**{**item, "mirror": None if item["mirror"] is None else _mirror(item["mirror"])})
            for item in items
        )
    return SealedKey(raw["study_id"], raw["protocol_sha256"], raw["secret"], entries)


def _plain(mirror: Mirror) -> dict[str, Any]:
    return {
        "axis": mirror.axis,
        "shape": list(mirror.shape),
        "ijk_to_ras": [list(row) for row in mirror.ijk_to_ras],
    }


def _mirror(raw: Mapping[str, Any]) -> Mirror:
    return Mirror(raw["axis"], tuple(raw["shape"]), tuple(tuple(row) for row in raw["ijk_to_ras"]))


def _altered(path: Path) -> TamperedError:
    return TamperedError(
        f"{path.name} is not the key of this study.",
        "Restore the original key from a backup; without it results cannot be assigned to cases.",
    )
