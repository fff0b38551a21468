"""Diagnostics for bug reports: versions and the error, without patient data."""

from __future__ import annotations

import os
import platform
import re

import slicer
from flairseg import __version__

from . import dependencies, pip_settings, settings, slicer_version

#: Packages whose versions matter.
PACKAGES = ("numpy", "scipy", "SimpleITK", "scikit-image", *dependencies.FLAVOURS)

#: A name in quotation marks; an apostrophe between two letters is part of it.
_QUOTED = re.compile(r"(?<!\w)'.*?'(?!\w)|“[^”\n]*”")
#: A path of any system: its begin, everything up to the last separator of the line, the last name. That ends with a
#: file's extension; else before the rest of the sentence.
_PATH = re.compile(
    r"""(?: (?<!\w)[A-Za-z]:[\\/] | \\\\(?=\w) | file:/+ | (?<![\w.:/<])~?/(?=[^\s/]) )
        (?: [^\n]*[\\/] )?
        (?: [^\n]*?\.[A-Za-z]\w{0,7}(?:\.gz)?(?=[\s:;,)'"\]]|\.?$|\.\s)
          | [^\n]*?(?=[:;,](?:\s|$)|\s(?:is|are|was|has|holds|gives|cannot|could|does|already|not|no)\b|['"]|$) )""",
    re.VERBOSE | re.MULTILINE,
)


def report(message: str = "", advice: str = "", **facts: object) -> str:
    """Text for a bug report.

    Parameters
    ----------
    message, advice : str
        Of the error, if there was one. Paths and quoted names are taken out: they may name a patient.
    **facts
        More lines, by name; the caller leaves out anything that may identify a patient.

    Returns
    -------
    str
    """
    lines = [f"FlairSeg {__version__}", *_application(), f"Python {platform.python_version()}", platform.platform()]
    lines += [f"CPU cores: {os.cpu_count()}"]
    lines += [f"{name}: {version}" for name in PACKAGES if (version := dependencies.installedVersion(name))]
    lines += [f"{name}: {value}" for name, value in facts.items() if value not in (None, "")]
    lines.append(f"network settings: {', '.join(pip_settings.present()) or 'none'}")
    if message:
        lines += ["", f"error: {without_names(message)}"]
    if advice:
        lines.append(f"advice: {without_names(advice)}")
    return "\n".join(lines) + "\n"


def without_names(text: str) -> str:
    """A message with quoted names and paths taken out.

    Rather too much than too little: names may contain apostrophes, and folders spaces.
    """
    text = _QUOTED.sub(lambda quoted: f"{quoted[0][0]}…{quoted[0][-1]}", text)
    return _PATH.sub("<path>", text)


def own_places(trace: str) -> str:
    """Lines ``file:line function`` with the folders taken out: the file's name is enough, folders may name a user."""
    return "\n".join(re.sub(r"^.*[/\\\\]", "", line) for line in trace.splitlines())


def _application() -> list[str]:
    version = getattr(slicer.app, "applicationVersion", None)
    revision = getattr(slicer.app, "revision", None)
    older = "" if slicer_version.isSupported() else f" (older than {slicer_version.oldest()}, the oldest supported)"
    return [f"3D Slicer {version or 'unknown'}" + (f" r{revision}" if revision else "") + older]


def deviceName(device: str) -> str:
    """A device in a reader's words."""
    from slicer.i18n import tr as _

    return {settings.AUTOMATIC: _("Automatic"), settings.CPU: _("CPU"), settings.GPU: _("GPU (NVIDIA)")}.get(
        device, device
    )
