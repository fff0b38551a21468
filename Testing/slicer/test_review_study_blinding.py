"""During a session nothing that Slicer holds or shows says where a mask comes from."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from shiboken6 import isValid

from Testing.harness.interaction import click, texts_of_model
from Testing.slicer.review_driver import ARMS, ELSEWHERE, LESIONS, SECRETS, StudyDriver, lock_study, ras_of

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'flairseg[review]'")
pytest.importorskip("nibabel", reason="nibabel is not installed: pip install 'flairseg[test]'")


@pytest.fixture
def review(slicer, main_window, load_module):
    """The whole module in Slicer's window, at its Study tab."""
    load_module("FlairSegReview")
    window = main_window("FlairSegReview")
    widget = slicer.modules.FlairSegReviewWidget
    widget.ui.reviewTabs.setCurrentIndex(1)
    slicer.app.processEvents()
    return StudyDriver(slicer, widget.study, window, None)


def texts_of_widgets(slicer) -> list[str]:
    """Every text in the tree of every window: properties, items of lists and tables, actions."""
    import qt
    from PySide6 import QtWidgets

    found = []
    for window in QtWidgets.QApplication.topLevelWidgets():
        for thing in [window, *window.findChildren(qt.QObject)]:
            if not isValid(thing):
                continue  # a part of a text document that went while properties were read
            meta = thing.metaObject()
            for n in range(meta.propertyCount()):
                value = meta.property(n).read(thing)
                if isinstance(value, (str, list, tuple)):
                    found.append(str(value))
            if isinstance(thing, QtWidgets.QAbstractItemView) and thing.model() is not None:
                found += texts_of_model(thing)
            if isinstance(thing, QtWidgets.QComboBox):
                found += [thing.itemText(n) for n in range(thing.count)]
    return found


def texts_of_scene(slicer) -> list[str]:
    """The scene as it would be saved, every node as it prints itself, and the subject hierarchy."""
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    found = [scene.GetSceneXMLString(), str(scene.GetURL()), str(scene.GetRootDirectory())]
    scene.SetSaveToXMLString(0)
    for n in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(n)
        found += [str(node), node.GetName() or "", node.GetDescription() or ""]
        found += [f"{name}={node.GetAttribute(name)}" for name in node.GetAttributeNames()]
        if node.IsA("vtkMRMLStorageNode"):
            found.append(node.GetFileName() or "")
        if node.IsA("vtkMRMLSegmentationNode"):
            contents = node.GetSegmentation()
            found += [contents.GetSegment(segment).GetName() for segment in contents.GetSegmentIDs()]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is not None:
        import vtk

        items = vtk.vtkIdList()
        hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
        found += [hierarchy.GetItemName(items.GetId(n)) for n in range(items.GetNumberOfIds())]
    return found


@pytest.fixture
def temporary(monkeypatch, tmp_path_factory) -> Path:
    """An empty folder that stands for the system's temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def contents_of_files(*folders: Path) -> list[str]:
    """Names and bytes, unpacked where they are packed, of all files."""
    found = []
    for path in (path for folder in folders for path in folder.rglob("*") if path.name != "Slicer.ini"):
        found.append(str(path))
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            found.append(content.decode("latin-1"))
    return found


def leaks(texts: list[str], *more: str) -> set[str]:
    """Secrets that stand in one of the texts."""
    return {secret for secret in (*SECRETS, *more) if any(secret in text for text in texts)}


def test_nothing_during_a_session_tells_the_source(review, temporary, tmp_path):
    study = lock_study(tmp_path, 2, correction=True, confidence=True)
    slicer = review.slicer
    review.open(study / "rooms" / "R1")
    seen = set()
    path = str(tmp_path)
    while review.tab.page != "done":
        seen.add(review.ui.captionLabel.text)
        review.click_at(ras_of(LESIONS[0][0]))
        review.click_at(ras_of(ELSEWHERE))
        review.keys("A", "4")
        for moment in ("rated", "paused", "answered", "corrected"):
            if moment == "paused":
                review.keys("P")
            elif moment == "answered":
                review.keys("Return", "Return")
                assert review.tab.page == "answered"
            elif moment == "corrected":
                click(review.ui.correctButton)
            assert leaks(texts_of_widgets(slicer), path) == set(), moment
            assert leaks(texts_of_scene(slicer), path) == set(), moment
            found = contents_of_files(temporary, Path(slicer.app.temporaryPath))
            assert leaks(found, path) == set(), moment
            assert any("flair.nii.gz" in text for text in found), "the case's own files are looked at"
        review.keys("Return")
    assert len(seen) == 4
    assert not list(temporary.iterdir()), "nothing of the last case stays"
    names = {n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLStorableNode")}
    assert not names & {"Image", "Mask"}


def test_every_case_looks_alike_but_for_its_voxels(review, tmp_path):
    """Names of nodes and files are the same for each case, so that they cannot be told apart by them either."""
    review.open(lock_study(tmp_path, 2) / "rooms" / "R1")
    seen = set()
    while review.tab.page != "done":
        nodes = review.slicer.util.getNodesByClass("vtkMRMLDisplayableNode")
        seen.add(tuple(sorted((n.GetClassName(), n.GetName()) for n in nodes)))
        assert not review.slicer.util.getNodesByClass("vtkMRMLVolumeArchetypeStorageNode")
        review.keys("A", "Return")
    assert len(seen) == 1


def test_the_search_finds_what_there_is_to_find(review, tmp_path):
    """In an open study the case and the arm are shown, and the same search finds them."""
    review.open(lock_study(tmp_path, 2, blinding="open") / "rooms" / "R1")
    assert leaks(texts_of_widgets(review.slicer)) & {"secretcase"}
    node = review.slicer.util.getNode("Image")
    node.SetAttribute("note", ARMS[0])
    assert leaks(texts_of_scene(review.slicer)) == {ARMS[0]}


def test_the_window_is_as_before_afterwards(review, tmp_path):
    window, slicer = review.window, review.slicer
    probe = slicer.util.findChild(window, "DataProbeCollapsibleWidget")
    window.setWindowTitle("3D Slicer - DOE^JANE.mrml")
    layout = slicer.app.layoutManager().layout
    review.open(lock_study(tmp_path, 2) / "rooms" / "R1")
    assert window.windowTitle == "3D Slicer - reading session"
    assert not probe.isVisible()
    tabs = slicer.modules.FlairSegReviewWidget.ui.reviewTabs
    assert not tabs.isTabEnabled(0)
    review.keys("P")
    click(review.ui.leavePausedButton)
    assert window.windowTitle == "3D Slicer - DOE^JANE.mrml"
    assert probe.isVisible()
    assert slicer.app.layoutManager().layout == layout
    assert tabs.isTabEnabled(0)


def test_the_image_is_the_one_of_the_room(review, tmp_path):
    """Voxels and placement are those of the neutral file, by another reader than ours."""
    import nibabel

    study = lock_study(tmp_path, 2, mirror_repeats=True, repeats=2)
    review.open(study / "rooms" / "R1")
    for _ in range(3):
        showing = review.session.current
        entry = next(s for s in review.session.room.showings if s.code == showing.code)
        image = nibabel.load(study / "rooms" / "R1" / "images" / entry.flair_name)
        node = review.tab.view.volume_node
        np.testing.assert_array_equal(review.slicer.util.arrayFromVolume(node), np.asarray(image.dataobj).T)
        mask = nibabel.load(study / "rooms" / "R1" / "images" / entry.labels_name)
        shown = review.slicer.util.arrayFromSegmentBinaryLabelmap(review.tab.view.mask_node, "lesion", node)
        np.testing.assert_array_equal(shown > 0, np.asarray(mask.dataobj).T > 0)
        import vtk

        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        np.testing.assert_allclose(review.slicer.util.arrayFromVTKMatrix(matrix), image.affine, atol=1e-4)
        review.keys("A", "Return")
