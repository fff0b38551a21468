"""The methods paragraph of a cohort: processing and versions, as a draft for a paper."""

from __future__ import annotations

from ..reporting.wording import counted
from .run_record import RunRecord

_CITED = {
    "onnxruntime": "ONNX Runtime", "SimpleITK": "SimpleITK", "scipy": "SciPy", "scikit-image": "scikit-image",
    "dask": "Dask",
}  # fmt: skip


def methods_paragraph(run: RunRecord) -> str:
    """The paragraph as Markdown.

    Parameters
    ----------
    run : RunRecord
    """
    software, model, sessions = run.software, run.model, run.sessions
    earlier = run.of_earlier_options
    done = sessions.get("done", 0) - earlier
    failed = sessions.get("failed", 0) + sessions.get("quarantined", 0)
    none = sessions.get("no-flair", 0)
    text = (
        f"FLAIR images of {counted(done, 'session')} of {counted(run.subjects, 'subject')} were segmented into "
        f"ventricles, normal periventricular white matter hyperintensity and lesions with FlairSeg "
        f"{software['flairseg']} (model {model.id}, version {model.version}, sha256 {model.sha256[:12]})."
    )
    for one in run.other_models:
        text += (
            f" The parent of this model ({one.id}, version {one.version}, sha256 {one.sha256[:12]}) segmented "
            f"{one.sessions} of these sessions, unlike those of the adaptation."
        )
    if run.options.threshold is not None:
        text += f" Voxels with a lesion probability of {run.options.threshold:g} or more were labelled lesion."
    if run.options.regions:
        text += " Lesions were assigned to regions by atlas-to-subject registration."
    if run.comparisons:
        text += (
            f" Sessions of the same subject ({counted(run.comparisons, 'comparison')}) were registered to the "
            "half-way space; changes within test-retest variability were not counted."
        )
    if failed or none:
        text += (
            f" No result was obtained for {counted(failed + none, 'session')} ({failed} failed, {none} without FLAIR)."
        )
    if earlier:
        text += (
            f" Results of {counted(earlier, 'further session')} were made by another model, with other options or by "
            "another version; the table states which, and this paragraph does not describe them."
        )
    names = [f"{shown} {software[name]}" for name, shown in _CITED.items() if name in software]
    text += f" Processing used Python {software['python']}, {', '.join(names)}."
    text += " FlairSeg is for research use only and is not a medical device."
    return f"# Methods\n\n{text}\n"
