"""A model of TotalSegmentator with random weights, in its own folder layout; run in TotalSegmentator's environment.

    PYTHON tests/masks/random_totalsegmentator.py WEIGHTS [--task total] [--resolution fast] [--full] [--seed 0]

`--full` takes nnU-Net's full-size network in place of a tiny one.
"""

import argparse
import json
from pathlib import Path

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from totalsegmentator.map_tasks_config import TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS
from totalsegmentator.map_to_binary import class_map

TINY = {"features": [4, 8, 8], "patch": [32, 32, 32]}
FULL = {"features": [32, 64, 128, 256, 320, 320], "patch": [128, 128, 128]}


def network_of(size: dict[str, list[int]]) -> dict[str, object]:
    stages = len(size["features"])
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": size["features"],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plans_of(size: dict[str, list[int]], spacing: float) -> dict[str, object]:
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    intensity = {"mean": -100.0, "std": 400.0, "percentile_00_5": -1000.0, "percentile_99_5": 1000.0, "min": -1024.0,
                 "max": 3000.0, "median": -50.0}  # fmt: skip
    full = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": size["patch"],
        "median_image_size_in_voxels": [120.0, 120.0, 120.0],
        "spacing": [spacing] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**resampling, "order": 3},
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": network_of(size),
        "batch_dice": False,
    }
    return {
        "dataset_name": "random",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [spacing] * 3,
        "original_median_shape_after_transp": [120, 120, 120],
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": full},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensity},
    }


def write_model(weights: Path, number: int, trainer: str, labels: dict[int, str], *, full: bool, spacing: float) -> None:
    plans = plans_of(FULL if full else TINY, spacing)
    place = weights / TASK_ID_WEIGHTS_CONFIGS[number]["foldername"] / f"{trainer}__nnUNetPlans__3d_fullres"
    (place / "fold_0").mkdir(parents=True)
    named = {"background": 0, **{name: value for value, name in labels.items()}}
    about = {"channel_names": {"0": "CT"}, "labels": named, "numTraining": 1, "file_ending": ".nii.gz"}
    (place / "dataset.json").write_text(json.dumps(about))
    (place / "plans.json").write_text(json.dumps(plans))
    network = plans["configurations"]["3d_fullres"]["architecture"]
    made = get_network_from_plans(
        network["network_class_name"], network["arch_kwargs"], network["_kw_requires_import"], 1, len(labels) + 1,
        allow_init=True, deep_supervision=False,
    )  # fmt: skip
    state = {name: value + 0.05 * torch.randn_like(value) for name, value in made.state_dict().items()}
    told = {"network_weights": state, "trainer_name": trainer, "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": None}  # fmt: skip
    torch.save(told, place / "fold_0" / "checkpoint_final.pth")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("weights", type=Path)
    asked.add_argument("--task", default="total")
    asked.add_argument("--resolution", default="fast")
    asked.add_argument("--full", action="store_true")
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    torch.manual_seed(given.seed)
    known = TASK_CONFIGS[given.task]
    mode = (
        known["sub_modes"]["default" if given.resolution == "normal" else given.resolution] if "sub_modes" in known else known
    )
    write_model(
        given.weights, mode["task_id"], mode["trainer"], class_map[given.task], full=given.full, spacing=mode["resample"]
    )


if __name__ == "__main__":
    main()
