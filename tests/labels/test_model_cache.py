import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from espalier.errors import InputError, ResourceError, VersionError
from espalier.labels.answers import Answer
from espalier.labels.model_cache import CACHE, open_cache


def change(folder: Path, *commands: str) -> None:
    with closing(sqlite3.connect(folder / CACHE)) as connection, connection:
        for command in commands:
            connection.execute(command)


def test_answers_come_back_as_they_were_put(tmp_path: Path) -> None:
    own = {f"k{n}": Answer("present", n, n + 3) for n in range(1200)} | {"none": Answer("not_mentioned")}
    with open_cache(tmp_path) as cache:
        cache.put(own)
    with open_cache(tmp_path) as cache:
        assert cache.get([*own, "another"]) == own


def test_an_answer_is_on_disk_before_the_cache_is_closed(tmp_path: Path) -> None:
    with open_cache(tmp_path) as cache:
        cache.put({"k": Answer("absent", 1, 2)})
        with closing(sqlite3.connect(tmp_path / CACHE)) as other:
            assert other.execute("SELECT * FROM answer").fetchall() == [("k", "absent", 1, 2)]


def test_only_the_owner_may_read_kept_answers(tmp_path: Path) -> None:
    with open_cache(tmp_path):
        (tmp_path / CACHE).chmod(0o644)
    with open_cache(tmp_path):
        assert stat.S_IMODE((tmp_path / CACHE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be taken for the head of one" * 40, b"SQLite format 3\0" + b"\xff" * 400]
)
def test_a_file_that_holds_no_answers_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CACHE).parent.mkdir()
    (tmp_path / CACHE).write_bytes(content)
    with pytest.raises(InputError, match="Delete the file"), open_cache(tmp_path):
        pass
    assert (tmp_path / CACHE).read_bytes() == content


def test_another_database_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / CACHE).parent.mkdir()
    change(tmp_path, "CREATE TABLE answer (key TEXT)")
    with pytest.raises(InputError, match="no file of kept answers"), open_cache(tmp_path):
        pass


def test_answers_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    with open_cache(tmp_path):
        pass
    change(tmp_path, "PRAGMA user_version = 3")
    with pytest.raises(VersionError, match="version 3"), open_cache(tmp_path):
        pass


def test_a_place_where_nothing_can_be_kept_is_named(tmp_path: Path) -> None:
    (tmp_path / CACHE).mkdir(parents=True)
    with pytest.raises(ResourceError, match="cannot be written"), open_cache(tmp_path):
        pass
