"""`actionwatch worker-keys`, and runs that use the keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config.config import Config
from stream.messages import ClipSpec
from stream.pipeline import Pipeline
from stream.workers.curve_auth import worker_keys
from stream.workers.transport import WorkerClient
from tests.cli import invoke
from tests.waiting import wait_for


def create_keys(*arguments: object) -> tuple[int, str]:
    """Exit code and output of the command."""
    result = invoke("worker-keys", *arguments)
    return result.exit_code, result.output


def test_output_explains_each_file(tmp_path: Path) -> None:
    code, output = create_keys(tmp_path)
    assert code == 0
    assert [Path(line.split(": ")[0]).name for line in output.splitlines()] == [
        "server.keys",
        "worker.keys",
    ]
    code, output = create_keys(tmp_path, "--worker", "gpu")
    assert code == 0
    assert "server.keys: gpu was added; restart the run" in output
    assert "--keys gpu.keys" in output
    assert not any(
        line.split()[1] in output
        for line in (tmp_path / "gpu.keys").read_text().splitlines()
        if line.startswith("secret")
    )


def test_error_is_one_line(tmp_path: Path) -> None:
    create_keys(tmp_path)
    code, output = create_keys(tmp_path)
    assert code == 2
    (line,) = output.splitlines()
    assert line.startswith("actionwatch: ")
    assert "--worker NAME adds another worker" in line


def configure(folder: Path, **worker: object) -> Config:
    return Config.model_validate(
        {
            "cameras": {"demo": {"source": "demo:7"}},
            "data": folder / "data",
            "dashboard": {"enabled": False},
            "worker": {"endpoint": "tcp://127.0.0.1:*", "keys": folder / "server.keys", **worker},
        }
    )


def test_run_with_keys_accepts_local_and_remote_workers(tmp_path: Path) -> None:
    create_keys(tmp_path)
    with Pipeline(configure(tmp_path)) as pipeline:
        wait_for(lambda: pipeline.metrics.total("windows") >= 3)  # scored by the local worker
        remote = WorkerClient(
            pipeline._socket.endpoint,
            pipeline.spec,
            keys=worker_keys(tmp_path / "worker.keys"),
            name="remote",
        )
        with remote:

            def is_connected() -> bool:  # the local worker may be fast enough to get every window
                remote.request_clips(capacity=1, timeout_s=0.1)
                return pipeline.scheduler.workers == 2

            wait_for(is_connected)
    assert pipeline.failure == ""
    assert pipeline.metrics.total("rejected_workers") == 0


def test_rejected_workers_are_counted(tmp_path: Path, spec: ClipSpec) -> None:
    create_keys(tmp_path)
    create_keys(tmp_path / "other")
    other_keys = worker_keys(tmp_path / "other" / "worker.keys")
    with (
        Pipeline(configure(tmp_path, local=False)) as pipeline,
        WorkerClient(pipeline._socket.endpoint, spec, keys=other_keys) as worker,
    ):
        wait_for(lambda: pipeline.metrics.total("rejected_workers") >= 1)
        assert worker.request_clips(capacity=1, timeout_s=0.1) == ()
        assert (pipeline.scheduler.workers, pipeline.spec) == (0, None)


@pytest.mark.parametrize(
    "worker", ["{endpoint: 'tcp://127.0.0.1:5555'}", "{local: false, endpoint: 'tcp://[::1]:5555'}"]
)
def test_run_over_tcp_without_keys_is_rejected(tmp_path: Path, worker: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"worker: {worker}")
    result = invoke("run", config, "--no-ui")
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert "config.yaml" in line
    assert "`actionwatch worker-keys DIR`, and give DIR/server.keys as worker.keys" in line


def test_unreadable_keys_are_reported_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"worker: {{endpoint: 'tcp://127.0.0.1:5555', keys: '{tmp_path / 'none'}'}}\n"
        f"data: {tmp_path / 'data'}"
    )
    result = invoke("run", config, "--no-ui")
    assert result.exit_code == 2
    assert "none can't be read: No such file or directory" in result.output.splitlines()[-1]
