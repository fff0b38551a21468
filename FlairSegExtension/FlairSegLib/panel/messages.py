"""Messages in the panel as coloured text boxes instead of dialogs."""

from __future__ import annotations

INFO, SUCCESS, WARNING, ERROR = "info", "success", "warning", "error"

#: Kind -> background, text and border colour, readable with light and dark palettes.
_COLOURS = {
    INFO: ("#eef3f8", "#24425c", "#8fb0cc"),
    SUCCESS: ("#e9f5ec", "#1d4d2b", "#6fb583"),
    WARNING: ("#fff6df", "#5f4700", "#e2b33c"),
    ERROR: ("#fdecea", "#7a1b12", "#d9695f"),
}


def show(label, kind: str, text: str) -> None:
    """Show a text in a label in the style of its kind; an empty text hides the label.

    Parameters
    ----------
    label : QLabel
    kind : str
        :data:`INFO`, :data:`SUCCESS`, :data:`WARNING` or :data:`ERROR`.
    text : str
        Plain text; line breaks are preserved.
    """
    background, colour, edge = _COLOURS[kind]
    label.setStyleSheet(
        f"background: {background}; color: {colour}; border: none; border-left: 3px solid {edge}; padding: 5px 7px;"
    )
    label.setText(text)
    label.setVisible(bool(text))


def quiet(label, text: str) -> None:
    """Show a text in the default style."""
    label.setStyleSheet("")
    label.setText(text)
    label.setVisible(bool(text))


def hide(label) -> None:
    """Hide a message."""
    label.setText("")
    label.setVisible(False)
