"""The report of one case: a page for the clinician, then the details; one HTML file and a PDF with the same content.

    from flairseg.report import CaseReport

    report = CaseReport.from_files("results/patient_summary.json", followup="results/followup.json")
    report.write_pdf("patient.pdf")
    report.write_html("patient.html")

Figures are computed from the label map that is shown, never copied from a file that may describe another one. It never
says what disease a patient has. Research use only - not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {"CaseReport": "report"}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .report import CaseReport as CaseReport

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
