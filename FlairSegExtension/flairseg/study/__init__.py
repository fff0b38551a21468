"""Blinded reader studies and reference sessions: protocol, order, blinding, answers, and the resulting tables.

The coordinator locks a protocol (:mod:`.protocol`, :mod:`.study`): every rater gets a *room*, a folder with neutral
copies of the images in the order of the schedule; the key that identifies them stays sealed with the coordinator. In
the room a :class:`~flairseg.study.session.StudySession` shows one after the other and records every click. After the
study is closed the key is checked against the commitment that all records carry, and
:func:`~flairseg.study.ratings.ratings` gives the tidy table.

Pure Python; knows neither Slicer nor Qt. Research use only, not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _lazy

_NAMES = {
    "Acceptance": "acceptance",
    "Protocol": "protocol",
    "Room": "room",
    "Study": "study",
    "StudySession": "session",
    "check_protocol": "checking",
    "check_study": "checking",
    "load_protocol": "protocol_reading",
    "lock": "locking",
    "tables": "ratings",
    "work_list": "queue",
    "write_tables": "ratings",
}

__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from .acceptance import Acceptance as Acceptance
    from .checking import check_protocol as check_protocol
    from .checking import check_study as check_study
    from .locking import lock as lock
    from .protocol import Protocol as Protocol
    from .protocol_reading import load_protocol as load_protocol
    from .queue import work_list as work_list
    from .ratings import tables as tables
    from .ratings import write_tables as write_tables
    from .room import Room as Room
    from .session import StudySession as StudySession
    from .study import Study as Study

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
