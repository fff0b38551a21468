"""Lesion confidence and its reliability diagram: ``python -m training.lesion_confidence models/<id>``.

Fits the regression of :mod:`flairseg.models.lesion_confidence` to the lesions that :mod:`training.calibrate` finds in
out-of-fold probabilities. The command draws the reliability diagram of a card into the folder of the training curves,
as :mod:`training.publish` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from flairseg.labels import LESION
from flairseg.models.lesion_confidence import FIELD, LEAST_PROBABILITY, LesionConfidence
from flairseg.reporting.drawing import COLOURS, FAINT, GRID, Figure, canvas, finished, style
from flairseg.statistics.intervals import wilson
from scipy import ndimage, optimize, special

from .plot_curves import compact

CURVES = Path(__file__).parents[1] / "models" / "curves"
#: Bins of the reliability diagram.
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
#: Ridge penalty of the slopes: weight of half the sum of their squares in the negative log likelihood.
PENALTY = 1.0


@dataclass(frozen=True)
class FoundLesions:
    """Segmented lesions of one or several patients.

    Attributes
    ----------
    probability : ndarray of float, shape (n,)
        Mean lesion probability.
    volume_mm3 : ndarray of float, shape (n,)
    drawn : ndarray of bool, shape (n,)
        Whether readers annotated at least one of its voxels.
    """

    probability: np.ndarray
    volume_mm3: np.ndarray
    drawn: np.ndarray

    @classmethod
    def of_all(cls, parts: Sequence[FoundLesions]) -> FoundLesions:
        """Concatenate the lesions of several patients."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in cls.__dataclass_fields__))


def found_lesions(
    probabilities: np.ndarray,
    reference: np.ndarray,
    voxel_mm3: float,
    least_mm3: float,
    threshold: float | None = None,
) -> FoundLesions:
    """Lesions of one patient (26-connected components), annotated if one voxel overlaps with the reference.

    Parameters
    ----------
    probabilities : ndarray of float, shape (4, K, J, I)
    reference : ndarray of uint8, shape (K, J, I)
        Class values.
    voxel_mm3, least_mm3 : float
        Volume of a voxel, and minimum lesion volume of the pipeline.
    threshold : float, optional
        Probability from which on a voxel is lesion; default: where lesion is the most probable class.
    """
    mask = probabilities.argmax(0) == LESION if threshold is None else probabilities[LESION] >= threshold
    components, count = ndimage.label(mask, np.ones((3, 3, 3)))
    inside = components > 0
    places = components[inside]
    voxels = np.bincount(places, minlength=count + 1)[1:]
    means = np.bincount(places, probabilities[LESION][inside].astype(float), count + 1)[1:] / np.maximum(voxels, 1)
    drawn = np.bincount(places, reference[inside] == LESION, count + 1)[1:] > 0
    kept = voxels * voxel_mm3 >= least_mm3
    return FoundLesions(means[kept], voxels[kept] * voxel_mm3, drawn[kept])


def fit_confidence(lesions: FoundLesions) -> LesionConfidence | None:
    """Logistic regression of "annotated" on logit mean probability and log volume, with ridge penalty :data:`PENALTY`.

    Returns
    -------
    LesionConfidence or None
        None if readers annotated all lesions or none, or less often those of higher probability.
    """
    drawn = lesions.drawn.astype(float)
    if not 0 < drawn.sum() < drawn.size:
        return None
    p = np.clip(lesions.probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    volume = np.log(lesions.volume_mm3)
    centre = volume.mean()
    design = np.stack([np.ones(p.size), special.logit(p), volume - centre], axis=1)

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        z = design @ b
        slopes = np.array([0, *b[1:]])
        value = np.sum(np.logaddexp(0, z) - drawn * z) + PENALTY * np.sum(slopes**2) / 2
        return float(value), design.T @ (special.expit(z) - drawn) + PENALTY * slopes

    constant, probability, size = optimize.minimize(loss, np.zeros(3), jac=True).x
    if probability <= 0:
        return None
    return LesionConfidence(*(round(float(one), 4) for one in (constant - size * centre, probability, size)))


def confidences(fitted: LesionConfidence, lesions: FoundLesions) -> np.ndarray:
    """Confidence of lesions: ndarray of float, shape (n,)."""
    return np.array([fitted.drawn_share(*one) for one in zip(lesions.probability, lesions.volume_mm3, strict=True)])


def reliability(values: np.ndarray, drawn: np.ndarray, bins: Sequence[float] = BINS) -> list[dict[str, float]]:
    """For each bin with lesions: their number, mean confidence, and the share that readers annotated."""
    rows = []
    for low, high in pairwise(bins):
        inside = (values >= low) & ((values < high) | (high == bins[-1]))
        if inside.any():
            rows.append({"from": low, "to": high, "lesions": int(inside.sum()),
                         "confidence": round(float(values[inside].mean()), 4),
                         "drawn": round(float(drawn[inside].mean()), 4)})  # fmt: skip
    return rows


def error(rows: Iterable[dict[str, float]]) -> float:
    """Expected calibration error of a reliability table: mean absolute difference, weighted by lesions."""
    table = np.array([(row["lesions"], abs(row["confidence"] - row["drawn"])) for row in rows])
    return round(float(np.average(table[:, 1], weights=table[:, 0])), 4)


def card_field(
    fitted: LesionConfidence,
    left_out: Sequence[tuple[LesionConfidence, FoundLesions]],
    patients: int,
    decoding: str,
) -> dict:
    """``lesion_confidence`` of a card.

    Parameters
    ----------
    fitted : LesionConfidence
        Fit on all patients.
    left_out : sequence of (LesionConfidence, FoundLesions)
        Lesions of each fold's patients, with the regression fitted on the others.
    patients : int
    decoding : str
        How lesions were found, as text.
    """
    lesions = FoundLesions.of_all([one for _, one in left_out])
    values = {
        "confidence": np.concatenate([confidences(own, one) for own, one in left_out]),
        "mean_probability": lesions.probability,
    }
    tables = {name: reliability(value, lesions.drawn) for name, value in values.items()}
    return {
        **asdict(fitted),
        "fitted_on": (
            f"{lesions.drawn.size} lesions found in {patients} patients by networks trained without the patient "
            f"({decoding}); readers annotated {100 * lesions.drawn.mean():.0f} % of them (one voxel of overlap). "
            f"Reliability: each of {len(left_out)} folds with the regression of the other folds' patients (python -m "
            "training.calibrate)"
        ),
        "reliability": tables,
        "calibration_error": {name: error(rows) for name, rows in tables.items()},
    }


def diagram_name(model_id: str) -> str:
    """File name of a model's reliability diagram in ``models/curves``."""
    return f"{model_id}-reliability.svg"


def diagram(card: dict) -> Figure:
    """Share of lesions that readers annotated by confidence, with Wilson intervals; marker area: number of lesions."""
    field = card[FIELD]
    # Numbers of lesions stand below and above their markers, so that those of the two series do not cover each other.
    looks = {
        "mean_probability": ("mean probability", COLOURS[1], "s", (7, -8)),
        "confidence": ("confidence", COLOURS[0], "o", (-7, 7)),
    }
    with style():
        sheet = canvas(3.5, 3.6)
        axes = sheet.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls="--", zorder=1)
        for name, (title, colour, marker, offset) in looks.items():
            rows = field["reliability"][name]
            x, y, counts = (np.array([row[key] for row in rows]) for key in ("confidence", "drawn", "lesions"))
            limits = [wilson(round(share * count), count) for share, count in zip(y, counts.tolist(), strict=True)]
            spans = np.abs([[share - one.low, one.high - share] for share, one in zip(y, limits, strict=True)]).T
            axes.errorbar(x, y, spans, color=colour, lw=1.0, zorder=2, alpha=0.8)
            axes.scatter(x, y, 8 + 0.35 * counts, color=colour, marker=marker, edgecolors="white", zorder=3,
                         label=f"{title}: error {field['calibration_error'][name]:.2f}")  # fmt: skip
            for place, share, count in zip(x, y, counts, strict=True):
                axes.annotate(str(count), (place, share), offset, textcoords="offset points", fontsize=6.5,
                              color=colour, ha="left" if offset[0] > 0 else "right")  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Predicted", ylabel="Annotated by readers",
                 title=card["id"], aspect="equal")  # fmt: skip
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        legend = axes.legend(loc="upper left")
        for handle in legend.legend_handles:
            handle.set_sizes([24])
        told = "; ".join(f"{r['confidence']:.2f}: {r['drawn']:.2f}" for r in field["reliability"]["confidence"])
        return finished(sheet, diagram_name(card["id"]), "", f"Confidence and share annotated by readers: {told}")


def draw(card: dict, folder: Path = CURVES) -> Path:
    """Write the reliability diagram of a card and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / diagram_name(card["id"])
    path.write_text(compact(diagram(card).svg), encoding="utf-8", newline="\n")
    return path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="models/<id>")
    parser.add_argument("--output", type=Path, default=CURVES)
    arguments = parser.parse_args()
    card = json.loads((arguments.folder / "card.json").read_text(encoding="utf-8"))
    if FIELD not in card:
        parser.error(f"the card of {card['id']} has no {FIELD}")
    print(draw(card, arguments.output))


if __name__ == "__main__":
    main()
