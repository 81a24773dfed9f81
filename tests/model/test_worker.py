from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from model.trained_model import TrainedModel, save
from stream.messages import Clip, ClipSpec
from stream.workers.curve_auth import create_keys, server_keys
from stream.workers.transport import SchedulerSocket
from stream.workers.wire import Batch, Failure, Hello, Message, Ready, Result


class WorkerProcess:
    """A real worker process, and the scheduler's socket that it connects to."""

    def __init__(self, folder: Path, model: str, *options: str, tcp: bool = False) -> None:
        """With `tcp` the keys in the folder are used."""
        if tcp:
            keys = server_keys(folder / "server.keys")
            self.socket = SchedulerSocket("tcp://127.0.0.1:*", keys=keys)
        else:
            self.socket = SchedulerSocket(f"ipc://{folder / 'workers'}")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "model.worker",
                "--connect",
                self.socket.endpoint,
                "--model",
                model,
                "--name",
                "w",
                *options,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )

    def receive(self, kind: type[Message]) -> Message:
        for _ in range(600):
            received = self.socket.receive()
            if received is None:
                self.socket.wait(0.1)
            elif isinstance(received[1], kind):
                return received[1]
        raise AssertionError(f"no {kind.__name__} received")

    def close(self) -> tuple[int, str]:
        """Terminate the worker like the supervisor. Returns its exit code and stderr."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=60)
        self.socket.__exit__()
        return self.process.returncode, errors


def random_clip(number: int, spec: ClipSpec) -> Clip:
    import numpy as np

    rng = np.random.default_rng(number)
    shape = (spec.frames, spec.height, spec.width, 3)
    return Clip("door", number, rng.integers(0, 256, shape, dtype=np.uint8), spec.times(1.0))


def test_worker_sends_its_spec_and_scores_clips(tmp_path: Path, trained: TrainedModel) -> None:
    save(trained, tmp_path / "tiny")
    worker = WorkerProcess(tmp_path, str(tmp_path / "tiny"))
    try:
        hello = worker.receive(Hello)
        assert isinstance(hello, Hello)
        assert hello.spec == trained.spec
        ready = worker.receive(Ready)
        assert isinstance(ready, Ready)
        clips = tuple(random_clip(number, hello.spec) for number in (1, 2))
        assert worker.socket.send(b"w", Batch(clips))
        result = worker.receive(Result)
        assert isinstance(result, Result)
        assert [scores.number for scores in result.scores] == [1, 2]
        for scores in result.scores:
            assert scores.probabilities.shape == (len(trained.spec.labels),)
            assert scores.probabilities.sum() == pytest.approx(1, abs=1e-4)
            assert scores.inference_s > 0
        assert worker.receive(Ready) == ready  # ready again
    finally:
        code, errors = worker.close()
    assert code == 0
    (line,) = errors.splitlines()
    assert "model tiny is ready" in line


def test_worker_reports_a_model_that_can_not_be_loaded(tmp_path: Path) -> None:
    worker = WorkerProcess(tmp_path, str(tmp_path / "nowhere"))
    try:
        failure = worker.receive(Failure)
        assert isinstance(failure, Failure)
        assert "nowhere" in failure.reason
        worker.process.wait(20)
    finally:
        code, errors = worker.close()
    assert code == 2
    (line,) = errors.splitlines()  # no parent process, so it is printed as well
    assert "nowhere" in line


def test_worker_uses_the_inference_options(tmp_path: Path, trained: TrainedModel) -> None:
    save(trained, tmp_path / "tiny")
    worker = WorkerProcess(
        tmp_path, str(tmp_path / "tiny"), "--precision=fp32", "--max-batch-size=2"
    )
    try:
        worker.receive(Hello)
        ready = worker.receive(Ready)
        assert ready.capacity == 2
    finally:
        code, errors = worker.close()
    assert code == 0
    assert "model tiny is ready: torch fp32 on " in errors


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--precision=fp64", "actionwatch worker: --precision: "),
        ("--max-batch-size=many", "actionwatch worker: --max-batch-size: "),
        ("--engine=Magic!", "actionwatch worker: --engine: "),
        ("--engine=magic", "actionwatch worker: engine magic is not known; use "),
        ("--device=gpu", "actionwatch worker: --device: "),
        ("--device=cuda:63", "device cuda:63 does not exist: torch "),
    ],
)
def test_worker_names_an_invalid_option(tmp_path: Path, option: str, words: str) -> None:
    worker = WorkerProcess(tmp_path, "motion", option)
    worker.process.wait(60)
    code, errors = worker.close()
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors


def test_worker_on_another_machine_uses_its_keys(tmp_path: Path, trained: TrainedModel) -> None:
    create_keys(tmp_path)
    save(trained, tmp_path / "tiny")
    worker = WorkerProcess(
        tmp_path, str(tmp_path / "tiny"), f"--keys={tmp_path / 'worker.keys'}", tcp=True
    )
    try:
        worker.receive(Hello)
        worker.receive(Ready)
        assert worker.socket.send(b"w", Batch((random_clip(1, trained.spec),)))
        worker.receive(Result)
    finally:
        code, errors = worker.close()
    assert code == 0
    assert "Traceback" not in errors


def test_worker_with_an_unknown_key_prints_the_fix(tmp_path: Path, trained: TrainedModel) -> None:
    create_keys(tmp_path)
    (tmp_path / "foreign").mkdir()
    create_keys(tmp_path / "foreign")
    theirs = tmp_path / "foreign" / "worker.keys"
    ours = tmp_path / "server.keys"
    public = ours.read_text().partition("\npublic ")[2].split()[0]
    theirs.write_text(re.sub("(?m)^server .*", lambda _: f"server {public}", theirs.read_text()))
    save(trained, tmp_path / "tiny")
    worker = WorkerProcess(tmp_path, str(tmp_path / "tiny"), f"--keys={theirs}", tcp=True)
    try:
        for _ in range(600):
            assert worker.socket.receive() is None
            if worker.process.poll() is not None:
                break
            worker.socket.wait(0.1)
    finally:
        code, errors = worker.close()
    assert code == 2
    (line,) = [text for text in errors.splitlines() if text.startswith("actionwatch worker: ")]
    assert "does not know the key of" in line
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (None, "without keys; create them on the server with `actionwatch worker-keys DIR`"),
        ("server.keys", "give the file that `actionwatch worker-keys` created for the worker"),
        ("none.keys", "none.keys can't be read: No such file or directory"),
    ],
)
def test_invalid_keys_are_reported_before_the_model_is_loaded(
    tmp_path: Path, keys: str | None, words: str
) -> None:
    create_keys(tmp_path)
    options = [] if keys is None else [f"--keys={tmp_path / keys}"]
    worker = WorkerProcess(tmp_path, str(tmp_path / "no model"), *options, tcp=True)
    worker.process.wait(60)
    code, errors = worker.close()
    assert code == 2
    (line,) = errors.splitlines()
    assert words in line
