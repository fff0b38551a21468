"""Stand-in for ``slicer.packaging``: notes what would be installed; a test says what pip is to do about it."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

__all__ = ["load_requirements", "pip_check", "pip_ensure", "pip_install", "pip_uninstall"]


class Recorder:
    """What was asked for, and how the next requests end."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        #: Requirements handed to pip, one list of strings per call.
        self.installed: list[list[str]] = []
        #: Packages uninstalled, one list of strings per call.
        self.uninstalled: list[list[str]] = []
        #: ``requester`` and further keywords of each call of :func:`pip_ensure`.
        self.ensured: list[dict] = []
        #: Names of packages to be taken for missing although they are there.
        self.missing: set[str] = set()
        #: Raised by the next calls instead of installing: an exception, or None.
        self.failure: Exception | None = None
        #: What the user answers when asked whether to install.
        self.user_agrees = True


#: For tests; not in Slicer.
recorder = Recorder()


def load_requirements(path) -> list[Requirement]:
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def _requirements(requirements) -> list[Requirement]:
    if isinstance(requirements, str):
        try:
            return [Requirement(requirements)]
        except InvalidRequirement:
            return [Requirement(one) for one in requirements.split()]
    if isinstance(requirements, Requirement):
        return [requirements]
    if isinstance(requirements, list):
        return [Requirement(one) if isinstance(one, str) else one for one in requirements]
    raise TypeError(f"Expected str, Requirement, or list, got {type(requirements).__name__}")


def pip_check(req) -> bool:
    for requirement in _requirements(req):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if requirement.name in recorder.missing:
            return False
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if version not in requirement.specifier:
            return False
    return True


def pip_ensure(
    requirements,
    constraints=None,
    skip_packages=None,
    prompt_install=True,
    prompt_restart=True,
    requester=None,
    skip_in_testing=True,
    show_progress=True,
):
    missing = [requirement for requirement in _requirements(requirements) if not pip_check(requirement)]
    recorder.ensured.append({"requester": requester, "missing": [str(r) for r in missing]})
    if not missing:
        return None
    if prompt_install and not recorder.user_agrees:
        raise RuntimeError("User declined package installation")
    return pip_install([str(requirement) for requirement in missing], constraints=constraints)


def _fail() -> None:
    """Raise what a test wants. As Slicer does, pip's output is printed and is not in the exception."""
    failure = recorder.failure
    if isinstance(failure, subprocess.CalledProcessError):
        print(failure.output or "", end="\n" if failure.output else "")
        failure = subprocess.CalledProcessError(failure.returncode, "pip install")
    if failure is not None:
        raise failure


def pip_install(requirements, **kwargs):
    _fail()
    names = [str(requirement) for requirement in _requirements(requirements)]
    recorder.installed.append(names)
    recorder.missing -= {Requirement(name).name for name in names}


def pip_uninstall(requirements, **kwargs):
    _fail()
    recorder.uninstalled.append([str(requirement) for requirement in _requirements(requirements)])


def failed_install() -> subprocess.CalledProcessError:
    """What pip's failure (no network, a proxy that asks for a password) looks like to the caller; not in Slicer."""
    return subprocess.CalledProcessError(1, ["PythonSlicer", "-m", "pip", "install"])
