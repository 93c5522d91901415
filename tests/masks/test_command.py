"""Commands as segmenters: real programs, written here, and nnU-Net with a tiny model where its environment is."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from espalier.cohort.volume import Volume
from espalier.errors import ScanError, SettingsError
from espalier.masks.command import command_key, command_masks
from espalier.masks.command_words import PLACEHOLDER, read_template
from espalier.masks.given import Given
from espalier.masks.options import CommandOptions, MaskOptions
from espalier.settings import parse

BOTH = ("lung_left", "lung_right")
LABELS = {"Lung Left": 7, "lung_right": 3}

READ_IT = """
import json, os, sys
from pathlib import Path
import nibabel as nib
import numpy as np
scan = nib.load(sys.argv[1])
hu = np.asarray(scan.dataobj)
air, x = (hu < -500) & (hu > -900), np.arange(hu.shape[0])[:, None, None]
left = scan.affine[0, 0] * x + scan.affine[0, 3] < -160  # RAS: negative x is the patient's left
labels = (air * np.where(left, 7, 3)).astype(np.uint8)
def write(path, voxels, affine=scan.affine):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
"""


@pytest.fixture
def program(tmp_path: Path):
    """Return a function that writes a segmenter whose last lines are given, and returns its command."""

    def written(body: str, words: str = "{scan} {mask}") -> str:
        (tmp_path / "segmenter.py").write_text(READ_IT + body)
        return f"{sys.executable} {tmp_path / 'segmenter.py'} {words}"

    return written


def run(volume: Volume, folder: Path, command: str, structures: tuple[str, ...] = BOTH, **options: Any) -> Given:
    options.setdefault("labels", LABELS)
    return command_masks(volume, structures, options=CommandOptions(command=command, **options), scan="s1", folder=folder)


def refused(volume: Volume, folder: Path, command: str, structures: tuple[str, ...] = BOTH, **options: Any) -> ScanError:
    with pytest.raises(ScanError) as caught:
        run(volume, folder, command, structures, **options)
    assert caught.value.source == "s1"
    return caught.value


def is_chest(given: Given, chest: Any) -> None:
    for value, lung in ((1, chest.left), (2, chest.right)):
        mask = given.masks.voxels == value
        assert 2 * (mask & lung).sum() / (mask.sum() + lung.sum()) > 0.97


def test_a_command_reads_the_scan_and_its_mask_is_read(chest: Any, tmp_path: Path, program: Any) -> None:
    given = run(chest.volume, tmp_path, program("write(sys.argv[2], labels)"))
    is_chest(given, chest)
    assert given.notes == ()
    assert given.masks.names == {1: "lung_left", 2: "lung_right"}
    assert given.masks.made_by["segmenter"].startswith("python")
    assert not list(tmp_path.glob(".partial-*"))


def test_a_scan_in_any_orientation_comes_back_where_it_was(chest: Any, tmp_path: Path, program: Any) -> None:
    affine = chest.volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (chest.volume.shape[2] - 1)
    affine[:3, 2] *= -1
    turned = Volume(np.ascontiguousarray(chest.volume.voxels[..., ::-1]), affine)
    given = run(turned, tmp_path, program("write(sys.argv[2], labels)"))
    assert given.notes == ()
    is_chest(given, chest)  # canonical again, as the segmenter saw it


IN_FILES = "for name, value in {'Lung_L': 7, 'lung_right': 3, 'aorta': 99}.items(): write("
IN_FILES += "sys.argv[2] + f'/{name}.nii.gz', (labels == value) * np.uint8(255))"
LISTED = "write(sys.argv[2] + '/scan.nii.gz', labels); Path(sys.argv[2], 'dataset.json').write_text("
LISTED += "json.dumps({'labels': {'background': 0, 'lung_left': 7, 'lung_right': 3}}))"
DEEP = "write(Path(sys.argv[1]).parent / 'out' / 'segmentations' / 'CT.nii.gz', labels)"
WAYS = {
    "a file": ("{scan} {mask}", "write(sys.argv[2], labels)", LABELS),
    "a folder of structures": ("{scan} {mask_folder}", IN_FILES, None),
    "a folder where a file was meant": ("{scan} {mask}", IN_FILES, None),
    "nnU-Net's folders and its list of names": ("{scan_folder}/scan_0000.nii.gz {mask_folder}", LISTED, None),
    "below the scan's own folder": ("{folder:subject/CT_scan.nii.gz}/subject/CT_scan.nii.gz", DEEP, LABELS),
}


@pytest.mark.parametrize(("words", "body", "labels"), WAYS.values(), ids=WAYS)
def test_the_mask_is_found_wherever_segmenters_write_it(
    chest: Any, tmp_path: Path, program: Any, words: str, body: str, labels: Any
) -> None:
    is_chest(run(chest.volume, tmp_path, program(body, words), labels=labels), chest)


def test_labels_are_a_table_a_file_or_a_published_list(chest: Any, tmp_path: Path, program: Any) -> None:
    command = program("write(sys.argv[2], labels)")
    (tmp_path / "names.json").write_text(json.dumps({"7": "lung_left", "3": "lung_right"}))
    is_chest(run(chest.volume, tmp_path, command, labels="names.json"), chest)
    # In the list of TotalSegmentator's task total 3 is the left kidney and 7 the pancreas.
    published = run(chest.volume, tmp_path, command, ("pancreas", "kidney_left"), labels="ts_total")
    is_chest(published, chest)


def test_values_without_a_name_are_a_reason(chest: Any, tmp_path: Path, program: Any) -> None:
    command = program("labels[0, 0, 0] = 5; write(sys.argv[2], labels)")
    error = refused(chest.volume, tmp_path, command)
    assert error.code == "mask_values_unnamed"
    assert "the first 5" in error.found
    assert refused(chest.volume, tmp_path, command, labels=None).code == "mask_values_unnamed"


def test_a_command_that_goes_wrong_leaves_its_last_words_to_its_owner_alone(chest: Any, tmp_path: Path, program: Any) -> None:
    command = program("print('x' * 10**5, 'no GPU here', flush=True); sys.exit(7)")
    error = refused(chest.volume, tmp_path, command)
    assert error.code == "command_exit"
    assert "exit code 7" in error.found
    log = tmp_path / "records" / "command" / "s1.log"
    assert "records/command/s1.log" in error.do
    assert log.read_text().strip().endswith("no GPU here")
    assert log.stat().st_size <= 8192
    assert log.stat().st_mode & 0o077 == 0
    assert "GPU" not in str(error)
    is_chest(run(chest.volume, tmp_path, program("write(sys.argv[2], labels)")), chest)
    assert not log.exists()
    assert not list(tmp_path.glob(".partial-*"))


BAD_ENDS = [
    ("os.kill(os.getpid(), 9)", "command_exit"),
    ("pass", "command_no_output"),
    ("write(sys.argv[2] + '/a/one.nii.gz', labels); write(sys.argv[2] + '/b/two.nii.gz', labels)", "command_no_output"),
    ("Path(sys.argv[2]).write_bytes(b'no mask')", "mask_unreadable"),
    ("write(sys.argv[2], labels * 0.5)", "mask_values"),
    ("write(sys.argv[2], labels[None])", "mask_shape"),
    ("write(sys.argv[2], labels, np.eye(4))", "mask_position"),
    ("write(sys.argv[2], labels, np.diag([-1, -1, 1, 1]) @ scan.affine)", "mask_mirrored"),
    ("scan.affine[2, 3] += 5000; write(sys.argv[2], labels)", "mask_elsewhere"),
    (
        "write(sys.argv[2] + '/lung_left.nii.gz', labels); write(sys.argv[2] + '/lung_right.nii.gz', labels[1:])",
        "mask_grids_differ",
    ),
    (
        "write(sys.argv[2] + '/lung_left.nii.gz', labels); write(sys.argv[2] + '/aorta.nii.gz', labels)",
        "mask_without_structure",
    ),
]


@pytest.mark.parametrize(("body", "code"), BAD_ENDS)
def test_whatever_a_command_leaves_behind_is_a_mask_or_a_reason(
    chest: Any, tmp_path: Path, program: Any, body: str, code: str
) -> None:
    assert refused(chest.volume, tmp_path, program(body)).code == code


def test_a_mask_on_another_grid_is_noted(chest: Any, tmp_path: Path, program: Any) -> None:
    command = program("write(sys.argv[2], labels[::2, ::2, ::2], scan.affine @ np.diag([2, 2, 2, 1]))")
    assert run(chest.volume, tmp_path, command).notes == ("mask_other_grid",)


def test_the_command_sees_its_environment_and_not_ours(
    chest: Any, tmp_path: Path, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "ours")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "segment").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "venv" / "bin" / "segment").chmod(0o755)
    body = """
told = [os.environ.get(n, '') for n in ('VIRTUAL_ENV', 'WEIGHTS', 'PYTHONPATH')] + [os.environ['PATH'].split(':')[0], os.getcwd()]
Path(sys.argv[2]).parent.parent.joinpath('told.json').write_text(json.dumps(told))
write(sys.argv[2], labels)
"""
    command = program(body).replace(sys.executable, "segment")
    is_chest(run(chest.volume, tmp_path, command, environment="venv", variables={"WEIGHTS": "w"}), chest)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told[:4] == [str(tmp_path / "venv"), "w", "", str(tmp_path / "venv" / "bin")]
    assert Path(told[4]).name.startswith(".partial-command-")


def test_no_shell_reads_the_words(chest: Any, tmp_path: Path, program: Any) -> None:
    command = program(
        "assert sys.argv[3:] == ['$HOME;', '>', 'a b']; write(sys.argv[2], labels)", "{scan} {mask} $HOME; > 'a b'"
    )
    is_chest(run(chest.volume, tmp_path, command), chest)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("", "no command"),
        ("true {scan", "reads no scan"),
        ("true 'x {scan} {mask}", "do not end"),
        ("true {scan}", "writes no mask"),
        ("true {mask}", "reads no scan"),
        ("true {scan} {mask} {gpu}", "{gpu}"),
        ("true {scan} {scan_folder} {mask}", "{scan} and {scan_folder} at once"),
        ("true {scan_folder:../x.nii.gz} {mask}", "../x.nii.gz"),
        ("true {scan_folder:/x.nii.gz} {mask}", "/x.nii.gz"),
        ("true {scan_folder:x.txt} {mask}", "x.txt"),
        ("true {scan_folder:x.nii} {scan_folder:y.nii} {mask}", "two names"),
        ("true {scan:x.nii} {mask}", "{scan:x.nii}"),
        ("{scan} {mask}", "changes with the scan"),
        ("there_is_no_such_program {scan} {mask}", "no program there_is_no_such_program"),
        ("./here.sh {scan} {mask}", "no program ./here.sh"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_any_scan(tmp_path: Path, command: str, found: str) -> None:
    with pytest.raises(SettingsError, match=r"\[masks\.command\] command") as caught:
        command_key(CommandOptions(command=command), folder=tmp_path)
    assert found in caught.value.found


@pytest.mark.parametrize("labels", [{"lung": 0.5}, {"a": 1, "b": 1}, {"a": 300}, "nothing.json"])
def test_labels_that_are_none_are_refused_before_any_scan(tmp_path: Path, labels: Any) -> None:
    with pytest.raises(SettingsError, match=r"\[masks\.command\] labels"):
        command_key(CommandOptions(command="true {scan} {mask}", labels=labels), folder=tmp_path)


def test_an_environment_that_is_none_is_refused_before_any_scan(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[masks\.command\] environment"):
        command_key(CommandOptions(command="true {scan} {mask}", environment="venv"), folder=tmp_path)


def test_the_key_changes_with_program_model_versions_and_labels_and_with_nothing_else(tmp_path: Path) -> None:
    program, model, packages = (
        tmp_path / "venv" / "bin" / "go",
        tmp_path / "model",
        tmp_path / "venv/lib/python3.11/site-packages",
    )
    for path in (program.parent, model, packages / "torch-2.0.dist-info"):
        path.mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (model / "w.pth").write_bytes(b"1")

    def key(**changes: Any) -> str:
        own = {"command": f"go -m {model} {{scan}} {{mask}}", "environment": "venv", "labels": {"liver": 1}} | changes
        return json.dumps(command_key(CommandOptions(**own), folder=tmp_path))

    keys = [key(), key(labels={"liver": 2}), key(variables={"A": "b"})]
    os.utime(model / "w.pth", (1, 1))
    assert key() == keys[0]
    (model / "w.pth").write_bytes(b"2")
    keys.append(key())
    (packages / "torch-2.0.dist-info").rename(packages / "torch-2.1.dist-info")
    keys.append(key())
    program.write_text("#!/bin/bash\n")
    keys.append(key())
    assert len(set(keys)) == len(keys)


RECIPES = Path(__file__).parents[2] / "docs" / "how-to" / "other-segmenters.md"


@pytest.mark.parametrize("recipe", re.findall(r"```toml\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.DOTALL))
def test_the_documented_recipes_are_settings_that_hold(tmp_path: Path, recipe: str) -> None:
    settings = tomllib.loads(recipe.replace("/environments", str(tmp_path)).replace("/models", str(tmp_path / "models")))
    options = parse(MaskOptions, settings["masks"], source="other-segmenters.md")
    program = tmp_path / str(options.command.environment) / "bin" / options.command.command.split()[0]
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    template = read_template(options.command, folder=tmp_path)
    assert template.program == program
    filled = template.filled(tmp_path / "place", tmp_path)
    assert not [word for word in filled if PLACEHOLDER.search(word)]
    assert sum(str(tmp_path / "place") in word for word in filled) in (1, 2)


# nnU-Net itself

TINY_MODEL = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from random_totalsegmentator import TINY, plans_of
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
place = Path(sys.argv[2])
(place / 'fold_0').mkdir(parents=True)
labels = {'background': 0, 'lung_left': 1, 'lung_right': 2, 'heart': 3}
plans = plans_of(TINY, 6.0)
about = {'channel_names': {'0': 'CT'}, 'labels': labels, 'numTraining': 1, 'file_ending': '.nii.gz'}
(place / 'dataset.json').write_text(json.dumps(about))
(place / 'plans.json').write_text(json.dumps(plans))
torch.manual_seed(0)
network = plans['configurations']['3d_fullres']['architecture']
made = get_network_from_plans(network['network_class_name'], network['arch_kwargs'], network['_kw_requires_import'], 1, 4,
                              allow_init=True, deep_supervision=False)
state = {name: value + 0.05 * torch.randn_like(value) for name, value in made.state_dict().items()}
torch.save({'network_weights': state, 'trainer_name': 'nnUNetTrainer', 'init_args': {'configuration': '3d_fullres'},
            'inference_allowed_mirroring_axes': None}, place / 'fold_0' / 'checkpoint_final.pth')
"""


@pytest.mark.slow
def test_nnunet_runs_as_a_command_with_a_tiny_model(chest: Any, tmp_path: Path) -> None:
    place = os.environ.get("ESPALIER_ENVIRONMENTS", "")
    root = Path(place) / "totalsegmentator"
    if not place or not (root / "bin" / "nnUNetv2_predict_from_modelfolder").is_file():
        pytest.skip(
            "nnU-Net itself is left out: set ESPALIER_ENVIRONMENTS to the folder with its environment (totalsegmentator)"
        )
    making = [str(root / "bin" / "python"), "-c", TINY_MODEL, str(Path(__file__).parent), str(tmp_path / "model")]
    subprocess.run(making, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    words = (
        "-i {scan_folder} -o {mask_folder} -m {study}/model -f 0 -device cpu -npp 1 -nps 1 --disable_tta --disable_progress_bar"
    )
    command = CommandOptions(
        command=f"nnUNetv2_predict_from_modelfolder {words}",
        environment=str(root),
        variables={"nnUNet_raw": "", "nnUNet_preprocessed": "", "nnUNet_results": "", "nnUNet_compile": "f"},
    )
    structures = ("lung_right", "heart")
    given = command_masks(chest.volume, structures, options=command, scan="s1", folder=tmp_path)
    assert given.notes == ()
    assert given.masks.voxels.shape == chest.volume.shape
    np.testing.assert_allclose(given.masks.affine, chest.volume.affine)
    # The random network must have drawn something, and the same again when its own program is called by hand.
    by_hand = tmp_path / "by_hand"
    (by_hand / "in").mkdir(parents=True)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ chest.volume.affine @ np.eye(4)[[2, 1, 0, 3]]
    nib.save(nib.Nifti1Image(chest.volume.voxels.transpose(2, 1, 0), ras), by_hand / "in" / "scan_0000.nii.gz")
    direct = words.format(scan_folder=by_hand / "in", mask_folder=by_hand / "out", study=tmp_path).split()
    program = str(root / "bin" / "nnUNetv2_predict_from_modelfolder")
    subprocess.run(
        [program, *direct], check=True, capture_output=True, env={**os.environ, "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
    )
    labels = np.asarray(nib.load(by_hand / "out" / "scan.nii.gz").dataobj).transpose(2, 1, 0)
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(given.masks.voxels == 1, labels == 2)
    np.testing.assert_array_equal(given.masks.voxels == 2, labels == 3)
    assert "nnunetv2-2.8.1" in command_key(command, folder=tmp_path)["environment"]
