"""Pseudonyms for all patient identifiers, and de-identification of headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {
    "Pseudonymiser": "pseudonyms",
    "pseudonymiser_for": "pseudonyms",
    "InvalidKeyError": "pseudonyms",
    "clean_dataset": "deidentify",
    "clean_nifti": "deidentify",
}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .deidentify import clean_dataset as clean_dataset
    from .deidentify import clean_nifti as clean_nifti
    from .pseudonyms import InvalidKeyError as InvalidKeyError
    from .pseudonyms import Pseudonymiser as Pseudonymiser
    from .pseudonyms import pseudonymiser_for as pseudonymiser_for

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
