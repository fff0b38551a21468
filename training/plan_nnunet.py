"""Plan the network of S2 with nnU-Net: ``python -m training.plan_nnunet --config CONFIG``.

Writes the annotated patients, preprocessed as in the recipe, as an nnU-Net data set to a temporary folder, runs
fingerprint extraction and planning of nnU-Net (package ``nnunetv2``), and prints the 2D plan as ``network`` of a
recipe. Training needs nnU-Net's architecture library only.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from flairseg.adapt.framed import FramedCase, frame_case

from .config import TrainingConfig, load_config
from .data import data_folder, load_tabriz

#: Data set name in the form that nnU-Net requires.
DATASET = "Dataset001_Flair"
#: Ratio of nnU-Net's maximum to first number of features (512 / 32).
WIDEST = 16


def write_dataset(cases: list[FramedCase], classes: tuple[int, ...], folder: Path, slice_mm: float) -> None:
    """Write framed cases as raw data of nnU-Net: NIfTI files and ``dataset.json``.

    Parameters
    ----------
    cases : list of FramedCase
    classes : tuple of int
        Class value of each output channel, background first; numbered 0, 1, ... for nnU-Net.
    folder : Path
    slice_mm : float
        Slice distance; pixels are written as 1 mm.
    """
    import SimpleITK as sitk

    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for case in cases:
        labels = sum((np.uint8(n) * (case.labels == value) for n, value in enumerate(classes)), np.uint8(0))
        for array, file in (
            (case.prepared.slices, f"imagesTr/{case.name}_0000.nii.gz"),
            (labels.astype(np.uint8), f"labelsTr/{case.name}.nii.gz"),
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((1.0, 1.0, slice_mm))
            sitk.WriteImage(image, str(folder / file))
    description: dict[str, Any] = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, **{f"class{value}": n for n, value in enumerate(classes) if n}},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")


def plan(config: TrainingConfig, width: int) -> dict[str, Any]:
    """2D plan of nnU-Net for the annotated patients.

    Parameters
    ----------
    config : TrainingConfig
    width : int
        Features of the first stage; nnU-Net's default is 32.

    Returns
    -------
    dict
        ``network`` of a recipe, ``patch_size``, ``batch_size`` and ``architecture``.
    """
    cases = [frame_case(case, config.preprocessing) for case in load_tabriz(data_folder())]
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ[name] = str(Path(temporary, name))
            Path(temporary, name).mkdir()
        # nnU-Net reads these variables when it is imported.
        from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
        from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

        write_dataset(cases, config.preprocessing.output_classes, Path(temporary, "nnUNet_raw", DATASET), 6.8)
        DatasetFingerprintExtractor(DATASET, num_processes=1).run()
        planner = ExperimentPlanner(DATASET)
        planner.UNet_base_num_features = width
        planner.UNet_max_features_2d = WIDEST * width
        found = planner.plan_experiment()["configurations"]["2d"]
    architecture = found["architecture"]["arch_kwargs"]
    kernels = {side for kernel in architecture["kernel_sizes"] for side in kernel}
    convolutions = {*architecture["n_conv_per_stage"], *architecture["n_conv_per_stage_decoder"]}
    (kernel,), (count,) = kernels, convolutions
    return {
        "network": {
            "kind": "nnunet2d",
            "inputs": config.preprocessing.input_slices,
            "outputs": config.preprocessing.output_channels,
            "features": architecture["features_per_stage"],
            "strides": [stride[0] for stride in architecture["strides"]],
            "kernel": kernel,
            "convolutions": count,
        },
        "patch_size": [int(side) for side in found["patch_size"]],
        "batch_size": int(found["batch_size"]),
        "architecture": found["architecture"]["network_class_name"],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("configs") / "s2-nnunet.json")
    parser.add_argument("--published", action="store_true", help="the published resolution")
    parser.add_argument("--width", type=int, default=32, help="features of the first stage (nnU-Net's default: 32)")
    arguments = parser.parse_args()
    found = plan(load_config(arguments.config, arguments.published), arguments.width)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
