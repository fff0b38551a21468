"""Check for forgetting: base and adapted model on digital phantoms and on held-out synthetic slices."""

from __future__ import annotations

import numpy as np

from ..evaluation.overlap import Overlap
from ..labels import CLASS_BY_VALUE, LESION, VENTRICLES
from ..models.card import ModelCard
from ..phantom import make_phantom
from ..progress import Reporter
from ..segmentation.decoding import classify, decode
from ..segmentation.inference import Generator
from ..segmentation.pipeline import segment
from .record import Harm
from .replay import check_slices

#: Phantoms: seed, shape (slices, rows, columns), spacing (columns, rows, slices) in mm.
PHANTOMS = ((1, (20, 256, 256), (0.9, 0.9, 6.8)), (2, (40, 224, 224), (1.0, 1.0, 3.5)))


def harms(base: ModelCard, adapted: ModelCard, reporter: Reporter) -> list[Harm]:
    """Dice of lesions and ventricles of both models, on phantoms and on synthetic slices.

    Parameters
    ----------
    base, adapted : ModelCard
    reporter : Reporter
        Checked between images.
    """
    found: list[list[dict[int, float]]] = [[], []]
    truths = [make_phantom(*phantom) for phantom in PHANTOMS]
    for n, truth in enumerate(truths):
        for place, card in enumerate((base, adapted)):
            result = segment(truth.volume, card)
            found[place].append(_dice(result.labels, truth.labels))
            reporter.update((2 * n + place + 1) / (2 * len(truths) + 2))
    out = [
        Harm(
            f"{CLASS_BY_VALUE[value].name}, Dice on phantoms",
            *(float(np.mean([one[value] for one in side])) for side in found),
        )
        for value in (LESION, VENTRICLES)
    ]
    images, labels = check_slices(base.pipeline)
    synthetic = []
    for place, card in enumerate((base, adapted)):
        synthetic.append(_dice(_labels_of(images, card), labels))
        reporter.update((2 * len(truths) + place + 1) / (2 * len(truths) + 2))
    for value in (LESION, VENTRICLES):
        name = f"{CLASS_BY_VALUE[value].name}, Dice on synthetic slices"
        out.append(Harm(name, synthetic[0][value], synthetic[1][value]))
    return out


def _labels_of(images: np.ndarray, card: ModelCard) -> np.ndarray:
    """Labels (n, rows, columns) of framed slices (n, rows, columns), without clean-up."""
    generator = Generator(card)
    answers = []
    for start in range(0, len(images), generator.batch_size):
        batch = np.ascontiguousarray(images[start : start + generator.batch_size, None])
        answers.append(decode(generator.run(batch), card.pipeline))
    return classify(np.concatenate(answers).transpose(1, 0, 2, 3), card.pipeline.thresholds)


def _dice(result: np.ndarray, truth: np.ndarray) -> dict[int, float]:
    return {value: Overlap.of(result == value, truth == value).dice for value in (LESION, VENTRICLES)}
