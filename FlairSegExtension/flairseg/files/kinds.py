"""What kind of file an image is, by its content and its name, and what helps with those that FlairSeg does not read."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnreadableImageError

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
_UNPACK = "Unpack it and give the image, or the folder of the DICOM series, that is inside."
_DCM2NIIX = "Convert it to .nii.gz with dcm2niix, or export the series as DICOM."
_PAIR = (
    "Convert the pair to one .nii.gz, for instance with 3D Slicer (load the .hdr, save as .nii.gz), FSL's "
    "fslchfiletype NIFTI_GZ or nibabel."
)
_ANALYZE = (
    "Convert it to .nii.gz with a program that knows which side is left (SPM's and FSL's Analyze files differ), and "
    "check the sides."
)
_MGH = "Convert it to .nii.gz with FreeSurfer's mri_convert, or load it in 3D Slicer and save it as .nii.gz."
#: Kinds that FlairSeg does not read -> what helps.
ADVICE = {
    "FreeSurfer volume": _MGH,
    "NIfTI pair (.hdr and .img)": _PAIR,
    "NIfTI-2": _EXPORT,
    "Analyze 7.5 header": _ANALYZE,
    "voxel file (.img) of a NIfTI or Analyze pair": _PAIR,
    "tar archive": _UNPACK,
    "zip archive": _UNPACK,
    "7-Zip archive": _UNPACK,
    "RAR archive": _UNPACK,
    "bzip2 file": "Unpack it (bunzip2); FlairSeg reads .nii and .nii.gz.",
    "xz file": "Unpack it (unxz); FlairSeg reads .nii and .nii.gz.",
    "Zstandard file": "Unpack it (unzstd); FlairSeg reads .nii and .nii.gz.",
    "MINC file": "Convert it to .nii.gz with mnc2nii, or load it in 3D Slicer and save it as .nii.gz.",
    "AFNI data set": "Convert it to .nii.gz with AFNI's 3dAFNItoNIFTI.",
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
    (b"\x89HDF", "MINC file"),
    (b"# === DATA DESCRIPTION FILE", "Philips PAR/REC file"),
)
#: Endings that tell the kind where the content does not.
_NAMES = (
    ((".mgz", ".mgh", ".mgh.gz"), "FreeSurfer volume"),
    ((".img", ".img.gz"), "voxel file (.img) of a NIfTI or Analyze pair"),
    ((".hdr", ".hdr.gz"), "Analyze 7.5 header"),
    ((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), "tar archive"),
    ((".mnc", ".mnc.gz"), "MINC file"),
    ((".head", ".brik", ".brik.gz"), "AFNI data set"),
    ((".par", ".rec"), "Philips PAR/REC file"),
)
_HEADER_LENGTH = 348


def ending_of(path: Path) -> str | None:
    """The ending of :data:`ENDINGS` that a name has, if any."""
    return next((e for e in ENDINGS if path.name.lower().endswith(e)), None)


def kind_of(path: Path, head: bytes, content: bytes) -> str | None:
    """Kind of a file, in the words of :data:`ENDINGS` where FlairSeg reads it.

    Parameters
    ----------
    path : Path
        For what the content does not tell.
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
    if content[128:132] == b"DICM":
        return "DICOM"
    if content[257:262] == b"ustar":
        return "tar archive"
    if content[:4] == b"\0\0\0\1" and len(content) > 284:
        return "FreeSurfer volume"
    if any(int.from_bytes(content[:4], order) == _HEADER_LENGTH for order in ("little", "big")):
        return "Analyze 7.5 header"
    if any(key in content for key in (b"ObjectType", b"NDims")):
        return "MetaImage"
    return next((kind for start, kind in _MAGIC if content.startswith(start)), None)


def _by_name(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for endings, kind in _NAMES if name.endswith(endings)), None)


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
        what = f"is not {ENDINGS[ending]}, although its name says so" if ending else "has no ending that FlairSeg knows"
        return UnreadableImageError(
            f"{path.name} {what}.", f"Known endings are {known}; or give a DICOM folder.", code="unknown-format"
        )
    if not endings:
        article = "an" if kind[0] in "AE" else "a"
        return UnreadableImageError(
            f"{path.name} is {article} {kind}{promise}.",
            ADVICE.get(kind, _EXPORT),
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
