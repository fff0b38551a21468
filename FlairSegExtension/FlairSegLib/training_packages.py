"""PyTorch and the other packages of an adaptation: requested only there, with size and reason; Slicer's own stay.

On Linux the package index has PyTorch with the libraries of a GPU, 3 GB, of which an adaptation uses nothing: there it
comes from PyTorch's own index of CPU builds, unless the hospital has set its own index.
"""

from __future__ import annotations

import importlib
import sys

import slicer
from flairseg.errors import MissingDependencyError
from slicer.i18n import tr as _

from . import dependencies, job, pip_failures, pip_settings

TORCH, CPU_INDEX = "torch>=2.6", "https://download.pytorch.org/whl/cpu"
#: Trains, reads and writes models, writes the report.
PACKAGES = (TORCH, "onnx>=1.16", *dependencies.REPORT_PACKAGES, "matplotlib")


def missing() -> list[str]:
    """Requirements that are not installed, or too old."""
    return dependencies.lacking(PACKAGES)


def reason() -> str:
    """Return the packages to install, their size, and the purpose; empty if all are installed."""
    lacking = missing()
    if not lacking:
        return ""
    if TORCH in lacking:
        return _("Needs PyTorch, which trains the network: about 200 MB to download, 1 GB on the disk, once.")
    return _("Needs small Python packages that Slicer does not include: {names}.").format(names=_names(lacking))


def ensure() -> None:
    """Have everything installed; asks the user once if something is missing.

    Raises
    ------
    MissingDependencyError
        The user declined, an older PyTorch of another extension is there (which stays), or the installation failed;
        with the cause and what helps.
    """
    lacking = missing()
    if not lacking:
        return
    older = dependencies.installedVersion("torch")
    if TORCH in lacking and older is not None:
        raise MissingDependencyError(
            _("PyTorch {version} is installed, which is too old for an adaptation.").format(version=older),
            _(
                "Another extension may need it, so it was not changed. To replace it, run in Slicer's Python console:"
                " slicer.util.pip_install('-U {torch}')."
            ).format(torch=TORCH),
        )
    if not slicer.util.confirmOkCancelDisplay(
        _(
            "To adapt a model, Slicer's Python needs: {packages}. {reason} Segmentation does not need them. "
            "Slicer's own packages are not changed. Install them now?"
        ).format(packages=_names(lacking), reason=reason()),
        _("FLAIR Segmentation"),
    ):
        raise dependencies.declined(lacking)
    with dependencies.constraints() as path:
        for index, lines in _calls(lacking):
            command = ["-c", path, *index, *lines]
            dependencies.run_pip(lambda command=command: slicer.util.pip_install(command), lacking)
    importlib.invalidate_caches()
    still = missing()
    if still:
        raise MissingDependencyError(
            _("These packages are not installed: {names}.").format(names=_names(still)),
            pip_failures.offline_advice(still),
        )


def _calls(lacking: list[str]) -> list[tuple[list[str], list[str]]]:
    """Return the successive calls of pip: index options, requirements."""
    if TORCH not in lacking or sys.platform != "linux" or pip_settings.own_index(job.find_python()):
        return [([], lacking)]
    others = [line for line in lacking if line != TORCH]
    return [(["--index-url", CPU_INDEX], [TORCH]), *([([], others)] if others else [])]


def _names(lines: list[str]) -> str:
    return ", ".join("PyTorch" if line == TORCH else line.split(">")[0] for line in lines)
