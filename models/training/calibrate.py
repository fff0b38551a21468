"""Temper a model's probabilities on left-out patients: ``python -m models.training.calibrate --evaluation FOLDER``.

Reads the out-of-fold probabilities that :mod:`models.training.evaluate` kept, finds the temperature at which lesion
probabilities are those of readers (Guo et al. 2017, ICML), and says for each patient what the temperature of the others
does. Then how many of the lesions of each confidence (mean probability, as the panel shows it) readers drew.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from flairseg.labels import LESION
from scipy import ndimage, optimize

#: Below this probability of a lesion, and without one drawn, a voxel tells nothing about calibration.
LEAST_PROBABILITY = 1e-3
#: Temperatures that are considered.
TEMPERATURES = (0.3, 4.0)
BINS = (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass
class Patient:
    """Voxels of one patient that say something: log probabilities (4, n) and whether readers drew a lesion (n,)."""

    name: str
    log_probabilities: np.ndarray
    drawn: np.ndarray


def telling_voxels(name: str, probabilities: np.ndarray, reference: np.ndarray) -> Patient:
    """The voxels of a patient that say something about calibration.

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
    scaled = log_probabilities / temperature
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


def lesion_confidences(
    probabilities: np.ndarray, labels: np.ndarray, reference: np.ndarray, temperature: float
) -> list[tuple[float, bool]]:
    """Confidence of each lesion found, and whether readers drew one there (one voxel of overlap, 26-connected).

    Parameters
    ----------
    probabilities : ndarray of float, shape (4, K, J, I)
    labels, reference : ndarray of uint8, shape (K, J, I)
    temperature : float
    """
    components, count = ndimage.label(labels == LESION, np.ones((3, 3, 3)))
    inside = components > 0
    p = tempered(np.log(np.clip(probabilities[:, inside], 1e-7, 1)), temperature)
    places = components[inside]
    sizes = np.bincount(places, minlength=count + 1)[1:]
    means = np.bincount(places, p, count + 1)[1:] / sizes
    hits = np.bincount(places, reference[inside] == LESION, count + 1)[1:] > 0
    return list(zip(means.tolist(), hits.tolist(), strict=True))


def reliability(lesions: list[tuple[float, bool]], bins: tuple[float, ...] = BINS) -> list[dict[str, float]]:
    """For each bin of confidence: lesions, their mean confidence, and the share that readers drew."""
    values, hits = np.array([one for one, _ in lesions]), np.array([hit for _, hit in lesions])
    rows = []
    for low, high in pairwise(bins):
        inside = (values >= low) & ((values < high) | (high == bins[-1]))
        if inside.any():
            rows.append({"from": low, "to": high, "lesions": int(inside.sum()),
                         "confidence": float(values[inside].mean()), "drawn": float(hits[inside].mean())})  # fmt: skip
    return rows


@torch.no_grad()
def temper(network: torch.nn.Module, temperature: float) -> torch.nn.Module:
    """Divide a network's logits by a temperature, in its last layer and in place: labels stay, probabilities calm."""
    for parameter in network.last.parameters():
        parameter.div_(temperature)
    return network


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluation", type=Path, required=True, help="what models.training.evaluate wrote")
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    arguments = parser.parse_args()
    patients, stored = [], []
    for path in sorted(arguments.evaluation.glob("*.npz")):
        with np.load(path) as one:
            arrays = {key: one[key] for key in ("probabilities", "labels", "reference")}
        patients.append(telling_voxels(path.stem, arrays["probabilities"], arrays["reference"]))
        stored.append(arrays)
    others = [best_temperature([one for one in patients if one is not left]) for left in patients]
    ones = [1.0] * len(patients)
    raw, honest = [], []
    for arrays, temperature in zip(stored, others, strict=True):
        raw += lesion_confidences(**arrays, temperature=1.0)
        honest += lesion_confidences(**arrays, temperature=temperature)
    result = {
        "temperature": best_temperature(patients),
        "of_the_others": {one.name: t for one, t in zip(patients, others, strict=True)},
        "error_before": calibration_error(patients, ones),
        "error_left_out": calibration_error(patients, others),
        "lesions_before": reliability(raw),
        "lesions_left_out": reliability(honest),
    }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
