import pytest

from espalier.training.schedule import learning_rate


def test_the_rate_falls_from_its_peak_along_a_cosine() -> None:
    rates = [learning_rate(step, steps=100, peak=2.0) for step in range(100)]
    assert rates[0] == 2.0
    assert rates[50] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.0, abs=1e-3)
    assert rates == sorted(rates, reverse=True)


def test_the_warm_up_rises_to_the_peak_and_never_starts_at_0() -> None:
    rates = [learning_rate(step, steps=100, peak=1.0, warmup=0.1) for step in range(100)]
    assert 0 < rates[0] < rates[9] < 1.0
    assert rates[10] == 1.0
