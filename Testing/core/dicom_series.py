"""DICOM series as scanners write them: classic and enhanced, in the manners of four vendors, from any volume.

The headers follow the vendors' conformance statements as far as they matter for finding a FLAIR: names, sequences,
times, image types, order of the instances, file names. No patient is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pydicom
from flairseg.image.volume import Volume
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)


@dataclass(frozen=True)
class Contrast:
    """What a vendor writes about one kind of image. Times in ms."""

    description: str
    protocol: str
    sequence_name: str = ""
    scanning: tuple[str, ...] = ("SE",)
    variant: tuple[str, ...] = ("SK",)
    options: tuple[str, ...] = ()
    tr: float = 600.0
    te: float = 12.0
    ti: float | None = None
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M", "SE")
    acquisition: str = "2D"
    enhanced_contrast: str = "T1"
    echoes: int = 16


@dataclass(frozen=True)
class Vendor:
    """A manufacturer's conventions."""

    manufacturer: str
    model: str
    field_t: float
    file_name: Callable[[int], str]
    #: Order in which the instances are numbered: ``up``, ``down`` or ``interleaved``.
    numbering: str
    #: Stored = (value - intercept) / slope.
    rescale: tuple[float, float] | None
    contrasts: dict[str, Contrast] = field(default_factory=dict)


def _contrast(base: Contrast, description: str, **changes) -> Contrast:
    return replace(base, description=description, protocol=changes.pop("protocol", description), **changes)


def _vendors() -> dict[str, Vendor]:
    siemens = Contrast(
        "t2_tirm_tra_dark-fluid", "t2_tirm_tra_dark-fluid", "*tir2d1_16", ("SE", "IR"), ("SK", "SP", "MP"),
        ("IR", "PFP", "FS"), 9000.0, 81.0, 2500.0, ("ORIGINAL", "PRIMARY", "M", "ND", "NORM"),
        enhanced_contrast="FLUID_ATTENUATED",
    )  # fmt: skip
    ge = Contrast(
        "Ax T2 FLAIR", "BRAIN ROUTINE", "", ("SE", "IR"), ("SK",), ("FAST_GEMS", "SEQ_GEMS", "FC"), 8002.0, 120.0,
        2000.0, ("ORIGINAL", "PRIMARY", "OTHER"), enhanced_contrast="FLUID_ATTENUATED",
    )  # fmt: skip
    philips = Contrast(
        "FLAIR_longTR", "WIP FLAIR_longTR SENSE", "", ("IR",), ("SK",), ("FC", "SP"), 11000.0, 125.0, 2800.0,
        ("ORIGINAL", "PRIMARY", "M_IR", "M", "IR"), enhanced_contrast="FLUID_ATTENUATED",
    )  # fmt: skip
    toshiba = Contrast(
        "FSE FLAIR AX", "Brain", "FIR", ("SE", "IR"), ("SK",), (), 10000.0, 100.0, 2500.0,
        ("ORIGINAL", "PRIMARY", "OTHER"),
        enhanced_contrast="FLUID_ATTENUATED",
    )  # fmt: skip
    t1 = {"scanning": ("SE",), "ti": None, "tr": 550.0, "te": 12.0, "enhanced_contrast": "T1", "echoes": 1}
    t2 = {"scanning": ("SE",), "ti": None, "tr": 4500.0, "te": 98.0, "enhanced_contrast": "T2"}
    return {
        "siemens": Vendor(
            "SIEMENS", "Avanto", 1.5, lambda n: f"MR.1.3.12.2.1107.5.{n:04d}.{n}", "interleaved", None,
            {
                "flair": siemens,
                "t1": _contrast(siemens, "t1_se_tra", sequence_name="*se2d1", **t1),
                "t2": _contrast(siemens, "t2_tse_tra", sequence_name="*tse2d1_15", **t2),
                "localizer": _contrast(siemens, "localizer", sequence_name="*fl2d1", **{**t1, "tr": 8.6, "te": 4.0}),
                "mprage": _contrast(siemens, "t1_mprage_sag_p2_iso", sequence_name="*tfl3d1_16ns", ti=900.0,
                                    scanning=("GR", "IR"), tr=1900.0, te=3.0, acquisition="3D", enhanced_contrast="T1"),
                "space": _contrast(siemens, "t2_spc_da-fl_irprep_sag_iso", sequence_name="*spcir_278ns", ti=1800.0,
                                   tr=5000.0, te=388.0, acquisition="3D"),
            },
        ),
        "ge": Vendor(
            "GE MEDICAL SYSTEMS", "SIGNA EXCITE", 1.5, lambda n: f"i{41000 + n}.MRDCM.{n}", "down", None,
            {
                "flair": ge,
                "t1": _contrast(ge, "Ax T1 SE", **t1),
                "t1flair": _contrast(ge, "Ax T1 FLAIR", ti=750.0, tr=2200.0, te=12.0, enhanced_contrast="T1"),
                "t2": _contrast(ge, "Ax T2 FRFSE", **t2),
                "localizer": _contrast(ge, "3-pl loc", **{**t1, "tr": 5.0, "te": 1.6}),
            },
        ),
        "philips": Vendor(
            "Philips Medical Systems", "Achieva", 3.0, lambda n: f"IM_{n:04d}", "up", (2.5, 0.0),
            {
                "flair": philips,
                "t1": _contrast(philips, "T1W_SE", image_type=("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"), **t1),
                "t2": _contrast(philips, "T2W_TSE", image_type=("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"), **t2),
                "localizer": _contrast(philips, "Survey", **{**t1, "tr": 11.0, "te": 4.6}),
            },
        ),
        "toshiba": Vendor(
            "TOSHIBA", "MRT200SP5", 1.5, lambda n: f"{n:08d}.dcm", "up", None,
            {"flair": toshiba, "t1": _contrast(toshiba, "SE T1 AX", **t1), "t2": _contrast(toshiba, "FSE T2 AX", **t2)},
        ),
    }  # fmt: skip


VENDORS = _vendors()


@dataclass
class Study:
    """What all series of a study share."""

    patient: str = "Phantom^Head"
    patient_id: str = "PHANTOM-1"
    uid: str = field(default_factory=generate_uid)
    frame_of_reference: str = field(default_factory=generate_uid)


def numbering(order: str, count: int) -> list[int]:
    """Slices (from 0) in the order in which they are numbered."""
    up = list(range(count))
    return {"up": up, "down": up[::-1], "interleaved": up[1::2] + up[0::2]}[order]


def write_series(
    volume: Volume,
    folder: Path,
    vendor: str = "siemens",
    contrast: str = "flair",
    study: Study | None = None,
    number: int = 5,
    enhanced: bool = False,
    change: Callable[[Dataset, int], None] | None = None,
    uid: str | None = None,
) -> Path:
    """Write one series; ``change(dataset, slice)`` may alter each file before it is saved (slice -1: enhanced)."""
    study = study or Study()
    maker = VENDORS[vendor]
    what = maker.contrasts[contrast]
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    order = numbering(maker.numbering, len(volume.array))
    if enhanced:
        data = _enhanced(volume, maker, what, study, number, uid, order)
        if change is not None:
            change(data, -1)
        save(data, folder / maker.file_name(1))
        return folder
    for n, k in enumerate(order, start=1):
        data = _classic(volume, k, n, maker, what, study, number, uid)
        if change is not None:
            change(data, k)
        save(data, folder / maker.file_name(n))
    return folder


def save(data: Dataset, path: Path) -> None:
    data.save_as(path, enforce_file_format=True)


def big_endian(data: Dataset, _k: int = 0) -> None:
    """Store a data set in the other byte order."""
    data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian


def write_localizer(volume: Volume, folder: Path, vendor: str, study: Study, number: int = 1) -> Path:
    """Three orthogonal planes of one or two slices each, in one series."""
    orientations = ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1])
    uid = generate_uid()
    for n, orientation in enumerate(orientations * 2):

        def turn(data: Dataset, _k: int, n=n, orientation=orientation) -> None:
            normal = np.cross(orientation[:3], orientation[3:])
            data.ImageOrientationPatient = orientation
            data.ImagePositionPatient = [round(float(x), 4) for x in normal * 10.0 * (n // 3) - 100.0]
            data.InstanceNumber = n + 1
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()

        one = Volume(volume.array[:1], volume.ijk_to_ras)
        made = write_series(one, folder / "new", vendor, "localizer", study, number, change=turn, uid=uid)
        next(made.iterdir()).rename(folder / f"loc{n}")
    (folder / "new").rmdir()
    return folder


# --- data sets


def _lps(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Affine in LPS and spacing along I, J, K."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.ijk_to_ras
    return affine, np.linalg.norm(affine[:3, :3], axis=0)


def _decimals(values: Sequence[float]) -> list[str]:
    return [pydicom.valuerep.format_number_as_ds(float(v) + 0.0) for v in values]


def _stored(array: np.ndarray | np.generic, maker: Vendor) -> np.ndarray:
    slope, intercept = maker.rescale or (1.0, 0.0)
    return np.round((array - intercept) / slope)


def _root(
    volume: Volume, maker: Vendor, what: Contrast, study: Study, number: int, uid: str, sop_class: str
) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20200102"
    data.StudyTime, data.SeriesTime = "101500", "102000"
    data.AcquisitionTime = data.ContentTime = "102130.50"
    data.AccessionNumber = data.ReferringPhysicianName = ""
    data.StudyID, data.StudyInstanceUID = "1", study.uid
    data.StudyDescription = "Head"
    data.PatientName, data.PatientID = study.patient, study.patient_id
    data.PatientBirthDate, data.PatientSex, data.PatientAge, data.PatientWeight = "19700101", "O", "050Y", "70"
    data.Modality, data.Manufacturer, data.ManufacturerModelName = "MR", maker.manufacturer, maker.model
    data.DeviceSerialNumber, data.SoftwareVersions = "0", "1"
    data.SeriesInstanceUID, data.SeriesNumber = uid, number
    data.SeriesDescription, data.ProtocolName = what.description, what.protocol
    data.PatientPosition, data.BodyPartExamined, data.Laterality = "HFS", "BRAIN", ""
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = study.frame_of_reference, ""
    data.Rows, data.Columns = volume.array.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = int(_stored(volume.array.min(), maker) < 0)
    del data.Laterality
    return data


def _classic(
    volume: Volume, k: int, n: int, maker: Vendor, what: Contrast, study: Study, number: int, uid: str
) -> Dataset:
    affine, spacing = _lps(volume)
    data = _root(volume, maker, what, study, number, uid, MRImageStorage)
    data.ImageType = list(what.image_type)
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions = (
        list(what.scanning), list(what.variant), list(what.options),
    )  # fmt: skip
    data.MRAcquisitionType = what.acquisition
    if what.sequence_name:
        data.SequenceName = what.sequence_name
    data.RepetitionTime, data.EchoTime, data.EchoTrainLength = str(what.tr), str(what.te), str(what.echoes)
    if what.ti is not None:
        data.InversionTime = str(what.ti)
    data.MagneticFieldStrength, data.FlipAngle, data.EchoNumbers = str(maker.field_t), "90", "1"
    data.AcquisitionNumber, data.InstanceNumber = 1, n
    data.SliceThickness = _decimals([0.85 * spacing[2]])[0]
    data.SpacingBetweenSlices = _decimals([spacing[2]])[0]
    data.PixelSpacing = _decimals([spacing[1], spacing[0]])
    data.ImagePositionPatient = _decimals((affine @ [0, 0, k, 1])[:3])
    data.ImageOrientationPatient = _decimals([*(affine[:3, 0] / spacing[0]), *(affine[:3, 1] / spacing[1])])
    data.WindowCenter, data.WindowWidth = "100", "200"
    if maker.rescale is not None:
        data.RescaleSlope, data.RescaleIntercept = _decimals(maker.rescale)
        data.RescaleType = "normalized"
    data.PixelData = _stored(volume.array[k], maker).astype("<i2").tobytes()
    return data


def _items(**values) -> list[Dataset]:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return [item]


def _coded(value: str, scheme: str, meaning: str) -> list[Dataset]:
    return _items(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _enhanced(
    volume: Volume, maker: Vendor, what: Contrast, study: Study, number: int, uid: str, order: Sequence[int]
) -> Dataset:
    """Enhanced MR (DICOM PS3.3, A.36.2): all slices in one file, in the order of their numbers, not of their places."""
    affine, spacing = _lps(volume)
    count = len(order)
    inversion = what.ti is not None
    data = _root(volume, maker, what, study, number, uid, EnhancedMRImageStorage)
    data.ImageType = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
    data.InstanceNumber, data.NumberOfFrames = 1, count
    data.AcquisitionDateTime, data.AcquisitionDuration = "20200102102130.50", 240.0
    data.AcquisitionNumber = 1
    data.PixelPresentation, data.VolumetricProperties, data.VolumeBasedCalculationTechnique = (
        "MONOCHROME", "VOLUME", "NONE",
    )  # fmt: skip
    data.ComplexImageComponent, data.AcquisitionContrast = "MAGNITUDE", what.enhanced_contrast
    data.ContentQualification, data.ResonantNucleus, data.KSpaceFiltering = "PRODUCT", "1H", "NONE"
    data.MagneticFieldStrength, data.ApplicableSafetyStandardAgency = maker.field_t, "IEC"
    data.PulseSequenceName = what.sequence_name.strip("*") or "TSE"
    data.MRAcquisitionType, data.EchoPulseSequence, data.MultipleSpinEcho = what.acquisition, "SPIN", "YES"
    data.MultiPlanarExcitation, data.PhaseContrast, data.TimeOfFlightContrast = "NO", "NO", "NO"
    data.SteadyStatePulseSequence, data.EchoPlanarPulseSequence = "NONE", "NO"
    data.SaturationRecovery, data.SpectrallySelectedSuppression = "NO", "NONE"
    data.OversamplingPhase, data.RectilinearPhaseEncodeReordering = "NONE", "LINEAR"
    data.GeometryOfKSpaceTraversal, data.SegmentedKSpaceTraversal = "RECTILINEAR", "SINGLE"
    data.NumberOfKSpaceTrajectories = 1
    if what.acquisition == "3D":
        data.CoverageOfKSpace = "FULL"
    data.IsocenterPosition = [0.0, 0.0, 0.0]
    data.B1rms = 2.0
    data.LossyImageCompression, data.BurnedInAnnotation, data.PresentationLUTShape = "00", "NO", "IDENTITY"
    data.AcquisitionContextSequence = []
    data.DimensionOrganizationSequence = _items(DimensionOrganizationUID=generate_uid())
    del data.AcquisitionDate, data.AcquisitionTime
    organisation = data.DimensionOrganizationSequence[0].DimensionOrganizationUID
    data.DimensionIndexSequence = [
        _items(
            DimensionOrganizationUID=organisation,
            DimensionIndexPointer=pydicom.tag.Tag(pointer),
            FunctionalGroupPointer=pydicom.tag.Tag("FrameContentSequence"),
        )[0]
        for pointer in ("StackID", "InStackPositionNumber")
    ]
    for item in data.DimensionIndexSequence:
        item.DimensionDescriptionLabel = "dimension"
    slope, intercept = maker.rescale or (1.0, 0.0)
    shared = Dataset()
    shared.PixelMeasuresSequence = _items(
        PixelSpacing=_decimals([spacing[1], spacing[0]]),
        SliceThickness=_decimals([0.85 * spacing[2]])[0],
        SpacingBetweenSlices=_decimals([spacing[2]])[0],
    )
    shared.PlaneOrientationSequence = _items(
        ImageOrientationPatient=_decimals([*(affine[:3, 0] / spacing[0]), *(affine[:3, 1] / spacing[1])])
    )
    shared.FrameAnatomySequence = _items(FrameLaterality="U", AnatomicRegionSequence=_coded("12738006", "SCT", "Brain"))
    shared.PixelValueTransformationSequence = _items(
        RescaleSlope=_decimals([slope])[0], RescaleIntercept=_decimals([intercept])[0], RescaleType="US"
    )
    shared.FrameVOILUTSequence = _items(WindowCenter="100", WindowWidth="200")
    shared.MRImageFrameTypeSequence = _items(
        FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"], PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique="NONE", ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast=what.enhanced_contrast,
    )  # fmt: skip
    timing = _items(
        RepetitionTime=str(what.tr), FlipAngle="90", EchoTrainLength=str(what.echoes), RFEchoTrainLength=what.echoes,
        GradientEchoTrainLength=0, GradientOutputType="DB_DT", GradientOutput=10.0,
    )  # fmt: skip
    timing[0].SpecificAbsorptionRateSequence = _items(
        SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.5
    )
    timing[0].OperatingModeSequence = [
        _items(OperatingModeType=kind, OperatingMode="IEC_NORMAL")[0] for kind in ("STATIC FIELD", "RF", "GRADIENT")
    ]
    shared.MRTimingAndRelatedParametersSequence = timing
    shared.MRFOVGeometrySequence = _items(
        InPlanePhaseEncodingDirection="ROW", MRAcquisitionFrequencyEncodingSteps=int(data.Columns),
        MRAcquisitionPhaseEncodingStepsInPlane=int(data.Rows),
        MRAcquisitionPhaseEncodingStepsOutOfPlane=count if what.acquisition == "3D" else 1,
        PercentSampling="100", PercentPhaseFieldOfView="100",
    )  # fmt: skip
    shared.MREchoSequence = _items(EffectiveEchoTime=what.te)
    shared.MRModifierSequence = _items(
        InversionRecovery="YES" if inversion else "NO", FlowCompensation="NONE", Spoiling="NONE",
        T2Preparation="NO", SpectrallySelectedExcitation="NONE", SpatialPresaturation="NONE",
        PartialFourier="NO", ParallelAcquisition="NO",
    )  # fmt: skip
    if inversion:
        shared.MRModifierSequence[0].InversionTimes = [what.ti]
    shared.MRImagingModifierSequence = _items(
        MagnetizationTransfer="NONE", BloodSignalNulling="NO", Tagging="NONE", TransmitterFrequency=63.87,
        PixelBandwidth="150",
    )  # fmt: skip
    shared.MRReceiveCoilSequence = _items(
        ReceiveCoilName="HEAD", ReceiveCoilManufacturerName="", ReceiveCoilType="VOLUME", QuadratureReceiveCoil="NO"
    )
    shared.MRTransmitCoilSequence = _items(
        TransmitCoilName="BODY", TransmitCoilManufacturerName="", TransmitCoilType="BODY"
    )
    shared.MRAveragesSequence = _items(NumberOfAverages="1")
    data.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k in order:
        frame = Dataset()
        frame.FrameContentSequence = _items(
            FrameAcquisitionNumber=1, FrameReferenceDateTime="20200102102130.50",
            FrameAcquisitionDateTime="20200102102130.50", FrameAcquisitionDuration=240.0, StackID="1",
            InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1],
        )  # fmt: skip
        frame.PlanePositionSequence = _items(ImagePositionPatient=_decimals((affine @ [0, 0, k, 1])[:3]))
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = frames
    data.PixelData = _stored(volume.array[list(order)], maker).astype("<i2").tobytes()
    return data
