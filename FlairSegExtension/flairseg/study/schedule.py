"""Order of showings for every rater, reproducible from the protocol.

Algorithm (``flairseg-order-1``), for a methods section:

1. A *lot* is the sha256 of ``flairseg-order-1``, the study id, the rater's code, the rater's seed, and the purpose of
the lot
   for, joined by line feeds, UTF-8; lots are compared as numbers. SHA-256 (FIPS 180-4) is the only source of
   randomness, so an order is the same in every version of Python and numpy and on every machine.
2. Training cases come first, one showing per case and arm, in the order of the protocol.
3. There are as many rounds as repeats, and a round has as many passes, P, as the case with the most arms has arms. The
   cases are put in the order of their lots. Case n (from 0) with A arms stands in the passes (n + floor(k P / A)) mod P
   for k = 0 .. A - 1, and shows in its r-th pass (from 0) arm (n + r) mod A: every arm stands about equally often in
   every pass and about equally often first. All rounds share this rotation.
4. Within a pass, the next showing is always the one of smallest lot (drawn for every attempt, round, pass and case)
   among those whose case has been away long enough: ``washout.arms`` showings of other cases since any showing of that
   case, ``washout.cases`` since the same case and arm. If none may be shown, the attempt is abandoned and all is drawn
   again with the next attempt number, up to 500 times.
5. With ``mirror_repeats``, the repeat is mirrored if (repeat number + a lot's parity, drawn per case) is odd: every
   case and arm is seen both ways, half of them mirrored first, and arms of one case the same way in the same round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .canonical import content_sha256
from .errors import ScheduleError
from .protocol import Protocol, Rater, StudyCase, Washout

ALGORITHM = "flairseg-order-1"
ATTEMPTS = 500


@dataclass(frozen=True)
class PlannedShowing:
    """One showing of the plan, unblinded.

    Attributes
    ----------
    position : int
        From 0, training included.
    case, arm : str
    repeat : int
        0 for the first time that this rater sees this case and arm.
    mirrored, training : bool
    """

    position: int
    case: str
    arm: str
    repeat: int
    mirrored: bool = False
    training: bool = False

    def to_payload(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def plan(protocol: Protocol, rater: Rater | str) -> tuple[PlannedShowing, ...]:
    """The rater's order.

    Raises
    ------
    ScheduleError
        If no order keeps the washout.
    """
    rater = protocol.rater(rater) if isinstance(rater, str) else rater
    check_feasible(protocol)
    base = (protocol.id, rater.id, str(rater.seed))
    training = [
        PlannedShowing(n, case, arm, 0, training=True)
        for n, (case, arm) in enumerate((c.id, a.id) for c in protocol.training_cases for a in c.arms)
    ]
    for attempt in range(ATTEMPTS):
        order = _attempt(protocol, base, attempt)
        if order is not None:
            break
    else:
        raise ScheduleError(
            f"No order of {len(protocol.cases)} cases keeps the washout of {_words(protocol.washout)}.",
            "Require fewer cases between repeats or arms, or add cases.",
        )
    showings = list(training)
    for case, arm, repeat in order:
        mirrored = protocol.mirror_repeats and (repeat + _lot(base, "mirror", case) % 2) % 2 == 1
        showings.append(PlannedShowing(len(showings), case, arm, repeat, mirrored))
    return tuple(showings)


def check_feasible(protocol: Protocol) -> None:
    """Refuse a washout that is impossible with so few cases.

    Raises
    ------
    ScheduleError
        Stating the number of cases needed.
    """
    others = len(protocol.cases) - 1
    washout = protocol.washout
    several = any(len(case.arms) > 1 for case in protocol.cases) or protocol.repeats > 1
    if several and washout.arms > others:
        raise ScheduleError(
            f"{washout.arms} showings of other cases do not fit between two of one case: there are {others} others.",
            "Add cases, or set washout.arms to less (0 allows one case twice in a row).",
        )
    between = protocol.repeats > 1 and _others_between_repeats(protocol.cases)
    if protocol.repeats > 1 and washout.cases > between:
        raise ScheduleError(
            f"{washout.cases} showings of other cases do not fit between two of the same case and arm: "
            f"a round has {between}.",
            "Add cases, or set washout.cases to less.",
        )


def order_sha256(showings: Iterable[PlannedShowing]) -> str:
    """sha256 of an order, over the canonical JSON of its showings."""
    return content_sha256({"algorithm": ALGORITHM, "showings": [s.to_payload() for s in showings]})


def rounds_of(showings: Iterable[PlannedShowing]) -> list[int]:
    """Positions at which the rounds of repeats begin (the first one after the training cases)."""
    begins: dict[int, int] = {}
    for showing in showings:
        if not showing.training:
            begins.setdefault(showing.repeat, showing.position)
    return [begins[n] for n in sorted(begins)]


def _others_between_repeats(cases: tuple[StudyCase, ...]) -> int:
    """Most showings of other cases that fit between two showings of the same case and arm, for every case."""
    total = sum(len(case.arms) for case in cases)
    return min(total - len(case.arms) for case in cases)


def _attempt(protocol: Protocol, base: tuple[str, ...], attempt: int) -> list[tuple[str, str, int]] | None:
    """(case, arm, repeat) in order; None if no next showing keeps the washout."""
    passes = _passes(protocol, base)
    order: list[tuple[str, str, int]] = []
    history = _History(protocol.washout)
    for repeat in range(protocol.repeats):
        for number, shown in enumerate(passes):
            waiting = dict(shown)
            lots = {case: _lot(base, "order", str(attempt), str(repeat), str(number), case) for case in waiting}
            while waiting:
                ready = [case for case, arm in waiting.items() if history.allows(case, arm)]
                if not ready:
                    return None
                case = min(ready, key=lots.__getitem__)
                arm = waiting.pop(case)
                history.add(case, arm)
                order.append((case, arm, repeat))
    return order


def _passes(protocol: Protocol, base: tuple[str, ...]) -> list[dict[str, str]]:
    """Case -> arm for each pass of a round."""
    rotation = sorted(protocol.cases, key=lambda case: _lot(base, "rotation", case.id))
    count = max(len(case.arms) for case in protocol.cases)
    passes: list[dict[str, str]] = [{} for _ in range(count)]
    for n, case in enumerate(rotation):
        arms = len(case.arms)
        for rank, number in enumerate(sorted((n + k * count // arms) % count for k in range(arms))):
            passes[number][case.id] = case.arms[(n + rank) % arms].id
    return passes


class _History:
    """Counter of showings of other cases since the last showing of a case, and of a case and arm."""

    def __init__(self, washout: Washout) -> None:
        self._washout = washout
        self._shown = 0
        self._of_case: dict[str, int] = {}
        self._last_case: dict[str, int] = {}
        self._last_item: dict[tuple[str, str], int] = {}

    def allows(self, case: str, arm: str) -> bool:
        others = self._shown - self._of_case.get(case, 0)
        since_case = others - self._last_case.get(case, -self._washout.arms)
        since_item = others - self._last_item.get((case, arm), -self._washout.cases)
        return since_case >= self._washout.arms and since_item >= self._washout.cases

    def add(self, case: str, arm: str) -> None:
        others = self._shown - self._of_case.get(case, 0)
        self._last_case[case] = others
        self._last_item[case, arm] = others
        self._of_case[case] = self._of_case.get(case, 0) + 1
        self._shown += 1


def _lot(base: tuple[str, ...], *purpose: str) -> int:
    text = "\n".join((ALGORITHM, *base, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest(), "big")


def _words(washout: Washout) -> str:
    return f"{washout.cases} other cases between repeats and {washout.arms} between arms"
