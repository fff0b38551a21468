"""Sections below a result: compare models, follow-up, report and DICOM, adapt. Collapsed by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adapt_section import AdaptSection
from .compare_section import CompareSection
from .export_section import ExportSection
from .follow_section import FollowSection

if TYPE_CHECKING:
    from ..settings import FlairSegSettings
    from .case_section import CaseSection
    from .model_section import ModelSection
    from .result_panel import ResultPanel


class FurtherPanel:
    """Joins the sections below the result.

    Parameters
    ----------
    placeholder : QWidget
        Its layout takes them.
    preferences : FlairSegSettings
    case : CaseSection
    model : ModelSection
    result : ResultPanel
    """

    def __init__(
        self, placeholder, preferences: FlairSegSettings, case: CaseSection, model: ModelSection, result: ResultPanel
    ) -> None:
        self.compare = CompareSection(placeholder, case, model, result.setSegmentation)
        self.follow = FollowSection(placeholder, case, model)
        self.export = ExportSection(placeholder, preferences, result, lambda: self.follow.present)
        self.adapt = AdaptSection(placeholder, preferences, model)
        self._sections = (self.compare, self.follow, self.export, self.adapt)
        result.onShown = self.export.update

    def update(self) -> None:
        """Another volume, model or result is chosen."""
        self.compare.update()
        self.follow.propose()
        self.export.update()

    def enter(self) -> None:
        """The panel is shown."""
        for section in self._sections:
            section.enter()

    def exit(self) -> None:
        """Another module is shown."""
        for section in self._sections:
            section.exit()

    def onSceneStartClose(self) -> None:
        """The scene is closing."""
        for section in self._sections:
            section.onSceneStartClose()

    def cleanup(self) -> None:
        """Clean up with the panel: running work ends. The widgets may be deleted already."""
        for section in self._sections:
            section.cleanup()
