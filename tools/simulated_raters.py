"""Simulated raters for demonstrations and pictures of reader studies.

A simulated rater knows a reference mask of every case, compares each shown lesion with it, makes random errors, and
answers through :class:`~flairseg.study.StudySession` like the panel. The answers show how the software works and are no
evidence about any mask. The repository contains no answers of people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from itertools import combinations
from pathlib import Path

import numpy as np
from flairseg.io.reader import read_volume
from flairseg.study import StudySession
from flairseg.study.acceptance import LesionMap
from flairseg.study.records import ACCEPTABLE, UNACCEPTABLE

#: Simulated probabilities: a false positive is detected; a true lesion is marked false; a missed lesion is detected
#: (below and above 0.1 ml).
SEES_FALSE, DOUBTS_TRUE, SEES_MISSING_SMALL, SEES_MISSING = 0.85, 0.02, 0.55, 0.9
SMALL_ML = 0.1
#: Simulated probability of a decision against the rule of S5.
OVERRULES = 0.06
SIGN_OF_LIFE_S = 5.0
FIRST_SITTING = datetime(2026, 3, 2, 8, 30, tzinfo=timezone.utc)


class SimulatedClock:
    """Clock that advances on request, so that hours of a study are simulated in seconds.

    Parameters
    ----------
    start : datetime
        With a time zone.
    """

    def __init__(self, start: datetime) -> None:
        self._moment, self._seconds = start, 0.0

    def now(self) -> datetime:
        """Date and time, UTC."""
        return self._moment

    def monotonic(self) -> float:
        """Monotonic time in seconds."""
        return self._seconds

    def go(self, seconds: float) -> None:
        """Advance the clock."""
        self._moment += timedelta(seconds=seconds)
        self._seconds += seconds


class References:
    """Reference masks of shown images, in any mirrored orientation.

    Parameters
    ----------
    pairs : mapping of Path to Path
        FLAIR -> reference label map on its grid.
    """

    def __init__(self, pairs: Mapping[Path, Path]) -> None:
        self._of: dict[str, np.ndarray] = {}
        for flair, mask in pairs.items():
            image, labels = read_volume(flair).array, np.rint(read_volume(mask).array).astype(np.uint8)
            for axes in (c for n in range(2) for c in combinations(range(3), n)):
                self._of[_fingerprint(np.flip(image, axes))] = np.flip(labels, axes)

    def of(self, flair: Path) -> np.ndarray:
        """Labels (K, J, I) of the image in a file.

        Raises
        ------
        KeyError
            If the image is unknown.
        """
        return self._of[_fingerprint(read_volume(flair).array)]


def rate_room(
    room: Path,
    references: References,
    seed: int,
    strictness: float = 1.0,
    limit: int | None = None,
    start: datetime = FIRST_SITTING,
) -> int:
    """Answer the presentations of a reading room and return their number.

    Parameters
    ----------
    room : Path
        ``rooms/<rater>`` of a locked study.
    references : References
    seed : int
        Seed of this rater's decisions.
    strictness : float
        Factor on the probability to detect an error.
    limit : int, optional
        Maximum number of presentations; default: all remaining.
    start : datetime
        Begin of this sitting.
    """
    rng = np.random.default_rng(seed)
    clock = SimulatedClock(start)
    answered = 0
    with StudySession.open(room, clock, "simulated rater") as session:
        while (limit is None or answered < limit) and (showing := session.next()) is not None:
            truth = LesionMap(references.of(showing.flair), showing.ijk_to_ras)
            _mark(session, truth, rng, strictness)
            pace = 22.0 + 1.4 * len(showing.lesions.lesions) + 4.0 * len(session.shown.marks)
            _work(session, clock, pace * 0.998**answered * float(rng.lognormal(0, 0.25)))
            proposed = session.shown.acceptance.proposed
            other = UNACCEPTABLE if proposed == ACCEPTABLE else ACCEPTABLE
            for question in session.rules.questions:
                if question.type == "Acceptability":
                    session.shown.answer(question.id, other if rng.random() < OVERRULES else proposed)
                elif question.type == "Likert_5":
                    share = session.shown.acceptance.true_of_delineated or 0.0
                    session.shown.answer(question.id, int(np.clip(round(6 * share - 1 + rng.normal(0, 0.5)), 1, 5)))
            if session.rules.confidence:
                session.shown.set_confidence(int(rng.choice([3, 4, 5], p=[0.2, 0.5, 0.3])))
            session.shown.submit()
            clock.go(float(rng.uniform(2, 8)))
            answered += 1
    return answered


def _mark(session: StudySession, truth: LesionMap, rng: np.random.Generator, strictness: float) -> None:
    """Mark lesions that are not in the reference, and missed lesions of the reference."""
    shown = session.current.lesions
    for lesion in shown.lesions:
        real = bool((truth.numbers[shown.numbers == lesion.number] > 0).any())
        chance = DOUBTS_TRUE if real else SEES_FALSE
        if rng.random() < min(1.0, chance * strictness):
            session.shown.mark_false_positive(lesion.anchor_ras)
    for lesion in truth.lesions:
        missing = not (shown.numbers[truth.numbers == lesion.number] > 0).any()
        chance = SEES_MISSING_SMALL if lesion.volume_ml < SMALL_ML else SEES_MISSING
        if missing and rng.random() < min(1.0, chance * strictness):
            session.shown.mark_false_negative(lesion.anchor_ras)


def _work(session: StudySession, clock: SimulatedClock, seconds: float) -> None:
    """Advance the clock with an activity event every few seconds, like mouse movements."""
    while seconds > 0:
        clock.go(min(SIGN_OF_LIFE_S, seconds))
        session.shown.touch()
        seconds -= SIGN_OF_LIFE_S


def _fingerprint(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, np.float32).tobytes()).hexdigest()
