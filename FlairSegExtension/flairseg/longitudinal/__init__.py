"""Change over time: two or more FLAIR studies of one patient, aligned and compared.

>>> from flairseg.longitudinal import follow, write_followup
>>> result = follow(["2023/flair.nii.gz", "2024/flair.nii.gz"])            # doctest: +SKIP
>>> result.counts, result.ventricles.change_percent                      # doctest: +SKIP

Research use only - not a medical device. Nothing heavy is loaded before a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy
from .states import CODES, GAINED, LOST, STATES, State

_NAMES = {
    "follow": "followup",
    "FollowUp": "result",
    "FollowedLesion": "result",
    "VentricleChange": "result",
    "Registration": "registration",
    "CommonSpace": "space",
    "Study": "studies",
    "StudyInput": "studies",
    "render_followup": "picture",
    "write_followup": "writing",
    "followup_stem": "writing",
}

__all__ = ["CODES", "GAINED", "LOST", "STATES", "State", *sorted(_NAMES)]

if TYPE_CHECKING:
    from .followup import follow as follow
    from .picture import render_followup as render_followup
    from .registration import Registration as Registration
    from .result import FollowedLesion as FollowedLesion
    from .result import FollowUp as FollowUp
    from .result import VentricleChange as VentricleChange
    from .space import CommonSpace as CommonSpace
    from .studies import Study as Study
    from .studies import StudyInput as StudyInput
    from .writing import followup_stem as followup_stem
    from .writing import write_followup as write_followup

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
