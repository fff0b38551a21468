"""Errors in Slicer's terms: what happened, and advice that refers to the panels.

The core's errors carry a code, fields and an advice that names neither options nor widgets
(:mod:`flairseg.errors`). Where the panel can say it better, the phrase is here.
"""

from __future__ import annotations

import logging

from flairseg import errors
from flairseg.errors import FlairSegError, OutputError, WorkerError
from slicer.i18n import tr as _


def _phrases() -> dict[str, str]:
    """Code of an error -> advice; ``{name}`` is filled in from the error's fields. A call, since it is translated."""
    return {
        "results-exist": _("Nothing was replaced. Choose another folder, or allow existing results to be replaced."),
        "network-failed": _("Choose CPU as device; if that fails too, the model does not fit its card."),
        "unknown-model": _("Choose another model in the list."),
        "model-path-not-found": _("Choose another model in the list."),
        "model-member-missing": _("Install the model {model}, or choose another one in the list."),
        "parent-missing": _("Install {parent} again, or choose another model in the list."),
        "parent-changed": _("Install {parent} again (sha256 {sha256}), or choose another model in the list."),
        "several-studies": _("Load the series in the module DICOM, or choose the folder of one study."),
        "several-patients": _("Load the series in the module DICOM, or choose the folder of one patient."),
        "no-series-looks-like-flair": _("Load the FLAIR in the module DICOM, or choose the folder of its series."),
        "unnamed-labels": _(
            "Name the segments by structure (MS lesion, Normal periventricular WMH, Ventricles) in the module "
            "Segmentations, and save again."
        ),
        "fractional-segmentation": _(
            "Make the binary label map the source representation in the module Segmentations, and save again."
        ),
        "implausible-labels": _(
            "Check that it is a label map of lesions. If it is, name its segments by structure (MS lesion, "
            "Normal periventricular WMH, Ventricles) in the module Segmentations, and save again."
        ),
        "probabilities-not-labels": _("Choose the label map of the case, not its probabilities."),
        "no-study": _("Choose the folder of a study; a coordinator creates one under Coordinator."),
        "study-still-open": _("Close the study under Coordinator first. No answers are accepted afterwards."),
    }


def advice(error: BaseException) -> str:
    """Return the advice in terms of the panels; the error's own where there is no phrase."""
    return error.advice_of(_phrases()) if isinstance(error, FlairSegError) else ""


def typed(error: Exception) -> FlairSegError:
    """Return an error that can be shown: itself, or a typed one with advice for an unexpected error (logged)."""
    if isinstance(error, FlairSegError):
        return error
    logging.error("FlairSeg: an unexpected error", exc_info=error)
    if isinstance(told := errors.typed(error), OutputError):
        return told
    return WorkerError(
        _("It could not be started because of an unexpected error ({kind}: {error}).").format(
            kind=type(error).__name__, error=error
        ),
        _("Try again; if it persists, restart Slicer and report it with Slicer's error log."),
    )


def text(error: BaseException) -> str:
    """Return message and advice as two sentences."""
    if not isinstance(error, FlairSegError):
        return str(error)
    return f"{error.message} {advice(error)}".strip()
