"""The small form of benchmarks/fuzz.py: changed bytes give a volume, a table, or one of Espalier's own errors."""

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from espalier.cohort.csv_table import read_csv_table
from espalier.cohort.elements import read_elements
from espalier.cohort.headers import read_header
from espalier.cohort.pixels import dataset_of, hu_of
from espalier.cohort.read import read_path
from espalier.errors import EspalierError, ScanError

from .fuzz_seeds import SUFFIXES, scan_seeds, table_seeds

ROUNDS = 25


def mutated(packed: bytes, rng: random.Random) -> bytes:
    """Change, cut, repeat or swap a few stretches of bytes."""
    out = bytearray(packed)
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(out) or 1), rng.randint(1, 8)
        kind = rng.randrange(4)
        if kind == 0:
            out[place : place + length] = rng.randbytes(length)
        elif kind == 1:
            del out[place : place + rng.randint(1, max(1, len(out) // 2))]
        elif kind == 2:
            out[place:place] = out[place : place + 50 * length]
        else:
            out[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f", b"\0\0\0\x80"])
    return bytes(out)


@pytest.mark.parametrize("place", range(len(SUFFIXES)), ids=lambda place: SUFFIXES[place])
def test_hostile_files_give_a_volume_or_a_reason(tmp_path: Path, place: int) -> None:
    seeds = [seed[1:] for seed in scan_seeds(tmp_path / "seeds") if seed[0] == place]
    rng = random.Random(place)
    folder = tmp_path / "scan"
    folder.mkdir()
    if place == 0:
        for n, seed in enumerate(seeds):
            (folder / f"sound-{n}.dcm").write_bytes(seed)
    path = folder / f"hostile{SUFFIXES[place]}"
    for seed in seeds:
        path.write_bytes(seed)
        if place:
            with contextlib.suppress(EspalierError):
                assert read_path(path).shape == (6, 8, 8)
        for _ in range(ROUNDS * 6 // len(seeds)):
            path.write_bytes(mutated(seed, rng))
            with contextlib.suppress(EspalierError):
                read_path(folder if place == 0 else path)


def test_hostile_tables_give_rows_or_a_reason(tmp_path: Path) -> None:
    rng = random.Random(0)
    for seed in table_seeds():
        for _ in range(ROUNDS):
            (tmp_path / "a.csv").write_bytes(mutated(seed, rng))
            with contextlib.suppress(EspalierError):
                read_csv_table(tmp_path / "a.csv")


def test_what_once_broke_a_reader_is_told_now(tmp_path: Path) -> None:
    """Found by benchmarks/fuzz.py: many numbers where a header has room for one."""
    for n, seed in enumerate([seed[1:] for seed in scan_seeds(tmp_path / "seeds") if seed[0] == 0][:6]):
        (tmp_path / f"{n}.dcm").write_bytes(seed)
    dataset = pydicom.dcmread(tmp_path / "3.dcm")
    dataset.HighBit = [65520, 1496, 15]
    dataset.save_as(tmp_path / "3.dcm")
    instance = read_header(tmp_path / "3.dcm", "3.dcm")[1][0]
    elements = read_elements(tmp_path / "3.dcm")
    many = replace(elements, texts={**elements.texts, "HighBit": "65520\\1496\\15"})  # as pydicom tells it
    assert hu_of(tmp_path, many, instance, dataset_of)[0].shape == (8, 8)
    odd = replace(elements, texts={**elements.texts, "HighBit": "14"})
    with pytest.raises(ScanError) as caught:
        hu_of(tmp_path, odd, instance, dataset_of)
    assert caught.value.code == "undecodable_pixels"
