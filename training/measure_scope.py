"""How well the scope of an adapted model separates sites: ``python -m training.measure_scope``; no network runs.

Persons of a data set are sampled at random as a site, the scope of an adaptation to them is computed
(:func:`flairseg.models.scope.learnt_scope`), and all other scans are tested against it: those of the set's other
persons should be inside, those of other sets outside. The decision is evaluated with all measures, with those of the
grid only, and with those of the image only: data sets differ in their grids, but a scan resampled to a site's grid can
be recognised by its image only. ``--figures`` stores the measures of the scans for the next call.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from flairseg.image.footing import footed
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.models.card import PipelineConfig
from flairseg.models.scope import FIGURES, learnt_scope
from flairseg.models.store import find_model
from flairseg.preprocessing import preprocess
from flairseg.preprocessing.scan_figures import scan_figures

from . import evaluate_sites
from .data import HELD_BACK_LONGITUDINAL, SAME_PERSON, data_folder, read, refuse_held_back

#: Measures that decide: all, those of the grid, those of the image.
GRID = frozenset({"plane", *(name for name in FIGURES if not name.startswith("image_"))})
IMAGE = frozenset(FIGURES) - GRID
KINDS = {"all": GRID | IMAGE, "grid": GRID, "image": IMAGE}
#: Random samples of a site for each number of persons.
DRAWS = 500


@dataclass(frozen=True)
class Measured:
    """A scan: data set, person, slice plane, and :func:`flairseg.preprocessing.scan_figures.scan_figures`."""

    data: str
    person: str
    plane: str
    figures: dict[str, float]


def volumes(data: Path) -> Iterator[tuple[str, str, Volume]]:
    """Data set, person and image of all scans that are not held back for tests."""
    persons = {name: group[0] for group in SAME_PERSON for name in group}
    for folder, title in (("tabriz", "tabriz"), ("tabriz_unlabelled", "tabriz, normalised by slice")):
        for path in sorted((data / folder).glob("sub-*/flair.nii.gz")):
            name = path.parent.name.removeprefix("sub-")
            refuse_held_back(name)
            yield title, persons.get(name, name), read(path)
    for path in sorted((data / "ljubljana_longitudinal").glob("*/study*_flair.nii.gz")):
        refuse_held_back(path.parent.name, HELD_BACK_LONGITUDINAL)
        yield "ljubljana", path.parent.name, read(path)
    for one in evaluate_sites.scans(data):
        yield one.site, one.person, one.volume


def measured(data: Path, config: PipelineConfig) -> list[Measured]:
    """Measures of all scans, preprocessed as for a model."""
    found = []
    for title, person, flair in volumes(data):
        stack = SliceStack.from_volume(footed(flair), config.plane)
        found.append(Measured(title, person, stack.plane, scan_figures(stack, preprocess(stack, config))))
    return found


def shares(
    scans: Sequence[Measured], site: str, counts: Iterable[int], draws: int = DRAWS, seed: int = 0
) -> list[dict[str, object]]:
    """Proportion of scans inside the scope learnt from random persons of one data set.

    Parameters
    ----------
    scans : sequence of Measured
    site : str
        Data set from which persons are sampled.
    counts : iterable of int
        Numbers of persons sampled; those that leave nobody to test are skipped.
    draws : int
    seed : int

    Returns
    -------
    list of dict
        ``site``, ``persons``, ``kind`` (key of :data:`KINDS`), and ``inside``: per data set the proportion of scans
        inside, over all samples; of the site itself only persons who were not sampled count.
    """
    rng = np.random.default_rng(seed)
    own = [one for one in scans if one.data == site]
    persons = sorted({one.person for one in own})
    rows = []
    for count in counts:
        if count >= len(persons):
            continue
        inside: dict[str, dict[str, list[bool]]] = {kind: {} for kind in KINDS}
        for _ in range(draws):
            drawn = set(rng.permutation(persons)[:count].tolist())
            learnt = [one for one in own if one.person in drawn]
            scope = learnt_scope([one.plane for one in learnt], [one.figures for one in learnt])
            for one in scans:
                if one.data == site and one.person in drawn:
                    continue
                outside = {found.name for found in scope.outside(one.plane, one.figures)}
                for kind, names in KINDS.items():
                    inside[kind].setdefault(one.data, []).append(not outside & names)
        rows += [
            {"site": site, "persons": count, "kind": kind, "inside": _means(found)} for kind, found in inside.items()
        ]
    return rows


def _means(found: Mapping[str, Sequence[bool]]) -> dict[str, float]:
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def spreads(scans: Sequence[Measured], site: str) -> dict[str, dict[str, float]]:
    """Standard deviation of each measure (relative ones: of its logarithm) within a data set and its persons.

    Returns
    -------
    dict
        ``set``: over all scans; ``person``: pooled over persons with several scans, absent if there are none.
    """
    # A scan without detected brain has no measures of the image.
    own = [one for one in scans if one.data == site and one.figures["image_spread"] > 0]
    persons = np.array([one.person for one in own])
    repeated = [persons == person for person in sorted(set(persons)) if (persons == person).sum() > 1]
    found: dict[str, dict[str, float]] = {"set": {}} | ({"person": {}} if repeated else {})
    for name, kind in FIGURES.items():
        values = np.array([one.figures[name] for one in own])
        values = np.log(values) if kind.relative else values
        found["set"][name] = round(float(np.std(values, ddof=1)), 4)
        if repeated:
            squares = sum(((values[of] - values[of].mean()) ** 2).sum() for of in repeated)
            freedom = sum(of.sum() - 1 for of in repeated)
            found["person"][name] = round(float(np.sqrt(squares / freedom)), 4)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="id or folder of the model whose preprocessing is used")
    parser.add_argument("--persons", type=int, nargs="+", default=[3, 5, 7])
    parser.add_argument("--sites", nargs="+", default=["tabriz", "ljubljana", "muslim"])
    parser.add_argument("--figures", type=Path, help="JSON file with the measures of the scans, written if missing")
    arguments = parser.parse_args()
    if arguments.figures is not None and arguments.figures.exists():
        scans = [Measured(**one) for one in json.loads(arguments.figures.read_text(encoding="utf-8"))]
    else:
        scans = measured(data_folder(), find_model(arguments.model).pipeline)
        if arguments.figures is not None:
            arguments.figures.write_text(json.dumps([asdict(one) for one in scans], indent=1), encoding="utf-8")
    for site in arguments.sites:
        print(json.dumps({"site": site, "deviations": spreads(scans, site)}))
        for row in shares(scans, site, arguments.persons):
            print(json.dumps(row))


if __name__ == "__main__":
    main()
