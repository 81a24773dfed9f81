from __future__ import annotations

import random
import threading

import pytest

from stream.runtime.metrics import Metrics
from stream.runtime.service import Backoff, ServiceThread


def test_runs_until_it_is_asked_to_stop() -> None:
    rounds = threading.Event()

    def work() -> None:
        rounds.set()
        assert thread.stopping.wait(30)

    thread = ServiceThread("worker", work, metrics=Metrics())
    thread.start()
    assert rounds.wait(30)
    assert not thread.join(0)
    thread.request_stop()
    assert thread.join(30)
    assert thread.crash == ""


def test_crash_is_logged_counted_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    metrics, reasons = Metrics(), list[str]()

    def work() -> None:
        raise ValueError("embedded null byte")

    thread = ServiceThread(
        "door", work, metrics=metrics, crashes="log_crashes", on_crash=reasons.append
    )
    thread.start()
    assert thread.join(30)
    assert reasons == ["door crashed: ValueError: embedded null byte"] == [thread.crash]
    assert metrics.total("log_crashes") == 1
    assert "door crashed" in caplog.text
    assert "Traceback" in caplog.text


def test_stop_and_join_before_start_do_not_wait() -> None:
    thread = ServiceThread("early", lambda: None, metrics=Metrics())
    thread.request_stop()
    assert thread.join(0)


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
