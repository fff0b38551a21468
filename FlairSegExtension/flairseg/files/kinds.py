"""File kinds of images, by content and name, and advice for those that FlairSeg does not read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ..errors import UnreadableImageError
from .dicom_marks import has_dicom_mark
from .nifti import first_bytes

#: Known endings and the kind of file that each promises; the longest ending counts.
ENDINGS = {
    ".nii.gz": "NIfTI (gzip)",
    ".nii": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
_EXPORT = "Export the image again as .nii.gz, .nrrd or .mha, for instance from 3D Slicer."
_UNPACK = "Unpack it ({command} {file}) and give the image, or the folder of the DICOM series, that is inside."
_READS = "FlairSeg reads .nii and .nii.gz."
_DCM2NIIX = "Convert it to .nii.gz with dcm2niix, or export the series as DICOM."
_PAIR = (
    "Convert the pair to one .nii.gz, for instance with FSL: fslchfiletype NIFTI_GZ {file}, with nibabel: nib-convert "
    "{header} {stem}.nii.gz, or with 3D Slicer (load the .hdr, save as .nii.gz)."
)
_ANALYZE = (
    "Convert it to .nii.gz with a program that knows which side is left (SPM's and FSL's Analyze files differ), and "
    "check the sides."
)
_MGH = (
    "Convert it to .nii.gz, for instance with FreeSurfer: mri_convert {file} {stem}.nii.gz, with nibabel: nib-convert "
    "{file} {stem}.nii.gz, or with 3D Slicer."
)
_NIFTI_2 = (
    'Convert it to NIfTI-1, for instance with nibabel: python -c "import nibabel as n; '
    'n.save(n.Nifti1Image.from_image(n.load({source})), {target})".'
)
_NO_HEADER = "Copy the .hdr file that belongs to it beside it, then convert the two to one .nii.gz."
_MGH_KIND, _MISNAMED_MGH = "FreeSurfer volume", "FreeSurfer volume under another name"
#: Kinds that FlairSeg does not read -> what helps.
ADVICE = {
    _MGH_KIND: _MGH,
    _MISNAMED_MGH: "Convert it with FreeSurfer: mri_convert -it mgz {file} {stem}_1.nii.gz.",
    "NIfTI pair (.hdr and .img)": _PAIR,
    "NIfTI-2": _NIFTI_2,
    "Analyze 7.5 header": _ANALYZE,
    "Analyze 7.5 image": _ANALYZE,
    "voxel file (.img) without its header (.hdr)": _NO_HEADER,
    "tar archive": _UNPACK.replace("{command}", "tar -xf"),
    "zip archive": _UNPACK.replace("{command}", "unzip"),
    "7-Zip archive": _UNPACK.replace("{command}", "7z x"),
    "RAR archive": _UNPACK.replace("{command}", "unrar x"),
    "bzip2 file": f"Unpack it: bunzip2 {{file}}. {_READS}",
    "xz file": f"Unpack it: unxz {{file}}. {_READS}",
    "Zstandard file": f"Unpack it: unzstd {{file}}. {_READS}",
    "MINC file": "Convert it to .nii.gz: mnc2nii {file} {stem}.nii, or load it in 3D Slicer and save it as .nii.gz.",
    "HDF5 file": _EXPORT,
    "AFNI data set": "Convert it with AFNI: 3dAFNItoNIFTI -prefix {stem}.nii.gz {file}.",
    "Philips PAR/REC file": _DCM2NIIX,
    "PNG picture": _EXPORT,
    "JPEG picture": _EXPORT,
    "TIFF picture": _EXPORT,
    "PDF document": _EXPORT,
}
_MAGIC = (
    (b"\x89PNG", "PNG picture"),
    (b"\xff\xd8\xff", "JPEG picture"),
    (b"II*\0", "TIFF picture"),
    (b"MM\0*", "TIFF picture"),
    (b"%PDF", "PDF document"),
    (b"PK", "zip archive"),
    (b"7z\xbc\xaf", "7-Zip archive"),
    (b"Rar!", "RAR archive"),
    (b"BZh", "bzip2 file"),
    (b"\xfd7zXZ", "xz file"),
    (b"\x28\xb5\x2f\xfd", "Zstandard file"),
    (b"CDF", "MINC file"),
    (b"\x89HDF", "HDF5 file"),
    (b"# === DATA DESCRIPTION FILE", "Philips PAR/REC file"),
)
#: Extensions that identify the kind where the content does not.
_NAMES = (
    ((".mgz", ".mgh", ".mgh.gz"), _MGH_KIND),
    ((".hdr", ".hdr.gz"), "Analyze 7.5 header"),
    ((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), "tar archive"),
    ((".mnc", ".mnc.gz"), "MINC file"),
    ((".head", ".brik", ".brik.gz"), "AFNI data set"),
    ((".par", ".rec"), "Philips PAR/REC file"),
)
_HEADER_LENGTH = 348
#: Endings that are no part of the name of what a command makes.
_FOREIGN_ENDING = r"(\.nii|\.hdr|\.img|\.mgz|\.mgh|\.mnc|\.brik|\.head)?(\.gz|\.bz2|\.xz)?$"


def ending_of(path: Path) -> str | None:
    """The ending of :data:`ENDINGS` that a name has, if any."""
    return next((e for e in ENDINGS if path.name.lower().endswith(e)), None)


def kind_of(path: Path, head: bytes, content: bytes) -> str | None:
    """Kind of a file, in the words of :data:`ENDINGS` where FlairSeg reads it.

    Parameters
    ----------
    path : Path
        Used where the content is not decisive.
    head : bytes
        Its first 512 bytes.
    content : bytes
        The same after decompression, where it is gzip.
    """
    zipped = head[:2] == b"\x1f\x8b"
    found = _by_content(content)
    if found == "NIfTI" and path.name.lower().endswith((".hdr", ".hdr.gz", ".img", ".img.gz")):
        return "NIfTI pair (.hdr and .img)"
    if zipped and found in (None, "NIfTI"):
        by_name = _by_name(path) if found is None else None
        return by_name or "NIfTI (gzip)"
    if found == "HDF5 file" and path.suffix.lower() == ".mnc":
        return "MINC file"
    return found or _by_name(path)


def _by_content(content: bytes) -> str | None:
    if content[:4] == b"NRRD":
        return "NRRD"
    if content[344:347] == b"n+1":
        return "NIfTI"
    if content[344:347] == b"ni1":
        return "NIfTI pair (.hdr and .img)"
    if content[4:7] in (b"n+2", b"ni2"):
        return "NIfTI-2"
    if has_dicom_mark(content):
        return "DICOM"
    if content[257:262] == b"ustar":
        return "tar archive"
    if content[:4] == b"\0\0\0\1" and len(content) > 284:
        return _MGH_KIND
    if any(int.from_bytes(content[:4], order) == _HEADER_LENGTH for order in ("little", "big")):
        return "Analyze 7.5 header"
    if any(key in content for key in (b"ObjectType", b"NDims")):
        return "MetaImage"
    return next((kind for start, kind in _MAGIC if content.startswith(start)), None)


def _by_name(path: Path) -> str | None:
    name = path.name.lower()
    if name.endswith((".img", ".img.gz")):
        return _voxel_file(path)
    return next((kind for endings, kind in _NAMES if name.endswith(endings)), None)


def _voxel_file(path: Path) -> str:
    """Return the kind of an ``.img`` voxel file, by the header beside it."""
    stem = path.name[: path.name.lower().rindex(".img")]
    for ending in (".hdr", ".hdr.gz", ".HDR"):
        try:
            kind = _by_content(first_bytes(path.with_name(stem + ending), _HEADER_LENGTH))
        except OSError:
            continue
        return "Analyze 7.5 image" if kind == "Analyze 7.5 header" else "NIfTI pair (.hdr and .img)"
    return "voxel file (.img) without its header (.hdr)"


def _advice(path: Path, kind: str) -> str:
    """Return the advice, with the file quoted for a shell."""
    stem = re.sub(_FOREIGN_ENDING, "", path.name, flags=re.IGNORECASE)
    zipped = ".gz" * path.name.lower().endswith(".gz")
    names = {"file": path.name, "stem": stem, "header": f"{stem}.hdr{zipped}"}
    if kind == _MGH_KIND and _by_name(path) != kind:
        kind = _MISNAMED_MGH
    quoted = {key: shlex.quote(name) for key, name in names.items()}
    return ADVICE.get(kind, _EXPORT).format(source=repr(path.name), target=repr(f"{stem}_1.nii.gz"), **quoted)


def wrong_kind(path: Path, ending: str | None, kind: str | None, empty: bool) -> UnreadableImageError:
    """Error for a file whose content is not what its name promises, or that FlairSeg does not read at all."""
    known = ", ".join(ENDINGS)
    if empty:
        return UnreadableImageError(
            f"{path.name} is empty (0 bytes).", "Copy or export the file again.", code="empty-file"
        )
    if kind == "DICOM":
        return UnreadableImageError(
            f"{path.name} is one DICOM file.",
            "Give the folder that holds the whole series instead of a single file.",
            code="single-dicom-file",
        )
    endings = [e for e, k in ENDINGS.items() if k == kind]
    promise = f", not {ENDINGS[ending]} as its name says" if ending else ""
    if kind is None:
        what = f"is not {ENDINGS[ending]}, although its name says so" if ending else "has no known file extension"
        return UnreadableImageError(
            f"{path.name} {what}.", f"Known endings are {known}; or give a DICOM folder.", code="unknown-format"
        )
    if not endings:
        article = "an" if kind[0] in "AE" else "a"
        return UnreadableImageError(
            f"{path.name} is {article} {kind}{promise}.",
            _advice(path, kind),
            code="foreign-format",
            kind=kind,
            file=path.name,
        )
    return UnreadableImageError(
        f"{path.name} looks like {kind}{promise}.",
        f"Rename it so that it ends in {endings[0]}.",
        code="misnamed-file",
        kind=kind,
        file=path.name,
    )
