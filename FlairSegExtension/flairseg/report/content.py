"""The document of a case: paragraphs, tables and pictures in order, without layout.

Both renderers, HTML and PDF, take this document alone, so their content cannot differ. Every text from outside has
passed :func:`~flairseg.report.safe.safe`.
"""

from __future__ import annotations

from datetime import datetime, timezone

from .._version import __version__
from ..rendering.slices import FOOTER
from .case import (
    Case,
)
from .document import Block, Content, Section
from .front_page import (
    change_block,
    dissemination_block,
    facts_of,
    notices_of,
    picture_of,
    region_block,
    volume_block,
    warning_block,
    warning_section,
    warnings_of,
)
from .lesion_tables import followup_section, lesion_section
from .provenance import methods_section, model_section, provenance_section, references_section
from .safe import SENTENCE, safe
from .slices import GALLERY_PX, KEY_PX, Slices
from .texts import Texts


def content_of(case: Case, texts: Texts, made: str | None = None) -> Content:
    """Return the content of a case's report.

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
    warnings = tuple(dict.fromkeys(safe(w, SENTENCE) for w in warnings_of(case, texts)))
    return Content(
        texts("title"),
        safe(case.name),
        # The sentence that every output has; a translation gives its own beside it.
        texts("disclaimer") if texts.language == "en" else f"{texts('disclaimer')} ({FOOTER})",
        texts("footer", version=__version__),
        texts.language,
        texts("format.direction"),
        facts_of(case, slices, texts, made),
        notices_of(case, texts),
        tuple(picture_of(slices.view(k, KEY_PX), texts) for k in slices.key_slices()),
        texts("key.title"),
        texts("key.outlines"),
        tuple((texts.member("class", c.id), c.rgb) for c in case.assessed_classes()),
        texts("key.caption.sagittal" if slices.plane == "sagittal" else "key.caption"),
        (volume_block(case, texts), dissemination_block(case, texts)),
        (region_block(case, texts), change_block(case, texts)),
        (warning_block(warnings, texts), Block("limits", texts("limits.title"), None, (texts("limits.page"),))),
        tuple(
            section
            for section in (
                lesion_section(case, texts),
                followup_section(case, texts),
                _gallery(slices, texts),
                warning_section(warnings, texts),
                model_section(case, texts),
                methods_section(case, texts),
                provenance_section(case, texts),
                references_section(texts),
            )
            if section is not None
        ),
        texts("page", page="{page}", pages="{pages}"),
    )


def _gallery(slices: Slices, texts: Texts) -> Section:
    chosen = slices.gallery()
    caption = (
        texts("gallery.caption")
        if len(chosen) == len(slices)
        else texts("gallery.caption.part", shown=len(chosen), all=len(slices))
    )
    pictures = tuple(picture_of(slices.view(k, GALLERY_PX, numbers=False), texts) for k in chosen)
    return Section("gallery", texts("gallery.title"), (caption,), pictures=pictures)
