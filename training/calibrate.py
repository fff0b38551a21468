"""Temperature and threshold from left-out patients: ``python -m training.calibrate --evaluation FOLDER``.

Reads the out-of-fold probabilities that :mod:`training.evaluate` kept, finds the temperature at which lesion
probabilities are those of readers (Guo et al. 2017, ICML), then the least mean probability of a lesion, or the
threshold of its voxels; of every fold's patients on those of the other folds alone, so that figures of a fold decoded
so (``training.evaluate --decoding``) owe nothing to its own patients. Then how many of the lesions of each mean
probability readers drew, and in the same way the regression that makes a lesion's confidence that share
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

#: Below this probability of a lesion, and without a drawn one, a voxel carries no information on calibration.
LEAST_PROBABILITY = 1e-3
#: Temperatures that are considered.
TEMPERATURES = (0.3, 8.0)
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
#: Lesion thresholds that are tried.
THRESHOLDS = tuple(round(0.4 + 0.025 * n, 3) for n in range(21))
#: Least mean probabilities of a lesion that are tried.
CONFIDENCES = (0.0, *(round(0.5 + 0.02 * n, 2) for n in range(25)))


@dataclass
class Patient:
    """Voxels of one patient informative of calibration: log probabilities (4, n) and readers' lesions (n,)."""

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
    """Lesion probabilities (n,) of log probabilities (4, n) at a temperature; 1 leaves them as they are."""
    scaled = log_probabilities.astype(np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(0))
    return scaled[LESION] / scaled.sum(0)


def surprise(patients: list[Patient], temperature: float) -> float:
    """Mean negative log likelihood of "lesion or not", patients weighing the same."""
    out = []
    for patient in patients:
        p = np.clip(tempered(patient.log_probabilities, temperature), 1e-7, 1 - 1e-7)
        out.append(-float(np.mean(np.where(patient.drawn, np.log(p), np.log1p(-p)))))
    return float(np.mean(out))


def best_temperature(patients: list[Patient]) -> float:
    """The temperature of the least surprise."""
    found = optimize.minimize_scalar(
        lambda logarithm: surprise(patients, float(np.exp(logarithm))),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(found.x))


def calibration_error(patients: list[Patient], temperatures: list[float], bins: int = 10) -> float:
    """Expected calibration error of lesion probabilities, equal bins, all patients' telling voxels together."""
    p = np.concatenate([tempered(one.log_probabilities, t) for one, t in zip(patients, temperatures, strict=True)])
    drawn = np.concatenate([one.drawn for one in patients])
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[place == b].mean() - drawn[place == b].mean()) * (place == b).mean() for b in np.unique(place)]
    return float(np.sum(gaps))


def classified(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (4, ...) at a temperature, float32."""
    scaled = np.log(np.clip(probabilities, 1e-7, 1)) / temperature
    scaled = np.exp(scaled - scaled.max(0))
    return np.float32(scaled / scaled.sum(0))


def threshold_table(probabilities: np.ndarray, reference: np.ndarray, voxel_mm3: float, least_mm3: float) -> np.ndarray:
    """Score of each of :data:`THRESHOLDS` on one patient: the mean of lesion Dice and lesion F1.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (4, K, J, I)
        Tempered.
    reference : ndarray of uint8, shape (K, J, I)
    voxel_mm3, least_mm3 : float
        Of a voxel, and of the smallest lesion that the pipeline leaves.
    """
    drawn, out = reference == LESION, []
    for threshold in THRESHOLDS:
        components, _ = ndimage.label(probabilities[LESION] >= threshold, np.ones((3, 3, 3)))
        sizes = np.bincount(components.ravel()) * voxel_mm3
        lesions = (components > 0) & (sizes >= least_mm3)[components]
        out.append((Overlap.of(lesions, drawn).dice + match_lesions(lesions, drawn).f1) / 2)
    return np.array(out)


def confidence_table(
    probabilities: np.ndarray, reference: np.ndarray, voxel_mm3: float, least_mm3: float
) -> np.ndarray:
    """What each of :data:`CONFIDENCES` is worth on one patient, voxels going to the most probable class.

    Parameters and figures as :func:`threshold_table`.
    """
    labels = probabilities.argmax(0).astype(np.uint8)
    labels = remove_small_components(labels, LESION, least_mm3, voxel_mm3, probabilities)
    drawn, out = reference == LESION, []
    for least in CONFIDENCES:
        lesions = remove_unsure_lesions(labels, probabilities, least) == LESION
        out.append((Overlap.of(lesions, drawn).dice + match_lesions(lesions, drawn).f1) / 2)
    return np.array(out)


#: What may be fitted -> figures of one patient, and what a card's pipeline has for the best of the values.
Table = Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]
DECODINGS: dict[str, tuple[Table, Callable[[int], dict[str, Any]]]] = {
    "voxels": (threshold_table, lambda best: {"thresholds": {str(LESION): THRESHOLDS[best]}}),
    "lesions": (confidence_table, lambda best: {"min_lesion_probability": CONFIDENCES[best]}),
}
#: How lesions are found by each, in words.
FOUND = {
    "voxels": "voxels from the fitted threshold on",
    "lesions": "voxels of which it is the most probable class, before lesions of low mean probability are dropped",
}


@torch.no_grad()
def temper(network: torch.nn.Module, temperature: float) -> torch.nn.Module:
    """Divide a network's logits by a temperature, in its last layer and in place: labels stay, probabilities calm.

    Raises
    ------
    ValueError
        If the network has no last layer of its own (a mean of networks).
    """
    if temperature == 1:
        return network
    if not hasattr(network, "last"):
        raise ValueError("a mean of networks has no last layer to temper: calibrate it with --untempered")
    for parameter in network.last.parameters():
        parameter.div_(temperature)
    return network


def decoded(config: TrainingConfig, network: torch.nn.Module, setting: dict) -> TrainingConfig:
    """The recipe with a setting's decoding; the network is tempered in place by its temperature."""
    temper(network, setting["temperature"])
    return replace(config, pipeline={**config.pipeline, **setting["pipeline"]})


def read_patients(evaluation: Path) -> dict[str, dict[str, np.ndarray]]:
    """``probabilities``, ``labels``, ``reference`` and ``spacing`` of each patient."""
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
) -> dict:
    """Settings of each of ``count`` folds, fitted on the patients of the others, and of all; with their reliability.

    ``untempered`` fits the ``decoding`` (of :data:`DECODINGS`) on the probabilities as they are and leaves them so
    (temperature 1); what a temperature would do is still reported. The follow-up's constants hold for probabilities as
    networks give them. Lesion confidence is fitted on the lesions of a setting, those that are dropped for their mean
    probability included; None where there is nothing to fit.
    """
    table_of, pipeline_of = DECODINGS[decoding]
    telling = {name: telling_voxels(name, one["probabilities"], one["reference"]) for name, one in patients.items()}

    @cache
    def table(name: str, temperature: float) -> np.ndarray:
        one = patients[name]
        probabilities = classified(one["probabilities"], temperature)
        return table_of(probabilities, one["reference"], float(np.prod(one["spacing"])), least_mm3)

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
    parser.add_argument("--evaluation", type=Path, required=True, help="what training.evaluate wrote")
    parser.add_argument(
        "--untempered", action="store_true", help="fit the threshold alone, for probabilities as they are"
    )
    parser.add_argument(
        "--decoding",
        choices=tuple(DECODINGS),
        default="lesions",
        help="fit a threshold of voxels, or the least mean probability of a lesion",
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    patients, least = read_patients(arguments.evaluation), config.pipeline["min_lesion_mm3"]
    result = fit(patients, config.folds, least, arguments.untempered, arguments.decoding)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
