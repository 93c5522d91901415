from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from espalier.cohort.read import read_path
from espalier.errors import InputError

from .conftest import DicomSeries, body_hu


def test_a_folder_gives_its_best_series_and_a_file_its_volume(
    write_series: DicomSeries, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    write_series(tmp_path / "d" / "thick", series="1", step_mm=6.0)
    write_series(tmp_path / "d" / "thin", series="2")
    assert read_path(tmp_path / "d").spacing_mm[0] == 3.0
    assert np.array_equal(read_path(write_nifti(tmp_path / "a.nii.gz")).voxels, body_hu())


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    for path, words in ((tmp_path / "gone", "no such file"), (tmp_path, "no CT"), (tmp_path / "a.txt", "no file of a volume")):
        with pytest.raises(InputError, match=words):
            read_path(path)
