from __future__ import annotations

import pytest

from tests.conftest import Clock
from ui.web.security.login_throttle import SlowDown, TooManyTriesError


def wait_of(slow_down: SlowDown, address: str, name: str) -> float:
    """How long a try has to wait; 0 if it was let through."""
    try:
        slow_down.begin(address, name)
    except TooManyTriesError as error:
        return error.wait_s
    return 0.0


def test_waits_double_up_to_a_minute(clock: Clock) -> None:
    slow_down = SlowDown(clock)
    waits = []
    for _ in range(14):
        while wait_s := wait_of(slow_down, "192.0.2.1", "anna"):
            waits.append(wait_s)
            clock.seconds += wait_s
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_tries_from_many_addresses_slow_down_the_name(clock: Clock) -> None:
    slow_down = SlowDown(clock)
    assert [wait_of(slow_down, f"192.0.2.{n}", "anna") for n in range(6)] == [0, 0, 0, 0, 0, 1]
    assert wait_of(slow_down, "192.0.2.9", "vera") == 0


def test_a_network_of_ipv6_counts_as_one_address(clock: Clock) -> None:
    slow_down = SlowDown(clock)
    waits = [wait_of(slow_down, f"2001:db8::{n:x}", f"name{n}") for n in range(6)]
    assert waits == [0, 0, 0, 0, 0, 1]
    assert wait_of(slow_down, "2001:db8:0:1::1", "name") == 0


def test_an_own_right_password_in_between_does_not_free_an_address(clock: Clock) -> None:
    slow_down = SlowDown(clock)
    for _ in range(4):
        slow_down.begin("192.0.2.1", "anna")
        slow_down.begin("192.0.2.1", "mallory")
        slow_down.right("192.0.2.1", "mallory")
    slow_down.begin("192.0.2.1", "anna")
    assert wait_of(slow_down, "192.0.2.1", "mallory") == 1


def test_who_mistyped_and_then_got_it_right_waits_for_nothing(clock: Clock) -> None:
    slow_down = SlowDown(clock)
    for _ in range(4):
        slow_down.begin("192.0.2.1", "anna")
    slow_down.begin("192.0.2.1", "anna")
    slow_down.right("192.0.2.1", "anna")
    assert wait_of(slow_down, "192.0.2.1", "anna") == 0


def test_many_addresses_and_names_together_are_slowed_and_take_no_memory(clock: Clock) -> None:
    slow_down = SlowDown(clock)
    let_in = 0
    for n in range(20_000):  # 200 a second
        clock.seconds += 0.005
        let_in += wait_of(slow_down, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"name{n}") == 0
    assert let_in <= 30 + 100 / 2 + 1
    assert max(len(slow_down._addresses), len(slow_down._names)) <= 4096


@pytest.mark.parametrize("pause_s", [16 * 60.0, 24 * 3600.0])
def test_wrong_passwords_are_forgotten(clock: Clock, pause_s: float) -> None:
    slow_down = SlowDown(clock)
    for _ in range(5):
        slow_down.begin("192.0.2.1", "anna")
    clock.seconds += pause_s
    assert [wait_of(slow_down, "192.0.2.1", "anna") for _ in range(4)] == [0, 0, 0, 0]


def test_tries_that_are_refused_push_nobody_out_of_memory(clock: Clock) -> None:
    slow_down = SlowDown(clock)
    for _ in range(5):
        slow_down.begin("192.0.2.1", "anna")
    for number in range(5000):
        with pytest.raises(TooManyTriesError):
            slow_down.begin("192.0.2.1", f"nobody-{number}")
    with pytest.raises(TooManyTriesError):
        slow_down.begin("198.51.100.7", "anna")
