"""Explanatory texts, shown below an information button while it is checked."""

from __future__ import annotations


def attach(button, label) -> None:
    """Show a label while a checkable button is checked; initially hidden.

    Parameters
    ----------
    button : QToolButton
    label : QLabel
    """
    label.setVisible(False)
    button.toggled.connect(lambda checked=False: label.setVisible(bool(checked) and bool(label.text)))


def tell(button, label, text: str) -> None:
    """Set the text of a button; without text, the button is hidden."""
    label.setText(text)
    button.setVisible(bool(text))
    label.setVisible(bool(text) and button.checked)
