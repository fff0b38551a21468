"""The samples that Slicer offers: fixed addresses with checksums, and a phantom that needs no network."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import numpy as np
import pytest


class SampleDataSource:
    """The checks that Slicer's ``SampleData.SampleDataSource`` makes of its arguments."""

    def __init__(self, **given):
        uris = given["uris"]
        lists = {name: given.get(name) for name in ("fileNames", "nodeNames", "checksums", "loadFiles", "loadFileType")}
        if isinstance(uris, str):
            uris, lists = [uris], {name: [value] for name, value in lists.items()}
        else:
            for name, value in lists.items():
                if value is None or isinstance(value, str):
                    lists[name] = [value] * len(uris)
        assert {len(value) for value in lists.values()} == {len(uris)}
        self.__dict__.update(given, uris=uris, **lists)


@pytest.fixture
def registered(slicer, monkeypatch):
    """Sources by name, once the module's registration ran against Slicer's signature."""
    sources = {}

    class SampleDataLogic:
        @staticmethod
        def sampleDataSourcesByCategory(category=None):
            return [source for source in sources.values() if source.category == category]

        @staticmethod
        def registerCustomSampleDataSource(
            category="Custom",
            sampleName=None,
            uris=None,
            fileNames=None,
            nodeNames=None,
            customDownloader=None,
            thumbnailFileName=None,
            loadFileType="VolumeFile",
            loadFiles=None,
            loadFileProperties=None,
            checksums=None,
        ):
            assert sampleName not in sources, "Slicer would show another button for it"
            sources[sampleName] = SampleDataSource(
                category=category,
                sampleName=sampleName,
                uris=uris,
                fileNames=fileNames,
                nodeNames=nodeNames,
                customDownloader=customDownloader,
                thumbnailFileName=thumbnailFileName,
                loadFileType=loadFileType,
                loadFiles=loadFiles,
                checksums=checksums,
            )

    module = ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    monkeypatch.setitem(sys.modules, "SampleData", module)
    from FlairSegLib import sample_data

    sample_data.register()
    sample_data.register()
    return sources


def test_every_sample_has_a_fixed_address_and_a_checksum(registered):
    assert set(registered) == {
        "FlairSegTabriz1",
        "FlairSegTabriz2",
        "FlairSegLjubljanaBaseline",
        "FlairSegLjubljanaFollowUp",
        "FlairSegPhantom",
    }
    for source in registered.values():
        assert source.category == "FLAIR Segmentation"
        assert source.thumbnailFileName.endswith(".png")
        with open(source.thumbnailFileName, "rb") as thumbnail:
            assert thumbnail.read(4) == b"\x89PNG"
        for uri, checksum, name in zip(source.uris, source.checksums, source.fileNames, strict=True):
            assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", uri)
            assert re.fullmatch(r"SHA256:[0-9a-f]{64}", checksum)
            assert name.endswith(".nii.gz")
    assert len({source.checksums[0] for source in registered.values() if source.checksums}) == 4


def test_the_phantom_is_made_here_and_is_proposed_as_the_flair(registered, slicer, monkeypatch):
    import socket

    def no_network(*arguments, **more):
        raise AssertionError("the phantom needs no network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    from flairseg.image import flair_selection as proposal
    from flairseg.phantom import make_phantom
    from FlairSegLib import candidates, sample_data

    small = {"shape": (8, 64, 64), "spacing_mm": (3.6, 3.6, 16.0)}
    monkeypatch.setattr(sample_data, "loadPhantom", lambda real=sample_data.loadPhantom: real(**small), raising=True)
    (node,) = registered["FlairSegPhantom"].customDownloader(registered["FlairSegPhantom"])
    expected = make_phantom(0, **small).volume
    assert node.GetName() == "FlairSegPhantom"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), expected.array)
    again = sample_data.loadPhantom()
    assert again.GetName() != node.GetName()
    assert proposal.propose(candidates.loaded()).key == again.GetID()
