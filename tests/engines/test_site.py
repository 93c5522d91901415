"""A site profile: strict, with what differs by stage."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.engines.place import Place
from espalier.engines.site import JOBS_IN_ALL, Site, read_site
from espalier.errors import SettingsError

PROFILE = """
cpus = 4
minutes = 60
jobs = 8
setup = ["source /shared/bin/activate"]
[slurm]
partition = "cpu"
account = "radiology"
[stages.train]
gpus = 1
minutes = 1440
[stages.train.slurm]
partition = "gpu"
"""


def test_a_stage_has_the_shared_settings_with_its_own_in_their_places(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(PROFILE)
    place = Place(engine="slurm", sites=read_site(tmp_path / "site.toml"))
    train, segment = place.site("train"), place.site("segment")
    assert (train.gpus, train.minutes, train.cpus, train.slurm.partition) == (1, 1440, 4, "gpu")
    assert train.slurm.account == "radiology"
    assert (segment.gpus, segment.minutes, segment.slurm.partition) == (0, 60, "cpu")


def test_all_mistakes_of_a_profile_are_told_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("cpu = 4\n[slurm]\npartion = 'x'\n")
    with pytest.raises(SettingsError, match=r"line 1.*cpu.*Did you mean cpus.*line 3.*partion.*partition"):
        read_site(tmp_path / "site.toml")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cpus = 0", "above 0"),
        ("gpus = -1", "negative"),
        ("[stages.tran]\ngpus = 1", "no stage"),
        ("[stages.train]\ngpu = 1", "Did you mean gpus"),
        ("[stages]\ntrain = 1", "no table"),
        ("minutes = 'long'", "minutes"),
    ],
)
def test_a_profile_that_cannot_be_followed_is_refused(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "site.toml").write_text(line)
    with pytest.raises(SettingsError, match=words):
        read_site(tmp_path / "site.toml")


def test_a_user_s_own_profile_is_read_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert read_site(None) == {"": Site()}
    (tmp_path / "espalier").mkdir()
    (tmp_path / "espalier" / "site.toml").write_text("cpus = 7")
    assert read_site(None)[""].cpus == 7


@given(st.integers(1, 200_000), st.integers(1, 500), st.none() | st.integers(1, 1000))
def test_no_more_jobs_than_an_array_may_hold_and_none_without_a_scan(ids: int, jobs: int, wanted: int | None) -> None:
    size = Site(jobs=jobs, scans_per_job=wanted).per_job(ids)
    assert size >= (wanted or 1)
    assert 1 <= -(-ids // size) <= JOBS_IN_ALL


def test_one_worker_for_each_gpu_else_one_for_each_set_of_threads() -> None:
    assert Site(cpus=8).side_by_side(1) == 8
    assert Site(cpus=8).side_by_side(4) == 2
    assert Site(cpus=8, gpus=2).side_by_side(1) == 2
    assert Site(cpus=8, gpus=2, workers=6).side_by_side(1) == 6
