"""Sample data in Slicer's module "Sample Data": four public FLAIR volumes, and a phantom made on this computer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
PHANTOM = "FlairSegPhantom"
#: Seed of the phantom, so that everybody sees the same head.
PHANTOM_SEED = 0

_TABRIZ = (
    "https://raw.githubusercontent.com/Mahdi-Bashiri/MRI_MS_Insights/db0568da127e642b039da12a182aeb7f7034d2a1/"
    "Phase1_data_preprocessing/raw_data/MS_100_patient_registered/"
)
_LJUBLJANA = (
    "https://raw.githubusercontent.com/muschellij2/open_ms_data/65704901f60650824565aa5a4818611aa89716f4/"
    "longitudinal/raw/patient01/"
)


@dataclass(frozen=True)
class Sample:
    """One public FLAIR.

    Attributes
    ----------
    name : str
        Of the sample and of the node.
    url : str
        At a fixed commit, so that the file never changes.
    sha256 : str
        Of the file.
    source : str
        Whom to cite, and the licence.
    """

    name: str
    url: str
    sha256: str
    source: str

    @property
    def fileName(self) -> str:
        """Name of the file in Slicer's cache."""
        return f"{self.name}.nii.gz"


_INSIGHTS = "MRI_MS_Insights, M. Bashiri Bawil et al., MIT"
_OPEN_MS_DATA = "open_ms_data, Ž. Lesjak et al. 2016, doi:10.1007/s12021-016-9301-1, CC-BY"
SAMPLES = (
    Sample(
        "FlairSegTabriz1",
        f"{_TABRIZ}107130/107130_FLAIR.nii.gz",
        "97d1062c1c499e47acd6b9616a0f59cce36ceffd55823eeb467197774905a98a",
        _INSIGHTS,
    ),
    Sample(
        "FlairSegTabriz2",
        f"{_TABRIZ}110218/110218_FLAIR.nii.gz",
        "b27d2e1a77f9a49da90ee25d7aebb2b1a44c5d25f6c236ff4a73034923fe3547",
        _INSIGHTS,
    ),
    Sample(
        "FlairSegLjubljanaBaseline",
        f"{_LJUBLJANA}study1_FLAIR.nii.gz",
        "3a2ab438704776ad75b67cd8609740a14782cc590b26fc695dff4216ad67d231",
        _OPEN_MS_DATA,
    ),
    Sample(
        "FlairSegLjubljanaFollowUp",
        f"{_LJUBLJANA}study2_FLAIR.nii.gz",
        "d3bb8754526f291e787f522520af7011d5bcfadd121f7d1e8cad16e4daf70f27",
        _OPEN_MS_DATA,
    ),
)


def register() -> None:
    """Register the samples with Slicer's module "Sample Data". Nothing is downloaded until the user clicks one.

    What is registered already stays: Slicer would list a sample with another downloader twice.
    """
    try:
        import SampleData
    except ImportError:
        logging.info("FlairSeg: this Slicer has no module Sample Data")
        return
    category = _("FLAIR Segmentation")
    known = {vars(source)["sampleName"] for source in SampleData.SampleDataLogic.sampleDataSourcesByCategory(category)}
    for sample in SAMPLES:
        if sample.name in known:
            continue
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=category,
            sampleName=sample.name,
            uris=sample.url,
            fileNames=sample.fileName,
            nodeNames=sample.name,
            checksums=f"SHA256:{sample.sha256}",
            thumbnailFileName=str(ICONS / "FlairSeg.png"),
        )
    if PHANTOM in known:
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=category,
        sampleName=PHANTOM,
        # Nothing to fetch: the lists, which SampleData requires to have the same length, are empty.
        uris=[],
        fileNames=[],
        nodeNames=[],
        loadFileType=[],
        customDownloader=lambda source=None: [loadPhantom()],
        thumbnailFileName=str(ICONS / "FlairSegPhantom.png"),
    )


def loadPhantom(**grid):
    """A digital head as a volume node, made on this computer in a few seconds; no network.

    Parameters
    ----------
    **grid
        Further parameters of :func:`flairseg.phantom.make_phantom`: shape, spacing, ...

    Returns
    -------
    vtkMRMLScalarVolumeNode
        Named ``FlairSegPhantom``.
    """
    from flairseg.phantom import make_phantom

    phantom = make_phantom(PHANTOM_SEED, **grid)
    node = slicer.util.addVolumeFromArray(
        phantom.volume.array, phantom.volume.ijk_to_ras, slicer.mrmlScene.GetUniqueNameByString(PHANTOM)
    )
    node.CreateDefaultDisplayNodes()
    node.SetAttribute("FlairSeg.phantom", str(PHANTOM_SEED))
    layouts = slicer.app.layoutManager() if hasattr(slicer.app, "layoutManager") else None
    if layouts is not None:
        slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node
