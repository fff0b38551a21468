"""A digital FLAIR phantom: a parametric head, scanned on any grid, with its ground truth.

Everything is drawn from formulas and seeded noise; no patient's image went into it, and it is never used for training.
It exists so that anyone can see and test the whole path from image to segmentation without patient data.

>>> from flairseg.phantom import make_phantom, write_phantom
>>> paths = write_phantom(make_phantom(seed=3), "folder")           # doctest: +SKIP
>>> thin = make_phantom(3, (160, 256, 256), (1, 1, 1), scan=Scan(plane="sagittal"))  # doctest: +SKIP
"""

from __future__ import annotations

from .io import draw_phantom, write_phantom
from .phantom import LesionRecord, Phantom, Scan, make_phantom
from .tissues import Tissue

__all__ = ["LesionRecord", "Phantom", "Scan", "Tissue", "draw_phantom", "make_phantom", "write_phantom"]
