"""All faults in one run: every scan ends where it must, and none ends elsewhere in silence."""

import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from espalier.cli.main import main
from espalier.cohort.options import SplitOptions
from espalier.cohort.read import read_scan
from espalier.cohort.splits import make_splits, read_splits
from espalier.cohort.table import read_cohort, read_series_table
from espalier.cohort.volume import Volume
from espalier.errors import DONE_WITH_SET_ASIDE
from espalier.geometry import world_mm

from .fault_scans import Expected
from .faults import ELSEWHERE, FAULTS, WITH_SETTINGS, name_of, write_faults

Run = Callable[[Path], tuple[int, str, str, int]]
FINAL = ("cohort.parquet", "series.parquet", "set_aside.csv")
MARKED_ABOVE_HU = 650
"""Nothing in a made-up trunk but its marker is denser."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A study of faults after `espalier ingest`, with its tables by the faults' folders."""

    folder: Path
    expected: Mapping[str, Expected]
    exit_code: int
    told: str
    complaints: str
    most_memory_bytes: int
    kept: Mapping[str, list[dict[str, Any]]]
    aside: Mapping[str, list[dict[str, Any]]]
    series: Mapping[str, list[dict[str, Any]]]


WITHOUT_RIGHTS_OF_ROOT = """
import ctypes, os, sys
drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2
for right in (dac_override, dac_read_search):
    ctypes.CDLL(None).prctl(drop_from_bounding_set, right, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Starts Python again so that the modes of files hold for root too (capabilities(7), PR_CAPBSET_DROP)."""


def run_ingest(folder: Path) -> tuple[int, str, str, int]:
    """Run the command; return exit code, both outputs, and the most memory that any of its processes took."""
    command = [sys.executable, "-c", WITHOUT_RIGHTS_OF_ROOT, "-m", "espalier.cli", "ingest", str(folder), "--workers", "2"]
    out, err = folder / "out.txt", folder / "err.txt"
    with out.open("w") as told, err.open("w") as complaints:
        process = subprocess.Popen(command, stdout=told, stderr=complaints)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, out.read_text(), err.read_text(), usage.ru_maxrss * 1024


def run_ingest_here(folder: Path) -> tuple[int, str, str, int]:
    """Do the same in this process, which takes a fifth of the time."""
    told, complaints = StringIO(), StringIO()
    with redirect_stdout(told), redirect_stderr(complaints), pytest.raises(SystemExit) as left:
        main(["ingest", str(folder), "--workers", "1"])
    return int(left.value.code or 0), told.getvalue(), complaints.getvalue(), 0


def by_fault(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["source"].split("/")[1], []).append(row)
    return grouped


def judge(folder: Path, expected: Mapping[str, Expected], *, run: Run = run_ingest) -> Judged:
    code, told, complaints, memory = run(folder)
    assert (folder / "cohort.parquet").is_file(), f"exit code {code}: {told}{complaints}"
    aside = pl.read_csv(folder / "set_aside.csv", infer_schema=False).fill_null("").to_dicts()
    return Judged(
        folder=folder,
        expected=expected,
        exit_code=code,
        told=told,
        complaints=complaints,
        most_memory_bytes=memory,
        kept=by_fault(read_cohort(folder).to_dicts()),
        aside=by_fault(aside),
        series=by_fault(read_series_table(folder).to_dicts()),
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    folder = tmp_path_factory.mktemp("faults") / "study"
    expected = write_faults(folder)
    yield judge(folder, expected)
    for path in (folder / "scans").glob("58-*/*"):
        if not path.is_symlink():
            path.chmod(0o700)


def meets(codes: list[str], expected: Expected) -> bool:
    """Tell whether the codes are those that must be there, and no others but those that may be there."""
    allowed = {one for code in (*expected.codes, *expected.may) for one in code.split("|")}
    return set(codes) <= allowed and all(set(code.split("|")) & set(codes) for code in expected.codes)


def ending(judged: Judged, name: str) -> str:
    """Say how a fault ended, in one line that a failed test shows."""
    kept = [f"{row['verdict']} {sorted(row['notes'])}" for row in judged.kept.get(name, [])]
    aside = [f"set aside {row['reason']}" for row in judged.aside.get(name, [])]
    unchosen = sum(not row["chosen"] for row in judged.series.get(name, []))
    return "; ".join([*kept, *aside, *([f"{unchosen} not chosen"] if unchosen else [])]) or "nothing"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_as_it_must(judged: Judged, name: str) -> None:
    expected = judged.expected[name]
    assert ends_as(judged, name, expected), f"found: {ending(judged, name)}\nexpected: {expected}"


def ends_as(judged: Judged, name: str, expected: Expected) -> bool:
    kept, aside = judged.kept.get(name, []), judged.aside.get(name, [])
    unchosen = sum(not row["chosen"] for row in judged.series.get(name, []))
    if unchosen != expected.unchosen:
        return False
    if expected.ending == "set_aside" or (expected.ending == "right_or_set_aside" and aside):
        reasons = [row["reason"] for row in aside]
        anything = Expected(ending="set_aside", codes=("|".join(expected.codes),), may=expected.may)
        right = meets(reasons, expected if expected.ending == "set_aside" else anything)
        return not kept and right and (expected.aside is None or len(aside) == expected.aside)
    notes = [code for row in kept for code in row["notes"]]
    if expected.ending == "right_or_set_aside":
        return len(kept) == 1
    right = all(meets(row["notes"], expected) and (row["verdict"] == "noted") == bool(row["notes"]) for row in kept)
    return len(kept) == expected.scans and not aside and right and bool(notes) >= bool(expected.codes)


@pytest.mark.parametrize("name", FAULTS)
def test_a_scan_that_is_kept_has_its_voxels_in_their_place(judged: Judged, name: str) -> None:
    for row in judged.kept.get(name, []):
        check_voxels(row, judged.expected[name], judged.folder)


def check_voxels(row: Mapping[str, Any], expected: Expected, folder: Path) -> None:
    volume = read_scan(row, folder=folder)
    assert hashlib.sha256(volume.voxels.tobytes() + volume.affine.tobytes()).hexdigest() == row["voxels_sha256"]
    if expected.spacing_z_mm is not None:
        assert row["spacing_z_mm"] == pytest.approx(expected.spacing_z_mm, abs=5e-3)
    if expected.voxels_sha256:
        assert np.array_equal(volume.voxels, volume.voxels.astype(np.int16))
        digest = hashlib.sha256(np.ascontiguousarray(volume.voxels, dtype=np.int16).tobytes()).hexdigest()
        assert digest in expected.voxels_sha256
    if expected.marker_mm is not None:
        assert marker_hu(volume, expected.marker_mm) == pytest.approx(
            min(expected.marker_hu, key=lambda hu: abs(hu - marker_hu(volume, expected.marker_mm or (0, 0, 0)))),
            abs=max(expected.tolerance_hu, 1e-3),
        )
        assert marker_mm(volume) == pytest.approx(expected.marker_mm, abs=1.3 if expected.tolerance_hu else 0.05)
    if expected.kernel:
        assert row["kernel"] == expected.kernel


def marker_hu(volume: Volume, place_mm: tuple[float, float, float]) -> float:
    index = np.linalg.inv(volume.affine) @ [*place_mm, 1.0]
    z, y, x = (round(float(v)) for v in index[:3])
    assert min(z, y, x) >= 0, "the marker's place is outside the scan"
    return float(volume.voxels[z, y, x])


def marker_mm(volume: Volume) -> np.ndarray:
    """Return the middle of all that is as dense as the marker, in world coordinates."""
    dense = np.argwhere(volume.voxels > MARKED_ABOVE_HU)
    assert len(dense), "no marker"
    return world_mm(volume.affine, dense.mean(axis=0))


def test_one_run_judges_all_faults_without_a_traceback(judged: Judged) -> None:
    assert judged.exit_code == DONE_WITH_SET_ASIDE, judged.complaints
    assert "Traceback" not in judged.complaints
    assert "fault of Espalier itself" not in judged.complaints


def test_every_series_ends_in_exactly_one_place(judged: Judged) -> None:
    kept = [row["scan"] for rows in judged.kept.values() for row in rows]
    aside = [row["scan"] for rows in judged.aside.values() for row in rows if row["scan"]]
    series = [row for rows in judged.series.values() for row in rows]
    chosen = [row["scan"] for row in series if row["chosen"]]
    assert len(set(chosen)) == len(chosen)
    assert sorted(kept + aside) == sorted(chosen)
    assert set(kept) & set(aside) == set()
    assert not {row["scan"] for row in series if not row["chosen"]} & set(chosen)


def test_no_fault_is_lost(judged: Judged) -> None:
    assert {*judged.kept, *judged.aside} == set(FAULTS)


def test_files_that_are_no_scans_are_counted(judged: Judged) -> None:
    (told,) = re.findall(r"(\d+) files that are no scans", judged.told)
    assert int(told) == sum(one.others for one in judged.expected.values())


def test_no_claim_and_no_bomb_takes_memory(judged: Judged) -> None:
    # A child's account begins with what its parent held when it was started.
    parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert judged.most_memory_bytes <= max(1 << 30, parent)


def test_names_of_patients_reach_no_output(judged: Judged) -> None:
    for text in (judged.told, judged.complaints, (judged.folder / "set_aside.csv").read_text(encoding="utf-8")):
        assert "anary" not in text


def test_no_patient_id_leads_out_of_the_folder(judged: Judged) -> None:
    assert not list(judged.folder.parent.parent.rglob("climbed*"))
    assert {"../../../climbed", "/etc/CON:1*?"} <= {row["patient"] for rows in judged.kept.values() for row in rows}


def test_one_scan_of_two_patients_ties_them_to_one_split(judged: Judged) -> None:
    twins = {row["patient"] for row in judged.kept["69-one-scan-of-two-patients"]}
    assert len(twins) == 2
    for seed in range(6):
        make_splits(SplitOptions(test=0.5, validation=0.3, seed=seed), folder=judged.folder)
        splits = read_splits(judged.folder)
        assert splits.filter(pl.col("patient").is_in(list(twins)))["split"].n_unique() == 1


def test_sound_scans_are_the_same_without_the_bad_ones(judged: Judged, tmp_path: Path) -> None:
    sound = sorted(name for name, one in judged.expected.items() if one.ending == "sound" and name in judged.kept)
    assert len(sound) > 30
    for name in sound:
        shutil.copytree(judged.folder / "scans" / name, tmp_path / "scans" / name, symlinks=True, copy_function=os.link)
    shutil.copy(judged.folder / "study.toml", tmp_path)
    alone = judge(tmp_path, {name: judged.expected[name] for name in sound})
    assert alone.kept == {name: judged.kept[name] for name in sound}


def test_a_second_run_changes_nothing(judged: Judged) -> None:
    before = {name: ((judged.folder / name).read_bytes(), (judged.folder / name).stat().st_mtime_ns) for name in FINAL}
    assert run_ingest(judged.folder)[0] == judged.exit_code
    assert {name: ((judged.folder / name).read_bytes(), (judged.folder / name).stat().st_mtime_ns) for name in FINAL} == before


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_a_setting_gives_a_fault_another_end(name: str, tmp_path: Path) -> None:
    write, setting = WITH_SETTINGS[name]
    folder = tmp_path / "study"
    expected = write_faults(folder, {name: write}, setting=setting)
    alone = judge(folder, expected, run=run_ingest_here)
    assert ends_as(alone, name, expected[name]), f"found: {ending(alone, name)}\nexpected: {expected[name]}"
    for row in alone.kept.get(name, []):
        check_voxels(row, expected[name], folder)
    assert name == name_of(write)


def documented() -> dict[int, set[str]]:
    """Return the codes of each fault in the reference for users."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "faults.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if re.match(r"\| \d", line)]
    return {int(number): set(re.findall(r"`(\w+)`", codes)) for number, _, _, codes in rows}


def test_the_reference_names_the_codes_of_every_fault(judged: Judged, tmp_path: Path) -> None:
    expected = {**judged.expected, **{name: write(tmp_path / name) for name, (write, _) in WITH_SETTINGS.items()}}
    told = documented()
    assert sorted(told) == list(range(1, 71))
    for number, codes in told.items():
        own = [one for name, one in expected.items() if int(name[:2]) == number]
        must = [code for one in own if one.ending != "right_or_set_aside" for code in one.codes]
        must += ELSEWHERE.get(number, ())
        may = [code for one in own for code in (*one.codes, *one.may)]
        assert own or number in ELSEWHERE, number
        assert all(set(code.split("|")) & codes for code in must), f"fault {number}: {must}"
        assert codes <= {one for code in (*must, *may) for one in code.split("|")}, f"fault {number}: {codes}"
