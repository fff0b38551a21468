"""Stand-in for the application's ``qSlicerCoreIOManager``; reading and writing are done by Slicer's own logics."""

from __future__ import annotations

from pathlib import Path

import slicer

from .strict import Guarded

#: What ``slicer.util.loadNodeFromFile`` may ask for without naming a file type.
_FILE_TYPES = {
    ".seg.nrrd": "SegmentationFile",
    ".seg.nhdr": "SegmentationFile",
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
    ".h5": "TransformFile",
    ".tfm": "TransformFile",
}


class CoreIOManager(Guarded):
    """``slicer.app.coreIOManager()``: file types, loadNodes, saveNodes.

    Parameters
    ----------
    volumes_logic, segmentations_logic
        Slicer's module logics, which read their own kinds of file.
    """

    STANDS_FOR = "qSlicerCoreIOManager"

    def __init__(self, volumes_logic, segmentations_logic) -> None:
        self._volumes = volumes_logic
        self._segmentations = segmentations_logic

    def fileType(self, path: str) -> str:
        return next((kind for ending, kind in _FILE_TYPES.items() if str(path).lower().endswith(ending)), "VolumeFile")

    def fileWriterFileType(self, node) -> str:
        return "NodeFile"

    def loadNodes(self, file_type: str, properties: dict, loaded, messages=None) -> bool:
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return self._load_scene(path, bool(properties.get("clear", False)), messages)
        if file_type == "VolumeFile":
            # 16 is AutoWindowLevel, 2 CenterImage ... ; the application's dialog passes AutoWindowLevel by default.
            options = slicer.vtkSlicerVolumesLogic.AutoWindowLevel
            if properties.get("labelmap"):
                options |= slicer.vtkSlicerVolumesLogic.LabelMap
            node = self._volumes.AddArchetypeVolume(path, properties.get("name") or _stem(path), options)
        elif file_type == "SegmentationFile":
            node = self._segmentations.LoadSegmentationFromFile(path, True, properties.get("name") or _stem(path))
        else:
            raise NotImplementedError(f"the harness does not read {file_type}")
        if node is None:
            return False
        loaded.AddItem(node)
        return True

    def saveNodes(self, file_type: str, properties: dict, messages=None) -> bool:
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return self._save_scene(path, messages)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        return bool(storage.WriteData(node))

    @staticmethod
    def _load_scene(path: str, clear: bool, messages) -> bool:
        scene = slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, clear, messages))
        scene.SetURL(path)
        return bool(scene.Connect(messages) if clear else scene.Import(messages))

    @staticmethod
    def _save_scene(path: str, messages) -> bool:
        scene = slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(scene.WriteToMRB(path, None, messages))
        scene.SetRootDirectory(str(Path(path).parent))
        scene.SetURL(path)
        return bool(scene.Commit(path, messages))


def _stem(path: str) -> str:
    name = Path(path).name
    for ending in (".seg.nrrd", ".nii.gz"):
        name = name.removesuffix(ending)
    return name.split(".")[0]
