"""The order of showings: washout, balance, mirrors, and that it never changes."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

import pytest
from flairseg.study.errors import ScheduleError
from flairseg.study.schedule import order_sha256, plan, rounds_of
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.core.study_data import planned, protocol_json

ARMS = st.integers(1, 3).map(lambda n: tuple("abc"[:n]))


def others_between(order, same) -> list[int]:
    """Showings of other cases between successive showings that ``same`` puts together."""
    found, last = [], {}
    for position, showing in enumerate(order):
        key = same(showing)
        if key in last:
            between = order[last[key] + 1 : position]
            found.append(sum(s.case != showing.case for s in between))
        last[key] = position
    return found


@settings(max_examples=60, deadline=None)
@given(count=st.integers(3, 12), arms=ARMS, repeats=st.integers(1, 3), seed=st.integers(0, 2**63 - 1), data=st.data())
def test_washout_and_completeness(count, arms, repeats, seed, data):
    between = data.draw(st.integers(0, (count - 1) * len(arms)), label="washout.cases")
    apart = data.draw(st.integers(0, max(0, min(count - 1, count // 2))), label="washout.arms")
    protocol = planned(
        count,
        arms,
        repeats=repeats,
        washout={"cases": between, "arms": apart},
        raters=[{"id": "R1", "seed": seed}],
    )
    order = plan(protocol, "R1")
    assert [s.position for s in order] == list(range(len(order)))
    shown = Counter((s.case, s.arm, s.repeat) for s in order)
    assert set(shown.values()) == {1}
    assert len(order) == count * len(arms) * repeats
    assert min(others_between(order, lambda s: (s.case, s.arm)), default=between) >= between
    assert min(others_between(order, lambda s: s.case), default=apart) >= apart
    # A repeat never comes before the showing that it repeats.
    assert [s.repeat for s in order] == sorted(s.repeat for s in order)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 14), arms=ARMS, seed=st.integers(0, 10**6))
def test_arms_are_balanced(count, arms, seed):
    protocol = planned(count, arms, repeats=1, washout={}, raters=[{"id": "R1", "seed": seed}])
    order = plan(protocol, "R1")
    for begin in range(0, len(order), count):
        of_pass = order[begin : begin + count]
        assert len({s.case for s in of_pass}) == count
        counts = Counter(s.arm for s in of_pass)
        assert max(counts.values()) - min(counts[arm] for arm in arms) <= 1
    assert all(a.case != b.case for a, b in pairwise(order))


@settings(max_examples=30, deadline=None)
@given(arms=st.lists(ARMS, min_size=4, max_size=9), seed=st.integers(0, 10**6))
def test_cases_with_different_numbers_of_arms(arms, seed):
    protocol = planned(len(arms), arms, repeats=2, washout={"arms": 0}, raters=[{"id": "R1", "seed": seed}])
    shown = Counter((s.case, s.arm) for s in plan(protocol, "R1"))
    assert shown == {(f"c{n}", arm): 2 for n, each in enumerate(arms) for arm in each}


@settings(max_examples=20, deadline=None)
@given(count=st.integers(4, 12), seed=st.integers(0, 10**6))
def test_every_other_repeat_is_mirrored_and_arms_of_a_case_alike(count, seed):
    protocol = planned(
        count, ("a", "b"), repeats=2, washout={}, mirror_repeats=True, raters=[{"id": "R1", "seed": seed}]
    )
    sides: dict[tuple, list[bool]] = {}
    for showing in plan(protocol, "R1"):
        sides.setdefault((showing.case, showing.arm), []).append(showing.mirrored)
    assert all(sorted(each) == [False, True] for each in sides.values())
    assert all(sides[case, "a"] == sides[case, "b"] for case, _ in sides)


def test_mirrored_first_is_drawn_by_lot():
    protocol = planned(40, washout={}, mirror_repeats=True)
    first = [s.mirrored for s in plan(protocol, "R1") if s.repeat == 0]
    assert 8 < sum(first) < 32


def test_nothing_is_mirrored_unless_asked_for():
    assert not any(s.mirrored for s in plan(planned(6, washout={}), "R1"))


def test_the_order_follows_from_sha256_alone():
    """One arm, one repeat, no washout: the order is that of the lots, worked out here from the description."""
    protocol = planned(9, repeats=1, washout={"arms": 0}, raters=[{"id": "R1", "seed": 4711}])

    def lot(case: str) -> bytes:
        parts = ("flairseg-order-1", "trial-1", "R1", "4711", "order", "0", "0", "0", case)
        return hashlib.sha256("\n".join(parts).encode()).digest()

    assert [s.case for s in plan(protocol, "R1")] == sorted((f"c{n}" for n in range(9)), key=lot)


def test_golden_order():
    """If this fails, studies that were locked with an earlier version cannot be worked out again."""
    protocol = planned(5, ("a", "b"), repeats=2, washout={"cases": 3}, mirror_repeats=True)
    order = plan(protocol, "R1")
    assert " ".join(f"{s.case}{s.arm}{s.repeat}{'m' if s.mirrored else ''}" for s in order) == GOLDEN_R1
    assert order_sha256(order) == GOLDEN_SHA256
    assert rounds_of(order) == [0, 10]


GOLDEN_R1 = (
    "c0b0 c4b0 c2a0m c1a0m c3a0 c0a0 c3b0 c4a0 c2b0m c1b0m c4b1m c2a1 c1a1 c3a1m c0b1m c2b1 c1b1 c3b1m c0a1m c4a1m"
)
GOLDEN_SHA256 = "03e2d2fa42abec5df4f3257e43e96ae002b33c54ce12ee2872a5d6d23cbf42f4"


def test_raters_and_seeds_have_orders_of_their_own():
    protocol = planned(8, washout={})
    orders = [[(s.case, s.repeat) for s in plan(protocol, rater)] for rater in ("R1", "R2")]
    assert orders[0] != orders[1]
    same_seed = planned(8, washout={}, raters=[{"id": "R1", "seed": 11}, {"id": "R2", "seed": 11}])
    assert [(s.case, s.repeat) for s in plan(same_seed, "R1")] == orders[0]
    assert [(s.case, s.repeat) for s in plan(same_seed, "R2")] != orders[0]


def test_first_places_are_drawn_evenly():
    """Over 600 seeds each of six cases comes first about a hundred times (chi-square, p > 0.001)."""
    firsts = Counter(
        plan(planned(6, repeats=1, washout={}, raters=[{"id": "R1", "seed": seed}]), "R1")[0].case
        for seed in range(600)
    )
    assert sum((n - 100) ** 2 / 100 for n in firsts.values()) < 20.5
    assert len(firsts) == 6


def test_training_comes_first_and_once():
    content = protocol_json(
        [{"id": f"c{n}", "flair": "f", "arms": [{"id": "a", "mask": "m"}]} for n in range(4)],
        training_cases=[{"id": "t1", "flair": "f", "arms": [{"id": "a", "mask": "m"}, {"id": "b", "mask": "m"}]}],
    )
    from flairseg.study.protocol_reading import parse_protocol

    order = plan(parse_protocol(content), "R1")
    assert [(s.case, s.arm) for s in order if s.training] == [("t1", "a"), ("t1", "b")]
    assert all(s.training for s in order[:2])
    assert rounds_of(order) == [2, 6]


@pytest.mark.parametrize(
    ("count", "arms", "washout", "words"),
    [
        (1, ("a", "b"), {}, "there are 0 others"),
        (4, ("a",), {"cases": 4}, "a round has 3"),
        (3, ("a", "b"), {"arms": 3}, "there are 2 others"),
    ],
)
def test_a_washout_that_cannot_be_kept_is_refused(count, arms, washout, words):
    with pytest.raises(ScheduleError, match=words) as caught:
        plan(planned(count, arms, washout=washout), "R1")
    assert caught.value.advice


def test_the_largest_washout_can_be_kept():
    order = plan(planned(53, washout={"cases": 52}), "R1")
    assert [s.case for s in order[:53]] == [s.case for s in order[53:]]
