"""Draw the synthetic slices that local adaptation rehearses: ``python -m training.make_replay --pool POOL.npz``.

They are part of the package (``flairseg/adapt/replay.npz``): slices of synthetic heads (SynthSeg label maps, Billot et
al. 2023, Apache-2.0) with lesions of a prior (open_ms_data, Lesjak et al. 2018, CC-BY), no image of a person. The first
ones are learnt again beside a site's cases, the last ones are for the check that nothing was forgotten. The pool must
be one that no published model was trained on (:func:`~training.synthetic.make_pool` with another seed).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from flairseg.adapt import replay

#: Gray levels are rounded to so many bytes: a step is less than a typical noise level, and the file a third smaller.
STEP = 4


def choose(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced samples of a pool: images (count, rows, columns), rounded to :data:`STEP`, and labels."""
    middle = images[:, images.shape[1] // 2] if images.ndim == 4 else images
    taken = np.linspace(0, len(middle) - 1, count).round().astype(int)
    rounded = np.clip(np.round(middle[taken] / STEP) * STEP, 0, 255).astype(np.uint8)
    return rounded, labels[taken]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="made by training.synthetic.make_pool")
    parser.add_argument("--output", type=Path, default=replay.PATH)
    arguments = parser.parse_args()
    with np.load(arguments.pool) as pool:
        images, labels = choose(pool["images"], pool["labels"], replay.LEARNT + replay.CHECKED)
    np.savez_compressed(arguments.output, images=images, labels=labels)
    print(f"{arguments.output}: {len(images)} slices, {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
