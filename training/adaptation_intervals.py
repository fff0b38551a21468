"""Gains of local adaptation with intervals: ``python -m training.adaptation_intervals RESULTS.jsonl ...``.

Reads files of :mod:`.measure_adaptation` and prints, for each run and set of test scans, lesion Dice of base and
adapted model, the paired gain over test persons with its 95 % BCa bootstrap interval and the one-sided p of a sign-flip
test, as in the proof of an adaptation (:mod:`flairseg.adapt.proof`). Nothing is trained or segmented.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flairseg.adapt.proof import sign_flip
from flairseg.evaluation.resampling import mean_over_patients


@dataclass(frozen=True)
class Gain:
    """Paired difference over persons.

    Attributes
    ----------
    gain : float
        Mean of adapted minus base.
    low, high : float or None
        95 % interval; None with one person, or where every resample is alike.
    p : float
        One-sided, of a gain.
    persons, improved : int
    """

    gain: float
    low: float | None
    high: float | None
    p: float
    persons: int
    improved: int


def paired_gain(before: Mapping[str, float], after: Mapping[str, float], name: str, seed: int = 0) -> Gain | None:
    """The gain over persons for whom both are defined; None without any.

    Parameters
    ----------
    before, after : mapping of str to float
        Person -> measure, more is better.
    name : str
        Of the measure: names the stream of random numbers.
    seed : int
    """
    persons = sorted(before.keys() & after.keys())
    if not persons:
        return None
    gains = np.array([after[one] - before[one] for one in persons])
    found = mean_over_patients(gains, f"adaptation {name}", seed)
    low, high = (None if limit is None else round(limit, 4) for limit in (found.low, found.high))
    improved = int((gains > 0).sum())
    return Gain(round(float(gains.mean()), 4), low, high, round(sign_flip(gains, seed), 4), len(persons), improved)


def sets_of(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sets of test scans of a run whose persons were written down, by name."""
    return {name: one for name, one in row.items() if isinstance(one, dict) and "persons" in one}


def line(row: Mapping[str, Any], name: str) -> str:
    """One set of a run, as a line of a Markdown table."""
    own, run = row[name], row.get("run", {})
    base, adapted, in_use = own["lesion_dice"]
    pairs = own["persons"]
    found = paired_gain(
        {p: pair[0] for p, pair in pairs.items()}, {p: pair[1] for p, pair in pairs.items()}, "lesion_dice"
    )
    assert found is not None  # noqa: S101 - there are persons
    interval = "-" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"
    steps = run.get("settings", {}).get("steps", row.get("steps", ""))
    cells = [
        f"{run.get('site', '')}, {run.get('patients', row.get('patients', ''))} persons, split {run.get('seed', '')}",
        name, str(steps), f"{base:.3f} to {adapted:.3f}", f"{found.gain:+.3f} ({interval})", f"{found.p:.3f}",
        f"{found.improved} of {found.persons}", f"{in_use:.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def as_dict(found: Gain | None) -> dict[str, Any] | None:
    """For a JSON line."""
    return None if found is None else asdict(found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="JSON lines of training.measure_adaptation")
    print("| adapted to | tested on | steps | lesion Dice | gain (95 %) | p | better | in use |")
    print("|---|---|---|---|---|---|---|---|")
    for path in parser.parse_args().results:
        for text in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(text)
            for name in sets_of(row):
                print(line(row, name))


if __name__ == "__main__":
    main()
