"""FlairSeg: ventricles, normal periventricular hyperintensity and MS lesions from one brain FLAIR.

>>> import flairseg
>>> result = flairseg.segment("flair.nii.gz")            # doctest: +SKIP
>>> result.volumes_ml(), result.lesion_count             # doctest: +SKIP

Research use only - not a medical device. Importing this package loads nothing heavy: what a name needs is imported
when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "segment": "pipeline",
    "Segmentation": "segmentation",
    "Volume": "volume",
    "read_volume": "reading",
    "read_label_map": "io.label_maps",
    "write_segmentation": "writing",
    "render_overview": "overview",
}

__all__ = ["__version__", *sorted(_LAZY)]

if TYPE_CHECKING:
    from .io.label_maps import read_label_map as read_label_map
    from .overview import render_overview as render_overview
    from .pipeline import segment as segment
    from .reading import read_volume as read_volume
    from .segmentation import Segmentation as Segmentation
    from .volume import Volume as Volume
    from .writing import write_segmentation as write_segmentation


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names of the package, the lazy ones included."""
    return sorted({*globals(), *__all__})
