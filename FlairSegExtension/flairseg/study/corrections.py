"""Corrections after the answer: of an answer, by an event that names the old one, and of the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files.atomic import all_or_none
from ..io.reader import read_volume
from ..labels import CLASSES
from .errors import AnswerRefusedError
from .events import AnswerCorrected, MaskCorrected
from .images import labels_sha256, write_neutral
from .recording import Recording
from .records import Answer
from .room import CORRECTIONS
from .showing import Showing
from .timing import ActivityTimer


def correct_answer(recording: Recording, code: str, question_id: str, value: Answer, reason: str) -> str:
    """Record the change of an answer that was given, see :meth:`StudySession.correct`."""
    state = recording.state.showings.get(code)
    if state is None or state.answer is None or state.failed:
        raise AnswerRefusedError(
            f"The showing {code} has no answer that could be corrected.", "Answer it when it is shown."
        )
    question = recording.room.rules.question(question_id)
    if question is None:
        raise AnswerRefusedError(f"The protocol has no question {question_id!r}.", "Check its spelling.")
    if not reason.strip():
        raise AnswerRefusedError("A correction needs a reason.", "State why it is changed.")
    new = question.accepted(value)
    last = next((e for e in reversed(state.corrections) if e.question == question_id), state.answer)
    event = recording.write(
        AnswerCorrected,
        showing=code,
        position=state.answer.position,
        training=state.answer.training,
        question=question_id,
        old_value=state.answers().get(question_id),
        value=new,
        reason=reason,
        corrects_event_id=last.event_id,
    )
    return event.event_id


class MaskCorrection:
    """An edit of the mask of an answered showing, with its own clock.

    Parameters
    ----------
    recording : Recording
    showing : Showing
    """

    def __init__(self, recording: Recording, showing: Showing) -> None:
        self._recording, self._showing = recording, showing
        self._timer = ActivityTimer(recording.clock, recording.room.rules.idle_after_s)

    def touch(self) -> None:
        """Activity of the rater."""
        self._timer.touch()

    def save(self, labels: np.ndarray) -> Path:
        """Save the edited mask (K, J, I) and record it, see :meth:`StudySession.save_correction`."""
        showing = self._showing
        before, after = showing.label_array, np.ascontiguousarray(labels, np.uint8)
        if after.shape != before.shape:
            raise AnswerRefusedError("The corrected mask has a different grid.", "Edit the mask that was shown.")
        folder = self._recording.room.folder / CORRECTIONS
        version = 1 + len(list(folder.glob(f"{showing.code}_v*.nii.gz"))) if folder.is_dir() else 1
        name = f"{showing.code}_v{version:03d}_labels.nii.gz"
        grid = read_volume(showing.flair)
        with all_or_none(folder, [name]) as drafts:
            write_neutral(drafts / name, after, grid)
        seconds = self._timer.touch()
        self._recording.write(
            MaskCorrected,
            showing=showing.code,
            position=showing.position,
            training=showing.training,
            before_sha256=labels_sha256(before),
            after_sha256=labels_sha256(after),
            voxels_added=_gained(before, after),
            voxels_removed=_gained(after, before),
            correction_active_seconds=seconds.active,
            correction_idle_seconds=seconds.idle,
            file=f"{CORRECTIONS}/{name}",
        )
        return folder / name


def _gained(old: np.ndarray, new: np.ndarray) -> dict[str, int]:
    """Class id -> voxels that have the class in ``new`` and not in ``old``."""
    return {c.id: int(np.count_nonzero((new == c.value) & (old != c.value))) for c in CLASSES}
