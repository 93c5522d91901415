"""Files appear whole or not at all, say what they are, and notice when they were changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import AlteredError, InputError, MissingError, ResourceError, VersionError
from espalier.outputs import (
    hash_of,
    inside,
    key_of,
    locked,
    read_json,
    read_table,
    safe_id,
    sweep,
    verify_folder,
    write_csv,
    write_json,
    write_table,
    written_folder,
    written_whole,
)


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half() -> None:
        with written_whole(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_while_writing_leaves_no_file_of_that_name_and_the_sweep_removes_the_rest(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from espalier.outputs import written_whole\n"
        f"with written_whole(Path({str(tmp_path / 'a.bin')!r})) as p:\n"
        "    p.write_bytes(b'half'); print('now', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "a.bin").exists()
    assert len(list(tmp_path.iterdir())) == 1
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_private_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {}, kind="record", private=True)
    assert (tmp_path / "a.json").stat().st_mode & 0o077 == 0


def test_json_and_tables_come_back_as_they_went_with_kind_and_key(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2]}, kind="run", key="k1")
    frame = pl.DataFrame({"scan": ["a", "b"], "value": [1.5, None]})
    write_table(tmp_path / "a.parquet", frame, kind="cohort", key="k2")
    assert read_json(tmp_path / "a.json", kind="run")["x"] == [1, 2]
    assert read_table(tmp_path / "a.parquet", kind="cohort").equals(frame)
    assert (key_of(tmp_path / "a.json"), key_of(tmp_path / "a.parquet")) == ("k1", "k2")
    assert key_of(tmp_path / "nothing.json") is None


def test_a_file_of_another_kind_or_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {}, kind="run")
    with pytest.raises(InputError, match="kind 'run'"):
        read_json(tmp_path / "a.json", kind="bundle")
    (tmp_path / "b.json").write_text(json.dumps({"espalier": {"kind": "run", "version": 99}}))
    with pytest.raises(VersionError, match="version 99"):
        read_json(tmp_path / "b.json", kind="run")
    with pytest.raises(MissingError, match="espalier ingest"):
        read_table(tmp_path / "cohort.parquet", kind="cohort")


def test_a_completed_folder_notices_a_changed_a_missing_and_an_extra_file(tmp_path: Path) -> None:
    def make() -> Path:
        with written_folder(tmp_path / "bundle", kind="bundle") as partial:
            (partial / "a").write_text("a")
            (partial / "b").write_text("b")
        return tmp_path / "bundle"

    assert set(verify_folder(make(), kind="bundle")) == {"a", "b"}
    (tmp_path / "bundle" / "a").write_text("x")
    with pytest.raises(AlteredError, match="differ"):
        verify_folder(tmp_path / "bundle", kind="bundle")
    (make() / "b").unlink()
    with pytest.raises(AlteredError, match="gone"):
        verify_folder(tmp_path / "bundle", kind="bundle")
    (make() / "c").write_text("c")
    with pytest.raises(AlteredError, match="does not name"):
        verify_folder(tmp_path / "bundle", kind="bundle")


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(tmp_path / name, pl.DataFrame({"a": [1, 2, 3]}), kind="masks")
        time.sleep(0.01)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False))))
def test_hashes_do_not_depend_on_the_order_of_keys(data: dict[str, object]) -> None:
    assert hash_of(data) == hash_of(dict(reversed(data.items())))


@given(st.text(min_size=1), st.text(min_size=1))
def test_ids_in_file_names_hold_nothing_of_their_source(a: str, b: str) -> None:
    assert len(safe_id(a, b)) == 16
    assert set(safe_id(a, b)) <= set("0123456789abcdef")
    assert safe_id(a, b) != safe_id(a + b)


def test_a_spreadsheet_does_not_run_a_cell(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"a": "=HYPERLINK(1)", "b": "-5.0"}, {"a": "-cmd", "b": "@x"}], ("a", "b"))
    frame = pl.read_csv(tmp_path / "a.csv", infer_schema=False)
    assert frame.rows() == [("'=HYPERLINK(1)", "-5.0"), ("'-cmd", "'@x")]


def test_a_path_out_of_a_table_stays_inside_its_root(tmp_path: Path) -> None:
    assert inside(tmp_path, "a/b") == tmp_path.resolve() / "a" / "b"
    for name in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(InputError, match="outside"):
            inside(tmp_path, name)


def test_one_run_at_a_time_holds_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path):
        code = f"from pathlib import Path; from espalier.outputs import locked\nwith locked(Path({str(tmp_path)!r})): pass"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "ResourceError" in out.stderr
        assert f"process {os.getpid()}" in out.stderr
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises((ResourceError, OSError)):
        write_json(tmp_path / "file" / "a.json", {}, kind="run")
