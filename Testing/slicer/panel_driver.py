"""What tests of the panel share: volumes as a clinic loads them, and waiting for the panel to settle."""

from __future__ import annotations

import numpy as np

from Testing.harness.interaction import run_event_loop, wait_until


def add_volume(slicer, name: str, shape=(24, 64, 64), spacing=(3.5, 3.5, 6.0), array=None, kind=None, seed=0):
    """A volume node with gray noise in it, or with an array; spacing along I, J, K in mm."""
    if array is None:
        array = np.random.default_rng(seed).normal(500, 100, shape).astype(np.int16)
    affine = np.diag([*spacing, 1.0])
    return slicer.util.addVolumeFromArray(array, affine, name, kind)


def settle(panel, seconds: float = 0.4) -> None:
    """Let the panel notice what was loaded and end its look at the voxels."""
    run_event_loop(seconds)
    wait_until(lambda: panel.case._task is None, 20)


def shown(label) -> str:
    """Text of a label as a user sees it: empty while it is hidden."""
    return label.text if label.isVisible() else ""
