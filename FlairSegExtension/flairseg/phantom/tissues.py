"""Tissues of the phantom and their FLAIR signal."""

from __future__ import annotations

from enum import IntEnum


class Tissue(IntEnum):
    """Values of the tissue map (uint8)."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    MARROW = 5
    CSF = 6
    WHITE_MATTER = 7
    CORTEX = 8
    DEEP_GRAY = 9
    CEREBELLUM = 10
    BRAIN_STEM = 11
    VENTRICLE = 12
    CHOROID_PLEXUS = 13
    NORMAL_WMH = 14
    LESION = 15
    EYE = 16


#: Signal relative to white matter, as measured in 1.5 T FLAIR with long inversion time (medians over patients).
SIGNAL: dict[Tissue, float] = {
    Tissue.AIR: 0.0,
    Tissue.SKIN: 1.1,
    Tissue.FAT: 2.5,
    Tissue.MUSCLE: 0.62,
    Tissue.BONE: 0.05,
    Tissue.MARROW: 0.45,
    Tissue.CSF: 0.14,
    Tissue.WHITE_MATTER: 1.0,
    Tissue.CORTEX: 1.19,
    Tissue.DEEP_GRAY: 1.08,
    Tissue.CEREBELLUM: 1.06,
    Tissue.BRAIN_STEM: 1.0,
    Tissue.VENTRICLE: 0.15,
    Tissue.CHOROID_PLEXUS: 0.80,
    Tissue.NORMAL_WMH: 1.58,
    Tissue.LESION: 1.78,
    Tissue.EYE: 0.14,
}
