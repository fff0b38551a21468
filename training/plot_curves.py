"""Plot training curves: ``python -m training.plot_curves --runs runs --output models/curves``.

One figure per recipe with all its runs (folds and all patients): loss, and Dice and area under the precision-recall
curve of held-out patients. Drawn by the function that draws them for the report of ``flairseg evaluate``.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from flairseg.errors import FlairSegError
from flairseg.evaluation.figures.training import training_figure
from flairseg.evaluation.logs import read_training_log
from flairseg.evaluation.results import TrainingLog
from flairseg.reporting.drawing import style

#: Maximum size of a figure in git, bytes.
LARGEST = 80_000
_FOLD = re.compile(r"(?P<recipe>.+)-fold(?P<fold>\d+)")


def find_logs(runs: Path) -> dict[str, list[TrainingLog]]:
    """Logs of each recipe in a folder of runs: folds in order, then the run on all patients; without empty logs."""
    found: dict[str, list[tuple[float, TrainingLog]]] = {}
    for path in sorted(runs.glob("*/log.csv")):
        match = _FOLD.fullmatch(path.parent.name)
        recipe, order = (match["recipe"], float(match["fold"])) if match else (path.parent.name, float("inf"))
        has_folds = any(runs.glob(f"{recipe}-fold*"))  # Pre-training has neither folds nor patients.
        name = f"fold {match['fold']}" if match else "all patients" if has_folds else "whole run"
        try:
            found.setdefault(recipe, []).append((order, read_training_log(path, name)))
        except FlairSegError:
            continue
    return {recipe: [log for _, log in sorted(logs, key=lambda one: one[0])] for recipe, logs in found.items() if logs}


def plot(logs: dict[str, list[TrainingLog]], output: Path) -> list[Path]:
    """Write ``<recipe>.svg`` for each recipe and return the paths.

    Raises
    ------
    ValueError
        If a figure is larger than :data:`LARGEST`.
    """
    output.mkdir(parents=True, exist_ok=True)
    made = []
    for recipe, runs in logs.items():
        with style():
            drawn = training_figure(runs, f"training-{recipe}", recipe, heading=recipe)
        if drawn is None:
            continue
        svg = compact(drawn.svg)
        if len(svg.encode()) > LARGEST:
            raise ValueError(f"the curves of {recipe} take {len(svg.encode()) // 1000} kB, more than {LARGEST // 1000}")
        path = output / f"{recipe}.svg"
        path.write_text(svg, encoding="utf-8", newline="\n")
        made.append(path)
    return made


def compact(svg: str) -> str:
    """Reduce the size of an SVG: coordinates with two decimals, no comments, no line breaks."""
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=[\s\"(,MLCQz-])(\d+\.\d{2})\d+", r"\1", svg)
    return re.sub(r">\s+<", "><", svg).strip() + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=Path("models/curves"))
    arguments = parser.parse_args()
    made = plot(find_logs(arguments.runs), arguments.output)
    if not made:
        sys.exit(f"{arguments.runs} contains no training log with figures")
    for path in made:
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
