"""Long texts behind an information button: shown below it while it is pressed."""

from __future__ import annotations


def attach(button, label) -> None:
    """Show a label while a checkable button is pressed; hidden at first.

    Parameters
    ----------
    button : QToolButton
    label : QLabel
    """
    label.setVisible(False)
    button.toggled.connect(lambda checked=False: label.setVisible(bool(checked) and bool(label.text)))


def tell(button, label, text: str) -> None:
    """Set the text behind a button; without a text there is no button."""
    label.setText(text)
    button.setVisible(bool(text))
    label.setVisible(bool(text) and button.checked)
