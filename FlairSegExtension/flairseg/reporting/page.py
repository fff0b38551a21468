"""From sections to one HTML file: no scripts, no external resources, all external text escaped."""

from __future__ import annotations

import base64
import unicodedata
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .._version import __version__
from .drawing import Figure, Picture

TEMPLATES = Path(__file__).with_name("templates")


def render_page(template: str, folder: Path, context: dict[str, Any]) -> str:
    """HTML text of a template that extends ``page.html.j2``.

    Parameters
    ----------
    template : str
        File name in ``folder``.
    folder : Path
        Folder of the template; the base template is in this package.
    context : dict
        Values for the templates. ``version`` and ``made`` are added.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "data_uri": data_uri}
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render({"version": __version__, "made": made, **context})


def plain(value: object) -> str:
    """Text on one line without characters that hide, reorder or break the surrounding text.

    Jinja2 escapes the markup; this removes control and bidirectional formatting characters.
    """
    text = str(value)
    return "".join(
        " " if c in "\n\r\t" else "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text
    )


def data_uri(figure: Figure | Picture) -> str:
    """The figure as an image: an SVG in an image runs no script and shares no name with the page."""
    if isinstance(figure, Picture):
        return "data:image/png;base64," + base64.b64encode(figure.png).decode()
    return "data:image/svg+xml;base64," + base64.b64encode(figure.svg.encode()).decode()
