"""Stand-in for Slicer's ``slicer.i18n``: English, untranslated."""

__all__ = ["tr", "translate"]


def tr(text):
    return text


def translate(context, text):
    return text
