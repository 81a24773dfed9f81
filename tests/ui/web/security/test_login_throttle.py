from __future__ import annotations

import pytest

from tests.conftest import Clock
from ui.web.security.addresses import LoginThrottle, TooManyAttemptsError


def delay_s(throttle: LoginThrottle, address: str, name: str) -> float:
    """The delay of an attempt in seconds; 0 if it is allowed."""
    try:
        throttle.start_attempt(address, name)
    except TooManyAttemptsError as error:
        return error.retry_after_s
    return 0.0


def test_delays_double_up_to_a_minute(clock: Clock) -> None:
    throttle = LoginThrottle(clock)
    waits = []
    for _ in range(14):
        while wait_s := delay_s(throttle, "192.0.2.1", "anna"):
            waits.append(wait_s)
            clock.seconds += wait_s
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_attempts_from_many_addresses_delay_the_name(clock: Clock) -> None:
    throttle = LoginThrottle(clock)
    assert [delay_s(throttle, f"192.0.2.{n}", "anna") for n in range(6)] == [0, 0, 0, 0, 0, 1]
    assert delay_s(throttle, "192.0.2.9", "vera") == 0


def test_ipv6_network_counts_as_one_address(clock: Clock) -> None:
    throttle = LoginThrottle(clock)
    waits = [delay_s(throttle, f"2001:db8::{n:x}", f"name{n}") for n in range(6)]
    assert waits == [0, 0, 0, 0, 0, 1]
    assert delay_s(throttle, "2001:db8:0:1::1", "name") == 0


def test_own_login_in_between_does_not_reset_the_address(clock: Clock) -> None:
    throttle = LoginThrottle(clock)
    for _ in range(4):
        throttle.start_attempt("192.0.2.1", "anna")
        throttle.start_attempt("192.0.2.1", "mallory")
        throttle.record_success("192.0.2.1", "mallory")
    throttle.start_attempt("192.0.2.1", "anna")
    assert delay_s(throttle, "192.0.2.1", "mallory") == 1


def test_right_password_resets_the_name(clock: Clock) -> None:
    throttle = LoginThrottle(clock)
    for _ in range(4):
        throttle.start_attempt("192.0.2.1", "anna")
    throttle.start_attempt("192.0.2.1", "anna")
    throttle.record_success("192.0.2.1", "anna")
    assert delay_s(throttle, "192.0.2.1", "anna") == 0


def test_many_addresses_and_names_are_throttled_with_bounded_memory(clock: Clock) -> None:
    throttle = LoginThrottle(clock)
    allowed = 0
    for n in range(20_000):  # 200 per second
        clock.seconds += 0.005
        allowed += delay_s(throttle, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"name{n}") == 0
    assert allowed <= 30 + 100 / 2 + 1
    assert max(len(throttle._addresses), len(throttle._names)) <= 4096


@pytest.mark.parametrize("pause_s", [16 * 60.0, 24 * 3600.0])
def test_failures_expire(clock: Clock, pause_s: float) -> None:
    throttle = LoginThrottle(clock)
    for _ in range(5):
        throttle.start_attempt("192.0.2.1", "anna")
    clock.seconds += pause_s
    assert [delay_s(throttle, "192.0.2.1", "anna") for _ in range(4)] == [0, 0, 0, 0]


def test_rejected_attempts_evict_no_keys(clock: Clock) -> None:
    throttle = LoginThrottle(clock)
    for _ in range(5):
        throttle.start_attempt("192.0.2.1", "anna")
    for number in range(5000):
        with pytest.raises(TooManyAttemptsError):
            throttle.start_attempt("192.0.2.1", f"nobody-{number}")
    with pytest.raises(TooManyAttemptsError):
        throttle.start_attempt("198.51.100.7", "anna")
