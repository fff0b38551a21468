"""Lesion confidence fitted on left-out patients, and its reliability diagram: ``python -m training.lesion_confidence``.

The regression of :mod:`flairseg.models.lesion_confidence` on lesions that :mod:`training.calibrate` found in
out-of-fold probabilities. The command draws the diagram of a card that has one (``models/<id>``) beside the training
curves; :mod:`training.publish` does so by itself.
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
#: Weight of half the sum of the squared slopes against the log likelihood.
PENALTY = 1.0


@dataclass(frozen=True)
class FoundLesions:
    """Lesions of some patients: mean probability (n,), volume in mm3 (n,), whether readers drew one there (n,)."""

    probability: np.ndarray
    volume_mm3: np.ndarray
    drawn: np.ndarray

    @classmethod
    def of_all(cls, parts: Sequence[FoundLesions]) -> FoundLesions:
        """Those of several, in order."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in cls.__dataclass_fields__))


def found_lesions(
    probabilities: np.ndarray,
    reference: np.ndarray,
    voxel_mm3: float,
    least_mm3: float,
    threshold: float | None = None,
) -> FoundLesions:
    """Lesions of one patient: 26-connected, drawn if one voxel overlaps with the reference.

    Parameters
    ----------
    probabilities : ndarray of float, shape (4, K, J, I)
    reference : ndarray of uint8, shape (K, J, I)
        Class values.
    voxel_mm3, least_mm3 : float
        Of a voxel, and of the smallest lesion that the pipeline leaves.
    threshold : float, optional
        Probability from which on a voxel is lesion; without it, where no class is more probable.
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
    """The regression of "drawn" on mean probability and volume, by maximum likelihood with :data:`PENALTY` on slopes.

    None where readers drew all lesions or none, or they drew the more probable ones less: there is nothing to fit.
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
    """Confidence (n,) of lesions."""
    return np.array([fitted.drawn_share(*one) for one in zip(lesions.probability, lesions.volume_mm3, strict=True)])


def reliability(values: np.ndarray, drawn: np.ndarray, bins: Sequence[float] = BINS) -> list[dict[str, float]]:
    """For each bin that holds lesions: how many, their mean confidence, and the share that readers drew."""
    rows = []
    for low, high in pairwise(bins):
        inside = (values >= low) & ((values < high) | (high == bins[-1]))
        if inside.any():
            rows.append({"from": low, "to": high, "lesions": int(inside.sum()),
                         "confidence": round(float(values[inside].mean()), 4),
                         "drawn": round(float(drawn[inside].mean()), 4)})  # fmt: skip
    return rows


def error(rows: Iterable[dict[str, float]]) -> float:
    """Expected calibration error of a table: mean distance of confidence from the share drawn, weighted by lesions."""
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
        On all patients.
    left_out : sequence of (LesionConfidence, FoundLesions)
        Lesions of each fold's patients, with the regression of the others.
    patients : int
    decoding : str
        How lesions were found, in words.
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
            f"{lesions.drawn.size} lesions that networks trained without the patient found in {patients} patients "
            f"({decoding}); readers drew {100 * lesions.drawn.mean():.0f} % of them (one voxel of overlap). "
            f"Reliability: each of {len(left_out)} folds with the regression of the other folds' patients (python -m "
            "training.calibrate)"
        ),
        "reliability": tables,
        "calibration_error": {name: error(rows) for name, rows in tables.items()},
    }


def diagram_name(model_id: str) -> str:
    """File of a model's reliability diagram in ``models/curves``."""
    return f"{model_id}-reliability.svg"


def diagram(card: dict) -> Figure:
    """Confidence against the share of lesions that readers drew, with Wilson intervals; areas count lesions."""
    field = card[FIELD]
    looks = {"mean_probability": ("mean probability", COLOURS[1], "s"), "confidence": ("confidence", COLOURS[0], "o")}
    with style():
        sheet = canvas(3.5, 3.6)
        axes = sheet.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls="--", zorder=1)
        for name, (title, colour, marker) in looks.items():
            rows = field["reliability"][name]
            x, y, counts = (np.array([row[key] for row in rows]) for key in ("confidence", "drawn", "lesions"))
            limits = [wilson(round(share * count), count) for share, count in zip(y, counts.tolist(), strict=True)]
            spans = np.abs([[share - one.low, one.high - share] for share, one in zip(y, limits, strict=True)]).T
            axes.errorbar(x, y, spans, color=colour, lw=1.0, zorder=2, alpha=0.8)
            axes.scatter(x, y, 8 + 0.35 * counts, color=colour, marker=marker, edgecolors="white", zorder=3,
                         label=f"{title}: error {field['calibration_error'][name]:.2f}")  # fmt: skip
            for place, share, count in zip(x, y, counts, strict=True):
                axes.annotate(
                    str(count), (place, share), (7, -8), textcoords="offset points", fontsize=6.5, color=colour
                )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Said by the model", ylabel="Share that readers drew",
                 title=card["id"], aspect="equal")  # fmt: skip
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        legend = axes.legend(loc="upper left")
        for handle in legend.legend_handles:
            handle.set_sizes([24])
        told = "; ".join(f"{r['confidence']:.2f}: {r['drawn']:.2f}" for r in field["reliability"]["confidence"])
        return finished(sheet, diagram_name(card["id"]), "", f"Confidence and share drawn: {told}")


def draw(card: dict, folder: Path = CURVES) -> Path:
    """Write the reliability diagram of a card and return where it is."""
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
