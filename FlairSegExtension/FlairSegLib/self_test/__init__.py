"""The self-test inside 3D Slicer: both modules from loading a FLAIR to a closed study, on a digital phantom.

One line for each step, an exit code, and a file of diagnostics without names. From a terminal::

    Slicer --no-splash --python-code "from FlairSegLib import self_test; self_test.main()"

From Slicer's Python console, without ending Slicer: ``from FlairSegLib import self_test; self_test.run()``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import slicer

from .. import diagnostics
from ..settings import FlairSegSettings
from .painting import Painter, by_mouse
from .phantom import Case, check_labels, check_segments, labels_of, phantom_case
from .recorder import Recorder, Step, StepSkipped

__all__ = [
    "Case",
    "Options",
    "Recorder",
    "Step",
    "StepSkipped",
    "check_labels",
    "check_segments",
    "labels_of",
    "main",
    "phantom_case",
    "run",
    "write_report",
]

SEGMENTATION, REVIEW = "segmentation", "review"
#: Name of the file of diagnostics in Slicer's temporary folder.
REPORT = "FlairSeg-self-test.txt"
#: Settings of the user that the steps change, put back afterwards.
_SETTINGS = (
    "casesFolder",
    "reviewStoreUrl",
    "readerName",
    "regionsAfterRun",
    "modelId",
    "device",
    "exportFolder",
    "queueSource",
    "readingRoom",
)


@dataclass(frozen=True)
class Options:
    """Settings of the self-test.

    Attributes
    ----------
    modules : tuple of str
        :data:`SEGMENTATION`, :data:`REVIEW` or both.
    case : Case or None
        Image and its true classes; None: the digital phantom.
    models : tuple of str
        Ids of the model that segments and of one to compare it with; empty: the default and another.
    painter : callable
        Moves the brush.
    report : str or Path
        File of diagnostics; empty: :data:`REPORT` in Slicer's temporary folder.
    """

    modules: tuple[str, ...] = (SEGMENTATION, REVIEW)
    case: Case | None = None
    models: tuple[str, ...] = ()
    painter: Painter = by_mouse
    report: str | Path = ""


def main(options: Options | None = None) -> None:
    """Run the self-test and end Slicer: exit code 0 if no step failed, else 1."""
    code = 1
    try:
        code = 0 if run(options) else 1
    finally:
        # Whatever happened: a Slicer that stays open would look like a hanging test.
        slicer.util.exit(code)


def run(options: Options | None = None, write: Callable[[str], object] | None = None) -> bool:
    """Run the self-test in the open scene, which is closed.

    Parameters
    ----------
    options : Options, optional
    write : callable, optional
        Called with each line; default: standard output.

    Returns
    -------
    bool
        Whether no step failed.
    """
    options = options or Options()
    recorder = Recorder(write)
    began = time.monotonic()
    with kept_settings(), tempfile.TemporaryDirectory(prefix="FlairSeg-self-test-") as name:
        for module in options.modules:
            folder = Path(name) / module
            folder.mkdir()
            recorder.run(_steps(module, options, folder))
        slicer.mrmlScene.Clear(0)
    path = write_report(recorder, options.report)
    counts = {kind: sum(step.outcome == kind for step in recorder.steps) for kind in ("ok", "failed", "skipped")}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    recorder.say(f"{told} in {time.monotonic() - began:.0f} s. Diagnostics: {path}")
    return not recorder.failed


def _steps(module: str, options: Options, folder: Path) -> list[tuple[str, Callable[[], None]]]:
    """Steps of one module."""
    case = options.case or phantom_case()
    if module == REVIEW:
        from .review import ReviewSteps

        return ReviewSteps(case, folder, options.models[0] if options.models else "").steps()
    from .segmentation import SegmentationSteps

    return SegmentationSteps(case, folder, options.painter, options.models).steps()


def write_report(recorder: Recorder, path: str | Path = "") -> Path:
    """Write versions, steps and errors to a file that a user can attach to a report; it names no person and no path."""
    target = Path(path) if path else Path(slicer.app.temporaryPath) / REPORT
    lines = [diagnostics.report(steps=len(recorder.steps), failed=len(recorder.failed)).rstrip(), ""]
    lines += [diagnostics.without_names(step.line) for step in recorder.steps]
    for step in recorder.failed:
        lines += ["", step.name, diagnostics.own_places(step.trace)]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


@contextmanager
def kept_settings() -> Iterator[None]:
    """Put the user's settings back as they were."""
    settings = FlairSegSettings()
    before = {name: getattr(settings, name) for name in _SETTINGS}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)
