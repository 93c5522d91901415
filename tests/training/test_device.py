import logging

import pytest
import torch

from espalier.training.device import chosen_dtype, forget_peak_memory, has_bfloat16, peak_memory_bytes, settled

CPU = torch.device("cpu")


def test_bfloat16_falls_back_to_float32_with_a_note_where_it_is_slow(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        chosen = chosen_dtype("bfloat16", CPU)
    assert chosen == (torch.bfloat16 if has_bfloat16(CPU) else torch.float32)
    assert len(caplog.messages) == (0 if has_bfloat16(CPU) else 1)
    assert chosen_dtype("float32", CPU) == torch.float32


def test_threads_are_set_for_the_run_and_given_back() -> None:
    before = torch.get_num_threads()
    with settled(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_peak_memory_is_measured_anew_for_each_run() -> None:
    forget_peak_memory(CPU)
    low = peak_memory_bytes(CPU)
    large = torch.ones(50_000_000)
    assert peak_memory_bytes(CPU) >= low + large.numel() * 3
    del large
    forget_peak_memory(CPU)
    assert peak_memory_bytes(CPU) < low + 100_000_000
