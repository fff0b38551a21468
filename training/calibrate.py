"""Fit temperature and lesion threshold on held-out patients: ``python -m training.calibrate --evaluation FOLDER``.

Reads the out-of-fold probabilities written by :mod:`training.evaluate`. Temperature scaling (Guo et al. 2017, ICML)
matches lesion probabilities to the readers' annotations; then the minimum mean probability of a lesion, or the
threshold of its voxels, is chosen. Each fold's settings are fitted on the patients of the other folds alone, so that
the fold's own patients remain held out when it is evaluated with them (``training.evaluate --decoding``). Also
reported: the share of lesions that readers annotated, by mean probability, and the regression that predicts it
(:mod:`training.lesion_confidence`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flairseg.evaluation.components import match_lesions
from flairseg.evaluation.overlap import Overlap
from flairseg.labels import LESION
from flairseg.segmentation.postprocessing import remove_small_components, remove_unsure_lesions
from scipy import ndimage, optimize

from .config import TrainingConfig, load_config
from .data import folds
from .lesion_confidence import FIELD, FoundLesions, card_field, fit_confidence, found_lesions, reliability

#: A voxel below this lesion probability that readers did not annotate carries no information on calibration.
LEAST_PROBABILITY = 1e-3
#: Range of temperatures.
TEMPERATURES = (0.3, 8.0)
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
#: Candidate thresholds of lesion voxels.
THRESHOLDS = tuple(round(0.4 + 0.025 * n, 3) for n in range(21))
#: Candidate minimum mean probabilities of a lesion.
CONFIDENCES = (0.0, *(round(0.5 + 0.02 * n, 2) for n in range(25)))


@dataclass
class Patient:
    """Voxels of one patient that are informative of calibration.

    Attributes
    ----------
    name : str
    log_probabilities : ndarray of float, shape (4, n)
    drawn : ndarray of bool, shape (n,)
        Whether readers annotated the voxel as lesion.
    """

    name: str
    log_probabilities: np.ndarray
    drawn: np.ndarray


def telling_voxels(name: str, probabilities: np.ndarray, reference: np.ndarray) -> Patient:
    """Select a patient's voxels that are informative of calibration.

    Parameters
    ----------
    name : str
    probabilities : ndarray of float, shape (4, ...)
    reference : ndarray of uint8, shape (...)
        Class values.
    """
    telling = (probabilities[LESION] >= LEAST_PROBABILITY) | (reference == LESION)
    return Patient(name, np.log(np.clip(probabilities[:, telling], 1e-7, 1)), reference[telling] == LESION)


def tempered(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Lesion probabilities, shape (n,), of log probabilities (4, n) at a temperature; 1 leaves them unchanged."""
    scaled = log_probabilities.astype(np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(0))
    return scaled[LESION] / scaled.sum(0)


def surprise(patients: list[Patient], temperature: float) -> float:
    """Mean negative log likelihood of "lesion or not", averaged over patients."""
    out = []
    for patient in patients:
        p = np.clip(tempered(patient.log_probabilities, temperature), 1e-7, 1 - 1e-7)
        out.append(-float(np.mean(np.where(patient.drawn, np.log(p), np.log1p(-p)))))
    return float(np.mean(out))


def best_temperature(patients: list[Patient]) -> float:
    """Temperature with the lowest negative log likelihood."""
    found = optimize.minimize_scalar(
        lambda logarithm: surprise(patients, float(np.exp(logarithm))),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(found.x))


def calibration_error(patients: list[Patient], temperatures: list[float], bins: int = 10) -> float:
    """Expected calibration error of lesion probabilities in bins of equal width, informative voxels pooled."""
    p = np.concatenate([tempered(one.log_probabilities, t) for one, t in zip(patients, temperatures, strict=True)])
    drawn = np.concatenate([one.drawn for one in patients])
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[place == b].mean() - drawn[place == b].mean()) * (place == b).mean() for b in np.unique(place)]
    return float(np.sum(gaps))


def classified(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature: ndarray of float32, shape (4, ...)."""
    scaled = np.log(np.clip(probabilities, 1e-7, 1)) / temperature
    scaled = np.exp(scaled - scaled.max(0))
    return np.float32(scaled / scaled.sum(0))


def threshold_table(probabilities: np.ndarray, reference: np.ndarray, voxel_mm3: float, least_mm3: float) -> np.ndarray:
    """Score of each of :data:`THRESHOLDS` for one patient: the mean of lesion Dice and lesion F1.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (4, K, J, I)
        After temperature scaling.
    reference : ndarray of uint8, shape (K, J, I)
    voxel_mm3, least_mm3 : float
        Volume of a voxel, and minimum lesion volume of the pipeline.
    """
    drawn, out = reference == LESION, []
    for threshold in THRESHOLDS:
        components, _ = ndimage.label(probabilities[LESION] >= threshold, np.ones((3, 3, 3)))
        sizes = np.bincount(components.ravel()) * voxel_mm3
        lesions = (components > 0) & (sizes >= least_mm3)[components]
        out.append((Overlap.of(lesions, drawn).dice + match_lesions(lesions, drawn).f1) / 2)
    return np.array(out)


def confidence_table(
    probabilities: np.ndarray, reference: np.ndarray, voxel_mm3: float, least_mm3: float, ratio: float = 0.0
) -> np.ndarray:
    """Score of each of :data:`CONFIDENCES` for one patient, voxels labelled by the most probable class.

    Parameters and score as for :func:`threshold_table`; ``ratio``: ``lesion_probability_ratio`` of the pipeline.
    """
    labels = probabilities.argmax(0).astype(np.uint8)
    labels = remove_small_components(labels, LESION, least_mm3, voxel_mm3, probabilities)
    drawn, out = reference == LESION, []
    for least in CONFIDENCES:
        lesions = remove_unsure_lesions(labels, probabilities, least, ratio, voxel_mm3) == LESION
        out.append((Overlap.of(lesions, drawn).dice + match_lesions(lesions, drawn).f1) / 2)
    return np.array(out)


#: What is fitted -> scores of one patient, and the fields of a card's pipeline for the index of the best value.
Table = Callable[..., np.ndarray]
DECODINGS: dict[str, tuple[Table, Callable[[int], dict[str, Any]]]] = {
    "voxels": (threshold_table, lambda best: {"thresholds": {str(LESION): THRESHOLDS[best]}}),
    "lesions": (confidence_table, lambda best: {"min_lesion_probability": CONFIDENCES[best]}),
    "none": (lambda *_: np.zeros(1), lambda _: {}),
}
#: How lesions are found by each, as text for the card.
FOUND = {
    "voxels": "voxels from the fitted threshold on",
    "lesions": "voxels of which it is the most probable class, before lesions of low mean probability are removed",
    "none": "voxels of which it is the most probable class",
}


@torch.no_grad()
def temper(network: torch.nn.Module, temperature: float) -> torch.nn.Module:
    """Divide a network's logits by a temperature, in place in its last layer; the most probable class is unchanged.

    Raises
    ------
    ValueError
        If the network has no single last layer (a mean of networks).
    """
    if temperature == 1:
        return network
    if not hasattr(network, "last"):
        raise ValueError("the mean of several networks cannot be scaled: calibrate it with --untempered")
    for parameter in network.last.parameters():
        parameter.div_(temperature)
    return network


def decoded(config: TrainingConfig, network: torch.nn.Module, setting: dict) -> TrainingConfig:
    """Recipe with a setting's decoding; its temperature is applied to the network in place."""
    temper(network, setting["temperature"])
    return replace(config, pipeline={**config.pipeline, **setting["pipeline"]})


def read_patients(evaluation: Path) -> dict[str, dict[str, np.ndarray]]:
    """Arrays written by :func:`training.evaluate.evaluate`, by patient and name."""
    out = {}
    for path in sorted(evaluation.glob("*.npz")):
        with np.load(path) as one:
            out[path.stem] = {key: one[key] for key in one.files}
    return out


def fit(
    patients: dict[str, dict[str, np.ndarray]],
    count: int,
    least_mm3: float,
    untempered: bool = False,
    decoding: str = "lesions",
    ratio: float = 0.0,
) -> dict:
    """Fit the settings of each fold on the patients of the others, and of all patients.

    Parameters
    ----------
    patients : dict
        From :func:`read_patients`.
    count : int
        Folds.
    least_mm3 : float
        Minimum lesion volume of the pipeline.
    untempered : bool
        Keep the probabilities (temperature 1) and fit the decoding alone; the effect of a temperature is still
        reported. The constants of follow-up hold for probabilities as networks return them.
    decoding : {"lesions", "voxels", "none"}
        See :data:`DECODINGS`.
    ratio : float
        ``lesion_probability_ratio`` of the pipeline, for ``lesions``.

    Returns
    -------
    dict
        ``folds`` and ``all``: settings. ``lesion_confidence``: fitted on all lesions of a setting, including those
        removed for their mean probability; None where it cannot be fitted. ``error_before``, ``error_left_out``,
        ``lesions_before``, ``lesions_left_out``: calibration of unscaled and of held-out probabilities.
    """
    table_of, pipeline_of = DECODINGS[decoding]
    given = {"ratio": ratio} if decoding == "lesions" else {}
    telling = {name: telling_voxels(name, one["probabilities"], one["reference"]) for name, one in patients.items()}

    @cache
    def table(name: str, temperature: float) -> np.ndarray:
        one = patients[name]
        probabilities = classified(one["probabilities"], temperature)
        return table_of(probabilities, one["reference"], float(np.prod(one["spacing"])), least_mm3, **given)

    @cache
    def lesions(name: str, temperature: float, threshold: float | None) -> FoundLesions:
        one = patients[name]
        probabilities = classified(one["probabilities"], temperature)
        return found_lesions(probabilities, one["reference"], float(np.prod(one["spacing"])), least_mm3, threshold)

    def found_by(setting: dict, names: list[str]) -> FoundLesions:
        threshold = setting["pipeline"].get("thresholds", {}).get(str(LESION))
        return FoundLesions.of_all([lesions(name, setting["temperature"], threshold) for name in names])

    def setting(names: list[str]) -> dict:
        temperature = best_temperature([telling[name] for name in names])
        used = 1.0 if untempered else temperature
        best = int(np.nanmean([table(name, used) for name in names], 0).argmax())
        return {"temperature": round(used, 4), "fitted": round(temperature, 4), "pipeline": pipeline_of(best)}

    settings, left_out, before, after = [], [], [], []
    temperature_of = {}
    for away in folds(list(patients), count):
        others = [name for name in patients if name not in away]
        settings.append(setting(others))
        left_out.append((fit_confidence(found_by(settings[-1], others)), found_by(settings[-1], away)))
        for name in away:
            temperature_of[name] = settings[-1]["fitted"]
            before.append(lesions(name, 1.0, None))
            after.append(lesions(name, temperature_of[name], None))
    of_all = setting(list(patients))
    confidence = fit_confidence(found_by(of_all, list(patients)))
    known = confidence is not None and all(one is not None for one, _ in left_out)
    everybody = list(telling.values())
    return {
        "folds": settings,
        "all": of_all,
        FIELD: card_field(confidence, left_out, len(patients), FOUND[decoding]) if known else None,
        "error_before": calibration_error(everybody, [1.0] * len(everybody)),
        "error_left_out": calibration_error(everybody, [temperature_of[one.name] for one in everybody]),
        **{
            key: reliability(found.probability, found.drawn, BINS)
            for key, found in (
                ("lesions_before", FoundLesions.of_all(before)),
                ("lesions_left_out", FoundLesions.of_all(after)),
            )
        },
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True, help="folder written by training.evaluate")
    parser.add_argument("--untempered", action="store_true", help="fit the decoding alone, without temperature scaling")
    parser.add_argument(
        "--decoding",
        choices=tuple(DECODINGS),
        default="lesions",
        help="fit a threshold of voxels, the minimum mean probability of a lesion, or neither",
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    patients, least = read_patients(arguments.evaluation), config.pipeline["min_lesion_mm3"]
    ratio = config.pipeline.get("lesion_probability_ratio", 0.0)
    result = fit(patients, config.folds, least, arguments.untempered, arguments.decoding, ratio)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
