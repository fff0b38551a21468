"""Gain of local adaptation on a site, from a base not trained on it: ``python -m training.measure_adaptation``.

``--base models/<id>`` is the folder of a model trained without the site. For each number of patients and each seed, the
base is adapted to that many persons of the site and tested on the others; scans of one person stay together. Sites
(``--site``):

``tabriz``
    All classes count as reviewed, as in cases reviewed in the extension; normal WMH follow S1's rule, and were
    annotated manually for 101228. With ``--drawn`` only the annotated classes: ventricles and lesions.
``mslesseg``
    Two persons, one with three visits; lesions only. ``--patients 1 --seeds 0 3`` adapts to each of them in turn.
``muslim``
    Single slices of 16 persons from several unnamed scanners; lesions only. With ``--by-look`` the site consists of the
    persons all of whose slices have the most frequent plane and pixel size; the others form another site. Intensities
    hardly identify scanners here: their standard deviation within a person is 0.5 to 1.1 times that over all slices
    (:func:`training.measure_scope.spreads`).

Measures are computed on the annotated classes for the base, the adapted model, and the adapted model in use, where
the base segments scans unlike those of the adaptation (:mod:`flairseg.models.scope`). With ``--elsewhere`` the models
are also tested on the other sites. Each run adds a JSON line to ``--output``; runs already there are skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flairseg.adapt.banks import Bank, bank_of
from flairseg.adapt.framed import Case, FramedCase, frame_case
from flairseg.adapt.lesion_limit import LIMITS, score
from flairseg.adapt.partial import training_labels
from flairseg.adapt.proof import case_figures
from flairseg.adapt.replay import replay_bank
from flairseg.adapt.tuning import Settings, class_logits, tune
from flairseg.adapt.weights import trainable_network
from flairseg.image.footing import footed
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from flairseg.models.card import PipelineConfig
from flairseg.models.scope import Scope, learnt_scope
from flairseg.models.store import load_card
from flairseg.preprocessing.scan_figures import scan_figures
from flairseg.segmentation.decoding import classify
from flairseg.segmentation.postprocessing import clean_labels, remove_unsure_lesions

from . import evaluate_sites
from .adaptation_intervals import as_dict, paired_gain
from .data import SAME_PERSON, data_folder, load_tabriz
from .sites import averaged
from .sources import pool_bank

#: Annotated classes of Tabriz, and of the other data sets.
DRAWN, LESIONS_ALONE = (VENTRICLES, LESION), (LESION,)
EVERY_CLASS = (VENTRICLES, NORMAL_WMH, LESION)
#: Tabriz and the sites of :mod:`.evaluate_sites`.
SITES = ("tabriz", *evaluate_sites.TITLES)
#: Classes used for training, and for evaluation.
Known = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Scan:
    """An annotated scan, prepared for training and test.

    Attributes
    ----------
    person : str
    framed : FramedCase
        Input of the network.
    reference : (K, J, I) uint8
        Labels on the grid of the slice stack.
    spacing : tuple of float
        Of ``reference``, mm, in its axis order.
    plane : str
        Slice plane.
    looks : dict of str to float
        Measures of :func:`flairseg.preprocessing.scan_figures.scan_figures`.
    reviewed, judged : tuple of int
        Classes used for training, and for evaluation.
    """

    person: str
    framed: FramedCase
    reference: np.ndarray
    spacing: tuple[float, float, float]
    plane: str
    looks: dict[str, float]
    reviewed: tuple[int, ...]
    judged: tuple[int, ...]


def scan(person: str, flair: Volume, labels: np.ndarray, known: Known, config: PipelineConfig) -> Scan:
    """Prepare one scan; ``labels`` are on the grid of ``flair``."""
    volume = footed(flair)
    stack = SliceStack.from_volume(volume.with_array(labels), config.plane)
    framed = frame_case(Case(person, volume, labels), config)
    looks = scan_figures(stack, framed.prepared)
    return Scan(person, framed, stack.array, stack.spacing, stack.plane, looks, *known)


def tabriz_scans(data: Path, config: PipelineConfig, reviewed: tuple[int, ...] = EVERY_CLASS) -> list[Scan]:
    """The annotated Tabriz patients; both scans of one person carry the same name."""
    persons = {name: group[0] for group in SAME_PERSON for name in group}
    known = (reviewed, DRAWN)
    return [scan(persons.get(c.name, c.name), c.volume, c.labels, known, config) for c in load_tabriz(data)]


def other_scans(data: Path, config: PipelineConfig, sites: Container[str], thickness: int = 1) -> dict[str, list[Scan]]:
    """Scans of MSLesSeg and slices of Muslim that are not held back for tests; only lesions are annotated.

    Parameters
    ----------
    data : Path
    config : PipelineConfig
    sites : container of str
        Which of :data:`.evaluate_sites.TITLES`.
    thickness : int
        Number of MSLesSeg's 1 mm slices averaged into one.
    """
    found: dict[str, list[Scan]] = {site: [] for site in evaluate_sites.TITLES if site in sites}
    for one in evaluate_sites.scans(data):
        if one.site not in sites:
            continue
        flair, labels = one.volume, one.labels
        if one.site == "mslesseg" and thickness > 1:
            drawn = averaged(flair.with_array(labels == LESION), thickness).array > 0.5
            flair, labels = averaged(flair, thickness), np.where(drawn, LESION, BACKGROUND).astype(np.uint8)
        found[one.site].append(scan(one.person, flair, labels, (LESIONS_ALONE, LESIONS_ALONE), config))
    return found


@torch.inference_mode()
def figures(network: torch.nn.Module, one: Scan, config: PipelineConfig) -> dict[str, float]:
    """Measures of a scan segmented by a PyTorch network with the stages of the pipeline.

    Returns
    -------
    dict of str to float
        Those of :func:`flairseg.adapt.proof.case_figures`, and ``at <limit>``: the score of each minimum lesion
        probability of :data:`flairseg.adapt.lesion_limit.LIMITS`.
    """
    parts, done = [], 0
    for batch in one.framed.prepared.batches(8):
        answer = torch.softmax(class_logits(network(torch.from_numpy(batch)), config), 1).numpy()
        parts.append(one.framed.prepared.restore(answer, done))
        done += len(batch)
    probabilities = np.concatenate(parts, 1)
    labels = classify(probabilities, config.thresholds)
    whole = replace(config, min_lesion_probability=0.0)
    labels = clean_labels(labels, probabilities, one.spacing, whole, one.framed.prepared.mask)
    ratio, voxel_mm3 = config.lesion_probability_ratio, float(np.prod(one.spacing))
    at = {}
    for limit in {*LIMITS, config.min_lesion_probability}:
        kept = remove_unsure_lesions(labels, probabilities, limit, ratio, voxel_mm3)
        at[limit] = case_figures(kept, one.reference, one.judged, voxel_mm3 / 1000)
    return at[config.min_lesion_probability] | {f"at {limit}": score(at[limit]) for limit in sorted(at)}


def site_bank(scans: list[Scan]) -> Bank:
    """Training slices of some scans, inside the brain mask."""
    parts = []
    for one in scans:
        kept = np.flatnonzero(one.framed.mask.any(axis=(1, 2)))
        labels = training_labels(one.framed.labels, one.reviewed)[kept]
        parts.append((one.person, one.framed.prepared.slices[kept], labels, one.framed.mask[kept]))
    return bank_of(parts)


def rehearsed(pool: Path, count: int) -> Bank:
    """Return ``count`` evenly spaced slices of a pool."""
    bank = pool_bank([pool])
    return bank.part(np.linspace(0, len(bank.images) - 1, count).round().astype(int))


def by_person(rows: list[dict[str, float]], scans: list[Scan], key: str) -> dict[str, float]:
    """Mean of a measure over the scans of each person; persons for whom it is undefined are absent."""
    values: dict[str, list[float]] = {}
    for row, one in zip(rows, scans, strict=True):
        if row[key] == row[key]:
            values.setdefault(one.person, []).append(row[key])
    return {person: float(np.mean(own)) for person, own in values.items()}


def over_persons(rows: list[dict[str, float]], scans: list[Scan], key: str) -> float:
    """Mean over persons of the mean over their scans; NaN if it is undefined for all."""
    values = by_person(rows, scans, key)
    return float(np.mean(list(values.values()))) if values else float("nan")


def look(one: Scan) -> str:
    """Plane and pixel size (mm), which identify a scanner's protocol."""
    return f"{one.plane}, {one.looks['in_plane_mm']:.2f} mm"


def by_look(scans: Sequence[Scan]) -> tuple[list[Scan], list[Scan]]:
    """Scans of the persons who have only the most frequent look, and all others."""
    looks: dict[str, set[str]] = {}
    for one in scans:
        looks.setdefault(one.person, set()).add(look(one))
    frequent = Counter(next(iter(own)) for own in looks.values() if len(own) == 1).most_common(1)[0][0]
    site = [one for one in scans if looks[one.person] == {frequent}]
    return site, [one for one in scans if looks[one.person] != {frequent}]


@dataclass(frozen=True)
class Experiment:
    """What runs share: pipeline and network of the base, site, scans and the base's measures by set, replay slices."""

    config: PipelineConfig
    network: torch.nn.Module
    site: str
    sets: dict[str, list[Scan]]
    base: dict[str, list[dict[str, float]]]
    replay: Bank


def experiment(arguments: argparse.Namespace) -> Experiment:
    """Read the scans, and segment them with the base."""
    card = load_card(arguments.base)
    config, network = card.pipeline, trainable_network(card).eval()
    wanted = set(SITES) if arguments.elsewhere else {arguments.site}
    sets: dict[str, list[Scan]] = {}
    if "tabriz" in wanted:
        sets["tabriz"] = tabriz_scans(data_folder(), config, DRAWN if arguments.drawn else EVERY_CLASS)
    sets |= other_scans(data_folder(), config, wanted - {"tabriz"}, arguments.thickness)
    if arguments.by_look:
        sets[arguments.site], others = by_look(sets[arguments.site])
        sets |= {f"{arguments.site}, other looks": others} if others else {}
    base = {name: [figures(network, one, config) for one in scans] for name, scans in sets.items()}
    replay = replay_bank(config) if arguments.pool is None else rehearsed(arguments.pool, arguments.slices)
    return Experiment(config, network, arguments.site, sets, base, replay)


def tested(
    found: Experiment, name: str, adapted: torch.nn.Module, scope: Scope, learnt: Iterable[str]
) -> dict[str, Any]:
    """Measures on the scans of one set whose persons were not used for adaptation.

    Returns
    -------
    dict
        Per measure ``[base, adapted, adapted in use]``, mean over persons, and the paired gain with its interval
        (:mod:`.adaptation_intervals`); lesion Dice per person; score per minimum lesion probability and person; numbers
        of scans, and of those inside the scope. Empty without such scans.
    """
    away = set(learnt) if name == found.site else set()
    numbers = [n for n, one in enumerate(found.sets[name]) if one.person not in away]
    if not numbers:
        return {}
    own = [found.sets[name][n] for n in numbers]
    theirs = [found.base[name][n] for n in numbers]
    ours = [figures(adapted, one, found.config) for one in own]
    like = [not scope.outside(one.plane, one.looks) for one in own]
    in_use = [a if alike else b for a, b, alike in zip(ours, theirs, like, strict=True)]
    row: dict[str, Any] = {
        key: [round(over_persons(side, own, key), 4) for side in (theirs, ours, in_use)]
        for key in ("lesion_dice", "lesion_f1", "ventricles_dice")
    }
    before, after = by_person(theirs, own, "lesion_dice"), by_person(ours, own, "lesion_dice")
    persons = {person: [round(before[person], 4), round(after[person], 4)] for person in before}
    limits = {
        key: {person: [round(side[person], 4) for side in (before, after)] for person in before}
        for key in (key for key in ours[0] if key.startswith("at "))
        for before, after in [(by_person(theirs, own, key), by_person(ours, own, key))]
    }
    gains = {
        key: as_dict(paired_gain(by_person(theirs, own, key), by_person(ours, own, key), key))
        for key in ("lesion_dice", "lesion_f1", "ventricles_dice")
    }
    return row | {"gains": gains, "scans": len(own), "like": sum(like), "persons": persons, "limits": limits}


def run(found: Experiment, learnt: list[str], settings: Settings) -> dict[str, Any]:
    """Adapt to the persons ``learnt`` of the site and test on all scans of others."""
    began = time.process_time()
    own = [one for one in found.sets[found.site] if one.person in learnt]
    tuned = tune(found.network, site_bank(own), found.replay, found.config, settings)
    scope = learnt_scope([one.plane for one in own], [one.looks for one in own])
    row = {
        "cpu_seconds": round(time.process_time() - began, 1),
        "steps": tuned.steps,
        "best_step": tuned.best_step,
        "checks": tuned.checks,
    }
    results = {name: tested(found, name, tuned.network, scope, learnt) for name in found.sets}
    return row | {name: one for name, one in results.items() if one}


def finished(output: Path) -> list[dict[str, Any]]:
    """Parameters of the runs in a file of results."""
    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    return [json.loads(line)["run"] for line in lines]


def arguments_of() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="model folder")
    parser.add_argument("--site", choices=SITES, default="tabriz")
    parser.add_argument("--by-look", action="store_true", help="the site is the persons of its most frequent look")
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--thickness", type=int, default=1, help="average this many of MSLesSeg's 1 mm slices")
    parser.add_argument("--elsewhere", action="store_true", help="also test on the other sites")
    parser.add_argument("--drawn", action="store_true", help="learn from ventricles and lesions only")
    parser.add_argument("--pool", type=Path, help="replay slices of this pool (training.synthetic.make_pool)")
    parser.add_argument("--slices", type=int, default=500, help="number of the pool's slices, evenly spaced")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON: fields of adapt.tuning.Settings")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines")
    return parser.parse_args()


def main() -> None:
    """Adapt and test once for each number of patients and each seed."""
    arguments = arguments_of()
    done = finished(arguments.output)
    wanted = [
        {
            "base": load_card(arguments.base).id,
            "site": arguments.site + ", one look" * arguments.by_look,
            "patients": count,
            "seed": seed,
            "drawn": arguments.drawn,
            "thickness": arguments.thickness,
            "elsewhere": arguments.elsewhere,
            "pool": f"{arguments.slices} of {arguments.pool.name}" if arguments.pool else "",
            "settings": json.loads(json.dumps(asdict(Settings(**arguments.settings)))),
        }
        for seed in arguments.seeds
        for count in arguments.patients
    ]
    wanted = [one for one in wanted if one not in done]
    if not wanted:
        return
    found = experiment(arguments)
    persons = sorted({one.person for one in found.sets[found.site]})
    for one in wanted:
        learnt = np.random.default_rng(one["seed"]).permutation(persons).tolist()[: one["patients"]]
        if len(learnt) == len(persons):
            print(f"{one['patients']} of {len(persons)} persons: none would be left to test on")
            continue
        row = run(found, learnt, replace(Settings(**arguments.settings), seed=one["seed"]))
        shown = {key: value for key, value in row.items() if key != "checks"}
        print(json.dumps({"patients": one["patients"], "seed": one["seed"], **shown}), flush=True)
        with arguments.output.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"run": one, **row}) + "\n")


if __name__ == "__main__":
    main()
