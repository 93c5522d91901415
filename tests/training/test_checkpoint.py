from pathlib import Path

import torch

from espalier.training.checkpoint import load_checkpoint, save_checkpoint


def state_of(number: int) -> dict[str, object]:
    return {"weights": torch.full((3,), float(number)), "step": number}


def test_the_newest_of_the_last_two_is_taken_up(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, state_of(step), step=step, key="k")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002.pt", "step-00000010.pt"]
    state = load_checkpoint(tmp_path, key="k")
    assert state is not None
    assert state["weights"].tolist() == [10, 10, 10]


def test_a_broken_newest_falls_back_to_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state_of(1), step=1, key="k")
    newest = save_checkpoint(tmp_path, state_of(2), step=2, key="k")
    whole = newest.read_bytes()
    for broken in (whole[:-1], whole[:50], b"", whole[:-200] + b"x" + whole[-199:]):
        newest.write_bytes(broken)
        state = load_checkpoint(tmp_path, key="k")
        assert state is not None
        assert state["step"] == 1
        assert not newest.exists()


def test_a_checkpoint_of_other_settings_is_not_taken_up(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state_of(1), step=1, key="old")
    assert load_checkpoint(tmp_path, key="new") is None


def test_without_a_checkpoint_there_is_nothing_to_take_up(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none", key="k") is None
