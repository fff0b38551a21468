"""Table of all systems from their out-of-fold predictions: ``python -m training.compare_systems``.

Evaluates the files of :mod:`training.predict_folds` (``runs/predictions``) with ``flairseg.evaluation``, measures run
time and memory of the shipped models, and writes the table between two marker comments of ``models/README.md``, with
the published figures of each system (``published_results.json``). The report, which shows patients, and all figures go
to ``runs/comparison``, which is not in git.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flairseg.evaluation.conventions import choose_conventions
from flairseg.evaluation.foreign import LabelMapping
from flairseg.evaluation.inputs import EvaluationCase
from flairseg.evaluation.results import EvaluationResult
from flairseg.evaluation.running import evaluate
from flairseg.evaluation.terms import CLASS_TITLES
from flairseg.evaluation.writing import write_evaluation
from flairseg.models.card import CARD_NAME
from flairseg.reporting.wording import between, figure, p_value

from .config import CONFIGS, load_config, shared_budget
from .cost import CORES, Cost, stored_cost
from .data import data_folder, folds
from .plot_curves import find_logs
from .predict_folds import LABELS, PROBABILITIES, REFERENCES

MODELS = Path(__file__).resolve().parents[1] / "models"
PUBLISHED = Path(__file__).with_name("published_results.json")
BEGIN, END = "<!-- systems: made by python -m training.compare_systems -->", "<!-- systems: end -->"
#: Columns of measured figures: heading, class, metric, decimals.
MEASURED = (
    ("lesion Dice", "lesion", "dice", 3),
    ("precision", "lesion", "precision", 3),
    ("recall", "lesion", "recall", 3),
    ("HD95 mm", "lesion", "hd95_mm", 1),
    ("NSD", "lesion", "nsd", 3),
    ("lesion F1", "lesion", "lesion_f1", 3),
    ("AUC-PR", "lesion", "average_precision", 3),
    ("ventricle Dice", "ventricles", "dice", 3),
    ("normal WMH Dice", "normal_wmh", "dice", 3),
    ("all WMH Dice", "all_wmh", "dice", 3),
)
#: Key in ``published_results.json`` -> name of the published figure in the table, and decimals.
PRINTED = {
    "lesion_dice": ("Dice", 3),
    "lesion_precision": ("precision", 3),
    "lesion_recall": ("recall", 3),
    "lesion_hd95_mm": ("HD95", 1),
    "lesion_f1": ("lesion F1", 3),
    "lesion_auc_pr": ("AUC-PR", 3),
    "ventricles_dice": ("ventricle Dice", 3),
}
NOTHING = "–"


@dataclass(frozen=True)
class System:
    """A system of the table.

    Attributes
    ----------
    recipe : str
        Name of its recipe, and of its folder of predictions.
    title : str
    model : Path or None
        Folder of the shipped model.
    published : dict
        Its entry of ``published_results.json``.
    """

    recipe: str
    title: str
    model: Path | None
    published: dict[str, Any]


def find_systems(predictions: Path, models: Path = MODELS, published: Path = PUBLISHED) -> list[System]:
    """Systems with a folder of predictions, in the order of ``published_results.json``, then the others."""
    known = json.loads(published.read_text(encoding="utf-8"))["systems"]
    there = {p.name for p in predictions.iterdir() if p.is_dir() and p.name != REFERENCES}
    order = [name for name in known if name in there] + sorted(there - known.keys())
    systems = []
    for name in order:
        entry = known.get(name, {"title": name, "model": name})
        systems.append(System(name, entry["title"], newest_model(models, entry["model"]), entry))
    return systems


def newest_model(models: Path, name: str) -> Path | None:
    """Folder of the newest ``<name>-v<major>.<minor>`` that has a card; None if there is none."""

    def version(path: Path) -> tuple[int, ...]:
        return tuple(int(n) for n in path.name.rpartition("-v")[2].split("."))

    found = [p for p in models.glob(f"{name}-v*") if re.fullmatch(rf"{re.escape(name)}-v\d+\.\d+", p.name)]
    return max((p for p in found if (p / CARD_NAME).exists()), key=version, default=None)


def gather(
    predictions: Path, systems: Sequence[System], data: Path
) -> tuple[list[EvaluationCase], dict[str, list[str]]]:
    """Cases of the systems with predictions of every patient.

    Returns
    -------
    cases : list of EvaluationCase
    incomplete : dict of str to list of str
        Recipe of each other system -> patients without prediction.

    Raises
    ------
    FileNotFoundError
        If there are no references.
    """
    references = {p.name.removesuffix(LABELS): p for p in sorted((predictions / REFERENCES).glob(f"*{LABELS}"))}
    if not references:
        raise FileNotFoundError(f"{predictions / REFERENCES} holds no references: run training.predict_folds first")
    cases, incomplete = [], {}
    for system in systems:
        folder = predictions / system.recipe
        lacking = [name for name in references if not (folder / f"{name}{LABELS}").exists()]
        if lacking:
            incomplete[system.recipe] = lacking
            continue
        for name, reference in references.items():
            probabilities, image = folder / f"{name}{PROBABILITIES}", data / "tabriz" / f"sub-{name}" / "flair.nii.gz"
            cases.append(
                EvaluationCase(
                    name,
                    system.title,
                    folder / f"{name}{LABELS}",
                    reference,
                    probabilities if probabilities.exists() else None,
                    image if image.exists() else None,
                )
            )
    return cases, incomplete


def mappings(systems: Sequence[System], configs: Path = CONFIGS) -> dict[str, LabelMapping]:
    """Label values of each system by its title, from the classes of its recipe.

    Without a mapping, a class that a network never finds would count as unknown to it and would not be evaluated.
    """
    found = {}
    for system in systems:
        recipe = configs / f"{system.recipe}.json"
        if recipe.exists():
            values = [value for value in load_config(recipe).pipeline["output_classes"] if value]
            found[system.title] = LabelMapping("FlairSeg's own values", {value: value for value in values})
    return found


# --- the table


def table(result: EvaluationResult, systems: Sequence[System], costs: dict[str, Cost]) -> str:
    """The Markdown between the markers.

    Parameters
    ----------
    result : EvaluationResult
        Its methods are the systems' titles.
    systems : sequence of System
    costs : dict of str to Cost
        Recipe -> cost.
    """
    summary = {(r.method, r.class_id, r.figure): r for r in result.summary if r.grouping == "all"}
    pooled = {(r.method, r.class_id, r.figure): r.estimate for r in result.pooled if r.grouping == "all"}
    known = {m.name: set(m.classes) for m in result.methods}
    for classes in known.values():
        if "normal_wmh" not in classes:
            # A system of lesions alone cannot be compared with normal and abnormal WMH together.
            classes.discard("all_wmh")
    shown = [s for s in systems if s.title in known]
    headings = ["system"]
    for heading, *_ in MEASURED:
        headings += [heading, "95 % interval", "pooled"] if heading == MEASURED[0][0] else [heading]
    headings += ["its paper, own patients", "parameters", "file MB", "s a case", "memory MB"]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for system in shown:
        cells = [f"[{system.title}]({system.model.name}/card.md)" if system.model else system.title]
        for heading, class_id, key, digits in MEASURED:
            row = summary.get((system.title, class_id, key)) if class_id in known[system.title] else None
            cells.append(_mean(row, digits))
            if heading == MEASURED[0][0]:
                whole = pooled.get((system.title, class_id, key))
                cells.append(
                    NOTHING if row is None or row.mean.low is None else between(row.mean.low, row.mean.high, 2)
                )
                cells.append(NOTHING if whole is None or whole.value is None else figure(whole.value, digits))
        cells.append(printed(system.published))
        cells += _cost(costs.get(system.recipe))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_explained(result, costs), "", *_differences(result, shown)]).strip()


def _mean(row, digits: int) -> str:
    """Mean and standard deviation, ``0.689 ± 0.095``; with the number of patients if undefined for some."""
    if row is None or row.mean.value is None:
        return NOTHING
    spread = f" ± {figure(row.sd, digits)}" if row.mean.n > 1 else ""
    return f"{figure(row.mean.value, digits)}{spread}" + (f" (n = {row.mean.n})" if row.undefined else "")


def _cost(cost: Cost | None) -> list[str]:
    if cost is None:
        return [NOTHING] * 4
    return [
        NOTHING if cost.parameters is None else f"{cost.parameters / 1e6:.1f} M",
        NOTHING if cost.megabytes is None else f"{cost.megabytes:.1f}",
        f"{cost.seconds:.1f}",
        f"{cost.memory_mb:.0f}",
    ]


def printed(entry: dict[str, Any]) -> str:
    """Cell with the figures of the system's paper."""
    parts = [f"{PRINTED[key][0]} {value:.{PRINTED[key][1]}f}" for key, value in entry.get("printed", {}).items()]
    parts += [entry["more"]] if entry.get("more") else []
    return ", ".join(parts) or NOTHING


def _explained(result: EvaluationResult, costs: dict[str, Cost]) -> list[str]:
    n, said = len(result.cases), result.conventions
    lines = [
        f"Mean ± standard deviation over the same {n} patients (Tabriz, 1.5 T), each segmented by the model of the "
        "fold that left this patient out, with the shipped pipeline; 95 % intervals by bootstrap over patients "
        f"({said.resamples} resamples, seed {said.seed}), too narrow for so few patients; pooled: voxels of all "
        "patients together. Lesions are 26-connected components, detected if one voxel overlaps. The reference of "
        "normal WMH follows a rule for all but one patient. A dash: the system does not segment the class.",
        "",
        "Published figures are from other patients and by the papers' definitions: for orientation, not for "
        "comparison.",
    ]
    if costs:
        lines += [
            "",
            f"Seconds and memory: the complete command `flairseg segment` on {CORES} CPU cores, phantom of 20 slices "
            "of 256 x 256 pixels (median and maximum of the runs).",
        ]
    return lines


def _differences(result: EvaluationResult, shown: Sequence[System]) -> list[str]:
    """Pairs of systems with significantly different lesion Dice, p values adjusted by Holm's method."""
    tests = [t for t in result.paired if t.figure == "dice" and t.class_id == "lesion"]
    if not tests:
        return []
    titles = [s.title for s in shown]
    apart = [
        f"{t.first} and {t.second} ({figure(t.difference.value, 3)}, p = {p_value(t.p_holm)})"
        for t in sorted(tests, key=lambda t: (titles.index(t.first), titles.index(t.second)))
        if t.p_holm < 0.05
    ]
    n = max(t.difference.n for t in tests)
    begun = f"{CLASS_TITLES['lesion']}, Dice, Wilcoxon's signed-rank test over {n} patients, p adjusted (Holm): "
    if apart:
        return [f"{begun}{'; '.join(apart)} (second minus first)."]
    return [f"{begun}no significant difference between any two systems (p ≥ 0.05); with {n} patients, power is low."]


def put_between(text: str, made: str) -> str:
    """Replace the text between the two markers of a document.

    Raises
    ------
    ValueError
        If the document does not have each marker once, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the document needs the lines {BEGIN!r} and {END!r}, once each and in this order")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, default=Path("runs/predictions"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="for the training logs of the report")
    parser.add_argument("--output", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--readme", type=Path, default=MODELS / "README.md")
    parser.add_argument("--no-cost", action="store_true", help="leave out seconds and memory")
    parser.add_argument("--measure-again", action="store_true", help="repeat stored measurements of seconds and memory")
    arguments = parser.parse_args()
    # Fail before the long work if the document has no markers.
    put_between(arguments.readme.read_text(encoding="utf-8"), "")
    systems = find_systems(arguments.predictions, arguments.models)
    cases, incomplete = gather(arguments.predictions, systems, data_folder())
    for recipe, lacking in incomplete.items():
        print(f"left out: {recipe}, without predictions of {len(lacking)} patients ({', '.join(lacking[:5])})")
    if not cases:
        sys.exit("no system has predictions of every patient")
    logs = [
        log.__class__(f"{recipe}, {log.name}", log.columns)
        for recipe, runs in find_logs(arguments.runs).items()
        for log in runs
        if log.name == "fold 0"
    ]
    dealt = folds(sorted({case.case for case in cases}), shared_budget()["folds"])
    note = f"Out-of-fold predictions. Patients of each fold: {'; '.join(', '.join(fold) for fold in dealt)}."
    result = evaluate(cases, choose_conventions(), mappings(systems)).with_context(logs, (note,))
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, path in write_evaluation(result, arguments.output, overwrite=True).items():
        print(f"{name}: {path}")
    costs = {}
    if not arguments.no_cost:
        for system in systems:
            if system.model is not None and system.recipe not in incomplete:
                store = arguments.output / "costs.json"
                costs[system.recipe] = stored_cost(system.model, store, again=arguments.measure_again)
                print(f"{system.model.name}: {costs[system.recipe]}")
    made = table(result, systems, costs)
    (arguments.output / "table.md").write_text(made + "\n", encoding="utf-8")
    document = put_between(arguments.readme.read_text(encoding="utf-8"), made)
    arguments.readme.write_text(document, encoding="utf-8", newline="\n")
    print(made)


if __name__ == "__main__":
    main()
