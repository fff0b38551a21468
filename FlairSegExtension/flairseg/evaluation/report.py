"""Report of an evaluation as a self-contained HTML file: tables, the figures of S1, S2, S4 and S5, overlays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _optional as dependencies
from ..reporting.page import render_page
from .sections import sections
from .sections.overview import coverage, few_patients, key_figures, share_with_probabilities

if TYPE_CHECKING:
    from ..reporting.drawing import Figure, Picture
    from .results import EvaluationResult

REPORT = "evaluation.html"
_TEMPLATES = Path(__file__).with_name("templates")
#: Progress at which the figures are drawn and the overlays begin.
_DRAWN = 0.5
#: References of the report.
REFERENCES = (
    "S1: simultaneous segmentation of ventricles, normal and abnormal WMH by pix2pix; violin plots, normal against "
    "abnormal, overlays.",
    "S2: 2D nnU-Net for FLAIR lesions at two centres; slice-level figures by overlap.",
    "S4: DeepWML; figures by lesion-volume group with Shapiro-Wilk, Kruskal-Wallis and Mann-Whitney tests.",
    "S5: adapted 2.5D U-Net and its acceptance study; lesion-level F1, lesion load, 10.7 mm3 rule.",
    "Maier-Hein L, Reinke A et al. Metrics reloaded. Nat Methods 2024;21:195-212.",
    "Wack DS et al. Improved assessment of multiple sclerosis lesion segmentation agreement via detection and outline "
    "error estimates. BMC Med Imaging 2012;12:17.",
    "Bland JM, Altman DG. Lancet 1986;327:307-310; Stat Methods Med Res 1999;8:135-160 (limits of agreement).",
    "Shrout PE, Fleiss JL. Psychol Bull 1979;86:420-428 (ICC).",
    "Wilson EB. J Am Stat Assoc 1927;22:209-212 (interval of a proportion).",
    "Efron B. J Am Stat Assoc 1987;82:171-185; Field CA, Welsh AH. J R Stat Soc B 2007;69:369-390 (bootstrap).",
    "Wilcoxon F. Biometrics Bull 1945;1:80-83; Holm S. Scand J Stat 1979;6:65-70 (paired test, adjustment).",
)


def require_report() -> None:
    """Raise an error if packages for the report are missing.

    Raises
    ------
    MissingDependencyError
    """
    dependencies.require(dependencies.REPORT, "The report of an evaluation", "study")


def render(
    result: EvaluationResult,
    title: str = "Segmentations against references",
    files: Mapping[str, str] | None = None,
    overlays: bool = True,
    step: Callable[[float], None] | None = None,
) -> str:
    """Render the report as HTML without scripts or external resources; text from input is escaped.

    Parameters
    ----------
    result : EvaluationResult
    title : str
        Heading of the report.
    files : mapping of str to str, optional
        Files beside the report -> description.
    overlays : bool
        Show slices with agreement, false positives and false negatives. They show patients: omit them in a report that
        is passed on.
    step : callable, optional
        Called with the fraction done; may raise to cancel.

    Raises
    ------
    MissingDependencyError
        If matplotlib or Jinja2 is not installed.
    """
    require_report()
    from .figures.overlays import Overlays, overlay_pictures

    told = step or (lambda fraction: None)
    drawn: list[Figure | Picture] = list(draw_figures(result))
    told(_DRAWN)
    found = overlay_pictures(result, lambda done: told(_DRAWN + (0.9 - _DRAWN) * done)) if overlays else Overlays()
    notes = (
        *found.notes,
        *(["Agreement green, false positives red, misses yellow; radiological display. The number in a tile is that of "
           "its slice, counted from 1 in the file's own order."] if found.pictures else []),
    )  # fmt: skip
    context = {
        "kind": "Evaluation · segmentations against references",
        "title": title,
        "alerts": [text for text in (few_patients(result),) if text],
        "facts": _facts(result),
        "key": key_figures(result),
        "sections": sections(result, [*drawn, *found.pictures], notes),
        "references": REFERENCES,
        "files": dict(files or {}),
    }
    return render_page("evaluation.html.j2", _TEMPLATES, context)


def draw_figures(result: EvaluationResult) -> list[Figure]:
    """Draw every figure for which there are data, except overlays."""
    from ..reporting.drawing import style
    from .figures import curves, distributions, groups, loads, matrices, training

    with style():
        overview = distributions.overview_figure(result)
        learned = training.training_figure(result.training)
        return [
            *([overview] if overview else []),
            *distributions.violin_figures(result),
            *matrices.confusion_figures(result),
            *curves.curve_figures(result),
            *curves.slice_figures(result),
            *groups.group_figures(result),
            *loads.load_figures(result),
            *([learned] if learned else []),
        ]


def _facts(result: EvaluationResult) -> list[tuple[str, str]]:
    said = result.conventions
    known = [
        ("Size", coverage(result)),
        ("With probabilities", share_with_probabilities(result)),
        ("Sites", ", ".join(dict.fromkeys(c.site for c in result.cases if c.site))),
        ("Diseases", ", ".join(dict.fromkeys(c.disease for c in result.cases if c.disease))),
        ("NSD tolerance", f"{said.nsd_tolerance_mm:g} mm"),
        ("Lesions from", f"{said.minimum_lesion_mm3:g} mm3" if said.minimum_lesion_mm3 else "any size"),
        ("Intervals", f"bootstrap over patients, {said.resamples} resamples, seed {said.seed}"),
        ("Computed", result.created),
        ("Software", ", ".join(f"{name} {number}" for name, number in result.versions.items())),
    ]
    return [(name, value) for name, value in known if value]
