"""The tables of a report's details: single lesions, and the same lesions over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..reporting.layout import Table, cells
from .case import (
    STATES,
    Case,
    ChangedLesion,
    Grade,
    Row,
)
from .document import Section
from .safe import SENTENCE, safe
from .texts import Texts

#: Rows of the table of single lesions over time, and false changes of a self-grade, that are shown.
_MOST_CHANGED, _MOST_FALSE = 400, 12
#: Key of the noise floor's sentence.
_TOLD = "text"


def lesion_section(case: Case, texts: Texts) -> Section:
    """One row for each lesion."""
    title = texts("lesions.title")
    if not case.rows:
        return Section("lesions", title, (texts("lesions.none"),))
    columns = _columns(case.rows)
    rows = tuple(cells(*(_CELLS[name](row, texts) for name in columns)) for row in case.rows)
    head = tuple(texts(f"lesions.{name}") for name in columns)
    table = Table("", head, rows, numbers_from=2 if "region" in columns else 1)
    told = (texts("lesions.drawn.caption"),) if "drawn" in columns else ()
    return Section("lesions", title, (texts.count("lesions.caption", len(case.rows)), *told), table)


def calibrated(rows: Iterable[Row]) -> bool:
    """Whether the confidence of some lesions is the share of such lesions that readers drew."""
    return any(row.mean_probability is not None for row in rows)


def _columns(rows: Sequence[Row]) -> list[str]:
    """Columns with at least one known value."""
    known = {
        "region": any(row.region is not None for row in rows),
        "diameter": any(row.diameter_mm is not None for row in rows),
        "slices": any(row.slices is not None for row in rows),
        "centre": any(row.centre_ras_mm is not None for row in rows),
        "distance": any(row.ventricle_distance_mm is not None for row in rows),
        "drawn": calibrated(rows),
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


def followup_section(case: Case, texts: Texts) -> Section | None:
    """The lesions over the studies, the noise floor and the self-grade; None without a follow-up."""
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
        notes += grade_lines(change.grade, texts)
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


def grade_lines(grade: Grade, texts: Texts) -> list[str]:
    """Return the self-grade: injected lesions detected, and false changes, by size."""
    found = "; ".join(
        texts("grade.size", volume=texts.number(mm3, 0), found=str(found), injected=str(injected))
        for mm3, injected, found in grade.sizes
    )
    false = "; ".join(
        texts("grade.called", state=texts.member("state", state), volume=texts.number(mm3, 0))
        for state, mm3 in grade.false_changes[:_MOST_FALSE]
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
    """Region given by the follow-up; else that of the lesion in this study."""
    if row.region not in (None, "unknown"):
        return row.region
    return next((here[n] for n in row.numbers if here.get(n) is not None), row.region)


def _size(row: ChangedLesion) -> float:
    return max((mm3 for mm3 in row.volumes_mm3 if mm3 is not None), default=0.0)


def _padded(values: Sequence[float | None], count: int) -> Sequence[float | None]:
    return (*values, *([None] * (count - len(values))))[:count]


_CELLS: dict[str, Callable[[Row, Texts], str]] = {
    "number": lambda row, texts: str(row.number),
    "region": lambda row, texts: texts.member("region", row.region or "unknown"),
    "ml": lambda row, texts: texts.number(row.volume_ml, 3 if row.volume_ml < 0.0995 else 2),
    "diameter": lambda row, texts: texts.number(row.diameter_mm, 1),
    "slices": lambda row, texts: _slices(row.slices, texts),
    "centre": lambda row, texts: _centre(row.centre_ras_mm, texts),
    "distance": lambda row, texts: texts.number(row.ventricle_distance_mm, 1),
    "drawn": lambda row, texts: texts.number(None if row.mean_probability is None else row.confidence),
    "confidence": lambda row, texts: texts.number(
        row.confidence if row.mean_probability is None else row.mean_probability
    ),
    "peak": lambda row, texts: texts.number(row.peak_probability),
    "parts": lambda row, texts: texts("format.nothing") if row.parts is None else str(row.parts),
    "disagreement": lambda row, texts: texts.number(row.disagreement),
}
