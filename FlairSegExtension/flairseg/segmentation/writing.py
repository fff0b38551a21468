"""The files of a case, all or none: written under temporary names, checked, then renamed."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..files.atomic import all_or_none
from ..files.names import result_stem
from ..files.nifti import read_header, write_nifti
from ..files.same_input import already_there, check_new_results, fingerprint, refuse_other_input
from ..files.summary_paths import input_for_summary
from ..image.volume import volume_to_sitk
from ..io.raw_labels import LESION_MASK_DESCRIPTION, labels_description
from ..labels import LESION
from .result import Segmentation, provenance_tags

#: Ending of each file, in the order in which they are put in place: who sees the summary sees all the others.
ENDINGS = {
    "labels": "_labels.nii.gz",
    "segmentation": ".seg.nrrd",
    "overview": "_overview.png",
    "probabilities": "_probabilities.nii.gz",
    "disagreement": "_disagreement.nii.gz",
    "lesion_mask": "_lesion_mask.nii.gz",
    "lesions": "_lesions.csv",
    "summary": "_summary.json",
}
#: Name of the lesion mask in earlier versions, kept for scripts that ask for the mask by its option.
FORMER_MASK = "_lesions.nii.gz"
#: Compression level of zlib: for an overview, 2 takes two thirds of the time of 4 and gives a smaller file.
PNG_LEVEL = 2
#: A stem of BIDS entities; the image's suffix is no part of a derivative's name.
_BIDS_STEM = re.compile(r"(sub-[A-Za-z0-9]+(?:_[a-z]+-[A-Za-z0-9]+)*)(?:_FLAIR)?")


def file_names(stem: str) -> dict[str, str]:
    """Name of each file of a case, keys as in :data:`ENDINGS`.

    A stem of BIDS entities (``sub-01_ses-2``, ``sub-01_FLAIR``) gives the lesion mask its BIDS name,
    ``sub-01_ses-2_desc-lesion_mask.nii.gz``: the derivative's suffix replaces the image's.
    """
    names = {name: f"{stem}{ending}" for name, ending in ENDINGS.items()}
    if bids := _BIDS_STEM.fullmatch(stem):
        names["lesion_mask"] = f"{bids[1]}_desc-lesion_mask.nii.gz"
    return names


def _all_names(stem: str) -> list[str]:
    """Every name that results of a case have, or had in earlier versions."""
    return [*file_names(stem).values(), f"{stem}{FORMER_MASK}"]


def check_destination(output_dir: str | Path, stem: str, overwrite: bool = False) -> None:
    """Raise an error, before any work is done, if the output could not be written.

    Raises
    ------
    OutputError
        If results of that stem exist and may not be replaced, or the folder cannot be written to.
    """
    check_new_results(output_dir, _all_names(stem), f"Results of {stem}", overwrite)


def check_same_input(output_dir: str | Path, stem: str, source: str, content_sha256: str = "") -> None:
    """Refuse to replace results of that stem which belong to another input.

    Parameters
    ----------
    output_dir : path
    stem : str
    source : str
        As ``summary.json`` keeps it.
    content_sha256 : str
        :func:`flairseg.files.same_input.fingerprint` of the image; empty: the path alone decides.

    Raises
    ------
    OutputError
        Code ``other-input``.
    """
    folder = Path(output_dir)
    if already_there(folder, _all_names(stem)):
        refuse_other_input(folder / f"{stem}{ENDINGS['summary']}", stem, [(source, content_sha256)])


def write_segmentation(
    segmentation: Segmentation,
    output_dir: str | Path,
    stem: str | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    lesion_mask: bool = False,
    former_mask: bool = False,
) -> dict[str, Path]:
    """Write the files of a case, all or none; after a failure existing files are unchanged.

    ``<stem>_labels.nii.gz`` (uint8), ``<stem>.seg.nrrd`` (for 3D Slicer), ``<stem>_overview.png``,
    ``<stem>_lesions.csv``, ``<stem>_summary.json`` and, on request, ``<stem>_probabilities.nii.gz`` (float32, classes
    0..3 last) and, of an ensemble, ``<stem>_disagreement.nii.gz`` (float32, 0..1), and
    ``<stem>_lesion_mask.nii.gz`` (uint8, 0 and 1; of BIDS entities ``<entities>_desc-lesion_mask.nii.gz``).

    Parameters
    ----------
    segmentation : Segmentation
        Its ``seconds`` get ``write`` and a new ``total``.
    output_dir : path
        Created if need be.
    stem : str, optional
        Default: the case's name; in a folder inside of the input's own one that of the input
        (:func:`flairseg.files.names.result_stem`).
    probabilities : bool
        Also write the probabilities, and an ensemble's disagreement.
    overwrite : bool
        Replace existing results of this stem and input (all of them: probabilities of an earlier run do not stay
        behind).
    lesion_mask : bool
        Also write the lesions alone, 0 and 1, for programs that take every value for a lesion.
    former_mask : bool
        The same under the name of earlier versions, too (``<stem>_lesions.nii.gz``); a BIDS name has no other.

    Returns
    -------
    dict of str to Path
        ``labels``, ``segmentation``, ``overview``, ``lesions``, ``summary`` and perhaps ``probabilities``,
        ``disagreement``, ``lesion_mask``, ``former_mask``.

    Raises
    ------
    OutputError
        If results exist already, also of another input (code ``other-input``), or the files cannot be written
        (read-only, full disk).
    """
    began = time.perf_counter()
    folder = Path(output_dir)
    if stem is None:
        case, source = segmentation.volume.name, segmentation.source
        stem = result_stem(case, source, folder) if os.path.isabs(source) else case
    check_destination(folder, stem, overwrite)
    if not segmentation.input_sha256:
        segmentation = replace(segmentation, input_sha256=fingerprint(segmentation.volume))
    check_same_input(folder, stem, segmentation.source, segmentation.input_sha256)
    left_out = set() if probabilities else {"probabilities", "disagreement"}
    if not lesion_mask:
        left_out.add("lesion_mask")
    if segmentation.disagreement is None:
        left_out.add("disagreement")
    names = file_names(stem)
    if former_mask and names["lesion_mask"].startswith(f"{stem}_lesion"):
        names = {"former_mask": f"{stem}{FORMER_MASK}"} | names
    wanted = {name: file for name, file in names.items() if name not in left_out}
    before = segmentation.seconds.get("total", 0.0) - segmentation.seconds.get("write", 0.0)
    # The summary names its image as seen from where it is put.
    placed = replace(segmentation, source=input_for_summary(segmentation.source, folder))
    # Several files are about the lesions: found once.
    placed.lesion_map()
    with all_or_none(folder, wanted.values(), _all_names(stem)) as temporary:
        for name, file in wanted.items():
            segmentation.seconds["write"] = time.perf_counter() - began
            segmentation.seconds["total"] = before + segmentation.seconds["write"]
            _WRITERS[name](placed, temporary / file)
    return {name: folder / file for name, file in wanted.items()}


def write_part(segmentation: Segmentation, name: str, path: Path) -> None:
    """Write one of the files of a case separately, to any path that does not exist yet.

    Parameters
    ----------
    segmentation : Segmentation
    name : str
        Which, as in :data:`ENDINGS`.
    path : Path

    Raises
    ------
    OSError
        If it cannot be written, or does not read back unchanged.
    """
    _WRITERS[name](segmentation, path)


# --- the files


def _write_labels(segmentation: Segmentation, path: Path) -> None:
    said = labels_description(segmentation.labels, segmentation.card.classes)
    write_nifti(path, segmentation.labels, segmentation.volume, description=said)
    read_header(path)


def _write_lesion_mask(segmentation: Segmentation, path: Path) -> None:
    mask = (np.asarray(segmentation.labels) == LESION).view(np.uint8)
    write_nifti(path, mask, segmentation.volume, description=LESION_MASK_DESCRIPTION)
    read_header(path)


def _known(array: np.ndarray | None) -> np.ndarray:
    if array is None:
        raise ValueError("the segmentation does not have it")
    return array


def _write_probabilities(segmentation: Segmentation, path: Path) -> None:
    write_nifti(path, _known(segmentation.probabilities), segmentation.volume, np.float32)
    read_header(path)


def _write_disagreement(segmentation: Segmentation, path: Path) -> None:
    write_nifti(path, _known(segmentation.disagreement), segmentation.volume, np.float32)
    read_header(path)


def _write_segments(segmentation: Segmentation, path: Path) -> None:
    """The labels as 3D Slicer's own segmentation file: one shared layer, names, colours, terminology, provenance."""
    import SimpleITK as sitk

    image = volume_to_sitk(segmentation.volume.with_array(segmentation.labels))
    for key, value in segment_metadata(segmentation).items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetImageIO("NrrdImageIO")
    writer.UseCompressionOn()
    writer.SetCompressionLevel(2)
    try:
        writer.Execute(image)
        del image
        # teem does not report every failed write (a full disk), so look at what is really there.
        written = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(errno.EIO, "SimpleITK could not write the segmentation") from error
    found, labels = sitk.GetArrayViewFromImage(written), segmentation.labels
    if found.shape != labels.shape or not all(map(np.array_equal, found, labels)):
        raise OSError(errno.EIO, "what was written does not read back as it was")


def segment_metadata(segmentation: Segmentation) -> dict[str, str]:
    """Header fields that make a NRRD label map a Slicer segmentation (``.seg.nrrd``).

    Slicer takes the extent of a shared layer from its first segment, hence the whole grid for each. The conversion
    parameter "Reference image geometry" (affine to RAS, row by row, then first and last index of I, J, K) makes it keep
    the whole grid when it saves; without it the file is cut down to the segments. A class that the model does not know
    has no segment: an empty one would say that nothing was found.
    """
    extent = " ".join(f"0 {n - 1}" for n in segmentation.labels.shape[::-1])
    fields = {
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
        "Segmentation_ConversionParameters": _reference_geometry(segmentation),
    }
    provenance = provenance_tags(segmentation)
    for n, label_class in enumerate(segmentation.assessed_classes()):
        tags = {"TerminologyEntry": label_class.terminology_entry, **provenance}
        fields |= {
            f"Segment{n}_ID": label_class.id,
            f"Segment{n}_Name": label_class.name,
            f"Segment{n}_NameAutoGenerated": "0",
            f"Segment{n}_Color": " ".join(f"{c:.6g}" for c in label_class.rgb_unit),
            f"Segment{n}_ColorAutoGenerated": "0",
            f"Segment{n}_LabelValue": str(label_class.value),
            f"Segment{n}_Layer": "0",
            f"Segment{n}_Extent": extent,
            f"Segment{n}_Tags": "".join(f"{key}:{value}|" for key, value in tags.items()),
        }
    return fields


def _reference_geometry(segmentation: Segmentation) -> str:
    geometry = segmentation.volume.geometry
    numbers = [repr(float(x)) for x in geometry.ijk_to_ras.ravel()]
    extents = [str(n) for size in geometry.shape[::-1] for n in (0, size - 1)]
    text = "".join(f"{number};" for number in (*numbers, *extents))
    return f"Reference image geometry|{text}|Image geometry of the segmented volume&"


def _write_overview(segmentation: Segmentation, path: Path) -> None:
    from .overview import render_overview

    # By the file's ending Pillow loads the plugin for PNG alone.
    render_overview(segmentation).save(path, compress_level=PNG_LEVEL)


def _write_lesions(segmentation: Segmentation, path: Path) -> None:
    from ..anatomy.lesion_table import table_csv

    path.write_text(table_csv(segmentation.lesion_rows(), segmentation.volume.name), encoding="utf-8")


def _write_summary(segmentation: Segmentation, path: Path) -> None:
    summary = segmentation.summary()
    path.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_WRITERS = {
    "labels": _write_labels,
    "segmentation": _write_segments,
    "overview": _write_overview,
    "probabilities": _write_probabilities,
    "lesion_mask": _write_lesion_mask,
    "former_mask": _write_lesion_mask,
    "disagreement": _write_disagreement,
    "lesions": _write_lesions,
    "summary": _write_summary,
}
