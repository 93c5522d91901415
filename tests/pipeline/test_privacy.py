"""Names, ids, birth dates and reports stay where they belong: canaries in tags, paths and cells, looked for in every output."""

import json
import shutil
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import polars as pl
import pydicom
import pytest

from espalier.cli.main import main
from espalier.errors import EspalierError
from espalier.outputs import written_whole
from espalier.phantom.cohort import make_phantom
from espalier.phantom.options import PhantomOptions
from espalier.pipeline.stages import do
from espalier.study import read_study

from .traces import found_in

PRIVATE_TABLES = (
    "cohort.parquet",
    "series.parquet",
    "duplicates.parquet",
    "splits.parquet",
    "labels.parquet",
    "evidence.parquet",
    "set_aside.csv",
    "unmatched.csv",
    "records/",
)
"""Where ids, paths and sentences of reports may stand (design, section 5)."""
OUTSIDE = ("export", "study.toml", "reports.csv", "splits.csv", "scans.csv", "labels.csv", "secret")
"""What the user brings, which no verb writes."""
NOWHERE = {
    "PatientName": "QNAMEQ^ZOE",
    "PatientBirthDate": "19430217",
    "PatientComments": "QCOMMENTQ",
    "ImageComments": "QIMAGEQ",
    "StudyDescription": "QSTUDYQ",
    "ReferringPhysicianName": "QDOCTORQ^A",
    "OperatorsName": "QOPERATORQ",
    "PatientAddress": "QSTREETQ",
    "OtherPatientIDs": "QOTHERQ",
    "ProtocolName": "QPROTOCOLQ",
}
"""Tags that nothing needs."""
TABLES_ONLY = {"SeriesDescription": "QSERIESQ", "InstitutionName": "QSITEQ"}
PATIENT, ACCESSION, FOLDER, FILE = "QPID{}Q", "QACC{}Q", "QFOLDER{}Q", "QFILE{}Q"
TEXT, LONE_ID, OTHER_CELL, HEADER = "QREPORTQ", "QLONEQ", "QCELLQ", "QDESCRIPQ"
PRIVATE_TAG = "QPRIVATEQ"
STUDY = """
[cohort]
sources = ["export"]
layout = "mixed"
table = "scans.csv"
min_slices = 3
[splits]
table = "splits.csv"
[labels]
reports = "reports.csv"
lexicon = "ratic"
[masks]
source = "threshold"
structures = ["body"]
[store]
spacing_mm = [18.0, 14.4, 14.4]
window_hu = [-150.0, 250.0]
shape = [14, 22, 26]
"""


def never() -> list[str]:
    """Words that no output at all may hold."""
    return [*NOWHERE.values(), PRIVATE_TAG, OTHER_CELL, HEADER]


def identifying() -> list[str]:
    """Words that only private tables may hold."""
    numbered = [word.format(n) for word in (PATIENT, ACCESSION, FOLDER, FILE) for n in range(5)]
    return [*numbered, *TABLES_ONLY.values(), TEXT, LONE_ID]


def with_canaries(folder: Path, dataset: pydicom.FileDataset, name: str, n: int) -> None:
    for keyword, value in {**NOWHERE, **TABLES_ONLY}.items():
        setattr(dataset, keyword, value)
    dataset.PatientID, dataset.AccessionNumber = PATIENT.format(n), ACCESSION.format(n)
    dataset.private_block(0x0099, "QX", create=True).add_new(1, "LO", PRIVATE_TAG)
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / name)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of three DICOM and two NIfTI scans whose tags, names and cells hold canaries."""
    root = tmp_path_factory.mktemp("canaries")
    for form, patients in (("dicom", 3), ("nifti", 2)):
        options = PhantomOptions(patients=patients, anatomy="trauma", form=form, seed=5, test=1, pixels=32, slice_mm=(5, 5))
        make_phantom(root / form, options)
    study = root / "study"
    export = study / "export"
    by_patient = {path.relative_to(root).parts[:3]: path.parent for path in sorted((root / "dicom").rglob("*.dcm"))}
    series = list(by_patient.values())
    assert len(series) == 3
    for n, place in enumerate(series):
        for path in sorted(place.iterdir()):
            with_canaries(export / FOLDER.format(n), pydicom.dcmread(path), FILE.format(n) + path.name, n)
    lines = ["file,patient,accession,remarks"]
    for n, path in enumerate(sorted((root / "nifti" / "nifti").rglob("*.nii.gz"))[:2], start=3):
        scan = nib.load(path)
        scan.header["descrip"] = HEADER
        (export / FOLDER.format(n)).mkdir(parents=True)
        nib.save(scan, export / FOLDER.format(n) / f"{FILE.format(n)}.nii.gz")
        lines.append(f"{FILE.format(n)}.nii.gz,{PATIENT.format(n)},{ACCESSION.format(n)},{OTHER_CELL}")
    (study / "scans.csv").write_text("\n".join(lines) + "\n")
    rows = [f'{ACCESSION.format(n)},"The liver {TEXT} is intact. Splenic laceration.",{OTHER_CELL}' for n in range(4)]
    (study / "reports.csv").write_text("\n".join(["accession,report,doctor", *rows, f"{LONE_ID},No injury.,x"]) + "\n")
    rows = [f"{PATIENT.format(n)},{'test' if n % 2 else 'train'},{OTHER_CELL}" for n in range(4)]
    (study / "splits.csv").write_text("\n".join(["patient,split,by", *rows, f"{LONE_ID},train,"]) + "\n")
    (study / "study.toml").write_text(STUDY)
    return study


@pytest.fixture
def study(planted: Path, tmp_path: Path) -> Path:
    shutil.copytree(planted, tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture(scope="session")
def ingested(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same study after `ingest`."""
    folder = tmp_path_factory.mktemp("ingested") / "study"
    shutil.copytree(planted, folder)
    do(read_study(folder), "ingest", workers=1)
    return folder


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Return a function that runs one verb and returns its exit code and all that it said, tracebacks included."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as left:
                main([str(argument) for argument in arguments])
            code, told = int(left.value.code or 0), ""
        except EspalierError:
            code, told = 1, traceback.format_exc()
            assert "--debug" in arguments
        out = capfd.readouterr()
        return code, out.out + out.err + told

    return run


def leaks(text: str) -> list[str]:
    return [word for word in [*never(), *identifying()] if word in text]


def misplaced(study: Path) -> dict[str, list[str]]:
    """Return the files that hold what they must not, by what they hold."""
    wrong = found_in(study, never(), leave=OUTSIDE)
    for name, words in found_in(study, identifying(), leave=OUTSIDE).items():
        if not name.startswith(PRIVATE_TABLES):
            wrong.setdefault(name, []).extend(words)
    return wrong


def open_to_others(study: Path) -> list[str]:
    """Return the files with ids or reports that others may read."""
    return [name for name in found_in(study, identifying(), leave=OUTSIDE) if (study / name).stat().st_mode & 0o077]


WAY = ("ingest", "label", "segment", "prepare")


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["words", "json"])
def test_no_verb_says_who_a_patient_is_and_only_private_tables_hold_it(
    study: Path, say: Callable[..., tuple[int, str]], flags: tuple[str, ...]
) -> None:
    said = {}
    for verb in WAY:
        code, said[verb] = say(verb, study, *flags)
        assert code in {0, 3}, said[verb]
    said["status"] = say("status", study, *flags)[1]
    said["verify"] = say("verify", study, *flags)[1]
    for path in ("cohort.parquet", "series.parquet", "splits.parquet", "labels.parquet", "masks.parquet", "store.json", "."):
        said[f"show {path}"] = say("show", study / path, *flags)[1]
    scan = min((study / "masks").iterdir()).name.partition(".")[0]
    said["show --scan"] = say("show", study / "cohort.parquet", "--scan", scan, *flags)[1]
    assert {name: leaks(text) for name, text in said.items() if leaks(text)} == {}
    assert found_in(study, [PATIENT.format(0), ACCESSION.format(0)], leave=OUTSIDE).keys() >= {"cohort.parquet"}
    assert found_in(study, [TEXT], leave=OUTSIDE).keys() >= {"evidence.parquet"}
    assert misplaced(study) == {}
    assert open_to_others(study) == []
    assert (study / "records").stat().st_mode & 0o077 == 0


def test_no_page_holds_a_canary(study: Path, say: Callable[..., tuple[int, str]]) -> None:
    for verb in ("ingest", "label"):
        say(verb, study)
    say("show", study / "cohort.parquet")
    pages = sorted(study.glob("*.html"))
    assert pages
    assert not [word for page in pages for word in leaks(page.read_text())]


def test_a_killed_writer_leaves_nothing_that_others_may_read(tmp_path: Path) -> None:
    with written_whole(tmp_path / "cohort.parquet", private=True) as partial:
        partial.write_text(PATIENT)
        assert partial.stat().st_mode & 0o077 == 0


def cut_dicom(study: Path) -> None:
    for path in sorted((study / "export" / FOLDER.format(0)).iterdir()):
        path.write_bytes(path.read_bytes()[:900])


def lose_slice(study: Path) -> None:
    sorted((study / "export" / FOLDER.format(0)).iterdir())[3].unlink()


def cut_pixels(study: Path) -> None:
    path = sorted((study / "export" / FOLDER.format(0)).iterdir())[5]
    path.write_bytes(path.read_bytes()[:-700])


def bad_uid(study: Path) -> None:
    for path in sorted((study / "export" / FOLDER.format(0)).iterdir()):
        content = path.read_bytes()
        uid = str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID).encode()
        path.write_bytes(content.replace(uid, b"QACC0Q" + b"x" * (len(uid) - 6)))


def bad_tag(study: Path) -> None:
    for path in sorted((study / "export" / FOLDER.format(0)).iterdir()):
        dataset = pydicom.dcmread(path)
        slope = dataset["RescaleIntercept"]
        del dataset.RescaleIntercept
        dataset.add_new(slope.tag, "LO", PATIENT.format(0))
        dataset.save_as(path)


def cut_nifti(study: Path) -> None:
    path = next((study / "export" / FOLDER.format(3)).iterdir())
    path.write_bytes(path.read_bytes()[:300])


def two_patients(study: Path) -> None:
    for path in sorted((study / "export" / FOLDER.format(0)).iterdir())[::2]:
        dataset = pydicom.dcmread(path)
        dataset.PatientID = PATIENT.format(1)
        dataset.save_as(path)


def broken_zip(study: Path) -> None:
    with zipfile.ZipFile(study / "export" / f"{FILE.format(2)}.zip", "w") as archive:
        archive.writestr(f"../{PATIENT.format(2)}/{FILE.format(2)}.dcm", b"x" * 300)
    (study / "export" / f"{FILE.format(4)}.zip").write_bytes(b"PK\x03\x04" + b"x" * 99)


@pytest.mark.parametrize(
    "spoil",
    [cut_dicom, lose_slice, cut_pixels, bad_uid, bad_tag, cut_nifti, two_patients, broken_zip],
    ids=lambda f: f.__name__,
)
def test_a_scan_that_is_set_aside_is_described_in_the_private_table_alone(
    study: Path, say: Callable[..., tuple[int, str]], spoil: Callable[[Path], None]
) -> None:
    spoil(study)
    code, told = say("ingest", study)
    assert code == (0 if spoil is bad_uid else 3), told
    assert leaks(told) == []
    told = say("status", study)[1] + say("show", study / "cohort.parquet")[1] + say("label", study, "--json")[1]
    assert leaks(told) == []
    assert misplaced(study) == {}
    assert open_to_others(study) == []


HEADERLESS = f'{ACCESSION.format(0)},"The liver {TEXT} is intact."\n{ACCESSION.format(1)},None.\n'
REFUSED: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "no such id column": ("label", "", "", {"labels.id_column": "nope"}),
    "no such text column": ("label", "", "", {"labels.text_column": "nope"}),
    "no heading": ("label", "reports.csv", HEADERLESS, {}),
    "no heading, columns named": ("label", "reports.csv", HEADERLESS, {"labels.id_column": "accession"}),
    "id column holds texts": ("label", "", "", {"labels.id_column": "report"}),
    "no id fits": ("label", "reports.csv", f"accession,report\n{LONE_ID},{TEXT}\n", {}),
    "text cut by a line break": ("label", "reports.csv", f"accession,report\n{ACCESSION.format(0)},a\n{TEXT} goes on\n", {}),
    "a quote that never ends": ("label", "reports.csv", f'accession,report\n{ACCESSION.format(0)},"{TEXT}\n', {}),
    "ruined ids": ("label", "reports.csv", f"accession,report\n1.23E+19,{TEXT}\n1.24E+19,{TEXT}\n", {}),
    "too many cells": ("label", "reports.csv", f"accession,report\n{LONE_ID},a,{TEXT},{PATIENT.format(0)}\n", {}),
    "broken bytes": ("label", "reports.csv", f"accession,report\n{LONE_ID},{TEXT}\x00\x01\n", {}),
    "a label that is none": ("label", "labels.csv", f"accession,nodule\n{ACCESSION.format(0)},{TEXT}\n", {"labels.table": "x"}),
    "a text where a label should be": (
        "label",
        "labels.csv",
        f"accession,Lung nodule\n{ACCESSION.format(0)},{NOWHERE['PatientName']}\n",
        {"labels.table": "x"},
    ),
    "grades that contradict": (
        "label",
        "labels.csv",
        f"accession,liver_healthy,liver_low,liver_high\n{ACCESSION.format(0)},1,1,0\n",
        {"labels.table": "x"},
    ),
    "no row with a text": ("label", "reports.csv", f"accession,report\n{ACCESSION.format(0)},\n{LONE_ID},-\n", {}),
    "no such finding": ("label", "", "", {"labels.uncertain_of": '{"nope" = "soft"}'}),
    "no split column": ("label", "splits.csv", f"patient,part\n{PATIENT.format(0)},train\n", {}),
    "split column holds ids": ("label", "", "", {"splits.split_column": "patient", "splits.id_column": "patient"}),
    "split table without heading": ("label", "splits.csv", f"{PATIENT.format(0)},train\n{PATIENT.format(1)},test\n", {}),
    "no patient fits": ("label", "splits.csv", f"patient,split\n{LONE_ID},train\n", {}),
    "one patient in two splits": (
        "label",
        "splits.csv",
        f"patient,split\n{PATIENT.format(0)},train\n{PATIENT.format(0)},test\n",
        {},
    ),
    "file named twice": (
        "ingest",
        "scans.csv",
        f"file,patient\n{FILE.format(3)}.nii.gz,{PATIENT.format(3)}\n{FILE.format(3)}.nii.gz,{PATIENT.format(4)}\n",
        {},
    ),
    "an age that is none": (
        "ingest",
        "scans.csv",
        f"file,patient,age_years\n{FILE.format(3)}.nii.gz,{PATIENT.format(3)},{OTHER_CELL}\n",
        {},
    ),
    "scan table without heading": ("ingest", "scans.csv", f"{FILE.format(3)}.nii.gz,{PATIENT.format(3)}\n", {}),
    "no such source": ("ingest", "", "", {"cohort.sources": '["gone"]'}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_that_is_refused_names_no_patient(
    ingested: Path, tmp_path: Path, say: Callable[..., tuple[int, str]], name: str
) -> None:
    verb, table, content, changes = REFUSED[name]
    study = tmp_path / "study"
    shutil.copytree(ingested, study)
    if table:
        (study / table).write_text(content)
    if changes.get("labels.table"):
        text = (study / "study.toml").read_text().replace('reports = "reports.csv"', f'table = "{table}"')
        (study / "study.toml").write_text(text.replace('lexicon = "ratic"', 'lexicon = "ct-rate"'))
        changes = {}
    arguments = [f"--set={key}={value}" for key, value in changes.items()]
    for flags in ((), ("--json",), ("--debug",)):
        code, told = say(verb, study, *arguments, *flags)
        assert code in {1, 2}, told
        assert leaks(told) == []
    assert misplaced(study) == {}
    assert open_to_others(study) == []


@pytest.mark.parametrize("flags", [(), ("--json",), ("--debug",)], ids=["words", "json", "debug"])
def test_a_stage_that_gives_up_names_no_file(study: Path, say: Callable[..., tuple[int, str]], flags: tuple[str, ...]) -> None:
    shutil.rmtree(study / "export")
    for n in range(26):
        path = study / "export" / f"{FOLDER.format(n % 5)}-{n}" / f"{FILE.format(n % 5)}-{n}.nii"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\x5c\x01\x00\x00" + b"\xff" * 396)
    (study / "scans.csv").unlink()
    text = (study / "study.toml").read_text().replace('table = "scans.csv"\n', "")
    (study / "study.toml").write_text(text)
    code, told = say("ingest", study, *flags)
    assert code in {1, 3}, told
    assert leaks(told) == []
    assert misplaced(study) == {}
    assert open_to_others(study) == []


@pytest.mark.parametrize("flags", [(), ("--json",), ("--debug",)], ids=["words", "json", "debug"])
def test_scans_that_are_gone_after_ingest_are_not_named(
    study: Path, say: Callable[..., tuple[int, str]], flags: tuple[str, ...]
) -> None:
    for verb in ("ingest", "label"):
        say(verb, study)
    for path in sorted((study / "export").rglob("*")):
        if path.is_file() and FOLDER.format(0) in str(path):
            path.unlink()
    next((study / "export" / FOLDER.format(3)).iterdir()).unlink()
    told = "".join(say(verb, study, *flags)[1] for verb in ("segment", "prepare", "status", "ingest"))
    shutil.rmtree(study / "export")
    told += "".join(say(verb, study, *flags)[1] for verb in ("segment", "prepare", "ingest"))
    assert leaks(told) == []
    assert misplaced(study) == {}
    assert open_to_others(study) == []


def test_a_path_that_is_no_file_of_ours_is_refused_in_the_users_own_words(
    study: Path, say: Callable[..., tuple[int, str]]
) -> None:
    code, told = say("show", study / "reports.csv")
    assert code == 1
    assert leaks(told) == []
    code, told = say("show", study / "cohort.parquet", "--scan", "unknown")
    assert leaks(told) == []


def test_with_pseudonyms_no_id_is_anywhere_but_in_paths(study: Path, say: Callable[..., tuple[int, str]]) -> None:
    text = (study / "study.toml").read_text().replace("[splits]", 'pseudonyms = "secret"\n[splits]')
    (study / "study.toml").write_text(text)
    told = ""
    for verb in WAY:
        code, said = say(verb, study)
        assert code in {0, 3}, said
        told += said
    assert leaks(told) == []
    ids = [word.format(n) for word in (PATIENT, ACCESSION) for n in range(5)]
    words = [*ids, LONE_ID, *TABLES_ONLY.values(), *never()]
    assert found_in(study, words, leave=OUTSIDE) == {}
    assert (study / "secret").stat().st_mode & 0o077 == 0
    assert misplaced(study) == {}
    counts = json.loads(say("label", study, "--json")[1])["stages"][0]["words"]
    assert "4 scans have labels" in counts


def test_with_pseudonyms_a_patient_is_forgotten_by_the_original_id(study: Path, say: Callable[..., tuple[int, str]]) -> None:
    text = (study / "study.toml").read_text().replace("[splits]", 'pseudonyms = "secret"\n[splits]')
    (study / "study.toml").write_text(text)
    for verb in ("ingest", "label"):
        say(verb, study)
    code, told = say("forget", PATIENT.format(1), study)
    assert code == 0, told
    assert "forget: 1 scans out of" in told
    assert leaks(told) == []
    for verb in ("ingest", "label"):
        say(verb, study)
    assert pl.read_parquet(study / "cohort.parquet").height == 4


NAME = NOWHERE["PatientName"]


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["words", "json"])
def test_reports_alone_are_labelled_and_no_name_in_them_is_said_or_shown(
    tmp_path: Path, say: Callable[..., tuple[int, str]], flags: tuple[str, ...]
) -> None:
    rows = [f'{ACCESSION.format(0)},"{NAME}: no nodule {TEXT}.",{OTHER_CELL}', f"{ACCESSION.format(1)},,{OTHER_CELL}"]
    differing = [f"{ACCESSION.format(2)},{NAME} has a hernia.,x", f"{ACCESSION.format(2)},{NAME} has none.,x", f",{TEXT},x"]
    for name, own in (("a.csv", rows), ("b.csv", differing)):
        (tmp_path / name).write_text("\n".join(["accession,report,doctor", *own]) + "\n")
    (tmp_path / "study.toml").write_text('[labels]\nreports = ["a.csv", "b.csv"]\n')
    code, told = say("label", tmp_path / "study.toml", *flags)
    assert code == 0, told
    assert "2 reports read" in told
    for name in ("labels.parquet", "evidence.parquet", "unmatched.csv", "."):
        told += say("show", tmp_path / name, *flags)[1]
    told += say("status", tmp_path / "study.toml", *flags)[1]
    assert leaks(told) == []
    written = found_in(tmp_path, [NAME, TEXT, *identifying()], leave=(*OUTSIDE, "a.csv", "b.csv"))
    assert written.keys() == {"labels.parquet", "evidence.parquet", "unmatched.csv"}
    assert [name for name in written if (tmp_path / name).stat().st_mode & 0o077] == []


@pytest.mark.parametrize(
    ("table", "content", "words"),
    [
        (
            "reports",
            f"accession,report\n1,{NAME} küçük nodül görüldü\n".encode() + f"2,{NAME} plevral efüzyon\n".encode("cp1254"),
            "row",
        ),
        ("table", f"{NAME},Emphysema\n1,0\n".encode(), "columns that a.csv has not"),
    ],
    ids=["mixed encodings", "a second table without heading"],
)
def test_a_table_beside_another_that_is_refused_names_no_patient(
    tmp_path: Path, say: Callable[..., tuple[int, str]], table: str, content: bytes, words: str
) -> None:
    (tmp_path / "a.csv").write_text(f"accession,{'report' if table == 'reports' else 'Lung nodule'}\n{LONE_ID},1\n")
    (tmp_path / "b.csv").write_bytes(content)
    (tmp_path / "study.toml").write_text(f'[labels]\n{table} = ["a.csv", "b.csv"]\n')
    for flags in ((), ("--json",), ("--debug",)):
        code, told = say("label", tmp_path / "study.toml", *flags)
        assert code in {1, 2}, told
        assert words in told
        assert leaks(told) == []
