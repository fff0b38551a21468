"""Generate the synthetic slices for rehearsal in local adaptation: ``python -m training.make_replay``.

They are part of the package (``flairseg/adapt/replay.npz``): slices of synthetic heads (SynthSeg label maps, Billot et
al. 2023, Apache-2.0) with lesions from a prior (open_ms_data, Lesjak et al. 2018, CC-BY), without any patient image.
The first ones are rehearsed together with a site's cases, the last ones test for forgetting. No published model was
trained with this seed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from flairseg.adapt import replay

from .data import data_folder
from .synthetic import make_pool
from .synthetic_wide import WideFlair

SEED = 43


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=replay.PATH)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flairseg-replay-") as folder:
        path = Path(folder) / "pool.npz"
        count = replay.LEARNT + replay.CHECKED
        make_pool(data_folder(), path, count, arguments.seed, WideFlair, neighbours=False, noise=False)
        with np.load(path) as pool:
            images, labels = pool["images"][:, 0], pool["labels"]
    np.savez_compressed(arguments.output, images=replay.packed(images), labels=labels)
    print(f"{arguments.output}: {len(images)} slices, {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
