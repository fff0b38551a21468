"""Gain of local adaptation on Tabriz from a base not trained on it: ``python -m training.measure_adaptation``.

``--base models/<id>`` is a model folder whose recipe left Tabriz out. For each count of patients and each seed the base
is adapted to so many patients and tested on the others: all classes reviewed, as readers of the extension do, normal
hyperintensity by S1's rule and by hand for 101228; with ``--drawn`` only what was drawn, ventricles and lesions. The
figures are of what was drawn: of the base, of the adapted model, and of the adapted model in use, where the base reads
scans unlike those of the adaptation (:mod:`flairseg.models.scope`). With ``--elsewhere`` the models are tested on
MSLesSeg and Muslim's slices, too. Scans of one person stay together. One JSON line a run goes to ``--output``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from flairseg.adapt.banks import Bank, bank_of
from flairseg.adapt.framed import Case, FramedCase, frame_case
from flairseg.adapt.partial import training_labels
from flairseg.adapt.proof import case_figures
from flairseg.adapt.replay import replay_bank
from flairseg.adapt.tuning import Settings, class_logits, tune
from flairseg.adapt.weights import trainable_network
from flairseg.image.footing import footed
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.labels import LESION, NORMAL_WMH, VENTRICLES
from flairseg.models.card import PipelineConfig
from flairseg.models.scope import learnt_scope
from flairseg.models.store import load_card
from flairseg.preprocessing.scan_figures import scan_figures
from flairseg.segmentation.decoding import classify
from flairseg.segmentation.postprocessing import clean_labels

from . import evaluate_sites
from .data import SAME_PERSON, data_folder, load_tabriz
from .pools import pool_bank

#: Classes that Tabriz's readers drew, and those of the other sets.
DRAWN, LESIONS_ALONE = (VENTRICLES, LESION), (LESION,)
EVERY_CLASS = (VENTRICLES, NORMAL_WMH, LESION)
#: Classes used for training, and for evaluation.
Known = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Scan:
    """A test case: framed, with its labels on the slice stack's own grid, and classes learnt from and judged by.

    ``plane`` and ``looks`` are what the scan is like (:func:`flairseg.preprocessing.scan_figures.scan_figures`).
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
    """Frame one scan; ``labels`` on its grid."""
    volume = footed(flair)
    stack = SliceStack.from_volume(volume.with_array(labels), config.plane)
    framed = frame_case(Case(person, volume, labels), config)
    looks = scan_figures(stack, framed.prepared)
    return Scan(person, framed, stack.array, stack.spacing, stack.plane, looks, *known)


def tabriz_scans(data: Path, config: PipelineConfig, reviewed: tuple[int, ...] = EVERY_CLASS) -> list[Scan]:
    """The annotated Tabriz patients; both scans of one person under one name."""
    persons = {name: group[0] for group in SAME_PERSON for name in group}
    known = (reviewed, DRAWN)
    return [scan(persons.get(c.name, c.name), c.volume, c.labels, known, config) for c in load_tabriz(data)]


def other_scans(data: Path, config: PipelineConfig) -> dict[str, list[Scan]]:
    """MSLesSeg's scans and Muslim's slices that may be tuned on: lesions alone."""
    found: dict[str, list[Scan]] = {site: [] for site in evaluate_sites.TITLES}
    for one in evaluate_sites.scans(data):
        found[one.site].append(scan(one.person, one.volume, one.labels, (LESIONS_ALONE, LESIONS_ALONE), config))
    return found


@torch.inference_mode()
def figures(network: torch.nn.Module, one: Scan, config: PipelineConfig) -> dict[str, float]:
    """Figures of a scan through the pipeline's stages, in PyTorch."""
    parts, done = [], 0
    for batch in one.framed.prepared.batches(8):
        answer = torch.softmax(class_logits(network(torch.from_numpy(batch)), config), 1).numpy()
        parts.append(one.framed.prepared.restore(answer, done))
        done += len(batch)
    probabilities = np.concatenate(parts, 1)
    labels = classify(probabilities, config.thresholds)
    labels = clean_labels(labels, probabilities, one.spacing, config, one.framed.prepared.mask)
    return case_figures(labels, one.reference, one.judged, float(np.prod(one.spacing)) / 1000)


def site_bank(scans: list[Scan]) -> Bank:
    """Adapt to some scans."""
    parts = []
    for one in scans:
        kept = np.flatnonzero(one.framed.mask.any(axis=(1, 2)))
        labels = training_labels(one.framed.labels, one.reviewed)[kept]
        parts.append((one.person, one.framed.prepared.slices[kept], labels, one.framed.mask[kept]))
    return bank_of(parts)


def rehearsed(pool: Path, count: int) -> Bank:
    """Select some slices of a pool, evenly spaced."""
    bank = pool_bank([pool])
    return bank.part(np.linspace(0, len(bank.images) - 1, count).round().astype(int))


def over_persons(rows: list[dict[str, float]], scans: list[Scan], key: str) -> float:
    """Mean over persons of the mean over each one's scans."""
    values: dict[str, list[float]] = {}
    for row, one in zip(rows, scans, strict=True):
        if row[key] == row[key]:
            values.setdefault(one.person, []).append(row[key])
    return float(np.mean([np.mean(one) for one in values.values()])) if values else float("nan")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="model folder")
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--elsewhere", action="store_true", help="also test on MSLesSeg and Muslim's slices")
    parser.add_argument("--drawn", action="store_true", help="learn from ventricles and lesions alone")
    parser.add_argument("--pool", type=Path, help="rehearse slices of this pool (training.synthetic.make_pool)")
    parser.add_argument("--slices", type=int, default=500, help="how many of the pool, evenly spaced")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON: fields of adapt.tuning.Settings")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines")
    arguments = parser.parse_args()
    card = load_card(arguments.base)
    config, network = card.pipeline, trainable_network(card).eval()
    sets = {"tabriz": tabriz_scans(data_folder(), config, DRAWN if arguments.drawn else EVERY_CLASS)}
    sets |= other_scans(data_folder(), config) if arguments.elsewhere else {}
    base = {name: [figures(network, one, config) for one in scans] for name, scans in sets.items()}
    persons = sorted({one.person for one in sets["tabriz"]})
    replay = replay_bank(config) if arguments.pool is None else rehearsed(arguments.pool, arguments.slices)
    for seed in arguments.seeds:
        order = np.random.default_rng(seed).permutation(persons).tolist()
        for count in arguments.patients:
            learnt = order[:count]
            began = time.process_time()
            settings = replace(Settings(**arguments.settings), seed=seed)
            site = site_bank([one for one in sets["tabriz"] if one.person in learnt])
            tuned = tune(network, site, replay, config, settings)
            own = [one for one in sets["tabriz"] if one.person in learnt]
            scope = learnt_scope([one.plane for one in own], [one.looks for one in own])
            row = {"patients": count, "seed": seed, "cpu_seconds": round(time.process_time() - began, 1),
                   "steps": tuned.steps, "best_step": tuned.best_step, "checks": tuned.checks}  # fmt: skip
            for name, scans in sets.items():
                tested = [n for n, one in enumerate(scans) if name != "tabriz" or one.person not in learnt]
                if not tested:
                    continue
                own = [scans[n] for n in tested]
                ours = [figures(tuned.network, one, config) for one in own]
                theirs = [base[name][n] for n in tested]
                like = [not scope.outside(one.plane, one.looks) for one in own]
                in_use = [a if alike else b for a, b, alike in zip(ours, theirs, like, strict=True)]
                row[name] = {
                    key: [round(over_persons(side, own, key), 4) for side in (theirs, ours, in_use)]
                    for key in ("lesion_dice", "lesion_f1", "ventricles_dice")
                }
                row[name] |= {"scans": len(own), "like": sum(like)}
            print(json.dumps({key: value for key, value in row.items() if key != "checks"}), flush=True)
            with arguments.output.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({**row, "settings": asdict(settings)}) + "\n")


if __name__ == "__main__":
    main()
