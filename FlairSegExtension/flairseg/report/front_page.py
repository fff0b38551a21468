"""Page one of a report: what it is about, what to know first, volumes, regions, dissemination, change, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from ..anatomy.dissemination import large_enough
from ..labels import CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH
from ..reporting.layout import Table, cells
from ..review.verdict import REJECTED
from .case import (
    NOT_REVIEWED,
    REGIONS,
    STATES,
    UNREADABLE,
    Case,
    Change,
    Row,
)
from .document import ALARM, ATTENTION, CALM, Block, Fact, Notice, Picture, Section
from .lesion_tables import calibrated
from .safe import safe
from .slices import Slices, SliceView
from .texts import Texts

#: Confidence below which a lesion deserves a second look.
UNCERTAIN = 0.5
#: Lesions below this are often false positives: a region that has no other is listed separately, ml.
SMALL_ML = 0.1
#: Rows of the studies' table, and warnings, that page one has room for.
STUDIES_ON_PAGE_ONE, WARNINGS_ON_PAGE_ONE = 4, 3
#: Longest warning on page one; the details have it in full.
_SHORT = 200
_ASSESSED = ("periventricular", "juxtacortical", "infratentorial")
_NOT_ASSESSED = ("spinal_cord", "optic_nerve")


def facts_of(case: Case, slices: Slices, texts: Texts, made: str) -> tuple[Fact, ...]:
    """Case, dates, review, version, model and image: what the report is about."""
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
        (texts("fact.version.automatic") if model_name(case) else texts("fact.version.given"))
        if review.version is None
        else texts("fact.version.judged", version=f"{review.version:03d}")
    )
    facts = [
        Fact(texts("fact.case"), safe(case.name)),
        Fact(texts("fact.date"), date or texts("fact.date.unknown")),
        Fact(texts("fact.review"), short_review(case, texts)),
        Fact(texts("fact.version"), version),
        Fact(texts("fact.model"), model_name(case) or texts("fact.model.unknown")),
    ]
    return (*facts, *([Fact(texts("fact.made"), made)] if made else []), Fact(texts("fact.image"), image))


def model_name(case: Case) -> str:
    """Id of the model that segmented; empty if unknown."""
    return safe(case.provenance.model_id or (case.card.id if case.card else ""), 60)


def _reader(case: Case, texts: Texts) -> str:
    return safe(case.review.reader, 60) or texts("review.nobody")


def short_review(case: Case, texts: Texts) -> str:
    """Describe reader, verdict and time of the review."""
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


def notices_of(case: Case, texts: Texts) -> tuple[Notice, ...]:
    """Return the notices at the top: no review, a rejection, a shifted date."""
    review = case.review
    when = _day(review.decided_at)
    values = {
        "reader": _reader(case, texts),
        "when": texts("review.when", when=when) if when else "",
        "reason": safe(review.reason, 160) or texts("review.no_reason"),
    }
    levels = {NOT_REVIEWED: ATTENTION, UNREADABLE: ALARM, REJECTED: ALARM}
    told = texts(f"review.{review.state}.long", **values)
    if review.state == NOT_REVIEWED and not model_name(case):
        told = texts("review.not_reviewed.given")
    notices = [Notice(levels.get(review.state, CALM), told)]
    for doubt in review.doubts:
        mild = doubt in ("unproven", "edited")
        notices.append(Notice(ATTENTION if mild else ALARM, texts(f"doubt.{doubt}")))
    return tuple(notices)


def picture_of(view: SliceView, texts: Texts) -> Picture:
    """A slice with a caption of its number and of the classes outlined in it."""
    present = dict.fromkeys(value for value, _ in view.outlines)
    names = [texts.member("class", c.id) for c in CLASSES if c.value in present]
    alt = (
        texts("slice.alt", number=view.number, classes=", ".join(names))
        if names
        else texts("slice.alt.nothing", number=view.number)
    )
    position = texts("slice.position", side=texts.member("side", view.side), mm=texts.number(view.position_mm, 0))
    return Picture(view, f"{texts('slice', number=view.number)} · {position}", alt)


def volume_block(case: Case, texts: Texts) -> Block:
    """Volumes of the classes."""
    volumes, assessed = case.volumes_ml, case.assessed_classes()
    rows = []
    for label_class in sorted(CLASSES, key=lambda c: c.value != LESION):
        count = str(len(case.rows)) if label_class.value == LESION else ""
        known = label_class in assessed
        shown = texts.small(volumes[label_class.value]) if known else texts("volumes.unknown")
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
            limit = texts.number(UNCERTAIN, 1)
            if calibrated(case.rows):
                lines.append(texts.count("volumes.doubted", low, limit=limit))
            else:
                lines.append(texts.count("volumes.uncertain", low, limit=limit))
    else:
        lines.append(texts("volumes.none"))
    if volumes[NORMAL_WMH]:
        lines.append(texts("volumes.normal"))
    head = (texts("volumes.structure"), texts("volumes.ml"), texts("volumes.count"))
    return Block("volumes", texts("volumes.title"), Table("", head, tuple(rows)), tuple(lines))


def region_block(case: Case, texts: Texts) -> Block:
    """Lesions and their volume by region."""
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


def dissemination_block(case: Case, texts: Texts) -> Block:
    """Describe the regions of dissemination in space with lesions, and those not assessed."""
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
    return [row for row in rows if row.region == region and large_enough(row.diameter_mm)]


def change_block(case: Case, texts: Texts) -> Block:
    """Lesions over the studies of a follow-up."""
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
    named = any(study.case == case.name for study in change.studies)
    if change.shows_image is False or (change.shows_image is None and not named):
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


def warnings_of(case: Case, texts: Texts) -> Sequence[str]:
    """Warnings of the case and of its follow-up."""
    return (*case.warnings, *(case.change.warnings if case.change is not None else ()))


def warning_block(warnings: tuple[str, ...], texts: Texts) -> Block:
    """The first warnings, shortened; how many there are besides."""
    lines = tuple(safe(warning, _SHORT) for warning in warnings[:WARNINGS_ON_PAGE_ONE])
    if len(warnings) > len(lines):
        lines = (*lines, texts.count("warnings.more", len(warnings) - len(lines)))
    return Block("warnings", texts("warnings.title"), None, lines or (texts("warnings.none"),))


def warning_section(warnings: tuple[str, ...], texts: Texts) -> Section | None:
    """All warnings in full; None where page one has them."""
    if len(warnings) <= WARNINGS_ON_PAGE_ONE and all(len(warning) <= _SHORT for warning in warnings):
        return None
    return Section("warnings", texts("warnings.title"), warnings[:100])
