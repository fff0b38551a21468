"""Consistent differences of a site's masks, which the proof cannot judge because it compares with these very masks.

A reader's own convention and a systematic error look alike: both models are tested against them, and the adapted one
gains either way. So each difference that most patients share is stated before training, in figures, and a model is
called better only once the user states that it is the readers' convention (:func:`held_back`, :mod:`.acceptance`).

Shares are volumes: of a class that the base finds, how much the reader drew as something else; and of a drawn class,
how much has the intensity of normal brain, which does not depend on the base: what it misses at the site may be drawn.
They are pooled within a patient; the median over patients decides, so that one patient whom the base segments badly
does not. Masks that all fit their images better at the same displacement, too small for the check of a single case
(:mod:`.checks`), are stated likewise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import CaseWarning
from ..labels import BACKGROUND, LESION, NORMAL_WMH, VENTRICLES
from .terms import BETTER, CONVENTIONS, FEWEST_PATIENTS, NO_DIFFERENCE

#: Code -> (class by the base, class by the reader); the share is of the base's volume of the former.
_PAIRS = {
    "normal-drawn-as-lesions": (NORMAL_WMH, LESION),
    "lesions-drawn-as-normal": (LESION, NORMAL_WMH),
    "lesions-not-drawn": (LESION, BACKGROUND),
}
#: Code -> (class, whether what is darker counts, else what is brighter; intensity above the brain's median, in units of
#: 0.2 of it). Normal white matter is at about -0.5, cortex at 0.5.
_TISSUE = {"lesions-drawn-wide": (LESION, True, 0.5), "ventricles-drawn-wide": (VENTRICLES, False, 0.0)}
DISPLACED = "masks-displaced-alike"
#: Volumes of fewer voxels than this, all scans of a patient together, give no share.
FEWEST_VOXELS = 50


@dataclass(frozen=True)
class Convention:
    """A difference that most patients of a site share.

    Attributes
    ----------
    code : str
        Key of :data:`.terms.CONVENTIONS`.
    share : float
        Of the median patient; for :data:`DISPLACED` the share of the patients.
    patients : int
        For whom it could be determined.
    accepted : bool
        Whether the user stated that it is the readers' convention.
    """

    code: str
    share: float
    patients: int
    accepted: bool = False

    @property
    def text(self) -> str:
        """What was found, a sentence."""
        _, usual, found, _ = CONVENTIONS[self.code]
        of = f"{self.patients} patients" if self.code == DISPLACED else f"median of {self.patients} patients"
        return f"{found.format(share=self.share)} ({of}; {usual:.0%} in the data of the default)."

    @property
    def statement(self) -> str:
        """The statement by which the user accepts it."""
        return CONVENTIONS[self.code][3]

    def to_warning(self) -> CaseWarning:
        """As a warning with code and figures."""
        return CaseWarning(self.text, self.code, share=round(self.share, 4), patients=self.patients)

    def to_dict(self) -> dict[str, Any]:
        """As in ``proof.json`` and the card."""
        return {**asdict(self), "share": round(self.share, 4), "text": self.text, "statement": self.statement}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Convention:
        """Inverse of :meth:`to_dict`."""
        return cls(kept["code"], kept["share"], kept["patients"], kept["accepted"])


def differences(base: np.ndarray, drawn: np.ndarray, reviewed: Sequence[int]) -> dict[str, list[int]]:
    """Voxels of one case that count for each code, and the base's voxels that they are a share of.

    Parameters
    ----------
    base, drawn : ndarray of uint8, shape (K, J, I)
        Result of the base, and the reader's labels, classes 0..3.
    reviewed : sequence of int
        Classes that were reviewed; of others it is unknown what the reader would have drawn.
    """
    found = {}
    for code, (by_base, by_reader) in _PAIRS.items():
        if LESION in reviewed and (by_reader == BACKGROUND or by_reader in reviewed):
            ours = base == by_base
            theirs = ~np.isin(drawn, reviewed) if by_reader == BACKGROUND else drawn == by_reader
            found[code] = [int((ours & theirs).sum()), int(ours.sum())]
    return found


def of_other_tissue(image: np.ndarray, drawn: np.ndarray, reviewed: Sequence[int]) -> dict[str, list[int]]:
    """Drawn pixels of one case with the intensity of normal brain, and all of their class, as :func:`differences`.

    Parameters
    ----------
    image : ndarray of float32, shape (slices, rows, columns)
        Normalised by the brain's median, in the model's frame.
    drawn : ndarray of uint8, same shape
        The reader's labels, classes 0..3.
    reviewed : sequence of int
        Classes that were reviewed.
    """
    found = {}
    for code, (value, darker, limit) in _TISSUE.items():
        if value in reviewed:
            inside = image[drawn == value]
            found[code] = [int((inside < limit).sum() if darker else (inside > limit).sum()), len(inside)]
    return found


def shared_by_most(
    differing: Sequence[Mapping[str, Sequence[int]]], patients: Sequence[str], accepted: Iterable[str] = ()
) -> list[Convention]:
    """The differences that the median patient has above the limit.

    Parameters
    ----------
    differing : sequence of mappings
        Of each case, see :func:`differences` and :func:`of_other_tissue`.
    patients : sequence of str
        Patient of each case.
    accepted : iterable of str
        Codes that the user accepts.
    """
    accepted, out = set(accepted), []
    for code in (*_PAIRS, *_TISSUE):
        sums: dict[str, np.ndarray] = {}
        for one, patient in zip(differing, patients, strict=True):
            sums[patient] = sums.get(patient, np.zeros(2)) + np.array(one.get(code, (0, 0)))
        shares = [part / whole for part, whole in sums.values() if whole >= FEWEST_VOXELS]
        if len(shares) >= FEWEST_PATIENTS and np.median(shares) > CONVENTIONS[code][0]:
            out.append(Convention(code, float(np.median(shares)), len(shares), code in accepted))
    return out


def displaced_alike(
    shifts: Sequence[tuple[int, int, int]], patients: Sequence[str], accepted: Iterable[str] = ()
) -> list[Convention]:
    """The displacement at which the masks of most patients fit their images better, if there is one.

    Parameters
    ----------
    shifts : sequence of tuple of int
        Of each case: slices, rows, columns to the place where its mask fits best (:class:`.evidence.Evidence`).
    patients : sequence of str
        Patient of each case.
    accepted : iterable of str
        Codes that the user accepts.
    """
    by_patient: dict[str, set[tuple[int, int, int]]] = {}
    for shift, patient in zip(shifts, patients, strict=True):
        by_patient.setdefault(patient, set()).add((shift[0], shift[1], shift[2]))
    counts = Counter(next(iter(own)) for own in by_patient.values() if len(own) == 1 and own != {(0, 0, 0)})
    share = counts.most_common(1)[0][1] / len(by_patient) if counts else 0.0
    if share <= CONVENTIONS[DISPLACED][0] or len(by_patient) < FEWEST_PATIENTS:
        return []
    return [Convention(DISPLACED, share, len(by_patient), DISPLACED in set(accepted))]


def held_back(word: str, reasons: list[str], conventions: Sequence[Convention]) -> tuple[str, list[str]]:
    """The verdict with what was not accepted: then nothing is called better.

    Parameters
    ----------
    word : str
        One of :data:`.terms.WORDS`, by the figures alone.
    reasons : list of str
    conventions : sequence of Convention
    """
    open_ones = [one for one in conventions if not one.accepted]
    if word != BETTER or not open_ones:
        return word, reasons
    return NO_DIFFERENCE, [
        *(one.text for one in open_ones),
        "The figures compare both models with these masks: whether the model improved depends on whether your readers "
        "intended to draw them this way. State it, or correct the masks.",
        f"Against the masks as drawn: {' '.join(reasons)}",
    ]
