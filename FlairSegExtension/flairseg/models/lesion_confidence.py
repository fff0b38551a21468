"""Calibrated confidence of a lesion: share of such lesions that readers annotated, by mean probability and volume.

Networks are overconfident, most of all for small lesions. A card may contain a logistic regression fitted on lesions of
patients held out of training (``training.calibrate``)::

    logit(share) = intercept + logit_probability * logit(p) + ln_volume * ln(V)

with the mean probability *p* of the lesion and its volume *V* in mm3.

References
----------
Platt J. Probabilistic outputs for support vector machines. In: Advances in Large Margin Classifiers. MIT Press 2000.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Field of the card.
FIELD = "lesion_confidence"
#: Mean probabilities are limited to the range from this value to 1 minus this value.
LEAST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class LesionConfidence:
    """Coefficients of the regression.

    Attributes
    ----------
    intercept : float
    logit_probability : float
        Coefficient of the logit of the mean probability; greater than 0.
    ln_volume : float
        Coefficient of the natural logarithm of the volume in mm3.
    """

    intercept: float
    logit_probability: float
    ln_volume: float

    def __post_init__(self) -> None:
        """Check the coefficients.

        Raises
        ------
        ValueError
            If one is not finite, or confidence does not increase with probability.
        """
        if not all(math.isfinite(one) for one in (self.intercept, self.logit_probability, self.ln_volume)):
            raise ValueError(f"{FIELD}: a coefficient is not finite")
        if not self.logit_probability > 0:
            raise ValueError(f"{FIELD}: logit_probability is {self.logit_probability!r}, not greater than 0")

    def drawn_share(self, mean_probability: float, volume_mm3: float) -> float:
        """Share of lesions of this probability and volume that readers annotated, 0..1.

        Parameters
        ----------
        mean_probability : float
            Mean probability of the lesion class over the lesion, 0..1.
        volume_mm3 : float
            Greater than 0.
        """
        p = min(max(mean_probability, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
        logit = self.intercept + self.logit_probability * math.log(p / (1 - p)) + self.ln_volume * math.log(volume_mm3)
        return 0.5 * (1 + math.tanh(logit / 2))

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> LesionConfidence:
        """From a JSON object.

        Raises
        ------
        ValueError, KeyError, TypeError
            If a coefficient is invalid, missing or of another type.
        """
        return cls(*(float(entry[name]) for name in ("intercept", "logit_probability", "ln_volume")))


def lesion_confidence_of(raw: Mapping[str, Any]) -> LesionConfidence | None:
    """The calibration in a card; None if it has none.

    Raises
    ------
    ValueError
        If it is invalid, or the card is that of an ensemble, whose votes are not probabilities of a network.
    KeyError, TypeError
        If a coefficient is missing or of another type.
    """
    if FIELD not in raw:
        return None
    if "ensemble" in raw:
        raise ValueError(f"{FIELD} is only valid in cards of single models, not of an ensemble")
    return LesionConfidence.of(raw[FIELD])
