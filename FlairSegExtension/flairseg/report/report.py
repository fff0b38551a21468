"""One case as a report, from a result or from files, written as HTML and PDF, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from ..files.atomic import all_or_none, results_exist
from ..files.same_input import already_there, fingerprint
from . import gathering
from .case import Case
from .content import content_of
from .document import Content
from .html import PAPERS, render_html
from .safe import file_stem
from .texts import DEFAULT, load_texts

if TYPE_CHECKING:
    from ..segmentation.result import Segmentation

#: Marks in HTML and PDF files that identify their image.
_IMAGE = re.compile(rb"flairseg-image[^0-9a-f]{1,12}(?:content=.)?([0-9a-f]{64})")
#: Endings of the files that :meth:`CaseReport.write` makes.
ENDINGS = {"html": "_report.html", "pdf": "_report.pdf"}


class CaseReport:
    """The report of one case.

    Parameters
    ----------
    case : Case
        Everything that is known of the case.
    language : str
        Of the texts, see :func:`flairseg.report.texts.languages`.
    paper : str
        ``a4`` or ``letter``.

    Raises
    ------
    UnknownLanguageError
        If there are no texts of that language.
    ValueError
        If the paper is unknown.
    """

    def __init__(self, case: Case, language: str = DEFAULT, paper: str = "a4") -> None:
        if paper not in PAPERS:
            raise ValueError(f"paper is {paper!r}, not one of {', '.join(PAPERS)}")
        self.case = case
        self.paper = paper
        self._texts = load_texts(language)

    @classmethod
    def from_files(
        cls,
        path: str | Path,
        flair: str | Path | None = None,
        verdict: str | Path | None = None,
        followup: str | Path | None = None,
        language: str = DEFAULT,
        paper: str = "a4",
        **how: Any,
    ) -> CaseReport:
        """The report of files of ``flairseg segment`` or of a version of the review archive.

        Parameters and errors as for :func:`flairseg.report.gathering.from_files`; ``how`` are the fields of
        :class:`~flairseg.report.gathering.Reading`: ``study_date``, ``pseudonymiser``, ``regions``, ``meaning``.
        """
        image, judged, before = (None if p is None else Path(p) for p in (flair, verdict, followup))
        case = gathering.from_files(Path(path), image, judged, before, gathering.Reading(**how))
        return cls(case, language, paper)

    @classmethod
    def from_segmentation(
        cls,
        segmentation: Segmentation,
        language: str = DEFAULT,
        paper: str = "a4",
        **known: Any,
    ) -> CaseReport:
        """The report of a result in memory; ``known`` as for :func:`flairseg.report.gathering.from_segmentation`."""
        return cls(gathering.from_segmentation(segmentation, **known), language, paper)

    @cached_property
    def image_sha256(self) -> str:
        """Image fingerprint written to the files, so that another case's report is not replaced."""
        return self.case.image_sha256 or fingerprint(self.case.volume)

    @cached_property
    def content(self) -> Content:
        """The content of the report."""
        return content_of(self.case, self._texts)

    @property
    def stem(self) -> str:
        """Stem of its files: the case's name, and the version if it has one; safe in any file system."""
        version = self.case.review.version
        return file_stem(self.case.name if version is None else f"{self.case.name}_v{version:03d}")

    def html(self) -> str:
        """The HTML text.

        Raises
        ------
        MissingDependencyError
            If Jinja2 is not installed.
        """
        return render_html(self.content, self.paper, self.image_sha256)

    def pdf(self) -> bytes:
        """The PDF file's bytes.

        Raises
        ------
        MissingDependencyError
            If ReportLab is not installed.
        """
        from .pdf import render_pdf

        return render_pdf(self.content, self.paper, self.image_sha256)

    def write_html(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the HTML file; errors as for :meth:`html` and :meth:`write`."""
        return self._write(Path(path), self.html().encode("utf-8"), overwrite)

    def write_pdf(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the PDF file; errors as for :meth:`pdf` and :meth:`write`."""
        return self._write(Path(path), self.pdf(), overwrite)

    def write(
        self, folder: str | Path, html: bool = True, pdf: bool = True, overwrite: bool = False, stem: str | None = None
    ) -> dict[str, Path]:
        """Write ``<stem>_report.html`` and ``<stem>_report.pdf``, both or none.

        Raises
        ------
        OutputError
            If a file is there already and may not be replaced (``overwrite`` replaces reports of the same image only:
            code ``other-report``), or cannot be written.
        MissingDependencyError
            As for :meth:`html` and :meth:`pdf`.
        """
        stem = self.stem if stem is None else stem
        wanted = {kind: stem + ENDINGS[kind] for kind, asked in (("html", html), ("pdf", pdf)) if asked}
        self._check(Path(folder), wanted.values(), overwrite)
        raw = {name: self.html().encode("utf-8") if kind == "html" else self.pdf() for kind, name in wanted.items()}
        with all_or_none(Path(folder), raw) as temporary:
            for name, content in raw.items():
                (temporary / name).write_bytes(content)
        return {kind: Path(folder) / name for kind, name in wanted.items()}

    def _write(self, path: Path, raw: bytes, overwrite: bool) -> Path:
        self._check(path.parent, [path.name], overwrite)
        with all_or_none(path.parent, [path.name]) as temporary:
            (temporary / path.name).write_bytes(raw)
        return path

    def _check(self, folder: Path, names: Iterable[str], overwrite: bool) -> None:
        """Refuse to replace what the user did not ask to be replaced, and reports of another image."""
        for name in already_there(folder, names):
            if not overwrite:
                raise results_exist("Reports", folder / name)
            if _image_of(folder / name) != self.image_sha256:
                raise OutputError(
                    f"{name} in {folder} is the report of another image, or does not identify its image.",
                    "It was kept. Choose another folder, or move it.",
                    code="other-report", file=name, folder=str(folder),
                )  # fmt: skip


def _image_of(path: Path) -> str:
    """The fingerprint of the image in a report's HTML ``meta`` element or PDF keywords; empty where there is none."""
    try:
        found = _IMAGE.search(path.read_bytes())
    except OSError:
        return ""
    return "" if found is None else found[1].decode("ascii")
