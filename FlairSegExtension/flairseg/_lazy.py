"""Lazy imports of public names (PEP 562), and redirects from the old paths of moved modules."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

#: Modules that README or documentation named up to version 0.1, and where they are now. The old paths import the same
#: module objects, with a DeprecationWarning, and will be removed in the release after next.
MOVED: Mapping[str, str] = {
    "flairseg.change": "flairseg.longitudinal",
    "flairseg.comparison_picture": "flairseg.comparison.picture",
    "flairseg.decoding": "flairseg.segmentation.decoding",
    "flairseg.deidentification": "flairseg.privacy.deidentify",
    "flairseg.ensemble": "flairseg.segmentation.ensemble",
    "flairseg.inference": "flairseg.segmentation.inference",
    "flairseg.lesion_table": "flairseg.anatomy.lesion_table",
    "flairseg.nifti": "flairseg.files.nifti",
    "flairseg.overview": "flairseg.segmentation.overview",
    "flairseg.pipeline": "flairseg.segmentation.pipeline",
    "flairseg.postprocessing": "flairseg.segmentation.postprocessing",
    "flairseg.quality": "flairseg.segmentation.quality",
    "flairseg.reading": "flairseg.io.reader",
    "flairseg.slicestack": "flairseg.image.slice_stack",
    "flairseg.volume": "flairseg.image.volume",
    "flairseg.writing": "flairseg.segmentation.writing",
}


def lazy(
    package: str, namespace: dict[str, object], names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that imports its public names when they are first used.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    namespace : dict
        Its ``globals()``; a name is kept there once it is imported.
    names : mapping of str to str
        Public name to its module, relative to the package without the leading dot.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{names[name]}", package), name)
        namespace[name] = value
        return value

    def list_names() -> list[str]:
        return sorted({*namespace, *names})

    return get, list_names


def postpone_numpy() -> None:
    """Import parts of NumPy when they are first used, which SciPy otherwise imports without using them.

    For processes of FlairSeg's own, before SciPy is imported: it saves them a tenth of a second. With
    ``importlib.util.LazyLoader``; parts that are there already stay.
    """
    import numpy as np

    for name in ("ctypeslib", "f2py", "polynomial", "testing"):
        full = f"numpy.{name}"
        spec = None if full in sys.modules else importlib.util.find_spec(full)
        if spec is None or spec.loader is None:
            continue
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
        setattr(np, name, module)


def new_path(name: str) -> str | None:
    """New path of a moved module; None if it was not moved."""
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return None


class _MovedModules:
    """Imports the module of the new path for an import of the old one.

    Finder and loader by their methods alone: ``importlib.abc`` takes longer to import than this package.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A specification for a moved module."""
        return None if new_path(fullname) is None else ModuleSpec(fullname, cast("Loader", self))

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """An empty module, replaced by the real one below."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new path into :data:`sys.modules` under the old one."""
        name = module.__name__
        new = new_path(name)
        if new is None:  # the specification was made by find_spec
            raise ImportError(f"No module named {name!r}", name=name)
        warnings.warn(
            f"{name} has moved to {new}; the old path will be removed in a later release.",
            DeprecationWarning,
            stacklevel=2,
        )
        sys.modules[name] = importlib.import_module(new)


def install() -> None:
    """Let the old paths import; once per process.

    First of the finders: through the package of an old path the usual ones would load its modules a second time.
    """
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MovedModules())
