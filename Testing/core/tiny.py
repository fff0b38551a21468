"""Small things that many tests need: a head painted in millimetres, a network without training, a DICOM series."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from flairseg.image.geometry import VolumeGeometry
from flairseg.image.volume import Volume

#: RAS -> storage: any 3 x 3 signed permutation may be used as orientation; this is the usual axial LAS-like one (LPS).
AXIAL = np.diag([-1.0, -1.0, 1.0])
LESIONS_MM = ((25, 30, 22, 6.0), (-27, -20, 26, 7.0), (30, -35, 18, 5.0), (-22, 38, 30, 5.0))


def _ellipsoid(x, y, z, centre, axes):
    return sum(((p - c) / a) ** 2 for p, c, a in zip((x, y, z), centre, axes, strict=True)) <= 1.0


def paint(points: np.ndarray, contrast: str = "flair") -> tuple[np.ndarray, np.ndarray]:
    """Intensity (brain 100) and label of a head at RAS points in mm, shape (3, ...)."""
    x, y, z = points
    tissue = {
        "flair": {
            "air": 0,
            "fat": 125,
            "bone": 8,
            "fluid": 22,
            "cortex": 116,
            "white": 100,
            "ventricle": 24,
            "lesion": 165,
        },
        "t1": {
            "air": 0,
            "fat": 170,
            "bone": 12,
            "fluid": 25,
            "cortex": 72,
            "white": 100,
            "ventricle": 25,
            "lesion": 75,
        },
        "t2": {
            "air": 0,
            "fat": 110,
            "bone": 12,
            "fluid": 260,
            "cortex": 85,
            "white": 58,
            "ventricle": 260,
            "lesion": 140,
        },
        "ct": {
            "air": -1000,
            "fat": -90,
            "bone": 900,
            "fluid": 8,
            "cortex": 38,
            "white": 29,
            "ventricle": 8,
            "lesion": 24,
        },
    }[contrast]
    image = np.full(x.shape, tissue["air"], dtype=np.float32)
    labels = np.zeros(x.shape, dtype=np.uint8)
    image[_ellipsoid(x, y, z, (0, 0, 0), (80, 100, 95))] = tissue["fat"]
    image[_ellipsoid(x, y, z, (0, 0, 0), (74, 94, 89))] = tissue["bone"]
    image[_ellipsoid(x, y, z, (0, 0, 0), (69, 87, 80))] = tissue["cortex"]
    # Sulci and white matter blades give the surface the texture of a cortex.
    folds = np.sin(x / 5 + z / 20) * np.sin(y / 5 + 1 + z / 30)
    core = _ellipsoid(x, y, z, (0, 0, 0), (46, 62, 55))
    image[_ellipsoid(x, y, z, (0, 0, 0), (69, 87, 80)) & ~core & (folds < -0.55)] = tissue["fluid"]
    image[core | (_ellipsoid(x, y, z, (0, 0, 0), (64, 82, 74)) & (folds > 0.45))] = tissue["white"]
    for side in (-1, 1):
        ventricle = _ellipsoid(x, y, z, (side * 13, 0, 10), (9, 32, 18))
        image[ventricle], labels[ventricle] = tissue["ventricle"], 1
    for *centre, radius in LESIONS_MM:
        lesion = _ellipsoid(x, y, z, centre, (radius,) * 3)
        image[lesion], labels[lesion] = tissue["lesion"], 3
    return image, labels


def grid(shape_kji: tuple[int, int, int], ijk_to_ras: np.ndarray) -> np.ndarray:
    """RAS coordinates of all voxels, shape (3, K, J, I)."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape_kji), indexing="ij")
    return np.tensordot(ijk_to_ras[:3, :3], np.stack([i, j, k]), axes=1) + ijk_to_ras[:3, 3].reshape(3, 1, 1, 1)


def affine(orientation: np.ndarray, spacing_ijk, shape_kji) -> np.ndarray:
    """RAS affine with the middle of the grid at the origin."""
    out = np.eye(4)
    out[:3, :3] = orientation @ np.diag(spacing_ijk)
    out[:3, 3] = -out[:3, :3] @ ((np.asarray(shape_kji[::-1]) - 1) / 2)
    return out


def make_head(
    shape_kji=(16, 88, 76),
    spacing_ijk=(2.5, 2.5, 8.0),
    orientation: np.ndarray = AXIAL,
    contrast: str = "flair",
    noise: float = 2.0,
    name: str = "head",
) -> tuple[Volume, np.ndarray]:
    """A small head and its labels (1 ventricles, 3 lesions) on any grid."""
    matrix = affine(orientation, spacing_ijk, shape_kji)
    image, labels = paint(grid(shape_kji, matrix), contrast)
    image = image + np.random.default_rng(0).normal(0, noise, image.shape)
    return Volume(np.round(image).astype(np.int16), matrix, name), labels


def to_nifti(volume: Volume, path: Path, sform: int = 1, qform: int = 1) -> Path:
    """Write with nibabel, so that reading is tested against another implementation."""
    import nibabel as nib

    image = nib.Nifti1Image(np.transpose(volume.array, (2, 1, 0)), volume.ijk_to_ras)
    image.set_sform(volume.ijk_to_ras, sform)
    image.set_qform(volume.ijk_to_ras, qform)
    nib.save(image, path)
    return path


def to_sitk(volume: Volume, path: Path) -> Path:
    """Write with SimpleITK (.nrrd, .mha)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array)
    spacing, direction, origin = VolumeGeometry((1, 1, 1), volume.ijk_to_ras).to_itk()
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


def to_dicom(volume: Volume, folder: Path, modality: str = "MR", series: int = 1, first: int = 0) -> Path:
    """Write as a DICOM series with pydicom, one file per slice."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    folder.mkdir(parents=True, exist_ok=True)
    spacing, direction, _ = VolumeGeometry((1, 1, 1), volume.ijk_to_ras).to_itk()
    direction = np.reshape(direction, (3, 3))
    root = "1.2.826.0.1.3680043.10.9999."
    for k, image in enumerate(volume.array):
        ras = volume.ijk_to_ras @ [0, 0, k, 1]
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{root}{series}.{k + first + 1}"
        data.StudyInstanceUID, data.SeriesInstanceUID = f"{root}9", f"{root}{series}"
        data.PatientName, data.PatientID, data.Modality = "Doe^Jane", "12345", modality
        data.InstanceNumber = k + first + 1
        data.ImagePositionPatient = [float(v) for v in ras[:3] * (-1, -1, 1)]
        data.ImageOrientationPatient = [float(v) for v in (*direction[:, 0], *direction[:, 1])]
        data.PixelSpacing = [spacing[1], spacing[0]]
        data.SliceThickness = spacing[2]
        data.Rows, data.Columns = image.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelData = np.ascontiguousarray(image, dtype="<i2").tobytes()
        data.save_as(folder / f"slice{(k * 7) % 97:03d}_{k}.dcm", enforce_file_format=True)
    return folder


FRAME = (96, 80)
#: Preprocessing of the tiny network: 2.4 mm pixels, so that a test case takes a fraction of a second.
PIPELINE = {
    "plane": "native",
    "denoise": "none",
    "brain_mask": "s1",
    "normalisation": "brain-median",
    "framing": "brain-mm",
    "frame_size": list(FRAME),
    "frame_spacing_mm": 2.4,
    "input_slices": 3,
    "neighbour_mm": 6.0,
    "slab_mm": 0.0,
    "output": "softmax",
    "output_classes": [0, 1, 2, 3],
    "min_lesion_mm3": 0.0,
}


def make_network(
    path: Path,
    channels: int = 3,
    outputs: int = 4,
    batch: int | str = "N",
    width: int = 0,
    classes: tuple[int, ...] | None = None,
    lesion_bias: float = 0.0,
) -> Path:
    """An ONNX network without training that knows grey levels: dark -> 1, brightish -> 2, bright -> 3.

    With ``width`` it first runs convolutions of that many channels whose result counts for nothing: a slow network.
    ``classes`` puts out those only (default the first ``outputs``); ``lesion_bias`` is added to the logit of lesions.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    known = list(range(outputs) if classes is None else classes)
    outputs = len(known)
    values = {
        "centres": np.array([100.0, -3.75, 1.7, 3.6], np.float32)[known].reshape(1, outputs, 1, 1),
        "slopes": np.array([0.0, -6.0, -6.0, -6.0], np.float32)[known].reshape(1, outputs, 1, 1),
        "offsets": np.array([0.0, 4.0, 3.0, 8.0 + lesion_bias], np.float32)[known].reshape(1, outputs, 1, 1),
    }
    pick = rng.normal(0, 0.002, (1, channels, 3, 3)).astype(np.float32)
    pick[0, channels // 2, 1, 1] += 1.0
    values["pick"] = pick
    nodes = [helper.make_node("Conv", ["slices", "pick"], ["gray0"], pads=[1, 1, 1, 1])]
    if width:
        values["first"] = rng.normal(0, 0.01, (width, channels, 7, 7)).astype(np.float32)
        values["second"] = rng.normal(0, 0.01, (width, width, 7, 7)).astype(np.float32)
        values["last"] = np.zeros((1, width, 1, 1), np.float32)
        nodes += [
            helper.make_node("Conv", ["slices", "first"], ["a"], pads=[3, 3, 3, 3]),
            helper.make_node("Conv", ["a", "second"], ["b"], pads=[3, 3, 3, 3]),
            helper.make_node("Conv", ["b", "last"], ["nothing"]),
            helper.make_node("Add", ["gray0", "nothing"], ["gray"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["gray0"], ["gray"]))
    nodes += [
        helper.make_node("Sub", ["gray", "centres"], ["away"]),
        helper.make_node("Abs", ["away"], ["distance"]),
        helper.make_node("Mul", ["distance", "slopes"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offsets"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("slices", TensorProto.FLOAT, [batch, channels, *FRAME])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, outputs, *FRAME])],
        [numpy_helper.from_array(v, k) for k, v in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def make_model(folder: Path, name: str = "tiny-v1.0", pipeline: dict | None = None, **network) -> Path:
    """A model folder: network and card. ``pipeline`` changes single fields of :data:`PIPELINE`."""
    settings = {**PIPELINE, **(pipeline or {})}
    weights = make_network(folder / name / "model.onnx", channels=settings["input_slices"], **network)
    card = {
        "id": name,
        "title": "Grey levels",
        "version": name.rpartition("v")[2],
        "licence": "CC0-1.0",
        "summary": "Knows grey levels, nothing else. For tests.",
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()},
        "pipeline": settings,
        "intended_use": "Tests.",
        "training_data": [],
        "results": [],
    }
    (folder / name / "card.json").write_text(json.dumps(card))
    return folder / name


#: Pipeline fields of a model that knows lesions alone; its network has ``classes=(3,)``.
LESION_ONLY = {"output": "sigmoid", "output_classes": [3]}


def make_ensemble(
    folder: Path, weights: dict[str, dict[str, float]], name: str = "vote-v1.0", pipeline: dict | None = None
) -> Path:
    """An ensemble of models that are in ``folder``: a card alone. ``weights`` by member and class."""
    from flairseg.models.members import digest, members_of

    members = []
    for member, votes in weights.items():
        card = json.loads((folder / member / "card.json").read_text())
        members.append({"id": member, "sha256": card["weights"]["sha256"], "weights": votes})
    card = {
        "id": name,
        "title": "A vote on grey levels",
        "version": name.rpartition("v")[2],
        "licence": "CC0-1.0",
        "summary": "Several that know grey levels. For tests.",
        "ensemble": {"members": members, "disagreement": "lesion-deviation"},
        "pipeline": {"plane": "native", "min_lesion_mm3": 0.0, **(pipeline or {})},
        "intended_use": "Tests.",
        "training_data": [],
        "results": [],
    }
    card["ensemble"]["sha256"] = digest(members_of(card))
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "card.json").write_text(json.dumps(card, indent=2))
    return folder / name
