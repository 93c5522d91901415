"""A bundle is opened only when every byte is as it was exported."""

import json
import shutil
from pathlib import Path

import pytest

from espalier.deployment.bundle import Bundle, open_bundle
from espalier.errors import AlteredError, InputError, MissingError, VersionError
from espalier.outputs import complete_folder, hash_file


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study / "bundle", tmp_path / "bundle"))


def test_a_bundle_says_what_it_was_made_from_and_how_scans_are_read(bundle: Bundle, study: Path) -> None:
    assert bundle.findings == ("pleural_effusion", "emphysema", "lung_nodule")
    assert bundle.thresholds == pytest.approx({"pleural_effusion": 0.3, "emphysema": 0.4, "lung_nodule": 0.5})
    assert (bundle.store.spacing_mm, bundle.store.shape, bundle.crop) == ((6.0, 3.0, 3.0), (20, 32, 32), (16, 24, 24))
    assert bundle.structures == ("lung_left", "lung_right")
    assert bundle.run_hash == hash_file(study / "runs" / "masks" / "seed-0" / "weights.safetensors")
    assert bundle.intended_use == "research"
    assert {"espalier", "torch", "onnxruntime"} <= set(bundle.versions)


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", "card.md"])
def test_a_bundle_with_one_changed_byte_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(AlteredError, match=name.replace(".", r"\.")):
        open_bundle(copy)


def test_a_bundle_with_a_file_gone_or_added_is_refused(copy: Path) -> None:
    (copy / "notes.txt").write_text("seen")
    with pytest.raises(AlteredError, match="does not name"):
        open_bundle(copy)
    (copy / "notes.txt").unlink()
    (copy / "card.md").unlink()
    with pytest.raises(AlteredError, match="gone"):
        open_bundle(copy)


def test_the_hash_of_a_bundle_is_the_same_for_a_copy_and_another_for_other_content(copy: Path, bundle: Bundle) -> None:
    assert open_bundle(copy).hash == bundle.hash
    (copy / "card.md").write_text("another card")
    complete_folder(copy, kind="bundle")
    assert open_bundle(copy).hash != bundle.hash


def test_a_folder_that_is_no_bundle_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no complete bundle"):
        open_bundle(tmp_path)


def test_a_bundle_of_a_newer_espalier_is_refused(copy: Path) -> None:
    record = json.loads((copy / "bundle.json").read_text())
    record["espalier"]["version"] = 99
    (copy / "bundle.json").write_text(json.dumps(record))
    complete_folder(copy, kind="bundle")
    with pytest.raises(VersionError):
        open_bundle(copy)


def test_a_record_without_a_threshold_is_refused(copy: Path) -> None:
    record = json.loads((copy / "bundle.json").read_text())
    del record["thresholds"]["emphysema"]
    (copy / "bundle.json").write_text(json.dumps(record))
    complete_folder(copy, kind="bundle")
    with pytest.raises(InputError, match="emphysema"):
        open_bundle(copy)
