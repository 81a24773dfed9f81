from __future__ import annotations

import random

import pytest

from stream.runtime.backoff import Backoff


def test_delays_double_up_to_the_maximum_and_start_again_after_a_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)
    backoff = Backoff(1.0, 6.0)
    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 6, 6]
    backoff.reset()
    assert backoff.next_s() == 1


def test_jitter_is_a_quarter_to_either_side() -> None:
    delays = {Backoff(4.0, 60.0).next_s() for _ in range(200)}
    assert len(delays) > 100
    assert 3 <= min(delays) < 3.4 < 4.6 < max(delays) <= 5
