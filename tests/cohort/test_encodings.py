from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.encodings import check_encoding, decode_table, row_of
from espalier.cohort.languages import ENCODINGS
from espalier.errors import InputError

TURKISH = "Her iki akciğerde effüzyon izlenmedi. Sağ üst lobda 4 mm nodül var. Lenf nodu yok; kalp boyutları normaldir."
GERMAN = "Kein Erguss. Im rechten Oberlappen ein 5 mm großer Rundherd. Die Gefäße sind unauffällig und nicht erweitert."
FRENCH = "Pas d’épanchement. Épaississement bronchique à droite avec micronodules dans le lobe supérieur, déjà connus."
POLISH = "Nie stwierdza się płynu. W płucu prawym guzek 5 mm, bez zmian po lewej. Serce oraz śródpiersie w normie."
CZECH = "Bez výpotku. V pravé plíci je uzel, jinak na plicích bez ložisek. Srdce není zvětšené, žebra bez porušení."
ICELANDIC = "Ekki er að sjá vökva og engin íferð er í lungum. Þekktur hnútur sem er óbreyttur vinstra megin og eru æðar."
RUSSIAN = "Плевральный выпот не выявлен. В верхней доле правого лёгкого очаг до 5 мм."
GREEK = "Δεν παρατηρείται συλλογή. Οζίδιο στον δεξιό άνω λοβό. Η καρδιά είναι φυσιολογική."
ENGLISH = "There is no pleural effusion. A cyst of 12 cm³ is seen in the right kidney – the liver is normal."


def table_of(text: str) -> str:
    return f'accession;report\r\nA1;"{text}"\r\n'


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TURKISH, "cp1254"),
        (TURKISH, "cp857"),
        (GERMAN, "cp1252"),
        (GERMAN, "mac_roman"),
        (GERMAN, "cp850"),
        (FRENCH, "cp1252"),
        (FRENCH, "mac_roman"),
        (POLISH, "cp1250"),
        (POLISH, "cp852"),
        (CZECH, "cp1250"),
        (ICELANDIC, "cp1252"),
        (RUSSIAN, "cp1251"),
        (GREEK, "cp1253"),
        (ENGLISH, "cp1252"),
    ],
)
def test_the_letters_and_words_of_reports_tell_their_encoding(text: str, encoding: str) -> None:
    read, words = decode_table(table_of(text).encode(encoding), source=Path("t.csv"))
    assert (read, words) == (table_of(text), ENCODINGS[encoding])


@pytest.mark.parametrize("encoding", ["cp1252", "cp1254", "cp1250"])
def test_letters_that_all_encodings_share_need_no_evidence(encoding: str) -> None:
    assert decode_table(table_of("Müller").encode(encoding), source=Path("t.csv"))[0] == table_of("Müller")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [TURKISH, GREEK])
def test_unicode_is_found_with_and_without_its_mark(encoding: str, text: str) -> None:
    assert decode_table(table_of(text).encode(encoding), source=Path("t.csv"))[0] == table_of(text)


def test_one_letter_that_two_encodings_read_apart_is_asked_about() -> None:
    with pytest.raises(InputError) as error:
        decode_table("patient;age\r\n1;2\r\nYılmaz;3\r\n".encode("cp1254"), source=Path("t.csv"))
    assert error.value.found.startswith("row 3: byte 20 of the file (0xFD) is 'ý' in Windows-1252 and 'ı' in Windows-1254")
    assert error.value.do.endswith('encoding = "cp1252" or "cp1254".')


def test_turkish_letters_alone_are_enough_where_no_other_language_has_them_all() -> None:
    names = "patient;age\r\nYılmaz Şahin;1\r\nÖztürk Çelik;2\r\nDoğan Güneş;3\r\n"
    assert decode_table(names.encode("cp1254"), source=Path("t.csv")) == (names, "Windows-1254 (Turkish)")


def test_the_user_settles_what_the_letters_do_not() -> None:
    raw = "id;name\r\n1;Yılmaz\r\n".encode("cp1254")
    assert "Yılmaz" in decode_table(raw, source=Path("t.csv"), encoding="cp1254")[0]
    assert "Yýlmaz" in decode_table(raw, source=Path("t.csv"), encoding="cp1252")[0]


def test_a_byte_that_breaks_utf_8_is_named_with_row_and_place() -> None:
    raw = 'id;text\n1;"ü\nö"\n2;äöü ğış\n'.encode() + b"3;\xfc\n"
    with pytest.raises(InputError, match=r"row 4: byte 37 of the file \(0xFC\) is not UTF-8, though most of the file is"):
        decode_table(raw, source=Path("t.csv"))


def test_a_file_that_is_not_in_the_named_encoding_is_refused() -> None:
    with pytest.raises(InputError, match=r"row 2: byte 4 of the file \(0xFC\) is not utf-8"):
        decode_table(b"a\r\n\xfc\r\n", source=Path("t.csv"), encoding="utf-8")


def test_words_of_two_languages_in_equal_number_tell_nothing() -> None:
    raw = "a;b\n1;ve bir ile olarak je na sa vo Yılmaz\n".encode("cp1254")
    with pytest.raises(InputError, match="nothing in the table tells which"):
        decode_table(raw, source=Path("t.csv"))


def test_half_a_letter_at_the_end_of_utf_16_is_refused() -> None:
    with pytest.raises(InputError, match=r"row 3: .* is not UTF-16"):
        decode_table("a;b\r\n1;2\r\n".encode("utf-16")[:-1], source=Path("t.csv"))


@pytest.mark.parametrize(
    ("text", "encoding"), [("胸部CTでは結節を認めない。心臓は正常。", "shift_jis"), ("胸部未见结节，心脏正常。", "gbk")]
)
def test_what_is_in_no_known_encoding_is_refused(text: str, encoding: str) -> None:
    with pytest.raises(InputError, match="encoding"):
        decode_table(table_of(text).encode(encoding), source=Path("t.csv"))


def test_nul_bytes_and_lost_letters_are_said() -> None:
    assert decode_table(b"a,b\n1,x\0y\n", source=Path("t.csv")) == ("a,b\n1,xy\n", "UTF-8, 1 NUL bytes left out")
    assert "1 letters were lost" in decode_table("a\ufffd\n".encode(), source=Path("t.csv"))[1]


@pytest.mark.parametrize("name", ["klingon", "hex", "unicode_escape", "a\0b", "", "undefined"])
def test_a_name_that_is_no_encoding_of_texts_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name one that Python knows"):
        check_encoding(name)
    with pytest.raises(InputError):
        decode_table(b"\\q\xff", source=Path("t.csv"), encoding="klingon")


def test_rows_are_counted_as_a_spreadsheet_does() -> None:
    raw = b'a\r\n"b\nc"\rd\n\xff'
    assert row_of(raw, raw.index(b"\xff")) == 4


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([None, "utf-8", "utf-16", "cp1254", "utf-7"]))
def test_no_bytes_bring_anything_but_text_or_a_refusal(raw: bytes, encoding: str | None) -> None:
    try:
        text, words = decode_table(raw, source=Path("t.csv"), encoding=encoding)
    except InputError as error:
        assert error.do  # noqa: PT017
    else:
        assert text.encode("utf-8") is not None
        assert words
