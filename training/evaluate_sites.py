"""Evaluation of lesions at other sites with the shipped pipeline: MSLesSeg and the slices of Muslim et al.

``python -m training.evaluate_sites --config CONFIG --runs runs`` segments every person with the model of the fold that
left this person out (cross-validation over the persons of all sites). ``--model FOLDER`` uses one model for all, which
must not have been trained on these sites; ``--checkpoint RUN`` a run of the recipe, such as its pre-training. With
``--tabriz`` Tabriz is one of the sites: leave one site out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from flairseg.errors import UnusableIntensitiesError
from flairseg.image.volume import Volume
from flairseg.labels import LESION
from flairseg.segmentation.pipeline import segment

from .config import TrainingConfig, load_config
from .data import data_folder, load_tabriz, read, read_lesions, refuse_held_back
from .evaluate import card_entry, fold_card, summarise, write_fold_model
from .export import load_average, write_model
from .metrics import compare
from .sites import HELD_BACK_MSLESSEG, HELD_BACK_MUSLIM, left_out, load_site

#: Site -> heading in a card.
TITLES = {
    "mslesseg": "MSLesSeg (3D FLAIR, 1 mm, skull-stripped)",
    "muslim": "Muslim et al. (single slices, many scanners, 8-bit)",
}
TABRIZ = "tabriz"
HEADINGS = TITLES | {TABRIZ: "Tabriz (1.5 T, 6-8 mm)"}


@dataclass
class Drawn:
    """Annotated scan.

    Attributes
    ----------
    site : str
    person : str
        As in the banks of :mod:`.sites`.
    name : str
    volume : Volume
    labels : ndarray of uint8, shape (K, J, I)
        3 where lesions were annotated, else 0.
    """

    site: str
    person: str
    name: str
    volume: Volume
    labels: np.ndarray


def scans(data: Path) -> Iterator[Drawn]:
    """Scans of both sites that may be used for tuning; none of a site whose folder does not exist."""
    for path in sorted((data / "mslesseg").glob("*/flair.nii.gz")):
        person = path.parent.name.split("_")[0]
        refuse_held_back(person, HELD_BACK_MSLESSEG)
        yield _drawn("mslesseg", person, path)
    listed = data / "muslim_slices" / "slices.json"
    for entry in json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else []:
        path = listed.parent / entry["slice"] / "flair.nii.gz"
        if path.exists() and not entry["held_back"] and entry["patient"] not in HELD_BACK_MUSLIM:
            yield _drawn("muslim", str(entry["patient"]), path)


def _drawn(site: str, person: str, path: Path) -> Drawn:
    image = read(path)
    lesions = read_lesions(path.with_name("lesions.nii.gz"), image)
    return Drawn(site, f"{site}-{person}", path.parent.name, image, np.where(lesions, LESION, 0).astype(np.uint8))


def tabriz(data: Path) -> Iterator[Drawn]:
    """Patients of Tabriz, with their lesions alone."""
    for case in load_tabriz(data):
        lesions = np.where(case.labels == LESION, LESION, 0).astype(np.uint8)
        yield Drawn(TABRIZ, f"{TABRIZ}-{case.name}", case.name, case.volume, lesions)


def judge(model_of: Callable[[str], Path], found: Iterable[Drawn]) -> dict[str, dict[str, dict[str, float]]]:
    """Segment and evaluate every scan.

    Parameters
    ----------
    model_of : callable
        Person -> ONNX file.
    found : iterable of Drawn

    Returns
    -------
    dict
        Site -> scan -> lesion figures (:func:`.metrics.compare`).
    """
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for scan in found:
        try:
            labels = segment(scan.volume, model=model_of(scan.person)).labels
        except UnusableIntensitiesError as error:
            print(f"{scan.site} {scan.name}: refused, counted as empty: {error.message}")
            labels = np.zeros_like(scan.labels)
        # Only lesions were annotated: predicted ventricles and normal WMH cannot be evaluated.
        ours = np.where(labels == LESION, LESION, 0).astype(np.uint8)
        row = compare(ours, scan.labels, tuple(reversed(scan.volume.spacing)))
        figures.setdefault(scan.site, {})[scan.name] = {k: v for k, v in row.items() if k.startswith("lesion_")}
    return figures


def fold_models(
    config: TrainingConfig, runs: Path, folder: Path, cache: Path, settings: list[dict] | None = None
) -> Callable[[str], Path]:
    """Map each person to the ONNX file of the fold that left the person out.

    Parameters
    ----------
    config : TrainingConfig
    runs : Path
        Folder of the runs.
    folder : Path
        Folder for the exported models.
    cache : Path
        Folder of the stored banks.
    settings : list of dict, optional
        As for :func:`training.evaluate.evaluate`.
    """
    away: dict[str, int] = {}
    for site in TITLES:
        bank = load_site(site, data_folder(), config.preprocessing, cache)
        for fold in range(config.folds) if bank is not None else ():
            away |= dict.fromkeys(left_out(bank, fold, config.folds), fold)
    for fold in set(away.values()):
        write_fold_model(config, fold, runs, folder / f"fold{fold}", settings)
    return lambda person: folder / f"fold{away[person]}" / "model.onnx"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--checkpoint", type=Path, help="use this run of the recipe for all persons")
    parser.add_argument("--model", type=Path, help="use this model for all persons")
    parser.add_argument("--tabriz", action="store_true", help="Tabriz, too: with --model or --checkpoint")
    parser.add_argument("--decoding", type=Path, help="file written by training.calibrate")
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    arguments = parser.parse_args()
    if arguments.tabriz and not (arguments.model or arguments.checkpoint):
        parser.error("--tabriz needs --model or --checkpoint: training.evaluate cross-validates Tabriz")
    with tempfile.TemporaryDirectory(prefix="flairseg-sites-") as temporary:
        folder = Path(temporary)
        if arguments.model:
            choose, how = (lambda person: arguments.model / "model.onnx"), f"--model {arguments.model.as_posix()}"
        else:
            config, how = load_config(arguments.config), f"--config {arguments.config.as_posix()} --runs runs"
            if arguments.checkpoint:
                write_model(config, load_average(config, arguments.checkpoint), folder / "one", fold_card(config, 0))
                choose = lambda person: folder / "one" / "model.onnx"  # noqa: E731
            else:
                fitted = json.loads(arguments.decoding.read_text(encoding="utf-8")) if arguments.decoding else {}
                how += " --decoding runs/decoding.json" * bool(fitted)
                choose = fold_models(config, arguments.runs, folder, arguments.runs / "cache", fitted.get("folds"))
        found = chain(scans(data_folder()), tabriz(data_folder()) if arguments.tabriz else ())
        figures = judge(choose, found)
    entries = [
        card_entry(
            summarise(of_site),
            HEADINGS[site],
            len(of_site),
            f"python -m training.evaluate_sites {how}",
        )
        for site, of_site in figures.items()
    ]
    arguments.output.write_text(json.dumps({"entries": entries, "scans": figures}, indent=2) + "\n", encoding="utf-8")
    for site, of_site in figures.items():
        for name, row in of_site.items():
            print(f"{site} {name}: lesion Dice {row['lesion_dice']:.3f}")
        mean, deviation = summarise(of_site)["lesion_dice"]
        print(f"{site}: lesion Dice {mean:.3f} ± {deviation:.3f} over {len(of_site)}")


if __name__ == "__main__":
    main()
