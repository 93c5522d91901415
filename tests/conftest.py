"""What all tests share: the real data where it is, and a small phantom study walked once."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real scans and reports that ESPALIER_DATA names; tests that use it say so when it is absent."""
    where = os.environ.get("ESPALIER_DATA", "")
    if not where or not Path(where).is_dir():
        pytest.skip("real scans and reports are left out: set ESPALIER_DATA to their folder")
    return Path(where)
