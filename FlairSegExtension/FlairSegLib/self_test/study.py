"""A small blinded study of the self-test, from the protocol to its closing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import slicer
from flairseg.image.volume import Volume
from flairseg.labels import LESION
from flairseg.study import Study, check_study, lock
from flairseg.study.images import write_neutral
from flairseg.study.records import ACCEPTABILITY, ACCEPTABLE

#: A name that must not be seen while a case is on screen.
SOURCE = "SelfTestSource"
_SHAPE_KJI = (8, 48, 40)
#: Corners of the two delineated lesions (K, J, I), 3 x 4 x 4 voxels each.
_LESIONS = ((2, 10, 10), (4, 30, 24))


def small_study(folder: Path) -> Path:
    """A locked study of two painted cases and one rater; the rater's room."""
    grid = Volume(np.zeros(_SHAPE_KJI, np.int16), np.diag([3.0, 3.0, 5.0, 1.0]), "case")
    cases = []
    for n in range(2):
        image = np.random.default_rng(n).integers(300, 400, _SHAPE_KJI).astype(np.int16)
        labels = np.zeros(_SHAPE_KJI, np.uint8)
        for k, j, i in _LESIONS:
            box = (slice(k, k + 3), slice(j, j + 4), slice(i, i + 4))
            image[box], labels[box] = 900, LESION
        for array, kind in ((image, "flair"), (labels, "labels")):
            write_neutral(folder / f"{SOURCE}{n}_{kind}.nii.gz", array, grid)
        arm = {"id": "model", "mask": f"{SOURCE}{n}_labels.nii.gz"}
        cases.append({"id": f"{SOURCE}{n}", "flair": f"{SOURCE}{n}_flair.nii.gz", "arms": [arm]})
    content = {
        "flairseg_study": 1,
        "id": "self-test",
        "version": "1.0",
        "title": "Self-test",
        "cases": cases,
        "raters": [{"id": "R1", "seed": 1}],
        "questions": [{"id": "acceptable", "text": "Acceptable?", "type": ACCEPTABILITY}],
    }
    protocol = folder / "protocol.json"
    protocol.write_text(json.dumps(content), encoding="utf-8")
    return lock(protocol, folder / "study").room_folder("R1")


def rate_all(tab, room: Path) -> None:
    """Rate both cases through the Study tab, with a pause in each.

    Raises
    ------
    AssertionError
        With what is not as it must be.
    """
    tab.openRoom(room)
    tab.begin()
    for _ in range(len(tab.session.room.showings)):
        names = [node.GetName() or "" for node in slicer.util.getNodesByClass("vtkMRMLNode")]
        _check(not any(SOURCE in name for name in names), "a node names the source of a case")
        lesion = tab.session.current.lesions.lesions[0]
        tab.view.jump(lesion.anchor_ras)
        tab.markFalsePositive()
        _check(tab.session.shown.acceptance.false_positives == 1, "the mark was not taken")
        tab.pause()
        _check(not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"), "the pause does not hide the image")
        tab.resume()
        _check(tab.session.shown.acceptance.false_positives == 1, "the mark was lost in the pause")
        tab.session.shown.answer("acceptable", ACCEPTABLE)
        tab.submit()
    _check(tab.session.finished, "not every case is answered")
    tab.leave()


def check_closed(room: Path) -> None:
    """Close the study; ``AssertionError`` if anything differs from the locked state."""
    study = Study(room.parents[1])
    _check(study.status().raters[0].finished, "the store lacks answers")
    findings = check_study(study)
    _check(not findings, "; ".join(str(finding) for finding in findings))
    study.close()


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
