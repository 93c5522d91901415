import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.csv_table import read_csv, read_csv_table
from espalier.errors import EspalierError, InputError, SettingsError

TEXT = 'accession;report\r\n007;"Grüße; nein, kein\r\nKnoten und ""nichts"" ist größer"\r\n1E05;die Lunge ist frei\r\nNA;-\r\n'


def written(folder: Path, content: str | bytes, *, encoding: str = "utf-8") -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "cp1254"])
def test_every_cell_stays_text_whatever_the_encoding_and_the_line_ends(tmp_path: Path, encoding: str, ending: str) -> None:
    table = read_csv(written(tmp_path, TEXT.replace("\r\n", ending), encoding=encoding))
    assert table.columns == ("accession", "report")
    assert table.rows == [
        ["007", f'Grüße; nein, kein{ending}Knoten und "nichts" ist größer'],
        ["1E05", "die Lunge ist frei"],
        ["NA", "-"],
    ]
    assert table.numbers == [2, 3, 4]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_separator_is_found_though_names_and_texts_hold_others(tmp_path: Path, separator: str) -> None:
    text = f'"id, or; name|it"{separator}report\n1{separator}"no nodule; no mass, 2\t3 | 4"\n2{separator}clear\n'
    assert read_csv(written(tmp_path, text)).rows == [["1", "no nodule; no mass, 2\t3 | 4"], ["2", "clear"]]


def test_the_separator_is_the_one_on_which_the_rows_agree(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "Name, Vorname, Titel;Befund\nA, B;frei, kein Knoten, kein Erguss\nC, D;frei\n"))
    assert table.columns == ("Name, Vorname, Titel", "Befund")


def test_a_heading_of_one_column_survives(tmp_path: Path) -> None:
    assert read_csv(written(tmp_path, "accession\n007\n\n008\n")).numbers == [2, 4]


def test_the_first_line_of_a_spreadsheet_that_says_its_separator_is_followed(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "sep=;\r\na,b;c\r\n1,2;3\r\n", encoding="utf-16"))
    assert (table.columns, table.rows, table.numbers) == (("a,b", "c"), [["1,2", "3"]], [2])


def test_empty_cells_beyond_the_heading_and_rows_of_nothing_are_left_out(tmp_path: Path) -> None:
    assert read_csv(written(tmp_path, "a;b;;\n;;;\n1;2;;\n")).rows == [["1", "2", "", ""]]
    assert read_csv(written(tmp_path, "a;b\n;;;\n1;2;;\n")).rows == [["1", "2"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,report\n1,clear\n2,no nodule, no mass\n", "row 3 has another number of cells: 3 cells"),
        ("id,report,report\n1,a,b\n", "row 1: two columns have one name: report"),
        ('id,report\n1,clear\n2,"no nodule\n3,clear\n', "row 3: quotes do not match"),
        ('id,report\n1,"a "quoted" word"\n', "row 2: quotes do not match"),
        (" \n", "an empty file"),
        ("", "an empty file"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_row(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_csv(written(tmp_path, content))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "gone.csv", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=said):
            read_csv(path)


def test_a_missing_column_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "AccessionNo,report_text\n1,clear\n"))
    with pytest.raises(SettingsError, match='Did you mean id_column = "AccessionNo"') as error:
        table.column("accession", setting="[labels] id_column")
    assert "no column 'accession' in t.csv" in str(error.value)


def test_upper_and_lower_case_of_a_column_do_not_matter(tmp_path: Path) -> None:
    assert read_csv(written(tmp_path, "Accession,Report\n1,clear\n")).column("accession", setting="[labels] id_column") == ["1"]


def test_a_row_that_ends_early_is_refused_only_where_the_lost_column_is_wanted(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "id,report,comment\n1,clear\n2\n"))
    assert table.column("id", setting="[labels] id_column") == ["1", "2"]
    with pytest.raises(InputError, match="row 3 ends before the column report"):
        table.column("report", setting="[labels] text_column")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_frame_holds_text_alone(tmp_path: Path, separator: str) -> None:
    path = written(tmp_path, "\ufeffpatient,age\n007, 1E05 \nNA,\n".replace(",", separator))
    assert read_csv_table(path).to_dicts() == [{"patient": "007", "age": "1E05"}, {"patient": "NA", "age": ""}]


def test_a_frame_needs_whole_rows_and_its_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2 has another number"):
        read_csv_table(written(tmp_path, "a,b\n1\n"))
    with pytest.raises(InputError, match="Did you mean splits"):
        read_csv_table(written(tmp_path, "Patient,splits\n1,train\n"), needed=("split",))


def test_the_named_encoding_is_the_one_that_reads(tmp_path: Path) -> None:
    path = written(tmp_path, "patient,x\nYılmaz,1\n", encoding="cp1254")
    with pytest.raises(InputError, match="Windows-1254"):
        read_csv_table(path)
    assert read_csv_table(path, encoding="cp1254")["patient"].to_list() == ["Yılmaz"]


def read_or_refused(path: Path) -> None:
    try:
        read_csv(path).column("b", setting="[labels] id_column")
        read_csv_table(path, needed=("a",))
    except EspalierError:
        pass


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=300))
def test_no_bytes_bring_anything_but_a_refusal(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    read_or_refused(written(tmp_path_factory.getbasetemp(), raw))


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.sampled_from(["utf-8", "utf-16", "cp1254", "cp1252"]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=4),
)
def test_no_damage_to_a_table_brings_anything_but_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, changes: list[tuple[int, bytes]]
) -> None:
    raw = TEXT.replace("accession;report", "a;b").encode(encoding)
    for at, new in changes:
        raw = raw[:at] + new + raw[at + len(new) // 2 :]
    read_or_refused(written(tmp_path_factory.getbasetemp(), raw))


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffd"), max_size=8).map(str.strip)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS).filter(any), min_size=1, max_size=5),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_spreadsheet_quotes_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], separator: str, encoding: str
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([("first", "second", "third"), *rows])
    table = read_csv(written(tmp_path_factory.getbasetemp(), out.getvalue(), encoding=encoding))
    assert [tuple(row) for row in table.rows] == rows


def test_a_first_row_of_names_is_not_said_and_a_heading_is(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Jane Miller,No nodule\nJohn Smith,None\n")
    with pytest.raises(SettingsError, match="2 columns in a first row that may be no heading") as error:
        read_csv(tmp_path / "t.csv").column("Millers", setting="[labels] id_column")
    assert "Jane" not in str(error.value)
    (tmp_path / "t.csv").write_text("Protokoll Nr,Befund\n1,x\n")
    with pytest.raises(SettingsError, match="Name one of: Protokoll Nr, Befund"):
        read_csv(tmp_path / "t.csv").column("xyz", setting="[labels] id_column")
