import hashlib
from pathlib import Path

import pytest

from espalier.errors import AlteredError, InputError, MissingError
from espalier.masks.weights import check_hashes, hash_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "plans.json").write_bytes(b"{}")
    (tmp_path / "model" / "final.pth").write_bytes(b"weights")
    return tmp_path


NAMES = ("model/plans.json", "model/final.pth")


def sums(weights: Path, *names: str) -> str:
    return "".join(f"{hashlib.sha256((weights / n).read_bytes()).hexdigest()}  ./{n}\n" for n in names)


def test_each_file_is_hashed_by_its_name(weights: Path) -> None:
    assert hash_weights(weights, NAMES, do="") == {n: hashlib.sha256((weights / n).read_bytes()).hexdigest() for n in NAMES}


def test_a_missing_file_is_named_in_full_with_the_way_to_get_it(weights: Path) -> None:
    (weights / NAMES[1]).unlink()
    with pytest.raises(MissingError, match=r"model/final\.pth: no such file of weights.*Fetch them\."):
        hash_weights(weights, NAMES, do="Fetch them.")


def test_what_sha256sum_wrote_beside_them_is_held(weights: Path) -> None:
    (weights / "weights.sha256").write_text(sums(weights, *NAMES))
    assert len(hash_weights(weights, NAMES, do="")) == 2
    (weights / NAMES[1]).write_bytes(b"others")
    with pytest.raises(AlteredError, match=r"final\.pth"):
        hash_weights(weights, NAMES, do="")


def test_a_file_that_nobody_vouches_for_is_refused(weights: Path) -> None:
    (weights / "weights.sha256").write_text(sums(weights, NAMES[0]))
    with pytest.raises(AlteredError, match="a hash that is known"):
        hash_weights(weights, NAMES, do="")


@pytest.mark.parametrize("line", ["abc  model/final.pth", "0" * 64, "0" * 64 + "  ../../etc/passwd"])
def test_a_list_of_hashes_that_is_none_is_refused(weights: Path, line: str) -> None:
    (weights / "weights.sha256").write_text(line + "\n")
    with pytest.raises(InputError):
        hash_weights(weights, NAMES, do="")


def test_another_hash_says_both(weights: Path) -> None:
    with pytest.raises(AlteredError, match=r"its SHA-256 is aaaa…; expected bbbb…\. Bring them back\."):
        check_hashes(weights, {"x": "aaaa"}, {"x": "bbbb"}, do="Bring them back.")
