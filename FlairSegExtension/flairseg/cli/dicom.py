"""DICOM in ``flairseg segment``: find and read a folder's FLAIR, write DICOM objects of its study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import (
    CaseWarning,
    InputNotFoundError,
    MissingDependencyError,
    UnsupportedImageError,
)
from ..files.summary_paths import absolute_source
from ..io.dicom_names import learn_headers, may_be_dicom

if TYPE_CHECKING:
    from ..dicom import DicomVolume
    from ..privacy.pseudonyms import Pseudonymiser
    from ..segmentation.result import Segmentation


@dataclass(frozen=True)
class DicomOptions:
    """The options ``--dicom-out`` and ``--series``.

    Attributes
    ----------
    folder : Path or None
        Folder for DICOM objects; None: none are written.
    series : str or None
        Number or UID of the series to take.
    """

    folder: Path | None = None
    series: str | None = None

    def check(self, path: Path, stem: str, overwrite: bool) -> None:
        """Raise an error, before any work is done, if the output could not be written in the end."""
        if self.series is not None and not may_be_dicom(path):
            raise UnsupportedImageError(
                f"{path.name} is not DICOM: there are no series to choose from.",
                "Omit --series, or give the DICOM folder.",
            )
        if self.folder is not None:
            from ..segmentation.dicom_results import check_dicom_destination

            if not may_be_dicom(path):
                raise UnsupportedImageError(
                    f"{path.name} is not DICOM: there is no study that DICOM objects could belong to.",
                    "Give the DICOM folder of the study, or omit --dicom-out.",
                )
            check_dicom_destination(self.folder, stem, overwrite)

    def read(
        self, path: Path, progress: Callable[[float, str], None], pseudonymiser: Pseudonymiser | None
    ) -> DicomVolume | None:
        """The FLAIR of a DICOM folder; None for other files, and where pydicom is missing and not required."""
        if not may_be_dicom(path) or (find_spec("pydicom") is None and self.folder is None and self.series is None):
            return None
        from ..dicom import read_flair
        from ..io.reader import read_volume

        if pseudonymiser is not None:
            learn_headers(path, pseudonymiser)
        try:
            return read_flair(path, self.series, progress=progress)
        except InputNotFoundError:
            # A folder with other images gets specific advice.
            read_volume(path)
            raise

    def named(self, case: Segmentation, path: Path, spent: float) -> Segmentation:
        """The result with the path that was given and the seconds for finding and reading."""
        seconds = {**case.seconds, **{key: case.seconds.get(key, 0.0) + spent for key in ("read", "total")}}
        return replace(case, source=absolute_source(path), seconds=seconds)

    def write(
        self, case: Segmentation, read: DicomVolume, stem: str, pseudonymiser: Pseudonymiser | None, overwrite: bool
    ) -> list[str]:
        """Write the objects; return remarks for the reader."""
        if self.folder is None:
            return []
        from ..segmentation.dicom_results import DicomTarget, write_results

        date = read.source.study_date
        if pseudonymiser is not None:
            date = pseudonymiser.date(date)
        pdf, remarks = _report(case, date, pseudonymiser is not None)
        write_results(case, read.source, DicomTarget(self.folder, stem, overwrite, pseudonymiser), pdf=pdf)
        return remarks


NO_DICOM = DicomOptions()


def _report(case: Segmentation, study_date: str, dates_moved: bool) -> tuple[bytes | None, list[str]]:
    """The report's PDF if it can be made, else a remark."""
    from ..report import CaseReport

    try:
        report = CaseReport.from_segmentation(case, study_date=study_date, regions=False)
        return CaseReport(replace(report.case, dates_moved=dates_moved)).pdf(), []
    except MissingDependencyError as error:
        text = f"The DICOM objects have no report (PDF): {error.message} {error.advice}"
        return None, [CaseWarning(text, "report-without-pdf")]
