"""Pseudonyms for all patient identifiers: cases, paths, people, UIDs, dates; in files, reports, logs and DICOM.

Usage
-----
A command takes the options of :mod:`flairseg.cli.pseudonyms`, makes one :class:`Pseudonymiser` and passes every result
through it *before* anything is written or printed:

>>> pseudonymiser = Pseudonymiser(b"a secret of at least thirty-two bytes, kept by the user")
>>> pseudonymiser.case("Doe_Jane_flair") == pseudonymiser.case("Doe_Jane_flair")
True

- :func:`flairseg.segmentation.pseudonymised.pseudonymised`: a result without names; write that one, under
  ``case(stem)``.
- ``content(mapping)``: what goes into ``summary.json``, ``followup.json``, a comparison: keys are known by their names.
- ``text(line)``: a message, warning or log line; ``learn_path(path)`` first, so that it knows what to look for.
- :func:`flairseg.privacy.deidentify.clean_dataset`: a cleaned copy of a pydicom data set (SEG, SR, encapsulated PDF,
  images); ``learn_dataset(source)`` when a series is read.
- ``case(name)`` for file names, ``person(name)`` for readers, ``uid(uid)``, ``date(date)``.

All of them are idempotent for names: what this key made is handed back as it is, so a report may be pseudonymised from
results that were. DICOM data sets that are marked as cleaned are left alone too.

Method
------
Keyed hashes (HMAC-SHA256, RFC 2104) of the names: the same name gives the same pseudonym under one key, and without the
key the name can neither be recovered nor guessed by trial. Without a key file a random key is used and discarded, and
then nobody can. UIDs become ``2.25.`` ones (DICOM PS3.5, B.2, from a UUID of version 8, RFC 9562). Dates of studies are
moved back by one number of days per key, so intervals stay true; times of day and the moment of processing are removed,
since a file's own date would reveal the shift. Free text (comments, reasons) is removed.

Limit: voxels are unchanged, and a face can be reconstructed from a head scan.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date as calendar_date
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..errors import CaseWarning, FlairSegError, InputNotFoundError
from ..files.atomic import all_or_none
from ..files.names import case_in_text, case_name, is_common, stem_of, telling_parts
from .descriptions import technical_words
from .identities import identities

if TYPE_CHECKING:
    from pydicom import Dataset


#: Shortest secret, bytes: a shorter one could be tried out.
MINIMUM_SECRET_BYTES = 32
#: Replacement for removed text.
REMOVED = "removed"

_MAP_FORMAT = 1
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no ambiguous characters
_BODY, _CHECK = 10, 4
_PSEUDONYM = re.compile(rf"(case|person|device)-([{_LETTERS}]{{{_BODY}}})([{_LETTERS}]{{{_CHECK}}})")
#: Studies are moved back by at least one and at most about ten years.
_SHIFT_DAYS = (365, 3650)
#: Names shorter than this are replaced as whole words only: "MR" is inside of many words.
_WHOLE_WORDS_BELOW = 5
#: Files of a folder whose names may turn up in a message.
_NAMES_IN_FOLDER = 10_000

#: Kinds of values by JSON key; every other text is searched for known names.
_CASE_KEYS = frozenset({"case", "cases", "input", "inputs", "source", "prediction"})
_PERSON_KEYS = frozenset({"reader", "rater", "operator", "person", "accepted_by", "patient", "patient_id"})
_DATE_KEYS = frozenset({"date", "study_date", "acquisition_date"})
_REMOVED_KEYS = frozenset(
    {"created", "created_at", "decided_at", "saved_at", "started_at", "comment", "reason", "event_id", "host", "user"}
)  # fmt: skip
_UID_KEYS = frozenset({"uid", "study_uid", "series_uid", "frame_of_reference_uid", "sop_instance_uid"})
#: Pattern of a UID in a text; fewer parts could be a version.
_UID = re.compile(r"[0-9]+(?:\.[0-9]+){5,}")
_UUID_DERIVED = re.compile(r"2\.25\.[1-9][0-9]{0,38}")
_DATE = re.compile(r"\s*([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})(?=$|[T\s]|[0-9]{2,6}(?:[.+-]|$))")


class InvalidKeyError(FlairSegError):
    """The key of the pseudonyms is missing, too short, or another one than was used before."""


class Pseudonymiser:
    """Consistent pseudonyms under one secret.

    Parameters
    ----------
    secret : bytes
        At least :data:`MINIMUM_SECRET_BYTES`. Only its holder can check guesses of names.

    Raises
    ------
    InvalidKeyError
        If the secret is too short.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MINIMUM_SECRET_BYTES:
            raise InvalidKeyError(
                f"The key of the pseudonyms has {len(secret)} bytes; {MINIMUM_SECRET_BYTES} are needed.",
                "Name a key file that does not exist yet: a strong key is generated and stored there.",
                code="pseudonym-key-too-short",
            )
        self._secret = bytes(secret)
        self._known: dict[str, str] = {}
        self._mapping: dict[str, dict[str, str]] = {}
        self._pattern: re.Pattern[str] | None = None

    @classmethod
    def fresh(cls) -> Pseudonymiser:
        """With a random key that is discarded: the pseudonyms of this run cannot be reproduced."""
        return cls(secrets.token_bytes(MINIMUM_SECRET_BYTES))

    @classmethod
    def from_key_file(cls, path: str | Path) -> Pseudonymiser:
        """With the key in a file; a random one is made and kept there (readable by the user alone) if there is none.

        Any file of at least 32 bytes can be a key; white space around its content does not count.

        Raises
        ------
        InvalidKeyError
            If the file cannot be read or holds too little.
        OutputError
            If a new key cannot be kept.
        """
        path = Path(path)
        if not os.path.lexists(path):
            _write_private(path, secrets.token_hex(MINIMUM_SECRET_BYTES) + "\n")
        try:
            secret = path.read_bytes().strip()
        except OSError as error:
            raise InvalidKeyError(
                f"The key file {path} cannot be read: {error.strerror or error}.",
                "Give the path of a readable file, or of one to be created.",
            ) from error
        return cls(secret)

    @property
    def check(self) -> str:
        """Fingerprint that shows whether two files were made with one key; reveals nothing of the key."""
        return self._digest("map", "").hex()[:16]

    @property
    def secret(self) -> bytes:
        """The key, for a worker of the same run; never written."""
        return self._secret

    # --- names

    def case(self, name: str) -> str:
        """Pseudonym of a case, a stem or a file's name: ``case-`` and 14 letters and digits, safe in any file name."""
        return self._name("case", name)

    def person(self, name: str) -> str:
        """Pseudonym of a patient or reader by name or id: ``person-`` and 14 letters and digits; empty stays empty."""
        return self._name("person", name) if name.strip() else ""

    def device(self, serial: str) -> str:
        """Pseudonym of a scanner's serial number: ``device-`` and 14 letters and digits; empty stays empty."""
        return self._name("device", serial) if serial.strip() else ""

    def uid(self, uid: str) -> str:
        """Return the replacement of a UID; DICOM's own (classes, transfer syntaxes) and empty ones are kept."""
        uid = uid.strip("\0 ")
        if not uid or uid.startswith("1.2.840.10008."):
            return uid
        if self._is_own_uid(uid):
            return uid
        raw = bytearray(self._digest("uid", uid)[:10] + bytes(6))
        raw[6] = 0x80 | (raw[6] & 0x0F)  # version 8
        raw[8] = 0x80 | (raw[8] & 0x3F)  # variant of RFC 9562
        new = f"2.25.{UUID(bytes=self._with_check(raw)).int}"
        self._remember("uid", uid, new)
        return new

    def date(self, date: str) -> str:
        """A study's date moved by this key's number of days; a time of day is dropped, what is no date becomes empty.

        Parameters
        ----------
        date : str
            ``2024-05-31``, ``20240531``, or either with a time behind it. The spelling is kept.
        """
        match = _DATE.match(date)
        if match is None:
            return ""
        year, dash, month, day = match.groups()
        try:
            moved = calendar_date(int(year), int(month), int(day)) - timedelta(days=self._shift())
        except (ValueError, OverflowError):
            return ""
        return f"{moved.year:04d}{dash}{moved.month:02d}{dash}{moved.day:02d}"

    def content_digest(self, sha256: str) -> str:
        """A file's or image's SHA-256 under this key: results cannot be looked up from the image."""
        return self._digest("content", sha256).hex()

    def _shift(self) -> int:
        low, high = _SHIFT_DAYS
        return low + int.from_bytes(self._digest("date", ""), "big") % (high - low + 1)

    def _with_check(self, raw: bytes | bytearray) -> bytes:
        """16 bytes whose last six are a keyed check of the first ten, so that this key's UIDs are recognised."""
        return bytes(raw[:10]) + self._digest("uid check", bytes(raw[:10]).hex())[:6]

    def _is_own_uid(self, uid: str) -> bool:
        if not _UUID_DERIVED.fullmatch(uid) or int(uid[5:]) >> 128:
            return False
        raw = UUID(int=int(uid[5:])).bytes
        return hmac.compare_digest(raw, self._with_check(raw))

    def _name(self, kind: str, name: str) -> str:
        original = unicodedata.normalize("NFC", str(name)).strip()
        made = _PSEUDONYM.fullmatch(original)
        if made and hmac.compare_digest(self._letters(f"{made[1]} check", made[2], _CHECK), made[3]):
            return original
        body = self._letters(kind, original, _BODY)
        pseudonym = f"{kind}-{body}{self._letters(f'{kind} check', body, _CHECK)}"
        self._remember(kind, original, pseudonym)
        return pseudonym

    def _letters(self, kind: str, text: str, count: int) -> str:
        number = int.from_bytes(self._digest(kind, text), "big")
        return "".join(_LETTERS[(number >> (5 * n)) & 31] for n in range(count))

    def _digest(self, kind: str, text: str) -> bytes:
        message = kind.encode() + b"\0" + text.encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).digest()

    def _remember(self, kind: str, original: str, pseudonym: str) -> None:
        self._mapping.setdefault(kind, {})[original] = pseudonym
        self._know(original, pseudonym)

    def _know(self, original: str, pseudonym: str) -> None:
        for form in {original, unicodedata.normalize("NFC", original), unicodedata.normalize("NFD", original)}:
            if form.strip() and form not in self._known:
                self._known[form] = pseudonym
                self._pattern = None

    # --- names to replace in text

    def learn(self, original: str, pseudonym: str = REMOVED) -> None:
        """Register a name for replacement in texts."""
        self._know(original.strip(), pseudonym)

    def absorb(self, other: Pseudonymiser) -> None:
        """Add the names registered by a copy of this pseudonymiser in another process."""
        for kind, pairs in other._mapping.items():
            self._mapping.setdefault(kind, {}).update(pairs)
        for original, pseudonym in other._known.items():
            if self._known.setdefault(original, pseudonym) is pseudonym:
                self._pattern = None

    def learn_path(self, path: str | Path, case: str | None = None) -> str:
        """Look for a path, its name, its stem and what is in it (a folder) in texts; the pseudonym of its case.

        Parameters
        ----------
        path : path
            An input, as the user typed it.
        case : str, optional
            Name of the case; default: :func:`flairseg.files.names.case_name`.
        """
        path = Path(path)
        stem = stem_of(path)
        pseudonym = self.case(case_name(path) if case is None else case)
        self._know(str(path), pseudonym)
        self._know(os.path.abspath(path), pseudonym)
        with suppress(ValueError):
            # As it may have been typed; there is no relative path to another drive of Windows.
            typed = os.path.relpath(path)
            if os.path.dirname(typed):
                self._know(typed, pseudonym)
        self._know(path.name, pseudonym)
        for name in (stem, *telling_parts(path)):
            # A name that any case could have is a word of every message: "flair".
            if not is_common(name):
                self._know(name, pseudonym)
        with suppress(OSError, ValueError):
            if path.is_dir():
                for entry in sorted(os.listdir(path))[:_NAMES_IN_FOLDER]:
                    if not is_common(stem_of(entry)):
                        self._know(entry, REMOVED)
        return pseudonym

    def learn_dataset(self, dataset: Dataset) -> None:
        """Register names and numbers of the patient of a DICOM data set for replacement in texts."""
        for original, person in identities(dataset):
            self._know(original, self.person(person))

    def learn_description(self, description: str) -> None:
        """Register a series' description, which may contain names, and keep only its technical words."""
        technical = technical_words(description)
        if technical != description.strip():
            self._know(description.strip(), technical)

    def text(self, text: str) -> str:
        """A text in which every name that was learned is replaced, in any case of letters."""
        if not self._known or not text:
            return text
        if self._pattern is None:
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(_alternative, longest_first)), re.IGNORECASE)
            self._folded = {known.casefold(): pseudonym for known, pseudonym in self._known.items()}
        return self._pattern.sub(lambda found: self._folded.get(found[0].casefold(), REMOVED), text)

    # --- whole things

    def content(self, content: Any) -> Any:
        """JSON content (mappings, lists, texts, numbers) without names: a copy.

        Keys tell what a value is: ``case`` and ``input`` become the case's pseudonym, ``reader`` a person's, ``date``
        is moved, ``created``, ``comment`` and their like are emptied; all other texts are searched for learned names.
        """
        self._learn_from(content)
        return self._cleaned(content, None)

    def _learn_from(self, content: Any) -> None:
        """Learn the cases first, since a warning may precede the case that it names."""
        if isinstance(content, Mapping):
            case = content.get("case")
            source = content.get("input")
            if isinstance(case, str):
                self.case(case)
            if isinstance(source, str) and source.strip():
                self.learn_path(source, case if isinstance(case, str) else None)
            for value in content.values():
                self._learn_from(value)
        elif isinstance(content, list | tuple):
            for value in content:
                self._learn_from(value)

    def _cleaned(self, value: Any, key: str | None, case: str | None = None) -> Any:
        if isinstance(value, Mapping):
            case = value["case"] if isinstance(value.get("case"), str) else None
            return {self.text(str(k)): self._cleaned(v, str(k), case) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._cleaned(v, key, case) for v in value]
        return self._cleaned_text(value, key, case) if isinstance(value, str) else value

    def _cleaned_text(self, value: str, key: str | None, case: str | None) -> str:
        if key in _CASE_KEYS:
            name = case if case is not None and key == "input" else case_in_text(value)
            return self.case(name) if value.strip() else ""
        if key in _PERSON_KEYS:
            return self.person(value)
        if key in _DATE_KEYS:
            return self.date(value)
        if key in _REMOVED_KEYS:
            return ""
        if key in _UID_KEYS:
            return self.uid(value)
        return _UID.sub(lambda found: self.uid(found[0]), self.text(value))

    def warnings(self, warnings: Iterable[str]) -> tuple[CaseWarning, ...]:
        """Warnings without names; their codes stay."""
        return tuple(w.reworded(self.text(w)) for w in map(CaseWarning.of, warnings))

    # --- the map

    def mapping(self) -> dict[str, dict[str, str]]:
        """Kind (``case``, ``person``, ``uid``, ...) -> original -> pseudonym, of all that was asked so far."""
        return {kind: dict(pairs) for kind, pairs in self._mapping.items()}

    def write_map(self, path: str | Path) -> None:
        """Write the map of names to pseudonyms, readable only by the user (mode 0600).

        A map of the same key that is there already is added to.

        Raises
        ------
        InvalidKeyError
            If a map of another key is there, or a file that is no map.
        OutputError
            If it cannot be written.
        """
        path = Path(path)
        check = self.check
        names = self.mapping()
        if os.path.lexists(path):
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
                same, earlier = before["key"] == check, dict(before["names"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InvalidKeyError(
                    f"{path} already exists and is not a map of pseudonyms.",
                    "Name another file for the map.",
                    code="pseudonym-map-taken",
                    path=path,
                ) from error
            if not same:
                raise InvalidKeyError(
                    f"{path} is the map of another key.",
                    "Name the same key file as before, or another file for the map.",
                    code="pseudonym-map-of-another-key",
                    path=path,
                )
            names = {kind: {**earlier.get(kind, {}), **names.get(kind, {})} for kind in {**earlier, **names}}
        content = {
            "format": _MAP_FORMAT,
            "note": "Names of patients: keep this file apart from the pseudonymised results.",
            "key": check,
            "names": names,
        }
        _write_private(path, json.dumps(content, indent=2, ensure_ascii=True) + "\n", newer=True)


def _alternative(name: str) -> str:
    pattern = re.escape(name)
    if len(name) >= _WHOLE_WORDS_BELOW:
        return pattern
    return rf"(?<!\w){pattern}(?!\w)"


def _write_private(path: Path, text: str, newer: bool = False) -> None:
    """Write a text file whole, readable by its owner alone from its first byte; ``newer`` as for ``all_or_none``."""
    with all_or_none(path.parent, [path.name], [path.name], newer) as drafts:
        handle = os.open(drafts / path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)


def pseudonymiser_for(pseudonymise: bool, key: Path | None = None, names: Path | None = None) -> Pseudonymiser | None:
    """The pseudonymiser for these settings; None: no pseudonyms.

    Raises
    ------
    InputNotFoundError
        If a key or map is named without ``pseudonymise``.
    InvalidKeyError, OutputError
        As for :meth:`Pseudonymiser.from_key_file`.
    """
    if not pseudonymise:
        if key is not None or names is not None:
            raise InputNotFoundError(
                "A key or map of pseudonyms was given, but pseudonyms were not requested.",
                "Request pseudonyms too, or omit key and map.",
                code="pseudonyms-not-asked-for",
            )
        return None
    return Pseudonymiser.fresh() if key is None else Pseudonymiser.from_key_file(key)
