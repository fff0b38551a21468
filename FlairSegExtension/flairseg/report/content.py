"""What a report says, in the order in which it says it: paragraphs, tables, pictures. How it looks is not decided here.

HTML and PDF show this and nothing else, so they cannot differ. Every text from outside has gone through
:func:`~flairseg.report.safe.safe` when it arrives here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from .._version import __version__
from ..anatomy.dissemination import SMALLEST_MM
from ..errors import warnings_from
from ..labels import CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH
from ..rendering.slices import FOOTER
from ..reporting.layout import Table, cells
from ..review.verdict import REJECTED
from .case import (
    NOT_REVIEWED,
    REGIONS,
    STATES,
    UNREADABLE,
    Case,
    Change,
    ChangedLesion,
    Grade,
    Row,
    mapping,
    number,
    sequence,
    text,
    whole,
)
from .safe import SENTENCE, safe
from .slices import GALLERY_PX, KEY_PX, Slices, SliceView
from .texts import FAMILIES, Texts

#: Mean probability below which a lesion deserves a second look.
UNCERTAIN = 0.5
#: Lesions below this are easily wrong: a region that has no other is told apart, ml.
SMALL_ML = 0.1
#: Rows of the studies' table, and warnings, that page one has room for.
STUDIES_ON_PAGE_ONE, WARNINGS_ON_PAGE_ONE = 4, 3
#: Longest warning on page one; the details have it in full.
_SHORT = 200
#: Rows of the table of single lesions over time, and sentences of a card, that are shown.
_MOST_CHANGED, _MOST_SENTENCES, _MOST_MEMBERS = 400, 12, 12
#: What the noise floor says in words.
_TOLD = "text"
_ASSESSED = ("periventricular", "juxtacortical", "infratentorial")
_NOT_ASSESSED = ("spinal_cord", "optic_nerve")
#: How pressing a notice is.
CALM, ATTENTION, ALARM = "calm", "attention", "alarm"
#: Pieces of a hash that may be parted when a line is full.
_HASH_PIECE = 16


@dataclass(frozen=True)
class Fact:
    """A name and a value of the head."""

    name: str
    value: str


@dataclass(frozen=True)
class Notice:
    """A sentence in a box."""

    level: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A slice and its caption."""

    view: SliceView
    caption: str
    alt: str


@dataclass(frozen=True)
class Block:
    """A titled piece: a table and lines, either of which may be missing."""

    id: str
    title: str
    table: Table | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A titled piece of the details."""

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()
    caption: str = ""
    sheet: bytes = field(default=b"", repr=False)
    sheet_caption: str = ""


@dataclass(frozen=True)
class Content:
    """A whole report.

    Attributes
    ----------
    title, case, disclaimer, footer : str
    language, direction : str
        ``en``, ``ltr``.
    facts, notices : tuple
        The head: what the report is about; what to know first.
    pictures, legend, caption
        Key images; (name, colour) of each outline; what the images show.
    left, right : tuple of Block
        The two columns of page one.
    foot : tuple of Block
        What stands below them.
    sections : tuple of Section
        The details.
    """

    title: str
    case: str
    disclaimer: str
    footer: str
    language: str
    direction: str
    facts: tuple[Fact, ...]
    notices: tuple[Notice, ...]
    pictures: tuple[Picture, ...]
    key_title: str
    legend_title: str
    legend: tuple[tuple[str, tuple[int, int, int]], ...]
    caption: str
    left: tuple[Block, ...]
    right: tuple[Block, ...]
    foot: tuple[Block, ...]
    sections: tuple[Section, ...]
    page_count: str

    def page(self, page: int, pages: int) -> str:
        """``Page 2 of 5``, with ``page`` and ``pages`` as numbers."""
        return self.page_count.replace("{page}", str(page)).replace("{pages}", str(pages))


def content_of(case: Case, texts: Texts, made: str | None = None) -> Content:
    """What the report of a case says.

    Parameters
    ----------
    case : Case
    texts : Texts
    made : str, optional
        When the report is made; default: now, UTC, and nothing for a pseudonymised case.
    """
    slices = Slices(case)
    if made is None:
        made = "" if case.dates_moved else datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    warnings = tuple(dict.fromkeys(safe(w, SENTENCE) for w in _warnings(case, texts)))
    return Content(
        texts("title"),
        safe(case.name),
        # The sentence of the whole house; a translation says it in its own words beside it.
        texts("disclaimer") if texts.language == "en" else f"{texts('disclaimer')} ({FOOTER})",
        texts("footer", version=__version__),
        texts.language,
        texts("format.direction"),
        _facts(case, slices, texts, made),
        _notices(case, texts),
        tuple(_picture(slices.view(k, KEY_PX), texts, slices.plane) for k in slices.key_slices()),
        texts("key.title"),
        texts("key.outlines"),
        tuple((texts.member("class", c.id), c.rgb) for c in CLASSES),
        texts("key.caption.sagittal" if slices.plane == "sagittal" else "key.caption"),
        (_volumes(case, texts), _dissemination(case, texts)),
        (_regions(case, texts), _change(case, texts)),
        (_short_warnings(warnings, texts), Block("limits", texts("limits.title"), None, (texts("limits.page"),))),
        tuple(
            section
            for section in (
                _lesion_table(case, texts),
                _followup(case, texts),
                _gallery(case, slices, texts),
                _all_warnings(warnings, texts),
                _model(case, texts),
                _methods(case, texts),
                _provenance(case, texts),
                _references(texts),
            )
            if section is not None
        ),
        texts("page", page="{page}", pages="{pages}"),
    )


# --- page one


def _facts(case: Case, slices: Slices, texts: Texts, made: str) -> tuple[Fact, ...]:
    date = safe(case.study_date, 40)
    if case.dates_moved and date:
        date = texts("fact.date.moved", date=date)
    k, j, i = case.volume.array.shape
    x, y, z = case.volume.spacing
    image = texts(
        "fact.image.value", columns=i, rows=j, slices=k, x=texts.small(x), y=texts.small(y), z=texts.small(z),
        plane=texts.member("plane", slices.plane),
    )  # fmt: skip
    review = case.review
    version = (
        texts("fact.version.automatic")
        if review.version is None
        else texts("fact.version.judged", version=f"{review.version:03d}")
    )
    facts = [
        Fact(texts("fact.case"), safe(case.name)),
        Fact(texts("fact.date"), date or texts("fact.date.unknown")),
        Fact(texts("fact.review"), _short_review(case, texts)),
        Fact(texts("fact.version"), version),
        Fact(texts("fact.model"), _model_name(case) or texts("fact.model.unknown")),
    ]
    return (*facts, *([Fact(texts("fact.made"), made)] if made else []), Fact(texts("fact.image"), image))


def _model_name(case: Case) -> str:
    return safe(text(mapping(case.provenance.get("model")).get("id")) or (case.card.id if case.card else ""), 60)


def _reader(case: Case, texts: Texts) -> str:
    return safe(case.review.reader, 60) or texts("review.nobody")


def _short_review(case: Case, texts: Texts) -> str:
    state = case.review.state
    if state in (NOT_REVIEWED, UNREADABLE):
        return texts(f"review.{state}")
    when = _day(case.review.decided_at)
    return texts(f"review.{state}", reader=_reader(case, texts)) + (f", {when}" if when else "")


def _day(time: str) -> str:
    """``2026-11-20 14:05 UTC`` of an ISO 8601 time with a zone; what is none as it is, bounded."""
    try:
        return (
            datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        )
    except (ValueError, OverflowError):
        return safe(time, 40)


def _notices(case: Case, texts: Texts) -> tuple[Notice, ...]:
    review = case.review
    when = _day(review.decided_at)
    values = {
        "reader": _reader(case, texts),
        "when": texts("review.when", when=when) if when else "",
        "reason": safe(review.reason, 160) or texts("review.no_reason"),
    }
    levels = {NOT_REVIEWED: ATTENTION, UNREADABLE: ALARM, REJECTED: ALARM}
    told = texts(f"review.{review.state}.long", **values)
    notices = [Notice(levels.get(review.state, CALM), told)]
    for doubt in review.doubts:
        mild = doubt in ("unproven", "edited")
        notices.append(Notice(ATTENTION if mild else ALARM, texts(f"doubt.{doubt}")))
    return tuple(notices)


def _picture(view: SliceView, texts: Texts, plane: str) -> Picture:
    present = dict.fromkeys(value for value, _ in view.outlines)
    names = [texts.member("class", c.id) for c in CLASSES if c.value in present]
    alt = (
        texts("slice.alt", number=view.number, classes=", ".join(names))
        if names
        else texts("slice.alt.nothing", number=view.number)
    )
    position = texts("slice.position", side=texts.member("side", view.side), mm=texts.number(view.position_mm, 0))
    return Picture(view, f"{texts('slice', number=view.number)} · {position}", alt)


def _volumes(case: Case, texts: Texts) -> Block:
    volumes = case.volumes_ml
    rows = []
    for label_class in sorted(CLASSES, key=lambda c: c.value != LESION):
        count = str(len(case.rows)) if label_class.value == LESION else ""
        ml = volumes[label_class.value]
        unknown = not ml and case.card is not None and label_class.value not in case.card.classes
        shown = texts("volumes.unknown") if unknown else texts.small(ml)
        rows.append(cells(texts.member("class", label_class.id), shown, count))
    lines = []
    if case.rows:
        largest = max(case.rows, key=lambda row: row.volume_ml)
        values = {"number": largest.number, "ml": texts.small(largest.volume_ml)}
        if largest.diameter_mm is None:
            lines.append(texts("volumes.largest.plain", **values))
        else:
            lines.append(texts("volumes.largest", **values, diameter=texts.number(largest.diameter_mm, 0)))
        parts = [row.parts for row in case.rows if row.parts is not None]
        if len(parts) == len(case.rows) and sum(parts) > len(parts):
            lines.append(texts.count("volumes.parts", sum(parts)))
        low = sum(row.confidence is not None and row.confidence < UNCERTAIN for row in case.rows)
        if low:
            lines.append(texts.count("volumes.uncertain", low, limit=texts.number(UNCERTAIN, 1)))
    else:
        lines.append(texts("volumes.none"))
    if volumes[NORMAL_WMH]:
        lines.append(texts("volumes.normal"))
    head = (texts("volumes.structure"), texts("volumes.ml"), texts("volumes.count"))
    return Block("volumes", texts("volumes.title"), Table("", head, tuple(rows)), tuple(lines))


def _regions(case: Case, texts: Texts) -> Block:
    title = texts("regions.title")
    if not case.rows:
        return Block("regions", title, None, (texts("volumes.none"),))
    if not case.has_regions:
        return Block("regions", title, None, (texts("regions.absent"),))
    load = case.load_by_region()
    total = sum(ml for _, ml in load.values())
    rows = [
        cells(
            texts.member("region", region),
            str(load[region][0]),
            texts.small(load[region][1]),
            _share(load[region][1], total, texts),
        )
        for region in REGIONS
        if region != "unknown" or load[region][0]
    ]
    rows.append(cells(texts("regions.total"), str(len(case.rows)), texts.small(total), ""))
    head = tuple(texts(f"regions.{name}") for name in ("region", "count", "ml", "share"))
    return Block("regions", title, Table("", head, tuple(rows)), (texts("regions.note"),))


def _share(part: float, whole: float, texts: Texts) -> str:
    if not whole:
        return ""
    percent = 100 * part / whole
    return f"< {texts.number(1, 0)} %" if 0 < percent < 0.5 else f"{texts.number(percent, 0)} %"


def _dissemination(case: Case, texts: Texts) -> Block:
    lines = []
    found = case.dissemination
    if found is None and case.rows:
        lines.append(texts("dissemination.absent"))
    elif found is None or not found.regions_with_lesions:
        lines.append(texts("dissemination.none"))
    if found is not None:
        load = case.load_by_region()
        large = {region: _large(case.rows, region) for region in _ASSESSED}
        # A summary of an earlier version counted lesions of any size.
        named = [region for region in _ASSESSED if region in found.regions_with_lesions and large[region]]
        names = {region: texts.member("region", region).lower() for region in _ASSESSED}
        listed = [
            texts(
                "dissemination.region",
                region=names[region],
                n=len(large[region]),
                ml=texts.small(sum(row.volume_ml for row in large[region])),
            )
            for region in named
        ]
        if named:
            lines.append(texts("dissemination.found", n=len(named), regions=", ".join(listed)))
        elif found.regions_with_lesions:
            lines.append(texts("dissemination.none"))
        below = {region: load[region][0] - len(large[region]) for region in _ASSESSED}
        if any(below.values()):
            counted = ", ".join(f"{names[region]} ({n})" for region, n in below.items() if n)
            lines.append(texts("dissemination.below", regions=counted))
        small = [names[region] for region in named if all(row.volume_ml < SMALL_ML for row in large[region])]
        if small:
            lines.append(texts("dissemination.small", ml=texts.number(SMALL_ML, 1), regions=", ".join(small)))
        if load["unknown"][0]:
            lines.append(texts.count("dissemination.unknown", load["unknown"][0]))
    missing = ", ".join(texts.member("not_assessed", name) for name in _NOT_ASSESSED)
    lines.append(texts("dissemination.not_assessed", names=missing[:1].upper() + missing[1:]))
    lines.append(texts("dissemination.caveat"))
    return Block("dissemination", texts("dissemination.title"), None, tuple(lines))


def _large(rows: Sequence[Row], region: str) -> list[Row]:
    """Lesions of a region that count as evidence: those of 3 mm and more, and those of unknown diameter."""
    return [row for row in rows if row.region == region and (row.diameter_mm is None or row.diameter_mm >= SMALLEST_MM)]


def _change(case: Case, texts: Texts) -> Block:
    change = case.change
    if change is None:
        return Block("change", texts("change.title.undated"), None, (texts("change.absent"),))
    before, first = (safe(change.studies[n].date, 40) for n in (-2, 0))
    if len(change.studies) > 2:
        title = texts("change.title.first", date=first or texts("change.title.first.undated"), n=len(change.studies))
    else:
        title = texts("change.title", date=first) if first else texts("change.title.undated")
    shown = change.studies[-STUDIES_ON_PAGE_ONE:]
    rows = [
        cells(
            safe(study.date or study.case, 24) or str(n),
            _known(study.volumes_ml.get(CLASS_BY_VALUE[LESION].id), texts),
            texts("format.nothing") if study.lesion_count is None else str(study.lesion_count),
            _known(study.ventricles_ml, texts),
        )
        for n, study in enumerate(shown, len(change.studies) - len(shown) + 1)
    ]
    head = tuple(texts(f"change.{name}") for name in ("study", "lesion_ml", "lesion_count", "ventricles_ml"))
    lines = []
    if not any(study.case == case.name for study in change.studies):
        lines.append(texts("change.other_case"))
    lines.append(f"{texts('change.counts')}: {_counted(change.counts, texts)}.")
    last = change.last_counts()
    if last is not None:
        since = before or texts("change.last.undated")
        lines.append(texts("change.last", date=since, counts=_counted(last, texts)))
    lines += [_ventricles(change, texts), texts("change.noise")]
    if len(shown) < len(change.studies):
        lines.append(texts.count("change.earlier", len(change.studies) - len(shown)))
    return Block("change", title, Table("", head, tuple(rows)), tuple(lines))


def _known(ml: float | None, texts: Texts) -> str:
    return texts("format.nothing") if ml is None else texts.small(ml)


def _counted(counts: Mapping[str, int], texts: Texts) -> str:
    """``new 2, enlarging 0, stable 14``: what is there, and always what matters most."""
    return ", ".join(
        texts("change.count", state=texts.member("state", state), n=counts[state])
        for state in STATES
        if counts[state] or state in ("new", "enlarging")
    )


def _ventricles(change: Change, texts: Texts) -> str:
    if change.ventricles_change_ml is None and change.ventricles_change_percent is None:
        return texts("change.ventricles.unknown")
    verdicts = {True: "beyond", False: "within", None: "unjudged"}
    noise = change.ventricles_noise_percent
    return texts(
        "change.ventricles",
        ml=texts.number(change.ventricles_change_ml, 1, sign=True),
        percent=texts.number(change.ventricles_change_percent, 1, sign=True),
        verdict=texts(f"change.ventricles.{verdicts[change.ventricles_beyond_noise]}"),
        noise="" if noise is None else texts("change.ventricles.noise", percent=texts.number(noise, 1)),
    )


def _warnings(case: Case, texts: Texts) -> Sequence[str]:
    return (*case.warnings, *(case.change.warnings if case.change is not None else ()))


def _short_warnings(warnings: tuple[str, ...], texts: Texts) -> Block:
    lines = tuple(safe(warning, _SHORT) for warning in warnings[:WARNINGS_ON_PAGE_ONE])
    if len(warnings) > len(lines):
        lines = (*lines, texts.count("warnings.more", len(warnings) - len(lines)))
    return Block("warnings", texts("warnings.title"), None, lines or (texts("warnings.none"),))


# --- details


def _lesion_table(case: Case, texts: Texts) -> Section:
    title = texts("lesions.title")
    if not case.rows:
        return Section("lesions", title, (texts("lesions.none"),))
    columns = _columns(case.rows)
    rows = tuple(cells(*(_CELLS[name](row, texts) for name in columns)) for row in case.rows)
    head = tuple(texts(f"lesions.{name}") for name in columns)
    table = Table("", head, rows, numbers_from=2 if "region" in columns else 1)
    return Section("lesions", title, (texts.count("lesions.caption", len(case.rows)),), table)


def _columns(rows: Sequence[Row]) -> list[str]:
    """Columns of which at least one row knows something."""
    known = {
        "region": any(row.region is not None for row in rows),
        "diameter": any(row.diameter_mm is not None for row in rows),
        "slices": any(row.slices is not None for row in rows),
        "centre": any(row.centre_ras_mm is not None for row in rows),
        "distance": any(row.ventricle_distance_mm is not None for row in rows),
        "confidence": any(row.confidence is not None for row in rows),
        "peak": any(row.peak_probability is not None for row in rows),
        "parts": any(row.parts is not None and row.parts > 1 for row in rows),
        "disagreement": any(row.disagreement is not None for row in rows),
    }
    return [name for name in _CELLS if known.get(name, True)]


def _slices(span: tuple[int, int] | None, texts: Texts) -> str:
    if span is None:
        return texts("format.nothing")
    first, last = span
    return str(first + 1) if first == last else f"{first + 1}–{last + 1}"


def _centre(centre: tuple[float, float, float] | None, texts: Texts) -> str:
    if centre is None:
        return texts("format.nothing")
    letters = [("L", "R"), ("P", "A"), ("I", "S")]
    return " ".join(
        f"{texts.member('side', pair[mm >= 0])} {texts.number(abs(mm), 0)}"
        for pair, mm in zip(letters, centre, strict=True)
    )


_CELLS: dict[str, Callable[[Row, Texts], str]] = {
    "number": lambda row, texts: str(row.number),
    "region": lambda row, texts: texts.member("region", row.region or "unknown"),
    "ml": lambda row, texts: texts.number(row.volume_ml, 3 if row.volume_ml < 0.0995 else 2),
    "diameter": lambda row, texts: texts.number(row.diameter_mm, 1),
    "slices": lambda row, texts: _slices(row.slices, texts),
    "centre": lambda row, texts: _centre(row.centre_ras_mm, texts),
    "distance": lambda row, texts: texts.number(row.ventricle_distance_mm, 1),
    "confidence": lambda row, texts: texts.number(row.confidence),
    "peak": lambda row, texts: texts.number(row.peak_probability),
    "parts": lambda row, texts: texts("format.nothing") if row.parts is None else str(row.parts),
    "disagreement": lambda row, texts: texts.number(row.disagreement),
}


def _followup(case: Case, texts: Texts) -> Section | None:
    change = case.change
    if change is None:
        return None
    title = texts("followup.title")
    notes = []
    if change.noise:
        told = safe(change.noise.get(_TOLD, ""), 2 * SENTENCE)
        pairs = ((key.replace("_", " "), value) for key, value in change.noise.items() if key != _TOLD)
        listed = "; ".join(f"{safe(name, 40)} {safe(value, 60)}" for name, value in pairs)
        notes += [told] if told else []
        notes += [f"{texts('followup.noise')}: {safe(listed, 2 * SENTENCE)}."] if listed else []
    if change.grade is not None:
        notes += _grade(change.grade, texts)
    if not change.lesions:
        return Section("followup", title, (texts("followup.none"), *notes))
    shown = change.studies[-6:]
    skipped = len(change.studies) - len(shown)
    order = {state: n for n, state in enumerate(STATES)}
    here = {row.number: row.region for row in case.rows} if change.studies[-1].case == case.name else {}
    lesions = sorted(change.lesions, key=lambda row: (row.state == "stable", order[row.state], -_size(row)))
    rows = [
        cells(
            _numbers_here(row, case) or texts("format.nothing"),
            texts.member("state", row.state),
            texts.member("region", _region_of(row, here) or "unknown"),
            *(
                texts.number(None if mm3 is None else mm3 / 1000, 3 if (mm3 or 0) < 99.5 else 2)
                for mm3 in _padded(row.volumes_mm3, len(change.studies))[skipped:]
            ),
            texts.number(None if row.change_mm3 is None else row.change_mm3 / 1000, 3, sign=True)
            + ("*" if row.beyond_noise else ""),
            texts.number(row.change_percent, 0, sign=True),
            _slices(row.slices, texts),
        )
        for row in lesions[:_MOST_CHANGED]
    ]
    studies = [safe(study.date or study.case, 14) or str(n) for n, study in enumerate(shown, skipped + 1)]
    head = (
        texts("lesions.number"), texts("followup.state"), texts("lesions.region"), *studies, texts("followup.change"),
        texts("followup.percent"), texts("lesions.slices"),
    )  # fmt: skip
    table = Table("", head, tuple(rows), numbers_from=3)
    told = texts("followup.sheet") if change.sheet else ""
    return Section(
        "followup", title, (texts("followup.caption"), *notes), table, sheet=change.sheet, sheet_caption=told
    )


def _grade(grade: Grade, texts: Texts) -> list[str]:
    """What the follow-up found of lesions injected into these scans, and what it called falsely, by size."""
    found = "; ".join(
        texts("grade.size", volume=texts.number(mm3, 0), found=str(found), injected=str(injected))
        for mm3, injected, found in grade.sizes
    )
    false = "; ".join(
        texts("grade.called", state=texts.member("state", state), volume=texts.number(mm3, 0))
        for state, mm3 in grade.false_changes[:_MOST_SENTENCES]
    )
    called = texts("grade.false", count=str(len(grade.false_changes)), lesions=str(grade.compared))
    return [texts("grade.found", sizes=found), f"{called} {false}." if false else called]


def _numbers_here(row: ChangedLesion, case: Case) -> str:
    """A followed lesion by its numbers in this report's lesion table; empty where the table has it not.

    A follow-up numbers its lesions in another order: one document has one numbering.
    """
    change, table = case.change, {r.number: r for r in case.rows}
    if change is None or change.studies[-1].case != case.name or not row.numbers or not set(row.numbers) <= set(table):
        return ""
    followed = row.volumes_mm3[-1] if row.volumes_mm3 else None
    listed = 1000 * sum(table[number].volume_ml for number in row.numbers)
    if followed is None or abs(followed - listed) > max(0.01 * listed, 0.1):
        return ""
    return ", ".join(map(str, row.numbers))


def _region_of(row: ChangedLesion, here: Mapping[int, str | None]) -> str | None:
    """Region that the follow-up tells; else that of the lesion in this study."""
    if row.region not in (None, "unknown"):
        return row.region
    return next((here[n] for n in row.numbers if here.get(n) is not None), row.region)


def _size(row: ChangedLesion) -> float:
    return max((mm3 for mm3 in row.volumes_mm3 if mm3 is not None), default=0.0)


def _padded(values: Sequence[float | None], count: int) -> Sequence[float | None]:
    return (*values, *([None] * (count - len(values))))[:count]


def _gallery(case: Case, slices: Slices, texts: Texts) -> Section:
    chosen = slices.gallery()
    caption = (
        texts("gallery.caption")
        if len(chosen) == len(slices)
        else texts("gallery.caption.part", shown=len(chosen), all=len(slices))
    )
    pictures = tuple(_picture(slices.view(k, GALLERY_PX, numbers=False), texts, slices.plane) for k in chosen)
    return Section("gallery", texts("gallery.title"), (caption,), pictures=pictures)


def _all_warnings(warnings: tuple[str, ...], texts: Texts) -> Section | None:
    if len(warnings) <= WARNINGS_ON_PAGE_ONE and all(len(warning) <= _SHORT for warning in warnings):
        return None
    return Section("warnings", texts("warnings.title"), warnings[:100])


def _model(case: Case, texts: Texts) -> Section:
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


def _methods(case: Case, texts: Texts) -> Section:
    names = ["segmentation", "lesions", "regions", *(["change"] if case.change is not None else []), "figures"]
    return Section("methods", texts("methods.title"), tuple(texts(f"methods.{name}") for name in names))


def _provenance(case: Case, texts: Texts) -> Section:
    said = case.provenance
    model, software, device = (mapping(said.get(name)) for name in ("model", "software", "device"))
    seconds = mapping(said.get("seconds"))
    affine = np.round(case.volume.ijk_to_ras[:3], 4)
    unknown = texts("provenance.unknown")
    rows = [
        (texts("provenance.input"), safe(text(said.get("input")), 200) or unknown),
        *_images_used(case, texts),
        (texts("provenance.model"), _model_name(case)),
        (texts("provenance.model_sha256"), _hash(text(model.get("sha256")))),
        *_members(sequence(model.get("members")), texts),
        (
            texts("provenance.software"),
            ", ".join(f"{safe(k, 30)} {safe(v, 30)}" for k, v in list(software.items())[:12]),
        ),
        (
            texts("provenance.device"),
            texts(
                "provenance.device.value",
                used=safe(text(device.get("used")), 30),
                requested=safe(text(device.get("requested")), 30),
            )
            if device
            else "",
        ),
        (
            texts("provenance.seconds"),
            ", ".join(
                texts("provenance.second", stage=texts.member("stage", stage), seconds=texts.number(number(value), 1))
                for stage, value in seconds.items()
                if stage in FAMILIES["stage"] and number(value) is not None
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
    """How many images of a DICOM series the volume holds, and what else was noted; nothing for other files."""
    counted = mapping(case.provenance.get("images"))
    used, found = (whole(counted.get(key)) for key in ("used", "found"))
    if (used is None or found is None) and case.volume.images is not None:
        used, found = case.volume.images
    notes = warnings_from(case.provenance.get("information")) or case.volume.information
    rows = []
    if used is not None and found is not None:
        rows.append((texts("provenance.images"), texts("provenance.images.value", used=used, found=found)))
    if notes:
        rows.append((texts("provenance.information"), safe(" ".join(notes), SENTENCE)))
    return rows


def _grid(case: Case, texts: Texts) -> Mapping[str, Any]:
    from ..image.slice_stack import choose_plane

    k, j, i = case.volume.array.shape
    x, y, z = (texts.number(mm, 3) for mm in case.volume.spacing)
    plane = texts.member("plane", choose_plane(case.volume))
    return {"columns": i, "rows": j, "slices": k, "x": x, "y": y, "z": z, "plane": plane}


def _members(members: Sequence[Any], texts: Texts) -> list[tuple[str, str]]:
    found = [mapping(member) for member in members[:_MOST_MEMBERS]]
    return [
        (texts("provenance.member", id=safe(text(member.get("id")), 60)), _hash(text(member.get("sha256"))))
        for member in found
    ]


def _judged(case: Case, texts: Texts) -> str:
    told = _short_review(case, texts)
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


def _references(texts: Texts) -> Section:
    names = ("mcdonald", "magnims", "filippi")
    return Section("references", texts("references.title"), tuple(texts(f"references.{name}") for name in names))
