"""Demonstration (``make demo``): segment a digital phantom with the default model and compare with the ground truth.

Both commands are run as on the command line; only the comparison is part of this script.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def flairseg(console: Console, *arguments: str) -> None:
    """Print a flairseg command and run it."""
    console.print(f"\n[bold]$ flairseg {shlex.join(arguments)}[/bold]", highlight=False, soft_wrap=True)
    done = subprocess.run([str(Path(sys.executable).with_name("flairseg")), *arguments])
    if done.returncode:
        raise SystemExit(done.returncode)


def dice(a, b) -> float:
    """Dice coefficient of two boolean arrays; NaN if both are empty."""
    total = a.sum() + b.sum()
    return float(2 * (a & b).sum() / total) if total else float("nan")


def comparison(labels: Path, truth: Path) -> Table:
    """Dice and volumes of each class of a label map, compared with the ground truth on the same grid."""
    import SimpleITK as sitk
    from flairseg.labels import CLASSES

    found, true = sitk.ReadImage(str(labels)), sitk.ReadImage(str(truth))
    millilitres = 1.0
    for spacing in true.GetSpacing():
        millilitres *= spacing / 10
    found, true = sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(true)
    table = Table(title="Comparison with the ground truth", title_justify="left")
    table.add_column("class")
    for column in ("Dice", "found, ml", "true, ml"):
        table.add_column(column, justify="right")
    for entry in CLASSES:
        a, b = found == entry.value, true == entry.value
        table.add_row(entry.name, f"{dice(a, b):.2f}", f"{a.sum() * millilitres:.1f}", f"{b.sum() * millilitres:.1f}")
    return table


def main() -> None:
    """Make the phantom, segment it, compare, and list the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    console = Console(highlight=False)
    folder = options.output
    flairseg(console, "phantom", "--output", str(folder), "--seed", str(options.seed), "--overwrite")
    name = f"phantom-{options.seed}"
    flair, truth = folder / f"{name}_flair.nii.gz", folder / f"{name}_truth.nii.gz"
    flairseg(console, "segment", str(flair), "--output", str(folder), "--overwrite")
    console.print()
    console.print(comparison(folder / f"{name}_flair_labels.nii.gz", truth))
    summary = json.loads((folder / f"{name}_flair_summary.json").read_text(encoding="utf-8"))
    console.print(f"\nSegmented by {summary['model']['id']} in {summary['seconds']['total']:.1f} s. Look at:")
    for file, what in (
        (f"{name}_flair_overview.png", "overview: every slice with a finding, outlined"),
        (f"{name}_flair_summary.json", "volumes, lesion count, model, warnings, timings"),
        (f"{name}_flair_labels.nii.gz", "the label map, for any viewer (over the FLAIR)"),
        (f"{name}_flair_lesion_mask.nii.gz", "the lesions alone, 0 and 1, for other programs"),
        (f"{name}_flair.seg.nrrd", "the label map for 3D Slicer, with names and colours"),
    ):
        console.print(f"  {folder / file!s:<40} {what}", soft_wrap=True)
    console.print("\nResearch use only - not a medical device.", style="dim")


if __name__ == "__main__":
    main()
