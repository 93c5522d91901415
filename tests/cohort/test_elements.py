"""The walk over plain DICOM files says what pydicom says, and leaves to it what it does not know."""

from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from espalier.cohort import elements
from espalier.cohort.elements import BROKEN, FIRST_BYTES, read_elements

from .conftest import blank, uid


def written(path: Path, *, syntax: str = ExplicitVRLittleEndian, **tags: object) -> Path:
    dataset = blank(path, uid(path.name))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-1.5, 2, 30.25], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.Rows, dataset.Columns = [0.7, 0.7], 4, 6
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = bytes(range(48))
    dataset.save_as(path, enforce_file_format=True)
    return path


def by_pydicom(path: Path) -> dict[str, str]:
    return dict(elements._by_pydicom(path.read_bytes()).texts)


def nested(depth: int, *, defined: bool) -> pydicom.Sequence:
    dataset = Dataset()
    dataset.CodeValue = "X" * 7
    if depth:
        dataset.ConceptNameCodeSequence = nested(depth - 1, defined=defined)
        dataset["ConceptNameCodeSequence"].is_undefined_length = not defined
    sequence = pydicom.Sequence([dataset, Dataset()])
    for one in sequence:
        one.is_undefined_length_sequence_item = not defined
    return sequence


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("defined", [True, False])
def test_the_walk_says_what_pydicom_says(tmp_path: Path, syntax: str, defined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(
        tmp_path / "a.dcm",
        syntax=syntax,
        ReferencedStudySequence=nested(3, defined=defined),
        SpecificCharacterSet="ISO_IR 192",
        InstitutionName="Sağlık Bakanlığı",
        PixelPaddingValue=63536,
        AcquisitionTime="101500.25",
    )
    dataset = pydicom.dcmread(path)
    dataset["ReferencedStudySequence"].is_undefined_length = not defined
    dataset.save_as(path)
    expected = by_pydicom(path)
    monkeypatch.setattr(elements, "_by_pydicom", lambda packed: pytest.fail("the walk gave up"))
    told = read_elements(path)
    assert dict(told.texts) == expected
    assert told.texts["InstitutionName"] == "Sağlık Bakanlığı"
    assert told.texts["PixelPaddingValue"] == "30f8"
    assert told.pixels is not None
    first, length = told.pixels
    assert path.read_bytes()[first : first + length] == bytes(range(48))
    assert told.syntax == syntax


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_syntaxes_are_left_to_pydicom(tmp_path: Path, syntax: str) -> None:
    path = written(tmp_path / "a.dcm", syntax=syntax) if syntax == DeflatedExplicitVRLittleEndian else tmp_path / "a.dcm"
    if syntax == ExplicitVRBigEndian:
        dataset = pydicom.dcmread(written(path))
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OW"
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False)
    told = read_elements(path)
    assert (told.texts["Rows"], told.texts["ImagePositionPatient"], told.pixels) == ("4", "-1.5\\2.0\\30.25", None)


def test_a_header_longer_than_the_first_bytes_is_read_on(tmp_path: Path) -> None:
    plain = pydicom.dcmread(written(tmp_path / "a.dcm"))
    for extra in range(FIRST_BYTES - 1600, FIRST_BYTES + 200, 60):  # so that every element once crosses the border
        plain.add_new((0x0009, 0x1001), "OB", bytes(extra))
        plain.save_as(tmp_path / "b.dcm")
        told = read_elements(tmp_path / "b.dcm")
        assert (told.texts["Rows"], float(told.texts["RescaleIntercept"])) == ("4", -1024)
        assert told.pixels is not None


def test_every_cut_is_told_or_leaves_what_stands_before_it(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.dcm", ReferencedStudySequence=nested(1, defined=False)).read_bytes()
    expected = read_elements(tmp_path / "a.dcm").texts
    for length in range(0, len(whole) - 48, 3):
        (tmp_path / "b.dcm").write_bytes(whole[:length])
        try:
            told = read_elements(tmp_path / "b.dcm").texts
        except BROKEN:
            continue
        assert {name: expected.get(name) for name in told if told[name]} == {name: told[name] for name in told if told[name]}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_changed_bytes_raise_nothing_but_what_is_known(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("changed")
    packed = bytearray(written(folder / "a.dcm", ReferencedStudySequence=nested(2, defined=False)).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(packed) - 1), min_size=1, max_size=4)):
        packed[place] = data.draw(st.integers(0, 255))
    (folder / "b.dcm").write_bytes(packed)
    try:
        told = read_elements(folder / "b.dcm")
    except BROKEN:
        return
    assert all(isinstance(text, str) for text in told.texts.values())
