"""Two studies of one painted head: the second moved, noised anew, with one lesion more."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from flairseg.image.volume import Volume
from flairseg.labels import LESION
from flairseg.segmentation.result import Segmentation

from Testing.core import tiny

SHAPE, SPACING = (22, 96, 84), (2.0, 2.0, 6.0)
#: Where the new lesion is in the first study's frame, and its half axes: RAS, mm.
NEW, NEW_SIZE = (32.0, 2.0, 34.0), (7.0, 7.0, 9.0)


def motion() -> np.ndarray:
    """How the head moved between the studies, RAS mm."""
    angle, out = np.radians(4), np.eye(4)
    out[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    out[:3, 3] = 3, -4, 2
    return out


def make_studies() -> list[tuple[Volume, np.ndarray]]:
    """Image and labels of both."""
    affine = tiny.affine(tiny.AXIAL, SPACING, SHAPE)
    points = tiny.grid(SHAPE, affine)
    studies = []
    for number, move in enumerate((np.eye(4), motion())):
        back = np.linalg.inv(move)
        own = np.tensordot(back[:3, :3], points, axes=1) + back[:3, 3].reshape(3, 1, 1, 1)
        image, labels = tiny.paint(own)
        if number:
            added = sum(((p - c) / a) ** 2 for p, c, a in zip(own, NEW, NEW_SIZE, strict=True)) <= 1
            image[added], labels[added] = 165, LESION
        image = image + np.random.default_rng(number).normal(0, 2, image.shape)
        studies.append((Volume(np.round(image).astype(np.int16), affine, f"FLAIR {2023 + number}"), labels))
    return studies


def in_scene(slicer, studies) -> list[tuple[object, object]]:
    """A volume node and a segmentation node of each."""
    from FlairSegLib import scene_bridge

    card = SimpleNamespace(id="tiny-v1.0", sha256="ab" * 32, classes=(1, 2, 3), version="1.0", title="Gray levels")
    nodes = []
    for volume, labels in studies:
        node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, volume.name)
        result = Segmentation(volume, labels, None, card, "auto", "cpu", "CPUExecutionProvider", volume.name)
        nodes.append((node, scene_bridge.segmentation_to_node(result, node)))
    return nodes
