from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from stream.messages import ClipSpec
from stream.workers.endpoint import TransportError
from stream.workers.transport import SchedulerSocket, WorkerClient


def test_socket_for_local_workers_is_private() -> None:
    before = os.umask(0)
    try:
        with SchedulerSocket() as scheduler:
            assert scheduler.endpoint == scheduler.local_endpoint
            path = Path(scheduler.endpoint.removeprefix("ipc://"))
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.is_socket()
    finally:
        os.umask(before)
    assert not path.parent.exists()


def test_socket_at_a_configured_path_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with SchedulerSocket(f"ipc://{tmp_path / 'workers'}"):
            assert stat.S_IMODE((tmp_path / "workers").stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o707])
def test_socket_that_other_users_could_replace_is_rejected(
    tmp_path: Path, spec: ClipSpec, bits: int
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(bits)
    endpoint = f"ipc://{folder / 'workers'}"
    for connect in (lambda: SchedulerSocket(endpoint), lambda: WorkerClient(endpoint, spec)):
        with pytest.raises(TransportError, match=r"other users may write to .* `chmod go-w"):
            connect()
    folder.chmod(0o1777)  # like /tmp: other users can't replace its files
    with SchedulerSocket(endpoint):
        pass


def test_abstract_socket_is_rejected(spec: ClipSpec) -> None:
    for connect in (
        lambda: SchedulerSocket("ipc://@workers"),
        lambda: WorkerClient("ipc://@workers", spec),
    ):
        with pytest.raises(TransportError, match="everybody on this machine"):
            connect()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0.0.0.0", "localhost"])
def test_tcp_without_keys_is_rejected_by_both_sockets(spec: ClipSpec, host: str) -> None:
    with pytest.raises(TransportError, match=r"`actionwatch worker-keys DIR`.*worker\.keys"):
        SchedulerSocket(f"tcp://{host}:5555")
    with pytest.raises(TransportError, match=r"without keys.*`actionwatch worker-keys D.*--keys"):
        WorkerClient(f"tcp://{host}:5555", spec)


@pytest.mark.parametrize("endpoint", ["nonsense", "ws://127.0.0.1:5555", "TCP://127.0.0.1:5555"])
def test_invalid_address_is_named(spec: ClipSpec, endpoint: str) -> None:
    with pytest.raises(TransportError, match=endpoint):
        SchedulerSocket(endpoint)
    with pytest.raises(TransportError, match=f"can't connect to {endpoint}"):
        WorkerClient(endpoint, spec)
