"""The command line speaks: one clear sentence for bad input, exit codes as designed, data where asked."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from espalier.cli.main import main
from espalier.outputs import written_folder
from espalier.study import recipe_names


def call(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


def nifti(path: Path, *, slices: int = 20) -> None:
    import nibabel

    rng = np.random.default_rng(1)
    hu = rng.normal(0, 200, (32, 32, slices)).astype(np.int16)
    hu[8:24, 8:24] = 40
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([8.0, 8.0, 5.0, 1.0])), path)


def study(folder: Path, text: str) -> str:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_empty_folder_is_one_sentence_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    code, out, err = call("ingest", study(tmp_path, '[cohort]\nsources = ["scans"]\n'), capsys=capsys)
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "scans" in err


def test_an_unknown_key_is_exit_2_with_line_and_nearest_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("prepare", study(tmp_path, "[store]\nspacing = 1.5\n"), capsys=capsys)
    assert code == 2
    assert "line 2, [store] spacing: no such setting. Did you mean spacing_mm?" in err


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reports.csv").write_text("Accession No,report\n1,No effusion.\n", encoding="utf-8")
    text = '[labels]\nreports = "reports.csv"\nid_column = "accession"\n'
    code, _, err = call("label", study(tmp_path, text), capsys=capsys)
    assert code in {1, 2}
    assert "accession" in err
    assert "Accession No" in err
    assert "Traceback" not in err


def test_a_corrupt_series_is_set_aside_and_the_rest_goes_on_with_exit_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nifti(tmp_path / "scans" / "p1" / "s1" / "good.nii.gz")
    nifti(tmp_path / "scans" / "p2" / "s2" / "bad.nii.gz")
    bad = tmp_path / "scans" / "p2" / "s2" / "bad.nii.gz"
    bad.write_bytes(bad.read_bytes()[:3000])
    code, out, err = call("ingest", study(tmp_path, '[cohort]\nsources = ["scans"]\n'), capsys=capsys)
    assert code == 3, err
    assert "1 set aside" in out
    assert "truncated" in (tmp_path / "set_aside.csv").read_text() or "corrupt" in (tmp_path / "set_aside.csv").read_text()


def test_an_altered_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with written_folder(tmp_path / "bundle", kind="bundle") as partial:
        (partial / "bundle.json").write_text("{}")
    (tmp_path / "bundle" / "bundle.json").write_text('{"a": 1}')
    nifti(tmp_path / "scan.nii.gz")
    code, _, err = call("predict", str(tmp_path / "bundle"), str(tmp_path / "scan.nii.gz"), capsys=capsys)
    assert code == 1
    assert "bundle.json" in err
    assert "differ" in err


def test_an_earlier_stage_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("prepare", study(tmp_path, ""), capsys=capsys)
    assert code == 1
    assert "espalier ingest" in err


def test_errors_are_data_where_json_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("ingest", study(tmp_path, ""), "--json", capsys=capsys)
    told = json.loads(out)
    assert told["exit_code"] == code == 1
    assert "[cohort]" in told["error"]["found"]


def test_a_study_is_written_from_a_recipe_and_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("new", str(tmp_path / "study.toml"), "--from", "chest", capsys=capsys)[0] == 0
    assert "[cohort]" in (tmp_path / "study.toml").read_text()
    assert call("new", str(tmp_path / "study.toml"), "--from", "chest", capsys=capsys)[0] == 2
    assert call("new", str(tmp_path / "other.toml"), "--from", "chset", capsys=capsys)[0] == 2


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("recipe", "list", "--json", capsys=capsys)
    assert code == 0
    assert set(json.loads(out)["recipes"]) == set(recipe_names())
    assert "[training]" in call("recipe", "show", "demo", capsys=capsys)[1]


def test_a_verb_that_is_not_there_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("ingset", capsys=capsys)[0] == 2


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    out = call("--help", capsys=capsys)[1]
    for verb in "run ingest label segment prepare train evaluate compare export predict demo phantom new recipe status".split():
        assert verb in out


def test_doctor_tells_what_this_machine_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("doctor", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["torch"].startswith("2.14.1")


def test_show_says_what_a_file_is_and_verify_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with written_folder(tmp_path / "bundle", kind="bundle") as partial:
        (partial / "card.md").write_text("a card")
    assert "kind: bundle" in call("show", str(tmp_path / "bundle"), capsys=capsys)[1]
    assert call("verify", str(tmp_path / "bundle"), capsys=capsys)[0] == 0
    (tmp_path / "bundle" / "card.md").write_text("another card")
    code, _, err = call("verify", str(tmp_path / "bundle"), capsys=capsys)
    assert code == 1
    assert "card.md" in err


def test_help_comes_without_loading_torch() -> None:
    code = "import sys\nfrom espalier.cli.main import build\nbuild()\nprint('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
