"""Install missing Python packages in Slicer, after asking once, without changing Slicer's own packages.

Exactly one flavour of onnxruntime is ever installed: ``onnxruntime``, or ``onnxruntime-gpu`` once the user asks for the
GPU. Two of them write the same files and break each other.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import logging
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from flairseg.errors import DeviceError, MissingDependencyError
from slicer.i18n import tr as _

from . import pip_failures, pip_settings, settings
from .pip_failures import offline_advice, package_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
#: Packages of the package index that Slicer does not bring.
PACKAGES = ("onnxruntime",)
RUNTIME, GPU_RUNTIME = "onnxruntime", "onnxruntime-gpu"
#: For the event store of studies and verdicts, and for the analysis of a study: requested when first used.
STORE_PACKAGES = ("SQLAlchemy>=2.0",)
POSTGRESQL_PACKAGES = ("psycopg[binary]>=3.1",)
STATISTICS_PACKAGES = ("statsmodels", "pandas", "matplotlib", "jinja2")
#: For the report's page, the outlines in its pictures, and its PDF; for DICOM objects (Slicer brings pydicom). Asked
#: for when first used.
REPORT_PACKAGES = ("jinja2",)
OUTLINE_PACKAGES = ("scikit-image>=0.22",)
PDF_PACKAGES = ("reportlab>=4.2",)
DICOM_PACKAGES = ("highdicom>=0.28", "pydicom>=3.0.1")
#: All that provide ``import onnxruntime``.
FLAVOURS = (RUNTIME, GPU_RUNTIME, "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-silicon")
#: Slicer's own, which pip must leave as they are.
KEPT = ("numpy", "scipy", "SimpleITK", "vtk", "pillow", "pydicom")

_CONSOLE = _("View > Python Console")


def load_segment() -> Callable:
    """The function :func:`flairseg.segment`, with everything it needs but onnxruntime, which it loads itself.

    Raises
    ------
    MissingDependencyError
        A Python package is not installed; the advice is a line for Slicer's Python console.
    """
    try:
        from flairseg import segment
    except ImportError as error:
        raise MissingDependencyError(
            _("The Python package {name} is not installed.").format(name=error.name),
            _("In Slicer's Python console: slicer.util.pip_install('{packages}'), then try again.").format(
                packages=" ".join(PACKAGES)
            ),
        ) from error
    return segment


def installedFlavours() -> list[str]:
    """Flavours of onnxruntime that are installed; more than one is a broken installation."""
    return [name for name in FLAVOURS if installedVersion(name) is not None]


def gpuPresent() -> bool:
    """Whether this computer has an NVIDIA GPU with a driver, as far as known without starting anything."""
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").is_file()
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def installedVersion(name: str) -> str | None:
    """Version of an installed package; None if it is not there.

    It is read again once a folder of packages has changed: a click on *Segment* asks for thirty of them.
    """
    return _installed_version(name, _package_folders())


@lru_cache(maxsize=512)
def _installed_version(name: str, folders: tuple[tuple[str, int], ...]) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_folders() -> tuple[tuple[str, int], ...]:
    """Folders in which Python looks for packages, with the time of their last change, ns."""
    found = []
    for entry in sys.path:
        try:
            found.append((entry, os.stat(entry or os.curdir).st_mtime_ns))
        except OSError:
            continue
    return tuple(found)


def requirements(device: str = settings.AUTOMATIC) -> list[str]:
    """The lines of ``requirements.txt``, with the one flavour of onnxruntime that this device needs.

    An installed flavour stays, whichever it is, unless the GPU is requested and it cannot drive one.
    """
    return _lines(_flavour(device))


def missing(device: str = settings.AUTOMATIC) -> list[str]:
    """Requirements that are not installed, or too old."""
    return [line for line in requirements(device) if not _satisfied(line)]


def ensure(device: str = settings.AUTOMATIC, beforeChange: Callable[[], None] | None = None) -> None:
    """Have everything installed that a run on this device needs; asks the user once if something is missing.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    beforeChange : callable, optional
        Called before packages change: whatever holds onnxruntime's files open must close them (Windows).

    Raises
    ------
    MissingDependencyError
        The user declined, or the installation failed; with the cause and what helps.
    DeviceError
        There is no GPU package for this operating system.
    """
    present = installedFlavours()
    wanted = _flavour(device)
    surplus = [name for name in present if name != wanted]
    if not surplus and not missing(device):
        return
    if wanted == GPU_RUNTIME and sys.platform == "darwin":
        raise DeviceError(_("There is no GPU support on macOS."), _("Choose the device Automatic or CPU."))
    if surplus and not _confirm_swap(surplus, wanted):
        raise declined()
    if beforeChange is not None:
        beforeChange()
    if surplus:
        # Both flavours own the same files: the one that stays has to be reinstalled.
        run_pip(lambda: slicer.util.pip_uninstall(" ".join([*surplus, *([wanted] if wanted in present else [])])))
        importlib.invalidate_caches()
    try:
        _install([line for line in _lines(wanted) if not _satisfied(line)], ask=not surplus)
    except MissingDependencyError:
        if surplus and not installedFlavours():
            _put_back(surplus[0])
        raise
    importlib.invalidate_caches()
    still = missing(device)
    if still:
        raise MissingDependencyError(
            _("These packages are not installed: {names}.").format(names=", ".join(still)),
            _("Install them in Slicer's Python console ({menu}): slicer.util.pip_install({names!r})").format(
                menu=_CONSOLE, names=" ".join(still)
            ),
        )


def ensureStore(address: str = "") -> None:
    """Have installed what the event store needs; asks the user once if something is missing.

    Parameters
    ----------
    address : str
        Of the store: a path, or a PostgreSQL address, which takes a driver.

    Raises
    ------
    MissingDependencyError
        The user declined, or the installation failed; with the cause and what helps.
    """
    _ensure([*STORE_PACKAGES, *(POSTGRESQL_PACKAGES if "://" in address else ())])


def ensureStatistics() -> None:
    """Have installed what the analysis of a study needs; asks once; errors as for :func:`ensureStore`."""
    _ensure([*STORE_PACKAGES, *STATISTICS_PACKAGES])


def lacking(packages: Sequence[str]) -> list[str]:
    """Those of some requirements that are not installed, or too old."""
    return [line for line in packages if not _satisfied(line)]


def ensurePackages(packages: Sequence[str]) -> None:
    """Have some of the packages above installed; asks once; errors as for :func:`ensureStore`."""
    _ensure(packages)


@contextmanager
def constraints() -> Iterator[str]:
    """Path of a constraints file that pins what Slicer brings, to the versions it has."""
    with tempfile.TemporaryDirectory(prefix="flairseg-") as folder:
        path = Path(folder) / "constraints.txt"
        pins = [f"{name}=={version}" for name in KEPT if (version := installedVersion(name)) is not None]
        path.write_text("\n".join([*pins, ""]), encoding="utf-8")
        yield str(path)


def _lines(flavour: str) -> list[str]:
    lines = [line.split("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()]
    return [_with_name(line, flavour) if package_name(line) == RUNTIME else line for line in lines if line]


def _flavour(device: str) -> str:
    if device == settings.GPU:
        return GPU_RUNTIME
    present = installedFlavours()
    # Slicer's own choice of two is a broken installation, see ensure().
    return GPU_RUNTIME if GPU_RUNTIME in present else (present[0] if present else RUNTIME)


def _ensure(lines: Sequence[str]) -> None:
    _install(lacking(lines), ask=True)
    importlib.invalidate_caches()


def _install(lines: list[str], ask: bool) -> None:
    if not lines:
        return
    with constraints() as path:
        packaging = _slicer_packaging()
        if packaging is not None:
            run_pip(
                lambda: packaging.pip_ensure(
                    lines, constraints=path, prompt_install=ask, requester=_("FLAIR Segmentation")
                ),
                lines,
            )
            return
        if ask and not slicer.util.confirmOkCancelDisplay(
            _(
                "FLAIR Segmentation needs Python packages that Slicer does not include: {packages}. They are downloaded"
                " once, about 60 MB. Install them now?"
            ).format(packages=", ".join(package_name(line) for line in lines)),
            _("FLAIR Segmentation"),
        ):
            raise declined(lines)
        run_pip(lambda: slicer.util.pip_install(["-c", path, *lines]), lines)


def run_pip(step: Callable[[], object], packages: Sequence[str] = PACKAGES) -> None:
    """Run one call of pip that installs some packages; its failures become typed errors with advice.

    Raises
    ------
    MissingDependencyError
        With the cause and what helps.
    """
    refused = pip_settings.malformed()
    if refused is not None:
        raise MissingDependencyError(*pip_failures.malformed(refused))
    heard = _Heard(sys.stdout)
    with pip_settings.session() as unfetched:
        try:
            with redirect_stdout(heard):
                step()
        except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "declined" in str(error).lower():
                raise declined(packages) from error
            # Slicer prints pip's output line by line; its exception does not contain it.
            outputs = (getattr(error, "output", None), getattr(error, "stderr", None))
            parts = (heard.text, *(part for part in outputs if isinstance(part, str)), str(error), unfetched())
            said = "\n".join(part for part in parts if part)
            logging.error("FlairSeg: pip failed: %s", pip_settings.redacted(said))
            raise MissingDependencyError(*pip_failures.explain(said, packages)) from error


class _Heard(io.TextIOBase):
    """Standard output, of which the last part is kept.

    Parameters
    ----------
    stream : text stream or None
        A copy of everything that is written goes there, without passwords: Slicer logs its Python console.
    """

    #: Characters kept: the cause is at the end of pip's output.
    KEPT = 1 << 16

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.text = ""

    def write(self, text: str) -> int:
        """Keep a text and hand it on."""
        self.text = (self.text + text)[-self.KEPT :]
        if self._stream is not None:
            self._stream.write(pip_settings.redacted(text))
        return len(text)

    def flush(self) -> None:
        """Hand on what the stream holds back; PythonQt's has no such function."""
        flush = getattr(self._stream, "flush", None)
        if flush is not None:
            flush()


def _put_back(flavour: str) -> None:
    """After a failed exchange: the flavour that was there before."""
    try:
        with constraints() as path:
            run_pip(lambda: slicer.util.pip_install(["-c", path, flavour]))
    except MissingDependencyError as error:
        logging.error("FlairSeg: %s could not be put back: %s", flavour, error)


def _confirm_swap(surplus: list[str], wanted: str) -> bool:
    return slicer.util.confirmOkCancelDisplay(
        _(
            "Only one flavour of onnxruntime can be installed. {surplus} will be removed and {wanted} installed"
            " (about 300 MB for the GPU). Slicer's own packages are not changed. Continue?"
        ).format(surplus=", ".join(surplus), wanted=wanted),
        _("FLAIR Segmentation"),
    )


def declined(packages: Sequence[str] = PACKAGES) -> MissingDependencyError:
    """The error if the user declined the installation of packages."""
    return MissingDependencyError(
        _("The Python packages that FLAIR Segmentation needs were not installed."),
        _("Press the button again and agree, or ask your administrator. {offline}").format(
            offline=offline_advice(packages)
        ),
    )


def _slicer_packaging():
    """Slicer's package manager; None where this Slicer is too old to have it."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


def _satisfied(line: str) -> bool:
    version = installedVersion(package_name(line))
    if version is None:
        return False
    match = re.search(r">=\s*([0-9.]+)", line)
    return match is None or _numbers(version) >= _numbers(match[1])


def _with_name(line: str, name: str) -> str:
    return name + line[len(package_name(line)) :]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
