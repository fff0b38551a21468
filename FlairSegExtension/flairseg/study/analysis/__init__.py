"""Analysis of a reader study: agreement, acceptance, time and errors, with intervals, as a report.

>>> from flairseg.study.analysis import analyse, analyse_study, read_ratings
>>> analyse_study(Study("study"), "report")                               # doctest: +SKIP
>>> analyse(read_ratings(["ratings.csv"]), "report")                      # doctest: +SKIP

statsmodels and SciPy do the statistics, matplotlib and Jinja2 the report: the extra ``study``. They are imported when
an analysis runs. Research use only, not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import _lazy

_NAMES = {
    "analyse": "report",
    "analyse_study": "from_study",
    "compute": "results",
    "read_ratings": "importing",
    "missing_packages": "dependencies",
    "AnalysisInputs": "inputs",
    "StudyDescription": "inputs",
    "Exclusion": "tidy",
    "CaseFrame": "lesions",
    "brain_frame": "lesions",
}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .dependencies import missing_packages as missing_packages
    from .from_study import analyse_study as analyse_study
    from .importing import read_ratings as read_ratings
    from .inputs import AnalysisInputs as AnalysisInputs
    from .inputs import StudyDescription as StudyDescription
    from .lesions import CaseFrame as CaseFrame
    from .lesions import brain_frame as brain_frame
    from .report import analyse as analyse
    from .results import compute as compute
    from .tidy import Exclusion as Exclusion

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
