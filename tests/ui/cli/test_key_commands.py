"""`actionwatch keys`, and a watch that is given them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.config.config import Config
from stream.messages import ClipSpec
from stream.pipeline import Pipeline
from stream.workers.curve_auth import worker_keys
from stream.workers.transport import WorkerEnd
from tests.waiting import wait_for
from ui.cli.main import app


def keys(*arguments: object) -> tuple[int, str]:
    """Exit code and output of the command."""
    result = CliRunner().invoke(app, ["keys", *map(str, arguments)])
    return result.exit_code, result.output


def test_it_says_what_each_file_is_for(tmp_path: Path) -> None:
    code, told = keys(tmp_path)
    assert code == 0
    assert [Path(line.split(": ")[0]).name for line in told.splitlines()] == [
        "watch.keys",
        "worker.keys",
    ]
    code, told = keys(tmp_path, "--worker", "gpu")
    assert code == 0
    assert "watch.keys: knows gpu too; start the watch anew" in told
    assert "--keys gpu.keys" in told
    assert not any(
        line.split()[1] in told
        for line in (tmp_path / "gpu.keys").read_text().splitlines()
        if line.startswith("secret")
    )


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    keys(tmp_path)
    code, told = keys(tmp_path)
    assert code == 2
    (line,) = told.splitlines()
    assert line.startswith("actionwatch: ")
    assert "--worker NAME adds another worker" in line


def watch(folder: Path, **worker: object) -> Config:
    return Config.model_validate(
        {
            "cameras": {"demo": {"source": "demo:7"}},
            "data": folder / "data",
            "dashboard": {"enabled": False},
            "worker": {"endpoint": "tcp://127.0.0.1:*", "keys": folder / "watch.keys", **worker},
        }
    )


def test_a_watch_with_keys_takes_workers_of_this_machine_and_of_others(tmp_path: Path) -> None:
    keys(tmp_path)
    with Pipeline(watch(tmp_path)) as pipeline:
        wait_for(lambda: pipeline.metrics.total("windows") >= 3)  # scored by its own worker
        far = WorkerEnd(
            pipeline._link.endpoint,
            pipeline.spec,
            keys=worker_keys(tmp_path / "worker.keys"),
            name="far",
        )
        with far:

            def is_at_work() -> bool:  # its own worker may be quick enough to take every window
                far.ask(room=1, timeout_s=0.1)
                return pipeline.workers == 2

            wait_for(is_at_work)
    assert pipeline.failure == ""
    assert pipeline.metrics.total("refused_workers") == 0


def test_a_watch_counts_whom_it_refused(tmp_path: Path, spec: ClipSpec) -> None:
    keys(tmp_path)
    keys(tmp_path / "strangers")
    theirs = worker_keys(tmp_path / "strangers" / "worker.keys")
    with (
        Pipeline(watch(tmp_path, local=False)) as pipeline,
        WorkerEnd(pipeline._link.endpoint, spec, keys=theirs) as worker,
    ):
        wait_for(lambda: pipeline.metrics.total("refused_workers") >= 1)
        assert worker.ask(room=1, timeout_s=0.1) == ()
        assert (pipeline.workers, pipeline.spec) == (0, None)


@pytest.mark.parametrize(
    "worker", ["{endpoint: 'tcp://127.0.0.1:5555'}", "{local: false, endpoint: 'tcp://[::1]:5555'}"]
)
def test_a_watch_over_tcp_without_keys_is_refused(tmp_path: Path, worker: str) -> None:
    config = tmp_path / "watch.yaml"
    config.write_text(f"worker: {worker}")
    result = CliRunner().invoke(app, ["run", str(config), "--no-ui"])
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert "watch.yaml" in line
    assert "`actionwatch keys DIR`, and give DIR/watch.keys as worker.keys" in line


def test_a_watch_whose_keys_can_not_be_used_says_so_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "watch.yaml"
    config.write_text(
        f"worker: {{endpoint: 'tcp://127.0.0.1:5555', keys: '{tmp_path / 'none'}'}}\n"
        f"data: {tmp_path / 'data'}"
    )
    result = CliRunner().invoke(app, ["run", str(config), "--no-ui"])
    assert result.exit_code == 2
    assert "none can't be read: No such file or directory" in result.output.splitlines()[-1]
