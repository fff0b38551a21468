"""Make the schematic head for the error map of study reports from the digital phantom.

    python tools/make_schematic_head.py

writes ``FlairSegExtension/flairseg/study/analysis/schematic_head.json``: outlines of brain and ventricles of the
phantom (seed 0), projected along each axis, RAS mm relative to the centre of the brain's bounding box. No patient data.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from flairseg.phantom import Scan, make_phantom
from flairseg.phantom.tissues import Tissue
from flairseg.study.analysis.lesions import brain_frame
from scipy import ndimage
from skimage import measure

OUTPUT = Path(__file__).parents[1] / "FlairSegExtension/flairseg/study/analysis/schematic_head.json"
SPACING_MM = 1.5
#: View -> (axis of projection, horizontal axis, vertical axis), R = 0, A = 1, S = 2.
VIEWS = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}
NOT_BRAIN = {
    Tissue.AIR, Tissue.SKIN, Tissue.FAT, Tissue.MUSCLE, Tissue.BONE, Tissue.MARROW, Tissue.EYE, Tissue.CSF
}  # fmt: skip


def main() -> None:
    """Project a high-resolution phantom and write the outlines."""
    scan = make_phantom(0, (112, 170, 170), (SPACING_MM,) * 3, scan=Scan(tilt_deg=0.0, orientation="RAS"))
    frame = brain_frame(make_phantom(0, scan=Scan(tilt_deg=0.0)).volume)
    brain = ndimage.binary_opening(~np.isin(scan.tissue, list(NOT_BRAIN)), iterations=2)
    parts = {
        "brain": measure.label(brain) == 1 + np.argmax(np.bincount(measure.label(brain).ravel())[1:]),
        "inside": ndimage.binary_closing(scan.tissue == Tissue.VENTRICLE, iterations=1),
    }
    origin = scan.volume.ijk_to_ras[:3, 3]
    outlines = {view: {} for view in VIEWS}
    for view, (away, across, up) in VIEWS.items():
        for name, mask in parts.items():
            # Arrays are K, J, I: RAS axis a is array axis 2 - a.
            flat = mask.any(axis=2 - away)
            if across < up:
                flat = flat.T
            smooth = ndimage.gaussian_filter(np.pad(flat.astype(float), 2), 1.2)
            lines = []
            for contour in measure.find_contours(smooth, 0.5):
                points = measure.approximate_polygon(contour, 0.35) - 2
                if len(points) < 12:
                    continue
                mm = [
                    [round(float(p[k] * SPACING_MM + origin[axis] - frame.centre[axis]), 1)
                     for k, axis in enumerate((across, up))]
                    for p in points
                ]  # fmt: skip
                lines.append(mm)
            outlines[view][name] = lines
    document = {
        "about": "Brain and ventricles of the phantom, seed 0; mm, RAS; made by tools/make_schematic_head.py",
        "half_mm": [round(float(x), 1) for x in frame.half],
        "outlines": outlines,
    }
    OUTPUT.write_text(json.dumps(document) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
