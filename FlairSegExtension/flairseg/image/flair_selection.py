"""Propose the FLAIR among several loaded volumes, with a reason in one line and its doubts.

What is known of a volume is weighed in the order in which it can be trusted: what the scanner wrote (inversion and echo
time, modality), what people wrote (series description, protocol, name, file name), what the voxels are (label map,
colour, one slice, Hounsfield units). Nothing is decided for the user: a proposal is a preselection, a doubt a warning.

Values of the inversion and echo time that tell a FLAIR from other sequences: R. Bitar et al., RadioGraphics 2006,
doi:10.1148/rg.262055063; FLAIR nulls fluid at 1.5 and 3 T with 1700 to 2800 ms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: Kinds of volume, beside one scalar value per voxel.
SCALAR, LABEL_MAP, COLOUR, SERIES, DIFFUSION = "scalar", "label map", "colour", "4-D", "diffusion"

#: Inversion times (ms) that null fluid, those of T1 (MPRAGE, T1 FLAIR) and of STIR; echo time (ms) of T2 weighting.
FLAIR_TI_MS, T1_TI_MS, STIR_TI_MS = (1500.0, 3200.0), (400.0, 1500.0), (80.0, 300.0)
LONG_TE_MS = 60.0
#: Repetition and echo time (ms) from which an inversion recovery sequence without a stated inversion time is rather a
#: FLAIR than a STIR or a T1.
IR_TR_MS, IR_TE_MS = 4000.0, 75.0
#: Share of voxels below -300 that only a CT has; see :mod:`flairseg.segmentation.quality`.
CT_LEVEL, CT_SHARE = -300.0, 0.05
#: A volume of fewer slices is a localiser or a part of a head.
FEW_SLICES = 6
#: A volume of at most this many distinct whole values is a label map.
LABEL_VALUES = 16
#: Smallest field of view across the second-largest direction, mm, that can hold a brain.
BRAIN_MM = 110.0


@dataclass(frozen=True)
class Candidate:
    """Known properties of one loaded volume.

    Attributes
    ----------
    key : str
        The caller's key (in Slicer: the node's ID).
    name, file_name : str
        Shown name; name of the file it came from, without folders.
    header : mapping of str to str
        DICOM attributes by keyword, as far as known: ``Modality``, ``SeriesDescription``, ``ProtocolName``,
        ``SequenceName``, ``ImageType``, ``InversionTime``, ``EchoTime``, ``RepetitionTime``, ``ScanningSequence``,
        ``AcquisitionContrast``. Nothing that identifies a patient is used.
    kind : str
        :data:`SCALAR`, :data:`LABEL_MAP`, :data:`COLOUR`, :data:`SERIES` or :data:`DIFFUSION`.
    shape : tuple of int
        Voxels along K, J, I.
    spacing : tuple of float
        Voxel size along K, J, I, mm.
    sample : ndarray, optional
        Some of the voxels, spread over the whole volume; a few thousand are enough.
    """

    key: str
    name: str
    file_name: str = ""
    header: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    kind: str = SCALAR
    shape: tuple[int, int, int] = (0, 0, 0)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    sample: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Doubt:
    """A reason to doubt a volume, with advice."""

    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


@dataclass(frozen=True)
class Verdict:
    """Assessment of one candidate.

    Attributes
    ----------
    key : str
        The candidate's.
    score : float
        Above 0: evidence for FLAIR; below 0: evidence against it.
    reasons : tuple of str
        Evidence for FLAIR, strongest first, each fit for "because ...".
    doubts : tuple of Doubt
        Evidence against it, strongest first.
    usable : bool
        Whether it can be segmented at all.
    """

    key: str
    score: float
    reasons: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    usable: bool = True


@dataclass(frozen=True)
class Proposal:
    """The volume to preselect.

    Attributes
    ----------
    key : str or None
        Of the proposed candidate; None if none of them looks like a FLAIR.
    reason : str
        One line: why this one, or why none.
    verdicts : mapping of str to Verdict
        Assessment of each candidate, by key.
    """

    key: str | None
    reason: str
    verdicts: Mapping[str, Verdict]


_FLAIR = re.compile(
    r"flair|dark[ _-]*(fluid|fl)(?![a-z])|fluid[ _-]*att|(?<![a-z])tirm[ _-]*(tra|sag|cor|da)?[ _-]*dark"
)
_T1_FLAIR = re.compile(r"(?<![a-z0-9])t1[ _-]*(w[ _-]*)?flair")
_MADE_FROM_FLAIR = re.compile(
    r"(?<![a-z])(mask|seg|segmentation|labels?|labelmap|prob|probabilit|probabilities|confidence|lesions?|diff|subtract)"
    r"(?![a-z])"
)
#: Other images by the words in their names. First hit wins; ``(?<![a-z0-9])`` keeps "patient1" from being a T1.
_OTHERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"(?<![a-z0-9])({words})"), what)
    for words, what in (
        (r"adc|apparent|eadc", "an ADC map"),
        (r"dwi|dti|diff|trace|b[_ ]?1000|ep2d", "a diffusion image"),
        (r"fa(?![a-z0-9])|colfa|tensor", "a diffusion map"),
        (r"locali[sz]er|scout|survey|3[ -]?plane|aahead", "a localiser"),
        (r"swi|swan|venobold|minip|gre(?![a-z])|t2s(tar)?(?![a-z])|t2\*", "a susceptibility-weighted image"),
        (r"tof|mra|angio|mip(?![a-z])", "an angiogram"),
        (r"pwi|perf|cbf|cbv|mtt|tmax|asl", "a perfusion image"),
        (r"bold|fmri", "a functional image"),
        (r"stir(?![a-z])", "a STIR"),
        (r"dir(?![a-z])|double ?ir", "a double inversion recovery image"),
        (r"psir|mp2?[ -]?rage|spgr|fspgr|bravo|tfl(?![a-z])|t1(?![0-9])", "a T1"),
        (r"t2(?![0-9])|ciss|fiesta|haste", "a T2"),
        (r"pd(?![a-z])|proton|dp(?![a-z])", "a proton density image"),
        (r"ct(?![a-z])|ncct|cta", "a CT"),
        (r"pet(?![a-z])|fdg|suv", "a PET"),
        (r"mask|seg(?![a-z])|segmentation|labels?(?![a-z])|labelmap|aseg|aparc", "a mask"),
    )
)
_MODALITIES = {"CT": "a CT", "PT": "a PET", "NM": "a nuclear medicine image", "US": "an ultrasound", "SEG": "a mask"}
_CHOOSE = "Choose the brain FLAIR, or go on if the name is wrong."
_CHOOSE_OTHER = "Choose the brain FLAIR."


def propose(candidates: Iterable[Candidate]) -> Proposal:
    """The candidate that looks most like a FLAIR, with the reason in one line.

    Parameters
    ----------
    candidates : iterable of Candidate
        In the order in which they were loaded: of equals, the one loaded last wins.

    Returns
    -------
    Proposal
    """
    candidates = list(candidates)
    verdicts = {candidate.key: examine(candidate) for candidate in candidates}
    if not candidates:
        return Proposal(None, "No volume is loaded yet.", verdicts)
    order = {candidate.key: n for n, candidate in enumerate(candidates)}
    ranked = sorted(candidates, key=lambda c: (verdicts[c.key].score, order[c.key]), reverse=True)
    best = verdicts[ranked[0].key]
    if best.usable and best.score > 0:
        rivals = sum(1 for v in verdicts.values() if v.usable and v.score == best.score) - 1
        last = f"; of {rivals + 1} like it, it was loaded last" if rivals else ""
        return Proposal(best.key, f"Proposed because {best.reasons[0]}{last}.", verdicts)
    if best.usable and best.score == 0 and not best.doubts and len(candidates) == 1:
        return Proposal(best.key, "Proposed because it is the only volume loaded; its name is uninformative.", verdicts)
    usable = [c for c in ranked if verdicts[c.key].usable and not verdicts[c.key].doubts]
    if len(usable) == 1 and verdicts[usable[0].key].score == 0:
        return Proposal(usable[0].key, "Proposed because all other volumes are clearly not FLAIR.", verdicts)
    if len(candidates) == 1:
        return Proposal(None, "The only volume loaded does not look like a FLAIR. Choose it to see why.", verdicts)
    return Proposal(None, "None of the loaded volumes is identified as a FLAIR. Choose one.", verdicts)


def examine(candidate: Candidate) -> Verdict:
    """Assess one candidate.

    Parameters
    ----------
    candidate : Candidate

    Returns
    -------
    Verdict
    """
    refusal = _refusal(candidate)
    if refusal is not None:
        return Verdict(candidate.key, -100.0, (), (refusal,), usable=False)
    score, reasons, doubts = 0.0, [], []
    for points, reason, doubt in (*_by_times(candidate), *_by_words(candidate), *_by_voxels(candidate)):
        score += points
        if reason:
            reasons.append(reason)
        if doubt is not None:
            doubts.append(doubt)
    return Verdict(candidate.key, score, tuple(reasons), tuple(dict.fromkeys(doubts)))


_Finding = tuple[float, str, "Doubt | None"]


def _refusal(candidate: Candidate) -> Doubt | None:
    """Why a volume cannot be segmented at all."""
    if candidate.kind == LABEL_MAP:
        return Doubt("This is a label map, not an image.", "Choose the FLAIR that it was drawn on.")
    if candidate.kind == COLOUR:
        return Doubt(
            "This is a colour image (several values per voxel).",
            "Choose the original FLAIR, not a screenshot or fusion.",
        )
    if candidate.kind == SERIES:
        return Doubt("This is a 4-D series.", "Choose a volume with one time point.")
    if candidate.kind == DIFFUSION:
        return Doubt("This is a diffusion volume.", _CHOOSE_OTHER)
    if 0 in candidate.shape:
        return Doubt("This volume has no voxels.", "Load the FLAIR again.")
    return None


def _by_times(candidate: Candidate) -> list[_Finding]:
    """Assess by the scanner's acquisition parameters."""
    header = candidate.header
    modality = header.get("Modality", "").strip().upper()
    if modality in _MODALITIES:
        return [(-8.0, "", Doubt(f"The DICOM header says that this is {_MODALITIES[modality]}.", _CHOOSE_OTHER))]
    inversion, echo = _number(header.get("InversionTime")), _number(header.get("EchoTime"))
    if "FLUID_ATTENUATED" in header.get("AcquisitionContrast", "").upper():
        # Enhanced MR (DICOM PS3.3, C.8.13.3.3) has its own term for it.
        return [(6.0, "its header says that fluid is attenuated", None)]
    if inversion is None or inversion <= 0:
        return _by_inversion_recovery(header, echo)
    if FLAIR_TI_MS[0] <= inversion <= FLAIR_TI_MS[1] and (echo is None or echo >= LONG_TE_MS):
        te = f", echo time {echo:.0f} ms" if echo is not None else ""
        return [(6.0, f"its inversion time nulls fluid (TI {inversion:.0f} ms{te})", None)]
    if T1_TI_MS[0] <= inversion < T1_TI_MS[1]:
        message = f"The inversion time ({inversion:.0f} ms) is that of a T1."
        return [(-6.0, "", Doubt(message, _CHOOSE_OTHER))]
    if STIR_TI_MS[0] <= inversion <= STIR_TI_MS[1]:
        message = f"The inversion time ({inversion:.0f} ms) is that of a STIR: it nulls fat, not fluid."
        return [(-6.0, "", Doubt(message, _CHOOSE_OTHER))]
    return []


def _by_inversion_recovery(header: Mapping[str, str], echo: float | None) -> list[_Finding]:
    """Assess inversion recovery without a stated inversion time."""
    repetition = _number(header.get("RepetitionTime"))
    words = header.get("ScanningSequence", "").upper().split("\\")
    if "IR" in words and (repetition or 0) >= IR_TR_MS and (echo or 0) >= IR_TE_MS:
        times = f"TR {repetition:.0f} ms, echo time {echo:.0f} ms"
        return [(2.0, f"it is an inversion recovery with the long times of a FLAIR ({times})", None)]
    return []


def _by_words(candidate: Candidate) -> list[_Finding]:
    """Assess by text: series description and protocol before name and file name."""
    header = candidate.header
    out: list[_Finding] = []
    if re.search(r"(?<![A-Z])(ADC|PROJECTION IMAGE|LOCALIZER)(?![A-Z])", header.get("ImageType", "").upper()):
        out.append((-6.0, "", Doubt("By its DICOM header this is a derived image or a localiser.", _CHOOSE_OTHER)))
    sources = (
        ("the DICOM series description", header.get("SeriesDescription", ""), 4.0),
        ("the DICOM protocol name", header.get("ProtocolName", ""), 3.0),
        ("its name", candidate.name, 3.0),
        ("the file name", candidate.file_name, 2.0),
    )
    for where, text, points in sources:
        words = _plain(text)
        if not words:
            continue
        if _T1_FLAIR.search(words):
            return [
                *out,
                (-1.0, "", Doubt(f"{_upper(where)} says T1 FLAIR: on some scanners that is a T1.", _CHOOSE)),
            ]
        if _FLAIR.search(words):
            if where in ("its name", "the file name") and _MADE_FROM_FLAIR.search(words):
                doubt = Doubt(f"{_upper(where)} says that this was made from a FLAIR.", "Choose the FLAIR itself.")
                return [*out, (-3.0, "", doubt)]
            return [*out, (points, f"{where} says FLAIR", None)]
    for where, text, points in sources:
        words = _plain(text)
        what = next((what for pattern, what in _OTHERS if pattern.search(words)), None)
        if what is not None:
            doubt = Doubt(f"{_upper(where)} says that this is {what}, not a FLAIR.", _CHOOSE)
            return [*out, (-points, "", doubt)]
    return out


def _by_voxels(candidate: Candidate) -> list[_Finding]:
    """Assess by the voxels."""
    out: list[_Finding] = []
    shape, sample = candidate.shape, candidate.sample
    if all(shape):
        slices = min(shape)
        if slices == 1:
            message = "This is a single slice: adjacent slices are missing, so expect more errors."
            out.append((-3.0, "", Doubt(message, "Choose a whole FLAIR, if there is one.")))
        elif slices < FEW_SLICES:
            message = f"This has {slices} slices only: a localiser, or a part of a head."
            out.append((-3.0, "", Doubt(message, "Choose a whole FLAIR, if there is one.")))
        extent = sorted(n * mm for n, mm in zip(shape, candidate.spacing, strict=True))
        if extent[1] < BRAIN_MM:
            message = f"This covers {extent[2]:.0f} x {extent[1]:.0f} mm, less than a brain."
            out.append((-2.0, "", Doubt(message, "Check that this is a whole head, with the right voxel size.")))
    if sample is not None and sample.size:
        out += _by_values(sample)
    return out


def _by_values(sample: np.ndarray) -> list[_Finding]:
    import numpy as np

    values = sample[np.isfinite(sample)].astype(np.float32, copy=False)
    if values.size == 0:
        return [(-8.0, "", Doubt("The voxels contain no finite values.", "Export the FLAIR again."))]
    if float(np.mean(values < CT_LEVEL)) > CT_SHARE:
        return [(-8.0, "", Doubt("This looks like a CT (Hounsfield units), not an MRI.", _CHOOSE_OTHER))]
    distinct = np.unique(values)
    if distinct.size == 1:
        return [(-8.0, "", Doubt("All voxels have the same value.", "Load or export the FLAIR again."))]
    if distinct.size <= LABEL_VALUES and bool(np.all(distinct == np.rint(distinct))):
        message = f"This looks like a mask: it contains only {distinct.size} different values."
        return [(-6.0, "", Doubt(message, "Choose the FLAIR that it was drawn on."))]
    return []


def _plain(text: str) -> str:
    """Lower case, without accents; underscores and the like stay, as they part words."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def _number(text: str | None) -> float | None:
    """First value of a DICOM decimal string (several are parted by backslashes); None if there is none."""
    try:
        return float((text or "").split("\\")[0].strip())
    except ValueError:
        return None


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
