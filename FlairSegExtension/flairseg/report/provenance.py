"""The last sections of a report: the model and its limits, methods, provenance, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..reporting.layout import Table, cells
from .case import Case
from .document import Section
from .front_page import model_name, short_review
from .json_values import sequence, text
from .safe import SENTENCE, safe
from .texts import FAMILIES, Texts

#: Sentences of a card, and members of an ensemble, that are shown.
_MOST_SENTENCES, _MOST_MEMBERS = 12, 12

#: Pieces of a hash that may be parted when a line is full.
_HASH_PIECE = 16


def model_section(case: Case, texts: Texts) -> Section:
    """Return the section on the model's intended use and limits."""
    title = texts("limits.model")
    card = case.card
    if card is None:
        return Section("model", title, (texts("limits.unknown"),))
    use = safe(text(card.raw.get("intended_use")), 2 * SENTENCE)
    lines = [f"{safe(card.title)} ({safe(card.id)}). {safe(card.summary, 2 * SENTENCE)}"]
    lines += [f"{texts('limits.use')}: {use}"] if use else []
    limits = filter(None, map(text, sequence(card.raw.get("limitations"))))
    lines += [safe(line, 3 * SENTENCE) for line in list(limits)[:_MOST_SENTENCES]]
    return Section("model", title, tuple(lines))


def methods_section(case: Case, texts: Texts) -> Section:
    """Return the methods section."""
    names = ["lesions", "regions", *(["change"] if case.change is not None else []), "figures"]
    made = texts("methods.segmentation") if model_name(case) else texts("methods.given")
    return Section("methods", texts("methods.title"), (made, *(texts(f"methods.{name}") for name in names)))


def provenance_section(case: Case, texts: Texts) -> Section:
    """Input, model, software, device, grid and hashes."""
    made = case.provenance
    affine = np.round(case.volume.ijk_to_ras[:3], 4)
    unknown = texts("provenance.unknown")
    rows = [
        (texts("provenance.input"), safe(made.input, 200) or unknown),
        *_images_used(case, texts),
        (texts("provenance.model"), model_name(case)),
        (texts("provenance.model_sha256"), _hash(made.model_sha256)),
        *_members(made.members, texts),
        (
            texts("provenance.software"),
            ", ".join(f"{safe(k, 30)} {safe(v, 30)}" for k, v in list(made.software.items())[:12]),
        ),
        (
            texts("provenance.device"),
            texts(
                "provenance.device.value",
                used=safe(made.device_used, 30),
                requested=safe(made.device_requested, 30),
            )
            if made.device_used or made.device_requested
            else "",
        ),
        (
            texts("provenance.seconds"),
            ", ".join(
                texts("provenance.second", stage=texts.member("stage", stage), seconds=texts.number(value, 1))
                for stage, value in made.seconds.items()
                if stage in FAMILIES["stage"]
            ),
        ),
        (texts("provenance.grid"), texts("fact.image.value", **_grid(case, texts))),
        (texts("provenance.affine"), "; ".join(" ".join(texts.number(float(v), 3) for v in row) for row in affine)),
        (texts("provenance.labels"), _hash(case.labels_sha256)),
        (texts("provenance.review"), _judged(case, texts)),
    ]
    head = (texts("provenance.item"), texts("provenance.value"))
    table = Table("", head, tuple(cells(name, value or unknown) for name, value in rows), numbers_from=2)
    return Section("provenance", texts("provenance.title"), (), table)


def _images_used(case: Case, texts: Texts) -> list[tuple[str, str]]:
    """Describe the images of a DICOM series used, and other notes; nothing for other files."""
    images = case.provenance.images or case.volume.images
    notes = case.provenance.information or case.volume.information
    rows = []
    if images is not None:
        rows.append((texts("provenance.images"), texts("provenance.images.value", used=images[0], found=images[1])))
    if notes:
        rows.append((texts("provenance.information"), safe(" ".join(notes), SENTENCE)))
    return rows


def _grid(case: Case, texts: Texts) -> Mapping[str, str | int]:
    from ..image.slice_stack import choose_plane

    k, j, i = case.volume.array.shape
    x, y, z = (texts.number(mm, 3) for mm in case.volume.spacing)
    plane = texts.member("plane", choose_plane(case.volume))
    return {"columns": i, "rows": j, "slices": k, "x": x, "y": y, "z": z, "plane": plane}


def _members(members: Sequence[tuple[str, str]], texts: Texts) -> list[tuple[str, str]]:
    return [(texts("provenance.member", id=safe(id_, 60)), _hash(sha256)) for id_, sha256 in members[:_MOST_MEMBERS]]


def _judged(case: Case, texts: Texts) -> str:
    told = short_review(case, texts)
    if case.review.version is None:
        return told
    version = texts("fact.version.judged", version=f"{case.review.version:03d}")
    if case.review.parent_version is not None:
        version = texts("provenance.version", version=version, parent=f"{case.review.parent_version:03d}")
    return f"{told} ({version})"


def _hash(digest: str) -> str:
    """A hash in pieces, so that it fits into a column and can be compared by eye."""
    digest = safe(digest, 64)
    return " ".join(digest[n : n + _HASH_PIECE] for n in range(0, len(digest), _HASH_PIECE))


def references_section(texts: Texts) -> Section:
    """The criteria that the report follows."""
    names = ("mcdonald", "magnims", "filippi")
    return Section("references", texts("references.title"), tuple(texts(f"references.{name}") for name in names))
