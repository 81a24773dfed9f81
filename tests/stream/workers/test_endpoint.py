from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from stream.messages import ClipSpec
from stream.workers.endpoint import TransportError
from stream.workers.transport import SchedulerEnd, WorkerEnd


def test_the_socket_for_local_workers_is_closed_to_others() -> None:
    before = os.umask(0)
    try:
        with SchedulerEnd() as link:
            assert link.endpoint == link.local_endpoint
            path = Path(link.endpoint.removeprefix("ipc://"))
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.is_socket()
    finally:
        os.umask(before)
    assert not path.parent.exists()


def test_a_socket_of_the_users_choice_is_closed_to_others_too(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with SchedulerEnd(f"ipc://{tmp_path / 'line'}"):
            assert stat.S_IMODE((tmp_path / "line").stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o707])
def test_a_socket_that_others_could_replace_is_refused(
    tmp_path: Path, spec: ClipSpec, bits: int
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(bits)
    endpoint = f"ipc://{folder / 'line'}"
    for end in (lambda: SchedulerEnd(endpoint), lambda: WorkerEnd(endpoint, spec)):
        with pytest.raises(TransportError, match=r"others may write to the folder .* `chmod go-w"):
            end()
    folder.chmod(0o1777)  # like /tmp: what is there can't be replaced
    with SchedulerEnd(endpoint):
        pass


def test_a_socket_without_a_place_is_refused(spec: ClipSpec) -> None:
    for end in (lambda: SchedulerEnd("ipc://@line"), lambda: WorkerEnd("ipc://@line", spec)):
        with pytest.raises(TransportError, match="everybody on this machine"):
            end()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0.0.0.0", "localhost"])
def test_tcp_without_keys_is_refused_at_both_ends(spec: ClipSpec, host: str) -> None:
    with pytest.raises(TransportError, match=r"`actionwatch keys DIR`.*worker\.keys"):
        SchedulerEnd(f"tcp://{host}:5555")
    with pytest.raises(TransportError, match=r"without keys.*`actionwatch keys DIR`.*--keys"):
        WorkerEnd(f"tcp://{host}:5555", spec)


@pytest.mark.parametrize("endpoint", ["nonsense", "ws://127.0.0.1:5555", "TCP://127.0.0.1:5555"])
def test_an_address_that_is_none_is_named(spec: ClipSpec, endpoint: str) -> None:
    with pytest.raises(TransportError, match=endpoint):
        SchedulerEnd(endpoint)
    with pytest.raises(TransportError, match=f"can't connect to {endpoint}"):
        WorkerEnd(endpoint, spec)
