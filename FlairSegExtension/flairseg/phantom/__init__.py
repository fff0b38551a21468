"""A digital FLAIR phantom: a parametric head, scanned on any grid, with its ground truth.

It is generated from formulas and seeded noise, without patient images, and never used for training.
It serves to demonstrate and test the pipeline from image to segmentation without patient data.

>>> from flairseg.phantom import make_phantom, write_phantom
>>> paths = write_phantom(make_phantom(seed=3), "folder")           # doctest: +SKIP
>>> thin = make_phantom(3, (160, 256, 256), (1, 1, 1), scan=Scan(plane="sagittal"))  # doctest: +SKIP
"""

from __future__ import annotations

from .io import draw_phantom, write_phantom
from .phantom import LesionRecord, Phantom, Scan, make_phantom
from .tissues import Tissue

__all__ = ["LesionRecord", "Phantom", "Scan", "Tissue", "draw_phantom", "make_phantom", "write_phantom"]
