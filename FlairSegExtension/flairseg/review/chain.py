"""Detection of tampering with a stream of events, and its location.

Each event carries the hash of the one before it. Recomputing the hashes names an event whose content was changed,
moved, inserted or removed; anchors kept elsewhere reveal a truncated or rewritten chain.
Rewriting store and anchors together leaves no trace: keep the anchors under separate control.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .events import GENESIS, Anchor, Event, event_hash

#: Kinds of :class:`Problem`.
CHANGED = "changed"
FORGED_HASH = "forged_hash"
MISSING = "missing"
REORDERED = "reordered"
INSERTED = "inserted"
CUT_TAIL = "cut_tail"
REWRITTEN = "rewritten"
GUARD_REMOVED = "guard_removed"

#: Search range for a moved event when its origin is otherwise unknown.
_SEARCH = 64


@dataclass(frozen=True)
class Problem:
    """One trace of tampering or loss.

    Attributes
    ----------
    code : str
        ``changed``, ``forged_hash``, ``missing``, ``reordered``, ``inserted``, ``cut_tail``, ``rewritten`` or
        ``guard_removed``.
    stream : str
        Stream in which; empty if it concerns the store as a whole.
    sequence : int
        Number of the event (of the first one, if several); 0 if it concerns no single event.
    event_id : str
        Its id where that is known.
    message : str
        The problem as a sentence, without the payload.
    """

    code: str
    stream: str
    sequence: int
    event_id: str
    message: str

    def __str__(self) -> str:
        return self.message


def problems_of(stream: str, events: Sequence[Event], anchors: Iterable[Anchor] = ()) -> list[Problem]:
    """Everything that is wrong with one stream.

    Parameters
    ----------
    stream : str
        Its name.
    events : sequence of Event
        All of its events, by sequence number.
    anchors : iterable of Anchor
        Known receipts; those of other streams are ignored.

    Returns
    -------
    list of Problem
        By sequence number; empty if nothing is wrong.
    """
    judged = _Judged(stream, events)
    problems = [*judged.alone(), *judged.linked(), *judged.gaps()]
    problems += judged.anchored([anchor for anchor in anchors if anchor.stream == stream])
    return sorted(problems, key=lambda problem: (problem.sequence, problem.code))


class _Judged:
    """The events of a stream, with the position for which each one's hash was computed."""

    def __init__(self, stream: str, events: Sequence[Event]) -> None:
        self._stream = stream
        self._events = sorted(events, key=lambda event: event.sequence)
        self._true = [event.sequence for event in self._events]
        self._wrong: set[int] = set()
        self._after_hash = {event.hash: event.sequence + 1 for event in self._events}

    def alone(self) -> Iterator[Problem]:
        """Events whose hash does not match their content."""
        offset = 0
        following = {event.sequence: event for event in self._events}
        for n, event in enumerate(self._events):
            computed = event_hash(event)
            if computed == event.hash:
                continue
            self._wrong.add(n)
            place = self._place(event, offset)
            if place is not None:
                offset, self._true[n] = place - event.sequence, place
                yield self._problem(REORDERED, event, f"was written as number {place} and is now at another position")
                continue
            after = following.get(event.sequence + 1)
            if after is not None and after.previous_hash == computed != GENESIS:
                yield self._problem(FORGED_HASH, event, "has its content, but its hash was replaced")
            else:
                yield self._problem(CHANGED, event, "differs from its content when it was stored")

    def linked(self) -> Iterator[Problem]:
        """Events whose hash their successor does not contain."""
        inserted = self._inserted()
        for n in inserted:
            yield self._problem(INSERTED, self._events[n], "is where another event was stored")
        order = sorted({*range(len(self._events))} - inserted, key=lambda n: (self._true[n], n))
        broken = {b: a for a, b in zip([None, *order], order, strict=False) if self._is_broken(a, b)}
        following = dict(pairwise(order))
        hashes = {self._events[n].hash: self._true[n] for n in order}
        for b, a in broken.items():
            if b in self._wrong or (a is not None and a in self._wrong):
                continue
            if a is None or following.get(b) in broken:
                yield self._problem(FORGED_HASH, self._events[b], "was rewritten with a new hash")
            elif hashes.get(self._events[b].previous_hash, self._true[a]) < self._true[a]:
                yield self._problem(INSERTED, self._events[a], "was inserted later; its successor does not refer to it")
            elif a not in broken:
                yield self._problem(
                    FORGED_HASH, self._events[a], "was rewritten with a new hash; its successor has the old one"
                )

    def gaps(self) -> Iterator[Problem]:
        """Numbers that are not there, though later ones are."""
        there = set(self._true)
        expected = 1
        for number in sorted(there):
            if number > expected:
                yield self._missing(MISSING, expected, number - 1, "", "removed from within")
            expected = number + 1

    def anchored(self, anchors: Sequence[Anchor]) -> Iterator[Problem]:
        """Return the events that the stream has lost."""
        last = max(self._true, default=0)
        beyond = max((a for a in anchors if a.sequence > last), key=lambda a: a.sequence, default=None)
        if beyond is not None:
            yield self._missing(CUT_TAIL, last + 1, beyond.sequence, beyond.event_id, "cut off at the end")
        by_place = {self._true[n]: n for n in range(len(self._events))}
        other = [
            a
            for a in anchors
            if (n := by_place.get(a.sequence)) is not None and n not in self._wrong and self._events[n].hash != a.hash
        ]
        if other:
            first = min(other, key=lambda a: a.sequence)
            yield Problem(
                REWRITTEN,
                self._stream,
                first.sequence,
                first.event_id,
                f"{self._stream}: the chain was rewritten, at the latest from number {first.sequence} on: that "
                "event was acknowledged with another hash.",
            )

    def _place(self, event: Event, offset: int) -> int | None:
        """Number for which an event's hash was made; None if no number explains it."""
        near = (event.sequence + sign * step for step in range(1, _SEARCH + 1) for sign in (1, -1))
        for place in (event.sequence + offset, self._after_hash.get(event.previous_hash, 0), *near):
            if place > 0 and event_hash(replace(event, sequence=place)) == event.hash:
                return place
        return None

    def _inserted(self) -> set[int]:
        """Of several events for one number, all but the one that its successor knows, or that had to give way."""
        places: dict[int, list[int]] = defaultdict(list)
        for n, number in enumerate(self._true):
            places[number].append(n)
        inserted: set[int] = set()
        for number, candidates in places.items():
            if len(candidates) > 1:
                known = {self._events[n].previous_hash for n in places.get(number + 1, ())}
                own = [n for n in candidates if self._events[n].hash in known] or sorted(self._wrong & {*candidates})
                inserted |= {*candidates} - {*(own or candidates)[:1]}
        return inserted

    def _is_broken(self, a: int | None, b: int) -> bool:
        if a is None:
            return self._true[b] == 1 and self._events[b].previous_hash != GENESIS
        neighbours = self._true[b] - self._true[a] <= 1
        return neighbours and self._events[b].previous_hash != self._events[a].hash

    def _problem(self, code: str, event: Event, what: str) -> Problem:
        message = f"{self._stream}, number {event.sequence} ({event.kind}, {event.event_id}) {what}."
        return Problem(code, self._stream, event.sequence, event.event_id, message)

    def _missing(self, code: str, first: int, last: int, event_id: str, how: str) -> Problem:
        which = f"number {first} is" if first == last else f"numbers {first} to {last} are"
        return Problem(code, self._stream, first, event_id, f"{self._stream}: {which} missing, {how}.")
