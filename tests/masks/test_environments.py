import json
import subprocess
import sys
from pathlib import Path

import pytest

from espalier.cli.main import main
from espalier.errors import MissingError, ResourceError, UseError
from espalier.masks.environments import (
    COMPLETE,
    describe_environment,
    environment_names,
    environment_python,
    environments_folder,
    install_environment,
    installed_versions,
)
from espalier.outputs import write_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPALIER_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


def test_they_lie_in_the_users_data_folder_unless_a_variable_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ESPALIER_ENVIRONMENTS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert environments_folder() == tmp_path / "espalier" / "environments"
    monkeypatch.setenv("ESPALIER_ENVIRONMENTS", str(tmp_path / "here"))
    assert environments_folder() == tmp_path / "here"


def test_every_version_of_an_environment_is_pinned() -> None:
    import tomllib

    import espalier.masks

    assert "totalsegmentator" in environment_names()
    for name in environment_names():
        recipe = tomllib.loads((Path(espalier.masks.__path__[0]) / "pins" / f"{name}.toml").read_text())
        pinned = {pin.split("==")[0].lower() for pin in recipe["pins"] if "==" in pin}
        assert len(pinned) == len(recipe["pins"])
        assert {package.lower() for package in recipe["packages"]} <= pinned


def test_an_unknown_name_is_wrong_use(folder: Path) -> None:
    with pytest.raises(UseError, match=r"one of .*totalsegmentator"):
        install_environment("totalsegmentor")
    assert not folder.exists()


def test_an_absent_one_says_how_to_make_it(folder: Path) -> None:
    with pytest.raises(MissingError, match="espalier doctor --install totalsegmentator"):
        environment_python("totalsegmentator", folder=Path())
    assert "espalier doctor --install totalsegmentator" in describe_environment("totalsegmentator")


def test_one_that_was_not_finished_or_has_other_pins_is_not_taken(folder: Path) -> None:
    python = folder / "totalsegmentator" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    with pytest.raises(MissingError, match="no environment"):
        environment_python("totalsegmentator", folder=Path())
    write_json(python.parents[1] / COMPLETE, {}, kind="folder", key="of an older version")
    with pytest.raises(MissingError, match="other pins"):
        environment_python("totalsegmentator", folder=Path())


def test_a_failed_install_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_NO_INDEX", "PIP_NO_CACHE_DIR", "PIP_ISOLATED"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    with pytest.raises(ResourceError, match=r"-m pip install.*failed"):
        install_environment("totalsegmentator")
    assert not (folder / "totalsegmentator").exists()


def test_an_own_environment_is_taken_as_it_is(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
    python = environment_python("totalsegmentator", given="own", folder=tmp_path)
    assert subprocess.run(
        [python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip() == str(tmp_path / "own")
    with pytest.raises(MissingError, match="no bin/python"):
        environment_python("totalsegmentator", given="other", folder=tmp_path)


def test_versions_are_read_without_starting_it(tmp_path: Path) -> None:
    about = tmp_path / "lib" / "python3.12" / "site-packages" / "some_package-1.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: Some-Package\nVersion: 1.2\n")
    found = installed_versions(tmp_path / "bin" / "python", ("some_package", "another"))
    assert found == {"some_package": "1.2"}


def test_doctor_installs_by_name_and_lists_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--install", "totalsegmentor"])
    assert caught.value.code == 2
    assert "totalsegmentator" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--json"])
    assert caught.value.code == 0
    assert "espalier doctor --install totalsegmentator" in json.loads(capsys.readouterr().out)["totalsegmentator"]
