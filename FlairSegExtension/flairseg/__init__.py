"""FlairSeg: ventricles, normal periventricular hyperintensity and MS lesions from one brain FLAIR.

>>> import flairseg
>>> result = flairseg.segment("flair.nii.gz")            # doctest: +SKIP
>>> result.volumes_ml(), result.lesion_count             # doctest: +SKIP

Research use only - not a medical device. Importing this package is fast; modules are imported when a name is first
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _lazy
from ._version import __version__ as __version__

_NAMES = {
    "segment": "segmentation.pipeline",
    "Segmentation": "segmentation.result",
    "Volume": "image.volume",
    "read_volume": "io.reader",
    "read_label_map": "io.label_maps",
    "write_segmentation": "segmentation.writing",
    "render_overview": "segmentation.overview",
}

__all__ = ["__version__", *sorted(_NAMES)]

if TYPE_CHECKING:
    from .image.volume import Volume as Volume
    from .io.label_maps import read_label_map as read_label_map
    from .io.reader import read_volume as read_volume
    from .segmentation.overview import render_overview as render_overview
    from .segmentation.pipeline import segment as segment
    from .segmentation.result import Segmentation as Segmentation
    from .segmentation.writing import write_segmentation as write_segmentation

__getattr__, __dir__ = _lazy.lazy(__name__, globals(), _NAMES)
_lazy.install()
