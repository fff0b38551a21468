"""``cohort.html``: outcome of a cohort, review order, and differences between groups, in one file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.atomic import write_whole
from ..labels import CLASS_BY_VALUE, LESION
from ..reporting.layout import Section
from ..reporting.page import render_page
from ..reporting.wording import counted, figure
from .groups import first_usable
from .layout import Layout
from .methods import methods_paragraph
from .model import ChangeRow, SessionRow
from .page_comparison import age_section, group_sections
from .page_figures import distribution_figures
from .page_tables import (
    change_tables,
    failure_tables,
    key_figures,
    order_table,
    outlier_table,
    quality_table,
    software_table,
    warning_table,
)
from .priority import EXPLANATION, OUTLIER_Z, Outlier, Priority, find_outliers, in_order
from .run_record import RunRecord
from .same_images import same_images, same_images_text

TEMPLATES = Path(__file__).with_name("templates")
#: Pictures on the contact sheet: about 3 MB of a page, which opens at once.
MOST_PICTURES = 150
#: A key slice has about 12 kB; what is much larger is not embedded.
_MOST_BYTES = 300_000
_JPEG = b"\xff\xd8\xff"


def write_page(layout: Layout, rows: Sequence[SessionRow], changes: Sequence[ChangeRow], run: RunRecord) -> Path:
    """Write the page: one file that loads nothing.

    Parameters
    ----------
    layout : Layout
    rows : sequence of SessionRow
        Of all sessions, with a result or without; under pseudonyms where there are some.
    changes : sequence of ChangeRow
    run : RunRecord

    Returns
    -------
    Path
        :attr:`Layout.page`.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_whole(layout.page, render(layout, rows, changes, run))
    return layout.page


def render(layout: Layout, rows: Sequence[SessionRow], changes: Sequence[ChangeRow], run: RunRecord) -> str:
    """The page's HTML; parameters as of :func:`write_page`."""
    outliers = find_outliers(rows)
    ordered = in_order(rows, outliers)
    context: dict[str, Any] = {
        "kind": "Cohort",
        "title": f"{counted(len(rows), 'session')} of {counted(len({row.session.subject for row in rows}), 'subject')}",
        "alerts": _alerts(rows),
        "facts": _facts(run),
        "key": key_figures(rows, changes),
        "sections": [one for one in _sections(rows, changes, run, ordered, outliers) if not one.empty],
        "sheet_paragraphs": _sheet_paragraphs(ordered),
        "cards": [_card(layout.root, one) for one in ordered[:MOST_PICTURES]],
    }
    if run.pseudonyms:
        context["made"] = "a day that is left out under pseudonyms"
    return render_page("cohort.html.j2", TEMPLATES, context)


def _alerts(rows: Sequence[SessionRow]) -> list[str]:
    if not rows:
        return ["The source has no sessions."]
    if not any(row.status == "done" for row in rows):
        return ["No session has a result."]
    return [text] if (text := same_images_text(same_images(rows))) else []


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    model = run.model
    found = [
        ("Source", f"{run.source} ({run.source_kind})"),
        ("Model", f"{model.id}, version {model.version}, sha256 {model.sha256[:16]}"),
        *(
            ("Model of other sessions", f"{one.id}, sha256 {one.sha256[:16]}: {one.sessions}")
            for one in run.other_models
        ),
        ("FlairSeg", run.software["flairseg"]),
    ]
    if run.finished:
        found.append(("Last run ended", run.finished))
    return [*found, ("Names", "replaced by pseudonyms" if run.pseudonyms else "as in the source")]


def _sections(
    rows: Sequence[SessionRow],
    changes: Sequence[ChangeRow],
    run: RunRecord,
    ordered: Sequence[Priority],
    outliers: Sequence[Outlier],
) -> list[Section]:
    usable = first_usable(rows)
    failures, comparisons = failure_tables(rows), change_tables(changes)
    return [
        Section("failures", "Sessions without a result", () if failures else (_none_failed(rows),), failures),
        Section("warnings", "Warnings and image quality", _quality_paragraphs(rows),
                (*warning_table(rows), *quality_table(rows))),
        Section("distributions", "Distributions", (), (), tuple(distribution_figures(rows))),
        Section("outliers", "Outliers", _outlier_paragraphs(outliers), outlier_table(outliers)),
        Section("changes", "Changes between sessions", () if comparisons else ("No sessions were compared.",),
                comparisons),
        *group_sections(usable),
        age_section(usable),
        Section("order", "All sessions in this order", (), order_table(ordered)),
        Section("methods", "Methods", _methods(run), software_table(run)),
    ]  # fmt: skip


def _none_failed(rows: Sequence[SessionRow]) -> str:
    return "Every session has a result." if rows else "There are no sessions."


def _quality_paragraphs(rows: Sequence[SessionRow]) -> tuple[str, ...]:
    told = "Percentages refer to sessions with a result."
    return (told,) if any(row.quality for row in rows) else (told, "Image quality was not measured.")


def _outlier_paragraphs(outliers: Sequence[Outlier]) -> tuple[str, ...]:
    return (
        f"Values with a robust z score (median and median absolute deviation of the cohort; of log(1 + x) for volumes "
        f"and counts) beyond {OUTLIER_Z:g}. An outlier is a reason to check, not an error: large loads occur."
        + ("" if outliers else " There are none."),
    )


def _methods(run: RunRecord) -> tuple[str, ...]:
    text = methods_paragraph(run).removeprefix("# Methods").strip()
    return (
        text,
        "Groups and ages were compared with one session per subject (the first whose result can be trusted). Intervals "
        "are 95 %: percentile bootstrap within groups for differences of medians, Feng and Cliff's for Cliff's delta, "
        "inversion of the noncentral F distribution for eta-squared of ranks, Fisher's z with the standard error of "
        "Bonett and Wright for Spearman's correlation. p values (Mann-Whitney, Kruskal-Wallis, Spearman) were adjusted "
        "by Holm's method over all measures and pairs of a table. Nothing was adjusted for other variables.",
    )


def _sheet_paragraphs(ordered: Sequence[Priority]) -> tuple[str, ...]:
    if not ordered:
        return ("There is no segmentation.",)
    shown = min(len(ordered), MOST_PICTURES)
    told = (
        f"All {len(ordered)} sessions that have a result are shown."
        if shown == len(ordered)
        else f"The first {shown} of {len(ordered)} sessions that have a result are shown. All are listed in this order "
        "below; the pictures of the others are cases/<case>/<case>_key.jpg."
    )
    return (
        told + " Each picture is the slice with most lesion, with the outlines of all classes.",
        EXPLANATION,
    )


@dataclass(frozen=True)
class _Card:
    """A session on the contact sheet."""

    case: str
    facts: str
    reasons: Sequence[str]
    picture: str
    alt: str
    link: str


def _card(root: Path, one: Priority) -> _Card:
    row = one.row
    count = "" if row.lesion_count is None else f", {counted(row.lesion_count, CLASS_BY_VALUE[LESION].id)}"
    facts = "lesions not known" if row.lesion_ml is None else f"{figure(row.lesion_ml)} ml{count}"
    verdict = f"; verdict: {row.verdict}" if row.verdict else ""
    return _Card(
        row.case,
        f"{facts}; {one.points:.1f} points{verdict}",
        one.reasons,
        _picture(root, row.files.get("key_slice", "")),
        f"Key slice of {row.case}, {facts}",
        _link(root, row.files.get("overview", "")),
    )


def _inside(root: Path, name: str) -> Path | None:
    """A file of the output folder; None for anything else that a row may name."""
    if not name:
        return None
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    except (OSError, ValueError):
        return None


def _picture(root: Path, name: str) -> str:
    """The key slice as a data URI; empty where there is none."""
    path = _inside(root, name)
    if path is None:
        return ""
    try:
        content = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    except OSError:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" if content.startswith(_JPEG) else ""


def _link(root: Path, name: str) -> str:
    """A link beside the page; empty where the file is not there."""
    path = _inside(root, name)
    return "" if path is None else path.as_uri().removeprefix(root.resolve().as_uri() + "/")
