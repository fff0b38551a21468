"""Report of a case: a page for the clinician, then details; as HTML file and PDF with the same content.

    from flairseg.report import CaseReport

    report = CaseReport.from_files("results/patient_summary.json", followup="results/followup.json")
    report.write_pdf("patient.pdf")
    report.write_html("patient.html")

Measurements are computed from the label map shown, not copied from other files. The report makes no diagnosis. Research
use only - not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {"CaseReport": "report"}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .report import CaseReport as CaseReport

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
