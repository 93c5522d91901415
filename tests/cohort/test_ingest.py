import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from espalier.cohort import index
from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_scan
from espalier.cohort.table import COHORT, COHORT_COLUMNS, SERIES, read_cohort, read_series_table
from espalier.errors import FAILED, InputError
from espalier.geometry import world_mm
from espalier.outputs import safe_id

from .conftest import BRIGHT, ORIGIN_MM, PIXEL_MM, STEP_MM, DicomSeries, body_hu, edit, uid

Write = Callable[..., Path]
OPTIONS = CohortOptions(sources=("scans",))
FINAL = (COHORT, SERIES, "set_aside.csv")


def set_aside(folder: Path) -> dict[str, str]:
    rows = pl.read_csv(folder / "set_aside.csv", infer_schema=False)
    return {source.rpartition("/")[2]: reason for source, reason in rows.select("source", "reason").iter_rows()}


def test_a_dicom_cohort_has_its_promised_columns_and_reads_back(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "one", patient="P1", ContrastBolusAgent="Agent", InstitutionName="Here")
    write_series(tmp_path / "scans" / "two", patient="P2")
    summary = ingest(OPTIONS, folder=tmp_path)
    cohort = read_cohort(tmp_path)
    assert (summary.done, summary.set_aside) == (2, 0)
    assert cohort.columns == list(COHORT_COLUMNS)
    row = cohort.to_dicts()[0]
    expected = {
        "scan": safe_id(uid("P1", "S1", "1")),
        "patient": "P1",
        "series_uid": uid("P1", "S1", "1"),
        "source": "scans/one",
        "shape_z": 14,
        "spacing_z_mm": STEP_MM,
        "spacing_y_mm": PIXEL_MM[0],
        "verdict": "noted",
        "notes": ["short_coverage", "duplicate"],  # both patients have the voxels of the one made-up body
        "age_years": 61.0,
        "sex": "F",
        "kernel": "B30f",
        "slice_mm": STEP_MM,
        "contrast": "Agent",
        "site": "Here",
        "stem": "one",
        "accession": "007",
        "format": "dicom",
    }
    assert {name: row[name] for name in expected} == expected
    volume = read_scan(row, folder=tmp_path)
    assert np.array_equal(volume.voxels, body_hu())
    place = np.add(ORIGIN_MM, (BRIGHT[2] * PIXEL_MM[1], BRIGHT[1] * PIXEL_MM[0], BRIGHT[0] * STEP_MM))
    assert world_mm(volume.affine, BRIGHT) == pytest.approx(place)
    for name in FINAL:
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_bad_series_are_set_aside_and_the_good_ones_are_untouched(write_series: DicomSeries, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    write_series(scans / "good", patient="G")
    ingest(OPTIONS, folder=tmp_path)
    alone = read_cohort(tmp_path).to_dicts()
    (write_series(scans / "gap", patient="P1") / "slice_006.dcm").unlink()
    cut = write_series(scans / "cut", patient="P2") / "slice_006.dcm"
    cut.write_bytes(cut.read_bytes()[:-300])
    write_series(scans / "few", patient="P3", shape=(6, 20, 24))
    write_series(scans / "thick", patient="P4", step_mm=12.0)
    write_series(scans / "blank", patient="P5", PixelData=bytes(2 * 20 * 24))
    write_series(scans / "raw", patient="P6", RescaleIntercept=0)
    summary = ingest(OPTIONS, folder=tmp_path)
    assert set_aside(tmp_path) == {
        "gap": "missing_slice",
        "cut": "truncated_pixels",
        "few": "too_few_slices",
        "thick": "slices_too_thick",
        "blank": "constant_volume",
        "raw": "not_hu",
    }
    assert (summary.done, summary.set_aside) == (1, 6)
    assert read_cohort(tmp_path).to_dicts() == alone


def test_files_that_are_no_scans_are_counted(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scans")
    (folder / "notes.txt").write_text("words")
    (folder / "README").write_text("words without a suffix")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    shutil.copy(folder / "slice_001.dcm", folder / "._slice_001.dcm")
    (folder / "Thumbs.db").write_bytes(b"\1\2")
    (folder / "empty.dcm").touch()
    (folder / "report.pdf").write_bytes(b"%PDF")
    shutil.copy(folder / "slice_001.dcm", folder / "report.dcm")
    edit(folder / "report.dcm", lambda d: d.update({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}))
    summary = ingest(OPTIONS, folder=tmp_path)
    assert (summary.done, summary.set_aside) == (1, 0)
    assert "8 files that are no scans" in summary.words


def test_a_damaged_header_is_a_row_of_its_own(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "a")
    shutil.copy(tmp_path / "scans" / "a" / "slice_001.dcm", tmp_path / "scans" / "stump.dcm")
    (tmp_path / "scans" / "stump.dcm").write_bytes((tmp_path / "scans" / "stump.dcm").read_bytes()[:300])
    ingest(OPTIONS, folder=tmp_path)
    assert set_aside(tmp_path) == {"stump.dcm": "unreadable_file"}


def test_one_series_a_study_is_chosen_and_every_series_is_recorded(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "thick", series="1", step_mm=5.0)
    write_series(tmp_path / "scans" / "thin", series="2", shape=(24, 20, 24))
    write_series(tmp_path / "scans" / "scout", series="3", shape=(2, 20, 24), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    summary = ingest(OPTIONS, folder=tmp_path)
    assert [r["stem"] for r in read_cohort(tmp_path).to_dicts()] == ["thin"]
    series = {r["source"]: (r["chosen"], r["why"]) for r in read_series_table(tmp_path).to_dicts()}
    assert series == {
        "scans/thick": (False, "thicker slices"),
        "scans/thin": (True, "thinner slices"),
        "scans/scout": (False, "too few slices"),
    }
    assert "2 series not chosen" in summary.words
    assert summary.set_aside == 0
    ingest(CohortOptions(sources=("scans",), series="all"), folder=tmp_path)
    assert sorted(r["stem"] for r in read_cohort(tmp_path).to_dicts()) == ["thick", "thin"]


def test_one_uid_of_two_patients_is_set_aside_for_both(write_series: DicomSeries, tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        write_series(tmp_path / "scans" / patient, patient=patient, SeriesInstanceUID="1.2.3")
    assert ingest(OPTIONS, folder=tmp_path).done == 0
    assert set_aside(tmp_path) == {"P1": "uid_of_two_patients", "P2": "uid_of_two_patients"}


def test_folders_name_patient_and_study_of_nifti(write_nifti: Write, tmp_path: Path) -> None:
    thin = body_hu((28, 20, 24))
    write_nifti(tmp_path / "scans" / "p1" / "p1_a" / "p1_a_1.nii.gz")
    write_nifti(tmp_path / "scans" / "p1" / "p1_a" / "p1_a_2.nii.gz", hu=thin)
    write_nifti(tmp_path / "scans" / "p2" / "only.nii.gz")
    write_nifti(tmp_path / "scans" / "flat.nii.gz")
    ingest(OPTIONS, folder=tmp_path)
    rows = {r["stem"]: (r["patient"], r["study_uid"], r["series_uid"], r["scan"]) for r in read_cohort(tmp_path).to_dicts()}
    assert rows == {
        "flat": ("flat", "flat", "flat", safe_id("flat.nii.gz")),
        "only": ("p2", "only", "only", safe_id("p2/only.nii.gz")),
        "p1_a_2": ("p1", "p1_a", "p1_a_2", safe_id("p1/p1_a/p1_a_2.nii.gz")),
    }


def test_a_table_names_files_and_whose_they_are(write_nifti: Write, tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "ct.nii.gz")
    write_nifti(tmp_path / "scans" / "mask.nii.gz")
    (tmp_path / "files.csv").write_text(
        "file;patient;study;accession;age_years;sex\nct.nii.gz;007;S;A1;41,5;M\ngone.nii.gz;8;S;A2;;F\n"
    )
    ingest(CohortOptions(sources=("scans",), table="files.csv"), folder=tmp_path)
    (row,) = read_cohort(tmp_path).to_dicts()
    assert (row["patient"], row["study_uid"], row["accession"], row["age_years"], row["sex"]) == ("007", "S", "A1", 41.5, "M")
    assert set_aside(tmp_path) == {"gone.nii.gz": "missing_file"}


def test_a_source_may_be_a_single_file(write_nifti: Write, tmp_path: Path) -> None:
    write_nifti(tmp_path / "there" / "ct.nii.gz")
    write_nifti(tmp_path / "there" / "mask.nii.gz")
    (tmp_path / "study").mkdir()
    ingest(CohortOptions(sources=("../there/ct.nii.gz",)), folder=tmp_path / "study")
    (row,) = read_cohort(tmp_path / "study").to_dicts()
    assert row["source"] == str(tmp_path / "there" / "ct.nii.gz")
    assert read_scan(row, folder=tmp_path / "study").shape == (14, 20, 24)


def test_masks_beside_scans_are_set_aside_as_no_hu(write_nifti: Write, tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "ct.nii.gz")
    write_nifti(tmp_path / "scans" / "mask.nii.gz", hu=(body_hu() > 0).astype(np.uint8))
    ingest(OPTIONS, folder=tmp_path)
    assert set_aside(tmp_path) == {"mask.nii.gz": "not_hu"}


def test_nifti_beside_dicom_is_left_unless_both_are_wanted(
    write_series: DicomSeries, write_nifti: Write, tmp_path: Path
) -> None:
    write_series(tmp_path / "scans" / "dicom")
    write_nifti(tmp_path / "scans" / "ct.nii.gz")
    summary = ingest(OPTIONS, folder=tmp_path)
    assert read_cohort(tmp_path)["format"].to_list() == ["dicom"]
    assert "1 files of the other layout not taken" in summary.words
    ingest(CohortOptions(sources=("scans",), layout="mixed"), folder=tmp_path)
    assert sorted(read_cohort(tmp_path)["format"]) == ["dicom", "nifti"]


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: (p.mkdir(), (p / "a.txt").write_text("x"))])
def test_a_source_without_scans_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "scans")
    with pytest.raises(InputError, match="scans") as caught:
        ingest(OPTIONS, folder=tmp_path)
    assert caught.value.exit_code == FAILED
    assert not (tmp_path / COHORT).exists()


def test_a_series_that_lies_in_two_sources_is_taken_once(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "a")
    shutil.copytree(tmp_path / "scans", tmp_path / "copies")
    summary = ingest(CohortOptions(sources=("scans", "copies")), folder=tmp_path)
    assert read_cohort(tmp_path)["source"].to_list() == ["scans/a"]
    assert (summary.done, set_aside(tmp_path)) == (1, {"a": "series_twice"})


def test_parts_of_one_series_in_two_sources_are_both_set_aside(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scans" / "a", shape=(30, 20, 24))
    write_series(tmp_path / "scans" / "b", patient="P2")
    (tmp_path / "rest").mkdir()
    for n in range(15, 30):
        (folder / f"slice_{n:03d}.dcm").rename(tmp_path / "rest" / f"{n}.dcm")
    ingest(CohortOptions(sources=("scans", "rest")), folder=tmp_path)
    assert read_cohort(tmp_path)["source"].to_list() == ["scans/b"]
    assert set_aside(tmp_path) == {"a": "series_torn", "rest": "series_torn"}


def test_a_series_whose_files_lie_in_several_folders_is_one(
    write_series: DicomSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_series(tmp_path / "scans" / "x" / "a")
    for n in (3, 4, 9):
        (tmp_path / "scans" / "x" / f"part {n}").mkdir()
        (folder / f"slice_{n:03d}.dcm").rename(tmp_path / "scans" / "x" / f"part {n}" / "IM")
    ingest(OPTIONS, folder=tmp_path)
    (row,) = read_cohort(tmp_path).to_dicts()
    assert (row["source"], row["shape_z"], row["files"][3]) == ("scans/x", 14, "part 3/IM")
    monkeypatch.setattr(index, "FILES_A_UNIT", 4)  # one folder in several pieces of the index
    ingest(OPTIONS, folder=tmp_path)
    assert read_cohort(tmp_path).to_dicts() == [row]
    assert np.array_equal(read_scan(row, folder=tmp_path).voxels, body_hu())


def test_the_next_best_series_is_taken_where_the_best_turns_out_broken(write_series: DicomSeries, tmp_path: Path) -> None:
    broken = write_series(tmp_path / "scans" / "a", series="1", step_mm=3.0) / "slice_006.dcm"
    write_series(tmp_path / "scans" / "b", series="2", step_mm=4.0)
    broken.write_bytes(broken.read_bytes()[:-300])
    summary = ingest(OPTIONS, folder=tmp_path)
    told = {row["source"]: (row["chosen"], row["why"]) for row in read_series_table(tmp_path).to_dicts()}
    assert told == {
        "scans/a": (False, "set aside: truncated_pixels"),
        "scans/b": (True, "next best; the first was set aside: truncated_pixels"),
    }
    assert (summary.done, set_aside(tmp_path)) == (1, {"a": "truncated_pixels"})


def test_two_passes_under_one_uid_and_number_are_told_apart_by_time(write_series: DicomSeries, tmp_path: Path) -> None:
    def timed(hour: int):
        return lambda dataset, n: dataset.update({"AcquisitionTime": f"{hour:02d}00{n:02d}.5"})

    write_series(tmp_path / "scans" / "a", change=timed(9))
    write_series(tmp_path / "scans" / "b", change=timed(10))
    for n, path in enumerate(sorted((tmp_path / "scans" / "b").iterdir())):
        edit(path, lambda d, n=n: setattr(d, "SOPInstanceUID", uid("second", n)))
    ingest(OPTIONS, folder=tmp_path)
    assert read_series_table(tmp_path)["slices"].to_list() == [14, 14]
    (row,) = read_cohort(tmp_path).to_dicts()
    assert row["source"] in {"scans/a", "scans/b"}
    assert len(row["files"]) == 14


def test_nothing_is_done_when_all_is_up_to_date_and_a_changed_scan_is_read_again(
    write_series: DicomSeries, tmp_path: Path
) -> None:
    write_series(tmp_path / "scans" / "a", patient="P1")
    write_series(tmp_path / "scans" / "b", patient="P2")
    ingest(OPTIONS, folder=tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    ingest(OPTIONS, folder=tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    old = read_cohort(tmp_path)["voxels_sha256"].to_list()
    edit(tmp_path / "scans" / "a" / "slice_003.dcm", lambda d: setattr(d, "PixelData", d.PixelData[:-2] + b"\7\1"))
    ingest(OPTIONS, folder=tmp_path)
    new = read_cohort(tmp_path)["voxels_sha256"].to_list()
    assert new[0] != old[0]
    assert new[1] == old[1]


def test_a_scan_that_is_mended_leaves_the_set_aside_list(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scans" / "a")
    whole = (folder / "slice_003.dcm").read_bytes()
    (folder / "slice_003.dcm").unlink()
    ingest(OPTIONS, folder=tmp_path)
    assert set_aside(tmp_path) == {"a": "missing_slice"}
    (folder / "slice_003.dcm").write_bytes(whole)
    assert ingest(OPTIONS, folder=tmp_path).done == 1
    assert set_aside(tmp_path) == {}


def test_two_workers_and_copied_files_give_equal_bytes(write_series: DicomSeries, tmp_path: Path) -> None:
    for n in range(3):
        write_series(tmp_path / "one" / "scans" / f"p{n}", patient=f"P{n}")
    (tmp_path / "one" / "scans" / "p1" / "slice_005.dcm").unlink()
    shutil.copytree(tmp_path / "one" / "scans", tmp_path / "two" / "scans", copy_function=shutil.copyfile)
    ingest(OPTIONS, folder=tmp_path / "one")
    ingest(OPTIONS, folder=tmp_path / "two", workers=2)
    for name in FINAL:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_run_that_is_killed_goes_on_to_the_same_files(write_series: DicomSeries, tmp_path: Path) -> None:
    for n in range(8):
        write_series(tmp_path / "one" / "scans" / f"p{n}", patient=f"P{n}")
    shutil.copytree(tmp_path / "one" / "scans", tmp_path / "two" / "scans")
    ingest(OPTIONS, folder=tmp_path / "one")
    words = (
        "from pathlib import Path; from espalier.cohort.ingest import ingest; from espalier.cohort.options import CohortOptions"
    )
    code = f"{words}; ingest(CohortOptions(sources=('scans',)), folder=Path({str(tmp_path / 'two')!r}))"
    records = tmp_path / "two" / "records" / "ingest"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        limit = time.monotonic() + 60
        while process.poll() is None and len(list(records.glob("*.json"))) < 3 and time.monotonic() < limit:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
    assert records.is_dir()
    ingest(OPTIONS, folder=tmp_path / "two")
    for name in FINAL:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_name_of_a_patient_reaches_the_set_aside_list(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scans" / "a", patient="SECRET7", PatientName="Doe^Jane")
    (folder / "slice_003.dcm").unlink()
    ingest(OPTIONS, folder=tmp_path)
    text = (tmp_path / "set_aside.csv").read_text()
    assert "SECRET7" not in text
    assert "Doe" not in text


def test_a_series_over_two_folders_is_one_scan(write_series: DicomSeries, tmp_path: Path) -> None:
    def upper(dataset: pydicom.Dataset, n: int) -> bool:
        return n >= 7

    def lower(dataset: pydicom.Dataset, n: int) -> bool:
        return n < 7

    write_series(tmp_path / "scans" / "p" / "x", change=upper)
    write_series(tmp_path / "scans" / "p" / "y", change=lower)
    ingest(OPTIONS, folder=tmp_path)
    (row,) = read_cohort(tmp_path).to_dicts()
    assert row["source"] == "scans/p"
    assert row["files"][0] == "y/slice_000.dcm"
    assert np.array_equal(read_scan(row, folder=tmp_path).voxels, body_hu())


def test_what_espalier_wrote_itself_is_not_taken_for_scans(write_nifti: Write, tmp_path: Path) -> None:
    write_nifti(tmp_path / "ct.nii.gz")
    write_nifti(tmp_path / "masks" / "ct.nii.gz")
    assert ingest(CohortOptions(sources=(".",)), folder=tmp_path).done == 1


def test_links_that_loop_end(write_nifti: Write, tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "p" / "ct.nii.gz")
    (tmp_path / "scans" / "p" / "again").symlink_to(tmp_path / "scans")
    assert ingest(OPTIONS, folder=tmp_path).done == 1


def test_a_folder_whose_name_is_no_text_is_set_aside_and_the_rest_goes_on(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "good")
    write_series(tmp_path / "scans" / "other", patient="P2").rename(Path(os.fsdecode(bytes(tmp_path / "scans") + b"/f\xfcr")))
    summary = ingest(OPTIONS, folder=tmp_path)
    assert (summary.done, set_aside(tmp_path)) == (1, {"f\\udcfcr": "unreadable_folder"})


def test_halves_of_a_series_without_uids_are_not_taken_for_copies(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "one" / "a", shape=(24, 20, 24), SOPInstanceUID="")
    (tmp_path / "two").mkdir()
    for path in folder.iterdir():
        edit(path, lambda d: setattr(d.file_meta, "MediaStorageSOPInstanceUID", ""))
    for n in range(12, 24):
        (folder / f"slice_{n:03d}.dcm").rename(tmp_path / "two" / f"{n}.dcm")
    ingest(CohortOptions(sources=("one", "two")), folder=tmp_path)
    assert read_cohort(tmp_path).height == 0
    assert set(set_aside(tmp_path).values()) == {"series_torn"}


def test_equal_names_below_two_sources_are_told_as_such(write_nifti: Write, tmp_path: Path) -> None:
    for site, shift in (("a", 0), ("b", 5)):
        write_nifti(tmp_path / site / "001" / "s" / "ct.nii", hu=body_hu() + np.int16(shift))
    write_nifti(tmp_path / "b" / "002" / "s" / "ct.nii")
    ingest(CohortOptions(sources=("a", "b")), folder=tmp_path)
    assert read_cohort(tmp_path)["patient"].to_list() == ["002"]
    assert [row["reason"] for row in pl.read_csv(tmp_path / "set_aside.csv").to_dicts()] == ["name_twice", "name_twice"]


def test_tables_that_were_removed_or_are_stale_are_written_again(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "a")
    (write_series(tmp_path / "scans" / "b", patient="P2") / "slice_006.dcm").unlink()
    ingest(OPTIONS, folder=tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FINAL}
    (tmp_path / SERIES).unlink()
    (tmp_path / "set_aside.csv").write_text("source,scan,reason,found,expected,do,stage\nx,y,worker_died,z,,,ingest\n")
    ingest(OPTIONS, folder=tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in FINAL} == before


def test_a_damaged_deflated_file_is_set_aside_and_the_rest_goes_on(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "good", patient="P2")
    folder = write_series(tmp_path / "scans" / "a")
    for path in folder.iterdir():
        edit(path, lambda d: setattr(d.file_meta, "TransferSyntaxUID", DeflatedExplicitVRLittleEndian))
    packed = bytearray((folder / "slice_004.dcm").read_bytes())
    packed[600] ^= 255
    (folder / "slice_004.dcm").write_bytes(packed)
    summary = ingest(OPTIONS, folder=tmp_path)
    assert (summary.done, read_cohort(tmp_path)["source"].to_list()) == (1, ["scans/good"])
    assert set(set_aside(tmp_path).values()) <= {"unreadable_file", "missing_slice"}


def test_many_broken_studies_beside_sound_ones_do_not_stop_the_run(write_nifti: Write, tmp_path: Path) -> None:
    for n in range(28):
        write_nifti(tmp_path / "scans" / f"G{n:02d}" / "s" / "ct.nii", hu=body_hu() + np.int16(n))
    for n in range(26):
        for one in ("a", "b"):
            path = write_nifti(tmp_path / "scans" / f"B{n:02d}" / "s" / f"{one}.nii")
            path.write_bytes(path.read_bytes()[:-9])
    summary = ingest(OPTIONS, folder=tmp_path)
    assert summary.done == 28


def test_a_link_back_to_the_study_does_not_bring_its_own_files_in(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "a")
    (tmp_path / "scans" / "loop").symlink_to(tmp_path)
    first = ingest(OPTIONS, folder=tmp_path)
    second = ingest(OPTIONS, folder=tmp_path)
    assert (second.done, second.set_aside) == (first.done, first.set_aside) == (1, 0)
