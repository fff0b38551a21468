"""Every warning and every note that FlairSeg gives: its code, what it means, whether the result can be trusted.

The table of ``docs/messages.md`` is made of :data:`WARNINGS` (a test compares them), and a test holds it against the
codes in the sources. A code never changes its meaning: scripts rely on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import CaseWarning


@dataclass(frozen=True)
class WarningCode:
    """One kind of warning.

    Attributes
    ----------
    meaning : str
        Its meaning, one line.
    trusted : bool
        False where the result cannot be trusted: ``--strict`` ends with exit code 3.
    """

    meaning: str
    trusted: bool = True


def _not_trusted(meaning: str) -> WarningCode:
    return WarningCode(meaning, trusted=False)


WARNINGS: dict[str, WarningCode] = {
    # Reading: geometry
    "spacing-unknown": _not_trusted("The header gives no complete voxel size; 1 mm is assumed."),
    "positions-missing": _not_trusted("DICOM slices without positions; order and distance come from other attributes."),
    "orientation-unknown": _not_trusted("The header does not state the orientation; left and right are unknown."),
    "orientation-doubtful": _not_trusted("The handedness of the axes is invalid; left and right may be exchanged."),
    "negative-voxel-size": WarningCode("A negative voxel size; left and right may be exchanged."),
    "voxel-size-conflict": WarningCode("Two voxel sizes in one header; the one that was used is named."),
    "placements-reconciled": WarningCode("Mask and image agree in one of the two placements of their headers."),
    "placements-differ": WarningCode("sform and qform give different positions; the sform is used."),
    "unit-converted": WarningCode("Lengths in m or um were converted to mm."),
    "unit-unknown": _not_trusted("Lengths in an unknown unit were taken for mm."),
    "slice-distance-varies": WarningCode("The distance between slices varies; the mean is used."),
    "slices-missing": _not_trusted("Slices are farther apart than the header states: some are missing."),
    "slices-interpolated": WarningCode("dcm2niix interpolated slices to equal distances."),
    "slices-spaced-by-the-first": _not_trusted(
        "dcm2niix used the first of several slice distances for all slices; another file has equal distances."
    ),
    "wide-slice-gap": WarningCode("More than half of the head is between the slices, or slices are missing."),
    "slices-turned": WarningCode("Slices are rotated or shifted against each other."),
    "slabs-merged": WarningCode("The series consists of slabs that were merged."),
    "part-of-the-head": _not_trusted("Slices that do not fit were left out: a part of the head is missing."),
    "images-left-out": WarningCode("Other images of the series (echoes, repeats) were left out."),
    "fewer-images-than-announced": WarningCode("The headers state more images than are present."),
    "uid-shared": WarningCode("Different slices share one SOPInstanceUID."),
    "text-in-pixels": WarningCode("Text is burned into the pixels; pictures may show a name even under pseudonyms."),
    "lossy-compression": WarningCode("The DICOM images were compressed with loss."),
    "series-uids-differ": WarningCode("Slices of one volume have different UIDs of series or study; they were joined."),
    # Reading: voxels
    "voxels-not-finite": WarningCode("Voxels that are NaN or infinite were set to 0."),
    "intensities-shifted": WarningCode("The background was not at 0 (z-scored or shifted); its level was subtracted."),
    "background-within-tissue": WarningCode("Standardised and masked intensities: the background level was estimated."),
    "single-slice": _not_trusted("The image is a single slice."),
    "few-slices": _not_trusted("The image has fewer than six slices: a part of a head."),
    "stored-inverted": WarningCode("The image was stored inverted (MONOCHROME1)."),
    # Kind of image
    "not-mr": _not_trusted("The DICOM header names another modality than MR."),
    "doubtful-flair": WarningCode("The DICOM header contradicts a whole-head FLAIR."),
    "looks-like-noise": _not_trusted("The image looks like noise."),
    "looks-like-ct": _not_trusted("The image looks like a CT."),
    "looks-like-t1": _not_trusted("The image looks like a T1."),
    "looks-like-t2": _not_trusted("The image looks like a T2."),
    "no-brain-found": _not_trusted("No brain was found in the image."),
    "brain-mask-small": _not_trusted("Little of the head was recognised as brain."),
    "brain-size-implausible": _not_trusted("What looks like brain has an implausible size."),
    "no-dark-ventricles": _not_trusted("There are no dark ventricles in the middle of the image."),
    "tissue-uneven": _not_trusted("The presumed brain is very inhomogeneous."),
    "contrast-agent": WarningCode("The image was acquired with contrast agent, by its header, sidecar or name."),
    # Image quality of a cohort's sessions, see docs/cohorts.md
    "image-noisy": WarningCode("The noise in the brain exceeds the threshold."),
    "slices-displaced": WarningCode("Neighbouring slices are displaced: motion between slices."),
    "slice-brightness-uneven": WarningCode("A slice differs strongly from its neighbours in intensity."),
    "brain-cut-off": WarningCode("The image ends within the brain at the top or the bottom."),
    "slices-empty": _not_trusted("Slices within the head have no signal."),
    "slices-thick": WarningCode("The slice distance exceeds the threshold."),
    # The result
    "nothing-found": _not_trusted("Nothing was found although the image shows a brain."),
    "volume-implausible": _not_trusted("A class has an implausible volume."),
    "no-ventricles": _not_trusted("No ventricles were found in a whole brain."),
    "ventricles-bright": _not_trusted("The segmented ventricles are not darker than the brain."),
    "regions-unknown": WarningCode("The regions of the lesions could not be found."),
    "ventricles-not-labelled": WarningCode(
        "A label map without ventricles: contact with them was determined from image and atlas."
    ),
    "unlike-adaptation": WarningCode("The scan is unlike those that a model was adapted to; the one used is named."),
    # Adaptation
    "normal-drawn-as-lesions": WarningCode("A site's masks count normal periventricular hyperintensity as lesions."),
    "lesions-drawn-as-normal": WarningCode("A site's masks count lesions as normal periventricular hyperintensity."),
    "lesions-not-drawn": WarningCode("A site's masks omit much of the base's lesions."),
    "lesions-drawn-wide": WarningCode("Much of a site's drawn lesions is no brighter than normal brain."),
    "ventricles-drawn-wide": WarningCode("Much of a site's drawn ventricles is as bright as brain."),
    "masks-displaced-alike": WarningCode("A site's masks fit their images better at the same displacement."),
    "device-fallback": WarningCode("The requested device was not available; another one was used."),
    "ran-inside-slicer": WarningCode("The model ran inside Slicer, not in a separate process."),
    "report-without-pdf": WarningCode("The DICOM objects have no report."),
    # Follow-up
    "slice-thickness-differs": WarningCode("The slices of the studies differ much in thickness."),
    "planes-differ": WarningCode("The studies were sliced in different planes."),
    "labels-of-different-sources": WarningCode("The labels of the studies come from different models or readers."),
    "stable-lesions-differ": WarningCode(
        "Lesion volumes of the studies differ much, in lesions that are called stable: labels drawn differently?"
    ),
    "followup-of-other-images": _not_trusted("A report's follow-up does not include its image: another patient's?"),
    "patients-differ": _not_trusted("The headers of the studies name different patients."),
    "dates-out-of-order": _not_trusted("The studies are not in the order of their dates."),
    "same-image-twice": _not_trusted("Two studies are the same image: the absence of change is meaningless."),
    "studies-agree-poorly": _not_trusted("The aligned brains agree only moderately: the same patient?"),
    "alignment-uncertain": WarningCode("The alignment of the studies is uncertain."),
    "scale-drifts": WarningCode("The brain's size differs between the studies: a scanner's scale may have drifted."),
    # Label maps
    "overlapping-segments": WarningCode("Segments of several classes share voxels."),
    "labels-not-finite": WarningCode("Label voxels that are NaN or infinite count as background."),
    "several-values-in-mask": WarningCode("A binary mask holds several values; all count."),
    "reference-cropped": WarningCode("A reference covers a part of the image; outside it is background."),
    "unmapped-labels": WarningCode("Label values that the mapping does not name count as background."),
    "binary-mask-in-doubt": _not_trusted("A mask of one value whose meaning is unknown."),
    "labels-in-doubt": _not_trusted("Label values of unknown origin are read as FlairSeg's own."),
    "other-segments": WarningCode("Segments of other structures were left out."),
    "segment-name-against-id": WarningCode("A segment's name and id disagree; the id counts."),
    # Evaluation
    "mask-resampled": WarningCode("A mask on another grid than its reference was interpolated onto it."),
    "mask-moved": WarningCode("A mask has its reference's size but another position in its header."),
    "mask-outside-reference": WarningCode("A mask marks voxels outside its reference; they are not counted."),
    "mask-without-reference": WarningCode("Masks without a reference were left out."),
    "reference-without-mask": WarningCode("A method has no mask of some references."),
    "class-not-in-references": WarningCode("The references contain no voxel of a class: no results for it."),
    "class-not-in-method": WarningCode("A method does not segment a class: no results for it."),
    "references-undivided": WarningCode("The references do not distinguish normal from abnormal WMH."),
    "empty-masks": WarningCode("A mask or its reference is empty in some cases."),
    "patients-repeated": WarningCode("Several cases of an evaluation are of one patient: intervals are too narrow."),
    "cases-not-evaluated": WarningCode("Some cases could not be evaluated."),
    # Review and reader studies
    "probabilities-left-out": WarningCode("Probabilities cannot be used: no confidence and no expected correction."),
    "corrections-left-out": WarningCode("Corrections beside a label map cannot be read."),
    "version-left-out": WarningCode("An archived version cannot be read."),
    "summary-left-out": WarningCode("A summary that cannot be read was left out."),
    "image-left-out": WarningCode("An image of the folders was not included in the study protocol."),
    "key-inside-study": WarningCode("Protocol and key are in a folder that raters may be able to open."),
    "excluded-after-unsealing": WarningCode("A case was excluded after unblinding."),
    "table-encoding-guessed": WarningCode("A table is not UTF-8 and was read as Windows-1252."),
    "answers-read-with-care": WarningCode("Answers to a question were interpreted as reported."),
    "response-type-guessed": WarningCode("The response type of a question was inferred from its answers."),
    "stated-type-unused": WarningCode("A response type was stated for an unknown question or type."),
    "damaged-files": WarningCode("Some DICOM files of the folder cannot be read."),
    "note": WarningCode("A warning without code, from an earlier version."),
}
#: Notes without doubt; under ``information`` in ``summary.json``.
INFORMATION: dict[str, str] = {
    "series-chosen": "Which DICOM series was taken, and why.",
    "slices-used": "How many images of the DICOM series are used.",
    "copies-left-out": "Duplicate images were used once.",
    "captures-left-out": "Screen captures and localizers within the series were left out.",
    "images-beside": "Image files beside the DICOM images of a folder were not read.",
    "padding": "PixelPaddingValue counts as background.",
}


def untrusted(warnings: Iterable[str]) -> list[CaseWarning]:
    """Those of some warnings after which a result cannot be trusted.

    Parameters
    ----------
    warnings : iterable of str or CaseWarning

    Returns
    -------
    list of CaseWarning
        A code that is not in the table is trusted: it comes from another version.
    """
    unknown = WarningCode("")
    return [w for w in map(CaseWarning.of, warnings) if not WARNINGS.get(w.code, unknown).trusted]


def table() -> str:
    """The tables of ``docs/messages.md`` in Markdown."""
    lines = ["| code | meaning | `--strict` |", "|---|---|---|"]
    lines += [f"| `{code}` | {kind.meaning} | {'' if kind.trusted else 'exit 3'} |" for code, kind in WARNINGS.items()]
    notes = ["| code | meaning |", "|---|---|", *(f"| `{code}` | {text} |" for code, text in INFORMATION.items())]
    return "\n".join([*lines, "", "## Information", "", *notes])
