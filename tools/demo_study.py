"""Blinded reader study of phantoms from protocol to report: `python tools/demo_study.py --output FOLDER`.

Takes about a minute. Commands are run as by a coordinator; answers come from `simulated_raters.py`, not from people.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from demo import flairseg
from flairseg.io.reader import read_volume
from flairseg.labels import LESION
from flairseg.phantom import make_phantom, write_phantom
from flairseg.study.acceptance import lesion_numbers
from flairseg.study.images import write_neutral
from rich.console import Console
from simulated_raters import References, rate_room

#: Title that distinguishes the report from that of a real study.
TITLE = "Demonstration: digital phantoms, simulated raters"
MODEL, READER = "model", "reader"
RATERS = ("R1", "R2")
#: The second arm is the ground truth without some lesions: share that a simulated reader misses.
OVERLOOKED = 1 / 12


def make_cases(folder: Path, count: int) -> dict[Path, Path]:
    """Write phantoms and masks of the second arm; FLAIR -> ground truth."""
    pairs = {}
    for seed in range(count):
        written = write_phantom(make_phantom(seed), folder / "phantoms")
        image = read_volume(written["flair"])
        truth = np.rint(read_volume(written["truth"]).array).astype(np.uint8)
        flair = folder / "flair" / f"phantom-{seed}.nii.gz"
        flair.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(written["flair"], flair)
        pairs[flair] = written["truth"]
        numbers = lesion_numbers(truth == LESION)
        rng = np.random.default_rng(seed)
        overlooked = [n for n in range(1, int(numbers.max()) + 1) if rng.random() < OVERLOOKED]
        truth[np.isin(numbers, overlooked)] = 0
        (folder / READER).mkdir(exist_ok=True)
        write_neutral(folder / READER / f"phantom-{seed}_labels.nii.gz", truth, image)
    return pairs


def run_study(folder: Path, cases: int, console: Console) -> Path:
    """Run the complete study and return the folder of its report."""
    references = References(make_cases(folder, cases))
    console.print(f"{cases} phantoms are in {folder / 'flair'}, masks of a simulated reader in {folder / READER}.")
    study, key, report = (str(folder / name) for name in ("study", "coordinator", "report"))
    protocol = str(folder / "protocol.json")
    flairs = [str(folder / "flair" / f"phantom-{seed}.nii.gz") for seed in range(cases)]
    flairseg(console, "segment", *flairs, "--output", str(folder / MODEL))
    arms = [part for arm in (MODEL, READER) for part in ("--arm", f"{arm}={folder / arm}")]
    raters = [part for rater in RATERS for part in ("--rater", rater)]
    flairseg(console, "study", "new", protocol, "--images", str(folder / "flair"), *arms, *raters, "--id", "phantoms")
    content = json.loads(Path(protocol).read_text(encoding="utf-8"))
    content["title"] = TITLE
    Path(protocol).write_text(json.dumps(content, indent=2), encoding="utf-8")
    flairseg(console, "study", "check", protocol)
    flairseg(console, "study", "lock", protocol, "--study", study, "--coordinator", key)
    for n, rater in enumerate(RATERS):
        answered = rate_room(folder / "study" / "rooms" / rater, references, seed=n, strictness=1.0 + 0.1 * n)
        console.print(f"\nSimulated rater {rater} answered {answered} presentations.")
    flairseg(console, "study", "status", study, "--coordinator", key)
    flairseg(console, "study", "close", study, "--coordinator", key)
    flairseg(console, "study", "check", study, "--coordinator", key)
    flairseg(console, "study", "analyse", study, "--coordinator", key, "--output", report)
    return Path(report)


def main() -> None:
    """Run the study in a new folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo/study"))
    parser.add_argument("--cases", type=int, default=4)
    options = parser.parse_args()
    console = Console(highlight=False)
    if options.output.exists() and not (options.output / "phantoms").is_dir():
        sys.exit(f"{options.output} exists and is not a demonstration: give another folder with --output.")
    shutil.rmtree(options.output, ignore_errors=True)
    report = run_study(options.output, options.cases, console)
    console.print(f"\nOpen {report / 'report.html'} in a browser. The raters were simulated: the report is an example")
    console.print("and not evidence about any model.")


if __name__ == "__main__":
    main()
